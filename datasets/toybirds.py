"""Toybirds: rendered birds with true part locations, boxes and class-defining parts, 8 classes. No network.

What        A substitute for CUB and ASIRRA in which it is known why an image belongs to its class. Five parts carry
            marks: crown, beak and tail a colour, breast a bib, both wings a pattern. A class is a conjunction over
            three of them (``RULES``); its other two are drawn at random, as are pose, plumage, background, grass and
            leaf, all independently of the class. No image satisfies the rules of two classes. The five parts are never
            occluded (except the far wing), so that the label can always be read off; the others may be.
Importance  part_importance[c, p] is the Shapley value of part p in the game v(S) = share of the other classes that the
            parts S of class c rule out. A class c' is ruled out by a part if both rules speak of it and differ. v is a
            coverage function, so the value has a closed form: every c' is shared equally by the parts that rule it out.
            Each row sums to 1; a part that the rule does not mention has 0. The two wings carry the same pattern and
            share its value equally.
Parts       CUB's 15. A part is visible if the pixel at its location shows it; a side view hides one eye, and one wing
            unless it is raised. The location of a hidden part is (0, 0). Boxes are tight around the bird's visible
            pixels.
Licence     CC0 1.0; made by this script
Subset      train, test: that many images, equally many of each class
Resize      size: rendered at this size, at least 40
Theory      Signed distances with one pixel of antialiasing, painted back to front (I. Quilez, 2D distance functions).
"""

import sys

import numpy as np

from benchmark.data.download import ParamsError, main
from benchmark.shared.toybirds import (
    PARTS,
    annotate,
    class_names,
    draw_scene,
    importance,
    render,
)
from benchmark.utils.seeds import generator

FULL = {"channels": 3, "classes": 8, "train": 1200, "test": 300}
DEFAULTS = {"size": 48, "train": 1200, "test": 300}


def prepare(params, folder):
    if params["size"] < 40:
        raise ParamsError(f"size is {params['size']}; the marks need at least 40")
    arrays = {
        "classes": class_names(),
        "part_names": list(PARTS),
        "part_importance": importance(),
    }
    for split in ("train", "test"):
        scene = draw_scene(generator("toybirds", split), params[split])
        x, owner = render(scene, params["size"])
        boxes, parts, visible = annotate(scene, owner)
        masks = np.where((owner >= 0) & (owner < len(PARTS)), owner, -1).astype(np.int8)
        arrays |= {
            f"x_{split}": x,
            f"y_{split}": scene["y"].astype(np.int64),
            f"boxes_{split}": boxes,
            f"parts_{split}": parts,
            f"part_visible_{split}": visible,
            f"part_masks_{split}": masks,
        }
    return arrays, {
        "title": "Toybirds",
        "what": "rendered birds with 15 true part locations and class-defining parts",
        "licence": "CC0 1.0",
        "citation": "made by datasets/toybirds.py of this project",
        "url": "",
        "provenance": {"files": [], "changes": "rendered"},
        "resize": "none: rendered at this size",
        "skipped": 0,
    }


if __name__ == "__main__":
    sys.exit(main("toybirds", prepare, DEFAULTS, __doc__))
