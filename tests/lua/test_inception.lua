-- Inception-v3 against an independent implementation (tests/golden/inception.py), with made-up
-- weights, which both draw from the counter-based generator.

local t = require "harness"
local fm = require "flowmap"

local inception = require "flowmap.measure.features.inception"

local golden, meta = fm.load_safetensors "tests/golden/inception.safetensors"

local function uniform(shape, stream)
  local count = 1
  for _, d in ipairs(shape) do count = count * d end
  return fm.reshape(fm.uniform({ 1, count }, { seed = 7, stream = stream }), shape)
end

-- Tensor k in the order of names uses stream k; see `fill` in inception.py.
local function weights()
  local tensors, k = {}, 0
  for name, sizes in meta.layers:gmatch "([%w_.]+) ([%d ]+)" do
    local shape, fan = {}, 1
    for d in sizes:gmatch "%d+" do shape[#shape + 1] = math.tointeger(tonumber(d)) end
    for i = 2, #shape do fan = fan * shape[i] end
    local u = uniform(shape, k)
    if name:find "conv.weight$" then
      tensors[name] = (u * 2 - 1) * math.sqrt(6 / fan)
    elseif name:find "bn.weight$" or name:find "bn.running_var$" then
      tensors[name] = u + 0.5
    else
      tensors[name] = (u - 0.5) * 0.5
    end
    k = k + 1
  end
  return tensors, k
end

local tensors, count = weights()
local images = uniform({ 2, 32, 32, 3 }, 10000) * 2.4 - 1.2

-- The largest difference, relative to how much features differ between the two images: most of a
-- feature is common to all images, which would hide a fault.
local function difference(found, expected)
  local spread = fm.abs(fm.slice(expected, 1, 1, 1) - fm.slice(expected, 1, 2, 1))
  return fm.max_reduce(fm.abs(found - expected)):item() / fm.max_reduce(spread):item()
end

t.test("features agree with PyTorch's, for both protocols", function()
  t.eq(count, 94 * 5)
  local network = inception.network(tensors, "made up")
  local extract = {}
  for _, protocol in ipairs(inception.protocols) do
    extract[protocol] = fm.features.extractor(function(x)
      return network(inception.prepare[protocol](x))
    end, 1)
    local off = difference(extract[protocol](images), golden[protocol])
    if os.getenv "VERBOSE" then print(protocol, off) end
    t.near(off, 0, 1e-4, protocol)
  end
  local off = difference(golden.legacy, golden.paper)
  t.eq(off > 0.1, true, "the protocols differ")
end)

t.test("a wrong file is refused with the tensor's name", function()
  tensors["Mixed_6c.branch7x7_2.bn.running_var"] = nil
  local network = inception.network(tensors, "the file")
  t.raises(function() fm.features.extractor(network, 1)(fm.zeros { 1, 299, 299, 3 }) end,
    "the file has no tensor Mixed_6c.branch7x7_2.bn.running_var")
  t.raises(function() fm.features.open("inception", nil, { path = "/nowhere" }) end,
    "there is no file /nowhere")
  t.raises(function() fm.features.open("inception", "clean") end, "known: legacy, paper")
end)

t.done()
