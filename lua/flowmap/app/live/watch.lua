--- The command `watch`: running and finished runs in a terminal, redrawn in place; elsewhere a line
-- per run at intervals. Ctrl-C ends it, and nothing else: the runs are other processes.
-- @module flowmap.app.live.watch

local Status = require "flowmap.base.status"
local boards = require "flowmap.app.live.board"
local errors = require "flowmap.base.errors"
local files = require "flowmap.base.files"
local folder = require "flowmap.runs.folder"
local lfs = require "lfs"
local machines = require "flowmap.app.live.machine"
local screens = require "flowmap.app.live.screen"
local signals = require "flowmap.app.signals"
local view = require "flowmap.app.live.view"

local M = {}

local EVERY = 1000     -- milliseconds between frames
local PLAIN = 15       -- seconds between plain lines of a run
local LAST = 24        -- rows of the frame that stays on the screen

--- The board of the run, or of the folder of runs, that the arguments of a command name.
-- @tparam string command for the sentence
-- @tparam table args run = a folder or nil, results = a folder
-- @treturn Board
function M.board(command, args)
  if args.run then
    local dir = folder.given(args.run)
    if not (files.exists(dir .. "/.flowmap") or files.exists(dir .. "/config.json")) then
      errors.usage("%s: there is no run at %s", command, dir)
    end
    return boards.new { run = dir }
  end
  local root = args.results:gsub("(.)/+$", "%1")
  if lfs.attributes(root, "mode") ~= "directory" then
    errors.data("%s: there is no folder %s; --results names another", command, root)
  end
  return boards.new { root = root }
end

-- ------------------------------------------------------------------ plain lines

local Plain = {}
Plain.__index = Plain

-- Print runs whose state has changed, and all running ones from time to time.
function Plain:show(board, machine, now)
  local due = not self.told or now - self.told >= PLAIN * 1000
  for _, it in ipairs(board.entries) do
    local changed = self.states[it.dir] ~= it.state
    local first = self.told == nil
    self.states[it.dir] = it.state
    if it.state == "running" and (due or changed) or changed and (not first or self.all) then
      self.status:say(view.line(it))
    end
  end
  if due then
    self.status:say(board:summary() .. "; " .. view.machine(machine)[1])
    self.told = now
  end
end

-- ------------------------------------------------------------------ the loop

-- Whether the run that is watched has ended or, without a screen, no run is left that could change.
local function is_over(board, live)
  if not board.run and live then return false end
  return not board.counts.running
end

-- Fill a list with handles that end the loop or ask for a frame.
local function listen(uv, handles, state, screen)
  signals.watch(uv, handles, function() state.over = true end)
  local timer = uv.new_timer()
  timer:start(0, EVERY, function() state.due = true end)
  handles[#handles + 1] = timer
  local on = {
    sigwinch = function() state.due = true end,
    sigtstp = function() state.pause = true end, -- Ctrl-Z
  }
  for name, heard in pairs(screen and on or {}) do
    local handle = uv.new_signal()
    handle:start(name, heard)
    handles[#handles + 1] = handle
  end
end

-- Give the terminal back and stop, as other programs do at Ctrl-Z; continue with a new frame.
local function pause(uv, state, screen)
  screen:hide()
  uv.kill(uv.os_getpid(), "sigstop")
  screen:show()
  state.pause, state.due = false, true
end

local function frame(uv, board, machine, screen, plain)
  board:refresh()
  if not screen then return plain:show(board, machine:read(), uv.now()) end
  local width, height = screen:size()
  screen:draw(view.frame(board, machine:read(), { width = width, height = height,
    unicode = view.unicode() }))
end

local function loop(uv, board, screen, plain)
  local state, machine = { due = false }, machines.new(uv)
  local handles <close> = signals.handles(uv)
  listen(uv, handles, state, screen)
  repeat
    uv.run "once"
    if state.pause then pause(uv, state, screen) end
    if state.due and not state.over then
      state.due = false
      frame(uv, board, machine, screen, plain)
      state.over = state.over or is_over(board, screen ~= nil)
        or screen and screen.broken or plain.status.broken
    end
  until state.over
end

--- The command.
-- @tparam table args run, results, once
function M.run(args)
  local uv, board, status = signals.uv(), M.board("watch", args), Status.new()
  local plain = setmetatable({ status = status, states = {}, all = args.once or args.run },
    Plain)
  if args.once then
    board:refresh()
    return plain:show(board, machines.new(uv):read(), uv.now())
  end
  require("flowmap").ignore_broken_pipes()
  local live = status.live and status.escapes
  do
    local screen <close> = live and screens.open(uv) or nil
    loop(uv, board, screen, plain)
  end
  if live and not status.broken then -- the last frame stays
    local lines = view.frame(board, nil, { width = status:width(), height = LAST,
      unicode = view.unicode() })
    status:say(table.concat(lines, "\n"))
  end
end

return M
