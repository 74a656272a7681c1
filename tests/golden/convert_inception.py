"""The FID weights of Inception-v3 as a safetensors file for `FLOWMAP_INCEPTION`.

    python convert_inception.py pt_inception-2015-12-05-6726825d.pth inception.safetensors

The .pth file is the public PyTorch port of TensorFlow's inception-2015-12-05, as pytorch-fid uses it
(release `fid_weights` of github.com/mseitzer/pytorch-fid). Needs torch and safetensors. Tensors keep
their names and values; the counters of the batch norms and the classifier's head are left out.
"""
import sys

import torch
from safetensors.torch import save_file

source, target = sys.argv[1:3]
tensors = {name: tensor.float().contiguous()
           for name, tensor in torch.load(source, map_location="cpu", weights_only=True).items()
           if not name.endswith("num_batches_tracked") and not name.startswith(("fc.", "AuxLogits."))}
save_file(tensors, target)
print(f"{len(tensors)} tensors, expected 470")
