--- Registry of the synthetic data sets. A data set is one file of this folder, `NAME.lua`:
--
--     { dim = 2,
--       sd = ...,                                    -- standard deviation of a coordinate
--       sample = function(b) ... end,                -- b.n samples, (n, dim), from random ops of b
--       mass = function(x0, x1, y0, y1) ... end,     -- exact probability of a box
--       inside = function(x, y) ... end,             -- whether a point is in the support
--       range = { -1, 1 },                           -- of each axis of the grid of KL
--       mixture = { ... },                           -- the law as a mixture, see flowmap.mixture
--       points = tensor, count = n }                 -- the points, if they are all there are
--
-- `mass`, `inside`, `range` and `mixture` are optional. `mass` is for one dimension, mass(x0, x1),
-- or two; `inside` takes all coordinates. They are compared with samples before a run trains, see
-- flowmap.measure.law. A set with `mixture` has an exact flow map, see flowmap.exact.
--
-- A data set of an experiment is such a table, or { new = function(cfg) ... end, options = {} },
-- which makes one from the settings.
--
-- Points of one's own, from a file, are a data set by flowmap.points. An experiment whose `data` is
-- one data set, or a tensor (n, dim), has it under the name `points`; images, `images`.
--
-- Data sets of images are described in flowmap.data.packed.
-- @module flowmap.data

local fm = require "flowmap"
local errors = require "flowmap.base.errors"
local files = require "flowmap.base.files"
local registry = require "flowmap.base.registry"
local returned = require "flowmap.base.returned"

local M = {}

local MOST = 65536 -- coordinates of a point

-- The files of this folder, by name.
local function built()
  local sets = {}
  for _, name in ipairs(files.modules "flowmap.data") do sets[name] = "flowmap.data." .. name end
  return sets
end

-- Check the numbers that a data set of points states.
local function check_set(it, where)
  if it.dim and not (math.type(it.dim) == "integer" and it.dim >= 1 and it.dim <= MOST) then
    errors.usage("%s: dim must be a whole number from 1 to %d, found %s", where, MOST,
      tostring(it.dim))
  elseif it.sd and not (it.sd > 0 and it.sd < math.huge) then
    errors.usage("%s: sd must be more than 0 and finite, found %s", where, tostring(it.sd))
  elseif it.mass and it.dim and it.dim > 2 then
    errors.usage("%s: mass is the probability of an interval or of a rectangle, but dim is %d; "
      .. "leave it out: the distances of samples need none", where, it.dim)
  end
  local shape = it.points and (fm.is_tensor(it.points) and it.points.shape or {})
  if shape and not (#shape == 2 and shape[1] == it.count and shape[2] == it.dim) then
    errors.usage("%s: points must be a tensor (count, dim), found (%s) where count is %s and dim "
      .. "is %s", where, table.concat(shape, ", "), tostring(it.count), tostring(it.dim))
  end
  local low, high, more = table.unpack(it.range or { -1, 1 })
  local numbers = type(low) == "number" and type(high) == "number" and more == nil
  if not (numbers and low < high and high - low < 1e30) then
    errors.usage("%s: range must be a list of two numbers such as { -1, 1 }, the first the smaller",
      where)
  end
end

--- The data sets, and those of an experiment. Images (with a `shape`) may have more fields.
M.registry = registry.new { what = "data set", field = "data", built = built, open = true,
  table_fields = { dim = "number", sd = "number", sample = "function", mass = "function",
    inside = "function", range = "table", mixture = "table", title = "string",
    hash = "string", points = "userdata", draw = "function", units = "table",
    count = "number" },
  needs = { "dim", "sample" }, check_one = check_set }

--- Names of all data sets.
-- @tparam[opt] table own data sets defined by an experiment
-- @treturn {string,...}
function M.names(own) return M.registry:names(own) end

--- Find a data set.
-- @tparam string name
-- @tparam[opt] table own data sets defined by an experiment, name -> data set
-- @tparam[opt] table cfg the run's settings, for a data set that has settings of its own
-- @treturn table
function M.find(name, own, cfg)
  local it = M.registry:find(name, own)
  if type(it) == "string" then return require(it) end
  return M.registry:make(it, name, cfg or {})
end

--- A data set of images, averaged down to a half, a quarter, ... of its side.
-- @tparam table set a data set of images
-- @tparam integer side 0: as it is
-- @treturn table
function M.reduced(set, side)
  if side == 0 then return set end
  local halvings, of = 0, set.shape and set.shape[1] or 0
  while of > side do of, halvings = of / 2, halvings + 1 end
  if of ~= side then
    errors.usage("resolution is %d, expected the side of the data's images (%s), or that halved "
      .. "once or more", side, set.shape and set.shape[1] or "none: these are not images")
  end
  return setmetatable({ shape = { side, side, set.shape[3] }, halvings = halvings }, {
    __index = function(_, key)
      if key == "hash" and halvings > 0 then return ("%s at %d"):format(set.hash, side) end
      return set[key]
    end })
end

--- Images by number, (k, H, W, 3) in [-1, 1].
-- @tparam table set a data set of images
-- @param pixels its table, or the traced input that stands for it
-- @param index (k) numbers from 0
-- @treturn tensor
function M.images(set, pixels, index)
  local x = fm.pixels(pixels, index)
  for _ = 1, set.halvings or 0 do x = fm.downsample(x) end
  return x
end

--- The samples of a micro-batch, with their shape checked.
-- @tparam table set a data set that draws its samples
-- @param b the batch of a program
-- @treturn tensor (b.n, ...)
-- @treturn ?tensor labels (b.n), if the set gives them
function M.sample(set, b)
  local who, x, labels = "sample of the data set"
  if set.classes then x, labels = set.sample(b) else x = returned.one(who, set.sample(b)) end
  local shape = table.move(set.shape or { set.dim }, 1, 8, 2, { b.n })
  returned.tensor(x, who, shape, nil, "one row per sample")
  if not x.traced then
    errors.usage("%s returned a constant, the same samples in every step; draw them by b:uniform "
      .. "or b:normal, or give a tensor of points to fm.points", who)
  end
  return x, labels
end

--- Draw samples eagerly.
-- @tparam table set a data set
-- @tparam integer count
-- @tparam integer seed
-- @tparam[opt="float32"] string dtype
-- @treturn tensor (count, dim)
function M.draw(set, count, seed, dtype)
  local shared = { points = set.points } -- an input: a program would copy a constant
  local program = fm.program(function(input, b)
    local x = input.points and set.draw and set.draw(input.points, b) or M.sample(set, b)
    return { rows = { x = fm.cast(x, dtype or "float32") } }
  end, { shared = shared, rows = {}, micro = 8192 })
  return program:run { shared = shared, rows = {}, batch = count, seed = seed, step = 0 }.rows.x
end

--- Identify the data: the hash of its images, or of its first samples.
-- @tparam table set a data set
-- @treturn string SHA-256 in hex
function M.hash(set)
  if set.shape then return set.hash end
  local values = M.draw(set, 1024, 0):flat()
  for i, v in ipairs(values) do values[i] = ("%.6g"):format(v) end
  return fm.sha256(table.concat(values, " "))
end

--- The folder of files that can be made again: packed images, statistics of data sets.
-- @treturn string
function M.cache_folder()
  local folder = require("flowmap.data.packed.places").cache()
  files.mkdir(folder)
  return folder
end

--- Standard deviation of samples around the mean of each coordinate, over all coordinates.
-- @param x (n, d)
-- @treturn number
function M.sd(x)
  local n, d = x.shape[1], x.shape[2]
  local function sums(f, centre) -- in blocks, without a second copy of the data
    local program = fm.program(function(c, b)
      return { sum = fm.cast(fm.sum(f(b.rows.x - c), 1, true), "float64") }
    end, { shared = centre, rows = { x = { d, dtype = x.dtype } }, micro = 8192 })
    return program:run { shared = centre, rows = { x = x }, batch = n }.sum
  end
  local mean = sums(function(r) return r end, fm.zeros({ 1, d }, x.dtype)) / n
  local squares = sums(fm.square, fm.cast(mean, x.dtype))
  return math.sqrt(fm.mean(squares):item() / n)
end

local DRAWS, SEED = 65536, 7919

--- The standard deviation that a data set of points states; an error that suggests one if it states
-- none.
-- @tparam table set
-- @tparam string name
-- @treturn number
function M.stated_sd(set, name)
  if set.sd then return set.sd end
  return errors.usage("the data set '%s' has no sd, the standard deviation of a coordinate; %d "
    .. "draws of it have %.4g. Add it, or set sigma", name, DRAWS, M.sd(M.draw(set, DRAWS, SEED)))
end

return M
