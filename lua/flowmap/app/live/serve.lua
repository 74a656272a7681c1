--- The command `serve`: a page of running and finished experiments for a browser on this machine.
-- @module flowmap.app.live.serve

local Progress = require "flowmap.base.progress"
local board = require "flowmap.app.live.board"
local core = require "flowmap.core"
local errors = require "flowmap.base.errors"
local files = require "flowmap.base.files"
local http = require "flowmap.app.live.http"
local json = require "flowmap.base.json"
local look = require "flowmap.runs.look"
local machines = require "flowmap.app.live.machine"
local provenance = require "flowmap.report.provenance"
local samples = require "flowmap.app.live.samples"
local signals = require "flowmap.app.signals"
local view = require "flowmap.app.live.view"
local watch = require "flowmap.app.live.watch"

local M = {}

local REFRESH = 0.9 -- seconds for which an answer about all runs is repeated
local LONGEST = 64  -- chunks of a journal that are read for one request

local KINDS = { html = "text/html; charset=utf-8", css = "text/css; charset=utf-8",
  js = "text/javascript; charset=utf-8", json = "application/json" }

-- The fixed files of the page, by their paths.
local function fixed()
  local out = {}
  for path, name in pairs { ["/"] = "page.html", ["/page.css"] = "page.css",
    ["/page.js"] = "page.js", ["/chart.js"] = "chart.js" } do
    local full = files.installed("lua/flowmap/app/live/" .. name)
    local text, why = files.read(full)
    if not text then errors.data("serve: cannot read %s", why) end
    out[path] = { KINDS[name:match "%w+$"], text }
  end
  return out
end

-- ------------------------------------------------------------------ JSON

-- Facts about a run besides its progress, as short texts.
local function facts_of(it)
  local list = {}
  if it.samples and it.samples > 0 and it.state ~= "running" then -- the progress of others tells it
    list[#list + 1] = provenance.grouped(it.samples) .. " samples seen"
  end
  if it.pace then list[#list + 1] = ("%.3g ms per step"):format(1000 * it.pace) end
  if it.cpu_s then list[#list + 1] = look.duration(it.cpu_s) .. " of processor time" end
  list[#list + 1] = "last written " .. it.changed:gsub("T", " "):gsub("Z", " UTC")
  return list
end

local function run_of(it)
  local running = it.state == "running"
  return {
    id = it.id, name = it.name, state = it.state, words = it.words, text = it:progress()[1],
    result = it.result, facts = facts_of(it),
    part = running and it.steps and math.min(1, it.step / it.steps) or nil,
    left = it.left and Progress.duration(it.left) or nil,
    version = running and it.curve.version or nil, N = it.N,
  }
end

local function state_of(self)
  local runs, machine = {}, self.machine:read()
  for k, it in ipairs(self.board:refresh()) do runs[k] = run_of(it) end
  self.by_id = {}
  for _, it in ipairs(self.board.entries) do self.by_id[it.id] = it end
  return json.encode { runs = runs, summary = self.board:summary(), place = self.place,
    machine = view.machine(machine)[1] }
end

local function curve_of(it)
  local chunks = 0
  while it:read() and chunks < LONGEST do chunks = chunks + 1 end
  local steps = it.steps or it.step or 0
  return json.encode { points = it.curve:all(), steps = steps, version = it.curve.version }
end

-- ------------------------------------------------------------------ pages

local function answer(self, path)
  local file = self.fixed[path]
  if file then return file[1], file[2] end
  local now = core.clock()
  if not self.state or now - self.since > REFRESH then
    self.state, self.since = state_of(self), now
  end
  if path == "/state.json" then return KINDS.json, self.state end
  local kind, id, N = path:match "^/(%l+)/(%x+)%-?(%d*)%.json$"
  local it = id and self.by_id[id]
  if not it then return nil end
  if kind == "curve" and N == "" then return KINDS.json, curve_of(it) end
  for _, known in ipairs(kind == "samples" and it.N or {}) do
    if tostring(known) == N then
      local text = samples.json(("%s/samples-N%s.npy"):format(it.dir, N))
      return text and KINDS.json, text
    end
  end
end

--- The command.
-- @tparam table args run, results, port
function M.run(args)
  local uv = signals.uv()
  require("flowmap").ignore_broken_pipes()
  local of = watch.board("serve", args)
  local self = { board = of, fixed = fixed(), machine = machines.new(uv),
    place = board.short(args.run or args.results) }
  self.machine:read()
  local server <close> = http.listen(uv, args.port, function(path) return answer(self, path) end)
  server:run(function()
    io.stdout:write(("http://127.0.0.1:%d/ shows the runs of %s; Ctrl-C ends\n"):format(server.port,
      self.place))
    io.stdout:flush()
  end)
end

return M
