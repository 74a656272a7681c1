#!/usr/bin/env python3
"""3x3 convolutions in PyTorch (oneDNN), for tests/bench/conv.c: lines "in out size fwd bwd_d bwd_w"
of GF/s, direct FLOPs, two threads on 32 images, per second of processor time, times two, as there.

    python3 peer_conv.py IN OUT SIZE [IN OUT SIZE ...]
"""
import os
import sys
import time

os.environ["OMP_WAIT_POLICY"] = "PASSIVE"  # a thread that waits spends no processor time
try:
    import torch  # noqa: E402
except ImportError:
    sys.exit("this Python has no PyTorch")

IMAGES, THREADS, SECONDS = 32, 2, 0.25


def best(run):
    least, start = 1e9, time.perf_counter()
    while time.perf_counter() - start < SECONDS or least == 1e9:
        t = time.process_time()
        run()
        least = min(least, (time.process_time() - t) / THREADS)
    return least


def main():
    torch.set_num_threads(THREADS)
    numbers = [int(a) for a in sys.argv[1:]]
    for i, o, size in zip(numbers[::3], numbers[1::3], numbers[2::3]):
        last = torch.channels_last
        x = torch.randn(IMAGES, i, size, size).to(memory_format=last)
        dy = torch.randn(IMAGES, o, size, size).to(memory_format=last)
        w = torch.randn(o, i, 3, 3).to(memory_format=last)

        def backward(of_x, of_w):
            return torch.ops.aten.convolution_backward(
                dy, x, w, None, [1, 1], [1, 1], [1, 1], False, [0, 0], 1, [of_x, of_w, False])

        with torch.no_grad():
            runs = (lambda: torch.conv2d(x, w, padding=1), lambda: backward(True, False),
                    lambda: backward(False, True))
            rates = [18e-9 * IMAGES * size * size * i * o / best(run) for run in runs]
        print(i, o, size, *("%.0f" % r for r in rates), flush=True)


if __name__ == "__main__":
    print("PyTorch", torch.__version__, flush=True)
    main()
