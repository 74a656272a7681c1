--- Programs: a Lua function of a batch, traced once per micro-batch shape and replayed by the core.
--
-- The batch is split into micro-batches of at most `micro` samples. `sum` results are added over
-- them in a fixed tree and `rows` results are stacked, so that a result depends on the batch, the
-- seed and the step, never on threads; and memory does not grow with the batch.
-- @module flowmap.program

local core = require "flowmap.core"
local autodiff = require "flowmap.autodiff"
local counted = require "flowmap.base.counted"
local errors = require "flowmap.base.errors"
local layout = require "flowmap.layout"
local show = require "flowmap.show"
local tree = require "flowmap.tree"

local map, paired = autodiff.map, autodiff.paired

--- The micro-batch as a traced function sees it.
local Batch = {}
Batch.__index = Batch

local tracing = false -- whether a program is being traced

local ended = { __close = function(it) tracing = it.before end }

local function random(kind)
  return function(self, shape, stream)
    local s = { self.n }
    table.move(type(shape) == "table" and shape or { shape }, 1, 8, 2, s)
    local x = self.trace[kind](self.trace, s, stream)
    local key = stream or 0
    if self.drawn[key] then
      errors.usage("%s: the stream %s has been drawn before in this micro-batch and would give "
        .. "dependent numbers; expected another stream", kind,
        stream and ("'%s'"):format(stream) or "without a name")
    end
    self.drawn[key] = true
    return x
  end
end

-- A program that called the functions which draw at once would keep their numbers as constants.
local function refuse_inside(kind)
  if tracing then
    errors.usage("%s: a program that is being traced would keep these numbers, the same in every "
      .. "step; a data set draws by b:%s(shape, stream), and constants are drawn beforehand",
      kind, kind)
  end
end

local uniform, normal = core.uniform, core.normal

core.uniform = counted.counted("uniform", function(shape, how)
  refuse_inside "uniform"
  local x = uniform(shape, how) -- no tail call: sentences name the function
  return x
end)

core.normal = counted.counted("normal", function(shape, how)
  refuse_inside "normal"
  local x = normal(shape, how)
  return x
end)

--- Random numbers (n, shape...), keyed by seed, stream, step and sample: `b:uniform(2, "times")`.
-- Each stream is drawn once.
Batch.uniform, Batch.normal = random "uniform", random "normal"

--- A mask of dropout for x, whose rows are the first samples of the micro-batch: 0 with probability
-- `rate`, else 1/(1 - rate); keyed as above.
-- @param x (m, ...), m <= n
-- @tparam number rate 0 <= rate < 1
-- @tparam string stream
-- @return the shape of x
function Batch:dropout(x, rate, stream)
  if not core.is_tensor(x) or #x.shape == 0 or x.shape[1] > self.n then
    errors.usage("dropout: %s found, expected a tensor of at most the %d rows of the micro-batch",
      core.is_tensor(x) and ("the shape (%s)"):format(table.concat(x.shape, ", "))
        or "a " .. type(x), self.n)
  end
  return self.trace:dropout(x.shape, rate, stream, x.dtype)
end

--- The number of diagonal samples among the n rows, which come first; over the whole batch they
-- are floor(eta B), and no fewer than `least`.
-- @tparam number eta
-- @tparam ?integer devices default 1, see flowmap.layout
-- @tparam ?integer least default 1
-- @treturn integer
-- @treturn table how many rows enter another term than they were drawn for: { from_off =,
--   from_diagonal = }
function Batch:split(eta, devices, least)
  if type(eta) ~= "number" or not (eta >= 0 and eta <= 1) then
    errors.usage("split: eta is %s, expected a number from 0 to 1", tostring(eta))
  end
  local counts = layout.rows(eta, self.batch, devices, self.first, self.last, least)
  self.splits[#self.splits + 1] = { eta = eta, devices = devices, least = least,
    counts = counts }
  return counts.diagonal, counts
end

local Program = {}
Program.__index = Program

local SPEC = { "shared", "rows", "micro", "passes", "precision" }
local JOB = { "shared", "rows", "batch", "seed", "step", "reuse" }

local function check_rows(rows)
  if rows ~= nil and type(rows) ~= "table" then
    errors.usage("program: rows is a %s, expected a table such as { x = {2} }", type(rows))
  end
  for name, shape in pairs(rows or {}) do
    if type(shape) ~= "table" then
      errors.usage("program: the rows input '%s' is a %s, expected the shape of a row such as {2}",
        tostring(name), type(shape))
    end
  end
end

--- A program. Its function is traced once for each shape of a micro-batch. Whatever it computes
-- from captured tensors is computed then, so tensors that change between runs belong in `shared`.
-- @tparam function f f(shared, b) -> { sum = nested tensors, added over micro-batches: a mean over
-- rows, or a term without rows, would depend on their number; rows = nested tensors }; b.n rows,
-- b.rows.NAME the inputs of the micro-batch, b:uniform, b:normal, b:split. What else f reads,
-- numbers and tensors, is a constant of the program
-- @tparam table spec { shared = nested tensors, rows = { name = shape of one row }, micro = 512,
-- passes = number: which transformations (tests); precision = "bfloat16": wide matrix products
-- round their operands to it }
-- @treturn Program
local function program(f, spec)
  autodiff.callable("program", f)
  if type(spec) ~= "table" then
    errors.usage("program: argument 2 is a %s, expected a table such as { shared = params }",
      type(spec))
  end
  errors.fields("program", spec, SPEC)
  check_rows(spec.rows)
  errors.choice("precision", spec.precision or "float32", { "bfloat16", "float32" })
  local micro = spec.micro or 512
  if math.type(micro) ~= "integer" or micro < 1 then
    errors.usage("program: micro is %s, expected a whole number from 1 on", tostring(micro))
  end
  return setmetatable({
    f = f, spec = spec, micro = micro, compiled = {},
    names = tree.keys(spec.rows or {}),
  }, Program)
end

-- The result of f, checked.
local function checked(out)
  if type(out) ~= "table" then
    errors.usage("program: the function returned a %s, expected a table { sum =, rows = }",
      core.is_tensor(out) and "tensor" or type(out))
  end
  for name in pairs(out) do
    if name ~= "sum" and name ~= "rows" then
      errors.usage("program: the function returned '%s', expected sum and rows alone",
        tostring(name))
    end
  end
  return out
end

--- Trace f for rows [first, last) of the batch; the outputs' structure is kept for `run`.
function Program:trace(batch, first, last)
  local trace = core.trace()
  local _ <close> = setmetatable({ before = tracing }, ended)
  tracing = true
  local b = setmetatable({ n = last - first, batch = batch, first = first, last = last,
    splits = {}, rows = {}, drawn = {}, trace = trace }, Batch)
  local shared = map(function(t) return trace:input("shared", t.shape, t.dtype) end,
    self.spec.shared or {})
  for _, name in ipairs(self.names) do
    local shape = table.move(self.spec.rows[name], 1, 8, 2, { b.n })
    b.rows[name] = trace:input("rows", shape, self.spec.rows[name].dtype)
  end
  local out = checked(autodiff.within(trace, self.f, shared, b))
  local structure, k = {}, 0
  for _, role in ipairs { "sum", "rows" } do
    structure[role] = tree.map(function(v, name)
      if not core.is_tensor(v) then
        errors.usage("program: the function returned a %s as %s, expected a tensor", type(v), name)
      end
      trace:output(v, role)
      k = k + 1
      return k
    end, out[role] or {}, role)
  end
  return { trace = trace, n = b.n, splits = b.splits, structure = structure }
end

local function fits(traced, batch, first, last)
  if traced.n ~= last - first then return false end
  for _, split in ipairs(traced.splits) do
    local counts = layout.rows(split.eta, batch, split.devices, first, last, split.least)
    for name, count in pairs(counts) do
      if split.counts[name] ~= count then return false end
    end
  end
  return true
end

-- Bounds of a batch: products of two numbers of samples stay exact, and the list of cuts is short.
local MOST_SAMPLES, MOST_CUTS = 1 << 31, 1 << 20

--- Cut a batch into equal micro-batches (sizes differ by one at most) and trace each shape once.
-- @treturn {table,...} traces, as `trace` returns them
-- @treturn {integer,...} which trace each micro-batch runs
-- @treturn {integer,...} its first sample, and the number of all
function Program:cut(batch)
  local count = (batch - 1) // self.micro + 1
  local traces, which, row0 = {}, {}, { 0 }
  for k = 1, count do
    local first, last = row0[k], k * batch // count
    row0[k + 1] = last
    for i, traced in ipairs(traces) do
      if fits(traced, batch, first, last) then which[k] = i end
    end
    if not which[k] then
      traces[#traces + 1] = self:trace(batch, first, last)
      which[k] = #traces
    end
  end
  return traces, which, row0
end

-- `how(traces, which, row0, passes, bf16, ...)` for a batch; the traces are closed afterwards.
function Program:with_traces(batch, how, ...)
  local traces, which, row0 = self:cut(batch)
  local list = {}
  for k, traced in ipairs(traces) do list[k] = traced.trace end
  local result = how(list, which, row0, self.spec.passes, self.spec.precision == "bfloat16", ...)
  for _, trace in ipairs(list) do trace:close() end
  return result, traces[1].structure, #which
end

function Program:compile(batch)
  local exe, structure, micro = self:with_traces(batch, core.exe)
  return { exe = exe, structure = structure, micro = micro }
end

local function check_batch(self, batch)
  if math.type(batch) ~= "integer" or batch < 1 then
    errors.usage("program: batch %s found, expected a whole number from 1 on", tostring(batch))
  end
  if batch > MOST_SAMPLES or (batch - 1) // self.micro >= MOST_CUTS then
    errors.usage("program: a batch of %d samples in micro-batches of %d found, expected at most %d "
      .. "samples and %d micro-batches", batch, self.micro, MOST_SAMPLES, MOST_CUTS)
  end
end

function Program:prepared(batch)
  check_batch(self, batch)
  self.compiled[batch] = self.compiled[batch] or self:compile(batch)
  return self.compiled[batch]
end

--- The programs that a pass of the compiler leaves, as text: `fm.show` tells how to read it.
-- @tparam integer batch
-- @tparam ?string pass its name (default: the last)
-- @treturn string
function Program:text(batch, pass)
  check_batch(self, batch)
  return (self:with_traces(batch, core.program_text, show.pass(pass, "plan")))
end

function Program:inputs(job)
  local like = self.spec.shared or {}
  local list = paired(like, job.shared or like, "program: the shared inputs")
  local rows = job.rows or {}
  for _, name in ipairs(self.names) do
    list[#list + 1] = rows[name] or errors.usage("program: the rows input '%s' is absent", name)
  end
  for name in pairs(rows) do
    if not (self.spec.rows and self.spec.rows[name]) then
      errors.usage("program: there is no rows input '%s'%s", tostring(name),
        errors.near(tostring(name), self.names))
    end
  end
  return list
end

--- Run the program on a batch.
-- @tparam table job { shared =, rows =, batch =, seed =, step =, reuse = overwrite the tensors of
-- the last run instead of making new ones }
-- @treturn table { sum =, rows = } in the structure that f returned
function Program:run(job)
  local it = self:prepared(errors.fields("program: run", job, JOB).batch)
  local out = it.exe:run(self:inputs(job), job.seed or 0, job.step or 0,
    job.reuse and it.out or nil)
  if job.reuse then it.out = out end
  local function pick(k) return out[k] end
  return { sum = map(pick, it.structure.sum), rows = map(pick, it.structure.rows) }
end

--- A table of the steps with FLOPs, bytes and measured time, for the job of a run.
function Program:explain(job)
  errors.fields("program: explain", job, JOB)
  return self:prepared(job.batch).exe:explain(self:inputs(job), job.seed or 0, job.step or 0)
end

--- Counts for a batch: traced, executed (steps), flops, moved (bytes), arena and sums (bytes), ...
function Program:stats(batch)
  local stats = self:prepared(batch).exe:stats()
  stats.micro = self.compiled[batch].micro
  return stats
end

counted.methods("micro-batch", Batch)
counted.methods("program", Program)
core.program = counted.counted("program", program)

return { program = program, Program = Program }
