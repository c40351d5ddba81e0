#!/usr/bin/env bash
# Pillow turns a TIFF upright by its orientation tag when it is read; the same tag in a JPEG, PNG or WEBP it leaves alone.
#
# Expected: the orientation is metadata for every format, and ImageOps.exif_transpose is what applies it.
# Seen:     Pillow 13.0.0: an image of 6 x 4 pixels with orientation 6, saved losslessly in four formats. As an array the TIFF is
#           (6, 4), the others are (4, 6); once the TIFF is read its tag is gone, so that nothing tells that it was turned.
# Matters:  boxes and part positions in pixels fit one file and not its copy in another format; a folder of photographs mixes both
#           (torchvision's ImageFolder and most loaders call Image.open alone). Whoever wants pixels as stored cannot have them from a TIFF.
# Source:   the shapes below; python-pillow/Pillow pull requests 4063, 7383 and 8390.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/python -m pip install -qq --disable-pip-version-check pillow==13.0.0 numpy==2.4.6
cat > show.py <<'PY'
import io

import numpy as np
import PIL
from PIL import Image

ORIENTATION = 0x0112
tags = Image.Exif()
tags[ORIENTATION] = 6
print(f"Pillow {PIL.__version__}")
for kind, options in {"TIFF": {}, "PNG": {}, "WEBP": {"lossless": True}, "JPEG": {}}.items():
    file = io.BytesIO()
    Image.new("RGB", (6, 4)).save(file, kind, exif=tags, **options)
    image = Image.open(file)
    before = image.getexif().get(ORIENTATION)
    shape = np.asarray(image).shape[:2]
    print(f"{kind}: array {shape}, tag {before}, once read {image.getexif().get(ORIENTATION)}")
PY
env/bin/python show.py | tee seen
expected="Pillow 13.0.0
TIFF: array (6, 4), tag 6, once read None
PNG: array (4, 6), tag 6, once read 6
WEBP: array (4, 6), tag 6, once read 6
JPEG: array (4, 6), tag 6, once read 6"
[ "$(cat seen)" = "$expected" ] && echo "as described" && exit 0
echo "this has changed" && exit 1
