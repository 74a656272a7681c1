--- Faults that are planted in a copy of the sources: { name, file, text, its replacement, options
-- of the gate }. Every text occurs in its file exactly once. The gate runs on the best instruction
-- set where no other is named, and judges the quality of one study, which is enough for the table.
-- @module list

local PLANE, IMAGES = "--native --no-speed --judge plane", "--native --no-speed --judge images"

return {
  { "learning rate times 3", "lua/flowmap/schedule.lua", "local rate = cfg.lr *",
    "local rate = 3 * cfg.lr *", PLANE },
  { "diagonal fraction plus 0.1", "lua/flowmap/layout.lua", "math.floor(eta * rows + 1e-9)",
    "math.floor(math.min(1, eta + 0.1) * rows + 1e-9)", PLANE },
  { "diagonal fraction minus 0.1", "lua/flowmap/layout.lua", "math.floor(eta * rows + 1e-9)",
    "math.floor((eta - 0.1) * rows + 1e-9)", PLANE },
  { "decay of the averages", "core/kernels/optim.c", "k.ema[j] = vset((T)(1 - s->ema[j]))",
    "k.ema[j] = vset((T)(2 * (1 - s->ema[j])))", PLANE },
  { "sign of d/ds", "lua/flowmap/map.lua", "s, fm.ones(s.shape, s.dtype))",
    "s, -1 * fm.ones(s.shape, s.dtype))", PLANE },
  { "stop-gradients dropped", "lua/flowmap/residuals.lua", "return stop and fm.stop(x) or x",
    "return x", PLANE },
  { "s for t in one input", "lua/flowmap/residuals.lua", "velocity(a, how.velocity, a.t, moved)",
    "velocity(a, how.velocity, a.s, moved)", PLANE },
  { "sampler starts one step late", "lua/flowmap/sampler.lua",
    "for i = 0, N - 1 do\n    x = X(", "for i = 1, N - 1 do\n    x = X(", PLANE },
  { "bias correction off", "core/optim.c", ".rate = lr / (1 - pow(c->b1, t)),", ".rate = lr,",
    PLANE },
  { "learned weight dropped", "lua/flowmap/step.lua", "return fm.exp(-w) * R + w, L",
    "return R + 0 * w, L", IMAGES },
  { "law of times", "lua/flowmap/times.lua", "return fm.minimum(a, b), fm.maximum(a, b)",
    "return a * b, b", PLANE },
  { "constant of Winograd's transform", "core/kernels/winograd.h", "((T)0.244140625)",
    "((T)0.2441)", IMAGES },
  { "bfloat16 truncated, not rounded", "core/kernels/gemm_bf16.c",
    "u + 0x7FFF + (u >> 16 & 1)", "u", "--isa avx2 --no-speed --judge plane" },
  { "gradient not clipped", "core/optim.c", "if (o->conf.clip > 0 && length > o->conf.clip)",
    "if (o->conf.clip < 0)", PLANE },
  { "dropout in both terms", "lua/flowmap/step.lua", "part.dropout = part.dropout_off\n", "\n",
    IMAGES },
  { "g and 1 - g exchanged", "lua/flowmap/residuals.lua",
    "return (1 - w) * Y.v(s, u, x) + w * Y.v(u, t, Y(s, u, x))",
    "return w * Y.v(s, u, x) + (1 - w) * Y.v(u, t, Y(s, u, x))", PLANE },
  { "memory: values live to the end", "core/program/arena.c", "l->end[o] = step;",
    "l->end[o] = 1 << 20;", PLANE },
  { "speed: a useless loop in each step", "lua/flowmap/trainer.lua",
    "  renew(job)\n  job.done", "  for k = 1, 10000 do math.sin(k) end\n  renew(job)\n  job.done",
    "--native --busy --judge plane" },
  { "no fault: a product rounded before its sum", "core/kernels/optim.c",
    "*m = vfma(k->b1, *m, k->c1 * g);", "*m = k->b1 * *m + k->c1 * g;", PLANE },
}
