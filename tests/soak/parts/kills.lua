--- A training, or an import, is killed by SIGKILL at random moments, three times in a row, and then
-- completed: its files have the bits of one that was left alone. A point is such a series; kills
-- count. The calls at which a killed process ends are tried one by one in the part `calls`.
-- @module kills

local fm = require "flowmap"
local place = require "place"

local M = { what = "the process is killed at a random moment", unit = "kills" }

local KILLS = 3
local MOMENTS = 1 << 20 -- the number of points, and the resolution of moments

local RUN = "run tiny.lua --profile laptop --out "

local commands = {
  training = { args = RUN .. "fresh", more = " --resume", first = "rm -rf fresh", result = "fresh",
    like = "long" },
  import = { args = "data import afhq images", more = "", first = "rm -rf cache; cp -r drawn cache",
    result = "cache/flowmap", like = "imported/flowmap" },
}

-- Numbers in [0, 1) that depend on the point alone.
local function moments(k)
  local list, x = {}, k
  for i = 1, KILLS do
    x = (x * 1103515245 + 12345) % (1 << 31)
    list[i] = x / (1 << 31)
  end
  return list
end

local function once(it, seconds, before)
  local more = before == "" and (place.marked(it.result) and it.more or "") or ""
  local limit = seconds and ("timeout -s KILL %.4f"):format(seconds) or ""
  return place.flowmap(it.args .. more, limit, before)
end

local function series(it, k)
  local kills = 0
  for i, moment in ipairs(moments(k)) do
    local code = once(it, 0.01 + moment * it.seconds, i == 1 and it.first or "")
    if code == 0 then break end
    if code ~= 137 then return ("exit code %d: %s"):format(code, place.said()), kills end
    kills = kills + 1
  end
  local code = once(it, nil, "")
  if code ~= 0 then
    return ("it does not continue: exit code %d: %s"):format(code, place.said()), kills
  end
  if place.hashes(it.result) ~= place.hashes(it.like) then return "other bits", kills end
  return nil, kills
end

local function case(name, it)
  return { name = name, count = function() return MOMENTS end,
    try = function(k) return series(it, k) end }
end

function M.cases()
  place.enter()
  assert(place.flowmap(RUN .. "long", nil, "rm -rf long") == 0, place.said())
  local list = {}
  for _, name in ipairs { "training", "import" } do
    local it, from = commands[name], fm.clock()
    assert(place.flowmap(it.args, nil, it.first) == 0, place.said())
    it.seconds = fm.clock() - from
    list[#list + 1] = case(name, it)
  end
  return list
end

return M
