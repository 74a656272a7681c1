--- What a finished run depends on, and whether it is still current.
--
-- Inputs are the settings and the meaning of the Lua sources that make the numbers (comments and
-- layout do not count). Tables, figures and prose are not among them: a changed colour never
-- retrains, a changed constant always does.
-- @module flowmap.cache

local fm = require "flowmap"
local data = require "flowmap.data"
local errors = require "flowmap.errors"
local evaluate = require "flowmap.evaluate"
local files = require "flowmap.files"
local folder = require "flowmap.folder"
local json = require "flowmap.json"
local losses = require "flowmap.losses"
local record = require "flowmap.record"
local settings = require "flowmap.settings"
local tree = require "flowmap.tree"

local M = {}

-- The modules of every run, besides its loss, net and data set.
local MODULES = { "autodiff", "evaluate", "interpolants", "losses.diagonal", "losses.init", "map",
  "nets.init", "nn", "optimiser", "program", "renew", "sampler", "schedule", "step", "tensor",
  "times", "trainer" }

-- What each judge measures with.
local MEASURES = {
  plane = { "metrics" },
  images = { "image_metrics", "frechet", "sliced", "features.init", "features.cnn" },
}

-- When to save and to print does not change a result.
local IGNORED = { save_every = true }

local function add_module(inputs, module)
  inputs["source " .. module] = files.module_meaning(module)
end

-- The data set: its source, the images themselves, and by what samples are judged.
local function add_data(inputs, it, cfg)
  local set = data.reduced(data.find(cfg.data, it.data, cfg), cfg.resolution)
  local own = it.data and it.data[cfg.data]
  if not own then add_module(inputs, "flowmap.data." .. cfg.data) end
  inputs.images = set.hash
  local judge = evaluate.judge(set)
  add_module(inputs, "flowmap.judges." .. judge)
  for _, name in ipairs(MEASURES[judge]) do add_module(inputs, "flowmap." .. name) end
end

--- The inputs of a run, name -> text.
-- @tparam table it an experiment
-- @tparam table cfg resolved settings
-- @treturn table
function M.inputs(it, cfg)
  local inputs = { version = fm.info().version }
  for key, value in pairs(cfg) do
    if not IGNORED[key] then inputs["setting " .. key] = settings.text(value) end
  end
  for _, name in ipairs(MODULES) do add_module(inputs, "flowmap." .. name) end
  if cfg.teacher ~= "" then inputs.teacher = fm.sha256(files.read(cfg.teacher) or "") end
  local loss = losses.find(cfg.method, it.losses)
  if loss.file then add_module(inputs, loss.file) end
  if not (it.nets and it.nets[cfg.net]) then add_module(inputs, "flowmap.nets." .. cfg.net) end
  add_data(inputs, it, cfg)
  -- An experiment with functions of its own is itself a source.
  if it.losses or it.nets or it.data or it.times or it.interpolants or it.metrics then
    inputs["source experiment"] = files.meaning(it.path)
  end
  return inputs
end

--- One name for a set of inputs.
-- @tparam table inputs
-- @treturn string SHA-256 in hex
function M.hash(inputs)
  return fm.sha256(json.encode(inputs))
end

--- Differences between two sets of inputs, as sentences' parts.
-- @tparam table was
-- @tparam table now
-- @treturn {string,...}
function M.differences(was, now)
  local all, out = {}, {}
  for key in pairs(was) do all[key] = true end
  for key in pairs(now) do all[key] = true end
  for _, key in ipairs(tree.keys(all)) do
    local kind, name = key:match "^(%w+) (.*)$"
    if was[key] == now[key] then
      goto continue
    elseif kind == "setting" and was[key] and now[key] then
      out[#out + 1] = ("%s changed from %s to %s"):format(name, was[key], now[key])
    elseif was[key] and now[key] then
      out[#out + 1] = (name or key) .. " changed"
    else
      out[#out + 1] = ("%s is %s"):format(name or key, now[key] and "new" or "gone")
    end
    ::continue::
  end
  return out
end

--- What to do with a run.
-- @tparam string dir its folder
-- @tparam table inputs what it would be made from now
-- @treturn string "reuse", "resume", "run", or "diverged": it would end the same way again
-- @treturn string why, for people
function M.decide(dir, inputs)
  local was = folder.is_run(dir) and record.read(dir, "inputs")
  if not was then
    if record.read(dir, "manifest") then errors.data("%s has lost its inputs.json", dir) end
    return "run", "there is no result yet"
  end
  local changes = M.differences(was, inputs)
  if #changes > 0 then
    local more = #changes > 3 and (" and %d more"):format(#changes - 3) or ""
    return "run", table.concat(changes, "; ", 1, math.min(3, #changes)) .. more
  end
  local manifest, diverged = record.read(dir, "manifest"), record.read(dir, "diverged")
  if manifest then
    if manifest.inputs_hash ~= M.hash(was) then
      errors.data("%s: manifest.json and inputs.json are of two runs (their hashes differ)", dir)
    end
    record.verify(dir, manifest.files)
    return "reuse", "nothing changed since " .. manifest.finished
  elseif diverged then
    record.verify(dir, diverged.files)
    return "diverged", diverged.message
  end
  if files.exists(dir .. "/checkpoint.safetensors") then return "resume", "it was interrupted" end
  return "run", "it was interrupted before its first checkpoint"
end

--- Record what a run that starts now is made from.
-- @tparam string dir
-- @tparam table inputs
function M.record(dir, inputs)
  record.write(dir, "inputs", inputs)
end

return M
