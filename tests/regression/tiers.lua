--- The first two tiers: does a case give the same bits, and if not, the same trace?
--
--   1. bits: hashes of the training's state and of samples against those of the same instruction
--      set and BLAS kernels;
--   2. shadow: loss and gradient norm of steps 1 to 20, and mean squares of samples, against stored
--      values, relative 1e-4. Another order of a sum stays far below that (measured between the
--      instruction sets: 1e-6 and less); another sign, stop-gradient or law of times does not.
--
-- Memory is exact: arena and partial sums may grow by 2 %.
-- @module tiers

local M = {}

M.TOLERANCE, M.DEAD_ZONE = 1e-4, 0.02

local QUANTITIES = { { "loss", "loss of step %d" }, { "norm", "gradient norm of step %d" },
  { "samples", "mean square of samples %d" } }

local function relative(a, b)
  if a == b then return 0 end
  if a ~= a or b ~= b then return math.huge end
  return math.abs(a - b) / math.max(math.abs(b), 1e-30)
end

-- The first value beyond the tolerance, in the order of the steps, samples last: its name and
-- relative deviation; without one nil and the largest deviation.
local function first_beyond(found, stored, tolerance)
  local largest, first = 0, nil
  for _, quantity in ipairs(QUANTITIES) do
    local key, words = quantity[1], quantity[2]
    for k, value in ipairs(stored[key]) do
      local off = relative(found[key][k] or math.huge, value)
      local step = key == "samples" and math.huge or k
      if off > tolerance and (not first or step < first.step) then
        first = { step = step, words = words:format(k), off = off }
      end
      largest = math.max(largest, off)
    end
  end
  return first and first.words, first and first.off or largest
end

--- Compare a case with the baseline.
-- @tparam table found what probe.case returned
-- @tparam ?string bits stored for this instruction set; nil: none are
-- @tparam ?table shadow { loss =, norm =, samples =, bytes = }; nil: the case is new
-- @tparam[opt=1e-4] number tolerance
-- @treturn table { verdict = "same", "rounding", "changed" or "new", tier = 1 or 2,
--   text = a sentence without a full stop, off = relative deviation, unstored = true if there are
--   no bits to compare with, memory = a sentence if memory grew }
function M.compare(found, bits, shadow, tolerance)
  local out = { tier = 1, verdict = "same", text = "the same bits" }
  if shadow and found.bytes > shadow.bytes * (1 + M.DEAD_ZONE) then
    out.memory = ("memory of the step grew from %d to %d bytes, by %.1f %%"):format(shadow.bytes,
      found.bytes, 100 * (found.bytes / shadow.bytes - 1))
  end
  if bits == found.bits and shadow then return out end
  if not shadow then
    out.verdict, out.text = "new", "there is no baseline"
    return out
  end
  out.tier, out.unstored = 2, not bits
  local why = bits and "other bits" or "no bits are stored for these instructions"
  local where, off = first_beyond(found, shadow, tolerance or M.TOLERANCE)
  out.off = off
  if where then
    out.verdict, out.text = "changed", ("%s; the %s differs by %.1e"):format(why, where, off)
  else
    out.verdict, out.text = "rounding", ("%s; the trace differs by at most %.1e"):format(why, off)
  end
  return out
end

--- The part of a case that is stored beside its bits.
-- @tparam table found what probe.case returned
-- @treturn table
function M.shadow(found)
  local out = { bytes = found.bytes }
  for _, quantity in ipairs(QUANTITIES) do
    local list = {}
    for k, value in ipairs(found[quantity[1]]) do list[k] = tonumber(("%.9g"):format(value)) end
    out[quantity[1]] = list
  end
  return out
end

return M
