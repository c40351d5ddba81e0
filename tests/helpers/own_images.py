"""Images of one's own, in every layout that is read: small files that the tests make."""

import csv
import json

import numpy as np
from PIL import Image


def photo(file, w=20, h=10, seed=0, **more):
    """An image of noise."""
    file.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng([seed, w, h, *file.name.encode()])
    pixels = rng.integers(0, 255, (h, w, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file, **more)
    return file


def mask(file, w=20, h=10, box=(4, 2, 12, 8)):
    """White in a box x0, y0, x1, y1, black elsewhere."""
    file.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.zeros((h, w), np.uint8)
    x0, y0, x1, y1 = box
    pixels[y0:y1, x0:x1] = 255
    Image.fromarray(pixels).save(file)
    return file


def table(file, rows, columns="path,label", newline="\r\n"):
    """A CSV."""
    with open(file, "w", newline="") as out:
        writer = csv.writer(out, lineterminator=newline)
        writer.writerows([columns.split(","), *rows])
    return file


def coco(file, images, annotations, categories=("cat", "dog")):
    """COCO's JSON: images (name, w, h), annotations (image, category, what it says)."""
    whole = {
        "images": [
            {"id": i, "file_name": name, "width": w, "height": h}
            for i, (name, w, h) in enumerate(images)
        ],
        "annotations": [
            {"id": i, "image_id": image, "category_id": category, **more}
            for i, (image, category, more) in enumerate(annotations)
        ],
        "categories": [{"id": i, "name": name} for i, name in enumerate(categories)],
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(whole))
    return file


def voc(file, name, objects, side=(20, 10)):
    """An XML file of Pascal VOC: objects (name, xmin, ymin, xmax, ymax)."""
    file.parent.mkdir(parents=True, exist_ok=True)
    lines = [f"<annotation><filename>{name}</filename>"]
    lines.append(
        f"<size><width>{side[0]}</width><height>{side[1]}</height><depth>3</depth></size>"
    )
    for label, *ends in objects:
        box = "".join(
            f"<{key}>{end}</{key}>"
            for key, end in zip(("xmin", "ymin", "xmax", "ymax"), ends, strict=True)
        )
        lines.append(f"<object><name>{label}</name><bndbox>{box}</bndbox></object>")
    file.write_text("\n".join([*lines, "</annotation>"]))
    return file
