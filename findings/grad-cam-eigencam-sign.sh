#!/usr/bin/env bash
# The maps of pytorch-grad-cam's EigenCAM have the sign that LAPACK happens to return: other channel order, other sign.
#
# Expected: EigenCAM shows the first principal component of a layer's activations, large where they are large. Naming the
#           channels in another order changes nothing, and a higher precision changes digits.
# Seen:     grad-cam 1.5.7 (numpy 2.4.6 from PyPI): a ReLU layer of 16 channels that is bright on a square. On some of 64 images the
#           map is darkest on the square, and the maps of other orders of the same channels have the opposite sign on some images. A principal component
#           has no sign; get_2d_projection takes the one of numpy.linalg.svd. Then the negative part is cut off or scaled to 0..1.
# Matters:  in a benchmark EigenCAM is placed by chance: on images where the sign is wrong its best pixels are its worst. Not so for
#           KPCA-CAM, which orients by its kernel. EigenGradCAM and eigen_smooth=True go the same way.
# Source:   the counts below; pytorch_grad_cam/utils/svd_on_activations.py. How many flip depends on the BLAS; that some do does not.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/python -m pip install -qq --disable-pip-version-check grad-cam==1.5.7 torch==2.15.0 numpy==2.4.6
cat > show.py <<'PY'
from importlib.metadata import version

import numpy as np
from pytorch_grad_cam.utils.svd_on_activations import get_2d_projection

rng = np.random.default_rng(0)
n, channels, side = 64, 16, 8
square = np.zeros((n, 1, side, side))
for image, (row, column) in zip(square, rng.integers(0, 5, (n, 2))):
    image[0, row : row + 3, column : column + 3] = 1
A = square * rng.random((1, channels, 1, 1)) + 0.05 * rng.standard_normal((n, channels, side, side))
A = np.maximum(A, 0).astype(np.float32)
maps = get_2d_projection(A)

inside = square[:, 0] > 0
dark = sum(one[at].mean() < one[~at].mean() for one, at in zip(maps, inside))
flipped, shape = 0, True
for seed in range(20):
    other = get_2d_projection(A[:, np.random.default_rng(seed).permutation(channels)])
    signs = np.sign((other * maps).sum((1, 2)))
    flipped += (signs < 0).any()
    shape &= np.allclose(other * signs[:, None, None], maps, atol=1e-3)
print(f"grad-cam {version('grad-cam')}")
print(f"maps that are darker on the bright square, some of {n}: {0 < dark < n}")
print(f"orders of the channels that turn maps over, some of 20: {flipped > 0}")
print(f"the same maps but for the sign: {shape}")
PY
env/bin/python show.py | tee seen
expected="grad-cam 1.5.7
maps that are darker on the bright square, some of 64: True
orders of the channels that turn maps over, some of 20: True
the same maps but for the sign: True"
[ "$(cat seen)" = "$expected" ] && echo "as described" && exit 0
echo "this has changed" && exit 1
