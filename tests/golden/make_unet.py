#!/usr/bin/env python3
"""Golden values of the EDM2 flow-map U-Net, in PyTorch, in float64, on the CPU.

    python make_unet.py [FOLDER]      writes FOLDER/unet-*.safetensors (default: this folder)

Written from the network's description alone, one image at a time in channels-first order, with
convolutions as sums over shifted images, so that it shares nothing with the Lua that it checks. README.md tells versions and what the files hold.

Weights, masks and projections are no part of the files: both sides make them from the tensor's
name and the value's place by `numbers`, in operations that IEEE arithmetic fixes to the last bit.
"""

import os
import sys

import numpy as np
import torch
from safetensors.numpy import save_file
from torch.func import jvp

torch.set_default_dtype(torch.float64)
torch.set_num_threads(1)

SIGMA, B, ETA, DROPOUT = 0.5, 5, 0.6, 0.3
PHI = 0.6180339887498949

# name: resolution, model_channels, mult, num_blocks, attention, classes
NETS = {
    "small": (16, 8, (1, 2), 1, (16,), 0),      # attention with fewer than 64 channels
    "heads": (8, 64, (1, 2), 1, (4,), 5),       # two heads of 64; classes
    "levels": (8, 12, (1, 2, 3), 2, (8, 2), 3),  # three levels, attention at two of them
}

# ------------------------------------------------------------------ numbers from names


def numbers(name, shape):
    """frac(k^2 phi) for k from a hash of the name on: numbers on [0, 1) in row-major order."""
    h = 2166136261
    for c in name.encode():  # FNV-1a
        h = (h ^ c) * 16777619 % 2 ** 32
    k = np.arange(int(np.prod(shape, dtype=int)), dtype=np.float64) + float(h % 2 ** 20)
    x = k * k * PHI
    return (x - np.floor(x)).reshape(shape)


def parameters(shapes):
    """Weights of mean square 3/4, so that their normalisation matters; gains on [0.5, 1.5)."""
    return {name: 0.5 + numbers(name, shape) if shape == () else 3 * (numbers(name, shape) - 0.5)
            for name, shape in shapes.items()}


# ------------------------------------------------------------------ layers


def normalize(x, axes):
    n = np.prod([x.shape[a] for a in axes])
    return x / (1e-4 + torch.sqrt(torch.sum(x * x, dim=axes, keepdim=True)) / np.sqrt(n))


def mp_sum(a, b, r):
    return ((1 - r) * a + r * b) / np.sqrt((1 - r) ** 2 + r ** 2)


def mp_cat(a, b):
    na, nb, r = a.shape[0], b.shape[0], 0.5
    c = np.sqrt((na + nb) / ((1 - r) ** 2 + r ** 2))
    return torch.cat([a * (c / np.sqrt(na) * (1 - r)), b * (c / np.sqrt(nb) * r)])


def mp_silu(x):
    return x / (1 + torch.exp(-x)) / 0.596


def mp_conv(w, x, gain=1.0):
    """w: (out, in) on a vector, (out, kh, kw, in) on an image (in, H, W)."""
    fan_in = np.prod(w.shape[1:])
    w = normalize(w, tuple(range(1, w.ndim))) * gain / np.sqrt(fan_in)
    if w.ndim == 2:
        return w @ x
    (_, kh, kw, _), (_, H, W) = w.shape, x.shape
    padded = torch.nn.functional.pad(x, (kw // 2, kw // 2, kh // 2, kh // 2))
    return sum(torch.tensordot(w[:, i, j], padded[:, i:i + H, j:j + W], 1)
               for i in range(kh) for j in range(kw))


def time_code(a, dim):
    f = torch.exp(-np.log(10000) * torch.arange(dim // 2) / (dim // 2))
    return np.sqrt(2) * torch.cat([torch.cos(a * f), torch.sin(a * f)])


def attention(p, at, x):
    c, H, W = x.shape
    heads = max(1, c // 64)
    y = mp_conv(p[at + ".attn_qkv"], x).reshape(heads, c // heads, 3, H * W)
    q, k, v = (normalize(y[:, :, i], (1,)) for i in range(3))
    score = torch.einsum("hcq,hck->hqk", q, k) / np.sqrt(c // heads)
    a = torch.softmax(score, dim=-1)
    y = torch.einsum("hqk,hck->hcq", a, v).reshape(c, H, W)
    return mp_sum(x, mp_conv(p[at + ".attn_proj"], y), 0.3)


# ------------------------------------------------------------------ the network


def resample(x, mode):
    c, H, W = x.shape
    if mode == "down":
        return x.reshape(c, H // 2, 2, W // 2, 2).mean((2, 4))
    if mode == "up":
        return x.repeat_interleave(2, 1).repeat_interleave(2, 2)
    return x


class Net:
    """Walks the blocks once to learn the parameters' shapes, then to compute."""

    def __init__(self, res, base, mult, blocks, attn, classes):
        self.res, self.blocks, self.attn, self.classes = res, blocks, attn, classes
        self.base, self.channels = base, [base * m for m in mult]
        self.emb = max(self.channels)
        self.shapes = {}
        d = base * mult[0]
        self.shapes["emb_s"] = self.shapes["emb_dt"] = (self.emb, d)
        if classes:
            self.shapes["emb_label"] = (self.emb, classes)
        self.shapes["weight"] = (1, 128)
        self.shapes["out_conv"] = (3, 3, 3, self.channels[0])
        self.shapes["out_gain"] = ()
        self.walk(None, torch.zeros(self.emb), torch.zeros(4, res, res), None)

    def conv(self, p, name, shape, x, gain=1.0):
        if p is None:
            self.shapes[name] = shape
            return torch.zeros(shape[:1] + tuple(x.shape[1:]))
        assert self.shapes[name] == shape
        return mp_conv(p[name], x, gain)

    def block(self, p, at, x, emb, out, dec=False, mode=None, attn=False, masks=None):
        x = resample(x, mode)
        skip = lambda x: x if len(x) == out else \
            self.conv(p, at + ".conv_skip", (out, 1, 1, len(x)), x)
        if not dec:
            x = normalize(skip(x), (0,))
        y = self.conv(p, at + ".conv_res0", (out, 3, 3, len(x)), mp_silu(x))
        if p is None:
            self.shapes[at + ".emb_gain"] = ()
        c = self.conv(p, at + ".emb_linear", (out, self.emb), emb, p and p[at + ".emb_gain"])
        y = mp_silu(y * (1 + c[:, None, None]))
        if masks is not None:
            y = y * masks[at].permute(2, 0, 1)
        y = self.conv(p, at + ".conv_res1", (out, 3, 3, out), y)
        x = mp_sum(skip(x) if dec else x, y, 0.3)
        if attn and p is None:
            self.shapes[at + ".attn_qkv"] = (3 * out, 1, 1, out)
            self.shapes[at + ".attn_proj"] = (out, 1, 1, out)
        elif attn:
            x = attention(p, at, x)
        return torch.clip(x, -256, 256)

    def walk(self, p, emb, x, masks):
        skips, last = [], len(self.channels) - 1
        step = lambda at, x, out, **how: self.block(p, at, x, emb, out, masks=masks, **how)
        for level, out in enumerate(self.channels):
            r = self.res >> level
            name = f"enc.{r}x{r}_"
            if level == 0:
                x = self.conv(p, name + "conv", (out, 3, 3, 4), x)
            else:
                x = step(name + "down", x, len(x), mode="down")
            skips.append(x)
            for k in range(self.blocks):
                x = step(f"{name}block{k}", x, out, attn=r in self.attn)
                skips.append(x)
        for level in range(last, -1, -1):
            r, out = self.res >> level, self.channels[level]
            name = f"dec.{r}x{r}_"
            if level == last:
                x = step(name + "in0", x, len(x), dec=True, attn=True)
                x = step(name + "in1", x, len(x), dec=True)
            else:
                x = step(name + "up", x, len(x), dec=True, mode="up")
            for k in range(self.blocks + 1):
                x = step(f"{name}block{k}", mp_cat(x, skips.pop()), out, dec=True,
                         attn=r in self.attn)
        assert not skips
        return x

    def v(self, p, s, t, x, label=None, masks=None):
        """v_{s,t}(x) of one image x: (H, W, 3); a label below 0 is none of the classes."""
        d = self.channels[0]
        emb = mp_sum(mp_conv(p["emb_s"], time_code(s, d)),
                     mp_conv(p["emb_dt"], time_code(t - s, d)), 0.5)
        if self.classes:
            one_hot = (torch.arange(self.classes) == label) * 1.0
            emb = mp_sum(emb, mp_conv(p["emb_label"], one_hot * np.sqrt(self.classes)), 0.5)
        image = torch.cat([x.permute(2, 0, 1) / SIGMA, torch.ones(1, self.res, self.res)])
        y = self.walk(p, mp_silu(emb), image, masks)
        return SIGMA * mp_conv(p["out_conv"], y, p["out_gain"]).permute(1, 2, 0)

    def w(self, p, s, t):
        """The learned weight w(s,t)."""
        return mp_conv(p["weight"], mp_sum(time_code(s, 128), time_code(t, 128), 0.5))[0]


# ------------------------------------------------------------------ losses of one image


def X(v, s, t, x):
    return x + (t - s) * v(s, t, x)


def along(f, x, dx):
    """d/dh f(x + h dx) at h = 0, and f(x)."""
    value, tangent = jvp(f, (x,), (dx,))
    return tangent, value


def lsd(v, s, t, x):
    d, moved = along(lambda r: X(v, s, r, x), t, torch.ones_like(t))
    return torch.sum((d - v(t, t, moved).detach()) ** 2)


def esd(v, s, t, x):
    d = along(lambda r: X(v, r, t, x), s, torch.ones_like(s))[0]
    advection = along(lambda y: X(v, s, t, y), x, v(s, s, x))[0]
    return torch.sum((d + advection.detach()) ** 2)


def psd_m(v, s, t, x):
    u = (s + t) / 2
    mean = (v(s, u, x) + v(u, t, X(v, s, u, x))) / 2
    return torch.sum((v(s, t, x) - mean.detach()) ** 2)


def losses(net, loss, p, data, masks):
    """exp(-w) L + w of every row; the first rows are diagonal, with dropout."""
    nd, out = int(ETA * B), []
    for k in range(B):
        a, c, x0, x1, label = (data[key][k] for key in ("a", "c", "x0", "x1", "label"))
        s, t = (a, a) if k < nd else (torch.minimum(a, c), torch.maximum(a, c))
        x = (1 - s) * x0 + s * x1
        if k < nd:
            mask = {at: m[k] for at, m in masks.items()}
            L = torch.sum((net.v(p, s, s, x, label, mask) - (x1 - x0)) ** 2)
        else:
            L = loss(lambda s, t, x: net.v(p, s, t, x, label), s, t, x)
        w = net.w(p, s, t)
        out.append(torch.exp(-w) * L + w)
    return torch.stack(out)


# ------------------------------------------------------------------ files


def project(grads):
    """Per tensor, in the order of the names' parts: three projections and the norm."""
    rows = []
    for name in sorted(grads, key=lambda n: n.split(".")):
        g = grads[name]
        rows.append([np.sum(g * (numbers(f"{name} {k}", g.shape) - 0.5)) for k in (1, 2, 3)]
                    + [np.sqrt(np.sum(g * g))])
    return np.array(rows)


def masks_of(net, rows):
    """Dropout masks of every block, scaled, for the first rows: {block: (rows, H, W, channels)}"""
    blocks = {name[:-len(".conv_res1")]: shape[0] for name, shape in net.shapes.items()
              if name.endswith(".conv_res1")}
    out = {}
    for at, c in blocks.items():
        r = int(at.split(".")[1].split("x")[0])
        kept = numbers("mask " + at, (rows, r, r, c)) >= DROPOUT
        out[at] = torch.tensor(kept / (1 - DROPOUT))
    return out


def golden(net, seed):
    rng = np.random.default_rng(seed)
    image = (B, net.res, net.res, 3)
    out = {"x0": SIGMA * rng.normal(size=image), "x1": rng.uniform(-1, 1, size=image),
           "a": rng.uniform(size=B), "c": rng.uniform(size=B), "dx": rng.normal(size=image),
           "label": (np.arange(B) % (net.classes + 1) - 1).astype(np.float64)}
    data = {name: torch.tensor(x) for name, x in out.items()}
    s, t = torch.minimum(data["a"], data["c"]), torch.maximum(data["a"], data["c"])
    p = {name: torch.tensor(w) for name, w in parameters(net.shapes).items()}

    def put(name, f):
        out[name] = torch.stack([f(*row) for row in zip(
            s, t, data["x0"], data["label"], data["dx"])]).numpy()

    one = torch.ones(())
    put("v", lambda s, t, x, l, d: net.v(p, s, t, x, l))
    put("w", lambda s, t, x, l, d: net.w(p, s, t))
    put("ds", lambda s, t, x, l, d: along(lambda r: net.v(p, r, t, x, l), s, one)[0])
    put("dt", lambda s, t, x, l, d: along(lambda r: net.v(p, s, r, x, l), t, one)[0])
    put("dv", lambda s, t, x, l, d: along(lambda y: net.v(p, s, t, y, l), x, d)[0])
    masks = masks_of(net, int(ETA * B))
    for w in p.values():
        w.requires_grad_()
    for name, loss in (("lsd", lsd), ("esd", esd), ("psd-m", psd_m)):
        each = losses(net, loss, p, data, masks)
        grads = torch.autograd.grad(each.mean(), list(p.values()))
        out[name + ".loss"] = each.detach().numpy()
        out[name + ".grad"] = project({n: g.numpy() for n, g in zip(p, grads)})
    return {k: np.ascontiguousarray(x, dtype=np.float64) for k, x in out.items()}


def main(folder):
    for seed, (name, spec) in enumerate(NETS.items()):
        net = Net(*spec)
        out = golden(net, seed)
        assert all(np.isfinite(x).all() for x in out.values())
        meta = {"torch": torch.__version__, "numpy": np.__version__}
        for key, x in zip(("resolution", "model_channels", "mult", "num_blocks", "attention",
                           "classes"), spec):
            meta[key] = ",".join(map(str, x)) if isinstance(x, tuple) else str(x)
        meta |= {"sigma": str(SIGMA), "eta": str(ETA), "dropout": str(DROPOUT)}
        path = os.path.join(folder, f"unet-{name}.safetensors")
        save_file(out, path, meta)
        os.chmod(path, 0o644)
        count = sum(int(np.prod(s, dtype=int)) for s in net.shapes.values())
        print(name, count, "parameters", os.path.getsize(path), "bytes")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else os.path.dirname(os.path.abspath(__file__)))
