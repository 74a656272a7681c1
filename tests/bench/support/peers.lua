--- The same training step in PyTorch and JAX, if installed, timed in turns with ours.
--
-- FLOWMAP_PEERS lists the Pythons to use, separated by blanks; by default python3 and Debian's.
-- FLOWMAP_PEER_LIBS is a folder of libraries that Debian's PyTorch should find first;
-- FLOWMAP_PEER_VARIANTS=eager selects variants (compiling takes minutes).
-- @module peers

local fm = require "flowmap"
local json = require "flowmap.base.json"
local measure = require "measure"
local trainer = require "flowmap.trainer"

local M = {}
local say = measure.say
local ROUNDS = 5
local METHOD, BATCH = "lsd", 4096

-- Debian's PyTorch uses the system's OpenBLAS. Its own threads are OpenMP's, which only OpenBLAS's
-- OpenMP build shares, so the peer's process is pointed to that build.
local openmp_folders = { "/usr/lib/x86_64-linux-gnu/openblas-openmp",
  "/usr/lib/aarch64-linux-gnu/openblas-openmp" }

local function exists(path)
  local file <close> = io.open(path)
  return file ~= nil
end

local function openmp_blas()
  local own = os.getenv "FLOWMAP_PEER_LIBS"
  if own then return own end
  for _, folder in ipairs(openmp_folders) do
    if exists(folder .. "/libblas.so.3") then return folder end
  end
end

local function quoted(word)
  return "'" .. word:gsub("'", "'\\''") .. "'"
end

local Peer = {}
Peer.__index = Peer

function Peer:__close()
  self.requests:write "quit\n"
  self.requests:close()
  self.replies:close()
  self.folder:close()
end

--- Send a request and read one line of JSON; nil if the process has ended.
function Peer:ask(...)
  self.requests:write(table.concat({ ... }, " "), "\n")
  self.requests:flush()
  return self:reply()
end

function Peer:reply()
  local line = self.replies:read "l"
  return line and json.decode(line)
end

--- The variants selected to run.
local function chosen(variants)
  local words, list = os.getenv "FLOWMAP_PEER_VARIANTS", {}
  for _, name in ipairs(variants) do
    if not words or (" " .. words .. " "):find(" " .. name .. " ", 1, true) then
      list[#list + 1] = name
    end
  end
  return list
end

--- A Python that serves requests, or nil if it is missing or lacks the script's library.
-- Lua's pipes have one direction only; the other is a FIFO, opened for both directions so that a
-- write does not raise a signal when the reader has died.
-- @tparam string python
-- @tparam string script a file of this folder's parent
-- @treturn Peer with `about`, its first reply; to be closed
function M.start(python, script)
  local path, private = fm.private_folder()
  local fifo, libs = path .. "/requests", openmp_blas()
  if not os.execute("mkfifo -m 600 " .. quoted(fifo)) then return private:close() end
  local requests = io.open(fifo, "r+")
  local folder = arg[0]:match "^(.*/)" or "./"
  local replies = io.popen(("exec env OMP_WAIT_POLICY=PASSIVE %s FLOWMAP_THREADS=%d %s -B %s "
    .. "--serve < %s 2> /dev/null"):format(libs and "LD_LIBRARY_PATH=" .. quoted(libs) or "",
    fm.info().threads, quoted(python), quoted(folder .. script), quoted(fifo)))
  local peer = setmetatable({ folder = private, requests = requests, replies = replies }, Peer)
  peer.about = peer:reply()
  if peer.about then
    peer.about.variants = chosen(peer.about.variants)
    return peer
  end
  peer:__close()
end

--- The Pythons to use.
-- @treturn {string,...} paths
function M.pythons()
  local names = os.getenv "FLOWMAP_PEERS"
  local list, seen = {}, {}
  for name in (names or "python3 /usr/bin/python3"):gmatch "%S+" do
    local pipe <close> = io.popen("command -v " .. quoted(name))
    local path = pipe:read "l"
    if path and not seen[path] then list[#list + 1] = path end
    seen[path or name] = true
  end
  return list
end

-- The variants of a peer that work, each with a list for its timings.
local function contenders(peer)
  local list = {}
  for _, variant in ipairs(peer.about.variants) do
    local it = peer:ask(variant, METHOD, BATCH, 1)
    if it and it.seconds then
      list[#list + 1] = { variant = variant, times = measure.times() }
    else
      say("%-10s does not run: %s", variant, it and it.error or "its process ended")
      if not it then break end
    end
  end
  return list
end

local function report(name, times, ours, work, peak)
  local it, us = times:rates(work), ours:rates(work)
  say("%-15s %11.0f %6.0f %s %7.2f %6.2f %5.2f", name, it.best / work * BATCH,
    it.median / work * BATCH, measure.percent(it, peak), us.best / it.best, us.median / it.median,
    us.cpu / it.cpu)
end

-- Ours and each variant in turns, two steps each.
local function compare(peer)
  local list = contenders(peer)
  if #list == 0 then return end
  local job = measure.job(METHOD, BATCH)
  local sample, peak = measure.peak(fm.info().threads)
  local ours = measure.times()
  trainer.step(job)
  for _ = 1, ROUNDS do
    for _, it in ipairs(list) do
      sample()
      for _ = 1, 2 do ours:add(measure.seconds(trainer.step, job)) end
      local reply = peer:ask(it.variant, METHOD, BATCH, 2)
      for k = 1, 2 do it.times:add(reply.seconds[k], reply.cpu[k]) end
    end
  end
  peak = peak()
  say("%-15s %18s %19s %20s", "", "samples/s", "% of peak", "ours / theirs")
  say("%-15s %18s %19s %20s", "", "best median", "best median   cpu", "best median   cpu")
  local work = measure.work(job)
  report("flowmap", ours, ours, work, peak)
  for _, it in ipairs(list) do
    report(peer.about.library .. " " .. it.variant, it.times, ours, work, peak)
  end
end

--- The section of the table; it says plainly when there is nobody to compare with.
function M.run()
  say("## PyTorch and JAX, the same step (%s, batch %d), in turns with ours", METHOD, BATCH)
  if not openmp_blas() then
    say("(libopenblas0-openmp is not installed: Debian's PyTorch is up to 1.8x slower without)")
  end
  local found = false
  for _, python in ipairs(M.pythons()) do
    for _, script in ipairs { "peer_torch.py", "peer_jax.py" } do
      local peer <close> = M.start(python, script)
      if peer then
        found = true
        say("%s %s (%s), %d threads", peer.about.library, peer.about.version, python,
          peer.about.threads)
        compare(peer)
      end
    end
  end
  if not found then
    say("no Python with torch or jax was found; FLOWMAP_PEERS names some, separated by blanks, "
      .. "and\nDebian's is the package python3-torch (with libopenblas0-openmp)")
  end
end

return M
