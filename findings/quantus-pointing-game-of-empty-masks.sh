#!/usr/bin/env bash
# Quantus' PointingGame counts an image whose mask is empty as a hit, though its code sets such images to NaN.
#
# Expected: NaN, as the comment in the code and the other localisation metrics say of images without an object.
# Seen:     quantus 0.6.0, numpy 2.4.6: a map that misses its object scores False, the same map with an empty mask True. The scores are
#           an array of bool, and NaN that is assigned to such an array becomes True without a warning.
# Matters:  data sets with images without an object (COCO, Open Images, medical segmentation) raise the hit rate by the share of
#           these images, for every method alike.
# Source:   the figures below; quantus/metrics/localisation/pointing_game.py, the last lines of evaluate_batch.
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
from torch import nn

warnings.simplefilter("ignore")
x = np.zeros((3, 1, 8, 8), np.float32)
maps = np.zeros_like(x)
maps[:, :, 0, 0] = 1  # the top left corner
masks = np.zeros(x.shape, bool)
masks[0, :, :2, :2] = True  # the corner is on the object
masks[1, :, 4:, 4:] = True  # it is not
net = nn.Sequential(nn.Flatten(), nn.Linear(64, 2)).eval()
print(f"quantus {version('quantus')}, numpy {np.__version__}")
for name in ("PointingGame", "RelevanceRankAccuracy"):
    metric = getattr(quantus, name)(disable_warnings=True)
    score = metric(
        net, x_batch=x, y_batch=np.zeros(3, int), a_batch=maps, s_batch=masks,
        device="cpu",
    )
    on, off, empty = (str(value) for value in score)
    print(f"{name}: on the object {on}, beside it {off}, empty mask {empty}")
PY
env/bin/python show.py | tee seen
expected="quantus 0.6.0, numpy 2.4.6
PointingGame: on the object True, beside it False, empty mask True
RelevanceRankAccuracy: on the object 0.5, beside it 0.0, empty mask nan"
[ "$(cat seen)" = "$expected" ] && echo "as described" && exit 0
echo "this has changed" && exit 1
