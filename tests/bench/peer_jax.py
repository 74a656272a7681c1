#!/usr/bin/env python3
"""The training step of the paper's multilayer perceptron in JAX: a peer of `make bench`.

    python3 peer_jax.py            a few steps of every method, as JSON
    python3 peer_jax.py --serve    one request "variant method batch steps" per line

The step is that of experiments/checkerboard.lua and of peer_torch.py: fresh data and times, 75 %
diagonal samples, one self-distillation loss with its target held fixed, the gradient's norm clipped
at 10, RAdam, two averages of the weights. One variant, jit: tangents by jax.jvp, gradients by
jax.value_and_grad, the whole step, data and optimiser included, compiled by XLA, its buffers
donated.
"""
import json
import os
import sys
import time

import jax
import jax.numpy as jnp

WIDTH, DEPTH, SIGMA, ETA, CLIP = 512, 5, 3 ** -0.5, 0.75, 10.0
LR, BETA1, BETA2, EPS, EMA = 1e-3, 0.9, 0.999, 1e-8, (0.999, 0.9999)
METHODS = ("lsd", "esd", "psd-m", "psd-u")
tree_map = jax.tree_util.tree_map

# ---------------------------------------------------------------- network


def initial(key):
    widths = [4] + [WIDTH] * DEPTH + [2]
    lecun = jax.nn.initializers.lecun_normal()
    return [(lecun(k, (n, m)), jnp.zeros(m))
            for k, n, m in zip(jax.random.split(key, DEPTH + 1), widths, widths[1:])]


def velocity(params, s, t, x):
    """v_{s,t}(x)"""
    h = jnp.concatenate([s, t, x / SIGMA], 1)
    for w, b in params[:-1]:
        h = jax.nn.gelu(h @ w + b, approximate=True)
    w, b = params[-1]
    return (h @ w + b) * SIGMA


def flow_map(params, s, t, x):
    return x + (t - s) * velocity(params, s, t, x)


# ---------------------------------------------------------------- losses


def draw(key, batch):
    """Times, points and velocities of a batch; the first rows are diagonal (s = t)."""
    nd = max(1, int(ETA * batch))
    k = jax.random.split(key, 5)
    u, v = jax.random.uniform(k[0], (batch, 1)), jax.random.uniform(k[1], (batch, 1))
    odd = jnp.floor(4 * u) - 2 * jnp.floor(2 * u)
    x1 = jnp.concatenate([2 * u - 1, v + (jnp.floor(2 * v) + odd) / 2 - 1], 1)
    x0 = SIGMA * jax.random.normal(k[2], (batch, 2))
    ends = jax.random.uniform(k[3], (batch, 2))
    s, t = ends.min(1, keepdims=True), ends.max(1, keepdims=True)
    s, t = s.at[:nd].set(ends[:nd, :1]), t.at[:nd].set(ends[:nd, :1])
    return nd, s, t, (1 - s) * x0 + s * x1, x1 - x0, jax.random.uniform(k[4], (batch - nd, 1))


def off_diagonal(params, fixed, method, s, t, x, g):
    """Residuals; `fixed` are the weights of the target, which is not differentiated."""
    one = jnp.ones_like(s)
    if method == "lsd":
        moved, d_t = jax.jvp(lambda r: flow_map(params, s, r, x), (t,), (one,))
        return d_t - velocity(fixed, t, t, jax.lax.stop_gradient(moved))
    if method == "esd":
        d_s = jax.jvp(lambda r: flow_map(params, r, t, x), (s,), (one,))[1]
        along = velocity(fixed, s, s, x)
        return d_s + jax.jvp(lambda y: flow_map(fixed, s, t, y), (x,), (along,))[1]
    g = 0.5 if method == "psd-m" else g
    u = g * s + (1 - g) * t
    first = velocity(fixed, s, u, x)
    target = (1 - g) * first + g * velocity(fixed, u, t, x + (u - s) * first)
    return velocity(params, s, t, x) - target


def objective(params, fixed, method, data):
    nd, s, t, x, dx, g = data
    diagonal = velocity(params, s[:nd], t[:nd], x[:nd]) - dx[:nd]
    off = off_diagonal(params, fixed, method, s[nd:], t[nd:], x[nd:], g)
    return (jnp.sum(diagonal ** 2) + jnp.sum(off ** 2)) / len(x)


# ---------------------------------------------------------------- training


def update(state, g, k):
    """RAdam in its rectified phase, and the averages."""
    params, m, v, ema = state
    norm = jnp.sqrt(sum(jnp.sum(a ** 2) for a in jax.tree_util.tree_leaves(g)))
    scale = jnp.minimum(CLIP / (norm + 1e-12), 1)
    limit, b2k = 2 / (1 - BETA2) - 1, BETA2 ** k
    rho = limit - 2 * k * b2k / (1 - b2k)
    r = jnp.sqrt((rho - 4) * (rho - 2) * limit / ((limit - 4) * (limit - 2) * rho))
    size, root = LR * r / (1 - BETA1 ** k), (1 - b2k) ** -0.5
    m = tree_map(lambda m, g: BETA1 * m + (1 - BETA1) * scale * g, m, g)
    v = tree_map(lambda v, g: BETA2 * v + (1 - BETA2) * (scale * g) ** 2, v, g)
    params = tree_map(lambda p, m, v: p - size * m / (jnp.sqrt(v) * root + EPS), params, m, v)
    ema = [tree_map(lambda e, p: decay * e + (1 - decay) * p, e, params)
           for e, decay in zip(ema, EMA)]
    return params, m, v, ema


def make_step(method, batch):
    def step(state, key, k):
        data = draw(key, batch)
        loss, g = jax.value_and_grad(objective)(state[0], state[0], method, data)
        return update(state, g, k), loss
    return jax.jit(step, donate_argnums=0)


class Trainer:
    def __init__(self, method, batch):
        params = initial(jax.random.key(0))
        zeros = tree_map(jnp.zeros_like, params)
        self.state = (params, zeros, tree_map(jnp.zeros_like, params),
                      [tree_map(jnp.copy, params) for _ in EMA])
        self.run, self.steps = make_step(method, batch), 1000

    def step(self):
        self.steps += 1
        key = jax.random.fold_in(jax.random.key(1), self.steps)
        self.state, loss = self.run(self.state, key, float(self.steps))
        return float(loss)


TRAINERS = {}


def measure(variant, method, batch, steps):
    """Time `steps` steps; the first request of a kind compiles before."""
    kind = (method, batch)
    started = time.perf_counter()
    if kind not in TRAINERS:
        TRAINERS[kind] = Trainer(*kind)
        for _ in range(2):
            TRAINERS[kind].step()
    warm = time.perf_counter()
    seconds, cpu = [], []
    for _ in range(steps):
        wall, busy = time.perf_counter(), time.process_time()
        loss = TRAINERS[kind].step()
        seconds.append(time.perf_counter() - wall)
        cpu.append(time.process_time() - busy)  # of all threads
    return {"variant": variant, "method": method, "batch": batch, "seconds": seconds, "cpu": cpu,
            "samples_per_s": batch / min(seconds), "warm_up_s": warm - started, "loss": loss}


def reply(value):
    print(json.dumps(value), flush=True)


def serve():
    reply({"library": "JAX", "version": jax.__version__, "threads": len(os.sched_getaffinity(0)),
           "variants": ["jit"]})
    for line in sys.stdin:
        words = line.split()
        if not words or words[0] == "quit":
            return
        try:
            reply(measure(words[0], words[1], int(words[2]), int(words[3])))
        except Exception as error:  # one request that fails must not end the others
            reply({"variant": words[0], "error": str(error).strip().splitlines()[-1][:200]})


def main():
    if "--serve" in sys.argv:
        serve()
    else:
        for method in METHODS:
            reply(measure("jit", method, 4096, 3))


if __name__ == "__main__":
    main()
