-- # A template: parts of your own
--
-- `./flowmap new NAME` makes a file of your own from this one; with `--loss`, `--net` or `--data`
-- it has only these parts.
--
-- Change what you like, and run it:
--
--     ./flowmap run experiments/template.lua --profile smoke
--     ./flowmap run experiments/template.lua --set lr=2e-3
--     ./flowmap reproduce experiments/template.lua --profile smoke
--
-- An experiment is a table. Only `name` and `profiles` are required. Other settings have defaults,
-- which `./flowmap settings` lists; `--set key=value` changes any setting for one run. Each part
-- below is a field of the table, which a setting or `methods` names; delete those you do not need.

local fm = require "flowmap"

local template = { name = "template", methods = { "lsd" }, settings = { width = 128 } }

-- ## A loss of your own
--
-- A loss is a function of the table `a`: the flow map `a.map` with its velocity `b` and the
-- derivatives `dt`, `ds` and `dx`; the times `a.s` and `a.t`; the point `a.x` of the interpolant
-- and its velocity `a.dx`. Times have one value per sample and the rank of `a.x`, so that products
-- with them weight samples. A loss returns one value per sample, of the shape (n). Gradients are
-- derived automatically, also through derivatives. This loss is that of MeanFlow (Geng et al. 2025)
-- in our notation: along the flow,
-- $$v_{s,t} = v_{s,s} + (t-s)\,\tfrac{d}{ds} v_{s,t},$$
-- with the sample's velocity $\dot I_s$ in place of $v_{s,s}$ and the right-hand side held fixed.

local function mean_flow(a)
  local function v(at) return a.map.v(at.s, a.t, at.x) end
  local along = { s = fm.ones(a.s.shape, a.s.dtype), x = a.dx } -- the tangent: d/ds along the flow
  local now, change = fm.jvp(v, { s = a.s, x = a.x }, along)
  local target = a.dx + (a.t - a.s) * change
  return fm.losses.norm2(now - fm.stop(target))
end

template.losses = { ["mean-flow"] = mean_flow }
template.methods = { "mean-flow", "lsd" }

-- ## A network of your own
--
-- A function of the settings returns the network: `init` draws its parameters, a nested table of
-- tensors, and `v` computes the velocity. `options` declares the part's own settings, here `waves`,
-- with their defaults; any part may have options.

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

template.nets = { wavy = { new = wavy, options = { waves = 8 } } }
template.settings.net = "wavy"

-- ## A data set of your own
--
-- A data set draws samples with the random operations of a batch `b`. It may also describe its
-- distribution: `mass` returns the exact probability of a box, which the KL estimator needs, and
-- `inside` tells whether a point lies in the support.

local disc = { dim = 2, sd = 0.5 }

function disc.sample(b) -- uniform on the unit disc, in polar coordinates
  local u = b:uniform({ 2 }, "data")
  local radius, angle = fm.sqrt(fm.slice(u, 2, 1, 1)), fm.slice(u, 2, 2, 1) * (2 * math.pi)
  return fm.concat({ radius * fm.cos(angle), radius * fm.sin(angle) }, 2)
end

function disc.inside(x, y) return x * x + y * y <= 1 end

function disc.mass(x0, x1, y0, y1) -- integrates the height of box and disc over vertical strips
  local strips, area = 64, 0
  for k = 1, strips do
    local x = x0 + (x1 - x0) * (k - 0.5) / strips
    local half = math.sqrt(math.max(0, 1 - x * x))
    area = area + math.max(0, math.min(y1, half) - math.max(y0, -half)) * (x1 - x0) / strips
  end
  return area / math.pi
end

template.data = { disc = disc }
template.settings.data = "disc"

-- ## Times and an interpolant
--
-- A law of times maps two columns of independent draws from U[0,1] to $s \le t$, the times of the
-- off-diagonal term. An interpolant is the pair of coefficients in $I_t = \alpha x_0 + \beta x_1$;
-- its velocity is derived automatically.

template.times = { early = function(a, b)
  local s, t = fm.minimum(a, b), fm.maximum(a, b)
  return s * s, t
end }

template.interpolants = { smooth = {
  alpha = function(t) return 1 - t * t * (3 - 2 * t) end,
  beta = function(t) return t * t * (3 - 2 * t) end,
} }
template.settings.times, template.settings.interpolant = "early", "smooth"

-- ## A metric and a figure
--
-- A metric is a number (or a table of numbers by name) computed from the model's samples. It is
-- recorded for every number of steps, and tables and figures refer to it by name. A figure turns
-- results into panels.

template.metrics = { radius = function(samples, context)
  local function mean_radius(x) return fm.mean(fm.sqrt(fm.sum(fm.square(x), { 2 }))):item() end
  return mean_radius(samples) - mean_radius(context.data(samples.shape[1]))
end }

template.figures = { bars = { options = { label = "" }, draw = function(set, spec)
  local rows = {}
  for k, N in ipairs(spec.steps) do rows[k] = { N, set:summary(spec.metric, N).mean } end
  return { panels = { { title = spec.label, xlabel = "N", ylabel = spec.metric, series = { {
    kind = "linespoints", key = "mean", label = "mean over seeds", colour = 6, point = 7,
    rows = rows } } } } }
end } }

template.render = {
  { kind = "compare", name = "radius", metric = "radius", title = "Error of the mean radius" },
  { kind = "bars", name = "radius", metric = "radius", where = { method = "lsd" }, label = "LSD" },
  { kind = "density", name = "density", range = { -1, 1 } },
  { kind = "traces", name = "traces" },
}

-- ## Profiles
--
-- A profile holds the settings for a quick look or for a real run and is chosen with `--profile`;
-- `by_method` changes settings for a single method.

template.profiles = {
  smoke = { steps = 50, batch = 128, eval_samples = 10000, nfe = { 1, 2, 4 } },
  laptop = { steps = 4000, by_method = { lsd = { eta = 0.5 } } },
}

return template
