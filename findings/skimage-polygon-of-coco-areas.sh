#!/usr/bin/env bash
# skimage.draw.polygon fills a COCO polygon of area 60 with 77 pixels, and polygons that share an edge share its pixels.
#
# Expected: a polygon whose corners are whole numbers and whose sides run along pixels covers as many pixels as its area, and two that meet
#           at an edge split the pixels between them, as in pycocotools.
# Seen:     scikit-image 0.26.0 and pycocotools 2.0.11: rectangles of 6 x 10 and 8 x 10 side by side are 77 and 99 pixels by skimage, of which
#           11 are in both, and 60 and 80 pixels by pycocotools, none in both. polygon2mask and
#           measure.points_in_poly do the same. skimage places a pixel's centre at whole numbers and counts centres on any edge as inside; in COCO whole
#           numbers are corners. With half a pixel taken off the coordinates rectangles agree; triangles that meet at a diagonal
#           still share its pixels.
# Matters:  small objects gain most: pointing games, IoU and the share of relevance inside an object differ by which library drew the
#           mask (77 / 60 here), and masks of objects that touch overlap. Annotation polygons of whole pixels are common.
# Source:   the counts below; the documentation of neither function says what happens on an edge.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/python -m pip install -qq --disable-pip-version-check scikit-image==0.26.0 pycocotools==2.0.11 numpy==2.4.6
cat > show.py <<'PY'
from importlib.metadata import version

import numpy as np
from pycocotools import mask
from skimage.draw import polygon, polygon2mask
from skimage.measure import points_in_poly

SHAPE = (20, 20)
CENTRES = np.argwhere(np.ones(SHAPE))  # (row, column) of each pixel


def coco(points):
    return mask.decode(mask.frPyObjects([points.flatten().tolist()], *SHAPE))[:, :, 0] > 0


def draw(points):
    held = np.zeros(SHAPE, bool)
    x, y = points.T
    held[polygon(y, x, SHAPE)] = True
    return held


ways = {
    "pycocotools": coco,
    "skimage.draw.polygon": draw,
    "skimage.draw.polygon2mask": lambda points: polygon2mask(SHAPE, points[:, ::-1]),
    "skimage.measure.points_in_poly": lambda points: points_in_poly(CENTRES, points[:, ::-1]).reshape(SHAPE),
    "skimage.draw.polygon, half a pixel less": lambda points: draw(points - 0.5),
}
pairs = {
    "rectangles of 60 and 80": ([(2, 2), (8, 2), (8, 12), (2, 12)], [(8, 2), (16, 2), (16, 12), (8, 12)]),
    "triangles of 50 and 50": ([(2, 2), (12, 2), (2, 12)], [(12, 2), (12, 12), (2, 12)]),
}
print(f"scikit-image {version('scikit-image')}, pycocotools {version('pycocotools')}")
for pair, polygons in pairs.items():
    for way, drawn in ways.items():
        a, b = (drawn(np.array(points, float)) for points in polygons)
        print(f"{pair}, {way}: {a.sum()} and {b.sum()}, in both {(a & b).sum()}")
PY
env/bin/python show.py | tee seen
expected="scikit-image 0.26.0, pycocotools 2.0.11
rectangles of 60 and 80, pycocotools: 60 and 80, in both 0
rectangles of 60 and 80, skimage.draw.polygon: 77 and 99, in both 11
rectangles of 60 and 80, skimage.draw.polygon2mask: 77 and 99, in both 11
rectangles of 60 and 80, skimage.measure.points_in_poly: 77 and 99, in both 11
rectangles of 60 and 80, skimage.draw.polygon, half a pixel less: 60 and 80, in both 0
triangles of 50 and 50, pycocotools: 45 and 55, in both 0
triangles of 50 and 50, skimage.draw.polygon: 66 and 66, in both 11
triangles of 50 and 50, skimage.draw.polygon2mask: 66 and 66, in both 11
triangles of 50 and 50, skimage.measure.points_in_poly: 66 and 66, in both 11
triangles of 50 and 50, skimage.draw.polygon, half a pixel less: 55 and 55, in both 10"
[ "$(cat seen)" = "$expected" ] && echo "as described" && exit 0
echo "this has changed" && exit 1
