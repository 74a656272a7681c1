--- The chain of hashes of a training, by which it can be audited: any part of it can be repeated
-- and compared, bit by bit, with what was recorded.
--
-- At about 64 equally spaced steps, and after the last one, chain.jsonl gets a line
--
--     { "step": 1250, "state": SHA-256, "link": SHA-256 }
--
-- `state` is the hash of weights, moments and averages; `link` that of the link before, this line's
-- step and state, and the lines of metrics.jsonl so far. Whoever changes a line, an earlier state
-- or the trace of the training breaks all links behind it. At up to 20 of these steps the state
-- itself is kept, `state-STEP.safetensors`, from which a part can be repeated without what precedes
-- it; the setting `audit_bytes` limits the disk space of all.
-- @module flowmap.runs.chain

local checkpoint = require "flowmap.checkpoint"
local core = require "flowmap.core"
local folder = require "flowmap.runs.folder"
local jobs = require "flowmap.job"
local journal = require "flowmap.runs.journal"
local ranks = require "flowmap.base.ranks"
local tree = require "flowmap.tree"

local M = {}

local LINKS, STATES = 64, 20
local FIRST = ("0"):rep(64) -- stands for the link before the first

--- All tensors that a training continues from, by their names in a checkpoint.
-- @tparam table job see flowmap.job
-- @treturn table name -> tensor
function M.tensors(job)
  local tensors = {}
  tree.each(function(tensor, name) tensors["params." .. name] = tensor end, job.params)
  for name, tensor in pairs(job.opt:state()) do tensors[name] = tensor end
  return tensors
end

--- The hash of a state.
-- @tparam table tensors name -> tensor
-- @treturn string SHA-256 in hex
function M.state(tensors)
  local parts = {}
  for _, name in ipairs(tree.keys(tensors)) do
    parts[#parts + 1] = ("%s %s"):format(name, core.sha256(tensors[name]:bytes()))
  end
  return core.sha256(table.concat(parts, "\n"))
end

--- A link of the chain.
-- @tparam ?string before the link before; nil: none
-- @tparam integer step
-- @tparam string state what `state` returned
-- @tparam string metrics hash of the lines of metrics.jsonl up to this step
-- @treturn string SHA-256 in hex
function M.link(before, step, state, metrics)
  return core.sha256(("%s %d %s %s"):format(before or FIRST, step, state, metrics))
end

--- The steps that get a link, and those whose state is kept.
-- @tparam table cfg steps =, audit_bytes = (nil: no states)
-- @tparam integer bytes of a state
-- @treturn integer steps between two links; the last step has one in any case
-- @treturn integer links between two states that are kept; 0: none are
function M.spacing(cfg, bytes)
  local every = math.max(1, cfg.steps // LINKS)
  local links = cfg.steps // every
  local states = math.min(STATES, (cfg.audit_bytes or 0) // math.max(1, bytes))
  return every, states > 0 and (links + states - 1) // states or 0
end

local function bytes_of(tensors)
  local bytes = 0
  for _, tensor in pairs(tensors) do
    bytes = bytes + #tensor * (tensor.dtype == "float64" and 8 or 4)
  end
  return bytes
end

local Chain = {}
Chain.__index = Chain

--- Open the chain of a training, which may continue.
-- @tparam table job see flowmap.job
-- @tparam string dir folder of the run
-- @treturn Chain
function M.open(job, dir)
  local self = setmetatable({ dir = dir }, Chain)
  self.every, self.stride = M.spacing(job.cfg, bytes_of(M.tensors(job)))
  self.lines = journal.chain(dir, job.done, job.chain_hash)
  self.last = self.lines.last and self.lines.last.link
  return self
end

--- Add the link of a step, if it has one, and keep its state, if it is one that is kept.
-- @tparam table job
-- @tparam table metrics the journal of metrics.jsonl
function Chain:step(job, metrics)
  local done, steps = job.done, job.cfg.steps
  if done % self.every ~= 0 and done ~= steps then return end
  folder.check(self.dir)
  local _ <close> = jobs.whole(job)
  local state, text = ranks.first and M.state(M.tensors(job)) or FIRST, metrics:hash()
  self.last = M.link(self.last, done, state, text)
  self.lines:add { step = done, state = state, link = self.last }
  local at = done // self.every
  if self.stride > 0 and done % self.every == 0 and at % self.stride == 0 and done < steps then
    checkpoint.save(("%s/state-%d.safetensors"):format(self.dir, done), job,
      { step = done, sums = job.sums, metrics = text, chain = self.lines:hash() }, false)
  end
end

--- Flush the lines to the disk, before a checkpoint is written. A folder that is another one now is
-- left alone.
function Chain:sync()
  folder.check(self.dir)
  self.lines:sync()
end

--- The checksum of all lines.
-- @treturn string
function Chain:hash() return self.lines:hash() end

function Chain:close() self.lines:close() end

Chain.__close = Chain.close

return M
