#!/usr/bin/env python3
"""The training step of the EDM2 flow-map U-Net in PyTorch: the peer of tests/bench/unet.lua.

    python3 peer_unet.py --check GOLDEN    this network against tests/golden/unet-*.safetensors
    python3 peer_unet.py --serve           one request "variant net method batch steps" per line;
                                           the method "sample" draws images in one step

The step is that of our image runs: 75 % diagonal samples with dropout 0.13, one self-distillation
loss with its target held fixed, the learned weight, the gradient's norm clipped at 1, RAdam, two
averages, forced weight normalisation. Images are channels-last in memory; weights are normalised
once per step. Variants:

    eager     tangents by PyTorch's own forward-mode differentiation
    compile   the same by torch.compile (PyTorch 2)

For Debian's PyTorch 1.13 set OMP_WAIT_POLICY=PASSIVE and put the OpenMP build of OpenBLAS first in
LD_LIBRARY_PATH: its threads spin against those of the default build.
"""
import json
import math
import os
import resource
import sys
import time

import torch
import torch.nn.functional as F

SIGMA, ETA, CLIP, DROPOUT = 0.5, 0.75, 1.0, 0.13
LR, BETA1, BETA2, EPS, EMA = 1e-2, 0.9, 0.999, 1e-8, (0.999, 0.9999)
NETS = {  # resolution, model_channels, mult, num_blocks, attention
    "small": (32, 32, (2, 2, 2), 2, (16,)),
    "paper": (32, 128, (2, 2, 2), 4, (16,)),
}
LAST = torch.channels_last

# ---------------------------------------------------------------- plan and parameters


def plan(res, base, mult, blocks, attn):
    """Blocks in the order of execution: (name, inputs, outputs, decoder, resample, skip, attention)"""
    channels, now, skips, enc, dec = [base * m for m in mult], 4, [], [], []

    def add(out, level, name, outputs, resample=None, skip=0, attention=False):
        nonlocal now
        r = res >> level
        kind = "dec" if out is dec else "enc"
        out.append((f"{kind}.{r}x{r}_{name}", now + skip, outputs, out is dec, resample, skip,
                    attention or name.startswith("block") and r in attn))
        now = outputs

    for level, c in enumerate(channels):
        add(enc, level, "down" if level else "conv", now if level else c, "down" if level else None)
        skips.append(now)
        for k in range(blocks):
            add(enc, level, f"block{k}", c)
            skips.append(now)
    for level in reversed(range(len(channels))):
        if level == len(channels) - 1:
            add(dec, level, "in0", now, attention=True)
            add(dec, level, "in1", now)
        else:
            add(dec, level, "up", now, "up")
        for k in range(blocks + 1):
            add(dec, level, f"block{k}", channels[level], skip=skips.pop())
    return enc, dec, channels


def shapes(enc, dec, channels, classes=0):
    e, out = max(channels), {}
    out["emb_s"] = out["emb_dt"] = (e, channels[0])
    if classes:
        out["emb_label"] = (e, classes)
    out["weight"], out["out_gain"] = (1, 128), ()
    out["out_conv"] = (3, channels[0], 3, 3)
    out[enc[0][0]] = (channels[0], 4, 3, 3)
    for name, i, o, decoder, _, _, attention in enc[1:] + dec:
        out[name + ".emb_gain"] = ()
        out[name + ".emb_linear"] = (o, e)
        out[name + ".conv_res0"] = (o, i if decoder else o, 3, 3)
        out[name + ".conv_res1"] = (o, o, 3, 3)
        if i != o:
            out[name + ".conv_skip"] = (o, i, 1, 1)
        if attention:
            out[name + ".attn_qkv"], out[name + ".attn_proj"] = (3 * o, o, 1, 1), (o, o, 1, 1)
    return out


def normalize(x, dims):
    n = math.prod(x.shape[d] for d in dims)
    return x / (torch.linalg.vector_norm(x, dim=dims, keepdim=True) * n ** -0.5 + 1e-4)


def used(params):
    """Every weight as it is used, once for all evaluations of a step."""
    out = {}
    for name, w in params.items():
        if w.dim() == 0:
            continue
        gain = params.get(name.replace("emb_linear", "emb_gain").replace("out_conv", "out_gain"), 1)
        gain = gain if name.endswith(("emb_linear", "out_conv")) else 1
        w = normalize(w, tuple(range(1, w.dim()))) * (gain / math.sqrt(w[0].numel()))
        out[name] = w.contiguous(memory_format=LAST) if w.dim() == 4 else w
    return out


# ---------------------------------------------------------------- network


def mp_sum(a, b, r):
    c = math.sqrt((1 - r) ** 2 + r ** 2)
    return a * ((1 - r) / c) + b * (r / c)


def mp_cat(a, b):
    na, nb = a.shape[1], b.shape[1]
    c = math.sqrt((na + nb) * 2) / 2
    return torch.cat([a * (c / math.sqrt(na)), b * (c / math.sqrt(nb))], 1)


def mp_silu(x):
    return F.silu(x) * (1 / 0.596)


def conv(x, w):
    return F.conv2d(x, w, padding=w.shape[-1] // 2)


def time_code(a, dim):
    f = torch.exp(torch.arange(dim // 2, dtype=a.dtype) * (-math.log(10000) / (dim // 2)))
    phase = a[:, None] * f
    return torch.cat([torch.cos(phase), torch.sin(phase)], 1) * math.sqrt(2)


def attention(x, qkv, proj, dual):
    n, c, H, W = x.shape
    heads = max(1, c // 64)
    y = conv(x, qkv).permute(0, 2, 3, 1).reshape(n, H * W, heads, c // heads, 3)
    y = normalize(y, (3,)).permute(4, 0, 2, 1, 3)
    q, k, v = y[0], y[1], y[2]
    if not dual and hasattr(F, "scaled_dot_product_attention"):
        y = F.scaled_dot_product_attention(q, k, v)
    else:  # forward mode needs plain operations; the scores are at most sqrt(c)
        y = torch.exp(q @ (k * (c // heads) ** -0.5).transpose(2, 3))
        y = (y / y.sum(-1, keepdim=True)) @ v
    y = y.transpose(1, 2).reshape(n, H, W, c).permute(0, 3, 1, 2)
    return mp_sum(x, conv(y, proj), 0.3)


class Net:
    def __init__(self, spec, classes=0):
        self.enc, self.dec, self.channels = plan(*spec)
        self.shapes, self.classes = shapes(self.enc, self.dec, self.channels, classes), classes

    def block(self, u, b, x, emb, rate, dual):
        name, i, o, decoder, resample, _, attn = b
        skip = lambda x: conv(x, u[name + ".conv_skip"]) if i != o else x
        if resample == "down":
            x = F.avg_pool2d(x, 2)
        elif resample == "up":
            x = F.interpolate(x, scale_factor=2, mode="nearest")
        if not decoder:
            x = normalize(skip(x), (1,))
        y = conv(mp_silu(x), u[name + ".conv_res0"])
        y = mp_silu(y * (emb @ u[name + ".emb_linear"].t() + 1)[:, :, None, None])
        y = conv(F.dropout(y, rate) if rate else y, u[name + ".conv_res1"])
        x = mp_sum(skip(x) if decoder else x, y, 0.3)
        if attn:
            x = attention(x, u[name + ".attn_qkv"], u[name + ".attn_proj"], dual)
        return x.clamp(-256, 256)

    def v(self, u, s, t, x, rate=0.0, dual=False, labels=None):
        """v_{s,t}(x); x: (n, 3, H, W), channels last in memory; s, t: (n)"""
        d = self.channels[0]
        emb = mp_sum(time_code(s, d) @ u["emb_s"].t(), time_code(t - s, d) @ u["emb_dt"].t(), 0.5)
        if self.classes:
            one_hot = (labels[:, None] == torch.arange(self.classes)).to(x.dtype)
            emb = mp_sum(emb, one_hot * self.classes ** 0.5 @ u["emb_label"].t(), 0.5)
        emb, skips = mp_silu(emb), []
        h = torch.cat([x / SIGMA, torch.ones_like(x[:, :1])], 1)
        for k, b in enumerate(self.enc):
            h = self.block(u, b, h, emb, rate, dual) if k else conv(h, u[b[0]])
            skips.append(h)
        for b in self.dec:
            h = self.block(u, b, mp_cat(h, skips.pop()) if b[5] else h, emb, rate, dual)
        return conv(h, u["out_conv"]) * SIGMA

    def w(self, u, s, t):
        return (mp_sum(time_code(s, 128), time_code(t, 128), 0.5) @ u["weight"].t())[:, 0]


# ---------------------------------------------------------------- losses


def jvp(f, x, dx):
    if hasattr(torch, "func"):
        return torch.func.jvp(f, (x,), (dx,))
    import torch.autograd.forward_ad as forward_ad
    with forward_ad.dual_level():
        return tuple(forward_ad.unpack_dual(f(forward_ad.make_dual(x, dx))))


def norm2(r):
    return r.square().sum((1, 2, 3))


def column(a):
    return a[:, None, None, None]


def moved(net, u, s, t, x, dual=False):
    return x + column(t - s) * net.v(u, s, t, x, dual=dual)


def off_diagonal(net, u, method, s, t, x):
    still = {name: w.detach() for name, w in u.items()}
    if method == "lsd":
        X, d = jvp(lambda r: moved(net, u, s, r, x, True), t, torch.ones_like(t))
        with torch.no_grad():
            target = net.v(still, t, t, X.detach())
        return norm2(d - target)
    m = (s + t) / 2
    with torch.no_grad():
        first = net.v(still, s, m, x)
        target = (first + net.v(still, m, t, x + column(m - s) * first)) / 2
    return norm2(net.v(u, s, t, x) - target)


def objective(net, params, method, nd, batch):
    s, t, x, dx = batch
    u = used(params)
    L = norm2(net.v(u, s[:nd], s[:nd], x[:nd], DROPOUT) - dx[:nd])
    if nd < len(s):
        L = torch.cat([L, off_diagonal(net, u, method, s[nd:], t[nd:], x[nd:])])
    w = net.w(u, s, t)
    return (torch.exp(-w) * L + w).mean()


# ---------------------------------------------------------------- training


def update(flat, g, m, v, ema, size, root):
    """RAdam in its rectified phase, in place."""
    g *= torch.clamp(CLIP / (g.norm() + 1e-12), max=1)
    m.lerp_(g, 1 - BETA1)
    v.mul_(BETA2).addcmul_(g, g, value=1 - BETA2)
    flat.sub_(torch.sqrt(v).mul_(root).add_(EPS).reciprocal_().mul_(m).mul_(size))


class Trainer:
    def __init__(self, variant, net, method, batch):
        torch.manual_seed(0)
        self.net, self.method, self.batch = Net(NETS[net]), method, batch
        self.nd = batch if method == "diagonal" else max(1, int(ETA * batch))
        self.side = NETS[net][0]
        sizes = {name: math.prod(shape) for name, shape in self.net.shapes.items()}
        self.flat = torch.zeros(sum(sizes.values()))
        self.views, at = {}, 0
        for name, shape in self.net.shapes.items():
            self.views[name] = self.flat[at:at + sizes[name]].view(shape)
            at += sizes[name]
        for w in self.views.values():
            w.normal_() if w.dim() else w.fill_(0.1)
        self.m, self.v = torch.zeros_like(self.flat), torch.zeros_like(self.flat)
        self.ema, self.steps, self.warm = [self.flat.clone() for _ in EMA], 1000, False
        self.objective, self.sample = objective, self.net.v
        if variant == "compile":
            self.objective, self.sample = torch.compile(objective), torch.compile(self.net.v)

    def draw(self):
        n, image = self.batch, (self.batch, 3, self.side, self.side)
        x0 = (SIGMA * torch.randn(image)).contiguous(memory_format=LAST)
        x1 = (torch.randint(0, 256, image) / 127.5 - 1).contiguous(memory_format=LAST)
        ends = torch.rand(n, 2)
        s, t = ends.amin(1), ends.amax(1)
        s[:self.nd] = t[:self.nd] = ends[:self.nd, 0]
        return s, t, column(1 - s) * x0 + column(s) * x1, x1 - x0

    def step(self):
        params = {name: w.detach().requires_grad_() for name, w in self.views.items()}
        loss = self.objective(self.net, params, self.method, self.nd, self.draw())
        grads = torch.autograd.grad(loss, list(params.values()))
        self.steps += 1
        k, limit = self.steps, 2 / (1 - BETA2) - 1
        b2k = BETA2 ** k
        rho = limit - 2 * k * b2k / (1 - b2k)
        r = math.sqrt((rho - 4) * (rho - 2) * limit / ((limit - 4) * (limit - 2) * rho))
        with torch.no_grad():
            g = torch.cat([g.reshape(-1) for g in grads])
            update(self.flat, g, self.m, self.v, self.ema, LR * r / (1 - BETA1 ** k),
                   (1 - b2k) ** -0.5)
            for w in self.views.values():
                if w.dim():
                    w.copy_(normalize(w, tuple(range(1, w.dim()))))
            for mean, decay in zip(self.ema, EMA):
                mean.lerp_(self.flat, 1 - decay)
        return loss.item()

    def draw_samples(self):
        """`batch` images in one step, sixteen at a time."""
        with torch.no_grad():
            u, out = used(self.views), []
            for _ in range(0, self.batch, 16):
                x = (SIGMA * torch.randn(16, 3, self.side, self.side)).contiguous(memory_format=LAST)
                s = torch.zeros(16)
                out.append(x + self.sample(u, s, s + 1, x))
            return torch.cat(out).mean().item()


TRAINERS = {}


def measure(variant, net, method, batch, steps):
    """Time `steps` steps; the first request of a kind warms up (and compiles) before."""
    kind = (variant, net, method, batch)
    started = time.perf_counter()
    if kind not in TRAINERS:
        TRAINERS[kind] = Trainer(*kind)
    trainer = TRAINERS[kind]
    work = trainer.draw_samples if method == "sample" else trainer.step
    if not trainer.warm:
        work()
        trainer.warm = True
    warm = time.perf_counter()
    seconds, cpu = [], []
    for _ in range(steps):
        wall, busy = time.perf_counter(), time.process_time()
        value = work()
        seconds.append(time.perf_counter() - wall)
        cpu.append(time.process_time() - busy)  # of all threads
    return {"variant": variant, "net": net, "method": method, "batch": batch, "seconds": seconds,
            "cpu": cpu, "images_per_s": batch / min(seconds), "warm_up_s": warm - started, "value": value,
            "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


# ---------------------------------------------------------------- check and service


def check(path):
    """This network, and its forward-mode derivative in t, against golden values (float64)."""
    from safetensors import safe_open
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path.insert(0, os.path.join(here, "..", "golden"))
    from make_unet import numbers
    with safe_open(path, "pt") as f:
        G, meta = {k: f.get_tensor(k) for k in f.keys()}, f.metadata()
    ints = lambda key: tuple(int(x) for x in meta[key].split(","))
    net = Net((*ints("resolution"), *ints("model_channels"), ints("mult"), *ints("num_blocks"),
               ints("attention")), *ints("classes"))
    params = {}
    for name, shape in net.shapes.items():
        ours = (shape[0], *shape[2:], shape[1]) if len(shape) == 4 else shape
        w = torch.from_numpy(numbers(name, ours).copy()).reshape(ours)
        w = w + 0.5 if w.dim() == 0 else 3 * (w - 0.5)
        params[name] = w.permute(0, 3, 1, 2) if w.dim() == 4 else w
    u, x = used(params), G["x0"].permute(0, 3, 1, 2)
    s, t = torch.minimum(G["a"], G["c"]), torch.maximum(G["a"], G["c"])
    v, dt = jvp(lambda r: net.v(u, s, r, x, dual=True, labels=G["label"]), t, torch.ones_like(t))
    plain = net.v(u, s, t, x, labels=G["label"])
    worst = max(float((y.permute(0, 2, 3, 1) - G[k]).abs().max() / G[k].abs().max())
                for y, k in ((v, "v"), (plain, "v"), (dt, "dt")))
    worst = max(worst, float((net.w(u, s, t) - G["w"]).abs().max()))
    reply({"golden": os.path.basename(path), "difference": worst})
    if not worst < 1e-10:
        sys.exit("peer_unet: the network differs from the golden values")


def reply(value):
    print(json.dumps(value), flush=True)


def variants():
    return ["eager", "compile"] if hasattr(torch, "compile") else ["eager"]


def serve():
    reply({"library": "PyTorch", "version": torch.__version__, "threads": torch.get_num_threads(),
           "variants": variants()})
    for line in sys.stdin:
        words = line.split()
        if not words or words[0] == "quit":
            return
        try:
            reply(measure(*words[:3], int(words[3]), int(words[4])))
        except Exception as error:  # one variant that fails must not end the others
            reply({"variant": words[0], "error": str(error).strip().splitlines()[-1][:200]})


def main():
    torch.set_num_threads(int(os.environ.get("FLOWMAP_THREADS") or len(os.sched_getaffinity(0))))
    if "--check" in sys.argv:
        for path in sys.argv[sys.argv.index("--check") + 1:]:
            check(path)
    elif "--serve" in sys.argv:
        serve()
    else:
        for method in ("lsd", "psd-m", "diagonal", "sample"):
            for variant in variants():
                reply(measure(variant, "small", method, 64 if method == "sample" else 32, 2))


if __name__ == "__main__":
    main()
