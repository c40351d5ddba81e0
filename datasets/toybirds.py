"""Toybirds: rendered birds with true part locations, boxes and class-defining parts, 8 classes. No network.

What        A stand-in for CUB and ASIRRA in which it is known why an image belongs to its class. Five parts carry marks:
            crown, beak and tail a colour, breast a bib, both wings a pattern. A class is a conjunction over three of
            them (``RULES``); its other two are drawn at random, as are pose, plumage, background, grass and leaf, all
            independently of the class. No image satisfies the rules of two classes. The five parts are never occluded
            (but for the far wing), so that the label can always be read off; the others may be.
Importance  part_importance[c, p] is the Shapley value of part p in the game v(S) = share of the other classes that the
            parts S of class c rule out. A class c' is ruled out by a part if both rules speak of it and differ. v is a
            coverage function, so the value is in closed form: every c' is shared equally by the parts that rule it out.
            Each row sums to 1; a part that the rule does not speak of has 0. The two wings carry the same pattern and
            share its value equally.
Parts       CUB's 15. A part is visible if the pixel at its location shows it; a side view hides one eye, and one wing
            unless it is raised. The location of a hidden part is (0, 0). Boxes are tight around the bird's visible pixels.
Licence     CC0 1.0; made by this script
Subset      train, test: so many images, equally many of each class
Resize      size: rendered at this size, 40 at least
Theory      Signed distances with one pixel of antialiasing, painted back to front (I. Quilez, 2D distance functions).
"""

import sys

import numpy as np

from benchmark.data.download import ParamsError, main
from benchmark.utils.seeds import generator

PARTS = (
    "back",
    "beak",
    "belly",
    "breast",
    "crown",
    "forehead",
    "left eye",
    "left leg",
    "left wing",
    "nape",
    "right eye",
    "right leg",
    "right wing",
    "tail",
    "throat",
)
BACKGROUND, PLUMAGE, COVER = -1, len(PARTS), len(PARTS) + 1  # who owns a pixel, besides the parts

MARKS = {  # what a class may be defined by, and its values
    "crown": ("red", "blue", "yellow"),
    "beak": ("orange", "black"),
    "wing": ("barred", "spotted", "chestnut"),
    "tail": ("teal", "rufous"),
    "breast": ("black", "white"),
}
CARRIERS = {
    "crown": ("crown",),
    "beak": ("beak",),
    "wing": ("left wing", "right wing"),
    "tail": ("tail",),
    "breast": ("breast",),
}
ANY = -1
RULES = np.array(
    [  # (C, marks): the value that a class asks for; any two classes differ where both ask
        # crown beak wing tail breast
        (0, ANY, 1, ANY, 1),
        (1, 1, ANY, 0, ANY),
        (2, 1, ANY, 0, ANY),
        (ANY, 0, 2, ANY, 0),
        (ANY, 1, ANY, 1, 0),
        (ANY, 0, 0, 0, ANY),
        (ANY, ANY, 0, 1, 1),
        (0, ANY, 2, ANY, 1),
    ]
)
COLOURS = {
    "red": (0.90, 0.08, 0.10),
    "blue": (0.10, 0.25, 0.95),
    "yellow": (0.98, 0.88, 0.10),
    "orange": (1.00, 0.55, 0.05),
    "black": (0.05, 0.05, 0.06),
    "white": (0.97, 0.97, 0.97),
    "chestnut": (0.55, 0.22, 0.08),
    "teal": (0.05, 0.65, 0.62),
    "rufous": (0.80, 0.30, 0.08),
    "navy": (0.08, 0.08, 0.30),
}
FULL = {"channels": 3, "classes": 8, "train": 1200, "test": 300}
DEFAULTS = {"size": 48, "train": 1200, "test": 300}

# The bird looks to the right; u to the right, v down, in units of its size. The side that we see is its right one.
SPOTS = {
    "back": (-0.02, -0.075),
    "beak": (0.33, -0.165),
    "belly": (0.03, 0.125),
    "breast": (0.155, 0.02),
    "crown": (0.175, -0.265),
    "forehead": (0.268, -0.215),
    "near eye": (0.225, -0.18),
    "nape": (0.10, -0.12),
    "near leg": (0.05, 0.235),
    "far leg": (-0.03, 0.23),
    "tail": (-0.31, 0.105),
    "throat": (0.235, -0.095),
}
SHOULDER, WING, FAR = (
    (0.09, 0.02),
    (-0.15, 0.035),
    (0.05, -0.03),
)  # a wing's centre from its shoulder; the far shoulder


def class_names():
    return [
        ", ".join(
            f"{MARKS[mark][v]} {mark}" for mark, v in zip(MARKS, rule, strict=True) if v != ANY
        )
        for rule in RULES
    ]


def importance():
    """(C, 15) float32, the Shapley values of the docstring."""
    asks = RULES != ANY
    rules_out = asks[:, None] & asks[None] & (RULES[:, None] != RULES[None])  # (C, C, marks)
    share = rules_out / np.maximum(rules_out.sum(-1, keepdims=True), 1)
    by_mark = share.sum(1) / (len(RULES) - 1)  # (C, marks)
    out = np.zeros((len(RULES), len(PARTS)), np.float32)
    for mark, value in zip(MARKS, by_mark.T, strict=True):
        for part in CARRIERS[mark]:
            out[:, PARTS.index(part)] = value / len(CARRIERS[mark])
    return out


def classify(values):
    """(n, marks) -> (n,): the class whose rule holds, -1 if none does."""
    holds = ((RULES == ANY) | (values[:, None] == RULES)).all(-1)  # (n, C)
    return np.where(holds.any(1), holds.argmax(1), -1)


# --------------------------------------------------------------------------------------------- what is drawn


def rotate(u, v, angle):
    c, s = np.cos(angle), np.sin(angle)
    return c * u - s * v, s * u + c * v


def locations(scene):
    """{spot: (n, 2)} in units of the image."""
    ones = np.ones(len(scene["y"]))
    spots = {name: (u * ones, v * ones) for name, (u, v) in SPOTS.items()}
    wing = rotate(*WING, scene["lift"])
    spots["near wing"] = SHOULDER[0] + wing[0], SHOULDER[1] + wing[1]
    wing = rotate(1.15 * WING[0], 1.15 * WING[1], scene["lift"] + 0.35)
    spots["far wing"] = SHOULDER[0] + FAR[0] + wing[0], SHOULDER[1] + FAR[1] + wing[1]
    return {
        name: np.stack(rotate(scene["flip"] * u, v, scene["angle"]), -1) * scene["scale"][:, None]
        + scene["centre"]
        for name, (u, v) in spots.items()
    }


def draw_scene(rng, n):
    """What is random about n images, each an array with n rows; ``values`` (n, marks) and ``y`` are the only ones that
    know of each other."""
    y = rng.permutation(np.arange(n) % len(RULES))
    anything = np.stack([rng.integers(len(v), size=n) for v in MARKS.values()], -1)
    scene = {"y": y, "values": np.where(RULES[y] == ANY, anything, RULES[y])}
    scene |= draw_pose(rng, n)
    for _ in range(200):  # until all marks are in sight, whatever they are
        if not (bad := ~in_sight(scene)).any():
            break
        scene |= {
            key: np.where(bad.reshape(-1, *[1] * (value.ndim - 1)), value, scene[key])
            for key, value in draw_pose(rng, n).items()
        }
    muted = rng.uniform(0.25, 0.75, (n, 4, 1)) + rng.uniform(-0.13, 0.13, (n, 4, 3))
    scene["plumage"], scene["ground"] = (
        muted[:, :2].clip(0, 1),
        muted[:, 2:].clip(0, 1),
    )  # (n, 2, 3) each
    scene["waves"] = (
        rng.uniform(-6, 6, (n, 4, 2)) * np.array([1, 2, 3, 4])[:, None]
    )  # (n, 4, 2) radians a side
    scene["phases"] = rng.uniform(0, 2 * np.pi, (n, 4))
    scene["tint"] = rng.uniform(-0.12, 0.12, (n, 4, 3))
    scene["green"] = np.array([0.25, 0.45, 0.15]) + rng.uniform(-0.15, 0.15, (n, 2, 3))
    scene["noise"] = rng.integers(2**31, size=n)
    return scene


def draw_pose(rng, n):
    raised = rng.random(n) < 0.35
    return {
        "flip": rng.choice([-1.0, 1.0], n),
        "angle": rng.uniform(-0.3, 0.3, n),
        "scale": rng.uniform(0.9, 1.15, n),
        "centre": 0.5 + rng.uniform(-0.09, 0.09, (n, 2)),
        "lift": np.where(raised, rng.uniform(0.9, 1.3, n), rng.uniform(-0.1, 0.15, n)),
        "grass": np.where(
            rng.random(n) < 0.5, rng.uniform(0.72, 0.9, n), 2
        ),  # the blades' height; 2 = no grass
        "leaf": np.where(
            rng.random((n, 1)) < 0.35, rng.uniform(0.15, 0.85, (n, 2)), 3
        ),  # its centre; 3 = no leaf
    }


def in_sight(scene):
    """(n,): the five marked parts lie within the image, above the grass and beside the leaf."""
    spots = locations(scene)
    fine = np.ones(len(scene["y"]), bool)
    for name, room in (
        ("crown", 0.06),
        ("beak", 0.06),
        ("near wing", 0.1),
        ("tail", 0.08),
        ("breast", 0.07),
    ):
        at = spots[name]
        fine &= (
            (at > 0.8 * room).all(-1)
            & (at < 1 - 0.8 * room).all(-1)
            & (at[:, 1] + 0.6 * room < scene["grass"] - 0.04)
        )
        fine &= np.hypot(*(at - scene["leaf"]).T) > room + 0.1
    return fine


# --------------------------------------------------------------------------------------------- how it is painted


def ellipse(u, v, cu, cv, ru, rv, angle=0.0):
    """Signed distance, right to first order at the rim, negative inside."""
    du, dv = rotate(u - cu, v - cv, -angle)
    k, slope = np.hypot(du / ru, dv / rv) + 1e-9, np.hypot(du / ru**2, dv / rv**2) + 1e-9
    return k * (k - 1) / slope


def capsule(u, v, a, b, r):
    du, dv, eu, ev = u - a[0], v - a[1], b[0] - a[0], b[1] - a[1]
    t = ((du * eu + dv * ev) / (eu * eu + ev * ev)).clip(0, 1)
    return np.hypot(du - t * eu, dv - t * ev) - r


def polygon(u, v, *corners):
    """Convex, corners clockwise as seen (v down)."""
    d = -np.inf
    for (au, av), (bu, bv) in zip(corners, corners[1:] + corners[:1], strict=True):
        d = np.maximum(
            d, ((u - au) * (bv - av) - (v - av) * (bu - au)) / np.hypot(bu - au, bv - av)
        )
    return d


def render(scene, size, chunk=100):
    """The images of a scene.

    Returns:
        x (n, 3, size, size) uint8; owner (n, size, size) int8: the part that each pixel shows, or BACKGROUND, PLUMAGE
        (bird, but none of the parts) or COVER (grass or leaf).
    """
    n = len(scene["y"])
    pieces = [
        paint({k: v[i : i + chunk] for k, v in scene.items()}, size) for i in range(0, n, chunk)
    ]
    return tuple(map(np.concatenate, zip(*pieces, strict=True)))


def paint(scene, size):
    n = len(scene["y"])

    def column(value):  # (n, ...) -> (n, 1, 1, ...)
        return value.reshape(n, 1, 1, *value.shape[1:])

    at = (np.arange(size) + 0.5) / size
    px, py = np.broadcast_to(at, (n, size, size)), np.broadcast_to(at[:, None], (n, size, size))
    scale, flip, lift = column(scene["scale"]), column(scene["flip"]), column(scene["lift"])
    dx, dy = rotate(
        px - column(scene["centre"][:, 0]),
        py - column(scene["centre"][:, 1]),
        -column(scene["angle"]),
    )
    u, v = flip * dx / scale, dy / scale
    image = background(scene, px, py)  # (n, size, size, 3)
    owner = np.full((n, size, size), BACKGROUND, np.int8)
    faces_right = scene["flip"][:, None, None] > 0

    def layer(d, colour, part=PLUMAGE, unit=scale):
        """Paint where the distance d (n, size, size), in units of ``unit``, is negative."""
        nonlocal image
        cover = (0.5 - d * unit * size).clip(0, 1)
        image = image + cover[..., None] * (colour - image)
        np.copyto(owner, np.asarray(part, np.int8), where=cover > 0.5)

    def sided(near, kind):  # the part index of the near or far eye, leg or wing
        return np.where(
            faces_right == near, PARTS.index(f"right {kind}"), PARTS.index(f"left {kind}")
        )

    def of_mark(
        mark, choices
    ):  # the colour of each image's value: (n, 1, 1, 3) or (n, size, size, 3)
        value = column(scene["values"][:, list(MARKS).index(mark)])[..., None]
        return np.select([value == i for i in range(len(choices))], choices)

    def marked(mark):
        return of_mark(mark, [np.array(COLOURS[name]) for name in MARKS[mark]])

    def wing(shoulder, stretch, angle, part):
        du, dv = rotate(u - shoulder[0], v - shoulder[1], -angle)  # the wing lies along -du
        d = ellipse(
            du, dv, WING[0] * stretch, WING[1] * stretch, 0.155 * stretch, 0.075 * stretch, -0.15
        )
        bars = np.where(
            np.abs((du / 0.1) % 1 - 0.5)[..., None] < 0.25, COLOURS["black"], COLOURS["white"]
        )
        eu, ev = (du / 0.085) % 1 - 0.5, (dv / 0.075 + 0.5 * np.floor(du / 0.085)) % 1 - 0.5
        spots = np.where((np.hypot(eu, ev) < 0.33)[..., None], COLOURS["yellow"], COLOURS["navy"])
        layer(d - 0.014, 0.4 * plumage)
        layer(d, of_mark("wing", [bars, spots, np.array(COLOURS["chestnut"])]), part)

    plumage, pale = column(scene["plumage"][:, 0]), 0.6 * column(scene["plumage"][:, 1]) + 0.4
    body = ellipse(u, v, 0.0, 0.03, 0.23, 0.14, -0.25)
    neck = capsule(u, v, (0.10, -0.02), (0.19, -0.16), 0.085)
    head = ellipse(u, v, 0.2, -0.17, 0.11, 0.105)
    tail = polygon(u, v, (-0.15, 0.02), (-0.17, 0.10), (-0.44, 0.19), (-0.46, 0.06))
    beak = polygon(u, v, (0.28, -0.22), (0.45, -0.15), (0.28, -0.11))
    crest = polygon(u, v, (0.10, -0.36), (0.26, -0.27), (0.10, -0.20))
    cap = np.minimum(crest, np.maximum(head, v + 0.215 + 0.5 * (u - 0.2)))
    bird = np.minimum(np.minimum(body, neck), head)

    for near, hip, foot in ((False, -0.02, -0.035), (True, 0.05, 0.05)):
        shank = capsule(u, v, (hip, 0.12), (foot, 0.32), 0.018)
        toes = capsule(u, v, (foot, 0.32), (foot + 0.06, 0.33), 0.014)
        layer(np.minimum(shank, toes), np.array([0.35, 0.25, 0.2]), sided(near, "leg"))
    wing((SHOULDER[0] + FAR[0], SHOULDER[1] + FAR[1]), 1.15, lift + 0.35, sided(False, "wing"))
    layer(
        np.minimum(np.minimum(bird, tail), np.minimum(beak, cap)) - 0.014, 0.4 * plumage
    )  # an outline
    layer(tail, marked("tail"), PARTS.index("tail"))
    layer(body, plumage, PARTS.index("back"))
    layer(np.maximum(ellipse(u, v, 0.02, 0.13, 0.15, 0.07), body), pale, PARTS.index("belly"))
    layer(neck, plumage, PARTS.index("nape"))
    layer(
        np.maximum(ellipse(u, v, 0.165, 0.015, 0.085, 0.095), bird),
        marked("breast"),
        PARTS.index("breast"),
    )
    layer(head, 0.85 * plumage)
    layer(np.maximum(ellipse(u, v, 0.235, -0.095, 0.07, 0.045), bird), pale, PARTS.index("throat"))
    layer(
        np.maximum(ellipse(u, v, 0.275, -0.215, 0.045, 0.045), head), pale, PARTS.index("forehead")
    )
    layer(cap, marked("crown"), PARTS.index("crown"))
    layer(beak, marked("beak"), PARTS.index("beak"))
    layer(
        ellipse(u, v, *SPOTS["near eye"], 0.04, 0.04),
        np.array(COLOURS["white"]),
        sided(True, "eye"),
    )
    layer(
        ellipse(u, v, *SPOTS["near eye"], 0.026, 0.026),
        np.array(COLOURS["black"]),
        sided(True, "eye"),
    )
    wing(SHOULDER, 1.0, lift, sided(True, "wing"))

    blades = (
        np.abs((px * 9 + column(scene["phases"][:, 0])) % 1 - 0.5) * 0.16
        + column(scene["grass"])
        - py
    )
    layer(blades * 0.4, column(scene["green"][:, 0]), COVER, unit=1)
    leaf = ellipse(
        px,
        py,
        column(scene["leaf"][:, 0]),
        column(scene["leaf"][:, 1]),
        0.1,
        0.06,
        column(scene["phases"][:, 1]),
    )
    layer(leaf, column(scene["green"][:, 1]), COVER, unit=1)
    x = np.rint(image.clip(0, 1) * 255).astype(np.uint8)
    return np.ascontiguousarray(x.transpose(0, 3, 1, 2)), owner


def background(scene, px, py):
    """(n, size, size, 3): a gradient between two muted colours, four waves, and grain."""
    size = px.shape[-1]
    mix = py[..., None]
    image = (1 - mix) * scene["ground"][:, None, None, 0] + mix * scene["ground"][:, None, None, 1]
    for k in range(4):
        wave = scene["waves"][:, None, None, k]
        turn = wave[..., 0] * px + wave[..., 1] * py
        image = (
            image
            + np.sin(turn + scene["phases"][:, k, None, None])[..., None]
            * scene["tint"][:, None, None, k]
        )
    grain = np.stack(
        [np.random.default_rng(seed).random((size, size, 1)) for seed in scene["noise"]]
    )
    return image + 0.06 * (grain - 0.5)


# --------------------------------------------------------------------------------------------- what is true of it


def annotate(scene, owner):
    """boxes (n, 4), parts (n, 15, 2), part_visible (n, 15) of rendered images."""
    n, size, _ = owner.shape
    spots = locations(scene)
    faces_right = scene["flip"][:, None] > 0
    parts = np.zeros((n, len(PARTS), 2))
    for i, part in enumerate(PARTS):
        side, _, kind = part.rpartition(" ")
        near, far = spots.get(f"near {kind}"), spots.get(f"far {kind}")
        if side:
            far = np.full((n, 2), -1.0) if far is None else far  # the far eye is behind the head
            parts[:, i] = np.where(faces_right == (side == "right"), near, far)
        else:
            parts[:, i] = spots[part]
    pixel = np.floor(parts * size).astype(int)  # (n, 15, 2): column, row
    inside = ((pixel >= 0) & (pixel < size)).all(-1)
    column, row = np.moveaxis(pixel.clip(0, size - 1), -1, 0)
    visible = inside & (owner[np.arange(n)[:, None], row, column] == np.arange(len(PARTS)))
    bird = (owner >= 0) & (owner != COVER)
    rows, columns = bird.any(2), bird.any(1)  # (n, size)
    boxes = np.stack(
        [
            columns.argmax(1),
            rows.argmax(1),
            size - columns[:, ::-1].argmax(1),
            size - rows[:, ::-1].argmax(1),
        ],
        -1,
    )
    return (
        boxes.astype(np.float32),
        np.where(visible[..., None], parts * size, 0).astype(np.float32),
        visible,
    )


def prepare(params, folder):
    if params["size"] < 40:
        raise ParamsError(f"size is {params['size']}; the marks need 40 at least")
    arrays = {"classes": class_names(), "part_names": list(PARTS), "part_importance": importance()}
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
