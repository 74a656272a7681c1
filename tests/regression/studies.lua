--- The trainings of the gate. An experiment of your own joins by one line in `list`:
--
--     { experiment = "experiments/mine.lua" },
--
-- A study is an experiment with settings that train in a fraction of a second; each of its methods
-- is a case, "STUDY/METHOD". Fields:
--
--     experiment  a Lua file
--     name        default: the experiment's own
--     profile     default: smoke
--     methods     default: the experiment's; or "all", every method of the suite
--     set         settings over those of the profile
--     by_method   method -> further settings
--     steps       default: 100; the first 20 of them are compared with stored values
--     isas        { ... }: default: all instruction sets of the machine
--     short       methods that `make check` trains, too
--     tolerance   of tier 2, default: 1e-4
--     timed       a method whose steps and samples are timed, see speed.lua
--     quality     what tier 3 trains, see quality.lua: { set =, steps =, methods =, N =,
--                 metric = }; default: the same settings, for more steps; false: nothing
-- @module studies

local M = {}

local PLANE = { width = 32, depth = 2, batch = 64, micro = 32, lr = 4e-3, ema = { 0.9 },
  time_input = "standard", schedule = "linear", clip = 1 }

-- The study of the plane with one method and some settings changed.
local function plane(name, method, set)
  local all = {}
  for key, value in pairs(PLANE) do all[key] = value end
  for key, value in pairs(set) do all[key] = value end
  return { name = name, experiment = "experiments/checkerboard.lua", methods = { method },
    set = all, quality = false }
end

-- Tier 3 of the plane: one and four steps of three methods, one per family of residuals.
local GAUSSIANS = {
  metric = "kl", methods = { "lsd", "esd", "psd-m" }, N = { 1, 4 }, steps = 1000,
  set = { data = "gaussians", width = 64, depth = 3, time_input = "standard", batch = 128,
    micro = 128, lr = 8e-3, schedule = "linear", clip = 1, ema = { 0.99 } },
}

-- Tier 3 of images: the sliced Wasserstein distance of the samples to the images.
local IMAGES = {
  metric = "sliced", methods = { "lsd", "psd-m" }, N = { 1, 2 },
  steps = 60, set = { ema = { 0.9 } },
}

M.list = {
  { name = "plane", experiment = "experiments/checkerboard.lua", methods = "all", set = PLANE,
    by_method = { pd = { student_steps = 4, teacher_steps = 8 }, imm = { levels = 64 } },
    short = { "lsd", "esd", "psd-m", "psd-u", "meanflow" }, timed = "lsd",
    quality = GAUSSIANS },
  plane("plane-wide", "lsd", { width = 160, depth = 3, batch = 128, micro = 64 }),
  plane("plane-float64", "esd", { dtype = "float64" }),
  plane("plane-bfloat16", "lsd", { precision = "bfloat16", width = 128 }),
  plane("plane-adamw", "psd-u", { optimiser = "adamw", weight_decay = 0.01 }),
  plane("plane-trig", "lsd", { interpolant = "trig" }),
  plane("plane-coupled", "lsd", { coupling = "ot" }),
  plane("plane-both-terms", "esd-convex", { both_terms = true }),
  plane("plane-times", "lsd", { times = "half_parts" }),
  plane("plane-features", "psd-m", { features = 4, data = "spirals", clip = 0.05 }),
  plane("plane-bounded", "lsd", { p = 0.5, c = 0.3 }),
  plane("plane-devices", "lsd", { devices = 4 }),
  { name = "images", experiment = "tests/regression/discs.lua", steps = 20,
    short = { "lsd" }, timed = "lsd", quality = IMAGES },
  { name = "images-classes", experiment = "tests/regression/discs.lua", steps = 20,
    methods = { "lsd" }, set = { classes = 2, label_dropout = 0.1 }, quality = false },
  -- A value that lies on the boundary between two bfloat16 numbers may fall to either side.
  { name = "images-bfloat16", experiment = "tests/regression/discs.lua", steps = 20,
    methods = { "psd-m" }, set = { precision = "bfloat16", model_channels = 16 },
    isas = { "avx2", "avx512" }, tolerance = 1e-2, quality = false },
  { experiment = "experiments/template.lua" }, -- an experiment's own loss, network and data
}

return M
