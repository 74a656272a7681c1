#!/usr/bin/env python3
"""Golden values of precision, recall, density and coverage, by the authors' package `prdc`.

    python make_prdc.py [FOLDER]        writes FOLDER/prdc.safetensors (default: this folder)
"""

import os
import sys

import numpy as np
from prdc import compute_prdc
from safetensors.numpy import save_file

VALUES = ["precision", "recall", "density", "coverage"]


def main():
    draw = np.random.default_rng(20)
    real = draw.standard_normal((90, 4))
    fake = 0.8 * draw.standard_normal((70, 4)) + np.array([0.7, 0, 0, 0])
    tensors = {"real": real, "fake": fake}
    for k in (1, 3, 5):
        it = compute_prdc(real_features=real, fake_features=fake, nearest_k=k)
        tensors["k%d" % k] = np.array([it[name] for name in VALUES])
        print(k, it)
    folder = sys.argv[1] if len(sys.argv) > 1 else os.path.dirname(os.path.abspath(__file__))
    save_file(tensors, os.path.join(folder, "prdc.safetensors"),
              metadata={"prdc": "0.2", "order": " ".join(VALUES)})


main()
