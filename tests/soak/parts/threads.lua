--- Tests of the core, a training and an import under ThreadSanitizer, four threads each; built by
-- `make tsan`. A point is one program. Reports on OpenBLAS, which is not instrumented and runs on
-- one thread here, are left out (tests/soak/tsan.supp).
-- @module threads

local files = require "flowmap.base.files"
local lfs = require "lfs"
local place = require "place"

local M = { what = "a program under ThreadSanitizer", unit = "programs", once = true }

local q = files.quote
local folder = place.here .. "/build/tsan"

function M.unable()
  return not lfs.attributes(folder .. "/flowmap") and "make tsan builds what it needs" or nil
end

local function programs()
  local list = {}
  for _, name in ipairs { "micro", "program", "memory", "images", "intake", "sums" } do
    local path = ("%s/tests/c/test_%s"):format(folder, name)
    if lfs.attributes(path) then list[#list + 1] = { name, q(path) } end
  end
  local program = q(folder .. "/flowmap")
  list[#list + 1] = { "training", "rm -rf threads; " .. program
    .. " run tiny.lua --profile smoke --set micro=4 --threads 4 --out threads" }
  list[#list + 1] = { "import", "rm -rf cache; cp -r drawn cache; " .. program
    .. " data import afhq images --threads 4" }
  return list
end

function M.cases()
  place.enter()
  local list = {}
  for _, it in ipairs(programs()) do
    list[#list + 1] = { name = it[1], count = function() return 1 end,
      try = function()
        local options = ("TSAN_OPTIONS='halt_on_error=1 exitcode=66 suppressions=%s'"):format(
          place.here .. "/tests/soak/tsan.supp")
        local code = place.shell(("export %s FM_THREADS=4 HOME=$PWD XDG_CACHE_HOME=$PWD/cache; {\n"
          .. "%s\n} >out 2>err </dev/null"):format(options, it[2]))
        if code ~= 0 then return ("exit code %d: %s"):format(code, place.said():sub(-2500)) end
      end }
  end
  return list
end

return M
