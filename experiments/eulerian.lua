-- # Why Eulerian self-distillation is unstable, and what cures it
--
-- The Eulerian loss asks that $X_{s,t}$ be constant along the flow,
-- $$r = \partial_s X_{s,t}(x) + \nabla X_{s,t}(x)\, v_{s,s}(x) = 0.$$
-- The paper stops the gradient at the whole product $\nabla X_{s,t}\, v_{s,s}$ (`full`) and finds
-- the objective unstable on images. Is it the learning rate, the noise of the batches, or the
-- objective itself? This chapter answers by a calculation and by an intervention;
-- [another](#four-switches-from-esd-to-meanflow) tries the ingredients by which MeanFlow, which is
-- Eulerian too, differs from it.
--
-- ## A model that can be solved
--
-- Let the velocity be a constant $b$ and already learned, and let the map have an error in one
-- Fourier mode,
-- $$v_{s,t}(x) = b + \varphi(\tau)\,e^{ikx}, \qquad \tau = t - s, \qquad u = \tau\varphi .$$
-- In units of $t$ everything depends on the *turn* $K = k\,b\,t$, the angle by which the mode turns
-- while a point travels: $r = (-u' + iKu)\,e^{ikx}$ with $u(0) = 0$. Gradient descent moves
-- $\varphi$ by $-A\varphi$ times the learning rate, where $A$ is given by the part of $r$ through
-- which the gradient passes. With $\langle f, g\rangle = \int_0^1 \bar f g\,d\tau$ and $w$ for
-- $\tau$ times a test function,
--
-- - `none`: $\langle -w' + iKw,\; -u' + iKu \rangle$;
-- - `convex`: the same, because the velocity is learned;
-- - `full`: $\langle -w',\; -u' + iKu \rangle$;
-- - `target`, the whole regression target of $v$ stopped:
--   $\langle \varphi_w,\; u' - iKu \rangle$, where $w = \tau\varphi_w$.
--
-- A network changes $\varphi$ through a positive definite kernel $\Theta$, so errors follow
-- $\dot\varphi = -\Theta A\varphi$. If $\operatorname{Re}\langle\varphi, A\varphi\rangle > 0$, then
-- $\langle\varphi, \Theta^{-1}\varphi\rangle$ decreases for every $\Theta$; if not, some $\Theta$
-- makes an error grow.
--
-- **None and convex** are stable: the form is $|r|^2$.
--
-- **Target** is stable. Since $u' = \varphi + \tau\varphi'$,
-- $$\operatorname{Re}\langle\varphi, A\varphi\rangle
--   = \tfrac12 \int_0^1 |\varphi|^2 d\tau + \tfrac12 |\varphi(1)|^2 .$$
-- The turn does not enter: $\varphi = e^{iK\tau}\psi$ removes it. With $\Theta = 1$ the solution at
-- the time $\xi$ of the gradient flow is $\psi(\xi, \tau) = e^{-\xi}\,\psi_0(\tau e^{-\xi})$.
--
-- **Full** is not. Here
-- $$\operatorname{Re}\langle\varphi, A\varphi\rangle
--   = |u'|^2 + K \operatorname{Im}\langle u', u\rangle ,$$
-- and $|\operatorname{Im}\langle u', u\rangle| \le |u'|^2/\pi$, with equality for one function,
-- because $u = \int_0^\tau u'$ and the antisymmetric part of integration has the norm $1/\pi$. So
-- every network is safe up to $|K| = \pi$, where a point travels half of a wavelength. Beyond it
-- some error grows at first in every network, since $\langle\varphi, \Theta^{-1}\varphi\rangle$
-- changes at the rate $-2\operatorname{Re}\langle\varphi, A\varphi\rangle$ whatever $\Theta$ is.
-- Whether it grows without end, and from which turn, depends on the kernel. If gradients are taken
-- in the norm of the map, the eigenvalues are $\lambda = z^2 - K^2/4$ with $z \cot z = iK/2$, and
-- the first crosses to $\operatorname{Re}\lambda < 0$ at $|K| = 4.01$; in the norm of $v$ it does
-- at $|K| = 7.35$; in the norm of $u'$, where $A$ is the identity minus $iK$ times an integration,
-- growth always ends. Where the gradient *flow* itself grows, a smaller rate follows the same flow
-- more slowly, and a larger batch follows it more exactly. As the velocity varies and the kernel
-- changes in training, these thresholds are only a guide. That `target` and `none` have none does
-- not depend on the kernel, nor does $\pi$ for `full`.

local fm = require "flowmap"

local eulerian = {
  name = "eulerian",
  title = "Why Eulerian self-distillation is unstable",
  methods = { "esd" },
  seeds = 2,
}

-- The figure shows the growth rate of the fastest error, $\max -\operatorname{Re}\lambda$, from
-- $e^{-\xi A}$ in double precision.

local function curve(label, how, colour)
  local rows = {}
  for i = 0, 28 do
    how.turn = i / 2
    rows[i + 1] = { how.turn, fm.stop_spectrum.growth(how) / (how.average or 1) }
  end
  return { kind = "line", key = label, label = label, rows = rows, colour = colour, width = 2 }
end

local function growth_panel(title, ylabel, yrange, series)
  series[#series + 1] = { kind = "line", label = "no growth", width = 1, colour = "#808080",
    rows = { { 0, 0 }, { 14, 0 } } }
  return { title = title, xlabel = "turn K", ylabel = ylabel, xrange = { 0, 14 }, yrange = yrange,
    series = series }
end

eulerian.figures = {}

eulerian.figures.growth = function()
  return { columns = 2, width = 300, height = 220, panels = {
    growth_panel("current weights", "growth rate", { -3, 8 }, {
      curve("full, norm of v", { stop = "full" }, 7),
      curve("full, norm of the map", { stop = "full", metric = "map" }, 6),
      curve("none, convex", { stop = "none" }, 2),
      curve("target", { stop = "target" }, 4),
    }),
    growth_panel("full, averaged target weights", "relative growth", { -1, 1 }, {
      curve("average of rate 1", { stop = "full", average = 1 }, 8),
      curve("rate 0.1", { stop = "full", average = 0.1 }, 1),
      curve("rate 0.01", { stop = "full", average = 0.01 }, 3),
    }),
  } }
end

-- ![Growth of errors in the linear model against the turn $K$. Left: by stop-gradient. Right:
-- `full`, norm of $v$, where the stopped product reads an average of the weights that follows them
-- at the given rate, in units of the gradient flow; growth is relative to that
-- rate.](figure:growth)
--
-- The model also says what the other differences from MeanFlow can do.
--
-- - *The sample's velocity* $\dot I_s$ in place of $v_{s,s}$: $\partial_s X$ does not contain it,
--   so it enters the gradient of `full` linearly and its mean is the velocity. The expected
--   gradient is the same, and so is the threshold; only noise is added. The same holds for
--   `target`.
-- - *The weight* $(|r|^2 + c^2)^{-p}$ is constant while $|r| \ll c$. It cannot prevent the growth
--   of small errors. At $p = 1$ the gradient of a large residual falls as $1/|r|$, so it can bound
--   the damage.
-- - *An average of the weights* in the stopped part turns the loop into the iteration
--   $u \leftarrow iK\int_0^\tau u$ if it is slow enough. Its $n$-th iterate is below $|K|^n/n!$, so
--   it converges for every $K$, after growing up to $e^{|K|}$. An average that lags less than an
--   error takes to be learned lowers the threshold instead (right panel). `target` needs no
--   average.
--
-- ## The intervention
--
-- A network learns the checkerboard with `full`. It is small, but reads sines and cosines of its
-- input, so that it resolves short waves. Its training ends at a given step; by then the residual
-- of some seeds has started to grow, or has exploded. From the same weights and with a new
-- optimiser, training then continues with each of the four stop-gradients, on the same samples,
-- with three combinations of batch and rate; at a fifth of the rate it takes five times as many
-- steps. The residual is measured on the same points throughout. The settings were chosen on seed
-- 102. Nine seeds, as in `long`, are the fewest with which one of the nine comparisons with `full`
-- can be shown at level 0.05 after Holm's correction.

eulerian.settings = {
  data = "checkerboard", interpolant = "linear", net = "mlp", width = 64, depth = 4, features = 6,
  time_input = "standard", optimiser = "radam", schedule = "constant", clip = 10, eta = 0.75,
  eval_ema = 0, nfe = { 1 },
}

eulerian.profiles = {
  smoke = {
    width = 16, depth = 2, batch = 64, micro = 64, steps = 20, lr = 4e-3, log_every = 10,
    ema = { 0.9 }, eval_samples = 5000, further = 20, seeds = 1,
  },
  laptop = {
    batch = 256, micro = 256, steps = 9000, lr = 4e-3, ema = { 0.99 }, eval_samples = 100000,
  },
  long = {
    batch = 256, micro = 256, steps = 9000, lr = 4e-3, ema = { 0.99 }, eval_samples = 200000,
    seeds = 9,
  },
}

local STOPS = { "full", "convex", "none", "target" }
local CASES = { { batch = 256, rate = 1, longer = 1 }, { batch = 2048, rate = 0.2, longer = 5 },
  { batch = 8192, rate = 1, longer = 1 } }
local POINTS, MEASUREMENTS = 4096, 20

-- The steps between two measurements.
local function every(steps) return math.max(1, steps // MEASUREMENTS) end

-- The mean of |r|^2 over the same points for all weights.
local function residual(job)
  local program = fm.program(function(input, b)
    local _, _, bare = fm.step.losses(job, input.params, fm.step.draw(job, input, b), 0, b.n)
    return { sum = { off = fm.sum(bare.off) } }
  end, { shared = job.shared, rows = {}, micro = 256 })
  return program:run { shared = job.shared, batch = POINTS, seed = 1, step = 0 }.sum.off:item()
    / POINTS
end

-- A training that continues from given weights with another stop-gradient, batch and rate.
local function continuing(context, stop, case)
  local cfg, weights = {}, {}
  for key, value in pairs(context.cfg) do cfg[key] = value end
  cfg.stop, cfg.batch, cfg.lr = stop, case.batch, case.rate * cfg.lr
  cfg.seed = cfg.seed + 100000 -- samples that the training has not drawn
  local job = fm.trainer.new({}, cfg) -- no part of this training is the experiment's own
  fm.tree.each(function(x, name) weights[name] = x end, context.params)
  fm.tree.each(function(x, name) x:copy_from(weights[name]) end, job.params)
  return job
end

-- The residuals at the start and after equal numbers of steps, up to the last finite one. Weights
-- that are lost already have the residual 1e30.
local function trace(job, steps)
  local before = residual(job)
  local values = { before - before == 0 and before or 1e30 }
  for k = 1, steps do
    local ok, err = pcall(fm.trainer.step, job)
    if not ok and err.code == "numeric" then break end
    if not ok then error(err, 0) end
    if k % every(steps) == 0 then
      local value = residual(job)
      if value - value ~= 0 then break end
      values[#values + 1] = value
    end
  end
  return values
end

-- Here a training counts as exploded, finite or not, once the residual exceeds ten times
-- $E|\dot I|^2$. A seed whose residual does so before the intervention counts from the start.

local function bound(set) return 20 * set.dim * set.sd ^ 2 end

-- The step at which values first exceed `most`. 0: at the start, which the first value tells, or
-- never.
local function first_above(values, most, steps)
  local apart = every(steps)
  for i, value in ipairs(values) do
    if value > most then return (i - 1) * apart end
  end
  return #values <= steps // apart and #values * apart or 0 -- not finite; or 0: never
end

eulerian.metrics = { continued = { head = "continued", format = "%.2e",
  options = { further = 400 }, -- steps after the intervention
  new = function(cfg)
    return function(_, context)
      local numbers, all = {}, {}
      for k, case in ipairs(CASES) do
        local steps = context.keeps and case.longer * cfg.further or 1
        for _, stop in ipairs(STOPS) do
          local values = trace(continuing(context, stop, case), steps)
          local name = ("%s_%d"):format(stop, k)
          numbers.before, numbers[name] = values[1], values[#values]
          numbers[name .. "_at"] = first_above(values, bound(context.set), steps)
          for i = 1, MEASUREMENTS + 1 do all[#all + 1] = values[i] or 0 / 0 end
        end
      end
      context.keep("continued", fm.reshape(fm.tensor(all),
        { #CASES * #STOPS, MEASUREMENTS + 1 }))
      return numbers
    end
  end } }

-- The figure shows every seed; the table compares the stop-gradients with `full` in pairs.

local COLOURS = { full = 7, convex = 2, none = 6, target = 4 }

local function panel_of(set, k)
  local case, series = CASES[k], {}
  local steps = case.longer * set:first():field("config", "further")
  for i, stop in ipairs(STOPS) do
    for _, run in ipairs(set.runs) do
      local values, rows = fm.npy.load(run.dir .. "/continued.npy"), {}
      local first = ((k - 1) * #STOPS + i - 1) * (MEASUREMENTS + 1)
      for j = 0, MEASUREMENTS do
        local value = values[first + j + 1]
        if value == value then rows[#rows + 1] = { j * every(steps), value } end
      end
      series[#series + 1] = { kind = "line", key = stop, rows = rows, colour = COLOURS[stop],
        label = ("%s seed %s"):format(stop, run:field("config", "seed")), width = 1.2 }
    end
  end
  return { title = ("batch %d, rate x %g"):format(case.batch, case.rate), xlabel = "further steps",
    ylabel = k == 1 and "mean |r|^2" or nil, ylog = true, series = series }
end

eulerian.figures.continued = function(set)
  local panels = {}
  for k in ipairs(CASES) do panels[k] = panel_of(set, k) end
  return { columns = 3, width = 220, height = 240, panels = panels }
end

-- The values of a field by seed, and the number of seeds that exploded with the earliest step.
local function by_seed(set, field)
  local values, count, first = {}, 0, nil
  for _, run in ipairs(set.runs) do
    values[run:field("config", "seed")] = run:value("continued_" .. field, 1)
    local most = bound(fm.data.find(run:field("config", "data")))
    local at = field ~= "before" and run:value("continued_" .. field .. "_at", 1) or 0
    if at > 0 or run:value("continued_before", 1) > most then
      count, first = count + 1, math.min(first or at, at)
    end
  end
  return values, count, first
end

local function exploded_text(count, first, seeds)
  if count == 0 then return "none" end
  return ("%d of %d, from %s"):format(count, seeds, first == 0 and "the start" or "step " .. first)
end

local function ratio_text(it)
  if not it then return "–" end
  return it.low and ("%.2g (%.2g to %.2g)"):format(it.ratio, it.low, it.high)
    or ("%.2g"):format(it.ratio)
end

local function row_of(set, k, stop)
  local after, count, first = by_seed(set, ("%s_%d"):format(stop, k))
  local growth = fm.paired.ratio(after, (by_seed(set, "before")))
  local against = stop ~= "full" and fm.paired.ratio(after, (by_seed(set, "full_" .. k))) or nil
  return { against = against, heads = { tostring(CASES[k].batch), tostring(CASES[k].rate), stop },
    cells = { { text = ratio_text(growth), mean = growth and growth.ratio },
      { text = exploded_text(count, first, #set.runs), mean = count },
      against and { text = ratio_text(against), mean = against.ratio } or nil } }
end

eulerian.figures.intervention = { writes = "table", draw = function(set)
  local t = { title = "The residual after the intervention: its ratio to that before (geometric "
    .. "mean and 95 % interval over seeds), the seeds in which it exploded, that is, exceeded "
    .. "10 E|dI|^2, and its ratio to that under full.",
    heads = { "batch", "rate", "stop" }, columns = { "after / before", "exploded",
      "ratio to full", "p" }, rows = {}, notes = {} }
  local ps, rows = {}, {}
  for k in ipairs(CASES) do
    for _, stop in ipairs(STOPS) do
      local row = row_of(set, k, stop)
      t.rows[#t.rows + 1] = row
      if row.against then ps[#ps + 1], rows[#rows + 1] = row.against.p, row end
    end
  end
  for i, p in ipairs(fm.paired.holm(ps)) do
    rows[i].cells[4] = { text = fm.paired.p_text(p), mean = p }
  end
  t.notes[1] = ("p is the two-sided sign-flip p of the ratio to full over %d paired seeds, after "
    .. "Holm over %d comparisons; %d seeds allow %s at the least."):format(#set.runs, #ps,
    #set.runs, fm.paired.p_text(math.min(1, #ps * fm.paired.smallest_p(#set.runs))))
  return t
end }

eulerian.render = {
  { kind = "growth", name = "growth" },
  { kind = "intervention", name = "intervention" },
  { kind = "continued", name = "continued" },
  { kind = "traces", name = "traces" },
}

-- ## Results
--
-- Before the intervention the mean of $|r|^2$ was, as a mean over seeds,
-- {{continued_before.ESD.N1 %.2g}}. One exploded seed decides such a mean; ratios, paired and
-- geometric, follow. With a batch eight times as large and a fifth of the rate, for five times as
-- many steps, it became {{continued_full_2.ESD.N1 %.2g}} with `full`,
-- {{continued_target_2.ESD.N1 %.2g}} with `target`, {{continued_convex_2.ESD.N1 %.2g}} with
-- `convex` and {{continued_none_2.ESD.N1 %.2g}} with `none`. With a batch of 8192 at the full rate
-- it was {{continued_full_3.ESD.N1 %.2g}} with `full`, {{continued_target_3.ESD.N1 %.2g}} with
-- `target`, {{continued_convex_3.ESD.N1 %.2g}} with `convex` and {{continued_none_3.ESD.N1 %.2g}}
-- with `none`.
--
-- The residuals paired over seeds, as ratios to that of `full`. Names that end in 2 belong to the
-- larger batch and the smaller rate, names that end in 3 to the largest batch. Each p is that of
-- one question; @tab:intervention corrects for all:
--
-- - {{ratio continued_target_2.ESD.N1 continued_full_2.ESD.N1 %.2g}};
-- - {{ratio continued_convex_2.ESD.N1 continued_full_2.ESD.N1 %.2g}};
-- - {{ratio continued_none_2.ESD.N1 continued_full_2.ESD.N1 %.2g}};
-- - {{ratio continued_target_3.ESD.N1 continued_full_3.ESD.N1 %.2g}};
-- - {{ratio continued_convex_3.ESD.N1 continued_full_3.ESD.N1 %.2g}};
-- - {{ratio continued_none_3.ESD.N1 continued_full_3.ESD.N1 %.2g}}.
--
-- If `full` is above the others in both cases, neither the learning rate, which is smaller in the
-- first, nor the noise of the batches, which is smaller in both, explains the instability.
--
-- {{table intervention}}
--
-- ![The mean of $|r|^2$ over the same points after the intervention, by batch and rate, one line
-- per stop-gradient and seed. A line ends where values ceased to be finite.](figure:continued)
--
-- ![The training with the stop-gradient `full`, before the intervention: loss, off-diagonal term
-- and gradient norm before clipping against the samples seen, one line per seed.](figure:traces)

return eulerian
