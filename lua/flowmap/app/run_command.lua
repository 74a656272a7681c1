--- The command that makes a run: this program with the arguments that name the run.
-- @module flowmap.app.run_command

local errors = require "flowmap.base.errors"
local experiment = require "flowmap.experiment"
local files = require "flowmap.base.files"
local fm = require "flowmap"
local settings = require "flowmap.experiment.settings"
local tree = require "flowmap.tree"

local M = {}

--- The path of this program.
-- @treturn string
function M.program()
  local path = assert(require("luv").exepath())
  if files.exists(path) then return path end
  errors.data("%s was built again or removed since this command began, and starts no further run; "
    .. "the same command continues", (path:gsub(" %(deleted%)$", "")))
end

--- The arguments by which the command `run` makes a run.
-- @tparam table run
-- @treturn {string,...} arguments
function M.words(run)
  local words = { run.experiment.path, "--profile", run.cfg.profile, "--method", run.cfg.method,
    "--seed", tostring(run.cfg.seed), "--out", run.dir }
  for _, key in ipairs(tree.keys(run.set)) do
    words[#words + 1] = "--set"
    words[#words + 1] = key .. "=" .. settings.text(run.set[key])
  end
  return words
end

--- The command that makes a run as a child of this process.
-- @tparam table run
-- @tparam {string,...} more further arguments
-- @tparam integer threads
-- @treturn string program
-- @treturn {string,...} arguments
function M.child(run, more, threads)
  local words = M.words(run)
  table.insert(words, 1, "run")
  for _, word in ipairs { "--threads", tostring(threads), "--parent", tostring(fm.pid()),
    "--base", experiment.base } do
    words[#words + 1] = word
  end
  return M.program(), table.move(more, 1, #more, #words + 1, words)
end

return M
