-- Simulates the training step of the profile `paper` of four experiments on the machines described
-- beside this file, and writes scaling.csv, from which the page's figure is drawn: ./flowmap lua
-- paper/scaling/plan.lua [FILE]. Programs are planned, not run; about 15 s of a processor.

local command = require "flowmap.app.plan.command"
local experiment = require "flowmap.experiment"
local files = require "flowmap.base.files"
local machines = require "flowmap.app.plan.machine"
local works = require "flowmap.app.plan.work"

local FOLDER = "paper/scaling/"
local MACHINES = { "nodes-10g.json", "nodes-100g.json" }

local lines = {}
for k, name in ipairs { "checkerboard", "cifar10", "celeba", "afhq" } do
  local exp = experiment.load(files.installed("experiments/" .. name .. ".lua"))
  local cfg, stages = experiment.staged(exp, { profile = "paper", set = {} })
  local costs = works.costs(exp, cfg, stages)
  for i, file in ipairs(MACHINES) do
    local machine = machines.read(files.installed(FOLDER .. file))
    local list = command.csv(exp.name, machine.name,
      command.rows(costs, machine, command.counts()))
    table.move(list, k == 1 and i == 1 and 1 or 2, #list, #lines + 1, lines)
  end
end
require("flowmap").write_file(arg[1] or files.installed(FOLDER .. "scaling.csv"),
  table.concat(lines, "\n") .. "\n")
