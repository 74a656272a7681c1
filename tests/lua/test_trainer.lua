-- Training: parameters, initial weights, determinism, resumption, divergence, samples.

local t = require "harness"
local fm = require "flowmap"
local sandbox = require "sandbox"

local experiment, trainer, files = fm.experiment, fm.trainer, fm.files

local board = experiment.load "experiments/checkerboard.lua"

local function resolve(set, method)
  return experiment.resolve(board, { profile = "smoke", method = method, set = set })
end

local tiny = { width = 16, depth = 2, batch = 96, micro = 16, steps = 6 }

local function with(more)
  local set = {}
  for k, v in pairs(tiny) do set[k] = v end
  for k, v in pairs(more or {}) do set[k] = v end
  return set
end

-- The bits of a job's weights, averages and moments.
local function bits(job)
  local parts = {}
  local function add(tensor, name) parts[#parts + 1] = name .. fm.bytes(tensor) end
  fm.tree.each(add, job.params)
  for k = 1, #job.cfg.ema do fm.tree.each(add, job.opt:ema(k)) end
  fm.tree.each(add, job.opt:state())
  return fm.sha256(table.concat(parts))
end

local folders = 0

local function folder()
  folders = folders + 1
  return sandbox.mkdir(tostring(folders))
end

t.test("the paper's network has 1,054,210 parameters", function()
  local cfg = experiment.resolve(board, { profile = "paper", set = { dataset_size = 0 } })
  local job = fm.job.parts(board, cfg)
  t.eq(fm.tree.count(job.net.init(function(shape) return fm.zeros(shape) end)), 1054210)
end)

t.test("initial weights: variance 1 / fan-in, truncated at two sd", function()
  local w = fm.nets.rng(4, "float32")({ 256, 512 }, "lecun")
  local sd = math.sqrt(fm.mean(fm.square(w)):item())
  t.near(sd * 16, 1, 5e-3)
  local bound = 2 / 16 / 0.87962566103423978
  t.eq(fm.max_reduce(fm.abs(w)):item() <= bound * (1 + 1e-6), true)
  t.near(fm.mean(w):item() * 16, 0, 0.02)
  local again, other = fm.nets.rng(4, "float32"), fm.nets.rng(5, "float32")
  t.eq(again({ 4, 4 }, "lecun"):flat(), fm.nets.rng(4, "float32")({ 4, 4 }, "lecun"):flat())
  t.eq(again({ 4, 4 }, "lecun"):get(1, 1) == other({ 4, 4 }, "lecun"):get(1, 1), false)
end)

t.test("the network is sigma times its last layer", function()
  local cfg = { net = "mlp", dim = 2, sigma = 0.5, width = 4, depth = 1, features = 0 }
  local net = fm.nets.build(cfg)
  local params = net.init(function(shape) return fm.ones(shape, "float64") end)
  local one = fm.full({ 1, 1 }, 0.25, "float64")
  local v = net.v(params, one, one * 2, fm.tensor({ { 0.1, -0.2 } }, "float64"))
  local u = 0.25 + 0.5 + 0.2 - 0.4 + 1
  local tanh = function(z) return 1 - 2 / (math.exp(2 * z) + 1) end
  local gelu = u / 2 * (1 + tanh(math.sqrt(2 / math.pi) * (u + 0.044715 * u ^ 3)))
  t.near(v:get(1, 1), 0.5 * (4 * gelu + 1), 1e-12)
end)

t.test("the diagonal takes round-down(eta B) samples, at least one", function() -- [eq:split]
  t.eq(fm.step.diagonal_count { eta = 0.75, batch = 10 }, 7)
  t.eq(fm.step.diagonal_count { eta = 0, batch = 10 }, 1)
  t.eq(fm.step.diagonal_count { eta = 0, batch = 10, velocity = "self", target = "ema" }, 1)
  t.eq(fm.step.diagonal_count { eta = 0, batch = 10, velocity = "sample" }, 0)
  t.eq(fm.step.diagonal_count { eta = 0, batch = 10, velocity = "self", target = "frozen" }, 0)
  t.eq(fm.step.diagonal_count { eta = 0.01, batch = 10, velocity = "teacher" }, 1)
end)

-- Methods that need no teacher.
local alone = {}
for _, method in ipairs(fm.losses.names()) do
  local row = fm.losses.find(method).row
  if not (row and fm.methods.needs_teacher(row)) then alone[#alone + 1] = method end
end

for _, method in ipairs(alone) do
  t.test(method .. ": 1, 2 and 4 threads give the same bits", function()
    local found = {}
    for _, threads in ipairs { 1, 2, 4 } do
      fm.set_threads(threads)
      local job = trainer.new(board, resolve(with(), method))
      for _ = 1, 4 do trainer.step(job) end
      found[#found + 1] = bits(job)
    end
    t.eq(found[2], found[1])
    t.eq(found[3], found[1])
  end)
end

t.test("earlier checkpoints are kept and judged; the best is reported beside the last", function()
  local dir, cfg = folder(), resolve(with { checkpoints = 3, eval_samples = 2000, nfe = { 1, 2 } })
  fm.run.run(board, cfg, dir)
  local eval = fm.json.read(dir .. "/eval.json")
  t.eq({ eval.checkpoints[1].step, eval.checkpoints[2].step }, { 2, 4 })
  for i, row in ipairs(eval.rows) do
    local early, late = eval.checkpoints[1].rows[i].kl, eval.checkpoints[2].rows[i].kl
    t.eq(row.kl_best, math.min(early, late, row.kl))
    local step = row.kl_best == row.kl and 6 or row.kl_best == late and 4 or 2
    t.eq(row.kl_best_step, step)
  end
  -- What was kept after 4 steps are the weights of a run of 4 steps (the rate falls with all 6).
  local job = trainer.new(board, cfg)
  for _ = 1, 4 do trainer.step(job) end
  local expected = fm.job.evaluated(job)
  local _, params = trainer.load(dir .. "/weights-4.safetensors")
  t.eq(fm.bytes(params[1].w), fm.bytes(expected[1].w))
end)

t.test("a costlier method is judged at equal times as well", function()
  local function judged(more)
    local dir = folder()
    local set = with { steps = 6, eval_samples = 2000, nfe = { 1 }, schedule = "constant" }
    for key, value in pairs(more) do set[key] = value end
    fm.run.run(board, resolve(set), dir)
    return fm.json.read(dir .. "/eval.json")
  end
  local eval = judged { relative_cost = 1.5 }
  t.eq({ #eval.checkpoints, eval.checkpoints[1].step, eval.rows[1].kl_best }, { 1, 4 })
  t.eq(eval.rows[1].kl_equal_time, eval.checkpoints[1].rows[1].kl)
  t.eq(judged({ relative_cost = 1.0, steps = 4 }).rows[1].kl_equal_time, eval.rows[1].kl_equal_time)
  t.raises(function() resolve(with { relative_cost = 2.0, checkpoints = 2 }) end,
    "relative_cost is 2 and checkpoints is 2")
end)

-- [eq:diagonal] [eq:weight]
t.test("a batch: the first rows diagonal, the rest with s <= t; exp(-w) L + w", function()
  local job = fm.job.parts(board, resolve(with { dtype = "float64", times = "uniform" }))
  local params = job.net.init(fm.nets.rng(1, "float64"))
  local function draw(stream, columns)
    return fm.uniform({ 8, columns }, { seed = 1, stream = stream, dtype = "float64" })
  end
  local it = { x0 = draw("x0", 2), x1 = draw("x1", 2), a = draw("a", 1), c = draw("c", 1) }
  local v, loss, seen = job.net.v, job.loss, nil
  job.loss = setmetatable({ loss = function(a)
    seen = a
    return loss.loss(a)
  end }, { __index = loss })
  t.near(job.net.weight(params, fm.zeros({ 3, 1 })):get(2), 1, 0) -- the MLP's: constant
  job.net.weight = nil
  local diagonal, off = fm.step.losses(job, params, it, 6, 8)
  t.eq({ diagonal.shape, off.shape }, { { 6 }, { 2 } })
  for k = 1, 2 do
    local a, c = it.a:get(6 + k, 1), it.c:get(6 + k, 1)
    t.eq({ seen.s:get(k, 1), seen.t:get(k, 1) }, { math.min(a, c), math.max(a, c) })
  end
  local w = 0.3
  function job.net.weight(_, s) return fm.reshape(s * 0 + w, { s.shape[1] }) end
  local weighted = fm.step.losses(job, params, it, 6, 8)
  for k = 1, 6 do
    t.near(weighted:get(k), math.exp(-w) * diagonal:get(k) + w, 1e-14)
  end
  -- p = 1: of the off-diagonal term alone; what a reader follows stays L
  local c2 = off:get(1) / 4
  job.cfg.p, job.cfg.c = 1, math.sqrt(c2)
  local same, robust, bare = fm.step.losses(job, params, it, 6, 8)
  t.eq(fm.bytes(same), fm.bytes(weighted))
  t.eq(fm.bytes(bare.off), fm.bytes(off))
  for k = 1, 2 do
    t.near(robust:get(k), math.exp(-w) * c2 * math.log(1 + off:get(k) / c2) + w, 1e-12)
  end
  -- by hand: | v_{t,t}(I_t) - (x1 - x0) |^2 in the first row
  local time = it.a:get(1, 1)
  local row = {}
  for j = 1, 2 do row[j] = (1 - time) * it.x0:get(1, j) + time * it.x1:get(1, j) end
  local at = fm.full({ 1, 1 }, time, "float64")
  local b = v(params, at, at, fm.tensor({ row }, "float64"))
  local sum = 0
  for j = 1, 2 do sum = sum + (b:get(1, j) - it.x1:get(1, j) + it.x0:get(1, j)) ^ 2 end
  t.near(diagonal:get(1), sum, 1e-12)
end)

-- Train until the process is killed in step `last + 1`.
local function killed_after(job, dir, last)
  local program = job.program
  job.program = { run = function(_, it)
    if it.step == last then error("killed", 0) end
    return program:run(it)
  end }
  t.raises(function() trainer.train(job, dir) end, "^killed$")
end

t.test("a resumed run ends bit-identical, its lines of metrics too", function()
  local dir, whole = folder(), folder()
  local cfg = resolve(with { save_every = 0, log_every = 4 })
  local job = trainer.new(board, cfg)
  trainer.train(job, whole)
  killed_after(trainer.new(board, cfg), dir, 3)
  local path = dir .. "/checkpoint.safetensors"
  local resumed = trainer.new(board, cfg, fm.checkpoint.load(path))
  t.eq(resumed.done, 3)
  trainer.train(resumed, dir)
  t.eq(resumed.wall_s > 0, true)
  local line = files.read(dir .. "/history.jsonl"):match '"cpu_s": ([%d.]+), "step": 3'
  t.eq(resumed.cpu_s > tonumber(line), true, "seconds of processors before and after")
  t.eq(#resumed.history, 2)
  t.eq(bits(resumed), bits(job))
  t.eq(files.exists(path .. ".prev"), true)
  for _, name in ipairs { "metrics.jsonl", "chain.jsonl", "checkpoint.safetensors" } do
    t.eq(files.read(dir .. "/" .. name) == files.read(whole .. "/" .. name), true, name)
  end
end)

t.test("what a checkpoint refers to is on the disk before it", function()
  local core, dir, synced, saved = require "flowmap.core", folder(), {}, 0
  local sync, save = core.sync_file, fm.checkpoint.save
  local restore <close> = setmetatable({}, { __close = function()
    core.sync_file, fm.checkpoint.save = sync, save
  end })
  core.sync_file = function(path)
    synced[path] = files.read(path)
    return sync(path)
  end
  fm.checkpoint.save = function(path, ...)
    for _, name in ipairs(path:find "/checkpoint" and { "metrics", "chain", "history" } or {}) do
      local log = ("%s/%s.jsonl"):format(dir, name)
      t.eq(synced[log] == files.read(log), true, name)
      saved = saved + 1
    end
    return save(path, ...)
  end
  trainer.train(trainer.new(board, resolve(with { save_every = 0, log_every = 2 })), dir)
  t.eq({ saved, restore ~= nil }, { 3 * 6, true })
end)

t.test("the seconds of a continued run are those of the steps that it kept", function()
  local journal, dir = require "flowmap.runs.journal", folder()
  local function add(step, wall, at)
    local line = { step = step, wall_s = wall, cpu_s = wall and wall / 2 }
    if at then
      for key, value in pairs { time = at, revision = "x", version = "1", isa = "scalar",
        blas = "x", threads = 1 } do line[key] = value end
    end
    fm.write_file(dir .. "/history.jsonl", (files.read(dir .. "/history.jsonl") or "")
      .. fm.json.encode(line) .. "\n")
  end
  local function spent(done)
    local log <close>, seconds, starts = journal.history(dir, done)
    return { seconds.wall_s, seconds.cpu_s, #starts, log ~= nil }
  end
  add(0, nil, "2026-01-01T00:00:00Z")
  add(2, 5)
  add(4, 9)
  t.eq(spent(2), { 5, 2.5, 1, true }) -- killed; the checkpoint is of step 2
  t.eq(spent(4), { 9, 4.5, 1, true })
  add(2, nil, "2026-01-01T00:01:00Z")
  add(3, 7)
  t.eq(spent(3), { 7, 3.5, 2, true })
  t.eq(spent(4), { 7, 3.5, 2, true }, "the steps that were lost do not count")
end)

t.test("every link of the chain follows from its state, the trace and the link before", function()
  local dir, chain = folder(), require "flowmap.runs.chain"
  local cfg = resolve(with { steps = 131, log_every = 10, audit_bytes = 1 << 20 })
  trainer.train(trainer.new(board, cfg), dir)
  local record = require "flowmap.runs.record"
  local links, trace = record.lines("chain", files.read(dir .. "/chain.jsonl"), dir), ""
  local lines, at = files.read(dir .. "/metrics.jsonl"), {}
  for line in lines:gmatch "[^\n]*\n" do at[tonumber(line:match '"step": (%d+)')] = line end
  t.eq(#links, 66) -- every second step, and the last
  local before, states = nil, 0
  for step = 1, 131 do
    trace = trace .. (at[step] or "")
    local k = (step % 2 == 0 or step == 131) and links[(step + 1) // 2]
    if k then
      t.eq(k.step, step)
      t.eq(k.link, chain.link(before, step, k.state, fm.sha256(trace)))
      before = k.link
    end
    local kept = ("%s/state-%d.safetensors"):format(dir, step)
    if files.exists(kept) then
      states = states + 1
      local saved = fm.checkpoint.load(kept)
      t.eq(chain.state(saved.tensors), k.state)
      t.eq(chain.state(chain.tensors(trainer.new(board, cfg, saved))), k.state)
    end
  end
  t.eq(states, 16)
end)

t.test("states for an audit take at most the disk space that they may", function()
  local chain = require "flowmap.runs.chain"
  for _, bytes in ipairs { 1, 1000, 5e6, 1e9 } do
    for _, limit in ipairs { 0, 999, 1 << 23, 1 << 30 } do
      for _, steps in ipairs { 1, 63, 64, 100, 60000 } do
        local every, stride = chain.spacing({ steps = steps, audit_bytes = limit }, bytes // 1)
        local links = steps // every
        local states = stride > 0 and links // stride or 0
        t.eq(states * bytes <= limit and states <= 20, true)
        t.eq(links <= 128, true)
      end
    end
  end
end)

t.test("unreadable metrics that a checkpoint relies on stop a resumption", function()
  local dir, cfg = folder(), resolve(with { save_every = 0, log_every = 1 })
  local path = dir .. "/metrics.jsonl"
  killed_after(trainer.new(board, cfg), dir, 3)
  local saved, before = fm.checkpoint.load(dir .. "/checkpoint.safetensors"), files.read(path)
  local function resume() trainer.train(trainer.new(board, cfg, saved), dir) end
  for _, it in ipairs { { before:gsub("loss", "lost", 1), "line 1: the field loss is missing" },
    { before:gsub("%d,", "3,", 1), "metrics.jsonl is damaged" },
    { before:match "\n(.*)$", "metrics.jsonl is damaged" },
    { before:gsub("\n", "\n5\n", 1), "line 2 is not a JSON object" },
    { before:gsub("[%d.]+,", "NaN,", 1), "line 1 is not a JSON object" } } do
    local text, pattern = it[1], it[#it]
    fm.write_file(path, text)
    t.eq(t.raises(resume, pattern).code, "data", pattern)
    t.eq(files.read(path), text)
  end
  os.remove(path)
  t.eq(t.raises(resume, "cannot read .*metrics.jsonl").code, "data")
  fm.write_file(path, before .. '{"diag": 1.5, "gr')
  resume()
end)

t.test("a job has the fields that flowmap.job documents, and no others", function()
  local job = fm.job.new { cfg = {} }
  t.raises(function() job.shard = {} end, "a job has no field 'shard'")
  t.raises(function() fm.job.with(job, {}).shard = {} end, "no field 'shard'")
  local documented = {}
  for name in fm.files.read(package.searchpath("flowmap.job", package.path))
    :gmatch "\n%-%- @field ([%w_]+)" do
    documented[name] = true
  end
  t.eq(documented, fm.job.fields)
end)

t.test("each term of a step is summed and logged under its name, over its own samples", function()
  local job = trainer.new(board, resolve(with { steps = 2, log_every = 2, batch = 8 }))
  local program, dir = job.program, folder()
  job.terms[3] = { name = "size", column = "size", rows = 8, words = "size" }
  job.sums = fm.job.new_sums(job)
  job.program = { run = function(_, it)
    local out = program:run(it)
    out.sum.size = fm.tensor(4.0)
    return out
  end }
  fm.files.mkdir(dir)
  trainer.train(job, dir)
  local line = fm.json.decode(fm.files.read(dir .. "/metrics.jsonl"))
  t.eq(line.size, 0.5)
  t.near(line.loss, (6 * line.diag + 2 * line.off) / 8 + 0.5, 1e-12)
  local saved = fm.checkpoint.load(dir .. "/checkpoint.safetensors")
  t.eq(saved.sums.size, 0)
  saved.sums.off = nil
  t.raises(function() trainer.new(board, saved.cfg, saved) end, "does not hold the sum of 'off'")
end)

t.test("the loss falls", function()
  local job = trainer.new(board, resolve { steps = 300, width = 32, batch = 128 })
  local first, last = 0, 0
  for k = 1, 300 do
    local it = trainer.step(job)
    if k <= 20 then first = first + it.terms.diagonal end
    if k > 280 then last = last + it.terms.diagonal end
  end
  t.eq(last < 0.97 * first, true, ("from %g to %g"):format(first, last))
end)

t.test("a loss that is not finite stops the step and names term, step and samples", function()
  local own = { name = "bad", path = "experiments/checkerboard.lua", methods = { "broken" },
    profiles = board.profiles, settings = board.settings, losses = {} }
  -- the logarithm of a negative number, but only near the end of the triangle
  function own.losses.broken(a)
    return fm.losses.norm2(fm.log(0.9 - a.t) * a.map.v(a.s, a.t, a.x))
  end
  local job = trainer.new(own, experiment.resolve(own, { profile = "smoke", set = with() }))
  local before = bits(job)
  local err = t.raises(function() for _ = 1, 50 do trainer.step(job) end end,
    "^step %d+: the loss is not finite in the broken term, samples %d+ to %d+ of 96")
  t.eq(err.code, "numeric")
  t.eq(job.done, 0)
  t.eq(bits(job), before)
end)

t.test("a checkpoint of another network is refused", function()
  local path = folder() .. "/checkpoint.safetensors"
  local job = trainer.new(board, resolve(with()))
  fm.checkpoint.save(path, job, { step = 0 })
  t.raises(function()
    trainer.new(board, resolve(with { width = 8 }), fm.checkpoint.load(path))
  end, "params.1.b has shape %(16%), expected %(8%)")
end)

t.test("a drawn data set is gathered by index", function()
  local job = trainer.new(board, resolve(with { dataset_size = 1000 }))
  t.eq(job.data.shape, { 1000, 2 })
  t.near(job.cfg.sigma, board and job.set.sd, 0.03)
  trainer.step(job)
end)

t.test("every time distribution has 0 <= s <= t <= 1", function() -- [eq:times]
  local u = fm.uniform({ 4096, 2 }, { seed = 1, stream = "times" })
  local a, c = fm.slice(u, 2, 1, 1), fm.slice(u, 2, 2, 1)
  for _, name in ipairs(fm.times.names) do
    local s, time = fm.times[name](a, c)
    if fm.times.both_orders[name] then s, time = fm.minimum(s, time), fm.maximum(s, time) end
    local bad = fm.sum(fm.lt(time, s)) + fm.sum(fm.lt(s, 0)) + fm.sum(fm.lt(1, time))
    t.eq(bad:item(), 0.0, name)
  end
end)

-- Which of N = 1, 2, 4, 8, 16 a row is a whole step of, if any.
local function step_of(s, time)
  for _, N in ipairs { 1, 2, 4, 8, 16 } do
    local k = s * N
    if math.abs(k - math.floor(k + 0.5)) < 1e-6 and math.abs((time - s) * N - 1) < 1e-6 then
      return N
    end
  end
end

t.test("half of the times are the sampler's steps, or parts that share an end with one", function()
  local n = 40000
  local u = fm.uniform({ n, 2 }, { seed = 2, stream = "times" })
  local a, c = fm.slice(u, 2, 1, 1), fm.slice(u, 2, 2, 1)
  for name, part in pairs { half_steps = 0.1, half_long = 1 / 6, half_parts = 0.1 / 3 } do
    local s, time = fm.times[name](a, c)
    local count, long = { 0, 0, 0, 0, [8] = 0, [16] = 0 }, 0
    s, time = s:flat(), time:flat()
    for i = 1, n do
      local N = step_of(s[i], time[i])
      if N then count[N] = count[N] + 1 end
      if time[i] - s[i] > 0.5 and (s[i] == 0 or time[i] == 1) then long = long + 1 end
    end
    for _, N in ipairs { 1, 2, 4, 8, 16 } do
      t.near(count[N] / n, name == "half_long" and N > 4 and 0 or part, 0.006, name .. N)
    end
    t.near(long / n, name == "half_parts" and 0.1 * 2 / 3 or part, 0.006, name .. " long")
  end
end)

t.test("a checkpoint from before a setting existed continues to the same bits", function()
  local dir = folder()
  local cfg = resolve(with { save_every = 0 })
  local job = trainer.new(board, cfg)
  trainer.step(job)
  local path, now = dir .. "/old.safetensors", job.cfg
  local before = {}
  for key, value in pairs(now) do before[key] = value end
  before.robust, before.resolution = nil, nil
  job.cfg = before
  fm.checkpoint.save(path, job, { step = 1 })
  job.cfg = now
  local saved = fm.checkpoint.load(path)
  local old = trainer.new(board, saved.cfg, saved)
  for _, one in ipairs { job, old } do trainer.step(one) end
  t.eq(bits(old), bits(job))
end)

-- half_ends with time reversed is half_starts.
for _, name in ipairs { "half_starts", "half_ends" } do
  t.test(name .. ": a quarter spans [0, 1] from that side, an eighth each half of it", function()
    local n = 40000
    local u = fm.uniform({ n, 2 }, { seed = 4, stream = "times" })
    local s, time = fm.times[name](fm.slice(u, 2, 1, 1), fm.slice(u, 2, 2, 1))
    s, time = s:flat(), time:flat()
    local middle, rim, far = 0, 0, 0
    for i = 1, n do
      local at, other = time[i], s[i]
      if name == "half_starts" then at, other = 1 - s[i], 1 - time[i] end
      if at == 0.5 then middle = middle + 1 end
      if at == 1 then rim = rim + 1 end
      if at == 1 and other < 0.25 then far = far + 1 end
    end
    t.near(middle / n, 1 / 8, 0.006)
    t.near(rim / n, 1 / 4 + 1 / 8, 0.008)
    t.near(far / n, 1 / 16, 0.005)
  end)
end

-- [eq:sampling] [eq:flow]
t.test("samplers: N steps of an exact map are exact, Heun converges", function()
  -- x0 ~ N(0, 1) to x1 ~ N(0, c^2): X_{s,t}(x) = x sd_t / sd_s
  local c = 0.5
  local function sd(time) return fm.sqrt(fm.square(1 - time) + fm.square(c * time)) end
  local X = fm.map.new(function(s, time, x)
    return (c * c * (time + s) - (2 - time - s)) / (sd(s) * (sd(time) + sd(s))) * x
  end)
  local x = fm.tensor({ { 1.0, -2.0 } }, "float64")
  for _, N in ipairs { 1, 3, 8 } do t.near(fm.sampler.steps(X, x, N):get(1, 2), -1, 1e-12) end
  local coarse = math.abs(fm.sampler.heun(X, x, 20):get(1, 1) - 0.5)
  local fine = math.abs(fm.sampler.heun(X, x, 40):get(1, 1) - 0.5)
  t.near(coarse / fine, 4, 0.5, "second order")
end)

t.done()
