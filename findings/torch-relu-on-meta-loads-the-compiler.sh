#!/usr/bin/env bash
# The first ReLU on torch's device meta loads torch._dynamo and sympy; so do the first optimiser, torch.func.grad and torchvision.
#
# Expected: tensors on the device meta, which has shapes and no numbers, are the cheap way to ask a network for its shapes; nothing is compiled.
# Seen:     torch 2.15.0, torchvision 0.29.2. The first element-wise operation or dense layer on meta (also 10 ** tensor, nn.init.normal_,
#           which custom initialisations call) imports 913 modules, among them torch._dynamo and sympy; a convolution on meta, and empty_like
#           of a meta tensor on the CPU, import sympy's 486. torch.optim.SGD and Adam import as much on construction, torch.func.grad on its
#           first call, torchvision when it is imported (through roi_align). backward(), vmap and uniform numbers on meta import none of it.
#           A batch of no images on the CPU, torch.empty(0, 3, h, w), passes through convolution, batch norm, ReLU and dense layer and
#           gives the same shapes, and loads nothing.
# Matters:  1.1 seconds of CPU in each process, 70 % of what `import torch` takes: each worker of a pool pays it, for a dry run of a small
#           network or an optimiser that is never compiled. Where workers are forked, load it before.
# Source:   the calls below; torch._refs and the optimisers' methods are wrapped by torch._compile._disable_dynamo, which imports
#           torch._dynamo on the first call.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/python -m pip install -qq --disable-pip-version-check torch==2.15.0 torchvision==0.29.2
cat > look.py <<'PY'
import subprocess, sys

CASES = {
    "uniform on meta": "nn.init.uniform_(torch.empty(3, device='meta'))",
    "conv on meta": "nn.Conv2d(3, 8, 3, device='meta')(torch.empty(2, 3, 9, 9, device='meta'))",
    "relu on meta": "torch.empty(2, 3, device='meta').relu()",
    "normal on meta": "nn.init.normal_(torch.empty(3, device='meta'))",
    "no images": "nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(392, 4)).eval()"
    "(torch.empty(0, 3, 9, 9))",
    "backward": "nn.Linear(3, 4)(torch.zeros(2, 3)).sum().backward()",
    "vmap": "torch.vmap(torch.sum)(torch.zeros(2, 2))",
    "func.grad": "torch.func.grad(torch.sum)(torch.zeros(2))",
    "SGD": "torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)",
    "torchvision": "__import__('torchvision')",
}
for name, code in CASES.items():
    line = f"import sys, torch; from torch import nn; {code}; print([m for m in ('torch._dynamo', 'sympy') if m in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", line], capture_output=True, text=True, check=True).stdout
    print(f"{name}: {loaded.strip()}")
PY
env/bin/python -c 'import torch; print(torch.__version__.split("+")[0])' > seen
env/bin/python look.py >> seen
cat seen
expected="2.15.0
uniform on meta: []
conv on meta: ['sympy']
relu on meta: ['torch._dynamo', 'sympy']
normal on meta: ['torch._dynamo', 'sympy']
no images: []
backward: []
vmap: []
func.grad: ['torch._dynamo', 'sympy']
SGD: ['torch._dynamo', 'sympy']
torchvision: ['torch._dynamo', 'sympy']"
[ "$(cat seen)" = "$expected" ] && echo "as described" && exit 0
echo "this has changed" && exit 1
