--- Ranges of settings: a check is a function of a value that returns whether it is allowed, and
-- words for what is expected.
-- @module flowmap.experiment.ranges

local M = {}

local words_of = setmetatable({}, { __mode = "k" }) -- check -> the values that it allows

local function stated(check, words)
  words_of[check] = words
  return check
end

--- The values that a check allows, in words.
-- @tparam function check
-- @treturn ?string nil if any value of the setting's type is allowed
function M.words(check) return words_of[check] end

local EXACT = 2^53 -- a double holds every whole number up to here

--- The shortest decimal text that reads back as exactly this number; with a dot in any locale. Of a
-- whole number it is the same whether the number is an integer or a float: records of a run do not
-- tell these apart.
function M.number_text(x)
  if math.type(x) == "integer" or x % 1 == 0 and x > -EXACT and x < EXACT then
    return ("%d"):format(x)
  end
  local text
  for _, digits in ipairs { "%.14g", "%.15g", "%.16g", "%.17g" } do
    text = digits:format(x):gsub(",", ".")
    if tonumber(text) == x then return text end
  end
  return text -- not a number: equal to nothing
end

--- Numbers from `low` to `high`; nan is in no range.
function M.within(low, high)
  local words = ("from %s to %s"):format(M.number_text(low), M.number_text(high))
  return stated(function(x) return x >= low and x <= high, words end, words)
end

--- Numbers above `low`, up to `high`.
function M.above(low, high)
  local words = ("more than %s and at most %s"):format(M.number_text(low), M.number_text(high))
  return stated(function(x) return x > low and x <= high, words end, words)
end

--- Fractions, with and without 1.
function M.fraction(x) return x >= 0 and x <= 1, "between 0 and 1" end
function M.below_1(x) return x >= 0 and x < 1, "at least 0 and below 1" end

stated(M.fraction, "between 0 and 1")
stated(M.below_1, "at least 0 and below 1")

--- 0, or a number that passes another check.
function M.zero_or(check)
  return stated(function(x)
    local ok, words = check(x)
    return x == 0 or ok, "0, or " .. words
  end, "0, or " .. words_of[check])
end

--- One of some names; or, not mentioned in errors, one of `older`, a table with the names as keys.
function M.one_of(names, older)
  return stated(function(x)
    if older and older[x] then return true end
    for _, name in ipairs(names) do
      if x == name then return true end
    end
    return false, "one of " .. table.concat(names, ", ")
  end, table.concat(names, ", "))
end

--- "linear, trig or another"
function M.either(names, last)
  local words = table.move(names, 1, #names, 1, {})
  words[#words + 1] = last
  local tail = table.remove(words)
  return #words == 0 and tail or table.concat(words, ", ") .. " or " .. tail
end

--- Lists: a check of each element, and bounds on their number.
function M.each(check, least, most, once)
  local count = least == most and ("%d"):format(most) or ("%d to %d"):format(least, most)
  return stated(function(list)
    local seen = {}
    for _, x in ipairs(list) do
      local ok, expected = check(x)
      if not ok then return false, "a list of numbers, each " .. expected end
      if once and seen[x] then return false, "a list of different numbers" end
      seen[x] = true
    end
    if #list < least then return false, "a list that is not empty" end
    return #list <= most, ("a list of at most %d numbers"):format(most)
  end, ("%s%s numbers, each %s"):format(count, once and " different" or "", words_of[check]))
end

--- A list of two numbers.
function M.two(check)
  local list = M.each(check, 2, 2)
  return stated(function(values)
    if #values ~= 2 then return false, "a list of two numbers" end
    return list(values)
  end, words_of[list])
end

return M
