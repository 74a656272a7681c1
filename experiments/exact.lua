-- # The exact map
--
-- A sampler that draws from the right distribution need not have learned the right map:
-- infinitely many maps carry a Gaussian to the data. The losses of self-distillation, however,
-- ask for one of them, the flow map $X_{s,t}$ of the probability flow, and few-step samples are
-- composed of its parts. On images nobody knows that map. Here the data are mixtures of
-- Gaussians, for which the velocity $b_t$ is a formula, so the true map is known to more digits
-- than a network can learn, and two questions can be asked separately: is the learned map the
-- **right map**, and do its samples have the **right law**?
--
-- ## The velocity and the map
--
-- Let the data be $x_1 \sim \sum_k w_k N(m_k, D_k)$ with diagonal $D_k$ and the base
-- $x_0 \sim N(0, \sigma^2 I)$. Given component $k$, the pair $(\dot I_t, I_t)$ is Gaussian; with
-- $V_k = \alpha^2\sigma^2 + \beta^2 D_k$ and
-- $C_k = \alpha\dot\alpha\,\sigma^2 + \beta\dot\beta\,D_k$,
-- $$b_t(x) = E[\dot I_t \mid I_t = x]
--   = \sum_k p_k(x)\,\bigl(\dot\beta\, m_k + C_k V_k^{-1} (x - \beta m_k)\bigr),$$
-- where $p_k(x)$ is the posterior probability of component $k$ under
-- $I_t \sim \sum_k w_k N(\beta m_k, V_k)$ [@albergo2023]. The map follows from $b$ by an
-- extrapolated midpoint rule of order 8 in double precision. For one Gaussian it must agree with
-- $X_{s,t}(x) = \beta_t m + (V_t/V_s)^{1/2}(x - \beta_s m)$, on the line with the map of quantiles
-- $F_t^{-1} \circ F_s$, and $X_{t,s} \circ X_{s,t}$ with the identity; the tests check all three to
-- $10^{-9}$.
--
-- The data sets are a single Gaussian (`normal`), whose map is affine, and a mixture (`modes`),
-- whose map is not, each in 1, 2 and 16 dimensions.

local fm = require "flowmap"

local exact = {
  name = "exact",
  title = "The exact map",
  methods = { "lsd", "esd", "esd-convex", "psd-m", "psd-u" },
  seeds = 1,
}

exact.grid = { data = { "normal1", "normal2", "normal16", "modes1", "modes2", "modes16" } }

-- ## The objectives
--
-- All objectives are the paper's: the squared residual, uniform times, a diagonal fraction of 0.75.
-- ESD appears twice, with the paper's stop-gradient, which holds all of $\nabla X_{s,t} \cdot
-- v_{s,s}$ fixed, and with the one that holds only $v_{s,s}$ fixed (`esd-convex`).

exact.settings = {
  interpolant = "linear", net = "mlp", width = 64, depth = 4, time_input = "standard",
  optimiser = "radam", schedule = "linear", clip = 10, eta = 0.75, nfe = { 1, 2, 4 },
}

-- The profiles differ in the size of the network, the number of steps, the bound on the gradient's
-- norm and the length of the average. With the one seed of `laptop` no difference between methods
-- is shown, whatever its size; `long` has six.

exact.profiles = {
  smoke = {
    methods = { "lsd", "esd-convex", "psd-m" },
    width = 32, depth = 2, batch = 64, micro = 64, steps = 20, lr = 2e-3, log_every = 10,
    ema = { 0.9 }, eval_samples = 5000,
  },
  laptop = {
    batch = 256, micro = 256, steps = 6000, lr = 2e-3, ema = { 0.99 }, eval_samples = 50000,
  },
  long = {
    width = 128, batch = 256, micro = 256, steps = 20000, lr = 2e-3, clip = 1, ema = { 0.999 },
    eval_samples = 200000, seeds = 6,
  },
}

-- ## What is measured
--
-- Base points $x_0$ are carried along the exact flow to $x_t$ at thirteen equally spaced times.
-- Since $x_s$ has the law of $I_s$ and $x_t = X_{s,t}(x_s)$, one set of trajectories gives the
-- error of the trained map $\hat X$ at all pairs of times. The **map error** is the mean over the
-- pairs $s < t$ of
-- $$E\,|\hat X_{s,t}(x_s) - x_t|^2 \;/\; E\,|x_1 - E x_1|^2.$$
-- The same points give the Lagrangian, Eulerian and semigroup residuals of $\hat X$ and the error
-- of its velocity, $E|\hat v_{t,t}(x_t) - b_t(x_t)|^2$. This is the loss of flow matching less its
-- smallest value, the mean variance of $\dot I_t$ given $I_t$. All are divided by the same
-- $E\,|x_1 - E x_1|^2$, which this chapter calls the variance of the data: it is summed over
-- coordinates, whereas $\sigma$ belongs to a single one.
--
-- For the law of the one-step samples, the Wasserstein-2 distance $W_2$ to the data is bracketed.
-- From above, $\hat X_{0,1}(x_0)$ and $x_1$ are one coupling, so $W_2^2$ is at most the error at
-- $(0,1)$. From below, $W_2$ is at least that of any projection on a line, where sorting computes
-- it; the largest of many projections is taken (in one dimension this is $W_2$ itself). The true
-- points are the ends of the trajectories of the same base points, so most of the sampling noise
-- cancels. Both are relative to the root of the data's variance. On the line, where the lower bound
-- is $W_2$, a method has the right law but the wrong map if the bound is small and the map error is
-- not. In more dimensions a small lower bound proves nothing.

exact.metrics = fm.map_error.metrics

-- ## Two bounds
--
-- Each of the two differential losses bounds $W_2$ [@boffi2025]. The constants come from two short
-- computations. Let $e_t = \hat v_{t,t}(x_t) - b_t(x_t)$ be the error of the velocity on a true
-- trajectory.
--
-- *Lagrangian.* With $r_t$ the Lagrangian residual of $y_t = \hat X_{0,t}(x_0)$,
-- $\dot y_t = \hat v_{t,t}(y_t) + r_t$ and $\dot x_t = \hat v_{t,t}(x_t) - e_t$. If
-- $\hat v_{t,t}$ has the Lipschitz constant $L_t$, then
-- $$\tfrac{d}{dt} |y_t - x_t|^2 \le (2 L_t + 1)\,|y_t - x_t|^2 + |r_t + e_t|^2,$$
-- and Gronwall's inequality gives, with $\Lambda = \int_0^1 L_t\,dt$,
-- $$W_2^2 \le E|y_1 - x_1|^2
--   \le 2\,e^{1 + 2\Lambda} \int_0^1 \bigl(E|r_t|^2 + E|e_t|^2\bigr)\,dt.$$
--
-- *Eulerian.* With $q_s$ the Eulerian residual of $\hat X_{s,1}$ at $x_s$,
-- $\frac{d}{ds} \hat X_{s,1}(x_s) = q_s - \nabla \hat X_{s,1}(x_s)\, e_s$. Integrated from 0 to
-- 1, the left-hand side is $x_1 - \hat X_{0,1}(x_0)$, so with $G_s \ge |\nabla \hat X_{s,1}|$
-- $$W_2^2 \le E|\hat X_{0,1}(x_0) - x_1|^2
--   \le 2 \int_0^1 \bigl(E|q_s|^2 + G_s^2\, E|e_s|^2\bigr)\,ds.$$
--
-- If both terms of a loss are at most $\varepsilon$, these are $4 e^{1+2\Lambda}\varepsilon$ and
-- $2(1 + G^2)\varepsilon$. Were $\hat X$ the flow map of $\hat v_{t,t}$, $G \le e^{\Lambda}$ would
-- hold, but $G$ can be measured directly, which removes the exponential from the second bound and
-- not from the first: the Lagrangian argument follows two trajectories as they separate, the
-- Eulerian one differentiates the map itself. Below, $L_t$ and $G_s$ are the largest spectral
-- norms of the gradients at sampled points and the integrals are trapezoidal sums over the
-- thirteen times; the bounds are therefore estimates. The bound of a network that has exploded may
-- be as large as exponentials get; the table then shows `GREATEST` of
-- `lua/flowmap/measure/bounds.lua` in its place.

-- @fig:bounds shows each bound against what it bounds, one point per run, and the error of the map
-- against that of the law. A run whose error at $(0,1)$ exceeds the variance of the data has
-- learned nothing and is left out.

local function runs_of(set, method)
  local runs = {}
  for _, run in ipairs(set:select({ method = method }).runs) do
    if run:value("law_error", 1) <= 1 then runs[#runs + 1] = run end
  end
  return runs
end

local function points_panel(set, title, xlabel, x, y)
  local panel = { title = title, xlabel = xlabel, xlog = true, ylog = true, series = {} }
  local low, high = 1, 0.1
  for k, method in ipairs(set:methods()) do
    local rows = {}
    for i, run in ipairs(runs_of(set, method)) do
      rows[i] = { x(run), y(run) }
      low, high = math.min(low, rows[i][1]), math.max(high, rows[i][1])
    end
    panel.series[k] = { kind = "points", key = method:gsub("-CONVEX$", " convex"), label = method,
      rows = rows,
      colour = ({ 6, 7, 8, 4, 2 })[k] or k, point = ({ 7, 5, 4, 9, 11 })[k] or k, size = 0.9 }
  end
  table.insert(panel.series, 1, { kind = "line", label = "equal", key = "equal", width = 1,
    colour = "#808080", rows = { { low, low }, { high, high } } })
  return panel
end

local function value(field) return function(run) return run:value(field, 1) end end

local function above(run) return math.sqrt(run:value("law_error", 1)) end

exact.figures = {}

exact.figures.bounds = function(set)
  local coupled = "root of the error at (0, 1)"
  return { columns = 3, width = 250, height = 250, panels = {
    points_panel(set, "Lagrangian bound of W2", coupled, above, value "map_bound_lsd"),
    points_panel(set, "Eulerian bound of W2", coupled, above, value "map_bound_esd"),
    points_panel(set, coupled, "W2 from below", value "law_w2", above),
  } }
end

-- ## A robust loss on the diagonal
--
-- Several published methods weight a sample by $(|r|^2 + c^2)^{-p}$, where $r$ is its residual.
-- Off the diagonal this moves no minimum, because the residual of a flow map is 0 everywhere. On
-- the diagonal it does: the residual $v - \dot I_t$ of the best $v$ is not 0, and the weighted
-- loss is stationary where
-- $$E\bigl[(v - \dot I_t)\,(|v - \dot I_t|^2 + c^2)^{-p} \,\big|\, I_t = x\bigr] = 0,$$
-- at a point near the median of the conditional law of $\dot I_t$ ($p = 1/2$) or near one of its
-- modes ($p = 1$), not at its mean. For a Gaussian they coincide; for a mixture they do not. The
-- figure solves this equation by quadrature for the mixture on the line, without any training.

exact.figures.bias = function()
  local set, panels = fm.data.find "modes1", {}
  for k, t in ipairs { 0.25, 0.5, 0.75 } do
    panels[k] = fm.robust_bias.panel(set, { interpolant = fm.interpolants.linear, sigma = set.sd,
      t = t, c = 0.1, p = { 0, 0.5, 1 } })
    panels[k].ylabel = k == 1 and panels[k].ylabel or nil
  end
  return { columns = 3, width = 250, height = 200, panels = panels }
end

-- ![The bias $v_{t,t}(x) - b_t(x)$ of flow matching with sample weights
-- $(|r|^2 + c^2)^{-p}$ at its optimum, for the mixture on the line at three times, by quadrature.
-- The vertical scales differ.](figure:bias)
--
-- Near the boundaries between the modes the bias reaches and exceeds one standard deviation of the
-- data per unit of time, and for $p = 1$ it jumps. A method with $p > 0$ on the diagonal thus
-- learns the flow map of another velocity: its own characterisations hold, but its samples do not
-- have the law of the data.

exact.render = {
  { kind = "several", name = "map", rows = { "data", "method" }, N = 1, format = "%.1e",
    metrics = { "map_error", "map_worst", "law_error", "law_w2", "energy" },
    columns = { "map error", "largest", "at (0, 1)", "W2 from below", "energy distance" },
    title = "Right map and right law: the error of the map over the triangle (mean, and largest "
      .. "at one pair of times), and the law of one-step samples." },
  { kind = "aggregate", name = "over-laws", metric = "map_error", steps = { 1 }, over = { "data" },
    against = "lsd", title = "The map error of all six laws together." },
  { kind = "several", name = "residuals", rows = { "data", "method" }, N = 1, format = "%.1e",
    metrics = { "map_diagonal", "map_lagrangian", "map_eulerian", "map_semigroup" },
    columns = { "velocity", "Lagrangian", "Eulerian", "semigroup" },
    title = "Mean squares over the triangle relative to the variance of the data: the error of "
      .. "the velocity and the three residuals." },
  { kind = "several", name = "bounds", rows = { "data", "method" }, N = 1, format = "%.2g",
    metrics = { "law_w2", "map_bound_lsd", "map_bound_esd", "map_lipschitz", "map_gradient" },
    columns = { "W2 from below", "Lagrangian bound", "Eulerian bound", "Lambda", "G" },
    title = "Wasserstein-2 distance of one-step samples relative to the root of the data's "
      .. "variance, its two bounds, and their constants." },
  { kind = "heat", name = "error-modes2", where = { data = "modes2" }, file = "map-error",
    label = "relative error", metric = "map_error", most = 1 },
  { kind = "heat", name = "error-modes16", where = { data = "modes16" }, file = "map-error",
    label = "relative error", metric = "map_error", most = 1 },
  { kind = "bounds", name = "bounds" },
  { kind = "bias", name = "bias" },
}

-- ## Results
--
-- On the mixture in the plane LSD reaches a map error of {{map_error.LSD.N1 data=modes2 %.1e}} of
-- the data's variance and PSD-M {{map_error.PSD-M.N1 data=modes2 %.1e}}; at the worst pair of times
-- LSD is off by {{map_worst.LSD.N1 data=modes2 %.1e}}. The distance $W_2$ of LSD's one-step samples
-- from the data, relative to the root of their variance, is at least
-- {{law_w2.LSD.N1 data=modes2 %.2f}}, and its square at most {{law_error.LSD.N1 data=modes2 %.1e}}.
-- In 16 dimensions LSD's map error is {{map_error.LSD.N1 data=modes16 %.1e}} on the mixture and
-- {{map_error.LSD.N1 data=normal16 %.1e}} on the Gaussian, PSD-M's
-- {{map_error.PSD-M.N1 data=modes16 %.1e}} and {{map_error.PSD-M.N1 data=normal16 %.1e}}.
--
-- {{table map}}
--
-- ![The error of the map at each pair of times, relative to the variance of the data, on the
-- mixture in the plane; below each panel its mean. Errors above 1, the error of a constant, have
-- the colour of 1.](figure:error-modes2)
--
-- ![The error of the map at each pair of times, relative to the variance of the data, on the
-- mixture in 16 dimensions; below each panel its mean. The scale of colours is its own. A method
-- whose run diverged has no panel.](figure:error-modes16)
--
-- The map error, PSD-M against LSD:
--
-- - on the mixture on the line: {{ratio map_error.PSD-M.N1 map_error.LSD.N1 data=modes1 %.2g}};
-- - in the plane: {{ratio map_error.PSD-M.N1 map_error.LSD.N1 data=modes2 %.2g}};
-- - in 16 dimensions: {{ratio map_error.PSD-M.N1 map_error.LSD.N1 data=modes16 %.2g}};
-- - their velocities there: {{ratio map_diagonal.PSD-M.N1 map_diagonal.LSD.N1 data=modes16 %.2g}}.
--
-- ESD `convex` against LSD:
--
-- - on the mixture on the line:
--   {{ratio map_error.ESD-CONVEX.N1 map_error.LSD.N1 data=modes1 %.2g}};
-- - in the plane: {{ratio map_error.ESD-CONVEX.N1 map_error.LSD.N1 data=modes2 %.2g}};
-- - in 16 dimensions:
--   {{ratio map_error.ESD-CONVEX.N1 map_error.LSD.N1 data=modes16 %.2g}};
-- - on the Gaussian in 16 dimensions:
--   {{ratio map_error.ESD-CONVEX.N1 map_error.LSD.N1 data=normal16 %.2g}}.
--
-- Each p is that of one question. Six seeds cannot show eight differences at once: the smallest p,
-- 1/32, times eight is a quarter. @tab:over-laws takes all six laws together, with PSD-U, as
-- intervals of a bootstrap.
--
-- {{table over-laws}}
--
-- In the long set LSD has the smallest map error on every mixture in each of the six seeds, and on
-- the Gaussian in 16 dimensions ESD `convex` has, also in each. ESD with the paper's stop-gradient
-- learns the maps of the Gaussians about as well as LSD and that of no mixture: in 16 dimensions
-- all its runs diverged; on the line and in the plane all stayed finite, but none came near the
-- true map: each has more than a hundred times the error of LSD at the same seed. `convex` trained
-- everywhere, so it is the stop-gradient that fails, not the Eulerian equation. In the plane the
-- error lies near $t = 1$, where the modes separate, at almost every $s$; in 16 dimensions it lies
-- in the long steps, from an early $s$ to a late $t$ (@fig:error-modes2, @fig:error-modes16). On
-- the line no method had the right law with a wrong map. In 16 dimensions the lower bound of $W_2$
-- is far below the root of the error at $(0,1)$, so the question stays open there.
--
-- {{table residuals}}
--
-- For LSD on the mixture in the plane the Lagrangian bound is
-- {{map_bound_lsd.LSD.N1 data=modes2 %.3g}}, with $\Lambda =$
-- {{map_lipschitz.LSD.N1 data=modes2 %.1f}}, and the Eulerian bound of the same network is
-- {{map_bound_esd.LSD.N1 data=modes2 %.3g}}, with $G =$
-- {{map_gradient.LSD.N1 data=modes2 %.1f}}. Samples that all collapse to the mean of the data
-- would have a distance of 1, so a bound above 1 says nothing. On the mixture in 16 dimensions the
-- Eulerian bound is {{map_bound_esd.LSD.N1 data=modes16 %.2f}} for LSD,
-- {{map_bound_esd.ESD-CONVEX.N1 data=modes16 %.2f}} for ESD `convex` and
-- {{map_bound_esd.PSD-M.N1 data=modes16 %.2f}} for PSD-M.
--
-- In the long set the Lagrangian bound exceeds 1 on every mixture, because of its exponential; the
-- Eulerian bound of the methods that trained does so only on the mixture in 16 dimensions, if at
-- all. On each mixture LSD has the smallest map error there and, among the methods that trained,
-- the largest Eulerian bound, so the bounds do not explain the ranking.
--
-- {{table bounds}}
--
-- ![Left and middle: the two bounds of $W_2$ against the root of the error at $(0,1)$, which they
-- bound. Right: that root against the lower bound of $W_2$ from projections. One point per run;
-- points above the grey line of equality obey the bound. All are relative to the root of the data's
-- variance; runs whose error at $(0,1)$ exceeds that variance are left out.](figure:bounds)

return exact
