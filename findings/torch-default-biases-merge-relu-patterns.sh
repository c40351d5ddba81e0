#!/usr/bin/env bash
# In a deep ReLU network fresh from torch, all inputs share one ON/OFF pattern in the last layers: the default biases do it.
#
# Expected: patterns of an untrained network are about as many as inputs, in every layer; that few are left in deep layers is
#           what training does.
# Seen:     torch 2.9.1, ten nn.Linear of 100 units with ReLU, the 1,797 digits of scikit-learn 1.9.1, three seeds: 1,794 to
#           1,797 patterns in layer 1, at most 25 in layer 6, one or two in layers 8 to 10. The default weights, U(+-1/sqrt(n)), shrink
#           a signal to a sixth of its variance in each layer, the default biases, U(+-1/sqrt(n)), do not shrink: from the
#           middle on a unit's sign is that of its bias plus a constant. With the same weights and zero biases, and with He's
#           weights and zero biases, more than 1,500 patterns are left in every layer.
# Matters:  "deeper layers have fewer patterns" can be measured before a single step of training. Studies that count activation
#           patterns, linear regions or duplicate encodings must name their initialisation.
# Source:   the layers' reset_parameters, https://docs.pytorch.org/docs/stable/generated/torch.nn.Linear.html
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip install -qq --disable-pip-version-check torch==2.9.1 scikit-learn==1.9.1 2> /dev/null
cat > show.py <<'PY'
import torch
from sklearn.datasets import load_digits
from torch import nn

x = torch.tensor(load_digits().data / 16, dtype=torch.float32)


def patterns(change, seed):
    """Different ON/OFF patterns of the digits in each of ten layers."""
    torch.manual_seed(seed)
    z, found = x, []
    for _ in range(10):
        layer = nn.Linear(z.shape[1], 100)
        change(layer)
        with torch.no_grad():
            z = layer(z).relu()
        found.append(len(torch.unique(z > 0, dim=0)))
    return found


def default(layer):
    pass


def zero_biases(layer):
    nn.init.zeros_(layer.bias)


def he(layer):
    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    nn.init.zeros_(layer.bias)


as_described = True
for seed in range(3):
    for change in (default, zero_biases, he):
        found = patterns(change, seed)
        print(f"seed {seed}, {change.__name__}: {found}")
        if change is default:
            as_described &= found[0] > 1700 and max(found[7:]) <= 3
        else:
            as_described &= min(found) > 1500
print("as described" if as_described else "this has changed")
raise SystemExit(not as_described)
PY
venv/bin/python show.py
