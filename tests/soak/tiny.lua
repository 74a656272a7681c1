-- An experiment whose run takes a fraction of a second: all that a run writes, three steps, no
-- estimate that takes time.

local fm = require "flowmap"

local tiny = { name = "tiny", methods = { "lsd" },
  data = fm.points(fm.uniform({ 64, 2 }, { seed = 1, stream = "soak" })),
  settings = { width = 8, depth = 1, batch = 16, nfe = { 1 }, log_every = 1 } }

tiny.metrics = { middle = function(x) return fm.mean(x):item() end }

tiny.profiles = { smoke = { steps = 3, eval_samples = 16, save_every = 0 },
  laptop = { steps = 60, eval_samples = 16, save_every = 0, checkpoints = 3 } }

tiny.render = { { kind = "traces", name = "loss" } }

return tiny
