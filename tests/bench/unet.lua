--- Speed and memory of the EDM2 flow-map U-Net, and PyTorch's, in one run and in turns.
--
--     lua5.4 tests/bench/unet.lua [NET] [METHOD]...
--
-- NET: small (2,150,486 parameters, batch 32; the default) or paper (CIFAR-10's net of the paper,
-- 54,673,314 parameters, batch 4). METHOD: lsd, psd-m, diagonal, sample (64 images in one step); by
-- default all. FLOWMAP_PEERS names the Pythons to ask, see support/peers.lua; FLOWMAP_MICRO sets
-- the images of a micro-batch, FLOWMAP_ROUNDS how often each is timed. FLOWMAP_CSV names a file for
-- the table that RESULTS.md shows (paper/results/bench/unet.csv).
-- @script unet

package.path = (arg[0]:match "^(.*/)" or "./") .. "support/?.lua;" .. package.path

local fm = require "flowmap"
local core = require "flowmap.core"
local experiment = require "flowmap.experiment"
local measure = require "measure"
local peers = require "peers"
local sampler = require "flowmap.sampler"
local trainer = require "flowmap.trainer"

local say = measure.say
local ROUNDS = tonumber(os.getenv "FLOWMAP_ROUNDS") or 3
local NETS = {
  small = { parameters = "2150486", batch = 32, micro = 8,
    set = { model_channels = 32, num_blocks = 2 } },
  paper = { parameters = "54673314", batch = 4, micro = 1,
    set = { model_channels = 128, num_blocks = 4 } },
}
local METHODS = { "lsd", "psd-m", "diagonal", "sample" }
local SAMPLES = 64
local csv = { "net,parameters,batch,task,ours,theirs,ratio,memory" }

-- Images of noise: their values do not matter to the clock.
local noise = { shape = { 32, 32, 3 }, sd = 0.5 }
function noise.sample(b) return b:uniform({ 32, 32, 3 }, "data") * 2 - 1 end

local bench = { name = "bench", path = "tests/bench/unet.lua", methods = { "lsd" },
  profiles = { laptop = {} }, data = { noise = noise } }

-- A function of one step (or of 64 samples), and how many images it takes.
local function ours(net, method)
  local it = NETS[net]
  local set = { data = "noise", net = "edm2", mult = { 2, 2, 2 }, attention = { 16 },
    batch = it.batch, micro = math.tointeger(tonumber(os.getenv "FLOWMAP_MICRO")) or it.micro,
    eta = method == "diagonal" and 1 or 0.75, dropout = 0.13, clip = 1, lr = 1e-2,
    schedule = "sqrt", decay_start = 10000, ema = { 0.999, 0.9999 } }
  for key, value in pairs(it.set) do set[key] = value end
  local cfg = experiment.resolve(bench,
    { method = (method == "psd-m") and method or "lsd", set = set })
  if method == "sample" then
    local job = fm.job.parts(bench, cfg)
    local draw = sampler.generator(job, job.net.init(fm.nets.rng(1, "float32")), 1)
    return function() draw(SAMPLES, 1) end, SAMPLES
  end
  local job = trainer.new(bench, cfg)
  return function() trainer.step(job) end, it.batch
end

-- The benchmark starts itself again to see the memory of a fresh process.
if arg[1] == "memory-child" then
  local step = ours(arg[2], arg[3])
  step()
  print(math.tointeger(measure.peak_memory()))
  os.exit(0, true)
end

local function memory(net, method)
  local pipe <close> = io.popen(("exec '%s' '%s' memory-child %s %s"):format(arg[-1], arg[0], net,
    method))
  return (pipe:read "n" or 0) / 2 ^ 20
end

-- One line: images per second by the clock (best, median), processor time per image, memory.
local function row(name, images, times, mib, ours_times)
  local it, us = times:rates(images), ours_times and ours_times:rates(images)
  say("%-28s %9.2f %8.2f %10.1f %10.0f %s", name, it.best, it.median, 1e3 / it.cpu, mib,
    us and ("%9.2f %6.2f %5.2f"):format(us.best / it.best, us.median / it.median, us.cpu / it.cpu)
    or "")
end

-- The variants of a peer that work, with a list for their timings; their first step is not timed.
local function contenders(peer, net, method, images)
  local list = {}
  for _, variant in ipairs(peer.about.variants) do
    local first = peer:ask(variant, net, method, images, 1)
    local name = ("%s %s %s"):format(peer.about.library, peer.about.version, variant)
    if first and first.seconds then
      list[#list + 1] = { peer = peer, variant = variant, times = measure.times(),
        mib = first.peak_mib, name = name }
    else
      say("%s does not run: %s", name, first and first.error or "its process ended")
      if not first then break end
    end
  end
  return list
end

-- A line of the table of FLOWMAP_CSV: ours, the fastest of the others, and the ratios.
local function csv_line(net, method, images, times, mib, others)
  local us, best, least = times:rates(images).best, nil, nil
  for _, it in ipairs(others) do
    best = math.max(best or 0, it.times:rates(images).best)
    least = math.min(least or it.mib, it.mib)
  end
  local it = NETS[net]
  return ("%s,%s,%d,%s,%.4g,%s,%s,%s"):format(net, it.parameters, it.batch, method, us,
    best and ("%.4g"):format(best) or "", best and ("%.2g"):format(us / best) or "",
    least and method ~= "sample" and ("%.2f"):format(mib / least) or "")
end

-- Rounds of ours and every variant of every peer that runs.
local function compare(net, method)
  local step, images = ours(net, method)
  step() -- traces and plans
  local times, others, open = measure.times(), {}, {}
  for _, python in ipairs(peers.pythons()) do
    open[#open + 1] = peers.start(python, "peer_unet.py")
    if open[#open] then
      local list = contenders(open[#open], net, method, images)
      table.move(list, 1, #list, #others + 1, others)
    end
  end
  for _ = 1, ROUNDS do
    times:add(measure.seconds(step))
    for _, it in ipairs(others) do
      local reply = it.peer:ask(it.variant, net, method, images, 1)
      it.times:add(reply.seconds[1], reply.cpu[1])
      times:add(measure.seconds(step))
    end
  end
  for _, peer in ipairs(open) do peer:__close() end
  say("\n%-28s %18s %10s %10s %22s", net .. " net, " .. method, "images/s", "cpu ms", "peak",
    "ours / theirs")
  say("%-28s %18s %10s %10s %22s", "", "best   median", "per image", "MiB",
    "best median   cpu")
  local mib = memory(net, method)
  row("flowmap", images, times, mib)
  csv[#csv + 1] = csv_line(net, method, images, times, mib, others)
  for _, it in ipairs(others) do row(it.name, images, it.times, it.mib, times) end
end

local nets, methods = {}, {}
for _, word in ipairs(arg) do
  if NETS[word] then
    nets[#nets + 1] = word
  else
    local known = false
    for _, name in ipairs(METHODS) do known = known or name == word end
    if not known then
      io.stderr:write(("unet: '%s' found, expected small, paper, lsd, psd-m, diagonal or sample\n")
        :format(word))
      os.exit(2)
    end
    methods[#methods + 1] = word
  end
end

local info = fm.info()
say("flowmap %s, %s, %d threads; PyTorch with OMP_WAIT_POLICY=PASSIVE, images channels-last",
  info.version, info.isa, info.threads)
for _, net in ipairs(#nets > 0 and nets or { "small" }) do
  for _, method in ipairs(#methods > 0 and methods or METHODS) do compare(net, method) end
end
local path = os.getenv "FLOWMAP_CSV"
if path then
  core.write_file(path, ("# Images per second, ours and the fastest of the others in the same run; "
    .. "memory: our peak over the least of theirs. flowmap %s, %s, %d threads, float32.\n"):format(
    info.version, info.isa, info.threads) .. table.concat(csv, "\n") .. "\n")
end
