-- The simulation of a training step on ranks against closed forms; machine files; the commands
-- `plan` and `calibrate`.

local t = require "harness"
local blocks = require "flowmap.app.plan.blocks"
local calibrate = require "flowmap.app.plan.calibrate"
local json = require "flowmap.base.json"
local machines = require "flowmap.app.plan.machine"
local sandbox = require "sandbox"
local scaling = require "flowmap.report.scaling"
local simulate = require "flowmap.app.plan.simulate"

local PIECE = simulate.PIECE

-- Memory is infinitely fast unless stated otherwise, so that nothing but the link takes time.
local function machine(set)
  local it = { name = "m", cores = 1, gflops = 1, memory_gbs = 1e12, latency_us = 1e-9,
    bandwidth_gbits = 1e12, share = { other = 1 } }
  for key, value in pairs(set or {}) do it[key] = value end
  return machines.checked(it, "m.json")
end

-- A work of so many micro-batches of a second, in equal steps each of which ends with a sum of a
-- piece's values; `late`: all sums come at the end.
local function work(micros, sums, late)
  local body, order, which = { ends = {}, sum = {}, seconds = 1 }, {}, {}
  for k = 1, sums do
    body.ends[k] = k / sums
    body.sum[k] = { at = late and 1 or k / sums, values = PIECE }
    order[k] = { number = k, values = PIECE }
  end
  for k = 1, micros do which[k] = 1 end
  return { bodies = { body }, which = which, leaf = 1, prologue = {}, epilogue = {}, sums = order,
    update = 0, divided = 0, weights = 0, tensors = 1, value = 4 }
end

local function near(found, expected, what)
  t.eq(math.abs(found - expected) <= 1e-6 * math.abs(expected) + 1e-9, true,
    ("%s: %.12g, expected %.12g"):format(what, found, expected))
end

-- ------------------------------------------------------------------ blocks

-- The complete subtrees among the leaves from .. to - 1, found by going down from the root.
local function below(leaves, from, to, first, size)
  local last = math.min(first + size, leaves)
  if first >= to or last <= from or first >= leaves then return 0 end
  if from <= first and last <= to then return 1 end
  return below(leaves, from, to, first, size // 2)
    + below(leaves, from, to, first + size // 2, size // 2)
end

t.test("ranks share the leaves, in as many subtrees as the tree has among them", function()
  for _, leaves in ipairs { 1, 2, 5, 8, 13, 64, 196 } do
    for _, ranks in ipairs { 1, 2, 3, 7, 16, 300 } do
      local size, next_leaf = 1, 0
      while size < leaves do size = 2 * size end
      for rank = 0, ranks - 1 do
        local from, to = blocks.range(leaves, ranks, rank)
        if leaves > 1 then t.eq(from, next_leaf) end
        next_leaf = to
        t.eq(blocks.count(leaves, from, to), below(leaves, from, to, 0, size),
          ("%d of %d, leaves %d to %d"):format(rank, ranks, from, to))
      end
      t.eq(next_leaf, leaves)
    end
  end
end)

-- ------------------------------------------------------------------ closed forms

t.test("one rank sends nothing and waits for nobody", function()
  local it = simulate.step(work(8, 3), machine { latency_us = 1e6 }, 1)
  t.eq(it.sent, 0)
  near(it.exposed, 0, "exchange")
  near(it.compute, 8, "compute")
end)

t.test("a link of infinite bandwidth without latency scales perfectly", function()
  for _, ranks in ipairs { 2, 4, 8, 64 } do
    near(simulate.step(work(64, 5), machine(), ranks).seconds, 64 / ranks, ranks .. " ranks")
    near(simulate.step(work(3, 5), machine(), ranks, 3).seconds, 3, ranks .. " ranks, weak")
  end
end)

t.test("powers of two send 2 (K - 1) / K times the bytes of the sums", function()
  for _, ranks in ipairs { 2, 4, 16, 64 } do
    local it = simulate.step(work(64, 5), machine(), ranks)
    near(it.sent, 2 * (ranks - 1) / ranks * 5 * PIECE * 4, ranks .. " ranks")
  end
  local odd = simulate.step(work(64, 5), machine(), 3)
  t.eq(odd.sent > 2 * 2 / 3 * 5 * PIECE * 4, true, "parts of the tree that are no whole subtree")
end)

t.test("one piece is not overlapped: two messages' time behind the last step", function()
  local it = simulate.step(work(4, 1), machine { bandwidth_gbits = 1, latency_us = 1000 }, 4)
  near(it.exposed, 2 * (3 / 4 * PIECE * 4 * 8 / 1e9 + 1e-3) + 1e-3, "one piece") -- and the losses
end)

t.test("pieces that are complete early are exchanged while the backward pass goes on", function()
  -- A piece occupies the link for 2 * 3/4 * 8.4 ms = 12.6 ms; ten of them come 100 ms apart.
  local slow = machine { bandwidth_gbits = 1, latency_us = 1 }
  local overlapped = simulate.step(work(4, 10), slow, 4)
  local late = simulate.step(work(4, 10, true), slow, 4)
  local piece = 2 * 3 / 4 * PIECE * 4 * 8 / 1e9
  t.eq(late.exposed >= 10 * piece, true)
  t.eq(overlapped.exposed < 3 * piece, true, overlapped.exposed / piece)
end)

t.test("where latency counts alone, a window of pieces takes two latencies", function()
  for _, sums in ipairs { 1, 4, 5, 16 } do
    local it = simulate.step(work(2, sums, true), machine { latency_us = 1e4 }, 2)
    near(it.exposed, (sums + 3) // 4 * 2 * 1e-2 + 1e-2, sums .. " pieces") -- and the losses
  end
end)

t.test("ranks of a node send each other nothing, and share its memory bandwidth", function()
  local it = simulate.step(work(4, 3), machine { cores = 4, ranks = 4, latency_us = 1e6 }, 4)
  t.eq(it.sent, 0)
  near(it.seconds, 1, "without a link")
  local narrow = machine { cores = 4, ranks = 4, memory_gbs = 10 }
  local two = work(4, 3)
  two.update = 1e9
  near(simulate.step(two, narrow, 4).update, 0.4, "four ranks")
  near(simulate.step(two, narrow, 1).update, 0.1, "one rank")
end)

t.test("a sharded optimiser updates a part, and sends it to every other rank", function()
  local slow = machine { cores = 2, ranks = 2, memory_gbs = 10, bandwidth_gbits = 1,
    latency_us = 1000, message_us = 100 }
  local whole, parts = work(8, 1), work(8, 1)
  whole.update = 9e8
  parts.update, parts.divided, parts.weights, parts.tensors = 3e8, 6e8, 1e8, 5
  for _, ranks in ipairs { 1, 2, 8 } do
    local a, b = simulate.step(whole, slow, ranks), simulate.step(parts, slow, ranks)
    local here, others = math.min(2, ranks), math.max(0, ranks - 2)
    near(b.update, (3e8 + 6e8 / ranks) * here / 1e10, ranks .. " ranks, update")
    near(b.sent - a.sent, 1e8 / ranks * others, ranks .. " ranks, bytes sent")
    -- a node's link carries the parts of both its ranks, the tensors' stretches as messages
    local link = 2 * others * (1e8 / ranks * 8 / 1e9 + (5 + ranks - 1) / ranks * 1e-4)
    local copied = 2 * 1e8 * (ranks - 1) / ranks * here / 1e10
    near(b.exposed - a.exposed, link + copied + (others > 0 and 1e-3 or 0), ranks .. " ranks")
  end
end)

t.test("more ranks than micro-batches leave ranks idle", function()
  near(simulate.step(work(4, 1), machine(), 16).seconds, 1, "16 ranks")
  t.eq(simulate.step(work(4, 1), machine(), 16).micros, 1)
end)

t.test("bodies of different cost: the slowest rank counts", function()
  local it = work(4, 2)
  it.bodies[2] = { ends = { 3 }, seconds = 3, sum = { { at = 3, values = PIECE },
    { at = 3, values = PIECE } } }
  it.which = { 1, 1, 1, 2 }
  near(simulate.step(it, machine(), 2).seconds, 4, "2 ranks")
end)

-- ------------------------------------------------------------------ machine files

t.test("a machine file with a fault is a sentence", function()
  local good = { name = "m", cores = 4, gflops = 10, memory_gbs = 20, latency_us = 1,
    bandwidth_gbits = 10, share = { other = 0.5 } }
  for _, case in ipairs {
    { "core", 4, "there is no key 'core'; did you mean cores?" },
    { "cores", 1.5, "cores is 1.5, expected a whole number from 1 to 4096" },
    { "cores", 4097, "cores is 4097, expected a whole number from 1 to 4096" },
    { "gflops", -1, "gflops is -1, expected a number from 1e-12 to 1e+12" },
    { "gflops", "fast", "gflops is fast, expected a number from 1e-12" },
    { "memory_gbs", 1e-310, "expected a number from 1e-12" }, -- its times would be infinite
    { "price", -1, "expected a number from 1e-12 to 1e+12, or 0" },
    { "ranks", 8, "8 ranks share 4 cores" },
    { "share", { matmul = 1 }, "share has no 'other'" },
    { "share", { other = 0 }, "share.other is 0" },
    { "moved_gbs", { 1 }, "moved_gbs is a list" },
    { "name", "a\nb", "name has control characters" },
  } do
    local bad = {}
    for key, value in pairs(good) do bad[key] = value end
    bad[case[1]] = case[2]
    sandbox.write("m.json", json.encode(bad))
    local ok, err = pcall(machines.read, sandbox.path "m.json")
    t.eq(ok, false, case[3])
    t.eq(tostring(err):find(case[3], 1, true) ~= nil, true, tostring(err))
  end
  good.gflops = nil
  sandbox.write("m.json", json.encode(good))
  t.eq(tostring(select(2, pcall(machines.read, sandbox.path "m.json"))):find(
    "the key 'gflops' is missing", 1, true) ~= nil, true)
  sandbox.write("m.json", "[1")
  t.eq(tostring(select(2, pcall(machines.read, sandbox.path "m.json"))):find(
    "is not a JSON object", 1, true) ~= nil, true)
  -- decoding alone would keep the last of two
  for text, words in pairs { ['{"cores": 1, "cores": 2}'] = "the key 'cores' is given twice",
    ['{"share": {"other": 1, "b\\"": {}, "other" : 2}}'] = "the key 'other' is given twice",
    ['[{"a": 1}, {"a": 2}]'] = "m.json is a list",
    ['{"name": "\\"b\\":{", "b": ["a", "a"], "c": {"a": 1}}'] = "there is no key" } do
    sandbox.write("m.json", text)
    local err = t.raises(function() machines.read(sandbox.path "m.json") end, "m.json")
    t.eq(err.message:find(words, 1, true) ~= nil, true, err.message)
  end
end)

t.test("rates are fitted to times that FLOPs and bytes explain", function()
  local steps = {}
  for k = 1, 6 do
    local flops, bytes = k * 1e9, (7 - k) ^ 2 * 1e6
    steps[k] = { flops = flops, bytes = bytes, ms = 1e3 * (flops / 2e10 + bytes / 4e9) }
  end
  local a, b = calibrate.fit(steps)
  near(a, 1 / 2e10, "FLOPs")
  near(b, 1 / 4e9, "bytes")
  a, b = calibrate.fit { { flops = 0, bytes = 4e9, ms = 2000 } }
  t.eq({ a, b }, { 0, 2 / 4e9 })
end)

t.test("the share of kinds that are not listed is no Winograd convolution's", function()
  -- which reaches 2.5 of a peak of 10 GFLOP/s, by the FLOPs of the direct method
  local function steps(seconds) return { { flops = 1e9, bytes = 0, ms = 1e3 * seconds } } end
  local share = calibrate.rates({ matmul = steps(0.125), fused = steps(0.5),
    winograd_w = steps(0.04) }, 1e10)
  t.eq(share, { matmul = 0.8, fused = 0.2, winograd_w = 2.5, other = 0.2 })
end)

-- ------------------------------------------------------------------ commands

t.test("plan prints a table, JSON or CSV of the ranks", function()
  sandbox.write("m.json", json.encode(machine { gflops = 50, price = 2 }))
  local plan = sandbox.program .. " plan " .. sandbox.here
    .. "/experiments/checkerboard.lua --profile smoke --machine m.json --ranks 3"
  local code, text = sandbox.run(plan .. " --json")
  t.eq(code, 0, text)
  local it = json.decode(text)
  t.eq({ it.batch, #it.rows, it.rows[3].ranks }, { 128, 12, 3 })
  t.eq({ it.rows[1].strong, it.rows[1].weak, it.rows[1].sent_mb }, { 1, 1, 0 })
  near(it.rows[1].price, 2 * it.rows[1].hours, "price")
  code, text = sandbox.run(plan .. " --set shard=1 --json")
  t.eq(code, 0, text)
  local sharded = json.decode(text).rows
  near(sharded[1].step_s, it.rows[1].step_s, "one rank divides nothing")
  t.eq(sharded[2].update_s < it.rows[2].update_s, true)
  t.eq(sharded[2].sent_mb > it.rows[2].sent_mb, true)
  code, text = sandbox.run(plan)
  t.eq(code, 0, text)
  t.eq(text:find("\n +3 +3 +1 ") ~= nil, true, text)
  code, text = sandbox.run(plan .. " --csv")
  t.eq({ code, select(2, text:gsub("\n", "\n")) }, { 0, 13 }, text)
  code, text = sandbox.run((plan:gsub("m%.json", "absent.json")))
  t.eq({ code, text }, { 2, "flowmap: there is no machine file absent.json\n" })
end)

-- ------------------------------------------------------------------ the page

t.test("the page's numbers follow from its machines, on any instruction set", function()
  local text = require("flowmap.base.files").read "paper/scaling/scaling.csv"
  for _, name in ipairs { "nodes-10g", "nodes-100g" } do
    local code, found = sandbox.run(("FM_ISA=scalar %s plan %s/experiments/checkerboard.lua "
      .. "--profile paper --csv --machine %s/paper/scaling/%s.json"):format(sandbox.program,
      sandbox.here, sandbox.here, name))
    t.eq(code, 0, found)
    t.eq(text:find(found:gsub("^[^\n]*\n", ""), 1, true) ~= nil, true, found)
  end
end)

t.test("the page's table names the last number of nodes that shortens the step", function()
  local rows = scaling.rows('experiment,machine,ranks,nodes,hours,step_s,weak\n'
    .. 'a,"m, n",1,1,24,8,1\na,"m, n",2,2,12,4,1\na,"m, n",16,16,11.9,3.9,0.95\n'
    .. 'a,"m, n",64,64,11.8,3.8,0.9\n')
  t.eq({ #rows, rows[2].machine, rows[2].nodes, rows[4].weak }, { 4, "m, n", 2, 0.9 })
  t.eq(scaling.table(rows):match "[^\n]*$", "| m, n | a | 2 | 0.5 | 95.0 % | 90.0 % |")
  local panels = scaling.panels(rows)
  t.eq(panels[1].series[1].rows[2], { 2, 0.5 }, "days")
  t.eq({ panels[2].yrange, panels[2].series[1].rows[3] }, { { 90, 100 }, { 16, 95.0 } })
  rows[4].weak = 0.43
  t.eq(scaling.panels(rows)[2].yrange, { 40, 100 }, "no value leaves the panel")
end)

t.done()
