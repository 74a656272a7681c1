-- The command `settings` says what the checks of settings enforce.

local t = require "harness"
local conditions = require "flowmap.experiment.conditions"
local ranges = require "flowmap.experiment.ranges"
local sandbox = require "sandbox"
local settings = require "flowmap.experiment.settings"

sandbox.link "experiments"

local function says(arguments, ...)
  local code, out = sandbox.flowmap("settings " .. arguments)
  t.eq(code, 0, out)
  local text = out:gsub("%s+", " ")
  for _, words in ipairs { ... } do t.eq(text:find(words, 1, true) ~= nil, true, words .. out) end
  return out
end

t.test("every setting has a block; every condition and every range has words", function()
  local out = "\n" .. says ""
  for _, it in ipairs(settings.list) do
    local key, _, check, _, when = table.unpack(it, 1, 5)
    t.eq(out:find("\n" .. key .. "  " .. settings.kind(it[2]), 1, true) ~= nil, true, key)
    t.eq(when == nil, conditions.words(when) == nil, key)
    local fine, allowed = pcall(check, nil)
    t.eq(ranges.words(check) == nil, fine and allowed == true, key) -- anything is allowed
  end
  for line in out:gmatch "[^\n]+" do t.eq(#line <= 80 or line:sub(1, 1) ~= " ", true, line) end
end)

t.test("one setting: type, range, default, meaning, when it is read", function()
  t.eq(says "lr", "lr  number: more than 0 and at most 1000; default 0.0015\n    learning rate\n")
  says("mult", "list of numbers: 1 to 16 numbers, each from 1 to 1024; default 2,2,2",
    "Read if net is edm2, or a net of the experiment's own reads it.")
  says("augment", "string: none, flip, edm; default none", "Read if the data are images.")
  says("nfe", "1 to 64 different numbers, each from 1 to 4096")
end)

t.test("in an experiment: the profile's value, and whether its run reads the setting", function()
  says("--experiment experiments/checkerboard.lua --profile paper lr", "Here 0.001 (paper, lsd).")
  says("--experiment experiments/checkerboard.lua mult",
    "Here 2,2,2 (laptop, lsd); not read, only the net edm2 reads it, and the net is mlp.")
  says("--experiment experiments/template.lua --profile smoke waves",
    "waves whole number; default 8", "Here 8 (smoke, mean-flow).")
  says("--experiment experiments/template.lua --method lsd eta", "Here 0.5 (laptop, lsd).")
end)

t.test("wrong words are refused", function()
  for words, said in pairs { widht = "unknown setting 'widht'; did you mean width?",
    waves = "unknown setting 'waves'", ["lr --profile smoke"] = "--profile requires --experiment",
    ["--experiment none.lua"] = "there is no experiment 'none.lua'",
    ["--experiment experiments/classifier.lua"] = "trains no flow map" } do
    local code, out = sandbox.flowmap("settings " .. words)
    t.eq({ code, out:find(said, 1, true) ~= nil }, { 2, true }, out)
  end
end)

t.done()
