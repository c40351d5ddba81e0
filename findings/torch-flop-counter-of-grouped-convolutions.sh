#!/usr/bin/env bash
# torch's FlopCounterMode counts the backward pass of a grouped convolution as if its weights had no groups.
#
# Expected: the backward pass of a convolution is two convolutions of the size of the forward one (gradients of input and of
#           weights), so twice its operations, however many groups it has; eight networks under vmap cost eight times one.
# Seen:     torch 2.15.0: backward over forward is 2 for one group, 5 for 4 and 65 for 64 groups (a depthwise layer): g + 1. The
#           forward pass is right. vmap turns convolutions of K networks into one with K groups, so that the gradients of eight networks
#           are counted as 36 times those of one.
# Matters:  costs of depthwise networks (MobileNet, EfficientNet, ConvNeXt) and of model ensembles under vmap, which papers report from
#           this counter, are wrong by the number of groups; nothing is raised.
# Source:   the ratios below; torch/utils/flop_counter.py, conv_backward_flop, passes on shapes without the groups.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/python -m pip install -qq --disable-pip-version-check torch==2.15.0 numpy==2.4.6
cat > show.py <<'PY'
import torch
from torch.nn.functional import conv2d
from torch.utils.flop_counter import FlopCounterMode


def counted(function, *arguments):
    with FlopCounterMode(display=False) as counter:
        out = function(*arguments)
    return out, counter.get_total_flops()


print(f"torch {torch.__version__.split('+')[0]}")
for groups in (1, 4, 64):
    layer = torch.nn.Conv2d(64, 64, 3, padding=1, groups=groups, bias=False)
    y, forward = counted(layer, torch.rand(2, 64, 16, 16, requires_grad=True))
    _, backward = counted(y.sum().backward)
    print(f"{groups} groups: backward is {backward / forward:g} x forward")

gradient = torch.func.grad(lambda w, x: conv2d(x, w, padding=1).square().sum())
w, x = torch.rand(8, 16, 16, 3, 3), torch.rand(8, 2, 16, 8, 8)
_, one = counted(gradient, w[0], x[0])
_, eight = counted(torch.vmap(gradient), w, x)
print(f"gradients of 8 networks under vmap: {eight / one:g} x one")
PY
env/bin/python show.py | tee seen
expected="torch 2.15.0
1 groups: backward is 2 x forward
4 groups: backward is 5 x forward
64 groups: backward is 65 x forward
gradients of 8 networks under vmap: 36 x one"
[ "$(cat seen)" = "$expected" ] && echo "as described" && exit 0
echo "this has changed" && exit 1
