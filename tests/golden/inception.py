"""Golden features of Inception-v3: an independent implementation in PyTorch, written from the
network's description (Szegedy et al. 2016; the pools of the port for FID), with made-up weights.

Weights and images come from Philox4x32-10, written down here a second time, so that the test makes
the same ones: value i of tensor k is word i mod 4 of block i / 4 of the stream k, seed 7, as 24
bits on [0, 1). See README.md for how to run it.
"""
import os

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from safetensors.torch import save_file

SEED = 7


def uniform(stream, shape):
    count = int(np.prod(shape))
    blocks = (count + 3) // 4
    c = [np.arange(blocks, dtype=np.uint64), np.zeros(blocks, np.uint64),
         np.zeros(blocks, np.uint64), np.full(blocks, stream, np.uint64)]
    k0, k1, low = SEED, 0, np.uint64(0xFFFFFFFF)
    for _ in range(10):
        a, b = np.uint64(0xD2511F53) * c[0], np.uint64(0xCD9E8D57) * c[2]
        c = [(b >> np.uint64(32)) ^ c[1] ^ np.uint64(k0), b & low,
             (a >> np.uint64(32)) ^ c[3] ^ np.uint64(k1), a & low]
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    words = np.stack(c, 1).reshape(-1)[:count]
    values = (words >> np.uint64(8)).astype(np.float64) * 2.0 ** -24
    return torch.from_numpy(values.reshape(shape)).float()


class Conv(nn.Module):
    def __init__(self, i, o, kernel, stride=1, padding=0):
        super().__init__()
        self.conv = nn.Conv2d(i, o, kernel, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(o, eps=0.001)

    def forward(self, x):
        return F.relu(self.bn(self.conv(x)))


def average(x):
    return F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)


class A(nn.Module):
    def __init__(self, i, pool):
        super().__init__()
        self.branch1x1 = Conv(i, 64, 1)
        self.branch5x5_1, self.branch5x5_2 = Conv(i, 48, 1), Conv(48, 64, 5, padding=2)
        self.branch3x3dbl_1 = Conv(i, 64, 1)
        self.branch3x3dbl_2 = Conv(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = Conv(96, 96, 3, padding=1)
        self.branch_pool = Conv(i, pool, 1)

    def forward(self, x):
        five = self.branch5x5_2(self.branch5x5_1(x))
        three = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch1x1(x), five, three, self.branch_pool(average(x))], 1)


class B(nn.Module):
    def __init__(self, i):
        super().__init__()
        self.branch3x3 = Conv(i, 384, 3, 2)
        self.branch3x3dbl_1 = Conv(i, 64, 1)
        self.branch3x3dbl_2 = Conv(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = Conv(96, 96, 3, 2)

    def forward(self, x):
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch3x3(x), double, F.max_pool2d(x, 3, 2)], 1)


class C(nn.Module):
    def __init__(self, i, c):
        super().__init__()
        row, column = dict(kernel=(1, 7), padding=(0, 3)), dict(kernel=(7, 1), padding=(3, 0))
        self.branch1x1 = Conv(i, 192, 1)
        self.branch7x7_1 = Conv(i, c, 1)
        self.branch7x7_2, self.branch7x7_3 = Conv(c, c, **row), Conv(c, 192, **column)
        self.branch7x7dbl_1 = Conv(i, c, 1)
        self.branch7x7dbl_2, self.branch7x7dbl_3 = Conv(c, c, **column), Conv(c, c, **row)
        self.branch7x7dbl_4, self.branch7x7dbl_5 = Conv(c, c, **column), Conv(c, 192, **row)
        self.branch_pool = Conv(i, 192, 1)

    def forward(self, x):
        y = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x)))
        z = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(x)))
        z = self.branch7x7dbl_5(self.branch7x7dbl_4(z))
        return torch.cat([self.branch1x1(x), y, z, self.branch_pool(average(x))], 1)


class D(nn.Module):
    def __init__(self, i):
        super().__init__()
        self.branch3x3_1, self.branch3x3_2 = Conv(i, 192, 1), Conv(192, 320, 3, 2)
        self.branch7x7x3_1 = Conv(i, 192, 1)
        self.branch7x7x3_2 = Conv(192, 192, (1, 7), padding=(0, 3))
        self.branch7x7x3_3 = Conv(192, 192, (7, 1), padding=(3, 0))
        self.branch7x7x3_4 = Conv(192, 192, 3, 2)

    def forward(self, x):
        y = self.branch7x7x3_3(self.branch7x7x3_2(self.branch7x7x3_1(x)))
        return torch.cat([self.branch3x3_2(self.branch3x3_1(x)), self.branch7x7x3_4(y),
                          F.max_pool2d(x, 3, 2)], 1)


class E(nn.Module):
    def __init__(self, i, pool):
        super().__init__()
        self.pool = pool
        self.branch1x1, self.branch3x3_1 = Conv(i, 320, 1), Conv(i, 384, 1)
        self.branch3x3_2a = Conv(384, 384, (1, 3), padding=(0, 1))
        self.branch3x3_2b = Conv(384, 384, (3, 1), padding=(1, 0))
        self.branch3x3dbl_1, self.branch3x3dbl_2 = Conv(i, 448, 1), Conv(448, 384, 3, padding=1)
        self.branch3x3dbl_3a = Conv(384, 384, (1, 3), padding=(0, 1))
        self.branch3x3dbl_3b = Conv(384, 384, (3, 1), padding=(1, 0))
        self.branch_pool = Conv(i, 192, 1)

    def forward(self, x):
        y, z = self.branch3x3_1(x), self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        pooled = average(x) if self.pool == "average" else F.max_pool2d(x, 3, 1, 1)
        return torch.cat([self.branch1x1(x), self.branch3x3_2a(y), self.branch3x3_2b(y),
                          self.branch3x3dbl_3a(z), self.branch3x3dbl_3b(z),
                          self.branch_pool(pooled)], 1)


class Inception(nn.Module):
    def __init__(self):
        super().__init__()
        self.Conv2d_1a_3x3 = Conv(3, 32, 3, 2)
        self.Conv2d_2a_3x3 = Conv(32, 32, 3)
        self.Conv2d_2b_3x3 = Conv(32, 64, 3, padding=1)
        self.Conv2d_3b_1x1 = Conv(64, 80, 1)
        self.Conv2d_4a_3x3 = Conv(80, 192, 3)
        self.Mixed_5b, self.Mixed_5c, self.Mixed_5d = A(192, 32), A(256, 64), A(288, 64)
        self.Mixed_6a = B(288)
        self.Mixed_6b, self.Mixed_6c = C(768, 128), C(768, 160)
        self.Mixed_6d, self.Mixed_6e = C(768, 160), C(768, 192)
        self.Mixed_7a = D(768)
        self.Mixed_7b, self.Mixed_7c = E(1280, "average"), E(2048, "max")

    def forward(self, x):
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(F.max_pool2d(x, 3, 2)))
        x = F.max_pool2d(x, 3, 2)
        for name, block in self.named_children():
            if name.startswith("Mixed"):
                x = block(x)
        return x.mean((2, 3))


def fill(net):
    """Weights uniform with variance 2 / fan-in, batch norms near the identity; returns their list."""
    names = [n for n in sorted(net.state_dict()) if not n.endswith("num_batches_tracked")]
    state, layers = {}, []
    for k, name in enumerate(names):
        shape = tuple(net.state_dict()[name].shape)
        u = uniform(k, shape)
        if name.endswith("conv.weight"):
            u = (2 * u - 1) * np.float32(np.sqrt(6 / np.prod(shape[1:])))
        elif name.endswith(("bn.weight", "bn.running_var")):
            u = 0.5 + u
        else:
            u = 0.5 * (u - 0.5)
        state[name] = u
        layers.append(name + " " + " ".join(map(str, shape)))
    net.load_state_dict(state, strict=False)
    return layers


def tf1_bilinear(x, side):
    """Of a batch (N, H, W, C) in float64: pixel i of the result lies at i n / side."""
    for axis in (1, 2):
        n = x.shape[axis]
        at = np.arange(side) * (n / side)
        low = np.floor(at).astype(int)
        high, part = np.minimum(low + 1, n - 1), at - low
        part = part.reshape([-1 if a == axis else 1 for a in range(4)])
        x = np.take(x, low, axis) * (1 - part) + np.take(x, high, axis) * part
    return x


def main():
    torch.manual_seed(0)
    net = Inception().eval()
    layers = fill(net)
    net = net.double()
    images = 2.4 * uniform(10000, (2, 32, 32, 3)).double() - 1.2  # some of it must be clipped
    with torch.no_grad():
        x = images.clamp(-1, 1).permute(0, 3, 1, 2)
        paper = net(F.interpolate(x, size=(299, 299), mode="bilinear", align_corners=False))
        byte = np.floor((images.clamp(-1, 1).numpy() + 1) * 127.5 + 0.5)
        x = torch.from_numpy((tf1_bilinear(byte, 299) - 128) / 128).permute(0, 3, 1, 2)
        legacy = net(x)
    print("paper ", paper[0, :4], paper.abs().max(), paper.std(0).mean())
    print("legacy", legacy[0, :4], legacy.abs().max())
    here = os.path.dirname(os.path.abspath(__file__))
    save_file({"paper": paper.float().contiguous(), "legacy": legacy.float().contiguous()},
              os.path.join(here, "inception.safetensors"),
              metadata={"layers": "; ".join(layers), "torch": torch.__version__})


main()
