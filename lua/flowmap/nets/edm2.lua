--- The EDM2 flow-map U-Net for images: the U-Net of Karras et al. 2024 ("Analyzing and improving
-- the training dynamics of diffusion models", configuration G) with two times and their positional
-- codes, as used by Boffi, Albergo, Vanden-Eijnden 2025 (arXiv 2505.18825).
--
-- Every layer preserves the magnitude of its activations: weights are normalised where they are
-- used, sums and concatenations are rescaled, and there are no biases. The network reads s and
-- t - s; at the start its output gain is 0, hence v = 0. It also learns the weight w(s,t) of its
-- loss, unless `learned_weight` is false.
--
-- Settings: `model_channels` and `mult` are the channels of each level, `num_blocks` the blocks of
-- a level, `attention` the resolutions that have it, `classes` the labels (0: none). With `augment`
-- = "edm" it is told how images were transformed.
-- @module flowmap.nets.edm2

local fm = require "flowmap"
local augment = require "flowmap.augment"
local errors = require "flowmap.base.errors"
local nn = require "flowmap.nn"
local renew = require "flowmap.renew"

local BALANCE = 0.3     -- of a residual branch and of attention in their sums
local HEAD = 64         -- channels of a head of attention
local CLIP = 256        -- bound on the activations
local WEIGHT_CODE = 128 -- length of the time codes that w(s,t) is made from

-- ---------------------------------------------------------------------- the plan of the network

-- Append a block to the encoder or the decoder of a plan.
local function add(it, list, level, name, outputs, block)
  local r = it.resolution >> (level - 1)
  block.name = ("%dx%d_%s"):format(r, r, name)
  block.layer = (list == it.encoder and "enc." or "dec.") .. block.name
  block.inputs, block.outputs = it.now + (block.skip or 0), outputs
  block.attention = block.attention or (block.repeated and it.attends[r])
  list[#list + 1], it.now = block, outputs
end

local function add_encoder(it, cfg)
  for level, channels in ipairs(it.channels) do
    if level == 1 then
      add(it, it.encoder, 1, "conv", channels, {})
    else
      add(it, it.encoder, level, "down", it.now, { resample = nn.down })
    end
    table.insert(it.skips, it.now)
    for k = 1, cfg.num_blocks do
      add(it, it.encoder, level, "block" .. k - 1, channels, { repeated = true })
      table.insert(it.skips, it.now)
    end
  end
end

local function add_decoder(it, cfg)
  for level = #it.channels, 1, -1 do
    if level == #it.channels then
      add(it, it.decoder, level, "in0", it.now, { attention = true })
      add(it, it.decoder, level, "in1", it.now, {})
    else
      add(it, it.decoder, level, "up", it.now, { resample = nn.up })
    end
    for k = 1, cfg.num_blocks + 1 do
      add(it, it.decoder, level, "block" .. k - 1, it.channels[level],
        { repeated = true, skip = table.remove(it.skips) })
    end
  end
end

-- Encoder and decoder as lists of blocks, { name =, inputs =, outputs = channels, ... }, in the
-- order in which they run; the result of every encoder block is a skip connection, which the
-- decoder takes up in reverse. `now` counts the channels as blocks are added, from those of the
-- image and one more, of ones.
local function plan(cfg)
  local it = { encoder = {}, decoder = {}, channels = {}, attends = {}, skips = {},
    resolution = cfg.shape[1], colours = cfg.shape[3], now = cfg.shape[3] + 1 }
  for level, factor in ipairs(cfg.mult) do it.channels[level] = cfg.model_channels * factor end
  for _, r in ipairs(cfg.attention) do it.attends[r] = true end
  add_encoder(it, cfg)
  add_decoder(it, cfg)
  it.width, it.embedding = it.channels[1], math.max(table.unpack(it.channels))
  return it
end

-- ---------------------------------------------------------------------- blocks

-- The weights of a block; the first convolution of a decoder block also mixes the skip in.
local function block_weights(rng, b, decoder, embedding)
  local i, o = b.inputs, b.outputs
  return {
    emb_gain = rng({}, "zeros"),
    emb_linear = rng({ o, embedding }, "normal"),
    conv_res0 = rng({ o, 3, 3, decoder and i or o }, "normal"),
    conv_res1 = rng({ o, 3, 3, o }, "normal"),
    conv_skip = i ~= o and rng({ o, 1, 1, i }, "normal") or nil,
    attn_qkv = b.attention and rng({ 3 * o, 1, 1, o }, "normal") or nil,
    attn_proj = b.attention and rng({ o, 1, 1, o }, "normal") or nil,
  }
end

-- x (n, h, w, inputs) -> (n, h', w', outputs), modulated by the embedding of the times (n, e).
local function run_block(b, p, x, embedding, decoder, dropout)
  local function skip(h) return p.conv_skip and nn.mp_conv(h, p.conv_skip) or h end
  if b.resample then x = b.resample(x) end
  if not decoder then x = nn.normalize(skip(x)) end -- over each pixel's channels
  local y = nn.mp_conv(nn.mp_silu(x), p.conv_res0)
  local modulation = nn.mp_conv(embedding, p.emb_linear, p.emb_gain) + 1
  y = nn.mp_silu(y * fm.reshape(modulation, { x.shape[1], 1, 1, b.outputs }))
  if dropout then y = dropout(y, b.layer) end
  y = nn.mp_conv(y, p.conv_res1)
  x = nn.mp_sum(decoder and skip(x) or x, y, BALANCE)
  if b.attention then
    local seen = nn.attention(nn.mp_conv(x, p.attn_qkv), math.max(1, b.outputs // HEAD))
    x = nn.mp_sum(x, nn.mp_conv(seen, p.attn_proj), BALANCE)
  end
  return fm.clip(x, -CLIP, CLIP)
end

-- ---------------------------------------------------------------------- times and classes

-- Labels as one-hot rows times sqrt(#classes), (n, classes); a label outside 0 .. classes - 1, such
-- as -1, gives a row of zeros: the null class.
local function one_hot(labels, classes, dtype)
  local n = labels.shape[1]
  local number = fm.broadcast(fm.reshape(fm.arange(classes, dtype), { 1, classes }), { n, classes })
  return fm.eq(number, fm.broadcast(fm.reshape(labels, { n, 1 }), { n, classes }))
    * math.sqrt(classes)
end

-- Transformations add to the embedding, as in flowmap.augment's source: none leaves it as it is.
local function embed(p, s, t, extra, cfg)
  local labels, changes = extra and extra.labels, extra and extra.augment
  local dim = cfg.model_channels * cfg.mult[1]
  local e = nn.mp_sum(nn.mp_conv(nn.time_code(s, dim), p.emb_s),
    nn.mp_conv(nn.time_code(t - s, dim), p.emb_dt), 0.5)
  if cfg.classes > 0 then
    if not labels then
      errors.usage("the network has %d classes, but no labels were given", cfg.classes)
    end
    e = nn.mp_sum(e, nn.mp_conv(one_hot(labels, cfg.classes, s.dtype), p.emb_label), 0.5)
  end
  if changes and p.emb_augment then
    e = e + nn.mp_conv(changes * math.sqrt(augment.labels), p.emb_augment)
  end
  return nn.mp_silu(e)
end

local function check(cfg)
  local shape, factor = cfg.shape, 1 << (#cfg.mult - 1)
  if #shape ~= 3 or shape[1] ~= shape[2] or shape[1] % factor ~= 0 then
    errors.usage("the net edm2 is for square images whose side is a multiple of %d (%d levels); "
      .. "these data have the shape (%s)", factor, #cfg.mult, table.concat(shape, ", "))
  elseif cfg.model_channels * cfg.mult[1] % 2 ~= 0 then
    errors.usage("the net edm2: %d channels found at the first level, expected an even number",
      cfg.model_channels * cfg.mult[1])
  end
end

-- ---------------------------------------------------------------------- the network

local function init(it, cfg, rng)
  local width, embedding = it.width, it.embedding
  local p = {
    emb_s = rng({ embedding, width }, "normal"),
    emb_dt = rng({ embedding, width }, "normal"),
    emb_label = cfg.classes > 0 and rng({ embedding, cfg.classes }, "normal") or nil,
    weight = rng({ 1, WEIGHT_CODE }, "normal"),
    out_conv = rng({ it.colours, 3, 3, width }, "normal"),
    out_gain = rng({}, "zeros"),
    enc = {}, dec = {},
  }
  for k, b in ipairs(it.encoder) do
    p.enc[b.name] = k == 1 and rng({ width, 3, 3, b.inputs }, "normal")
      or block_weights(rng, b, false, embedding)
  end
  for _, b in ipairs(it.decoder) do p.dec[b.name] = block_weights(rng, b, true, embedding) end
  -- Drawn in any case, so that all other weights start alike with and without it.
  if cfg.learned_weight == false then p.weight = nil end
  -- Last, so that all other weights start alike with and without it.
  p.emb_augment = cfg.augment == "edm" and rng({ embedding, augment.labels }, "normal") or nil
  return p
end

-- x (n, h, w, colours) -> v, of the same shape.
local function velocity(it, cfg, p, s, t, x, extra)
  local dropout = extra and extra.dropout
  local e = embed(p, s, t, extra, cfg)
  local ones = fm.ones({ x.shape[1], it.resolution, it.resolution, 1 }, x.dtype)
  local h, skips = fm.concat({ x / cfg.sigma, ones }, 4), {}
  for k, b in ipairs(it.encoder) do
    h = k == 1 and nn.mp_conv(h, p.enc[b.name])
      or run_block(b, p.enc[b.name], h, e, false, dropout)
    skips[k] = h
  end
  for _, b in ipairs(it.decoder) do
    if b.skip then h = nn.mp_cat(h, table.remove(skips)) end
    h = run_block(b, p.dec[b.name], h, e, true, dropout)
  end
  return nn.mp_conv(h, p.out_conv, p.out_gain) * cfg.sigma
end

-- w(s, t), (n): the objective has exp(-w) L + w for a loss L.
local function weight(p, s, t)
  local code = nn.mp_sum(nn.time_code(s, WEIGHT_CODE), nn.time_code(t, WEIGHT_CODE), 0.5)
  return fm.reshape(nn.mp_conv(code, p.weight), { s.shape[1] })
end

--- The network of a run.
-- @tparam table cfg the settings
-- @treturn table its functions: see flowmap.nets
return function(cfg)
  check(cfg)
  local it = plan(cfg)
  return {
    init = function(rng) return init(it, cfg, rng) end,
    v = function(...) return velocity(it, cfg, ...) end,
    weight = cfg.learned_weight ~= false and weight or nil,
    -- Forced weight normalisation, of all but the gains.
    renew = renew.of(function(w) return nn.normalize(w, renew.inner(w)) end),
  }
end
