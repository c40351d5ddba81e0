"""Toybirds: how they are drawn, and drawn again without some of their parts.

    scene = draw_scene(generator("toybirds", "test"), 300)
    x, owner = render(scene, 48)                              # the images, and the part that each pixel shows
    x, owner = render({**scene, "without": gone}, 48)         # the same birds without the parts ``gone`` (n, 15) bool

``datasets/toybirds.py`` makes the data set of them and says what the birds are; ``benchmark/metrics/parts.py`` draws
them again, to see what the network answers without a part. What a missing part covered is painted as if it had never
been there: the head without its crown, the ground behind the tail.
"""

from itertools import combinations

import numpy as np

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
BACKGROUND, PLUMAGE, COVER = (
    -1,
    len(PARTS),
    len(PARTS) + 1,
)  # who owns a pixel, besides the parts

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
    [  # (C, marks): the value that a class requires; any two classes differ in a mark that both require
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
# The bird looks to the right, so that its right side is seen; u points right, v down, in units of its size.
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
SHOULDER = (0.09, 0.02)  # of the near wing
FAR_SHOULDER = (SHOULDER[0] + 0.05, SHOULDER[1] - 0.03)
WING = (-0.15, 0.035)  # a wing's centre, from its shoulder


def class_names():
    names = []
    for rule in RULES:
        values = dict(zip(MARKS, rule, strict=True))
        asked = [
            f"{MARKS[mark][value]} {mark}"
            for mark, value in values.items()
            if value != ANY
        ]
        names.append(", ".join(asked))
    return names


def importance():
    """(C, 15) float32, the Shapley values of the docstring."""
    asks = RULES != ANY
    both_ask = asks[:, None] & asks[None]  # (C, C, marks)
    rules_out = both_ask & (RULES[:, None] != RULES[None])
    marks = rules_out.sum(-1, keepdims=True)  # (C, C, 1): how many rule a class out
    share = rules_out / np.maximum(marks, 1)
    by_mark = share.sum(1) / (len(RULES) - 1)  # (C, marks)
    out = np.zeros((len(RULES), len(PARTS)), np.float32)
    for mark, value in zip(MARKS, by_mark.T, strict=True):
        for part in CARRIERS[mark]:
            out[:, PARTS.index(part)] = value / len(CARRIERS[mark])
    return out


def classify(values):
    """(n, marks) -> (n,): the class whose rule holds, -1 if there is none."""
    holds = ((RULES == ANY) | (values[:, None] == RULES)).all(-1)  # (n, C)
    return np.where(holds.any(1), holds.argmax(1), -1)


# --------------------------------------------------------------------------------------------- what is drawn


def rotate(u, v, angle):
    """(u, v) turned from the first axis to the second by ``angle`` radians."""
    c, s = np.cos(angle), np.sin(angle)
    along = c * u - s * v
    across = s * u + c * v
    return along, across


def locations(scene):
    """{spot: (n, 2)} in units of the image.

    The spots are those of ``SPOTS`` and the centres of both wings.
    """
    ones = np.ones(len(scene["y"]))
    spots = {}
    for name, (u, v) in SPOTS.items():
        spots[name] = u * ones, v * ones
    u, v = rotate(*WING, scene["lift"])
    spots["near wing"] = SHOULDER[0] + u, SHOULDER[1] + v
    u, v = rotate(1.15 * WING[0], 1.15 * WING[1], scene["lift"] + 0.35)
    spots["far wing"] = FAR_SHOULDER[0] + u, FAR_SHOULDER[1] + v
    found = {}
    scale = scene["scale"][:, None]
    for name, (u, v) in spots.items():
        x, y = rotate(scene["flip"] * u, v, scene["angle"])
        at = np.stack((x, y), -1)
        found[name] = at * scale + scene["centre"]
    return found


def draw_scene(rng, n):
    """All that is random in n images, each an array with n rows.

    Only ``values`` (n, marks) and ``y`` depend on each other.
    """
    y = draw_classes(rng, n)
    rules = RULES[y]  # (n, marks)
    anything = [rng.integers(len(values), size=n) for values in MARKS.values()]
    anything = np.stack(anything, -1)
    values = np.where(rules == ANY, anything, rules)
    scene = {"y": y, "values": values, **draw_pose(rng, n)}
    for _ in range(200):  # until all marks are in sight, whatever they are
        bad = ~in_sight(scene)
        if not bad.any():
            break
        for key, value in draw_pose(rng, n).items():
            rows = bad.reshape(-1, *[1] * (value.ndim - 1))
            scene[key] = np.where(rows, value, scene[key])
    muted = rng.uniform(0.25, 0.75, (n, 4, 1)) + rng.uniform(-0.13, 0.13, (n, 4, 3))
    muted = muted.clip(0, 1)
    scene["plumage"], scene["ground"] = muted[:, :2], muted[:, 2:]  # (n, 2, 3) each
    frequency = np.array([1, 2, 3, 4])[:, None]
    scene["waves"] = (
        rng.uniform(-6, 6, (n, 4, 2)) * frequency
    )  # radians per side of the image
    scene["phases"] = rng.uniform(0, 2 * np.pi, (n, 4))
    scene["tint"] = rng.uniform(-0.12, 0.12, (n, 4, 3))
    scene["green"] = np.array([0.25, 0.45, 0.15]) + rng.uniform(-0.15, 0.15, (n, 2, 3))
    scene["noise"] = rng.integers(2**31, size=n)
    return scene


def draw_classes(rng, n):
    """(n,), equally many of each class: the first that is drawn of n images."""
    return rng.permutation(np.arange(n) % len(RULES))


def draw_pose(rng, n):
    raised = rng.random(n) < 0.35
    flip = rng.choice([-1.0, 1.0], n)
    angle = rng.uniform(-0.3, 0.3, n)
    scale = rng.uniform(0.9, 1.15, n)
    centre = 0.5 + rng.uniform(-0.09, 0.09, (n, 2))
    lift = np.where(raised, rng.uniform(0.9, 1.3, n), rng.uniform(-0.1, 0.15, n))
    has_grass = rng.random(n) < 0.5
    grass = np.where(
        has_grass, rng.uniform(0.72, 0.9, n), 2
    )  # the blades' height; 2: no grass
    has_leaf = rng.random((n, 1)) < 0.35
    leaf = np.where(
        has_leaf, rng.uniform(0.15, 0.85, (n, 2)), 3
    )  # its centre; 3: no leaf
    return {
        "flip": flip,
        "angle": angle,
        "scale": scale,
        "centre": centre,
        "lift": lift,
        "grass": grass,
        "leaf": leaf,
    }


def in_sight(scene):
    """(n,): the five marked parts lie within the image, above the grass and beside the leaf."""
    spots = locations(scene)
    fine = np.ones(len(scene["y"]), bool)
    for name, radius in (
        ("crown", 0.06),
        ("beak", 0.06),
        ("near wing", 0.1),
        ("tail", 0.08),
        ("breast", 0.07),
    ):
        at = spots[name]
        fine &= (at > 0.8 * radius).all(-1)
        fine &= (at < 1 - 0.8 * radius).all(-1)
        fine &= at[:, 1] + 0.6 * radius < scene["grass"] - 0.04
        dx, dy = (at - scene["leaf"]).T
        fine &= np.hypot(dx, dy) > radius + 0.1
    return fine


# --------------------------------------------------------------------------------------------- how it is painted


def ellipse(u, v, cu, cv, ru, rv, angle=0.0):
    """Signed distance, exact to first order at the rim, negative inside."""
    du, dv = u - cu, v - cv
    du, dv = rotate(du, dv, -angle)
    k = np.hypot(du / ru, dv / rv)  # 1 at the rim
    k = k + 1e-9
    slope = np.hypot(du / ru**2, dv / rv**2)
    slope = slope + 1e-9
    return k * (k - 1) / slope


def capsule(u, v, a, b, r):
    """Signed distance to the segment from a to b, thickened by r."""
    (au, av), (bu, bv) = a, b
    du, dv = u - au, v - av
    eu, ev = bu - au, bv - av
    along = du * eu + dv * ev
    t = along / (eu * eu + ev * ev)  # the nearest point is a + t (b - a)
    t = t.clip(0, 1)
    # from the nearest point
    du, dv = du - t * eu, dv - t * ev
    return np.hypot(du, dv) - r


def polygon(u, v, *corners):
    """Signed distance to a convex polygon, corners clockwise as seen (v down)."""
    d = -np.inf
    following = corners[1:] + corners[:1]
    for (au, av), (bu, bv) in zip(corners, following, strict=True):
        eu, ev = bu - au, bv - av
        cross = (u - au) * ev - (v - av) * eu
        d = np.maximum(d, cross / np.hypot(eu, ev))
    return d


def render(scene, size, chunk=100):
    """The images of a scene; "without" in it, (n, 15) bool, names the parts that a bird has not.

    Returns:
        x (n, 3, size, size) uint8; owner (n, size, size) int8: the part that each pixel shows, or BACKGROUND, PLUMAGE
        (bird, but none of the parts) or COVER (grass or leaf).
    """
    images, owners = [], []
    for start in range(0, len(scene["y"]), chunk):
        part = {key: value[start : start + chunk] for key, value in scene.items()}
        x, owner = paint(part, size)
        images.append(x)
        owners.append(owner)
    return np.concatenate(images), np.concatenate(owners)


class Canvas:
    """n images that are painted layer by layer, from back to front.

    Attributes:
        px, py: (n, size, size) coordinates of the pixels in units of the image.
        u, v: the same in the bird's units, as if it looked to the right.
        scale: (n, 1, 1) the bird's unit in units of the image.
        image: (n, size, size, 3); owner: (n, size, size), as ``render`` returns it.
    """

    def __init__(self, scene, size):
        self.scene = scene
        self.size = size
        self.n = len(scene["y"])
        self.scale = self.column(scene["scale"])
        self.faces_right = scene["flip"][:, None, None] > 0
        shape = (self.n, size, size)
        at = (np.arange(size) + 0.5) / size
        self.px = np.broadcast_to(at, shape)
        self.py = np.broadcast_to(at[:, None], shape)
        centre = self.column(scene["centre"])
        dx = self.px - centre[..., 0]
        dy = self.py - centre[..., 1]
        angle = self.column(scene["angle"])
        dx, dy = rotate(dx, dy, -angle)
        flip = self.column(scene["flip"])
        self.u = flip * dx / self.scale
        self.v = dy / self.scale
        self.image = background(scene, self.px, self.py)
        self.owner = np.full(shape, BACKGROUND, np.int8)
        self.gone = np.zeros((self.n, COVER + 1), bool)  # with PLUMAGE and COVER
        if "without" in scene:
            self.gone[:, : len(PARTS)] = scene["without"]

    def column(self, value):
        """(n, ...) -> (n, 1, 1, ...)."""
        return value.reshape(self.n, 1, 1, *value.shape[1:])

    def kept(self, d, part):
        """The distance d (n, size, size), infinite where the image has no ``part``, an index or (n, 1, 1) of them."""
        part = np.broadcast_to(part, (self.n, 1, 1))
        gone = np.take_along_axis(self.gone, part[:, 0], axis=1)  # (n, 1)
        return np.where(gone[..., None], np.inf, d)

    def layer(self, d, colour, part=PLUMAGE, unit=None):
        """Paint ``part`` where the distance d (n, size, size), in units of ``unit``, is negative.

        ``unit`` is the bird's by default. A pixel at the edge is painted in part, and belongs to what covers it most.
        """
        if unit is None:
            unit = self.scale
        cover = 0.5 - self.kept(d, part) * unit * self.size
        cover = cover.clip(0, 1)
        self.image = self.image + cover[..., None] * (colour - self.image)
        part = np.asarray(part, np.int8)
        np.copyto(self.owner, part, where=cover > 0.5)

    def sided(self, near, kind):
        """(n, 1, 1): the part index of the near or far eye, leg or wing."""
        right, left = PARTS.index(f"right {kind}"), PARTS.index(f"left {kind}")
        return np.where(self.faces_right == near, right, left)

    def of_mark(self, mark, choices):
        """The colour of each image's value: (n, 1, 1, 3) or (n, size, size, 3)."""
        values = self.scene["values"][:, list(MARKS).index(mark)]
        value = self.column(values)[..., None]
        return np.select([value == i for i in range(len(choices))], choices)

    def marked(self, mark):
        """The plain colour of a mark."""
        colours = [np.array(COLOURS[name]) for name in MARKS[mark]]
        return self.of_mark(mark, colours)

    def wing(self, shoulder, stretch, angle, part, outline):
        """A wing with the pattern of its mark: bars, spots or plain."""
        u0, v0 = shoulder
        du, dv = rotate(self.u - u0, self.v - v0, -angle)  # the wing lies along -du
        d = ellipse(
            du,
            dv,
            WING[0] * stretch,
            WING[1] * stretch,
            0.155 * stretch,
            0.075 * stretch,
            -0.15,
        )
        self.layer(self.kept(d, part) - 0.014, outline)
        patterns = [
            bars(du),
            spots(du, dv),
            np.array(COLOURS["chestnut"]),
        ]
        self.layer(d, self.of_mark("wing", patterns), part)


def bars(du):
    """(n, size, size, 3): black and white bars across a wing."""
    phase = (du / 0.1) % 1
    is_black = np.abs(phase - 0.5) < 0.25
    return np.where(is_black[..., None], COLOURS["black"], COLOURS["white"])


def spots(du, dv):
    """(n, size, size, 3): rows of yellow spots on navy, every other row shifted by half a spot."""
    column = du / 0.085
    row = dv / 0.075 + 0.5 * np.floor(du / 0.085)
    eu, ev = column % 1 - 0.5, row % 1 - 0.5  # from the centre of the nearest spot
    is_spot = np.hypot(eu, ev) < 0.33
    return np.where(is_spot[..., None], COLOURS["yellow"], COLOURS["navy"])


def paint(scene, size):
    """The images of a scene, as ``render`` returns them."""
    canvas = Canvas(scene, size)
    paint_bird(canvas)
    paint_cover(canvas)
    x = np.rint(canvas.image.clip(0, 1) * 255).astype(np.uint8)
    return np.ascontiguousarray(x.transpose(0, 3, 1, 2)), canvas.owner


def paint_bird(canvas):
    """Legs, far wing, body with its marks, near wing."""
    u, v, layer = canvas.u, canvas.v, canvas.layer
    part = PARTS.index
    plumage = canvas.column(canvas.scene["plumage"][:, 0])
    pale = canvas.column(canvas.scene["plumage"][:, 1])
    pale = 0.6 * pale + 0.4
    outline = 0.4 * plumage
    shapes = bird_shapes(canvas)

    paint_leg(canvas, False, hip=-0.02, foot=-0.035)
    paint_leg(canvas, True, hip=0.05, foot=0.05)
    angle = canvas.column(canvas.scene["lift"])
    canvas.wing(FAR_SHOULDER, 1.15, angle + 0.35, canvas.sided(False, "wing"), outline)
    layer(shapes["whole"] - 0.014, outline)
    layer(shapes["tail"], canvas.marked("tail"), part("tail"))
    layer(shapes["body"], plumage, part("back"))
    layer(shapes["belly"], pale, part("belly"))
    layer(shapes["neck"], plumage, part("nape"))
    layer(shapes["breast"], canvas.marked("breast"), part("breast"))
    layer(shapes["head"], 0.85 * plumage)
    layer(shapes["throat"], pale, part("throat"))
    layer(shapes["forehead"], pale, part("forehead"))
    layer(shapes["crown"], canvas.marked("crown"), part("crown"))
    layer(shapes["beak"], canvas.marked("beak"), part("beak"))
    for radius, colour in ((0.04, "white"), (0.026, "black")):
        eye = ellipse(u, v, *SPOTS["near eye"], radius, radius)
        layer(eye, np.array(COLOURS[colour]), canvas.sided(True, "eye"))
    canvas.wing(SHOULDER, 1.0, angle, canvas.sided(True, "wing"), outline)


def paint_leg(canvas, near, hip, foot):
    """The near or the far leg, from the hip's to the foot's u."""
    u, v = canvas.u, canvas.v
    shank = capsule(u, v, (hip, 0.12), (foot, 0.32), 0.018)
    toes = capsule(u, v, (foot, 0.32), (foot + 0.06, 0.33), 0.014)
    leg = np.minimum(shank, toes)
    brown = np.array([0.35, 0.25, 0.2])
    canvas.layer(leg, brown, canvas.sided(near, "leg"))


def bird_shapes(canvas):
    """{name: signed distance} of the bird's body and head; "whole" is the outline of the parts that it has."""
    u, v = canvas.u, canvas.v
    body = ellipse(u, v, 0.0, 0.03, 0.23, 0.14, -0.25)
    neck = capsule(u, v, (0.10, -0.02), (0.19, -0.16), 0.085)
    head = ellipse(u, v, 0.2, -0.17, 0.11, 0.105)
    tail = polygon(u, v, (-0.15, 0.02), (-0.17, 0.10), (-0.44, 0.19), (-0.46, 0.06))
    beak = polygon(u, v, (0.28, -0.22), (0.45, -0.15), (0.28, -0.11))
    crest = polygon(u, v, (0.10, -0.36), (0.26, -0.27), (0.10, -0.20))
    top_of_head = np.maximum(head, v + 0.215 + 0.5 * (u - 0.2))
    crown = np.minimum(crest, top_of_head)
    bird = np.minimum(np.minimum(body, neck), head)
    belly = ellipse(u, v, 0.02, 0.13, 0.15, 0.07)
    breast = ellipse(u, v, 0.165, 0.015, 0.085, 0.095)
    throat = ellipse(u, v, 0.235, -0.095, 0.07, 0.045)
    forehead = ellipse(u, v, 0.275, -0.215, 0.045, 0.045)
    ends = {"tail": tail, "beak": beak, "crown": crown}
    there = [canvas.kept(d, PARTS.index(name)) for name, d in ends.items()]
    whole = np.minimum(np.minimum(bird, there[0]), np.minimum(*there[1:]))
    return {
        "whole": whole,
        "tail": tail,
        "body": body,
        "belly": np.maximum(belly, body),
        "neck": neck,
        "breast": np.maximum(breast, bird),
        "head": head,
        "throat": np.maximum(throat, bird),
        "forehead": np.maximum(forehead, head),
        "crown": crown,
        "beak": beak,
    }


def paint_cover(canvas):
    """Grass and a leaf, in front of the bird."""
    px, py = canvas.px, canvas.py
    keys = ("phases", "green", "grass", "leaf")
    scene = {key: canvas.column(canvas.scene[key]) for key in keys}
    phases = scene["phases"]
    green = scene["green"]
    wave = (px * 9 + phases[..., 0]) % 1
    height = np.abs(wave - 0.5)
    height = height * 0.16
    blades = height + scene["grass"] - py
    canvas.layer(blades * 0.4, green[..., 0, :], COVER, unit=1)
    centre = scene["leaf"]
    leaf = ellipse(
        px,
        py,
        centre[..., 0],
        centre[..., 1],
        0.1,
        0.06,
        phases[..., 1],
    )
    canvas.layer(leaf, green[..., 1, :], COVER, unit=1)


def background(scene, px, py):
    """(n, size, size, 3): a gradient between two muted colours, four waves, and grain."""
    size = px.shape[-1]
    mix = py[..., None]
    ground = scene["ground"][:, None, None]  # (n, 1, 1, 2, 3)
    image = (1 - mix) * ground[..., 0, :] + mix * ground[..., 1, :]
    for k in range(4):
        wave = scene["waves"][:, None, None, k]
        phase = scene["phases"][:, k, None, None]
        tint = scene["tint"][:, None, None, k]
        turn = wave[..., 0] * px + wave[..., 1] * py
        height = np.sin(turn + phase)
        image = image + height[..., None] * tint
    grains = []
    for seed in scene["noise"]:
        rng = np.random.default_rng(seed)
        grains.append(rng.random((size, size, 1)))
    grain = np.stack(grains)
    return image + 0.06 * (grain - 0.5)


# --------------------------------------------------------------------------------------------- what is true of it


def annotate(scene, owner):
    """boxes (n, 4), parts (n, 15, 2), part_visible (n, 15) of rendered images."""
    n, size, _ = owner.shape
    parts = part_locations(scene)
    parts = parts * size
    pixel = np.floor(parts).astype(int)  # (n, 15, 2): column, row
    inside = (pixel >= 0) & (pixel < size)
    pixel = pixel.clip(0, size - 1)
    column, row = pixel[..., 0], pixel[..., 1]
    image = np.arange(n)[:, None]
    shown = owner[image, row, column]  # (n, 15)
    visible = inside.all(-1) & (shown == np.arange(len(PARTS)))
    parts = np.where(visible[..., None], parts, 0)
    bird = (owner >= 0) & (owner != COVER)
    boxes = tight_boxes(bird)
    return boxes.astype(np.float32), parts.astype(np.float32), visible


def tight_boxes(mask):
    """(n, 4) x0, y0, x1, y1 around the pixels of masks (n, size, size)."""
    size = mask.shape[1]
    rows, columns = mask.any(2), mask.any(1)  # (n, size)
    left, top = columns.argmax(1), rows.argmax(1)
    right = size - columns[:, ::-1].argmax(1)
    bottom = size - rows[:, ::-1].argmax(1)
    return np.stack([left, top, right, bottom], -1)


def part_locations(scene):
    """(n, 15, 2) x, y in units of the image; the far eye, which is behind the head, is at (-1, -1)."""
    n = len(scene["y"])
    spots = {"far eye": np.full((n, 2), -1.0), **locations(scene)}
    faces_right = scene["flip"][:, None] > 0
    parts = np.zeros((n, len(PARTS), 2))
    for i, part in enumerate(PARTS):
        side, _, kind = part.rpartition(" ")
        if side:
            near, far = spots[f"near {kind}"], spots[f"far {kind}"]
            parts[:, i] = np.where(faces_right == (side == "right"), near, far)
        else:
            parts[:, i] = spots[part]
    return parts


def sufficient_sets(c):
    """The smallest sets of marks that tell class c from all others, each a set of indices into ``MARKS``."""
    asks = RULES != ANY
    tells = asks[c] & asks & (RULES[c] != RULES)  # (C, marks)
    others = np.delete(tells, c, axis=0)
    found = []
    for size in range(1, len(MARKS) + 1):
        for marks in combinations(range(len(MARKS)), size):
            is_enough = others[:, marks].any(1).all()
            is_smallest = not any(s < set(marks) for s in found)
            if is_enough and is_smallest:
                found.append(set(marks))
    return found


def shared_marks(c, other):
    """The marks of which two classes require the same value, (marks,) bool."""
    return (RULES[c] == RULES[other]) & (RULES[c] != ANY)
