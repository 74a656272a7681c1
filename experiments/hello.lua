-- # Hello, flow map
--
-- The whole method on one page: a flow map learns two moons, without the framework of the other
-- experiments, in ten seconds on one core.
--
--     ./flowmap lua experiments/hello.lua
--
-- A flow map $X_{s,t}(x) = x + (t-s)\,v_{s,t}(x)$ carries a point from time $s$ to time $t$ along a
-- flow that turns noise ($t = 0$) into data ($t = 1$). One network $v$ learns it from two terms:
--
-- - where $s = t$, it is the velocity of the flow: $v_{s,s}(I_s) = \dot I_s$ on average (flow
--   matching along the interpolant $I_s$ between noise and data);
-- - where $s < t$, the map follows that velocity (Lagrangian self-distillation):
--   $\partial_t X_{s,t}(I_s) = v_{t,t}(X_{s,t}(I_s))$.

local fm = require "flowmap"

local WIDTH, DEPTH, BATCH, STEPS, RATE = 64, 4, 256, 4500, 3e-3

-- A perceptron that reads (s, t, x): its parameters are a table of tensors, drawn once.
local params, inputs = {}, 4
for k = 1, DEPTH + 1 do
  local outputs = k <= DEPTH and WIDTH or 2
  local w = fm.normal({ inputs, outputs }, { seed = 1, stream = "weights", step = k })
  params[k] = { w = w * inputs ^ -0.5, b = fm.zeros { outputs } }
  inputs = outputs
end

local function v(p, s, t, x)
  local h = fm.concat({ s, t, x }, 2)
  for k = 1, DEPTH do h = fm.gelu(fm.matmul(h, p[k].w) + p[k].b) end
  return fm.matmul(h, p[DEPTH + 1].w) + p[DEPTH + 1].b
end

local function X(p, s, t, x) return x + (t - s) * v(p, s, t, x) end

-- Two moons. A batch `b` has n rows; its random numbers are keyed by seed, step and sample.
local function moons(b)
  local which, u = fm.split(b:uniform({ 2 }, "moon"), { 1, 1 }, 2)
  local side = 2 * fm.floor(2 * which) - 1 -- -1 or 1
  local arc = fm.concat({ fm.cos(math.pi * u) - 0.5, fm.sin(math.pi * u) - 0.25 }, 2)
  return side * arc + 0.08 * b:normal({ 2 }, "blur")
end

-- The objective of a micro-batch. Derivatives nest: fm.jvp is d/dt of the map, and the gradient of
-- all this is taken below. fm.stop holds the target fixed.
local function objective(p, b)
  local x0, x1 = b:normal({ 2 }, "base"), moons(b)
  local a, c = fm.split(b:uniform({ 2 }, "times"), { 1, 1 }, 2)
  local s, t = fm.minimum(a, c), fm.maximum(a, c)
  local I, dI = (1 - s) * x0 + s * x1, x1 - x0
  local y, dy = fm.jvp(function(time) return X(p, s, time, I) end, t, fm.ones(t.shape))
  local diagonal, off = v(p, s, s, I) - dI, dy - fm.stop(v(p, t, t, y))
  return fm.sum(fm.square(diagonal)) + fm.sum(fm.square(off))
end

-- Traced once, replayed by the core. Sums run over the batch; their order never changes.
local step = fm.program(function(p, b)
  local loss, grads = fm.value_and_grad(objective)(p, b)
  return { sum = { loss = loss, grads = grads } }
end, { shared = params, micro = 128 })

local optimiser = fm.optimiser { kind = "radam", params = params, clip = 5, ema = { 0.99 } }

for k = 0, STEPS - 1 do
  local sum = step:run { batch = BATCH, seed = 1, step = k, reuse = true }.sum
  optimiser:update(sum.grads, RATE * (1 - k / STEPS), 1 / BATCH)
  if k % 1000 == 0 then print(("step %d: loss %.3f"):format(k, sum.loss:item() / BATCH)) end
end

-- Samples: N steps of the map from noise, with the averaged weights. Outside a program, tensors are
-- computed at once. N = 0 is the noise itself.
local truth = fm.data.draw({ dim = 2, sample = moons }, 4000, 3)
local plot <close> = assert(io.popen("gnuplot", "w"))
plot:write [[set terminal png size 900,300; set output 'hello.png'; set multiplot layout 1,3
  set xrange [-2:2]; set yrange [-1.5:1.5]
]]

for _, N in ipairs { 0, 1, 4 } do
  local x = fm.normal({ 4000, 2 }, { seed = 2, stream = "sample" })
  for i = 0, N - 1 do
    x = X(optimiser:ema(1), fm.full({ 4000, 1 }, i / N), fm.full({ 4000, 1 }, (i + 1) / N), x)
  end
  print(("N = %d  energy distance to the data %.4f"):format(N, fm.metrics.energy(x, truth)))
  plot:write(("plot '-' title 'N = %d' with dots\n"):format(N))
  for _, point in ipairs(x:totable()) do plot:write(("%.3f %.3f\n"):format(point[1], point[2])) end
  plot:write "e\n"
end

print "written: hello.png"
