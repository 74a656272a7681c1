-- # The checkerboard
--
-- Four objectives learn the same thing, the flow map $X_{s,t}$ that carries a point of a
-- probability flow from time $s$ to time $t$. Here they meet on the paper's two-dimensional test:
-- the uniform law on eight squares of a 4 × 4 board over $[-1,1]^2$. Its edges are sharp and its
-- pieces touch only at corners, so one step from a Gaussian has to tear the plane apart.
--
-- ## The flow map
--
-- Base samples $x_0 \sim N(0, \sigma^2 I)$ and data $x_1$ are drawn independently; $\sigma$ is the
-- data's standard deviation, $1/\sqrt{3}$. Between them lies the linear interpolant
-- $$I_t = (1-t)\,x_0 + t\,x_1, \qquad \dot I_t = x_1 - x_0,$$
-- whose probability flow has the velocity $b_t(x) = E[\dot I_t \mid I_t = x]$. The flow map is
-- written so that it is the identity at $s = t$,
-- $$X_{s,t}(x) = x + (t-s)\,v_{s,t}(x),$$
-- and then $v_{t,t} = b_t$ (the tangent condition). Every method below trains the diagonal by flow
-- matching, $|v_{t,t}(I_t) - \dot I_t|^2$ on a fraction $\eta$ of each batch, and the rest of the
-- triangle $s < t$ by one of three equivalent properties of the flow map:
--
-- - **LSD**, Lagrangian: $\partial_t X_{s,t}(x) = v_{t,t}(X_{s,t}(x))$;
-- - **ESD**, Eulerian: $\partial_s X_{s,t}(x) + \nabla X_{s,t}(x)\, v_{s,s}(x) = 0$;
-- - **PSD**, progressive: $X_{u,t}(X_{s,u}(x)) = X_{s,t}(x)$, with $u$ at the midpoint (PSD-M) or
--   uniform between $s$ and $t$ (PSD-U).
--
-- The network is its own teacher: in each loss the target is held fixed by a stop-gradient.

local checkerboard = {
  name = "checkerboard",
  title = "Checkerboard",
  methods = { "lsd", "esd", "psd-m", "psd-u" },
  seeds = 2,
}

-- ## The network and what all profiles share
--
-- A multilayer perceptron with GELU takes $(s, t, x/\sigma)$; the reference has five hidden layers
-- of width 512. The optimiser is RAdam with the gradient's norm clipped. Averages of the weights
-- are kept, and the first of them is evaluated, always at the last step: no checkpoint is chosen by
-- its result.

checkerboard.settings = {
  data = "checkerboard",
  interpolant = "linear",
  net = "mlp", width = 512, depth = 5,
  optimiser = "radam", b1 = 0.9, b2 = 0.999, eps = 1e-8, clip = 10,
  eta = 0.75,
  nfe = { 1, 2, 4, 8, 16 },
}

-- ## Profiles
--
-- `paper` is the reference configuration to the letter: $2.5 \cdot 10^{10}$ samples, which take
-- weeks on a laptop's processor. `laptop` and `long` ask what can be had in minutes. What we learnt
-- on the way, from short runs of one seed each (`paper/exploration.csv`; hints, not proofs):
--
-- - The number of updates counts most, then depth; width hardly matters at this size. A network
--   of eight layers of width 128 costs a ninth of the reference per sample, and so does its
--   evaluation, which would else take longer than the training.
-- - Small batches, fresh draws in place of a stored data set, and a learning rate that falls
--   linearly to zero.
-- - The times enter with mean 0 and variance 1 rather than as they are: better at every $N$.
-- - A weight above 1 on the off-diagonal term helps few steps and, in short runs, costs some at
--   many steps. A heavy one diverges, for the target of self-distillation moves with the network.
-- - Fourier features of $x$ were a little worse at $N = 1$ and $4$, a little better at $N = 2$ and
--   $16$. An input three times as large changed nothing; times that run faster towards $t = 1$,
--   beside the others, made most of PSD-M and LSD worse. Twice the rate was worse with PSD-M, ESD.
-- - The one-step map needs $v_{0,1}$, in a corner of the triangle that uniform times rarely visit.
--   For PSD-M it helped most of all to draw half of the times from the sampler's own steps
--   (`times = "half_steps"`): much better at $N = 1$ to $4$, about the same at many steps. Drawing
--   all of them so, on Shortcut's dyadic grid, was worse at $N = 1$, $2$ and $4$ than half, and the
--   last step more often than the others cost more at many steps than it gained at $N = 2$ and $4$.
--   LSD gained at $N = 1$ in a short run, but diverged so in a long one. PSD-U was not tried apart
--   from PSD-M.
-- - What helped most: a loss $c^2 \log(1 + |r|^2/c^2)$ of the off-diagonal residual $r$ (`robust`)
--   together with a larger weight; for LSD, with the times below, it brought the long profile's KL
--   at $N = 1$ from 0.075 (square, 250,000 steps) to 0.044 (350,000). In networks of LSD and PSD-M
--   trained with the square, one sample in a hundred made 0.4 to 0.6 of the mean of that method's
--   squares; this loss pulls less at these. Its minimum is the same: a flow map's
--   $r$ is 0 everywhere, not only on average as that of flow matching, whose loss must stay the
--   square. A convex robust loss helped ESD, too, but less.
-- - LSD compares maps from the same $s$ alone, ESD maps to the same $t$: what one and two steps
--   depend on begins at 0 or 1/2, or ends at 1 or 1/2. Half of their times lie there
--   (`half_starts`, `half_ends`). PSD needs the whole steps of $N = 4$ to learn those of 2 and 1,
--   and was better without the shorter ones of `half_steps`.
-- - What is left of the KL sits at the edges: of a run of PSD-M with 24,000 steps, nine tenths at
--   $N = 1$ and all at $N = 16$ came from the outermost cells of the squares, 1/32 wide, which held
--   half to two thirds of their mass. Only more updates were seen to sharpen them.
--
-- The robust losses bear weights of 20 (LSD, ESD) and 40 (the progressive ones, whose residuals are
-- smaller); twice as much cost all that were tried (not PSD-U) at many steps, and a quarter was
-- worse for LSD at few.
-- ESD with the paper's stop-gradient, `full`, and the squared residual diverged in this setting,
-- and grew unstable at half its rate, where the run was stopped: $\nabla X \cdot v$ then is a
-- target that the network moves but does not feel. With `convex`, which stops the gradient at
-- $v_{s,s}$ alone, it trains well, so **the laptop and long profiles train ESD with `convex`, not
-- with the paper's `full`, and methods with a robust loss, not with the paper's square**; the
-- [ablations](#ablations) compare the stop-gradients, with the square. `smoke` only shows that
-- everything works.
--
-- Training is not smooth: in the long runs the mean of $|r|^2$ over a hundred steps rose for
-- moments to $5 \cdot 10^5$ (ESD), 19 (PSD-M), 15 (PSD-U) and 0.56 (LSD), and one line in 170 to
-- 440 of the logs has a gradient norm above the clip's 1. Each run came back by itself.

local OWN = {
  lsd = { robust = 0.1, off_weight = 20, times = "half_starts" },
  esd = { robust = 0.1, off_weight = 20, times = "half_ends", stop = "convex" },
  ["psd-m"] = { robust = 0.03, off_weight = 40, times = "half_long" },
  ["psd-u"] = { robust = 0.03, off_weight = 40, times = "half_long" },
}

checkerboard.profiles = {
  smoke = {
    width = 64, depth = 3, batch = 128, micro = 64, steps = 60, lr = 2e-3, log_every = 10,
    ema = { 0.9 }, eval_samples = 20000,
  },
  laptop = {
    width = 128, depth = 8, time_input = "standard",
    batch = 256, micro = 256, steps = 60000, lr = 2e-3, schedule = "linear", clip = 1,
    ema = { 0.999 }, by_method = OWN,
  },
  long = {
    width = 128, depth = 8, time_input = "standard",
    batch = 256, micro = 256, steps = 350000, lr = 2e-3, schedule = "linear", clip = 1,
    ema = { 0.9995 }, by_method = OWN,
  },
  paper = {
    dataset_size = 10000000, batch = 100000, micro = 512, steps = 250000, log_every = 50,
    lr = 1e-3, schedule = "sqrt", decay_start = 35000, ema = { 0.999, 0.9999 },
  },
}

-- ## How the samples are judged
--
-- The samples of $N$ steps, $x \leftarrow X_{t_i, t_{i+1}}(x)$ with $t_i = i/N$, are compared with
-- the exact law. The estimator of the paper's KL divergence is not published; ours is this. The
-- square $[-1,1]^2$ is cut into 64 × 64 cells, and one more cell stands for everything outside. The
-- data's cell masses $p_k$ are exact. From $n = 10^6$ samples with $c_k$ of them in cell $k$,
-- $$q_k = \frac{c_k + 1/2}{n + 4097/2}, \qquad
--   \mathrm{KL}(\text{data} \,\|\, \text{model}) \approx \sum_k p_k \log \frac{p_k}{q_k}.$$
-- Even true samples do not reach 0 by it: what they reach, about $4097/(2n) = 0.002$, is the
-- estimator's floor and is printed beside the results, with the mass that falls outside the
-- squares and the energy distance $2E|X-Y| - E|X-X'| - E|Y-Y'|$ to true samples.

checkerboard.render = {
  { kind = "compare", name = "kl", metric = "kl", published = true, floor = "kl_floor",
    title = "KL(data || model) on the checkerboard against the number of steps N." },
  { kind = "compare", name = "outside", metric = "outside",
    title = "Mass outside the eight squares." },
  { kind = "compare", name = "energy", metric = "energy", floor = "energy_floor", format = "%.5f",
    title = "Energy distance to true samples (unbiased, so about 0 may be negative)." },
  { kind = "density", name = "density", range = { -1.2, 1.2 }, bins = 96, metric = "kl",
    label = "KL" },
  { kind = "against_steps", name = "kl", metric = "kl", published = true,
    label = "KL(data || model)" },
  { kind = "traces", name = "traces" },
  { kind = "triangle", name = "triangle", eta = 0.75 },
}

-- ## Results
--
-- {{table kl}}
--
-- ![Density of the samples, one row per method, one column per number of steps, the data at the
-- left; one seed, one colour scale. Below each panel stands its KL.](figure:density)
--
-- ![KL against the number of steps: our mean over seeds with its 95 % interval, single seeds, and
-- the published values.](figure:kl)
--
-- In one step LSD reaches {{kl.LSD.N1 %.3f}}, in sixteen {{kl.LSD.N16 %.3f}}; the estimator's floor
-- is {{kl_floor.LSD.N1 %.4f}}. Of the samples of one step, a part of {{outside.LSD.N1 %.3f}} falls
-- outside the squares.
--
-- {{table outside}}
--
-- {{table energy}}
--
-- ![Training traces: the loss, its off-diagonal term and the gradient's norm before clipping, one
-- line per seed.](figure:traces)

return checkerboard
