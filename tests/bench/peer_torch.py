#!/usr/bin/env python3
"""The training step of the paper's multilayer perceptron in PyTorch: the peer of `make bench`.

    python3 peer_torch.py                    a few steps of every variant, as JSON
    python3 peer_torch.py --check            the variants' gradients against each other
    python3 peer_torch.py --serve            one request "variant method batch steps" per line

The step is that of experiments/checkerboard.lua: fresh data and times, 75 % diagonal samples, one
self-distillation loss with its target held fixed, the gradient's norm clipped at 10, RAdam, two
averages of the weights. Variants:

    stacked   primal and tangent rows in one product per layer, each layer one autograd function
              with a hand-written backward pass; optimiser in place over one flat buffer
    func      tangents by PyTorch's own forward-mode differentiation, the rest alike
    compile   stacked rows in plain operations, by torch.compile, optimiser included (PyTorch 2)
    cfunc     func, by torch.compile (PyTorch 2)

For Debian's PyTorch 1.13 set OMP_WAIT_POLICY=PASSIVE and put the OpenMP build of OpenBLAS first in
LD_LIBRARY_PATH: its threads spin against those of the default build, which makes it 1.8x slower.
"""
import json
import math
import os
import sys
import time

import torch
import torch.nn.functional as F

WIDTH, DEPTH, SIGMA, ETA, CLIP = 512, 5, 3 ** -0.5, 0.75, 10.0
LR, BETA1, BETA2, EPS, EMA = 1e-3, 0.9, 0.999, 1e-8, (0.999, 0.9999)
METHODS = ("lsd", "esd", "psd-m", "psd-u")
C, A = math.sqrt(2 / math.pi), 0.044715  # of GELU's tanh form


def shapes():
    widths = [4] + [WIDTH] * DEPTH + [2]
    for fan_in, fan_out in zip(widths, widths[1:]):
        yield from ((fan_in, fan_out), (fan_out,))


def views(flat):
    """[(W, b), ...] inside one flat tensor."""
    parts, at = [], 0
    for shape in shapes():
        n = math.prod(shape)
        parts.append(flat[at:at + n].view(shape))
        at += n
    return list(zip(parts[::2], parts[1::2]))


def initial():
    flat = torch.zeros(sum(math.prod(s) for s in shapes()))
    for w, _ in views(flat):
        sd = w.shape[0] ** -0.5 / 0.87962566  # LeCun-normal, truncated at two deviations
        torch.nn.init.trunc_normal_(w, 0, sd, -2 * sd, 2 * sd)
    return flat


# ---------------------------------------------------------------- network


def gelu(z):
    return F.gelu(z, approximate="tanh")


def gelu_slope_times(z, dz, out):
    """gelu'(z) dz: the kernel that PyTorch's own backward pass uses, one pass."""
    torch.ops.aten.gelu_backward(dz, z, approximate="tanh", grad_input=out)


def gelu_curvature(z):
    """gelu''(z) = (1 - T^2) (u' + z u'' / 2 - z T u'^2), T = tanh(u), u = C (z + A z^3)"""
    square = z * z
    tanh = (z * (C + C * A * square)).tanh_()
    slope = square.mul(3 * C * A).add_(C)
    out = torch.addcmul(slope + 3 * C * A * square, z * tanh, slope * slope, value=-1)
    return out.mul_(tanh.mul_(tanh).neg_().add_(1))


class Layer(torch.autograd.Function):
    """gelu(h w + b) on stacked rows: the last nt are tangents of the nt rows before them."""

    @staticmethod
    def forward(ctx, h, w, b, nt):
        z = h @ w
        np = z.shape[0] - nt
        z[:np] += b
        ctx.save_for_backward(h, w, z)
        ctx.nt = nt
        out = torch.empty_like(z)
        torch._C._nn.gelu(z[:np], approximate="tanh", out=out[:np])
        if nt:
            gelu_slope_times(z[np - nt:np], z[np:], out[np:])
        return out

    @staticmethod
    def backward(ctx, g):
        h, w, z = ctx.saved_tensors
        nt, np = ctx.nt, z.shape[0] - ctx.nt
        gz = torch.empty_like(z)
        gelu_slope_times(z[:np], g[:np], gz[:np])
        if nt:
            zp, zt = z[np - nt:np], z[np:]
            gz[np - nt:np].addcmul_(gelu_curvature(zp).mul_(zt), g[np:])
            gelu_slope_times(zp, g[np:], gz[np:])
        gh = gz @ w.t() if ctx.needs_input_grad[0] else None
        return gh, h.t() @ gz, gz[:np].sum(0), None


def features(s, t, x):
    return torch.cat([s, t, x / SIGMA], 1)


def velocity(params, s, t, x):
    """v_{s,t}(x)"""
    h = features(s, t, x)
    for w, b in params[:-1]:
        h = gelu(torch.addmm(b, h, w))
    w, b = params[-1]
    return torch.addmm(b, h, w) * SIGMA


def by_hand(params, h, nt):
    """Velocities of stacked features and, in the last nt rows, their tangents."""
    for w, b in params[:-1]:
        h = Layer.apply(h, w, b, nt)
    w, b = params[-1]
    out = h @ w
    return (out[:len(out) - nt] + b) * SIGMA, out[len(out) - nt:] * SIGMA


def plain(params, h, nt):
    """The same in plain operations, for the compiler to fuse."""
    for w, b in params[:-1]:
        z = h @ w
        np = z.shape[0] - nt
        zp = z[:np] + b
        if nt == 0:
            h = gelu(zp)
            continue
        u = zp[np - nt:]
        tanh = torch.tanh(u * (C + C * A * u * u))
        slope = 0.5 * (1 + tanh) + 0.5 * u * (1 - tanh * tanh) * (C + 3 * C * A * u * u)
        h = torch.cat([gelu(zp), slope * z[np:]])
    w, b = params[-1]
    out = h @ w
    return (out[:len(out) - nt] + b) * SIGMA, out[len(out) - nt:] * SIGMA


def jvp(f, x, dx):
    if hasattr(torch, "func"):
        return torch.func.jvp(f, (x,), (dx,))
    import torch.autograd.forward_ad as forward_ad
    with forward_ad.dual_level():
        return tuple(forward_ad.unpack_dual(f(forward_ad.make_dual(x, dx))))


# ---------------------------------------------------------------- losses


def draw(batch):
    """Times, points and velocities of a batch; the first rows are diagonal (s = t)."""
    nd = max(1, int(ETA * batch))
    u, v = torch.rand(batch, 1), torch.rand(batch, 1)
    odd = (4 * u).floor() - 2 * (2 * u).floor()
    x1 = torch.cat([2 * u - 1, v + ((2 * v).floor() + odd) / 2 - 1], 1)
    x0 = SIGMA * torch.randn(batch, 2)
    ends = torch.rand(batch, 2)
    s, t = ends.amin(1, True), ends.amax(1, True)
    s[:nd] = t[:nd] = ends[:nd, :1]
    g = torch.rand(batch - nd, 1)
    return s, t, (1 - s) * x0 + s * x1, x1 - x0, g


def constant(params):
    return [(w.detach(), b.detach()) for w, b in params]


def tangent_features(method, s, x):
    one, zero = torch.ones_like(s), torch.zeros_like(s)
    return torch.cat([one, zero, 0 * x] if method == "esd" else [zero, one, 0 * x], 1)


def advected(params, s, t, x, stacked):
    """grad X_{s,t} . v_{s,s}, no gradient: its primal pass is that of X, done once more here."""
    with torch.no_grad():
        b = velocity(params, s, s, x)
        if stacked is None:
            return jvp(lambda y: y + (t - s) * velocity(params, s, t, y), x, b)[1]
        zero = torch.zeros_like(s)
        h = torch.cat([features(s, t, x), torch.cat([zero, zero, b / SIGMA], 1)])
        return b + (t - s) * stacked(params, h, len(x))[1]


def target_psd(params, method, s, t, x, g):
    g = 0.5 if method == "psd-m" else g
    u = g * s + (1 - g) * t
    with torch.no_grad():
        first = velocity(params, s, u, x)
        return (1 - g) * first + g * velocity(params, u, t, x + (u - s) * first)


def residuals(params, method, nd, batch, stacked):
    """Those of the diagonal and of the off-diagonal rows; stacked = None: PyTorch's own jvp."""
    s, t, x, dx, g = batch
    so, to, xo, fixed = s[nd:], t[nd:], x[nd:], constant(params)
    if method.startswith("psd"):
        if stacked is None:
            v = velocity(params, s, t, x)
        else:
            v = stacked(params, features(s, t, x), 0)[0]
        return v[:nd] - dx[:nd], v[nd:] - target_psd(fixed, method, so, to, xo, g)
    if stacked is None:
        v = velocity(params, s[:nd], t[:nd], x[:nd])
        along = (lambda r: xo + (to - r) * velocity(params, r, to, xo)) if method == "esd" else \
            (lambda r: xo + (r - so) * velocity(params, so, r, xo))
        moved, d = jvp(along, so if method == "esd" else to, torch.ones_like(so))
    else:
        h = torch.cat([features(s, t, x), tangent_features(method, so, xo)])
        v, dv = stacked(params, h, len(so))
        moved = xo + (to - so) * v[nd:]
        d = (to - so) * dv + (-v[nd:] if method == "esd" else v[nd:])
    if method == "esd":
        return v[:nd] - dx[:nd], d + advected(fixed, so, to, xo, stacked)
    with torch.no_grad():
        target = velocity(fixed, to, to, moved.detach())
    return v[:nd] - dx[:nd], d - target


def objective(params, method, nd, batch, stacked):
    diagonal, off = residuals(params, method, nd, batch, stacked)
    return (diagonal.square().sum() + off.square().sum()) / len(batch[0])


# ---------------------------------------------------------------- training


def update(flat, g, m, v, ema, size, root):
    """RAdam in its rectified phase, in place; `size` and `root` carry the step's corrections."""
    g *= torch.clamp(CLIP / (g.norm() + 1e-12), max=1)
    m.lerp_(g, 1 - BETA1)
    v.mul_(BETA2).addcmul_(g, g, value=1 - BETA2)
    flat.sub_(torch.sqrt(v).mul_(root).add_(EPS).reciprocal_().mul_(m).mul_(size))
    for mean, decay in zip(ema, EMA):
        mean.lerp_(flat, 1 - decay)


class Trainer:
    VARIANTS = {"stacked": by_hand, "func": None, "compile": plain, "cfunc": None}

    def __init__(self, variant, method, batch):
        torch.manual_seed(0)
        self.method, self.batch, self.nd = method, batch, max(1, int(ETA * batch))
        self.flat = initial()
        self.params = [(w.detach().requires_grad_(), b.detach().requires_grad_())
                       for w, b in views(self.flat)]
        self.m, self.v = torch.zeros_like(self.flat), torch.zeros_like(self.flat)
        self.ema, self.steps = [self.flat.clone() for _ in EMA], 1000
        self.stacked = self.VARIANTS[variant]
        self.objective, self.update = objective, update
        if variant.startswith("c"):
            self.objective, self.update = torch.compile(objective), torch.compile(update)

    def gradient(self, batch):
        loss = self.objective(self.params, self.method, self.nd, batch, self.stacked)
        leaves = [p for layer in self.params for p in layer]
        return loss, torch.cat([g.flatten() for g in torch.autograd.grad(loss, leaves)])

    def step(self):
        loss, g = self.gradient(draw(self.batch))
        self.steps += 1
        k, limit = self.steps, 2 / (1 - BETA2) - 1
        b2k = BETA2 ** k
        rho = limit - 2 * k * b2k / (1 - b2k)
        r = math.sqrt((rho - 4) * (rho - 2) * limit / ((limit - 4) * (limit - 2) * rho))
        with torch.no_grad():
            self.update(self.flat, g, self.m, self.v, self.ema,
                        torch.tensor(LR * r / (1 - BETA1 ** k)), torch.tensor((1 - b2k) ** -0.5))
        return loss.item()


TRAINERS = {}


def measure(variant, method, batch, steps):
    """Time `steps` steps; the first request of a kind warms up (and compiles) before."""
    kind = (variant, method, batch)
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


def variants():
    # Forward-mode differentiation of GELU and the compiler came with PyTorch 1.13 and 2.
    return [v for v in Trainer.VARIANTS if not v.startswith("c") or hasattr(torch, "compile")]


def check():
    """Largest difference of the gradients, relative to their norm, on one batch."""
    for method in METHODS:
        batch = draw(256)
        grads = {v: Trainer(v, method, 256).gradient(batch)[1] for v in variants()}
        worst = max(float((g - grads["func"]).norm() / grads["func"].norm())
                    for g in grads.values())
        print(json.dumps({"method": method, "variants": sorted(grads), "difference": worst}))
        if not worst < 1e-4:
            sys.exit("peer_torch: the variants' gradients differ")


def reply(value):
    print(json.dumps(value), flush=True)


def serve():
    reply({"library": "PyTorch", "version": torch.__version__, "threads": torch.get_num_threads(),
           "variants": variants()})
    for line in sys.stdin:
        words = line.split()
        if not words or words[0] == "quit":
            return
        try:
            reply(measure(words[0], words[1], int(words[2]), int(words[3])))
        except Exception as error:  # one variant that fails must not end the others
            reply({"variant": words[0], "error": str(error).strip().splitlines()[-1][:200]})


def main():
    torch.set_num_threads(int(os.environ.get("FLOWMAP_THREADS") or len(os.sched_getaffinity(0))))
    if "--check" in sys.argv:
        check()
    elif "--serve" in sys.argv:
        serve()
    else:
        for method in METHODS:
            for variant in variants():
                reply(measure(variant, method, 4096, 3))


if __name__ == "__main__":
    main()
