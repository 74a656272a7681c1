-- Experiments written for a test, each in a file of its own in the sandbox.

local experiment = require "flowmap.experiment"
local fm = require "flowmap"
local sandbox = require "sandbox"
local t = require "harness"

local M = { count = 0 }

local TINY = [[
return { name = "own", %s, profiles = { smoke = { steps = 2, batch = 8, micro = 8, width = 8,
  depth = 1, eval_samples = 50, nfe = { 1 }, bins = 4, log_every = 1 } } }]]

local SMALL = [[
local fm = require "flowmap"
local own = { name = "own", methods = { "lsd" } }
own.settings = { width = 8, depth = 1, batch = 16, micro = 16, steps = 2, eval_samples = 500,
  nfe = { 1, 2 }, log_every = 1 }
own.profiles = { smoke = {} }
]]

--- Write the file of an experiment whose run takes an instant; returns its path.
-- @tparam string name of the file
-- @tparam[opt] string fields Lua text
function M.write(name, fields)
  return sandbox.write(name, TINY:format(fields or "methods = { 'lsd' }"))
end

--- Load an experiment from its text.
function M.load(text)
  M.count = M.count + 1
  return experiment.load(sandbox.write(("own%d.lua"):format(M.count), text))
end

--- Check that loading an experiment with these fields is refused as a usage error.
-- @tparam string fields Lua text; a profile is added if it names none
-- @tparam string pattern
function M.refused(fields, pattern)
  local profiles = fields:find "profiles" and "" or "profiles = { smoke = {} }, "
  local err = t.raises(function() M.load("return { name = 'x', " .. profiles .. fields .. " }") end,
    pattern)
  t.eq(err.code, "usage", fields)
end

--- Load a small experiment with these lines in it, in which `own` is its table.
function M.small(lines) return M.load(SMALL .. lines .. "\nreturn own\n") end

--- Make a run of an experiment; returns its folder, a new one if none is given.
function M.run(it, set, dir, how)
  dir = dir or ("%s/run%d"):format(sandbox.root, M.count)
  fm.run.run(it, experiment.resolve(it, { profile = "smoke", set = set }), dir, how)
  return dir
end

--- Check that a run of a small experiment with these lines is refused as a usage error.
function M.refused_run(lines, pattern, set)
  local err = t.raises(function() M.run(M.small(lines), set) end, pattern)
  t.eq(err.code, "usage", pattern)
end

--- What is decided about a run of an experiment's file as it is now, and why.
function M.decided(path, dir)
  local it = experiment.load(path)
  return fm.cache.decide(dir, fm.cache.inputs(it, experiment.resolve(it, { profile = "smoke",
    set = {} })))
end

return M
