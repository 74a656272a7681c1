--- Claims of the prose, judged by the results of the page:
--
--     {{claim lsd-leads: kl.LSD.N1 < kl.PSD-M.N1}}      also >; settings such as data=modes2 follow
--
-- weaves to "supported", "contradicted" or "not shown", with the paired difference, its interval,
-- p and the number of seeds; with `claim?` also to "not attempted", where there are no such runs.
-- The claims of a chapter are one family of questions: p is adjusted by Holm's procedure over all
-- of them, and a claim is supported or contradicted only at the level of 5 % after it.
-- @module flowmap.report.claims

local errors = require "flowmap.base.errors"
local paired = require "flowmap.measure.paired"
local verdict = require "flowmap.report.verdict"

local M = {}

local ALPHA = 0.05

local function read(text, optional)
  local name, a, sign, b, rest = text:match "^%s*([%w-]+):%s*(%S+)%s+([<>])%s+(%S+)%s*(.-)%s*$"
  return name and { name = name, a = a, b = b, below = sign == "<", rest = rest,
    optional = optional or nil }
end

--- A claim as data.
-- @tparam string text "NAME: A < B key=value ..."
-- @tparam[opt] boolean optional whether its runs may be absent
-- @treturn table { name =, a =, b =, below = whether A < B is claimed, rest = what follows,
--   optional = }
function M.parse(text, optional)
  return read(text, optional) or errors.data("a claim is written NAME: A < B, such as lsd-leads: "
    .. "kl.LSD.N1 < kl.PSD-M.N1; found '%s'", text)
end

--- All claims of a chapter.
-- @tparam string text its prose
-- @treturn {table,...} in their order; a claim that is repeated word by word counts once, and one
--   that cannot be parsed does not count
function M.list(text)
  local list, seen = {}, {}
  for mark, inside in text:gmatch "{{%s*claim(%??)%s+(.-)}}" do
    local claim = read(inside, mark == "?")
    local before = claim and seen[claim.name]
    if claim and not before then
      list[#list + 1] = claim
      seen[claim.name] = claim
    elseif claim and (before.a ~= claim.a or before.b ~= claim.b or before.below ~= claim.below
      or before.rest ~= claim.rest) then
      errors.data("two claims have the name '%s'", claim.name)
    end
  end
  return list
end

-- "difference -0.45, 95 % interval -0.47 to -0.43, "
local function measured(it)
  if not it.half then return ("difference %.3g, "):format(it.mean) end
  return ("difference %.3g, 95 %% interval %.3g to %.3g, "):format(it.mean, it.mean - it.half,
    it.mean + it.half)
end

-- The smallest p after Holm that a claim of a family can have. Only claims with more seeds, whose p
-- can be smaller, can come before it.
local function smallest(it, family)
  local count = 0
  for _, other in ipairs(family) do
    if other.it.smallest >= it.smallest then count = count + 1 end
  end
  return count * it.smallest
end

local function text_of(claim, it, p, family)
  local after = #family > 1 and (" after Holm over %d claims"):format(#family) or ""
  local facts = ("%sp = %s%s, %d paired seed%s"):format(measured(it), paired.p_text(p), after,
    it.n, it.n == 1 and "" or "s")
  if smallest(it, family) > ALPHA then facts = facts .. ", too few to show any difference" end
  return ("%s (%s)"):format(verdict.order(claim.below, it.mean, p, ALPHA), facts)
end

--- Judge claims.
-- @tparam {table,...} list see `list`
-- @tparam function compare compare(claim) -> what paired.difference returns for A and B, or nil,
--   the reason why there is none and, if it is not "not shown", the verdict
-- @treturn table name -> text
function M.judge(list, compare)
  local found, ps, out = {}, {}, {}
  for _, claim in ipairs(list) do
    local it, why, word = compare(claim)
    if it then
      found[#found + 1], ps[#ps + 1] = { claim = claim, it = it }, it.p
    else
      out[claim.name] = ("%s (%s)"):format(word or "not shown", why)
    end
  end
  for i, p in ipairs(paired.holm(ps)) do
    local claim = found[i].claim
    out[claim.name] = text_of(claim, found[i].it, p, found)
  end
  return out
end

return M
