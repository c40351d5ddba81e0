#!/usr/bin/env bash
# scikit-image's slic, asked for 50 segments of a grainy image, returns one.
#
# Expected: n_segments is "the (approximate) number of labels"; noise makes the borders ragged.
# Seen:     scikit-image 0.26.0: a 32 x 32 RGB image of a disc on grey. Without noise 50 asked for are 29; with independent noise of
#           standard deviation 0.2 in each pixel, clipped to 0..1, one segment, the whole image, and no warning. A 224 x 224
#           image of noise has one too. With the default compactness 10 and sigma 0 the colours decide, each cluster falls into
#           crumbs, and enforce_connectivity gives every crumb smaller than half the expected size to a neighbour, one after the
#           other, until all is one. Without that step, or with sigma=1, there are more than 20.
# Matters:  superpixels are the features of LIME and of KernelSHAP for images, and the unit of perturbation of IROF. With one of them
#           there is nothing to compare: the map is constant, and the images that lose their segments are the grainy ones.
# Source:   the counts below; `_enforce_label_connectivity_cython` in skimage/segmentation/_slic.pyx.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/python -m pip install -qq --disable-pip-version-check scikit-image==0.26.0 numpy==2.4.6
cat > show.py <<'PY'
import warnings

import numpy as np
import skimage
from skimage.segmentation import slic

warnings.simplefilter("error")
rng = np.random.default_rng(0)
rows, columns = np.mgrid[:32, :32]
disc = (rows - 16) ** 2 + (columns - 16) ** 2 < 64
clean = np.where(disc[:, :, None], [0.7, 0.5, 0.4], 0.3)
grainy = np.clip(clean + 0.2 * rng.standard_normal(clean.shape), 0, 1)


def segments(image, **options):
    labels = slic(image, **{"n_segments": 50, "start_label": 0, "channel_axis": -1} | options)
    found = len(np.unique(labels))
    return found if found == 1 else "more than 20" if found > 20 else "2 to 20"


print(f"scikit-image {skimage.__version__}")
print(f"clean: {segments(clean)}")
print(f"grainy: {segments(grainy)}")
print(f"grainy, in 8 bits: {segments((255 * grainy).astype(np.uint8))}")
print(f"grainy, enforce_connectivity=False: {segments(grainy, enforce_connectivity=False)}")
print(f"grainy, min_size_factor=0: {segments(grainy, min_size_factor=0)}")
print(f"grainy, sigma=1: {segments(grainy, sigma=1)}")
print(f"grainy, compactness=20, sigma=1: {segments(grainy, compactness=20, sigma=1)}")
print(f"224 x 224 of noise: {segments(rng.random((224, 224, 3)))}")
PY
env/bin/python show.py | tee seen
expected="scikit-image 0.26.0
clean: more than 20
grainy: 1
grainy, in 8 bits: 1
grainy, enforce_connectivity=False: more than 20
grainy, min_size_factor=0: more than 20
grainy, sigma=1: more than 20
grainy, compactness=20, sigma=1: more than 20
224 x 224 of noise: 1"
[ "$(cat seen)" = "$expected" ] && echo "as described" && exit 0
echo "this has changed" && exit 1
