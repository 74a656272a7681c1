-- Points of one's own: tables of numbers, .npy files, units, and what outdates a result.

local t = require "harness"
local fm = require "flowmap"
local own = require "own_experiment"
local sandbox = require "sandbox"

local function csv(text, options) return fm.load_csv(sandbox.write("p.csv", text), options) end

local function holds(text, expected, options)
  t.eq(csv(text, options):totable(), expected, text)
end

t.test("separators, names, comments, quotes, ends of lines", function()
  local two = { { 1, 2 }, { 3, 4.5 } }
  for _, text in ipairs { "1,2\n3,4.5\n", "1;2\r\n3;4.5\r\n", "1\t2\n3\t4.5", "1 2\n 3   4.5\n",
    "x,y\n1,2\n3,4.5", "# about\n\nx,y\n\n1,2\n# more\n3,4.5\n", "\xEF\xBB\xBF1,2\n3,4.5",
    '"the ""x"", in m",y\n"1",2\n3,"4.5"\n', "1., +2\n3e0,.45E1\n",
    "1,2\r3,4.5\r", "1 2\r3 4.5", '"x"\t"y"\n1\t"2"\n"3"\t4.5', '"x, in" "my y"\n1 2\n "3" 4.5 ',
    ' "1"  "2"\n3 4.5\n' } do
    holds(text, two)
  end
  holds('"a,b";"c"\n1;2\n3;4.5', { { 2 }, { 4.5 } }, { columns = { "c" } })
  holds('"a"\t\t"c"\n1\t0\t2', { { 1, 2 } }, { columns = { "a", "c" }, header = true })
  holds("1,2\n3,4.5", { { 3, 4.5 } }, { header = true })
  holds("1,x\n3,4.5", { { 3, 4.5 } }, { header = true })
  holds("1|2\n3|4.5", two, { separator = "|" })
  holds("name,y,x\na,2,1\nb,4.5,3", two, { columns = { "x", "y" } })
  holds("a,2,1\nb,4.5,3", { { 2 }, { 4.5 } }, { header = false, columns = { 2 } })
end)

-- { the file, the expected sentence behind its name }
local HOSTILE = {
  { "", " holds no points" },
  { "# nothing\n\n", " holds no points" },
  { "x,y\n", " holds no points, only names of columns" },
  { "1,2\n3,abc\n", ":2:2: expected a number, found 'abc'" },
  { "x,y\n1,2\n3,\n", ":3:2: expected a number in the column 'y', found an empty field" },
  { "1,2\n3\n", ":2: 1 fields found, expected 2 as in line 1" },
  { "x;y\n\n1;2\n2;3;4\n", ":4: 3 fields found, expected 2 as in line 1" },
  { "1;2\n3;4,5\n", ":2:2: expected a number, found '4,5'; decimals are separated by a point" },
  { "1,2\n0x10,3\n", ":2:1: expected a number, found '0x10'" },
  { "1,2\nnan,3\n", ":2:1: expected a number, found 'nan'" },
  { "1,2\n3,inf\n", ":2:2: expected a number, found 'inf'" },
  { "1,2\n3,1e999\n", ":2:2: 1e999 is too large" },
  { "1,2\n3,-4e38\n", ":2:2: -4e38 is too large" },
  { "1,2\n3,4 5\n", ":2:2: expected a number, found '4 5'" },
  { '1,2\n"3,4\n', ":2: a quote is not closed" },
  { '1,2\n"3"x,4\n', ":2:1: there is text behind a quoted field" },
  { "1,2\n3,\0\27[31m\n", ":2:2: expected a number, found '??[31m'" },
  { "1,2\n\xFF\xFE,4\n", ":2:1: expected a number, found '??'" },
  { "1,2\n" .. ("9"):rep(1 << 21) .. ",1\n", ":2: the line has 2097154 bytes, expected at most" },
  { ("1,"):rep(5000) .. "1\n", ":1: 5001 fields found, expected at most 4096" },
  { "\x93NUMPY\1\0", " holds no points, only names of columns" },
  -- a first line that is no number throughout, but no names either
  { "0x10,2\n3,4\n", ":1:1: '0x10' is not a number, but other fields are; header = true says" },
  { "1,1_000\n3,4\n", ":1:2: '1_000' is not a number, but other fields are" },
  { "x,2\n3,4\n", ":1:1: 'x' is not a number, but other fields are" },
  { "nan,NaN\n3,4\n", ":1:1: 'nan' is not a number; header" },
  { "-inf,x\n3,4\n", ":1:1: '-inf' is not a number; header" },
  { ",y\n3,4\n", ":1:1: '' is not a number; header" },
  { '1 2\n"3"4\n', ":2:1: there is text behind a quoted field" },
  { '1\t2\t3\n4\t\t"5"\n', ":2:2: expected a number, found an empty field" },
}

t.test("errors name file, line and field; hostile files are refused in a sentence", function()
  for _, case in ipairs(HOSTILE) do
    local ok, err = pcall(csv, case[1])
    t.eq(ok, false, case[1]:sub(1, 40))
    t.eq({ err.code, err.message:find("p.csv" .. case[2], 1, true) ~= nil }, { "data", true },
      err.message)
    t.eq(err.message:find "[%c]", nil)
  end
  for options, said in pairs { [{ columns = { "z" } }] = "there is no column 'z'",
    [{ columns = { 3 } }] = "there is no column '3'", [{ colums = {} }] = "did you mean columns",
    [{ separator = "ab" }] = "separator must be", [{ header = 1 }] = "header must be true or false",
    [{ columns = { 1, nil, 2 } }] = "columns: the list has an entry 3 but no entry 2",
    [{ columns = { 1, y = 2 } }] = "columns: the list has the field 'y'",
    [{ columns = {} }] = "columns is an empty list" } do
    local err = t.raises(function() csv("x,y\n1,2", options) end, said)
    t.eq(err.code, "usage")
  end
  t.raises(function() csv("y,x,x\n1,2,3", { columns = { "x" } }) end,
    "p.csv:1: the columns 2 and 3 both have the name 'x'; choose by number")
  t.raises(function() fm.load_csv(sandbox.path "none.csv") end, "cannot read .*none.csv")
  t.raises(function() fm.load_csv "/dev/zero" end, "device")
  t.raises(function() fm.load_csv(sandbox.root) end, "folder")
end)

local CLOUD = "x,y\n" -- of standard deviations 10 and 0.1, correlated
for k = 1, 40 do CLOUD = CLOUD .. ("%d,%.3f\n"):format(1000 + k % 7 * 5, 2 + k % 5 * 0.07) end

t.test("false is no value of an option, which would be its default", function()
  t.raises(function() fm.points(fm.ones { 2, 2 }, { standardise = false }) end,
    "points: standardise is false, expected one of its values, or no such field")
end)

t.test("units: of columns, of all, none", function()
  local x = csv(CLOUD)
  local function sd(way)
    local set = fm.points(x, { standardise = way })
    local exact = fm.cast(set.points, "float64")
    local off = exact - fm.mean(exact, 1, true)
    return fm.sqrt(fm.mean(fm.square(off), 1)):flat(), fm.mean(exact, 1):flat(), set
  end
  local columns, mean = sd "columns"
  for k = 1, 2 do
    t.near(columns[k], 1, 1e-6)
    t.near(mean[k], 0, 1e-5)
  end
  local all, _, set = sd "all"
  t.near(all[1] ^ 2 + all[2] ^ 2, 2, 1e-5)
  t.eq(set.units.scale[1], set.units.scale[2])
  local _, none = sd "none"
  t.eq(none[1] > 1000 and none[2] > 2, true)
  t.raises(function() fm.points(csv "1,2\n1,3") end, "column 1 is constant %(1%); leave it out")
  t.raises(function() fm.points(csv "10000000,2\n10000016,3") end, "p.csv: column 1 has the mean "
    .. "1e%+07 and the scale 8, too fine for single precision; subtract the mean in the file")
  t.raises(function() fm.points(fm.tensor({ { 1e300 }, { 1 } }, "float64")) end, "too large")
  t.raises(function()
    fm.points(fm.tensor({ { 1e300 }, { 1 } }, "float64"), { standardise = "none" })
  end, "a coordinate is too large for single precision, expected at most 3.4e38")
  local range = fm.points(fm.ones { 3, 1 }, { standardise = "none" }).range
  t.eq(range[1] <= 1 and range[2] > 1, true) -- of equal points, too
  local function hash64(first)
    return fm.points(fm.tensor({ { first }, { 100010 } }, "float64")).hash
  end
  t.eq(hash64(100000.001) ~= hash64(100000.002), true) -- equal in float32
  local same = csv "1,2\n1,2"
  t.raises(function() fm.points(same, { standardise = "all" }) end, "all points are equal")
  t.raises(function() fm.points(csv "1,2") end, "1 points of 2 coordinates found, expected 2 to")
  t.raises(function() fm.points(fm.zeros { 3 }) end, "expected a tensor %(n, d%)")
  t.raises(function() fm.points(fm.log(fm.zeros { 3, 2 })) end, "row 1, column 1 is not finite")
  t.raises(function() fm.points(x, { standardize = "all" }) end, "did you mean standardise")
  t.raises(function() fm.points(x, { standardise = "al" }) end, "did you mean all")
end)

local PROFILES = [[
own.profiles = { smoke = { width = 8, depth = 1, steps = 5, batch = 32, micro = 32,
  eval_samples = 500, nfe = { 1 }, bins = 8, log_every = 5 } }
return own
]]
local HEAD = "local fm = require 'flowmap'\nlocal own = { name = 'own' }\n"

t.test("one line makes a data set; a changed file outdates results, a comment in it does not",
  function()
    sandbox.write("points.csv", CLOUD)
    sandbox.write("own.lua", HEAD .. "own.data = fm.load_csv 'points.csv'\n" .. PROFILES)
    local function run(said)
      local code, out = sandbox.flowmap "run own.lua --profile smoke --out run"
      t.eq({ code, out:find(said, 1, true) ~= nil }, { 0, true }, out)
    end
    run "runs: there is no result yet"
    run "reused"
    local set = fm.json.read(sandbox.path "run/manifest.json").dataset
    t.eq({ set.title, set.count, #set.hash }, { "points.csv", 40, 64 })
    sandbox.write("points.csv", CLOUD .. "1001,2.5\n")
    run "points changed"
  end)

t.test("samples are in the units of the file, and the points those of the tensor", function()
  local code, out = sandbox.flowmap "sample run/checkpoint.safetensors --count 200 --out s.npy"
  t.eq(code, 0, out)
  local mean = fm.mean(fm.load_npy(sandbox.path "s.npy"), 1):flat()
  t.near(mean[1], 1015, 10)
  t.near(mean[2], 2.14, 0.2)
  fm.save_npy(sandbox.path "points.npy", csv(CLOUD))
  local text = HEAD .. "own.data = fm.load_%s '" .. sandbox.path "points.%s" .. "'\n" .. PROFILES
  sandbox.write("points.csv", CLOUD)
  local hashes = {}
  for k, kind in ipairs { "csv", "npy" } do
    local it = own.load(text:format(kind, kind))
    t.eq(it.settings.data, "points")
    hashes[k] = it.data.points.hash
  end
  t.eq(hashes[1], hashes[2])
  t.eq(hashes[1] ~= fm.points(csv(CLOUD), { standardise = "all" }).hash, true)
end)

t.test("a table with points of its own states their number", function()
  local it = { dim = 2, points = fm.ones { 4, 2 }, count = 4 }
  function it.sample(b) return b:normal({ 2 }, "x") end
  t.eq(fm.data.draw(it, 3, 1).shape, { 3, 2 })
  fm.data.registry:check({ own = it }, "e.lua")
  it.count = 3
  t.raises(function() fm.data.registry:check({ own = it }, "e.lua") end,
    "points must be a tensor %(count, dim%), found %(4, 2%) where count is 3 and dim is 2")
end)

t.test("every example of the modules runs", function()
  sandbox.write("points.csv", CLOUD)
  local lfs = require "lfs"
  assert(lfs.chdir(sandbox.root))
  local count = 0
  for _, name in ipairs { "load_csv", "points" } do
    local text = fm.files.read(("%s/lua/flowmap/%s.lua"):format(sandbox.here, name))
    for example in text:match "^(.-)\n[^-]":gmatch "\n%-%-     ([^\n]*)" do
      local chunk = assert(load("local fm, experiment = ...\n" .. example))
      chunk(fm, {})
      count = count + 1
    end
    t.eq(fm.help(name):find "expected" == nil and fm.help(name):find(name, 1, true) == 1, true)
  end
  assert(lfs.chdir(sandbox.here))
  t.eq(count, 5)
end)

t.done()
