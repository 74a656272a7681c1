-- # The design space
--
-- Consistency models, MeanFlow, Shortcut models, map distillation and the objectives of the paper
-- are points of one space. Each is one of three residuals of the flow map, evaluated at times from
-- some law, along some velocity, against a target computed with some weights, behind some
-- stop-gradient, and passed through some scalar function. A method is therefore data: a table of a
-- few lines, of which this chapter prints and trains all.
--
-- ## Three residuals
--
-- Time runs from noise ($s = 0$, $x_0$) to data ($x_1$). Let $I_t$ be the interpolant,
-- $b_t(x) = E[\dot I_t \mid I_t = x]$, and $X_{s,t}(x) = x + (t-s)\,v_{s,t}(x)$ with the flow of
-- $b$ as its true value. For a velocity $w$ and $u = g s + (1-g) t$ the residuals are
-- $$\begin{aligned}
-- \text{Lagrangian} &\quad \partial_t X_{s,t}(x) - w_t(X_{s,t}(x)), \\
-- \text{Eulerian} &\quad \partial_s X_{s,t}(x) + \nabla X_{s,t}(x)\, w_s(x), \\
-- \text{semigroup} &\quad v_{s,t}(x) - (1-g)\, w_{s,u}(x)
--   - g\, v_{u,t}\bigl(x + (u-s)\, w_{s,u}(x)\bigr).
-- \end{aligned}$$
-- All three vanish on the flow map of $w$ [@boffi2024; @boffi2025]. The Eulerian one is also a
-- regression of $v$: with $D_w = \partial_s + w \cdot \nabla$,
-- $$\partial_s X_{s,t} + \nabla X_{s,t}\, w
--   = -\bigl(v_{s,t} - T_w\bigr), \qquad T_w = w_s + (t-s)\, D_w v_{s,t},$$
-- which is the form in which MeanFlow [@geng2025] and continuous consistency models state it.
--
-- ## Six coordinates
--
-- **Residual**: one of the three.
--
-- **Law of times.** Where the residual vanishes for all $(s,t)$ the law moves no minimum, but a
-- finite network spends its capacity where the law has mass. Methods that draw $t = 1$ alone learn
-- the column $X_{s,1}$ and nothing else.
--
-- **Velocity** $w$: the network's own, $v_{t,t}$; the sample's, $\dot I_s$; or a teacher's, a
-- frozen estimate of $b$. The sample's is unbiased, $E[\dot I_s \mid I_s = x] = b_s(x)$. The square
-- of $v - \operatorname{sg}(T_{\dot I})$ therefore has the gradient in expectation of that with
-- $T_b$, because $T_w$ is affine in $w$, but its value is larger by
-- $E|(\dot I_s - b_s) + (t-s) \nabla v\, (\dot I_s - b_s)|^2$: its gradient is noisier, and it does
-- not vanish at the minimum.
--
-- **Weights of the target**: the current ones, their exponential average, or a teacher's. A fixed
-- point of one is a fixed point of the other; an average of decay $\mu$ lags by about
-- $1/(1-\mu)$ steps.
--
-- **Stop-gradient**: what in the residual is held fixed. `target` stops all of $T$, `convex` the
-- velocity (Eulerian) or the target with its argument (the others), `full` the product
-- $\nabla X\, w$, `none` nothing. Stop-gradients move no root of the residual; they change which
-- roots attract.
--
-- **Exponent** $p$ with scale $c$: a sample with the squared residual $L$ has the weight
-- $\operatorname{sg}(L + c^2)^{-p}$. This is the gradient of the square ($p = 0$), of the
-- pseudo-Huber loss ($p = 1/2$) and of Cauchy's ($p = 1$), up to constants. If $L = 0$ at the
-- minimum, $p$ does not move it. If the residual keeps the noise of $\dot I$ it does: on the
-- diagonal, and off it wherever $w = \dot I$, the weight replaces the mean of the conditional law
-- of $\dot I_s$ by something between its mean and a mode. For a Gaussian they coincide; for a
-- mixture they do not ([the exact map](#the-exact-map) solves for the bias).
--
-- To these come the diagonal fraction $\eta$, the interpolant, the conditioning of the network and
-- weights of the residual in $s$ and $t$; all are settings.
--
-- ## The table
--
-- This is what `./flowmap methods` prints; `./flowmap methods NAME` adds the equation. $p$ off the
-- diagonal and on it are separate columns: the second acts on $v_{t,t}$ itself.
--
-- {{methods}}
--
-- Several rows coincide on part of the space: MeanFlow at $p = 0$ is the Eulerian row with `target`
-- and $w = \dot I$; Alpha-Flow with $\alpha \to 0$ is MeanFlow, and with $t = 1$ consistency
-- training; Shortcut with current weights is PSD-M on a dyadic law; terminal velocity matching
-- without an average is LSD. The tests hold such identities to $10^{-10}$, value and gradient, in
-- double precision.

local fm = require "flowmap"

local methods = { name = "methods", title = "The design space", seeds = 2 }

-- ## Rows of this chapter
--
-- If one coordinate is the reason why a method is better or worse, then changing it alone must
-- show. These rows are published ones with one coordinate changed. A method of your own joins the
-- study, the tables and the figure by one entry here: a row of coordinates, or a loss as in
-- `experiments/template.lua`.

local _, rows = fm.methods.rows()

local function changed(name, coordinates)
  local row = {}
  for key, value in pairs(rows[name]) do row[key] = value end
  for key, value in pairs(coordinates) do row[key] = value end
  return row
end

local square = { p = 0, p_diagonal = false }

methods.losses = {
  ["meanflow-square"] = changed("meanflow", square),
  ["meanflow-p-off"] = changed("meanflow", { p_diagonal = false }),
  ["imf-square"] = changed("imf", square),
  ["alphaflow-square"] = changed("alphaflow", square),
  ["ect-square"] = changed("ect", square),
  ["psd-quarter"] = { family = "semigroup", stops = { "convex" }, args = { g = 0.5 }, eta = 0.25 },
  ["shortcut-quick"] = changed("shortcut", { target_decay = 0.9 }),
}

methods.methods = fm.losses.names(methods.losses)

-- ## Training
--
-- The data are the mixture in the plane of [the exact map](#the-exact-map), whose flow map is
-- known. Network, optimiser, learning rate, batch and number of steps are the same for all rows and
-- were chosen at seed 101, which is not reported; everything else is the row's. Where the table has
-- no $\eta$, it is the default, $\eta = 3/4$. A teacher is a run of flow matching (`fm`; for PFMM
-- one of FMM) with as many steps as its student, trained first by the same command; progressive
-- distillation takes the student of $2N$ steps as the teacher of that of $N$. Six seeds, as in
-- `long`, are the fewest with which the sign-flip test of a single question can reach $p = 0.05$.

methods.settings = {
  data = "modes2", width = 64, depth = 4, time_input = "standard",
  optimiser = "radam", schedule = "linear", clip = 10, nfe = { 1, 4 },
}

local quick = { "lsd", "psd-m", "meanflow", "ct-continuous", "ayf-emd", "shortcut", "pd" }
for _, name in ipairs(fm.tree.keys(methods.losses)) do quick[#quick + 1] = name end

methods.profiles = {
  smoke = {
    methods = quick, by_method = { pd = { teacher_steps = 4 } },
    width = 32, depth = 2, batch = 64, micro = 64, steps = 20, lr = 2e-3, log_every = 10,
    ema = { 0.9 }, eval_samples = 512, seeds = 1,
  },
  laptop = {
    batch = 256, micro = 256, steps = 6000, lr = 2e-3, ema = { 0.99 }, eval_samples = 50000,
  },
  long = {
    batch = 256, micro = 256, steps = 20000, lr = 2e-3, ema = { 0.999 }, eval_samples = 50000,
    seeds = 6,
  },
}

-- ## What is measured
--
-- The map error and the error of the velocity are those of [the exact map](#the-exact-map). The
-- energy distance of the samples of $N$ steps, $2E|X-Y| - E|X-X'| - E|Y-Y'|$, is estimated from
-- samples and true points that start from the same base points. Pairs that share a base point are
-- left out, so the estimate is unbiased, and most of its sampling noise cancels.
--
-- Each method is sampled as its publication means it. Maps between all times are composed,
-- $X_{t_3,1} \circ \dots \circ X_{0,t_1}$ with $t_i = i/N$. Maps to $t = 1$ (consistency models)
-- have no such parts: after each step fresh noise returns the sample to time $t_i$, and
-- $X_{t_i,1}$ is applied again [@song2023]. Flow matching takes $N$ steps of Euler's method. The
-- map error over the triangle is meaningful for the first group alone; the error at $(0,1)$
-- compares all methods that have a one-step map.

methods.metrics = fm.map_error.metrics

methods.figures = {}

-- One line per method, ordered as in the tables, one point per run. The vertical lines are LSD's
-- mean at $N = 4$ and twice that. What is not positive stands at the left edge.
function methods.figures.rows(set)
  local names, points = set:methods(), { [1] = {}, [4] = {} }
  local lowest, least, most = 1e-6, 1e-2, 1
  for i, name in ipairs(names) do
    for _, run in ipairs(set:select({ method = name }).runs) do
      for N, list in pairs(points) do
        local value = math.max(run:value("law_energy", N), lowest)
        list[#list + 1] = { value, -i }
        least, most = math.min(least, value), math.max(most, value)
      end
    end
  end
  local series = {}
  local lsd = math.max(set:select({ method = "lsd" }):summary("law_energy", 4).mean, lowest)
  for k, factor in ipairs { 1, 2 } do
    series[k] = { kind = "line", label = factor .. " LSD", width = 1, dash = k,
      key = k == 1 and "LSD at N = 4" or "twice LSD", colour = "#808080",
      rows = { { factor * lsd, -0.5 }, { factor * lsd, -#names - 0.5 } } }
  end
  series[3] = { kind = "points", label = "N = 1", key = "N = 1", rows = points[1], colour = 6,
    point = 6, size = 0.8 }
  series[4] = { kind = "points", label = "N = 4", key = "N = 4", rows = points[4], colour = 7,
    point = 7, size = 0.8 }
  return { width = 460, height = 16 * #names, panels = { { xlabel = "energy distance",
    xlog = true, xrange = { least / 1.5, 1.5 * most }, ynames = names, series = series } } }
end

methods.render = {
  { kind = "relative", name = "energy", against = "lsd", format = "%.1e",
    metrics = { "law_energy", "law_energy" }, steps = { 1, 4 },
    columns = { "energy at N = 1", "energy at N = 4" },
    title = "Energy distance to the data, and its ratio to that of LSD at the same seeds." },
  { kind = "relative", name = "map", against = "lsd", format = "%.1e",
    metrics = { "law_error", "map_error", "map_diagonal" }, steps = { 1, 1, 1 },
    columns = { "error at (0, 1)", "map error", "velocity" },
    title = "Mean square errors relative to the variance of the data: of the one-step map, over "
      .. "the triangle, and of the velocity on the diagonal." },
  { kind = "aggregate", name = "both", metric = "law_energy", over = { "data" }, against = "lsd",
    title = "The energy distance at both numbers of steps together." },
  { kind = "rows", name = "rows" },
}

-- ## Results
--
-- ![The energy distance of every method on the mixture, one point per run.](figure:rows)
--
-- {{table energy}}
--
-- {{table both}}
--
-- {{table map}}
--
-- ### Where a row is far from LSD
--
-- **A weight on noise moves the minimum.** The exponent of MeanFlow, improved MeanFlow and
-- Alpha-Flow acts on residuals that contain $\dot I$. `meanflow-p-off` has it off the diagonal
-- alone, `meanflow-square` nowhere. The error of their velocities is
-- {{map_diagonal.MEANFLOW.N1 %.1e}}, {{map_diagonal.MEANFLOW-P-OFF.N1 %.1e}} and
-- {{map_diagonal.MEANFLOW-SQUARE.N1 %.1e}}; that of LSD is {{map_diagonal.LSD.N1 %.1e}}. The energy
-- distance at $N = 4$, each step compared with the one before:
--
-- - {{ratio law_energy.MEANFLOW.N4 law_energy.MEANFLOW-P-OFF.N4 %.3g}};
-- - {{ratio law_energy.MEANFLOW-P-OFF.N4 law_energy.MEANFLOW-SQUARE.N4 %.3g}};
-- - {{ratio law_energy.MEANFLOW-SQUARE.N4 law_energy.LSD.N4 %.3g}}.
--
-- Wherever the law of $\dot I_s$ given $I_s$ is not symmetric, such a row learns the flow of
-- another velocity, and on a mixture it is not comparable with the others.
--
-- **Few samples leave the diagonal.** PSD carries knowledge from short steps to long ones through
-- its own target, over many updates, and $\eta = 0.75$ leaves it a quarter of each batch.
-- `psd-quarter` is PSD-M with $\eta = 0.25$. At $N = 4$:
--
-- - {{ratio law_energy.PSD-QUARTER.N4 law_energy.PSD-M.N4 %.2f}};
-- - {{ratio law_energy.PSD-QUARTER.N4 law_energy.LSD.N4 %.2f}};
-- - {{ratio law_energy.PSD-M.N4 law_energy.LSD.N4 %.2f}}.
--
-- **A target may lag.** Shortcut's target is an average over a thousand steps, and only an eighth
-- of its batch is off the diagonal. `shortcut-quick` has the decay 0.9 in place of 0.999. At
-- $N = 4$:
--
-- - {{ratio law_energy.SHORTCUT-QUICK.N4 law_energy.SHORTCUT.N4 %.2f}};
-- - {{ratio law_energy.SHORTCUT-QUICK.N4 law_energy.LSD.N4 %.2f}}.
--
-- **Maps to $t = 1$ have no parts.** At $N = 1$ such a method answers the same question as LSD. At
-- $N = 4$ it does not: a step of consistency sampling replaces the noise, so an error in the law of
-- $X_{t,1}$ stays, whereas the error of a composed map falls with the length of its steps. For
-- these rows a ratio at $N = 4$ compares samplers as well as objectives. Continuous consistency
-- training:
--
-- - at $N = 1$, {{ratio law_energy.CT-CONTINUOUS.N1 law_energy.LSD.N1 %.2f}};
-- - at $N = 4$, {{ratio law_energy.CT-CONTINUOUS.N4 law_energy.LSD.N4 %.2f}}.

return methods
