-- # A template: your own loss, network and data
--
-- Copy this file, change what you like, and run it:
--
--     ./flowmap run experiments/template.lua --profile smoke
--     ./flowmap run experiments/template.lua --method mean-flow --set lr=2e-3
--
-- An experiment is a table. Only `name` and `profiles` are needed; what is not set has the default
-- of `lua/flowmap/settings.lua`, and `--set key=value` changes any setting for one run.

local fm = require "flowmap"

local template = { name = "template", methods = { "mean-flow", "lsd" }, settings = { width = 128 } }

-- ## An own loss
--
-- A loss is a function of the table `a`: the flow map `a.map` with its derivatives `dt`, `ds`,
-- `dx` and velocity `b`; the times `a.s` and `a.t`; the point `a.x` of the interpolant with its
-- velocity `a.dx`. It returns one value per sample. Gradients come by themselves, also through
-- derivatives. This one is mean flow (Geng et al. 2025) in our notation: along the flow,
-- $$v_{s,t} = v_{s,s} + (t-s)\,\tfrac{d}{ds} v_{s,t},$$
-- with the velocity $\dot I_s$ of the sample in place of $v_{s,s}$, and the right side held fixed.

local function mean_flow(a)
  local function v(at) return a.map.v(at.s, a.t, at.x) end
  local along = { s = fm.ones(a.s.shape, a.s.dtype), x = a.dx } -- d/ds and the flow's direction
  local now, change = fm.jvp(v, { s = a.s, x = a.x }, along)
  local target = a.dx + (a.t - a.s) * change
  return fm.losses.norm2(now - fm.stop(target))
end

template.losses = { ["mean-flow"] = mean_flow }

-- ## An own network
--
-- A network is made from the settings: `init` draws its parameters, a nested table of tensors, and
-- `v` is the velocity. `template.options` declares settings of your own, here `waves`.

template.options = { waves = 8 }

local function wavy(cfg)
  local function features(s, t, x)
    local angle = x * (math.pi / 2 * cfg.waves)
    return fm.concat({ s, t, x / cfg.sigma, fm.sin(angle), fm.cos(angle) }, 2)
  end
  local net, inputs = {}, 2 + 3 * cfg.dim
  function net.init(rng)
    return { a = rng({ inputs, cfg.width }, "lecun"), b = rng({ cfg.width, cfg.dim }, "lecun") }
  end
  function net.v(p, s, t, x)
    return fm.matmul(fm.silu(fm.matmul(features(s, t, x), p.a)), p.b) * cfg.sigma
  end
  return net
end

template.nets = { wavy = wavy }

-- ## Own data
--
-- A data set draws samples with the random operations of a batch `b`, and knows its law: `mass` is
-- the exact probability of a box, which the KL estimator needs, `inside` tells its support.

local disc = { dim = 2, sd = 0.5 }

function disc.sample(b) -- uniform on the unit disc, in polar coordinates
  local u = b:uniform({ 2 }, "data")
  local radius, angle = fm.sqrt(fm.slice(u, 2, 1, 1)), fm.slice(u, 2, 2, 1) * (2 * math.pi)
  return fm.concat({ radius * fm.cos(angle), radius * fm.sin(angle) }, 2)
end

function disc.inside(x, y) return x * x + y * y <= 1 end

function disc.mass(x0, x1, y0, y1) -- the box's part in the disc: strips of the height inside it
  local strips, area = 64, 0
  for k = 1, strips do
    local x = x0 + (x1 - x0) * (k - 0.5) / strips
    local half = math.sqrt(math.max(0, 1 - x * x))
    area = area + math.max(0, math.min(y1, half) - math.max(y0, -half)) * (x1 - x0) / strips
  end
  return area / math.pi
end

template.data = { disc = disc }

-- ## Profiles
--
-- Settings for a quick look and for a real run; `by_method` sets some for one method alone.

template.profiles = {
  smoke = { data = "disc", net = "wavy", steps = 50, batch = 128, eval_samples = 10000 },
  laptop = { steps = 4000, by_method = { lsd = { eta = 0.5 } } },
}

return template
