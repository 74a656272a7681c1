-- # Ablations
--
-- The objectives leave choices open that the paper fixes: where to stop the gradient, which
-- fraction $\eta$ of a batch trains the diagonal, the interpolant, the loss of the residual, and
-- the law of the times. This chapter varies all of them for all methods, on three laws: the
-- checkerboard, whose edges are sharp; a mixture of eight Gaussians on a circle, whose modes are
-- separate and smooth; and two interleaved spirals, thin and curved. It asks two questions: which
-- method is ahead when the choices are averaged over, at equal samples and at equal seconds, and
-- what each choice does.
--
-- The budget of a run is small. The numbers compare the choices with one another and are not
-- comparable with those of the [checkerboard](#the-checkerboard) chapter.

local design = require "flowmap.design"

local ablations = {
  name = "ablations",
  title = "Ablations",
  methods = { "lsd", "esd", "esd-convex", "psd-m", "psd-u" },
}

-- ## Six factors
--
-- | factor | low: the paper's choice | high |
-- |:--|:--|:--|
-- | stop | target held fixed (`full` for ESD, `convex` otherwise) | `none` |
-- | eta | $\eta = 0.75$ | $\eta = 0.5$ |
-- | interpolant | linear | trigonometric |
-- | p | squared residual | $c^2\log(1 + L/c^2)$ with $c = 0.1$ |
-- | times | two sorted uniform times | two sorted logit-normal times of mean 0.4 [@geng2025] |
-- | budget | equal samples | equal seconds |
--
-- A budget of equal seconds must not depend on the machine, or results could not be repeated. It is
-- defined by fixed costs: an off-diagonal sample costs $o$ diagonal ones, with $o$ measured once
-- (`./flowmap explain`, and short runs) for each method and stop-gradient, and the steps of a run
-- are those of LSD with the paper's choices times the ratio of their costs,
-- $$\frac{0.75 + 0.25\, o_{\mathrm{LSD}}}{\eta + (1 - \eta)\, o}.$$
-- The processor time that the runs really took stands at the end of the chapter.

local OFF_COST = {
  ["lsd"] = { convex = 2.7, none = 3.6 },
  ["esd"] = { full = 3.4, none = 5.5 },
  ["esd-convex"] = { convex = 4.6 },
  ["psd-m"] = { convex = 2.5, none = 3.8 },
  ["psd-u"] = { convex = 2.5, none = 3.8 },
}

local function equal_seconds(steps, method, stop, eta)
  local reference = 0.75 + 0.25 * OFF_COST["lsd"].convex
  return math.floor(steps * reference / (eta + (1 - eta) * OFF_COST[method][stop]) + 0.5)
end

-- ## The design
--
-- All $2^6$ combinations on three laws with several seeds are too many runs. A fraction suffices
-- for main effects: the rows of an orthogonal design of Plackett and Burman, each with its mirror
-- image, in which every level is reversed. Main effects are then free of each other and of all
-- interactions of two factors (resolution IV).
--
-- A row and its mirror image share a seed and a law, and no other pair has that seed. So
--
-- - all methods meet in the same cells, and the log ratio of two methods, averaged over the two
--   cells of a seed, is one independent value per seed;
-- - in the difference of the two cells everything cancels that the seed, the law and interactions
--   of two factors contribute. The differences are fitted by the six main effects.
--
-- ESD with the stop-gradient on $v_{s,s}$ alone (ESD-CONVEX) runs in the cells in which the target
-- is held fixed; in the others it would be ESD. `laptop` has 12 rows, four on each law; `long` has
-- eight rows on each of the three laws.

local LAWS = { "checkerboard", "gaussians", "spirals" }
local FIRST = 11 -- seed of the first row

local STOPS = { esd = "full" } -- others: convex

-- The settings of a cell of a method; nil where the method has no such cell.
local function cell(row, method, law, seed, steps)
  local point = design.point({
    { { stop = STOPS[method] or "convex" }, { stop = "none" } },
    { { eta = 0.75 }, { eta = 0.5 } },
    { { interpolant = "linear" }, { interpolant = "trig" } },
    { { p = 0.0 }, { p = 1.0 } },
    { { times = "uniform" }, { times = "logit_normal" } },
    { { budget = "samples" }, { budget = "seconds" } },
  }, row, { method = method, data = law, seed = seed })
  if not OFF_COST[method][point.stop] then return nil end
  if point.budget == "seconds" then
    point.steps = equal_seconds(steps, method, point.stop, point.eta)
  end
  return point
end

-- The grid of a profile: row k of the design has the law law_of(k).
local function grid(rows, law_of, steps)
  local points, seeds = {}, {}
  for k, row in ipairs(rows) do
    seeds[k] = FIRST + k - 1
    for _, method in ipairs(ablations.methods) do
      points[#points + 1] = cell(row, method, law_of(k), seeds[k], steps)
      points[#points + 1] = cell(design.mirror(row), method, law_of(k), seeds[k], steps)
    end
  end
  return points, seeds
end

local function in_turn(k) return LAWS[(k - 1) % 3 + 1] end

local function eight_each(k) return LAWS[(k - 1) // 8 + 1] end

local EIGHT, TWELVE = design.plackett_burman(8, 6), design.plackett_burman(12, 6)
local LONG = {}
for k = 1, 24 do LONG[k] = EIGHT[(k - 1) % 8 + 1] end

ablations.options = { budget = "samples" }

ablations.settings = {
  net = "mlp", width = 128, depth = 4, time_input = "standard",
  optimiser = "radam", schedule = "linear", clip = 10, times_mean = { 0.4, 0.4 },
  nfe = { 1, 2, 4 },
}

-- ## Profiles
--
-- A run that diverges ends at that point: its seed leaves the comparisons that need the run, and
-- the notes below the tables state the step. No setting was chosen with the seeds of this chapter,
-- which start at 11: network and learning rate are those of earlier short runs of seed 1.

local function profile(it, rows, law_of)
  it.grid, it.seeds = grid(rows, law_of, it.steps)
  return it
end

ablations.profiles = {
  smoke = profile({
    width = 32, depth = 2, batch = 64, micro = 64, steps = 20, lr = 2e-3, log_every = 10,
    ema = { 0.9 }, eval_samples = 5000,
  }, { table.unpack(TWELVE, 1, 2) }, in_turn),
  laptop = profile({
    batch = 256, micro = 256, steps = 5000, lr = 2e-3, ema = { 0.99 }, eval_samples = 100000,
  }, TWELVE, in_turn),
  long = profile({
    batch = 256, micro = 256, steps = 15000, lr = 2e-3, ema = { 0.999 }, eval_samples = 200000,
  }, LONG, eight_each),
}

local FACTORS = {
  { name = "stop", high = { stop = "none" } },
  { name = "eta", low = { eta = 0.75 } },
  { name = "interpolant", low = { interpolant = "linear" } },
  { name = "p", low = { p = 0.0 } },
  { name = "times", low = { times = "uniform" } },
  { name = "budget", low = { budget = "samples" } },
}

local PARTS = {
  { "equal samples", { budget = "samples" } }, { "equal seconds", { budget = "seconds" } },
  { "checkerboard", { data = "checkerboard" } }, { "gaussians", { data = "gaussians" } },
  { "spirals", { data = "spirals" } },
}

ablations.render = {
  { kind = "ratios", name = "methods-N1", metric = "kl", steps = { 1 }, against = "LSD",
    factors = FACTORS, parts = PARTS, title = "Methods against LSD: log ratio of "
      .. "KL(data || model) at N = 1, averaged over cells." },
  { kind = "effects", name = "effects-N1", metric = "kl", N = 1, factors = FACTORS,
    title = "Main effects on the log of KL(data || model) at N = 1." },
  { kind = "ratios", name = "methods-N4", metric = "kl", steps = { 4 }, against = "LSD",
    factors = FACTORS, parts = PARTS, title = "Methods against LSD: log ratio of "
      .. "KL(data || model) at N = 4, averaged over cells." },
  { kind = "effects", name = "effects-N4", metric = "kl", N = 4, factors = FACTORS,
    title = "Main effects on the log of KL(data || model) at N = 4." },
  { kind = "cost", name = "cost", rows = { "method", "stop", "eta" },
    reference = { method = "LSD", stop = "convex", eta = 0.75 },
    title = "Processor time of training." },
}

-- ## Which method
--
-- Averaged over the design, in one step and at equal samples:
--
-- - {{effect methods-N1 | PSD-M / LSD, N = 1 | equal samples}};
-- - {{effect methods-N1 | PSD-U / LSD, N = 1 | equal samples}};
-- - {{effect methods-N1 | ESD / LSD, N = 1 | equal samples}};
-- - {{effect methods-N1 | ESD-CONVEX / LSD, N = 1 | equal samples}};
--
-- and at equal seconds:
--
-- - {{effect methods-N1 | PSD-M / LSD, N = 1 | equal seconds}};
-- - {{effect methods-N1 | PSD-U / LSD, N = 1 | equal seconds}};
-- - {{effect methods-N1 | ESD / LSD, N = 1 | equal seconds}};
-- - {{effect methods-N1 | ESD-CONVEX / LSD, N = 1 | equal seconds}}.
--
-- The columns of the budgets use one cell of each seed, those of the laws both.
--
-- {{table methods-N1}}
--
-- In the long set LSD is ahead of each of the other methods on each of the three laws, at equal
-- samples and at equal seconds: the further steps that equal seconds give PSD, which needs no
-- tangent, narrow the lead only a little. The lead over PSD is largest on the smooth mixture and
-- smallest on the thin spirals:
--
-- - {{effect methods-N1 | PSD-M / LSD, N = 1 | gaussians}};
-- - {{effect methods-N1 | PSD-M / LSD, N = 1 | spirals}}.
--
-- With the eight seeds of a law in `long`, such a p is the smallest that is possible after the
-- correction for four questions.
--
-- In four steps, at equal samples:
--
-- - {{effect methods-N4 | PSD-M / LSD, N = 4 | equal samples}};
-- - {{effect methods-N4 | ESD / LSD, N = 4 | equal samples}};
-- - {{effect methods-N4 | ESD-CONVEX / LSD, N = 4 | equal samples}}.
--
-- In the long set the ratio of PSD-M to LSD falls from one step to four and that of ESD does not;
-- whether this is more than chance was not tested. On the checkerboard, in four steps, no
-- difference between LSD and ESD-CONVEX is shown there:
--
-- - {{effect methods-N4 | ESD-CONVEX / LSD, N = 4 | checkerboard}}.
--
-- {{table methods-N4}}
--
-- ## Which choices
--
-- The main effects, averaged over the methods, in one step (p is that of a t test of the fit):
--
-- - {{effect effects-N1 | stop | all methods}};
-- - {{effect effects-N1 | eta | all methods}};
-- - {{effect effects-N1 | interpolant | all methods}};
-- - {{effect effects-N1 | p | all methods}};
-- - {{effect effects-N1 | times | all methods}};
-- - {{effect effects-N1 | budget | all methods}}.
--
-- A ratio below 1 is in favour of the choice that is not the paper's. The effect of the budget is
-- that of the steps that equal seconds take away or add. Interactions are not estimated: where
-- choices depend on each other, a main effect is an average that no single configuration need show.
--
-- {{table effects-N1}}
--
-- In the long set the largest effect in one step is that of the law of the times: logit-normal
-- times, which MeanFlow [@geng2025] prefers on images, are worse than the paper's uniform ones for
-- each of the four methods of the table. A likely reason, not tested here, is that they rarely
-- reach the corner $(0, 1)$ that one step uses. The robust loss is worse as well where a difference
-- is shown, and more off-diagonal samples are better for PSD. No effect of the stop-gradient is
-- shown for LSD and PSD; ESD is better without it:
--
-- - {{effect effects-N1 | stop | LSD}};
-- - {{effect effects-N1 | stop | ESD}};
-- - {{effect effects-N1 | eta | PSD-M}};
-- - {{effect effects-N1 | p | LSD}}.
--
-- In four steps, in the long set, the interpolant takes the place of the times: the trigonometric
-- one is worse for PSD, and no difference is shown for LSD:
--
-- - {{effect effects-N4 | times | all methods}};
-- - {{effect effects-N4 | interpolant | PSD-M}};
-- - {{effect effects-N4 | interpolant | LSD}};
-- - {{effect effects-N4 | stop | ESD}}.
--
-- {{table effects-N4}}
--
-- ## Cost
--
-- Relative to LSD with the paper's choices, the fixed costs that define equal seconds are close to
-- what the runs of the long set took: somewhat too high for $\eta = 0.5$ and, at $\eta = 0.75$,
-- somewhat too low for ESD with its stop-gradient and for LSD and PSD without one.
--
-- {{table cost}}

return ablations
