--- A training step on several ranks, as a simulation of events: core/run/run.c gives micro-batches
-- to workers, core/run/share.c exchanges the sums piece by piece while the last micro-batches run.
--
-- Simulated is the rank that computes longest; all its messages wait for the slowest rank that has
-- to send them. A node's link sends one message after the other, at its bandwidth; each arrives a
-- latency later. A rank looks after its messages when one of its workers has ended a step, and all
-- the time once it has no micro-batch left. Adding and copying occupies the worker that does it.
-- With `shard`, each rank updates its part of the weights and sends it to every other rank.
-- Not simulated: other traffic, delays by the operating system, ranks that differ in speed.
-- @module flowmap.app.plan.simulate

local blocks = require "flowmap.app.plan.blocks"

local M = {}

--- Values of a piece, and pieces that are exchanged at a time: as in core/run/share.h.
M.PIECE, M.WINDOW = 1 << 18, 4

-- ------------------------------------------------------------------ computing

-- Give tasks to workers, each to the one that is free first: when each is free, and its last task.
local function schedule(seconds, count, workers)
  local free, last = {}, {}
  workers = math.min(workers, count)
  for w = 1, workers do free[w] = 0 end
  for task = 1, count do
    local first = 1
    for w = 2, workers do
      if free[w] < free[first] then first = w end
    end
    last[first] = { task = task, start = free[first] }
    free[first] = free[first] + seconds(task)
  end
  local latest = 0
  for w = 1, workers do latest = math.max(latest, free[w]) end
  return latest, last
end

local function parts(list, workers)
  return (schedule(function(k) return list[k] end, #list, workers))
end

-- Simulate the computation of a rank: when it has each of its sums, when its workers end steps of
-- their last micro-batches, and when it ends. `adding`: seconds to add a value to another.
local function compute(work, leaves, from, to, workers, adding)
  local first, last = from * work.leaf, math.min(to * work.leaf, leaves.micros)
  local function body(task) return work.bodies[work.which[(first + task - 1) % #work.which + 1]] end
  -- A rank adds up its n leaves by n - 1 additions of each sum, at the places of the sums.
  local rate = to > from and adding * (to - from - 1) / math.max(1, last - first) or 0
  local values = 0
  for _, sum in ipairs(work.sums) do values = values + sum.values end
  local ends, tasks = schedule(function(task) return body(task).seconds + values * rate end,
    last - first, workers)
  local ready, looks = {}, {}
  for _, it in pairs(tasks) do
    local added, mine = 0, body(it.task)
    for _, sum in ipairs(work.sums) do
      added = added + sum.values * rate
      local at = it.start + (mine.sum[sum.number] or { at = mine.seconds }).at + added
      ready[sum.number] = math.max(ready[sum.number] or 0, at)
    end
    for _, at in ipairs(mine.ends) do looks[#looks + 1] = it.start + at end
  end
  table.sort(looks)
  return { ends = ends, ready = ready, looks = looks }
end

-- All ranks: the slowest one, with the times at which all of them have a sum. In weak scaling all
-- ranks have equal work.
local function compute_all(work, leaves, ranks, workers, adding)
  local slowest, ready = nil, {}
  for rank = 0, leaves.equal and 0 or ranks - 1 do
    local from, to = blocks.range(leaves.count, ranks, rank)
    local it = compute(work, leaves, from, to, workers, adding)
    if not slowest or it.ends > slowest.ends then slowest = it end
    for number, at in pairs(it.ready) do ready[number] = math.max(ready[number] or 0, at) end
    if leaves.count == 1 then break end
  end
  slowest.ready = ready
  return slowest
end

-- ------------------------------------------------------------------ pieces

-- The pieces of all sums, one behind the other: { bytes =, values =, ready = }.
local function pieces_of(work, ready)
  local list, total, start = {}, 0, 0
  for _, sum in ipairs(work.sums) do total = total + sum.values end
  for lo = 0, total - 1, M.PIECE do
    local values = math.min(M.PIECE, total - lo)
    list[#list + 1] = { values = values, bytes = values * work.value, ready = 0, stage = 1 }
  end
  for _, sum in ipairs(work.sums) do
    for k = start // M.PIECE, (start + sum.values - 1) // M.PIECE do
      list[k + 1].ready = math.max(list[k + 1].ready, ready[sum.number] or 0)
    end
    start = start + sum.values
  end
  return list
end

--- The cost to a node of exchanging one piece, per byte of the piece.
-- @tparam table machine
-- @tparam integer leaves
-- @tparam integer ranks
-- @treturn table { blocks, sums = bytes on the link in each of the two stages, block_messages,
--   sum_messages = their numbers, add, copy, put = bytes that a rank adds up and copies }
function M.traffic(machine, leaves, ranks)
  local here = math.min(machine.ranks, ranks)
  local total, most = blocks.all(leaves, ranks)
  local others = ranks - here
  local theirs = math.max(0, total - total * here // ranks)
  local each = math.max(others * most, theirs) * here -- blocks to or from other nodes, in parts
  return {
    blocks = each / ranks, block_messages = each,
    sums = others / ranks, sum_messages = others,
    add = (total - 1) / ranks, copy = others * most / ranks, put = others / here / ranks,
    sent = (others * most + others / here) / ranks,
  }
end

-- The exchange: time passes from event to event.
local Exchange = {}
Exchange.__index = Exchange

-- Send bytes when the link is free; returns when the like of it has arrived from the others.
function Exchange:send(now, bytes, messages)
  if messages == 0 then return now end
  local machine = self.machine
  local start = math.max(now, self.free)
  self.free = start + bytes * 8 / (machine.bandwidth_gbits * 1e9)
    + messages * machine.message_us * 1e-6
  return self.free + machine.latency_us * 1e-6
end

-- Bring a piece as far as it goes at a time; returns the seconds of work that this took.
function Exchange:advance(piece, now)
  local t, byte, spent = self.traffic, self.byte, 0
  if piece.stage == 1 and piece.ready <= now then
    spent = 2 * piece.bytes * t.copy * byte
    piece.stage = 2
    piece.at = self:send(now + spent, piece.bytes * t.blocks, t.block_messages)
  end
  if piece.stage == 2 and piece.at <= now + spent then
    spent = spent + piece.bytes * 3 * t.add * byte
    piece.stage = 3
    piece.at = self:send(now + spent, piece.bytes * t.sums, t.sum_messages)
  end
  if piece.stage == 3 and piece.at <= now + spent then
    spent = spent + 2 * piece.bytes * t.put * byte
    piece.stage = 4
  end
  return spent
end

-- One look at all pieces of the window.
function Exchange:look(now)
  local spent = 0
  for k = self.oldest, math.min(#self.pieces, self.oldest + M.WINDOW - 1) do
    spent = spent + self:advance(self.pieces[k], now + spent)
  end
  while self.pieces[self.oldest] and self.pieces[self.oldest].stage == 4 do
    self.oldest = self.oldest + 1
  end
  return spent
end

-- When the next piece of the window can go on.
function Exchange:next(now)
  local at = math.huge
  for k = self.oldest, math.min(#self.pieces, self.oldest + M.WINDOW - 1) do
    local piece = self.pieces[k]
    if piece.stage < 4 then at = math.min(at, piece.stage == 1 and piece.ready or piece.at) end
  end
  return math.max(at, now)
end

-- Looks during the last micro-batches, then until all pieces are complete; returns that time.
local function exchange(self, slowest, workers)
  local delay = 0
  for _, at in ipairs(slowest.looks) do
    if at < slowest.ends then delay = delay + self:look(at + delay) / workers end
  end
  local now = slowest.ends + delay
  while self.oldest <= #self.pieces do
    local at = self:next(now)
    now = at + self:look(at)
  end
  return now
end

-- ------------------------------------------------------------------ a step

-- The cores of a rank, and those of a node that are busy in the step's parts.
local function workers_of(machine) return math.max(1, machine.cores // machine.ranks) end

--- Micro-batches that give each core of a rank one, in whole leaves.
-- @tparam table machine
-- @tparam integer leaf micro-batches in a leaf
-- @treturn integer
function M.full(machine, leaf) return -(-workers_of(machine) // leaf) * leaf end

--- The cores of a node that micro-batches keep busy.
-- @tparam table machine
-- @tparam integer micros micro-batches of all ranks
-- @tparam integer ranks
-- @treturn integer
function M.active(machine, micros, ranks)
  local here, each = math.min(machine.ranks, ranks), -(-micros // ranks)
  return here * math.min(workers_of(machine), math.max(1, each))
end

-- The seconds in which the ranks of a node, all at the same time, update their weights.
local function update(work, machine, ranks)
  local bytes = work.update + work.divided / ranks
  return bytes * math.min(machine.ranks, ranks) / (machine.memory_gbs * 1e9)
end

-- With `shard`, each rank sends the weights that it has updated to every other one, the stretch in
-- each tensor as a message of its own, and copies those that arrive: seconds, and the bytes that a
-- rank sends to other nodes.
local function share_weights(work, machine, ranks)
  if work.weights == 0 or ranks == 1 then return 0, 0 end
  local here = math.min(machine.ranks, ranks)
  local others, stretches = ranks - here, (work.tensors + ranks - 1) / ranks
  local sent = work.weights / ranks * others
  local link = here * (sent * 8 / (machine.bandwidth_gbits * 1e9)
    + others * stretches * machine.message_us * 1e-6)
  local copied = 2 * work.weights * (ranks - 1) / ranks * here / (machine.memory_gbs * 1e9)
  return copied + link + (others > 0 and machine.latency_us * 1e-6 or 0), sent
end

-- The losses of all samples go from each rank to every other: many small messages.
local function rows(machine, ranks)
  local here = math.min(machine.ranks, ranks)
  if ranks == here then return 0 end
  return ((ranks - here) * here * machine.message_us + machine.latency_us) * 1e-6
end

--- Simulate a step.
-- @tparam table work see flowmap.app.plan.work.timed
-- @tparam table machine see flowmap.app.plan.machine
-- @tparam integer ranks
-- @tparam ?integer each micro-batches of every rank; default: the ranks share those of the work
-- @treturn table { compute, exposed, update, seconds = the sum of these; overlapped = seconds of
--   the link while the rank computed; micros = of the rank that has most; sent = bytes of a rank }
function M.step(work, machine, ranks, each)
  local micros = each and each * ranks or #work.which
  local leaves = { micros = micros, count = -(-micros // work.leaf), equal = each ~= nil }
  local workers, here = workers_of(machine), math.min(machine.ranks, ranks)
  local byte = M.active(machine, micros, ranks) / (machine.memory_gbs * 1e9)
  local slowest = compute_all(work, leaves, ranks, workers, 3 * work.value * byte)
  local divided = #work.prologue > 1 and here or 1
  local before = parts(work.prologue, workers * divided)
  local after = parts(work.epilogue, workers)
  local alone = ranks == 1 or leaves.count == 1
  local traffic = M.traffic(machine, leaves.count, alone and 1 or ranks)
  local pieces = alone and {} or pieces_of(work, slowest.ready)
  local it = setmetatable({ machine = machine, traffic = traffic, byte = byte, free = 0,
    oldest = 1, pieces = pieces }, Exchange)
  local done = exchange(it, slowest, workers) + (alone and 0 or rows(machine, ranks))
  local bytes = 0
  for _, piece in ipairs(pieces) do bytes = bytes + piece.bytes end
  local weights, weights_sent = share_weights(work, machine, ranks)
  local out = { compute = before + slowest.ends + after,
    exposed = done - slowest.ends + weights, update = update(work, machine, ranks),
    sent = bytes * traffic.sent + weights_sent,
    micros = math.min(micros, -(-leaves.count // ranks) * work.leaf) }
  out.seconds = out.compute + out.exposed + out.update
  return out
end

return M
