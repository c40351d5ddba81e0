#!/usr/bin/env bash
# captum's LRP loses most of the relevance where nn.Identity is the shortcut of a residual block.
#
# Expected: nn.Identity computes nothing, so a network with it and the same network with a module that returns x.clone() have the
#           same relevances; with the epsilon rule and without biases they sum to the logit.
# Seen:     captum 0.9.0, torch 2.15.0: the sum over the logit is 1.00 with clone() and 0.30 with nn.Identity, without a
#           warning. LRP hangs hooks on the tensors that go into and come out of each module; Identity's output is its input, so that the
#           hooks of three modules meet on one tensor.
# Matters:  maps of residual networks that write their shortcuts as nn.Identity are wrong, and only the sum of the relevance,
#           which is rarely looked at, shows it.
# Source:   the sums below; captum/attr/_core/lrp.py registers the hooks on tensors.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/python -m pip install -qq --disable-pip-version-check captum==0.9.0 torch==2.15.0 numpy
cat > show.py <<'PY'
import warnings
from importlib.metadata import version

import torch
from captum.attr import LRP
from captum.attr._utils.lrp_rules import EpsilonRule
from torch import nn

warnings.simplefilter("ignore")


class Clone(nn.Module):
    def forward(self, x):
        return x.clone()


class Add(nn.Module):
    def forward(self, a, b):
        return a + b


class Block(nn.Module):
    def __init__(self, shortcut):
        super().__init__()
        self.conv, self.relu = nn.Conv2d(4, 4, 3, padding=1, bias=False), nn.ReLU()
        self.shortcut, self.add = shortcut, Add()

    def forward(self, x):
        return self.add(self.relu(self.conv(x)), self.shortcut(x))


def share(shortcut):
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1, bias=False), nn.ReLU(), Block(shortcut),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3, bias=False),
    ).eval()
    for module in net.modules():
        if isinstance(module, (Add, Clone, nn.Identity, nn.Flatten)):
            module.rule = EpsilonRule()
    x = torch.rand(2, 1, 8, 8)
    relevance = LRP(net).attribute(x, target=0).flatten(1).sum(1)
    return (relevance / net(x)[:, 0]).mean().item()


print(f"captum {version('captum')}")
print(f"relevance over logit, shortcut clone(): {share(Clone()):.2f}")
print(f"relevance over logit, shortcut nn.Identity: {share(nn.Identity()):.2f}")
PY
env/bin/python show.py | tee seen
expected="captum 0.9.0
relevance over logit, shortcut clone(): 1.00
relevance over logit, shortcut nn.Identity: 0.30"
[ "$(cat seen)" = "$expected" ] && echo "as described" && exit 0
echo "this has changed" && exit 1
