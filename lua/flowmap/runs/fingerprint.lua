--- The fingerprint of the numerics: a hash of the bits that a fixed probe gives here, with this
-- program, these libraries and this instruction set. Two runs with the same settings and sources
-- and the same fingerprint have the same bits; a program built anew that keeps the bits keeps the
-- fingerprint, and so all results.
--
-- The fingerprint proper is of the core: every operation in both formats with its jvp and vjp,
-- products and eigenvectors by the BLAS and LAPACK library, and the gradient through a derivative
-- as all losses have it. Beside it stands what a run's own training gives: twenty steps of its
-- method in float32, bfloat16 and float64, with samples, and some of its network, where that is not
-- the multilayer perceptron which the methods are probed with.
--
-- What a part gave is kept in the user's cache folder under all that it can depend on, so that it
-- is computed once per build.
-- @module flowmap.runs.fingerprint

local core = require "flowmap.core"
local files = require "flowmap.base.files"
local lfs = require "lfs"
local source = require "flowmap.runs.source"
local tree = require "flowmap.tree"

local M = {}

-- ------------------------------------------------------------------ what the bits depend on

-- The program or module that holds the core, by its contents, and every library in memory; nil if
-- that cannot be told: without /proc, or when a file was replaced since it was loaded.
local function mapped()
  local seen, parts = {}, {}
  local maps <close> = io.open "/proc/self/maps"
  for line in maps and maps:lines() or function() end do
    local path = line:match "^%S+ ..x. %S+ %S+ %d+ +(/.*)$"
    if path and not seen[path] then
      seen[path] = true
      local about = lfs.attributes(path)
      if not about then return nil end
      local ours = path:find "/flowmap$" or path:find "/flowmap/core%.so$"
      parts[#parts + 1] = ours and core.sha256_file(path)
        or ("%s %s %s %s"):format(path, about.size, about.modification, about.ino)
    end
  end
  table.sort(parts)
  return maps and table.concat(parts, "\n")
end

local libraries -- of this process, once

local function binary()
  if libraries == nil then libraries = mapped() or false end
  local info = core.info()
  return libraries and table.concat({ info.version, info.isa, info.blas, info.bfloat16, libraries },
    "\n")
end

-- The Lua sources that a part of the probe runs.
local function sources(modules)
  local roots, parts = {}, {}
  for i, name in ipairs(modules) do
    source.aside(require, "flowmap." .. name)
    roots[i] = source.path_of("flowmap." .. name)
  end
  for path, it in pairs(source.closure(roots, function() return false end)) do
    if source.is_suite(path) then parts[#parts + 1] = it.hash end
  end
  table.sort(parts)
  return table.concat(parts, "\n")
end

-- ------------------------------------------------------------------ the probe

local function normal(shape, stream, dtype)
  return core.normal(shape, { seed = 1, stream = stream, dtype = dtype })
end

local function bits(tensors)
  local parts = {}
  tree.each(function(x) parts[#parts + 1] = core.sha256(core.bytes(x)) end, tensors)
  return core.sha256(table.concat(parts))
end

local NUMBERS = { { "float32", "float32" }, { "float32", "bfloat16" }, { "float64", "float32" } }

-- The gradient through a derivative of a small network, by a program as training has it.
local function gradient(number)
  local fm = require "flowmap"
  local w = { normal({ 64, 96 }, "w", number[1]), normal({ 96, 64 }, "v", number[1]) }
  local program = fm.program(function(p, b)
    local x = fm.cast(b:normal({ 64 }, "x"), number[1])
    local function f(params)
      local y, dy = fm.jvp(function(at)
        return fm.matmul(fm.gelu(fm.matmul(at, params[1])), params[2])
      end, x, fm.silu(x))
      return fm.sum(fm.square(dy - fm.stop(y)))
    end
    local _, grads = fm.value_and_grad(f)(p)
    return { sum = grads }
  end, { shared = w, rows = {}, micro = 32, precision = number[2] })
  return bits(program:run { shared = w, batch = 96, seed = 1, step = 0 }.sum)
end

-- Operations, and the sizes at which libraries change their ways.
local function operations()
  local fm, parts = require "flowmap", { core.probe() }
  for _, dtype in ipairs { "float32", "float64" } do
    local x = normal({ 96, 96 }, "x", dtype)
    parts[#parts + 1] = bits { fm.matmul(normal({ 33, 600 }, "a", dtype),
      normal({ 600, 257 }, "b", dtype)), fm.sum(normal({ 300, 300 }, "c", dtype)) }
    if dtype == "float64" then
      parts[#parts + 1] = bits { fm.eigh(x + fm.transpose(x, { 2, 1 })) }
    end
  end
  for _, number in ipairs(NUMBERS) do parts[#parts + 1] = gradient(number) end
  return table.concat(parts)
end

-- Every setting that makes numbers: another default must not look like other numerics.
local TINY = {
  width = 64, depth = 2, batch = 64, micro = 32, steps = 20, lr = 1e-2, sigma = 1.0, ema = { 0.9 },
  model_channels = 8, mult = { 1, 1 }, num_blocks = 1, attention = { 4 }, dropout = 0.25,
  data = "probe", interpolant = "linear", times = "uniform", eta = 0.75, off_weight = 1.0,
  robust = 0.0, time_input = "raw", features = 1, schedule = "linear", warmup = 0, b1 = 0.9,
  b2 = 0.999, eps = 1e-8, weight_decay = 0.0, clip = 1.0, optimiser = "radam",
}

-- A job on data of the given shape, without a folder.
local function job_of(method, net, shape, number)
  local fm = require "flowmap"
  local set = { dim = 2, sd = 1, sample = function(b) return b:normal(shape, "data") end,
    shape = #shape > 1 and shape or nil }
  local it = { name = "probe", path = "probe", methods = { method }, profiles = { smoke = {} },
    data = { probe = set } }
  local want = { net = net, dtype = number[1], precision = number[2] }
  for key, value in pairs(TINY) do want[key] = value end
  if #shape > 1 then want.batch, want.micro = 4, 2 end
  local cfg = fm.experiment.resolve(it, { profile = "smoke", method = method, set = want })
  local job = fm.job.parts(it, cfg)
  local params = job.net.init(fm.nets.rng(1, job.cfg.dtype))
  if job.net.renew then job.net.renew(params) end
  fm.job.begin(job, params, {})
  job.program = fm.step.program(job, job.shared)
  return job
end

-- Weights, their average and samples after some steps, in all number formats.
local function training(method, net, shape, steps)
  local fm, parts = require "flowmap", {}
  for _, number in ipairs(NUMBERS) do
    local job = job_of(method, net, shape, number)
    for _ = 1, steps do fm.trainer.step(job) end
    local samples = fm.sampler.generator(job, job.params, 2)(64, 1)
    parts[#parts + 1] = bits { job.params, job.opt:ema(1), samples }
  end
  return table.concat(parts)
end

local MODULES = { "trainer", "step", "experiment", "sampler" }

-- The parts of a run's own training: name, modules, and what computes them.
local function parts_of(cfg)
  local fm = require "flowmap"
  local known = source.aside(pcall, fm.losses.find, cfg.method)
  local loss = source.aside(fm.losses.find, known and cfg.method or "lsd")
  local list = {
    { "method " .. loss.name, { loss.file:sub(9), table.unpack(MODULES) }, function()
      return training(loss.name, "mlp", { 2 }, 20)
    end },
  }
  if cfg.net == "edm2" then
    list[2] = { "net edm2", { "nets.edm2", table.unpack(MODULES) }, function()
      return training("lsd", "edm2", { 8, 8, 3 }, 5)
    end }
  end
  return list
end

-- ------------------------------------------------------------------ kept

--- Whether what is computed is kept; a dry run, which writes nothing, says no.
M.keep = true

local computed = {} -- key -> hash, in this process

local function kept(path)
  local text = files.read(path)
  return text and text:match "^(%x+)\n$" and #text == 65 and text:sub(1, 64) or nil
end

local function part(name, modules, compute, of)
  local key = core.sha256(table.concat({ name, of or "", sources(modules) }, "\n"))
  if computed[key] then return computed[key] end
  local ok, folder = pcall(function()
    if M.keep then return require("flowmap.data").cache_folder() end
    return require("flowmap.data.packed.places").cache()
  end)
  local path = ok and of and ("%s/numerics-%s"):format(folder, key:sub(1, 32))
  local hash = path and kept(path)
  if not hash then
    hash = core.sha256(source.aside(compute))
    -- A cache: it may be read-only.
    if path and M.keep then pcall(core.write_file, path, hash .. "\n") end
  end
  computed[key] = hash
  return hash
end

--- The fingerprint.
-- @treturn string "HASH ISA BLAS"
function M.text()
  local info = core.info()
  return ("%s %s %s"):format(part("operations", { "program" }, operations, binary()), info.isa,
    info.blas)
end

--- What training as a run's gives.
-- @tparam table cfg its settings: method and net
-- @treturn string a hash
function M.training(cfg)
  local of, hashes = binary(), {}
  for i, it in ipairs(parts_of(cfg)) do hashes[i] = part(it[1], it[2], it[3], of) end
  return core.sha256(table.concat(hashes))
end

--- What something kept between runs depends on besides its data: the numerics and its sources.
-- @tparam string ... modules that make it, without "flowmap."
-- @treturn string
function M.with_sources(...)
  return M.text() .. "\n" .. sources { ... }
end

--- What a fingerprint says in words.
-- @tparam string text what `text` returned
-- @treturn table { hash =, isa =, blas = }
function M.parts(text)
  local hash, isa, blas = text:match "^(%S*) ?(%S*) ?(.*)$"
  return { hash = hash, isa = isa, blas = blas }
end

return M
