#!/usr/bin/env python3
"""Golden values: the method once more, in JAX, in float64, on the CPU.

    python make.py [FOLDER]        writes FOLDER/*.safetensors (default: this folder)

Written from the mathematics alone, one sample at a time (jax.vmap makes the batch), so that it
shares nothing with the Lua that it checks. README.md tells versions and what the files hold.
"""

import os
import sys

os.environ["JAX_PLATFORMS"] = "cpu"

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.lax import stop_gradient as sg
from safetensors.numpy import save_file

jax.config.update("jax_enable_x64", True)

SIGMA, WIDTH, DEPTH, B, ETA = 0.7, 8, 5, 6, 0.75
STOPS = {"lsd": ["convex", "none"], "esd": ["full", "convex", "none"],
         "psd-m": ["convex", "none"], "psd-u": ["convex", "none"]}

# ------------------------------------------------------------------ network, interpolant, map


def velocity(layers, s, t, x):
    """v_{s,t}(x) of the MLP; s, t: scalars, x: (d)."""
    h = jnp.concatenate([jnp.array([s, t]), x / SIGMA])
    for layer in layers[:-1]:
        h = jax.nn.gelu(h @ layer["w"] + layer["b"], approximate=True)
    return SIGMA * (h @ layers[-1]["w"] + layers[-1]["b"])


def flow_map(layers, s, t, x):
    return x + (t - s) * velocity(layers, s, t, x)


INTERPOLANTS = {
    "linear": (lambda t: 1 - t, lambda t: t),
    "trig": (lambda t: jnp.cos(jnp.pi * t / 2), lambda t: jnp.sin(jnp.pi * t / 2)),
}


def interpolate(kind, t, x0, x1):
    """I_t and dI_t."""
    alpha, beta = INTERPOLANTS[kind]
    return (alpha(t) * x0 + beta(t) * x1,
            jax.grad(alpha)(t) * x0 + jax.grad(beta)(t) * x1)


# ------------------------------------------------------------------ losses of one sample


def diagonal(layers, kind, t, x0, x1):
    I, dI = interpolate(kind, t, x0, x1)
    return jnp.sum((velocity(layers, t, t, I) - dI) ** 2)


def lsd(layers, stop, s, t, x, g):
    X, dX = jax.jvp(lambda time: flow_map(layers, s, time, x), (t,), (jnp.ones_like(t),))
    target = velocity(layers, t, t, X)
    return jnp.sum((dX - (sg(target) if stop == "convex" else target)) ** 2)


def esd(layers, stop, s, t, x, g):
    dX = jax.jvp(lambda time: flow_map(layers, time, t, x), (s,), (jnp.ones_like(s),))[1]
    b = velocity(layers, s, s, x)
    if stop == "convex":
        b = sg(b)
    A = jax.jvp(lambda y: flow_map(layers, s, t, y), (x,), (b,))[1]
    return jnp.sum((dX + (sg(A) if stop == "full" else A)) ** 2)


def psd(layers, stop, s, t, x, g):
    u = g * s + (1 - g) * t
    bracket = ((1 - g) * velocity(layers, s, u, x)
               + g * velocity(layers, u, t, flow_map(layers, s, u, x)))
    if stop == "convex":
        bracket = sg(bracket)
    return jnp.sum((velocity(layers, s, t, x) - bracket) ** 2)


def off_diagonal(method, layers, stop, kind, s, t, g, x0, x1):
    x = interpolate(kind, s, x0, x1)[0]
    loss = {"lsd": lsd, "esd": esd}.get(method, psd)
    return loss(layers, stop, s, t, x, 0.5 if method == "psd-m" else g)


# ------------------------------------------------------------------ the batch


def weight(p, s, t):
    """A toy w(s,t) with three parameters, the same function on and off the diagonal."""
    return p[0] + p[1] * jnp.sin(3 * s) + p[2] * s * t


def batch_losses(params, method, stop, kind, data, w, eta=ETA):
    """Per-sample exp(-w) L + w: first the diagonal samples, then the others."""
    nd = max(1, int(eta * B))

    def one_diagonal(a, x0, x1):
        L, c = diagonal(params["layers"], kind, a, x0, x1), w(params, a, a)
        return jnp.exp(-c) * L + c

    def one_off(a, c, g, x0, x1):
        s, t = jnp.minimum(a, c), jnp.maximum(a, c)
        L = off_diagonal(method, params["layers"], stop, kind, s, t, g, x0, x1)
        return jnp.exp(-w(params, s, t)) * L + w(params, s, t)

    first = [data[k][:nd] for k in ("a", "x0", "x1")]
    rest = [data[k][nd:] for k in ("a", "c", "g", "x0", "x1")]
    return jax.vmap(one_diagonal)(*first), jax.vmap(one_off)(*rest)


def objective(*args, **more):
    """The sample-weighted mean of the two terms."""
    on, off = batch_losses(*args, **more)
    return (len(on) * jnp.mean(on) + len(off) * jnp.mean(off)) / B


# ------------------------------------------------------------------ inputs and outputs


def draw(seed, dim):
    """Units with weights of norm 2, so far from linear that every term of every loss counts."""
    rng = np.random.default_rng(seed)
    sizes = [2 + dim] + [WIDTH] * DEPTH + [dim]
    layers = []
    for m, n in zip(sizes, sizes[1:]):
        w = rng.normal(size=(m, n))
        layers.append({"w": 2 * w / np.linalg.norm(w, axis=0), "b": 0.5 * rng.normal(size=n)})
    return layers, draw_batch(rng, dim)


def draw_batch(rng, dim):
    data = {"x0": SIGMA * rng.normal(size=(B, dim)), "x1": rng.uniform(-1, 1, size=(B, dim))}
    return data | {k: rng.uniform(size=B) for k in ("a", "c", "g")}


def put(out, prefix, tree):
    """Leaves under dotted names; the list of layers counts from 1, as in Lua."""
    if isinstance(tree, (list, tuple)):
        tree = {str(k + 1): v for k, v in enumerate(tree)}
    if isinstance(tree, dict):
        for key, value in tree.items():
            put(out, f"{prefix}.{key}", value)
    else:
        out[prefix] = np.array(tree, dtype=np.float64, order="C")


def loss_cases(out, layers, kind, data):
    """Each loss alone on all samples: per-sample values and the gradient of their mean."""
    s, t = np.minimum(data["a"], data["c"]), np.maximum(data["a"], data["c"])
    s[0], t[0] = 0, 1  # the one-step generator
    s[1] = t[1]        # the diagonal limit of the off-diagonal losses
    put(out, "s", s), put(out, "t", t)

    def case(name, loss, *rows):
        each = lambda p: jax.vmap(lambda *row: loss(p, *row))(*rows)
        put(out, name + ".loss", each(layers))
        put(out, name + ".grad", jax.jit(jax.grad(lambda p: jnp.mean(each(p))))(layers))

    x0, x1, g = data["x0"], data["x1"], data["g"]
    case("diagonal.default", lambda p, *r: diagonal(p, kind, *r), t, x0, x1)
    for method, stops in STOPS.items():
        for stop in stops:
            case(f"{method}.{stop}", lambda p, *r: off_diagonal(method, p, stop, kind, *r),
                 s, t, g, x0, x1)


def batch_cases(out, layers, kind, data):
    """The whole objective, plain (w = 0) and with the learned weight; and eta B below 1."""
    params = {"layers": layers, "weight": np.array([0.4, -0.8, 1.3])}
    put(out, "weight", params["weight"])
    none = lambda p, s, t: 0.0
    toy = lambda p, s, t: weight(p["weight"], s, t)
    cases = [("plain", m, none, ETA) for m in STOPS] + [("learned", m, toy, ETA) for m in STOPS]
    for name, method, w, eta in cases + [("least", "lsd", none, 0.1)]:
        args = (method, STOPS[method][0], kind, data, w)
        f = lambda p: objective(p, *args, eta=eta)
        total, grads = jax.jit(jax.value_and_grad(f))(params)
        put(out, f"{name}.{method}.total", total)
        put(out, f"{name}.{method}.loss",
            jnp.concatenate(batch_losses(params, *args, eta=eta)))
        put(out, f"{name}.{method}.grad", grads["layers"])
        if w is toy:
            put(out, f"{name}.{method}.grad.weight", grads["weight"])


def sampling(out, layers, data):
    """x <- X_{i/N, (i+1)/N}(x) from x0."""
    for N in (1, 2, 4):
        x = data["x0"]
        for i in range(N):
            x = jax.vmap(lambda y: flow_map(layers, i / N, (i + 1) / N, y))(x)
        put(out, f"sample.{N}", x)


# ------------------------------------------------------------------ optimisers


def schedule(rate, start):
    """rate / sqrt(max(step / start, 1)); optax counts steps from 0, in 32 bits."""
    return lambda count: rate / jnp.sqrt(jnp.maximum(count.astype(jnp.float64) / start, 1))


def optimise(out, kind, seed):
    """20 updates on given gradients: parameters and the norm before the clip, EMAs at the end."""
    rng = np.random.default_rng(seed)
    lr = schedule(0.01, 7)
    rule = optax.radam(lr, b1=0.9, b2=0.999, eps=1e-8) if kind == "radam" else \
        optax.adamw(lr, b1=0.9, b2=0.999, eps=1e-8, weight_decay=0.1)
    tx = optax.chain(optax.clip_by_global_norm(1.0), rule)
    params = {"a": rng.normal(size=(3, 5)), "b": rng.normal(size=4)}
    params = jax.tree.map(jnp.asarray, params)
    put(out, f"{kind}.start", params)
    state, emas = tx.init(params), [params, params]
    for step in range(20):
        size = 0.1 if step % 3 else 2.0  # norms on both sides of the clip
        grads = {k: jnp.asarray(size * rng.normal(size=p.shape)) for k, p in params.items()}
        put(out, f"{kind}.{step}.grad", grads)
        put(out, f"{kind}.{step}.norm", optax.global_norm(grads))
        updates, state = tx.update(grads, state, params)
        params = optax.apply_updates(params, updates)
        put(out, f"{kind}.{step}.param", params)
        emas = [optax.incremental_update(params, e, 1 - d) for e, d in zip(emas, (0.9, 0.99))]
    put(out, f"{kind}.ema", emas)


def training(out, layers, method, constant, steps=8):
    """Steps of the spec's training with given noise; weights after 3 and 8 (RAdam adapts at 6).

    The weight w(s,t) is a constant: it scales the gradient before the clip, nothing else.
    """
    name = f"train.{method}.w{constant}"
    lr = schedule(0.02, 2)
    tx = optax.chain(optax.clip_by_global_norm(1.5), optax.radam(lr, b1=0.9, b2=0.999, eps=1e-8))
    params = jax.tree.map(jnp.asarray, {"layers": layers})
    state, emas = tx.init(params), [params, params]
    w = lambda p, s, t: float(constant)
    gradient = jax.jit(jax.grad(
        lambda p, data: objective(p, method, STOPS[method][0], "linear", data, w)))
    norms = []
    for step in range(steps):
        data = {k: jnp.asarray(out[f"noise.{step}.{k}"]) for k in ("x0", "x1", "a", "c", "g")}
        grads = gradient(params, data)
        norms.append(optax.global_norm(grads))
        updates, state = tx.update(grads, state, params)
        params = optax.apply_updates(params, updates)
        emas = [optax.incremental_update(params, e, 1 - d) for e, d in zip(emas, (0.5, 0.9))]
        if step + 1 in (3, steps):
            put(out, f"{name}.after{step + 1}", params["layers"])
    put(out, f"{name}.ema", [e["layers"] for e in emas])
    put(out, f"{name}.norms", jnp.stack(norms))


# ------------------------------------------------------------------ files


def write(folder, name, out, **meta):
    meta = {"jax": jax.__version__, "optax": optax.__version__, "numpy": np.__version__, **meta}
    assert all(np.isfinite(v).all() for v in out.values())
    path = os.path.join(folder, name)
    save_file(out, path, {k: str(v) for k, v in meta.items()})
    os.chmod(path, 0o644)


def main(folder):
    for name, dim, kind, seed in (("linear2d", 2, "linear", 1), ("trig3d", 3, "trig", 2)):
        out = {}
        layers, data = draw(seed, dim)
        put(out, "params", layers)
        for key, value in data.items():
            put(out, key, value)
        loss_cases(out, layers, kind, data)
        batch_cases(out, layers, kind, data)
        sampling(out, layers, data)
        write(folder, f"{name}.safetensors", out, sigma=SIGMA, width=WIDTH, depth=DEPTH, dim=dim,
              interpolant=kind, eta=ETA)

    out = {}
    optimise(out, "radam", 3), optimise(out, "adamw", 4)
    write(folder, "optimisers.safetensors", out)

    out = {}
    rng = np.random.default_rng(5)
    layers = [{"w": 0.7 * layer["w"], "b": layer["b"]} for layer in draw(1, 2)[0]]
    put(out, "params", layers)  # norms of the gradient are then on both sides of the clip
    for step in range(8):
        put(out, f"noise.{step}", draw_batch(rng, 2))
    for method in STOPS:
        training(out, layers, method, 0)
    training(out, layers, "lsd", 1)
    write(folder, "training.safetensors", out, sigma=SIGMA, width=WIDTH, depth=DEPTH, dim=2,
          interpolant="linear", eta=ETA)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else os.path.dirname(os.path.abspath(__file__)))
