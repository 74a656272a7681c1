--- The command `diff`: two runs compared: settings and inputs, results, samples, traces; and, from
-- their chains of hashes (see flowmap.runs.chain), the step up to which their weights, moments and
-- averages have the same bits, with the first tensor that differs where both kept a state.
-- @module flowmap.runs.difference

local cache = require "flowmap.runs.cache"
local checkpoint = require "flowmap.checkpoint"
local errors = require "flowmap.base.errors"
local files = require "flowmap.base.files"
local folder = require "flowmap.runs.folder"
local record = require "flowmap.runs.record"
local text = require "flowmap.base.text"
local tree = require "flowmap.tree"

local M = {}

local MOST = 12 -- lines of a section; more are counted
local LONGEST = 200 -- bytes of a line

local Diff = {}
Diff.__index = Diff

-- ------------------------------------------------------------------ the two runs

local function lines(dir, kind)
  local path = ("%s/%s.jsonl"):format(dir, kind)
  local contents = files.read_if_there(path)
  if not contents then return nil end
  local values, texts = record.lines(kind, contents, path)
  return { values = values, texts = texts }
end

-- The records of a run; a published one or one that has not ended has fewer.
local function open(dir)
  dir = folder.given(dir)
  if not files.exists(dir .. "/config.json") then
    errors.usage("diff: there is no run at %s (no config.json)", dir)
  end
  local it = { dir = dir, config = record.need(dir, "config"), inputs = record.need(dir, "inputs"),
    eval = record.read(dir, "eval"), diverged = record.read(dir, "diverged"),
    metrics = lines(dir, "metrics"), chain = lines(dir, "chain") }
  local manifest = record.read(dir, "manifest")
  it.ended = manifest or it.diverged
  it.files = it.ended and it.ended.files or {}
  it.state = manifest and "finished" or it.diverged and "diverged" or "not finished"
  return it
end

-- ------------------------------------------------------------------ printing

function Diff:say(...) self.write(string.format(...) .. "\n") end

-- A section of lines; `differ` says whether its lines mean that the results are different.
function Diff:section(name, list, differ, same)
  if #list == 0 then return self:say("%-9s %s", name, same or "the same") end
  if differ then self.different = true end
  for k = 1, math.min(#list, MOST) do
    self:say("%-9s %s", k == 1 and name or "", text.line(list[k], LONGEST))
  end
  if #list > MOST then self:say("%-9s and %d more", "", #list - MOST) end
end

local function shown(value)
  if value == nil then return "absent" end
  if value == "" then return "none" end
  return type(value) == "number" and ("%.10g"):format(value) or tostring(value)
end

-- "name: 1 -> 2", with the difference of numbers.
local function change(name, a, b)
  local far = type(a) == "number" and type(b) == "number" and (" (%+.3g)"):format(b - a) or ""
  return ("%s: %s -> %s%s"):format(name, shown(a), shown(b), far)
end

-- The changes from one table of values to another, by name.
local function changes(a, b)
  local all, list = {}, {}
  for key in pairs(a) do all[key] = true end
  for key in pairs(b) do all[key] = true end
  for _, key in ipairs(tree.keys(all)) do
    if a[key] ~= b[key] then list[#list + 1] = change(key, a[key], b[key]) end
  end
  return list
end

-- ------------------------------------------------------------------ inputs

local function parted(inputs)
  local own, rest = {}, {}
  for key, value in pairs(inputs) do
    local name = key:match "^setting (.*)$"
    if name then own[name] = value else rest[key] = value end
  end
  return own, rest
end

function Diff:inputs()
  local a_settings, a = parted(self.a.inputs)
  local b_settings, b = parted(self.b.inputs)
  self:section("settings", changes(a_settings, b_settings))
  self:section("inputs", cache.differences(a, b), false, "the same sources, data and numerics")
end

-- ------------------------------------------------------------------ results

-- The numbers of eval.json as "N = 4 kl" -> number; those of earlier weights with their step.
local function numbers(eval)
  local out = {}
  local function add(rows, before)
    for _, row in ipairs(rows) do
      for key, value in pairs(row) do
        if key ~= "N" and type(value) == "number" then
          out[("%sN = %d %s"):format(before, row.N, key)] = value
        end
      end
    end
  end
  add(eval.rows, "")
  for _, it in ipairs(eval.checkpoints or {}) do add(it.rows, ("step %d, "):format(it.step)) end
  return out
end

function Diff:results()
  local a, b = self.a, self.b
  if a.state ~= b.state then
    self:section("results", { ("%s is %s, %s is %s"):format(a.dir, a.state, b.dir, b.state) }, true)
  elseif a.diverged then
    self:section("results", changes({ ["diverged at"] = a.diverged.step },
      { ["diverged at"] = b.diverged.step }), true, ("both diverged at %d"):format(a.diverged.step))
  elseif not (a.eval and b.eval) then
    self:section("results", {}, false, "neither run has any yet")
  else
    self:section("results", changes(numbers(a.eval), numbers(b.eval)), true)
  end
end

-- Files of a run other than its records and weights: samples, densities, pictures.
local function made(it)
  local out = {}
  for name, sum in pairs(it.files) do
    if not (name:find "%.jsonl?$" or name:find "%.safetensors$") then out[name] = sum end
  end
  return out
end

function Diff:files()
  local a, b, list = made(self.a), made(self.b), {}
  if not (self.a.ended and self.b.ended) then return end
  for _, key in ipairs(tree.keys(a)) do
    if b[key] and a[key] ~= b[key] then list[#list + 1] = key .. " has other bits" end
    if not b[key] then list[#list + 1] = ("only %s has %s"):format(self.a.dir, key) end
  end
  for _, key in ipairs(tree.keys(b)) do
    if not a[key] then list[#list + 1] = ("only %s has %s"):format(self.b.dir, key) end
  end
  self:section("samples", list, true)
end

-- ------------------------------------------------------------------ traces

-- The first line at which two journals differ; nil if one is the beginning of the other.
local function first_difference(a, b)
  for k = 1, math.min(#a.texts, #b.texts) do
    if a.texts[k] ~= b.texts[k] then return k end
  end
end

function Diff:trace()
  local a, b = self.a.metrics, self.b.metrics
  if not (a and b) then
    return self:section("trace", {}, false, "not compared: metrics.jsonl is missing")
  end
  local k, list = first_difference(a, b), {}
  if k then
    local x, y = a.values[k], b.values[k]
    list[1] = ("the first line that differs is line %d, step %d%s"):format(k, x.step,
      x.step ~= y.step and (" and %d"):format(y.step) or "")
    for _, words in ipairs(changes(x, y)) do list[#list + 1] = "  " .. words end
  elseif #a.texts ~= #b.texts then
    list[1] = ("the same for %d lines; %s goes on for %d more"):format(
      math.min(#a.texts, #b.texts), #a.texts > #b.texts and self.a.dir or self.b.dir,
      math.abs(#a.texts - #b.texts))
  end
  self:section("trace", list, true, ("the same %d lines"):format(#a.texts))
end

-- ------------------------------------------------------------------ states

-- The last step of equal states, and the first of different ones, among steps that both have.
local function parting(a, b)
  local of, same = {}, 0
  for _, link in ipairs(b.values) do of[link.step] = link.state end
  for _, link in ipairs(a.values) do
    local other = of[link.step]
    if other and other ~= link.state then return same, link.step end
    same = other and link.step or same
  end
  return same, nil
end

-- The paths of two states at one step from which on they differ: the earliest that both kept.
local function kept(it, from)
  local found = {}
  for _, name in ipairs(files.below(it.dir)) do
    local step = math.tointeger(tonumber(name:match "^state%-(%d+)%.safetensors$"))
    if step and step >= from then found[step] = ("%s/%s"):format(it.dir, name) end
  end
  local last = it.chain.values[#it.chain.values]
  local path = it.dir .. "/checkpoint.safetensors"
  if it.ended and not it.diverged and files.exists(path) then
    found[last.step] = found[last.step] or path
  end
  return found
end

local FORMATS = { float32 = { "<f", 4 }, float64 = { "<d", 8 } }

-- The largest difference of two tensors of one shape: its size, its place from 0, both values; and
-- how many values differ. Bits are compared, so equal values that are not numbers are the same.
local function farthest(a, b)
  local x, y, format = a:bytes(), b:bytes(), FORMATS[a.dtype]
  local most, count = { far = -1 }, 0
  for at = 1, #x, format[2] do
    if x:sub(at, at + format[2] - 1) ~= y:sub(at, at + format[2] - 1) then
      local u, v = string.unpack(format[1], x, at), string.unpack(format[1], y, at)
      local far = u == v and 0 or u - v ~= u - v and math.huge or math.abs(u - v)
      count = count + 1
      if far > most.far then most = { far = far, at = at // format[2], u = u, v = v } end
    end
  end
  return most, count
end

local function shape_of(tensor)
  return ("%s (%s)"):format(tensor.dtype, table.concat(tensor.shape, ", "))
end

-- One sentence on how two tensors differ; nil if they do not.
local function tensor_difference(name, a, b)
  if not (a and b) then return ("only one of the states has %s"):format(name) end
  if shape_of(a) ~= shape_of(b) then
    return ("%s is %s and %s"):format(name, shape_of(a), shape_of(b))
  elseif a:bytes() == b:bytes() then
    return nil
  elseif not FORMATS[a.dtype] then
    return ("%s, %s, differs"):format(name, shape_of(a))
  end
  local most, count = farthest(a, b)
  return ("%s, %s: %d of %d values differ, by at most %.3g (%.9g and %.9g at %d)"):format(name,
    shape_of(a), count, #a, most.far, most.u, most.v, most.at)
end

local function weights_first(a, b)
  local x, y = a:find "^params%." ~= nil, b:find "^params%." ~= nil
  if x ~= y then return x end
  return a < b
end

-- Sentences on the first tensor that differs between two states.
local function state_difference(step, path_a, path_b)
  local a, b = checkpoint.load(path_a).tensors, checkpoint.load(path_b).tensors
  local all, first, count = {}, nil, 0
  for name in pairs(a) do all[name] = true end
  for name in pairs(b) do all[name] = true end
  local names = tree.keys(all)
  table.sort(names, weights_first)
  for _, name in ipairs(names) do
    local differs = not (a[name] and b[name]) or shape_of(a[name]) ~= shape_of(b[name])
      or a[name]:bytes() ~= b[name]:bytes()
    if differs then
      first, count = first or name, count + 1
    end
  end
  if not first then return { ("at step %d both files hold the same tensors"):format(step) } end
  return { ("at step %d, %d of %d tensors differ; the first one:"):format(step, count, #names),
    "  " .. tensor_difference(first, a[first], b[first]) }
end

function Diff:states()
  local a, b = self.a, self.b
  if not (a.chain and b.chain and #a.chain.values > 0 and #b.chain.values > 0) then
    return self:section("states", {}, false, "not compared: a run has no chain.jsonl")
  end
  local same, other = parting(a.chain, b.chain)
  if not other then
    return self:section("states", {}, false, same > 0 and ("same bits until step %d, the last of "
      .. "both chains"):format(same) or "not compared: the chains have no step in common")
  end
  local list = { ("%s; other bits at step %d"):format(same > 0
    and ("same bits until step %d"):format(same) or "no step has the same bits", other) }
  local of_a, of_b = kept(a, other), kept(b, other)
  for _, step in ipairs(tree.keys(of_a)) do
    if of_b[step] then
      table.move(state_difference(step, of_a[step], of_b[step]), 1, 2, 2, list)
      break
    end
  end
  if #list == 1 then list[2] = "no state that both runs kept is left to compare tensors" end
  self:section("states", list, true)
end

-- ------------------------------------------------------------------ the command

--- Compare two runs.
-- @tparam string a folder
-- @tparam string b folder
-- @tparam[opt] function write of a text, default: to standard output
-- @treturn boolean whether the results are the same
function M.compare(a, b, write)
  local self = setmetatable({ a = open(a), b = open(b),
    write = write or function(line) io.stdout:write(line) end }, Diff)
  self:say("%s -> %s", self.a.dir, self.b.dir)
  self:inputs()
  self:results()
  self:files()
  self:trace()
  self:states()
  return not self.different
end

--- The command.
-- @tparam table args first, second = folders of runs
-- @treturn integer exit code: 0 if the results are the same
function M.run(args)
  local same = M.compare(args.first, args.second)
  io.stdout:write(same and "the results are the same\n" or "the results differ\n")
  return same and 0 or errors.status.check
end

return M
