--- Draw samples from a checkpoint and write them to a file: .npy, .csv, or .png for a picture.
-- @module flowmap.app.samples

local fm = require "flowmap"
local errors = require "flowmap.base.errors"
local Notice = require "flowmap.base.notice"
local files = require "flowmap.base.files"
local numerics = require "flowmap.runs.numerics"
local ranks = require "flowmap.base.ranks"
local sampler = require "flowmap.sampler"
local settings = require "flowmap.experiment.settings"
local trainer = require "flowmap.trainer"

local M = {}

local writers = {}

function writers.npy(path, x) fm.save_npy(path, x) end

function writers.csv(path, x)
  if #x.shape ~= 2 then errors.usage("a .csv file holds points; write images to .png or .npy") end
  local values, d, lines = x:flat(), x.shape[2], {}
  local header = {}
  for j = 1, d do header[j] = "x" .. j end
  lines[1] = table.concat(header, ",")
  for i = 1, #values, d do
    local row = {}
    for j = 1, d do row[j] = ("%.8g"):format(values[i + j - 1]) end
    lines[#lines + 1] = table.concat(row, ",")
  end
  fm.write_file(path, table.concat(lines, "\n") .. "\n")
end

local picture = [[
set xrange [%.9g:%.9g]
set yrange [%.9g:%.9g]
set size ratio 1
unset key
plot "samples.dat" with points pointtype 7 pointsize 0.12 linecolor rgb "#800072b2"
]]

local SIDE = 1.25 -- half the side of the square of the suite's data

-- The middle of all but a two-hundredth at each end of a list, and half of what lies between.
local function middle(list)
  table.sort(list)
  local low, high = list[1 + #list // 200], list[#list - #list // 200]
  return (low + high) / 2, (high - low) / 2
end

-- The square that a picture shows, { left, right, bottom, top }: that of the suite's data, or that
-- which the points fill where they leave it or are small in it, as points of a file may.
local function square(values)
  local axes = { {}, {} }
  for i = 1, #values do axes[2 - i % 2][(i + 1) // 2] = values[i] end
  local x, wide = middle(axes[1])
  local y, high = middle(axes[2])
  local half, reach = math.max(wide, high), math.max(math.abs(x) + wide, math.abs(y) + high)
  if reach <= SIDE and (half == 0 or half > SIDE / 5) then return { -SIDE, SIDE, -SIDE, SIDE } end
  half = math.max(1.1 * half, 1e-5 * reach)
  return { x - half, x + half, y - half, y + half }
end

function writers.png(path, x)
  if #x.shape == 4 then -- images, in a grid that is about square
    return require("flowmap.report.sheet").write(path, x, math.ceil(math.sqrt(x.shape[1])))
  end
  if x.shape[2] ~= 2 then
    errors.usage("a picture shows points of the plane; these have %d coordinates", x.shape[2])
  end
  local values, lines = x:flat(), {}
  for i = 1, #values, 2 do lines[#lines + 1] = ("%.9g %.9g"):format(values[i], values[i + 1]) end
  local folder, _ <close> = fm.private_folder()
  require("flowmap.report.gnuplot").render(folder, "samples", { width = 480, height = 480,
    script = picture:format(table.unpack(square(values))),
    data = table.concat(lines, "\n") .. "\n" })
  local bytes = assert(files.read(folder .. "/samples.png"))
  fm.write_file(path, bytes)
end

-- Settings of the sampler that the user gives in place of those of the run.
local function change(cfg, args)
  for _, key in ipairs { "sampler", "rtol", "atol", "guidance" } do
    if args[key] then cfg[key] = settings.check(key, args[key], "--" .. key) end
  end
  if cfg.sampler ~= "dopri5" and (args.rtol or args.atol) then
    errors.usage("--%s has no effect: only the sampler dopri5 has tolerances, and this one is %s",
      args.rtol and "rtol" or "atol", cfg.sampler)
  elseif cfg.sampler == "dopri5" and args.steps then
    errors.usage "--steps has no effect: the sampler dopri5 chooses its steps by its tolerances"
  elseif args.sampler == "map" and cfg.eta == 1 and not cfg.both_terms then
    errors.usage("--sampler: %s was trained on the diagonal alone (eta is 1): it has a velocity, "
      .. "which euler, heun and dopri5 integrate, but no map", args.checkpoint)
  end
end

-- Classes and guidance need a network that was trained with labels; guidance other than 1 needs one
-- that was trained without them, too.
local function check_classes(cfg, args)
  if cfg.classes == 0 and (args.class or args.guidance) then
    errors.usage("--%s has no effect: the network of %s was trained without labels (classes is 0)",
      args.class and "class" or "guidance", args.checkpoint)
  elseif args.class and args.class >= cfg.classes then
    errors.usage("--class: expected a whole number from 0 to %d, found %d: the network of %s "
      .. "knows %d classes", cfg.classes - 1, args.class, args.checkpoint, cfg.classes)
  elseif args.guidance and cfg.guidance ~= 1 and cfg.label_dropout == 0 then
    errors.usage("--guidance: %s follows the difference to the null class, which the network of %s "
      .. "was not trained with (label_dropout is 0)", settings.text(cfg.guidance), args.checkpoint)
  end
end

-- Samples in the units of the file that the points are from.
local function in_units(x, cfg)
  if not cfg.unit_scale then return x end
  local function row(list) return fm.reshape(fm.tensor(list, cfg.dtype), { 1, cfg.dim }) end
  return x * row(cfg.unit_scale) + row(cfg.unit_centre)
end

-- Several ranks read the checkpoint, each from its own machine, and draw one file of samples.
local function check_same(path)
  if ranks.count == 1 then return end
  if ranks.differ(fm.sha256_file(path)) then
    errors.data("%s is not the same file for all ranks", path)
  elseif ranks.differ(numerics.text()) then
    errors.data("the machines of the ranks give different bits; %s", numerics.REMEDY)
  end
end

-- The bytes of this machine's memory; math.huge where Linux does not tell. (luv, which knows them
-- anywhere, ends the process where it finds no file left to open.)
local function memory()
  local kib = (files.read "/proc/meminfo" or ""):match "MemTotal: *(%d+) kB"
  return kib and tonumber(kib) * 1024 or math.huge
end

-- Refuse more samples than this machine can hold: twice, as pieces and as the whole made of them.
local function check_memory(count, cfg)
  local need, has = 2 * 4.0 * count * cfg.dim, memory()
  if ranks.any(need > has) then
    errors.usage("--count: %d samples of %d values need at least %.0f GiB of memory, and there are "
      .. "%.1f", count, cfg.dim, need / 2^30, has / 2^30)
  end
end

local PATIENCE = 2 -- seconds after which a draw reports its progress

-- A function that is told how many of `count` samples are drawn, to be closed.
local function progress(count)
  local start, notice = fm.clock(), nil
  return setmetatable({}, {
    __call = function(_, done)
      if not notice and fm.clock() - start < PATIENCE then return end
      notice = notice or Notice.new("drawing samples", count)
      notice:update(done)
    end,
    __close = function()
      if notice then notice:close() end
    end,
  })
end

--- The command `sample`. Several ranks share the drawing, and the first writes.
-- @tparam table args checkpoint, steps, sampler, rtol, atol, class, guidance, count, seed, ema,
--   out, experiment
function M.write(args)
  local kind = args.out:match "%.(%w+)$"
  if not writers[kind] then
    errors.usage("--out %s: expected a name that ends in .png, .npy or .csv", args.out)
  end
  require("flowmap.runs.folder").check_output(args.out)
  local job, params = trainer.load(args.checkpoint, args.ema, {
    option = "--experiment FILE", path = args.experiment })
  check_same(args.checkpoint)
  change(job.cfg, args)
  check_classes(job.cfg, args)
  local steps = args.steps or 1
  check_memory(args.count, job.cfg)
  local draw, cost = sampler.generator(job, params, steps, nil, args.class)
  local x
  do
    local tell <close> = progress(args.count)
    x = draw(args.count, args.seed, tell)
  end
  job.check() -- a network may load further code as it is used
  x = fm.cast(in_units(x, job.cfg), "float32")
  if not x:finite() then
    errors.numeric("the samples at N = %d are not finite: nothing is written to %s", steps,
      args.out)
  end
  ranks.from_first(function() writers[kind](args.out, x) end)
  local how = ("N = %d"):format(steps)
  if job.cfg.sampler ~= "map" then
    how = ("%s, %.4g evaluations per sample"):format(job.cfg.sampler, cost.nfe)
  end
  io.stdout:write(("%d samples (%s) written to %s\n"):format(args.count, how, args.out))
end

return M
