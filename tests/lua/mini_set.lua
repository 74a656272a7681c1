--- A small experiment in the sandbox, with runs that can be published as if made from a clean
-- revision.
-- @module mini_set

local core = require "flowmap.core"
local files = require "flowmap.base.files"
local record = require "flowmap.runs.record"
local sandbox = require "sandbox"

local M = {}

--- The source of the experiment, mini.lua.
M.text = [[
  return { name = "mini", methods = { "lsd", "psd-m" }, profiles = { smoke = { steps = 6,
    width = 8, depth = 1, batch = 32, log_every = 2, eval_samples = 500, bins = 8,
    nfe = { 1, 2 } } },
    render = { { kind = "compare", name = "kl", metric = "kl", title = "KL" },
      { kind = "compare", name = "lsd", metric = "kl", title = "K", where = { method = "lsd" } },
      { kind = "traces", name = "traces" } } }
]]

--- Its runs and its published set.
M.root = sandbox.root .. "/results/mini/smoke"
M.final = sandbox.root .. "/paper/results/smoke/mini"

--- Give a run another revision, or other numerics, as if it had been made there.
-- @tparam string name of the run
-- @tparam string field
-- @tparam string value
function M.stamp(name, field, value)
  local dir = M.root .. "/" .. name
  local manifest, path = record.read(dir, "manifest"), dir .. "/history.jsonl"
  manifest[field], manifest.history[1][field] = value, value
  sandbox.write(path, (files.read(path):gsub(('"%s": "[^"]*"'):format(field),
    ('"%s": "%s"'):format(field, value))))
  manifest.files["history.jsonl"] = core.sha256_file(path)
  record.write(dir, "manifest", manifest)
end

--- Write the experiment and make one run of each of some methods and seeds.
-- @tparam {string,...} methods
-- @tparam {integer,...} seeds
function M.make(methods, seeds)
  sandbox.write("mini.lua", M.text)
  for _, method in ipairs(methods) do
    for _, seed in ipairs(seeds) do
      local code, out = sandbox.flowmap(("run mini.lua --profile smoke --method %s --seed %d")
        :format(method, seed))
      if code ~= 0 then error(out, 0) end
    end
  end
end

return M
