#!/usr/bin/env bash
# Quantus' SensitivityN scores the images of the first batch and ignores all others.
#
# Expected: a score of 8 images depends on 8 maps, and not on how many images go through the network at once.
# Seen:     quantus 0.6.0: the same images, maps and network score 0.433, 0.212 and 0.333 with batches of 8, 4 and 2. With batches of 2 the
#           score stays 0.333 when the maps of images 3 to 8 are turned over; with a batch of 8 it falls to -0.003. ROAD reads the
#           first batch alone too. Nothing is raised.
# Matters:  the default is batch_size=64: of a test set of 10,000 images 64 are scored, and what is reported as a mean over all is
#           not one.
# Source:   the figures below; quantus/metrics/faithfulness/sensitivity_n.py reads evaluation_scores[0], a list with an entry per batch.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/python -m pip install -qq --disable-pip-version-check quantus==0.6.0 torch==2.15.0 numpy==2.4.6
cat > show.py <<'PY'
import warnings
from importlib.metadata import version

import numpy as np
import quantus
import torch
from torch import nn

warnings.simplefilter("ignore")
torch.manual_seed(0)
net = nn.Sequential(nn.Flatten(), nn.Linear(64, 4)).eval()
x = np.random.default_rng(0).random((8, 1, 8, 8), np.float32)
y = net(torch.from_numpy(x)).argmax(1).numpy()
maps = net[1].weight.detach().numpy()[y].reshape(x.shape) * x
turned = np.concatenate([maps[:2], -maps[2:]])


def score(maps, size):
    metric = quantus.SensitivityN(features_in_step=8, disable_warnings=True)
    return metric(
        net, x_batch=x, y_batch=y, a_batch=maps, batch_size=size, device="cpu"
    )[0]


print(f"quantus {version('quantus')}")
for size in (8, 4, 2):
    print(f"batches of {size}: {score(maps, size):.3f}, "
          f"maps 3 to 8 turned over: {score(turned, size):.3f}")
PY
env/bin/python show.py | tee seen
expected="quantus 0.6.0
batches of 8: 0.433, maps 3 to 8 turned over: -0.003
batches of 4: 0.212, maps 3 to 8 turned over: 0.146
batches of 2: 0.333, maps 3 to 8 turned over: 0.333"
[ "$(cat seen)" = "$expected" ] && echo "as described" && exit 0
echo "this has changed" && exit 1
