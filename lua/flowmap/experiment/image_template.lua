--- The common part of experiments on images: reference settings and render list.
--
--     return images.experiment { name = "cifar10", title = "CIFAR-10", settings = {...},
--       profiles = {...} }
--
-- gives an experiment (see flowmap.experiment) with the paper's optimiser, its four methods and a
-- render list: metrics against N with the last checkpoint and the best one side by side, with null
-- models if the setting `image_metrics` has them measured, grids of samples beside real images, and
-- training traces. With `metrics_at` = { 1, 4 } there are tables of all metrics at these N.
-- @module flowmap.experiment.image_template

local M = {}

--- Settings of all image experiments (the paper's, section "Experiments"): linear interpolant, base
-- of standard deviation 0.5, RAdam at rate 1e-2 with square-root decay, clip 1, two averages of
-- which the slower is reported.
M.settings = {
  interpolant = "linear", sigma = 0.5, net = "edm2", eta = 0.75,
  optimiser = "radam", b1 = 0.9, b2 = 0.999, eps = 1e-8, clip = 1,
  lr = 1e-2, schedule = "sqrt", decay_start = 35000,
  ema = { 0.9999, 0.999 }, eval_ema = 1, nfe = { 1, 2, 4, 8, 16 },
}

--- Profiles of another experiment, with some settings changed.
-- @tparam table profiles
-- @tparam table own settings that differ, by profile
-- @treturn table
function M.with(profiles, own)
  local out = {}
  for name, settings in pairs(profiles) do
    out[name] = {}
    for key, value in pairs(settings) do out[name][key] = value end
    for key, value in pairs(own[name] or {}) do out[name][key] = value end
  end
  return out
end

--- Settings by method for a ladder: each rung has its own and those of all rungs before it.
-- @tparam {table,...} rungs a method and what it adds: { "2-Flip", augment = "flip" }
-- @tparam table all settings of all rungs
-- @tparam table last further settings of the last rung
-- @treturn table method -> settings, as `by_method` of a profile
function M.climb(rungs, all, last)
  local by_method, now = {}, M.with({ all = all }, {}).all
  for k, rung in ipairs(rungs) do
    by_method[rung[1]] = {}
    for _, added in ipairs { rung, k == #rungs and last or {} } do
      for key, value in pairs(added) do
        if key ~= 1 then now[key] = value end
      end
    end
    for key, value in pairs(now) do by_method[rung[1]][key] = value end
  end
  return by_method
end

-- Each distance in a table with its best checkpoint, and in a figure.
local function distance(metric, head, format, title)
  return { kind = "compare", name = metric, metric = metric, title = title, format = format,
    best = true, nulls = true },
    { kind = "against_steps", name = metric, metric = metric, label = head }
end

--- The render list.
-- @tparam string title of the experiment
-- @tparam ?{integer,...} metrics_at numbers of steps for which a table shows all metrics
-- @treturn {table,...} see flowmap.report.render
function M.render(title, metrics_at)
  local fd, fd_figure = distance("fd_cnn", "FD-cnn", "%.3f", title
    .. ": Fréchet distance in the features of our own classifier (FD-cnn, not FID)")
  local kid, kid_figure = distance("kid_cnn", "KID-cnn", "%.5f", title
    .. ": kernel distance in the same features (KID-cnn)")
  local sw, sw_figure = distance("sw", "sliced Wasserstein", "%.4f", title
    .. ": sliced Wasserstein distance of image patches")
  local list = {
    fd, fd_figure, kid, kid_figure, sw, sw_figure,
    { kind = "grids", name = "samples" },
    { kind = "traces", name = "traces" },
  }
  for _, N in ipairs(metrics_at or {}) do
    list[#list + 1] = { kind = "metrics", name = "metrics-N" .. N, N = N,
      title = ("%s: all metrics at N = %d"):format(title, N) }
  end
  return list
end

--- An experiment on images.
-- @tparam table it { name =, title =, settings =, profiles =, metrics_at =, ... }
-- @treturn table see flowmap.experiment
function M.experiment(it)
  local settings = {}
  for key, value in pairs(M.settings) do settings[key] = value end
  for key, value in pairs(it.settings) do settings[key] = value end
  it.settings = settings
  it.methods = it.methods or { "lsd", "psd-m", "psd-u", "esd" }
  it.seeds = it.seeds or 1
  it.render, it.metrics_at = it.render or M.render(it.title, it.metrics_at), nil
  return it
end

return M
