-- The printed tables of what the gate catches.

local t = require "harness"
local files = require "flowmap.base.files"
local gate = require "flowmap.report.gate"

local function with_files(texts, f)
  local read, installed = files.read_if_there, files.installed
  files.read_if_there = function(path) return texts[path] end
  files.installed = function(path) return path end
  local ok, message = pcall(f)
  files.read_if_there, files.installed = read, installed
  if not ok then error(message, 0) end
end

local FAULTS = "tests/regression/mutations/table.csv"

t.test("faults and repeats are read from what the commands wrote", function()
  with_files({
    [FAULTS] = "fault,file,caught by,cases with other bits,first,quality\n"
      .. 'a|b,x.lua,3 (quality),1 of 2,"plane/lsd on avx2: other bits; the loss of step 1 differs '
      .. 'by 1, ""so""","plane: the distance to the data changed by +2.0 % (95 % interval -1.0 to '
      .. '+5.1 %, 3 paired seeds), T = 1"\nb,y.c,nothing,0 of 2,,\n',
    ["tests/regression/clean.csv"] = "study,repeat,seeds,question,T,limit,alarm\n"
      .. "a,1,6,a,0,1,no\nb,1,6,b,2,1,yes\nb,1,6,b/c,2,1,yes\na,2,6,a,0,1,no\n",
  }, function()
    local text = gate.text()
    t.eq(text:find("| a\\|b | 3 (quality) | 1 of 2 cases | plane/lsd, loss of step 1 differs by 1, "
      .. "\\\"so\\\" | plane +2.0 % (-1.0 to +5.1 %) |", 1, true) ~= nil, true, text)
    t.eq(text:find("| b | nothing | 0 of 2 cases | – | – |", 1, true) ~= nil, true, text)
    t.eq(text:find("too: a 2 times, b 1 times. Of these judgements, 1 raised an alarm.", 1, true)
      ~= nil, true, text)
  end)
end)

t.test("an installed copy, which is without the tests, says so", function()
  with_files({}, function() t.eq(gate.text():find "without the tests" ~= nil, true) end)
end)

t.test("the committed tables can be printed", function()
  t.eq(gate.text():find "learning rate times 3" ~= nil, true, gate.text())
end)

t.done()
