-- # The checkerboard
--
-- Four objectives learn the same object: the flow map $X_{s,t}$, which carries a point of a
-- probability flow from time $s$ to time $t$. This chapter compares them on the paper's
-- two-dimensional test, the uniform distribution on eight squares of a 4 × 4 board over
-- $[-1,1]^2$. The squares have sharp edges and touch only at corners, so a map that reaches them
-- from a Gaussian in one step has to tear the plane apart. The objectives are the paper's, to the
-- letter; [a later chapter](#beyond-the-paper-changing-the-objective) measures what is gained
-- by changing them.
--
-- ## The flow map
--
-- Base samples $x_0 \sim N(0, \sigma^2 I)$ and data $x_1$ are drawn independently; $\sigma$ is the
-- data's standard deviation, $1/\sqrt{3}$. The linear interpolant connects them,
-- $$I_t = (1-t)\,x_0 + t\,x_1, \qquad \dot I_t = x_1 - x_0,$$
-- and its probability flow has the velocity $b_t(x) = E[\dot I_t \mid I_t = x]$. The flow map is
-- parametrised as
-- $$X_{s,t}(x) = x + (t-s)\,v_{s,t}(x),$$
-- so that it is the identity at $s = t$ and $v_{t,t} = b_t$ (the tangent condition).
--
-- ![The triangle of time pairs. Left: a batch is split into a diagonal part, which learns the
-- velocity, and an off-diagonal part, which learns the map. Middle: what each objective compares at
-- $(s, t)$. LSD compares the derivative in $t$ with the velocity at $(t, t)$, ESD that in $s$ with
-- the velocity at $(s, s)$, and PSD the jump with two shorter ones. Right: the pairs used by
-- sampling with $N$ equal steps.](figure:triangle)
--
-- ## The objectives
--
-- Every method trains the diagonal by flow matching,
-- $$L_b(t) = E\,|v_{t,t}(I_t) - \dot I_t|^2,$$ {#eq:diagonal}
-- on a fraction $\eta = 0.75$ of each batch, and the rest of the triangle $s < t$ by the squared
-- residual of one of three equivalent properties of the flow map, with weight 1 and $(s, t)$ two
-- sorted uniform times. The network is its own teacher: a stop-gradient, $\operatorname{sg}$, makes
-- the target of a residual a constant. With $x = I_s$ there are four objectives, each below with
-- the Lua that computes its residual. There, `a.map` is $X$, `stop_if` stops the gradient if the
-- run has the named stop-gradient, and `velocity` is $v_{t,t}$ or $v_{s,s}$ for these methods.
--
-- **LSD**, Lagrangian: the map moves with the velocity at its end. The whole target is constant
-- (`convex`).
-- $$L_{\text{LSD}}(s,t) = E\,\bigl|\partial_t X_{s,t}(x)
--   - \operatorname{sg}\bigl(v_{t,t}(X_{s,t}(x))\bigr)\bigr|^2$$ {#eq:lsd}
--
-- {{source lua/flowmap/residuals.lua M.lagrangian}}
--
-- **ESD**, Eulerian: the map does not change when its start moves with the velocity. The product
-- with the spatial Jacobian is constant (`full`).
-- $$L_{\text{ESD}}(s,t) = E\,\bigl|\partial_s X_{s,t}(x)
--   + \operatorname{sg}\bigl(\nabla X_{s,t}(x)\,v_{s,s}(x)\bigr)\bigr|^2$$ {#eq:esd}
-- A second form has the stop-gradient on the velocity alone (`convex`), so that the gradient passes
-- through $\nabla X_{s,t}$; the tables call it ESD-CONVEX:
-- $$L_{\text{ESD}}^{\text{convex}}(s,t) = E\,\bigl|\partial_s X_{s,t}(x)
--   + \nabla X_{s,t}(x)\,\operatorname{sg}\bigl(v_{s,s}(x)\bigr)\bigr|^2$$ {#eq:esd-convex}
-- Why the difference matters is the subject of the chapter on [Eulerian
-- self-distillation](#why-eulerian-self-distillation-is-unstable-and-what-cures-it).
--
-- {{source lua/flowmap/residuals.lua M.eulerian}}
--
-- **PSD**, progressive: one jump equals two. The average of the two shorter jumps is constant
-- (`convex`), and $\gamma$, `g` in the code, is 1/2 in **PSD-M** and uniform on $[0,1]$ in
-- **PSD-U**.
-- $$L_{\text{PSD}}(s,t) = E\,\bigl|v_{s,t}(x) - \operatorname{sg}\bigl((1-\gamma)\,v_{s,u}(x)
--   + \gamma\,v_{u,t}(X_{s,u}(x))\bigr)\bigr|^2, \qquad u = \gamma s + (1-\gamma)t$$ {#eq:psd}
--
-- {{source lua/flowmap/residuals.lua by_way}}
--
-- {{source lua/flowmap/residuals.lua M.semigroup}}
--
-- These functions serve all published methods. Which of their branches a method takes is stated by
-- its row of coordinates, of which PSD's is
--
-- {{source lua/flowmap/methods/psd.lua return}}

local checkerboard = {
  name = "checkerboard",
  title = "Checkerboard",
  methods = { "lsd", "esd", "esd-convex", "psd-m", "psd-u" },
}

-- ## The network and the common settings
--
-- The network is a multilayer perceptron with GELU activations and input $(s, t, x/\sigma)$; the
-- reference has five hidden layers of width 512. The optimiser is RAdam [@liu2020] with the
-- gradient's norm clipped. Exponential moving averages of the weights are kept, and the first of
-- them is evaluated, always at the last step: no checkpoint is selected by its result.

checkerboard.settings = {
  data = "checkerboard",
  interpolant = "linear",
  net = "mlp", width = 512, depth = 5,
  optimiser = "radam", b1 = 0.9, b2 = 0.999, eps = 1e-8, clip = 10,
  nfe = { 1, 2, 4, 8, 16 }, kl_estimates = true,
}

-- The diagonal fraction, the law of times, the weight and the exponent of the residual are not set
-- here: their defaults are the paper's, and another method (`--method meanflow`) brings its own.

-- ## Profiles
--
-- `paper` is the reference configuration: {{published.reference.samples %,d}} samples for each
-- method, which take weeks on a laptop's processor. `laptop` and `long` keep the objectives and
-- reduce the budget. Their network is deeper and narrower, eight layers of width 128, at a ninth of
-- the reference's cost per sample; batches are small and freshly drawn, the times are standardised
-- to mean 0 and variance 1, and the learning rate falls linearly to zero. These choices come from
-- short runs of seed 1 (`paper/exploration.csv`), none of which is reported here: the seeds of the
-- tables start at 11. All methods of a seed share their initial weights and their random numbers,
-- so their differences are paired.

checkerboard.profiles = {
  smoke = {
    width = 64, depth = 3, batch = 128, micro = 64, steps = 60, lr = 2e-3, log_every = 10,
    ema = { 0.9 }, eval_samples = 20000,
  },
  laptop = {
    seeds = { 11, 12, 13 },
    width = 128, depth = 8, time_input = "standard",
    batch = 256, micro = 256, steps = 40000, lr = 2e-3, schedule = "linear", clip = 1,
    ema = { 0.999 }, eval_samples = 250000,
  },
  long = {
    seeds = { 11, 12, 13, 14, 15, 16, 17, 18, 19, 20 },
    width = 128, depth = 8, time_input = "standard",
    batch = 256, micro = 256, steps = 80000, lr = 2e-3, schedule = "linear", clip = 1,
    ema = { 0.999 }, audit_bytes = 1 << 26,
  },
  paper = {
    dataset_size = 10000000, batch = 100000, micro = 512, steps = 250000, log_every = 50,
    lr = 1e-3, schedule = "sqrt", decay_start = 35000, ema = { 0.999, 0.9999 },
  },
}

-- ## How the samples are judged
--
-- The samples of $N$ steps, $x \leftarrow X_{t_i, t_{i+1}}(x)$ with $t_i = i/N$, are compared with
-- the exact distribution. The square $[-1,1]^2$ is divided into 64 × 64 cells, and one more cell
-- stands for everything outside. The data's cell masses $p_k$ are exact. From $n$ samples, $c_k$ of
-- which fall into cell $k$,
-- $$q_k = \frac{c_k + 1/2}{n + 4097/2}, \qquad
--   \operatorname{KL}(\text{data} \,\|\, \text{model}) \approx \sum_k p_k \log \frac{p_k}{q_k}.$$
-- True samples do not give 0 either: their value, about $4097/(2n)$, is the estimator's floor and
-- is printed beside the results. The other two measures are the mass that falls outside the squares
-- and the energy distance $2E|X-Y| - E|X-X'| - E|Y-Y'|$ to true samples [@szekely2013]. The latter
-- is unbiased; its floor is the value of one set of true samples against another, which varies
-- about 0.
--
-- The paper does not publish its estimator of the KL divergence, and the value depends on it. Each
-- run is therefore also judged by coarser and finer grids, by fewer samples, and by nearest
-- neighbours, without any grid [@wang2009]. Since the estimators disagree even on true samples, the
-- published values cannot be compared with ours, and this chapter does not print them. What can be
-- compared is the order of the methods.

local ESTIMATES = {
  metrics = { "kl_by_grid32", "kl", "kl_by_grid128", "kl_by_n25k", "kl_by_n100k", "kl_by_knn" },
  columns = { "32 × 32", "64 × 64", "128 × 128", "25,000 samples", "100,000 samples",
    "neighbours" },
}

local function sensitivity(N)
  return { kind = "several", name = "estimators-N" .. N, rows = { "method" }, N = N,
    metrics = ESTIMATES.metrics, columns = ESTIMATES.columns, format = "%.3f", floors = true,
    order = true, title = ("KL(data || model) at N = %d by six estimators."):format(N) }
end

checkerboard.render = {
  { kind = "compare", name = "kl", metric = "kl", floor = "kl_floor", paired = true,
    title = "KL(data || model) on the checkerboard against the number of steps N." },
  { kind = "compare", name = "outside", metric = "outside",
    title = "Mass outside the eight squares." },
  { kind = "compare", name = "energy", metric = "energy", floor = "energy_floor", format = "%.1e",
    title = "Energy distance to true samples (unbiased, so it may be negative near 0)." },
  sensitivity(1), sensitivity(16),
  { kind = "density", name = "density", range = { -1.2, 1.2 }, bins = 96, metric = "kl",
    label = "KL" },
  { kind = "against_steps", name = "kl", metric = "kl", label = "KL(data || model)" },
  { kind = "traces", name = "traces" },
  { kind = "triangle", name = "triangle", eta = 0.75 },
}

-- ## Results
--
-- @tab:kl and @fig:kl compare the methods; @fig:density shows their samples.
--
-- {{table kl}}
--
-- ![Density of the samples: one row per method, one column per number of steps, the data at the
-- left, on one colour scale. The number below each panel is its KL.](figure:density)
--
-- ![KL against the number of steps: mean over seeds with its 95 % interval, and the single
-- seeds.](figure:kl)
--
-- What the paper's numbers on this test say of the order of methods and steps, as claims about
-- these runs:
--
-- - LSD is below PSD-M at one step: {{claim lsd-psd-m-1: kl.LSD.N1 < kl.PSD-M.N1}};
-- - LSD is below PSD-U at one step: {{claim lsd-psd-u-1: kl.LSD.N1 < kl.PSD-U.N1}};
-- - LSD is below ESD at one step: {{claim lsd-esd-1: kl.LSD.N1 < kl.ESD.N1}};
-- - LSD is below PSD-M at four steps: {{claim lsd-psd-m-4: kl.LSD.N4 < kl.PSD-M.N4}};
-- - LSD is below PSD-U at four steps: {{claim lsd-psd-u-4: kl.LSD.N4 < kl.PSD-U.N4}};
-- - LSD is below ESD at four steps: {{claim lsd-esd-4: kl.LSD.N4 < kl.ESD.N4}};
-- - PSD-M is below LSD at sixteen steps: {{claim psd-m-lsd-16: kl.PSD-M.N16 < kl.LSD.N16}};
-- - PSD-U is below LSD at sixteen steps: {{claim psd-u-lsd-16: kl.PSD-U.N16 < kl.LSD.N16}};
-- - LSD is lower at sixteen steps than at one: {{claim lsd-steps: kl.LSD.N16 < kl.LSD.N1}};
-- - PSD-M is lower at sixteen steps than at one: {{claim psd-m-steps: kl.PSD-M.N16 < kl.PSD-M.N1}}.
--
-- And three that the paper does not make, about ESD with its stop-gradient on the velocity alone:
--
-- - it is below ESD at one step: {{claim convex-1: kl.ESD-CONVEX.N1 < kl.ESD.N1}};
-- - it is below ESD at sixteen steps: {{claim convex-16: kl.ESD-CONVEX.N16 < kl.ESD.N16}};
-- - LSD is below it at one step: {{claim lsd-convex-1: kl.LSD.N1 < kl.ESD-CONVEX.N1}}.
--
-- As ratios of the KL at one step to that of LSD:
--
-- - {{ratio kl.PSD-M.N1 kl.LSD.N1 %.2f}};
-- - {{ratio kl.ESD-CONVEX.N1 kl.LSD.N1 %.2f}}.
--
-- {{table outside}}
--
-- {{table energy}}
--
-- ## What the estimator does
--
-- The two tables judge the same samples by six estimators of the same divergence. The last row is
-- what samples of the data themselves would get; the order of the methods under each estimator
-- stands below.
--
-- {{table estimators-N1}}
--
-- {{table estimators-N16}}
--
-- ![Training traces: the loss, its off-diagonal term and the norm of the gradient before clipping,
-- one line per method and seed.](figure:traces)

return checkerboard
