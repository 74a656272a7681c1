-- # A batch on several devices
--
-- The paper trains the diagonal on a fraction $\eta$ of each batch and the map on the rest. Its
-- reference implementation does so on one device. On several, the batch is laid out as
-- [drawn on the diagonal | drawn off it] and cut into equal parts, one per device, and every device
-- splits its part again: the first $\eta$ of its rows enter the diagonal term and the rest the
-- off-diagonal term, however their times were drawn. The paper does not state how many devices its
-- runs used. This chapter derives what the second split does and measures it. The chapter on
-- [images](#a-batch-on-several-devices-images) repeats the measurement there.
--
-- ## What each term sees
--
-- Let the batch be cut for $D$ devices. Device $k = 0, \dots, D-1$ holds a share
-- $a_k = \min(1, \max(0, D\eta - k))$ of rows drawn on the diagonal and enters a share $\eta$ of
-- its rows in the diagonal term. The part of the batch that crosses from the diagonal to the
-- off-diagonal term is $\delta = \frac{1}{D} \sum_k (a_k - \eta)^+$; since $\sum_k a_k = D\eta$, as
-- many rows cross the other way. With $m = \lfloor D\eta \rfloor$ and $f = D\eta - m$,
-- $$\delta = \frac{m\,(1-\eta) + (f - \eta)^+}{D}.$$
-- On one device $\delta = 0$. Whenever $D\eta$ is a whole number, whatever $D > 1$ is,
-- $\delta = \eta\,(1-\eta)$.
--
-- - **The map.** Rows that cross from the diagonal have $s = t$. There $X_{t,t}$ is the identity
--   and all three residuals are 0 for every network, and so are their gradients. The map is thus
--   trained on a share $1 - \eta - \delta$ of the batch, which is $(1-\eta)^2$ if $D\eta$ is whole:
--   for $\eta = 3/4$ on four devices on $1/16$ of it instead of $1/4$. The objective is a mean over
--   all rows, so this share is also the weight of the map's loss in it.
-- - **The diagonal.** Rows that cross to it enter at their larger time $t$. A share
--   $q = \delta/\eta$ of the diagonal's times has the density $2t$, so the law of all of them is
--   $$\rho(t) = 1 - q + 2qt, \qquad E\,t = \tfrac12 + \tfrac{q}{6},
--     \qquad P(t > \tau) = 1 - \tau + q\,\tau\,(1-\tau).$$
--   For $\eta = 3/4$ on four devices $q = 1/4$: the mean is $13/24$, and $49/400$ of the times are
--   above 0.9.
-- - **A learned weight.** A network may learn a weight $w(s,t)$, which turns a residual $L$ into
--   $e^{-w} L + w$ and settles at $e^{w} = E[L]$. At $s = t$ it also sees the rows whose residual
--   is 0, and settles at $\eta\rho/(\eta\rho + \delta)$ of the mean of the diagonal's residual;
--   the diagonal then weighs more by the inverse of this factor, which is $(4+2t)/(3+2t)$ here.
--   The perceptron of this chapter has no learned weight; the images have.

local fm = require "flowmap"

local devices = {
  name = "devices",
  title = "A batch on several devices",
  methods = { "lsd", "esd-convex", "psd-m" },
}

-- The figure counts rows of a large batch, laid out as the setting `devices` does.

local COLOURS, SIZE = { 6, 7, 8, 4 }, 5040 * 16

local function shares(title, ylabel, value)
  local panel = { title = title, xlabel = "diagonal fraction", ylabel = ylabel, series = {} }
  for k, count in ipairs { 1, 2, 4, 8 } do
    local rows = {}
    for i = 1, 99 do
      local eta = i / 100
      rows[i] = { eta, value(fm.layout.counts(eta, SIZE, count), eta) }
    end
    local name = count == 1 and "one device" or count .. " devices"
    panel.series[k] = { kind = "line", key = name, label = name, colour = COLOURS[k], width = 1.5,
      rows = rows }
  end
  return panel
end

devices.figures = {}

devices.figures.shares = function()
  return { columns = 2, width = 320, height = 260, panels = {
    shares("rows that train the map", "share of the batch", function(counts)
      return (SIZE - counts.diagonal - counts.from_diagonal) / SIZE
    end),
    shares("mean time of the diagonal", "mean of t", function(counts)
      return 1 / 2 + counts.from_off / counts.diagonal / 6
    end),
  } }
end

-- ![Left: the share of a batch that trains the map at $s < t$. Right: the mean of the diagonal's
-- times. Both by diagonal fraction and number of devices, counted without any
-- training.](figure:shares)
--
-- A fraction of 0.9, which the published CIFAR-10 run of LSD had, leaves the map a fortieth of the
-- batch on four devices.
--
-- ## The comparison
--
-- LSD, PSD-M and ESD, which has its stop-gradient on the velocity alone because trainings with the
-- paper's explode, are trained on the checkerboard with `devices` = 1 and 4. All else is the
-- paper's objective and the configuration of [its chapter](#the-checkerboard) with fewer steps; no
-- setting was chosen here. Runs of one seed share initial weights, data and random numbers, so
-- differences are paired. A third run of LSD and PSD-M, on one device with $\eta = 15/16$, trains
-- the map on as many rows as four devices do, without rows at $s = t$ and with uniform times on
-- the diagonal: it tells the share from the rest of the layout.

local LAYOUTS = {
  { devices = 1, eta = 0.75 }, { devices = 4, eta = 0.75 },
  { devices = 1, eta = 0.9375, method = "lsd" }, { devices = 1, eta = 0.9375, method = "psd-m" },
}

devices.grid = LAYOUTS

devices.settings = {
  data = "checkerboard", interpolant = "linear", net = "mlp", time_input = "standard",
  optimiser = "radam", schedule = "linear", clip = 1, times = "uniform",
  nfe = { 1, 2, 4, 8, 16 },
}

-- Ten seeds are the fewest with which one of 15 differences, three methods at five numbers of
-- steps, can be shown at level 0.05 after Holm's correction.

devices.profiles = {
  smoke = {
    seeds = { 1 },
    width = 32, depth = 2, batch = 64, micro = 64, steps = 40, lr = 2e-3, log_every = 10,
    ema = { 0.9 }, eval_samples = 5000,
  },
  laptop = {
    seeds = { 11, 12 },
    width = 128, depth = 8, batch = 256, micro = 256, steps = 3500, lr = 2e-3, ema = { 0.99 },
    eval_samples = 50000,
  },
  long = {
    seeds = { 11, 12, 13, 14, 15, 16, 17, 18, 19, 20 },
    width = 128, depth = 8, batch = 256, micro = 256, steps = 10000, lr = 2e-3, ema = { 0.998 },
    eval_samples = 100000,
  },
}

devices.render = {
  { kind = "shares", name = "shares" },
  { kind = "switch", name = "kl", metric = "kl", where = { eta = 0.75 }, switch = "devices",
    rows = { "method" },
    title = "KL(data || model) with the batch of one device and of four, diagonal fraction 0.75." },
  { kind = "switch", name = "share", metric = "kl", where = { devices = 1 }, switch = "eta",
    rows = { "method" },
    title = "KL(data || model) on one device with the share of map rows of one device (eta = "
      .. "0.75) and of four (eta = 0.9375)." },
}

-- ## Results
--
-- {{table kl}}
--
-- Both layouts have equally many diagonal rows. A layout with fewer map rows should therefore lose
-- most where a sample depends on the map most, at one step. Is one device ahead of four there?
--
-- - LSD: {{claim lsd-1: kl.LSD.N1[devices=1] < kl.LSD.N1[devices=4] eta=0.75}};
-- - PSD-M: {{claim psd-m-1: kl.PSD-M.N1[devices=1] < kl.PSD-M.N1[devices=4] eta=0.75}};
-- - ESD: {{claim esd-1: kl.ESD-CONVEX.N1[devices=1] < kl.ESD-CONVEX.N1[devices=4] eta=0.75}}.
--
-- At sixteen steps:
--
-- - {{difference kl.LSD.N16[devices=4:1] eta=0.75 %.3f}};
-- - {{difference kl.PSD-M.N16[devices=4:1] eta=0.75 %.3f}};
-- - {{difference kl.ESD-CONVEX.N16[devices=4:1] eta=0.75 %.3f}}.
--
-- The comparison of methods under either layout, as the KL of PSD-M over that of LSD at one step:
-- on one device, {{ratio kl.PSD-M.N1 kl.LSD.N1 devices=1 eta=0.75 %.2f}}; on four,
-- {{ratio kl.PSD-M.N1 kl.LSD.N1 devices=4 eta=0.75 %.2f}}.
--
-- ## Is it the share?
--
-- {{table share}}
--
-- Four devices against one device with the same number of map rows, at one step:
--
-- - {{difference kl.LSD.N1[devices=4,eta=0.75] kl.LSD.N1[devices=1,eta=0.9375] %.3f}};
-- - {{difference kl.PSD-M.N1[devices=4,eta=0.75] kl.PSD-M.N1[devices=1,eta=0.9375] %.3f}}.

return devices
