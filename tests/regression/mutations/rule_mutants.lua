--- Errors in the derivative rules of core/ops, made from the text of the sources: signs, factors,
-- exchanged operands, terms that are left out. What a rule is: a function of a program and of nodes
-- that emits into it. Rules that simplify (fold_*) are no derivatives.
-- @module rule_mutants

local M = {}

-- ------------------------------------------------------------------ calls

-- The arguments between the parentheses at `open`, and the position of the closing one.
local function arguments(code, open)
  local list, depth, from = {}, 0, open + 1
  for at, mark in code:gmatch("()([][(){},])", open) do
    if mark:find "[%[({]" then depth = depth + 1 end
    if mark:find "[])}]" then depth = depth - 1 end
    if depth == 0 or depth == 1 and mark == "," then
      list[#list + 1] = code:sub(from, at - 1):match "^%s*(.-)%s*$"
      from = at + 1
    end
    if depth == 0 then return list, at end
  end
end

local function call(name, list) return ("%s(%s)"):format(name, table.concat(list, ", ")) end

-- The arguments with one of them replaced, or two exchanged.
local function with(list, k, text)
  local out = table.move(list, 1, #list, 1, {})
  out[k] = text
  return out
end

local function exchanged(list, i, k) return with(with(list, i, list[k]), k, list[i]) end

-- Emitters whose operands i and i + 1 are not exchangeable.
local function operands(i)
  return function(name, a) return { { "operands", call(name, exchanged(a, i, i + 1)) } } end
end

-- Number k is a scale.
local function scaled(name, a, k)
  return { { "factor", call(name, with(a, k, ("2 * (%s)"):format(a[k]))) },
    { "sign", call(name, with(a, k, ("-(%s)"):format(a[k]))) } }
end

-- Function -> what may go wrong with a call of it: { kind, text in place of the call }.
local CALLS = {
  fm_add = function(_, a)
    return { { "sign", call("fm_sub", a) }, { "term", a[2] }, { "term", a[3] } }
  end,
  fm_sub = function(name, a)
    return { { "sign", call("fm_add", a) }, { "term", a[2] },
      { "operands", call(name, exchanged(a, 2, 3)) } }
  end,
  fm_mul = function(_, a) return { { "term", a[2] }, { "term", a[3] } } end,
  fm_scale = function(name, a) return scaled(name, a, 3) end,
  fm_affine = function(name, a)
    local list = scaled(name, a, 3)
    if a[4] ~= "0" then list[3] = { "term", call(name, with(a, 4, "0")) } end
    return list
  end,
  fm_matmul = function(name, a)
    return { { "operands", call(name, exchanged(a, 2, 3)) },
      { "operands", call(name, with(a, 4, ("!(%s)"):format(a[4]))) },
      { "operands", call(name, with(a, 5, ("!(%s)"):format(a[5]))) } }
  end,
  fm_e2 = function(name, a)
    return a[2] ~= "&fm_op_eq" and operands(3)(name, a) or {} -- whether equal: either way
  end,
  emit = operands(3), projected = operands(2), select_tangent = operands(3),
}

-- ------------------------------------------------------------------ other places

-- Pattern with the position in front -> kind and text in place of what the rest of it matched.
local PLACES = {
  { "()(fm_arg%((%w+), (%w+), (%d)%))", function(_, p, y, k)
    return "operands", ("fm_arg(%s, %s, %d)"):format(p, y, k == "0" and 1 or 0)
  end },
  { "()(dx%[(%d)%])", function(_, k)
    return "operands", ("dx[%d]"):format(k == "0" and 1 or 0)
  end },
  { "()((dx%[%w+%] = )[^;]*);", function(text, to)
    return "term", text:find "= FM_NONE$" and text or to .. "FM_NONE"
  end },
  { "()(return [^;]*);", function() return "term", "return FM_NONE" end },
  { "()( [+-] )", function(text) return "sign", text == " + " and " - " or " + " end },
  { "()( / )", function() return "factor", " * " end },
  { "()(fm_val %w+%[[23]%] = (%b{}))", function(text, list)
    local parts = arguments(list, 1)
    return "operands", (text:match "^[^{]*" .. "{%s}"):format(table.concat(
      exchanged(parts, #parts - 1, #parts), ", "))
  end },
}

-- ------------------------------------------------------------------ mutants

-- Comments and strings as spaces: positions stay.
local function blank(text)
  local function spaces(part) return (part:gsub("[^\n]", " ")) end
  return (text:gsub("/%*.-%*/", spaces):gsub('"[^"\n]*"', spaces))
end

-- Those of a function whose body is code[first, last]; add(kind, first, last, text).
local function of_body(code, first, last, add)
  for at, name, open in code:gmatch("()%f[%w_]([%w_]+)()%(", first) do
    if at > last then break end
    local list, close = arguments(code, open)
    for _, it in ipairs(CALLS[name] and CALLS[name](name, list) or {}) do
      add(it[1], at, close, it[2])
    end
  end
  local body = code:sub(first, last)
  local two = body:find "dx%[1%]" or body:find "fm_arg%(%w+, %w+, 1%)"
  for _, place in ipairs(PLACES) do
    for at, text, a, b, c in body:gmatch(place[1]) do
      local kind, new = place[2](text, a, b, c)
      local index = kind == "operands" and not text:find "{" -- needs a second operand
      if two or not index then add(kind, first + at - 1, first + at + #text - 2, new) end
    end
  end
end

--- All of a file.
-- @tparam string file for instance "core/ops/conv.c"
-- @tparam string text what is in it
-- @treturn {table,...} { file =, rule = name of the function, kind =, line =, old =, new =, text =
--   of the file with the error }
function M.of(file, text)
  local list, code = {}, blank(text)
  local start = code:find("#ifdef FM_RULES", 1, true) or #code
  local FUNCTION = "\nstatic [%w_]+ ([%w_]+)(%b()) ()(%b{})"
  for name, parameters, first, body in code:gmatch(FUNCTION, start) do
    if parameters:find "^%(fm_prog %*p, [^q]" and not name:find "^fold_" then
      of_body(code, first, first + #body - 1, function(kind, from, to, new)
        local old = text:sub(from, to)
        if new == old then return end
        list[#list + 1] = { file = file, rule = name, kind = kind, old = old, new = new,
          line = select(2, text:sub(1, from):gsub("\n", "")) + 1,
          text = text:sub(1, from - 1) .. new .. text:sub(to + 1) }
      end)
    end
  end
  return list
end

--- Some of a list, in a random order that depends on the seed alone.
-- @tparam table list
-- @tparam integer count
-- @tparam integer seed
-- @treturn table
function M.choose(list, count, seed)
  local state, out = seed, table.move(list, 1, #list, 1, {})
  local function draw(n) -- of Numerical Recipes
    state = (state * 1664525 + 1013904223) & 0xFFFFFFFF
    return (state * n >> 32) + 1
  end
  for _ = 1, 3 do draw(2) end
  count = math.min(count, #out)
  for k = 1, count do
    local other = k - 1 + draw(#out - k + 1)
    out[k], out[other] = out[other], out[k]
  end
  return table.move(out, 1, count, 1, {})
end

return M
