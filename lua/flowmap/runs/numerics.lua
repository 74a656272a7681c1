--- The fingerprint of the numerics: a hash of the bits that a fixed probe gives here, with this
-- program, these libraries and this instruction set. Two runs with the same settings and sources
-- and the same fingerprint have the same bits. A rebuilt program that keeps the bits keeps the
-- fingerprint, and so all results stay current.
--
-- The probe covers the core: every operation in both formats with its jvp and vjp, products and
-- eigenvectors by the BLAS and LAPACK library, and the gradient through a derivative as all losses
-- have it. (The training of a run has a fingerprint of its own: flowmap.runs.fingerprint.)
--
-- The results of a probe are kept in the user's cache folder under everything that they can depend
-- on, so that each is computed once per build.
-- @module flowmap.runs.numerics

local core = require "flowmap.core"
local data = require "flowmap.data"
local files = require "flowmap.base.files"
local fm = require "flowmap"
local lfs = require "lfs"
local places = require "flowmap.data.packed.places"
local ranks = require "flowmap.base.ranks"
local source = require "flowmap.runs.source"
local tree = require "flowmap.tree"

local M = {}

-- ------------------------------------------------------------------ dependencies of the bits

-- The program or module that holds the core, by its contents, and every library in memory; nil if
-- unknown: without /proc, or if a file was replaced since it was loaded.
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

--- A hash of the bits of all tensors of a tree.
-- @param tensors
-- @treturn string
function M.bits(tensors)
  local parts = {}
  tree.each(function(x) parts[#parts + 1] = core.sha256(core.bytes(x)) end, tensors)
  return core.sha256(table.concat(parts))
end

--- The formats that are probed: { dtype, precision of wide products }.
M.formats = { { "float32", "float32" }, { "float32", "bfloat16" }, { "float64", "float32" } }

-- The gradient through a derivative of a small network, by a program as training has it.
local function gradient(number)
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
  return M.bits(program:run { shared = w, batch = 96, seed = 1, step = 0 }.sum)
end

-- Operations, and sizes at which libraries switch algorithms.
local function operations()
  local parts = { core.probe() }
  for _, dtype in ipairs { "float32", "float64" } do
    local x = normal({ 96, 96 }, "x", dtype)
    parts[#parts + 1] = M.bits { fm.matmul(normal({ 33, 600 }, "a", dtype),
      normal({ 600, 257 }, "b", dtype)), fm.sum(normal({ 300, 300 }, "c", dtype)) }
    if dtype == "float64" then
      parts[#parts + 1] = M.bits { fm.eigh(x + fm.transpose(x, { 2, 1 })) }
    end
  end
  for _, number in ipairs(M.formats) do parts[#parts + 1] = gradient(number) end
  return table.concat(parts)
end

-- ------------------------------------------------------------------ kept results

--- Whether results are kept in the cache folder; a dry run, which writes nothing, sets this to
-- false.
M.keep = true

local computed = {} -- key -> hash, in this process

-- A kept result ends with a checksum: a damaged one would make every run look outdated.
local function sealed(key, hash) return ("%s %s\n"):format(hash, core.sha256(key .. hash)) end

local function kept(path, key)
  local text = files.read(path)
  local hash = text and text:match "^(%x+) "
  return hash and text == sealed(key, hash) and hash or nil
end

--- The hash of what a probe gives, computed unless it is kept.
-- @tparam string name
-- @tparam {string,...} modules that it runs, without "flowmap."
-- @tparam function compute returns a text
-- @treturn string
function M.probe(name, modules, compute)
  local of = binary()
  local key = core.sha256(table.concat({ name, of or "", sources(modules) }, "\n"))
  if computed[key] then return computed[key] end
  local ok, folder = pcall(function()
    if M.keep then return data.cache_folder() end
    return places.cache()
  end)
  local path = ok and of and ("%s/numerics-%s"):format(folder, key:sub(1, 32))
  local hash = path and kept(path, key)
  if not hash then
    hash = core.sha256(ranks.alone(source.aside, compute))
    -- A cache: it may be read-only.
    if path and M.keep then pcall(core.write_file, path, sealed(key, hash)) end
  end
  computed[key] = hash
  return hash
end

--- The remedy where the machines of several ranks have different ones.
M.REMEDY = "FM_ISA and OPENBLAS_CORETYPE, set for all of them, choose what all have"

--- The fingerprint.
-- @treturn string "HASH ISA BLAS"
function M.text()
  local info = core.info()
  return ("%s %s %s"):format(M.probe("operations", { "program" }, operations), info.isa, info.blas)
end

--- The key of a result that is kept between runs, besides its data: the numerics and its sources.
-- @tparam string ... modules that make it, without "flowmap."
-- @treturn string
function M.with_sources(...)
  return M.text() .. "\n" .. sources { ... }
end

--- The parts of a fingerprint.
-- @tparam string text what `text` returned
-- @treturn table { hash =, isa =, blas = }
function M.parts(text)
  local hash, isa, blas = text:match "^(%S*) ?(%S*) ?(.*)$"
  return { hash = hash, isa = isa, blas = blas }
end

return M
