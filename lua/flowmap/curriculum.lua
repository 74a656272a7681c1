--- Values that change during a training: a warm-up of the tangent, and the curricula of published
-- methods. They are computed before each step and fed to its program, which is traced once.
-- @module flowmap.curriculum

local fm = require "flowmap"
local tree = require "flowmap.tree"

local M = {}

local STEEPNESS, CLAMP = 25, 0.005 -- of alpha-Flow

-- The number of times that the first value is multiplied by `factor` to reach the last one.
local function stages(span, factor)
  return math.floor(math.log(span[2] / span[1]) / math.log(factor) + 1e-9)
end

--- The curricula: `value`(x, span) is a function of the fraction x of the training that is done, at
-- least 0 and below 1, and of the setting `curriculum_span`; `drives` is the coordinate that takes
-- it; `decay`(N, mu, span) is the decay of the target's average, if that changes too.
M.shapes = {
  -- alpha-Flow (arXiv 2510.20771): alpha = 1 - g falls from 1 to 0 between two fractions, and is
  -- exactly 1 or 0 where it is nearer than 0.005.
  sigmoid = {
    drives = "g", words = "g = 1 - alpha; alpha falls from 1 to 0 between two fractions",
    value = function(x, span)
      local place = (x - (span[1] + span[2]) / 2) / (span[2] - span[1])
      local alpha = 1 - 1 / (1 + math.exp(-STEEPNESS * place))
      if x < span[1] or alpha > 1 - CLAMP then return 0.0 end
      return (x > span[2] or alpha < CLAMP) and 1.0 or 1 - alpha
    end,
  },
  -- Consistency training (arXiv 2303.01469, appendix C): N(k) and mu(k).
  root = {
    drives = "levels", words = "N rises like the root of the step; mu = target_decay^(s0 / (N-1))",
    value = function(x, span)
      local first, last = span[1] ^ 2, (span[2] + 1) ^ 2
      return math.max(1, math.ceil(math.sqrt(x * (last - first) + first) - 1)) + 1.0
    end,
    decay = function(levels, mu, span) return mu ^ (span[1] / (levels - 1)) end,
  },
  -- Improved consistency training (arXiv 2310.14189, section 3.4): N doubles.
  doubling = {
    drives = "levels", words = "N - 1 doubles from the first to the last value of the span",
    value = function(x, span)
      return span[1] * 2 ^ math.floor(x * (stages(span, 2) + 1)) + 1.0
    end,
  },
  -- Easy consistency tuning (arXiv 2406.14548): 1/q, 1/q^2, ..., where q = 1 / span[1].
  shrinking = {
    drives = "share", words = "the share is 1/q, 1/q^2, ... from the first to the last of the span",
    value = function(x, span)
      return span[1] ^ (1 + math.floor(x * (stages(span, span[1]) + 1)))
    end,
  },
}

--- Names of the curricula.
M.names = tree.keys(M.shapes)

--- The coordinate that the curriculum of a run drives.
-- @tparam table cfg settings
-- @treturn ?string "g", "levels" or "share"
function M.drives(cfg)
  local shape = M.shapes[cfg.curriculum]
  return shape and shape.drives
end

--- The fault of a curriculum's span, if it has one.
-- @tparam table cfg settings
-- @treturn ?string words: what was expected
function M.fault(cfg)
  local drives, a, b = M.drives(cfg), table.unpack(cfg.curriculum_span)
  if drives == "g" and not (a >= 0 and a < b and b <= 1) then
    return "two fractions of the training, the first below the second"
  elseif drives == "levels" and not (a >= 2 and a <= b and a % 1 == 0 and b % 1 == 0) then
    return "two whole numbers of levels, the first at least 2 and at most the second"
  elseif drives == "share" and not (b > 0 and b <= a and a < 1) then
    return "two shares below 1, the second above 0 and at most the first"
  end
end

-- The scalars fed to the step's program before step `done`: name -> number. `tangent` is
-- r = min(1, k/H) of simplified consistency models (arXiv 2410.11081, section 4.1).
local function values(cfg, done)
  local fed, shape = {}, M.shapes[cfg.curriculum]
  if shape then fed[shape.drives] = shape.value(done / cfg.steps, cfg.curriculum_span) end
  local warmup = cfg.tangent_warmup < 1 and cfg.tangent_warmup * cfg.steps or cfg.tangent_warmup
  if warmup > 0 then fed.tangent = math.min(1, done / warmup) end
  return fed
end

--- The scalars that a step's program is fed, at their first values.
-- @tparam table cfg settings
-- @treturn ?table name -> tensor (); nil if there are none
function M.inputs(cfg)
  local inputs = {}
  for name, value in pairs(values(cfg, 0)) do inputs[name] = fm.full({}, value, cfg.dtype) end
  return next(inputs) and inputs
end

--- Set the scalars to their values in the next step.
-- @tparam table cfg settings
-- @tparam integer done the number of steps taken
-- @tparam ?table inputs what `inputs` returned
function M.feed(cfg, done, inputs)
  for name, value in pairs(inputs and values(cfg, done) or {}) do
    inputs[name]:copy_from(fm.full({}, value, cfg.dtype))
  end
end

--- The decay of the average that targets read, in the next step.
-- @tparam table cfg settings
-- @tparam integer done the number of steps taken
-- @treturn number
function M.target_decay(cfg, done)
  local shape = M.shapes[cfg.curriculum]
  if not (shape and shape.decay) then return cfg.target_decay end
  return shape.decay(values(cfg, done).levels, cfg.target_decay, cfg.curriculum_span)
end

return M
