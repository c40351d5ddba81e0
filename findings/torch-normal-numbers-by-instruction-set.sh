#!/usr/bin/env bash
# The same seed gives other normal random numbers in torch on a CPU with other vector instructions.
#
# Expected: the CPU generator is a Mersenne twister; with the same seed, version and thread count its numbers are the same on
#           every x86 machine. torch's notes on reproducibility name operations, devices and releases, not the generator.
# Seen:     torch 2.15.0: between the kernels for AVX2 and those without vector instructions (ATEN_CPU_CAPABILITY=default, what
#           a CPU without AVX2 gets) 39 % of 10,000 numbers of randn differ, by up to 1.5e-6; torch.rand is the same. Fifteen
#           numbers are the same too: from sixteen on the Box-Muller transform is vectorised, with another logarithm and cosine. The weights of
#           nn.Linear(32, 10) differ as well, by a unit in the last place: scaling to a range is a fused multiply-add or is not.
# Matters:  "same seed" initial weights are not the same bits before a single step of training, so a network cannot be expected to
#           repeat on another machine; use_deterministic_algorithms(True) changes nothing about it.
# Source:   the numbers below; aten/src/ATen/native/cpu/DistributionTemplates.h (normal_fill, normal_fill_AVX2). Needs an x86 CPU with AVX2.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/python -m pip install -qq --disable-pip-version-check torch==2.15.0 numpy==2.4.6
cat > draw.py <<'PY'
import sys

import numpy as np
import torch

torch.use_deterministic_algorithms(True)
torch.set_num_threads(1)
draws = {
    "rand(10000)": lambda: torch.rand(10_000),
    "randn(15)": lambda: torch.randn(15),
    "randn(10000)": lambda: torch.randn(10_000),
    "Linear(32, 10)": lambda: torch.nn.Linear(32, 10).weight.detach(),
}
torch.manual_seed(0)
np.savez(sys.argv[1], **{name: draw().numpy() for name, draw in draws.items()})
print(torch.backends.cpu.get_cpu_capability())
PY
cat > show.py <<'PY'
import numpy as np
import torch

a, b = np.load("avx2.npz"), np.load("default.npz")
print(f"torch {torch.__version__.split('+')[0]}")
for name in a.files:
    share, most = (a[name] != b[name]).mean(), np.abs(a[name] - b[name]).max()
    print(f"{name}: {share:.0%} differ, by {most:.1e} at most")
PY
ATEN_CPU_CAPABILITY=avx2 env/bin/python draw.py avx2.npz
ATEN_CPU_CAPABILITY=default env/bin/python draw.py default.npz
env/bin/python show.py | tee seen
expected="torch 2.15.0
rand(10000): 0% differ, by 0.0e+00 at most
randn(15): 0% differ, by 0.0e+00 at most
randn(10000): 39% differ, by 1.5e-06 at most
Linear(32, 10): 49% differ, by 1.5e-08 at most"
[ "$(cat seen)" = "$expected" ] && echo "as described" && exit 0
echo "this has changed" && exit 1
