#!/usr/bin/env bash
# Quantus' Monotonicity never shows the network a pixel of the image: every map of every image is monotone.
#
# Expected: features are put into a blank image in the order of the map, and the score says whether the answer never falls. A
#           network whose answer falls with each pixel that is shown never passes.
# Seen:     quantus 0.6.0: True for all 12 images, with random maps, maps of bright and maps of dark pixels. The
#           network sees blank images alone: the blank image is filled with the blank value.
# Matters:  the metric gives 1 to whatever it is asked about, and a table with it says that all methods are perfect.
# Source:   the figures below; quantus/metrics/faithfulness/monotonicity.py passes x_baseline, not x, to the function that sets features to
#           the baseline.
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
rng = np.random.default_rng(0)
x = rng.random((12, 1, 8, 8), np.float32)


class Falls(nn.Module):
    """The more there is to see, the lower the answer of its only class."""

    seen = set()

    def forward(self, x):
        self.seen |= {len(image.unique()) for image in x}
        return -x.flatten(1).sum(1, keepdim=True)


net = Falls().eval()
metric = quantus.Monotonicity(
    features_in_step=8, perturb_baseline="black", disable_warnings=True
)
print(f"quantus {version('quantus')}")
for name, maps in (("random", rng.random(x.shape)), ("bright", x), ("dark", 1 - x)):
    score = metric(
        net, x_batch=x, y_batch=np.zeros(12, int), a_batch=maps, softmax=False,
        device="cpu",
    )
    print(f"{name} maps: monotone in {sum(score)} of {len(score)}")
print(f"different pixels in an image that the network has seen: {sorted(net.seen)}")
PY
env/bin/python show.py | tee seen
expected="quantus 0.6.0
random maps: monotone in 12 of 12
bright maps: monotone in 12 of 12
dark maps: monotone in 12 of 12
different pixels in an image that the network has seen: [1]"
[ "$(cat seen)" = "$expected" ] && echo "as described" && exit 0
echo "this has changed" && exit 1
