"""True parts: toybirds drawn again without a crown, a beak, wings, a tail or a breast, and what the map said of them.

Idea: where a data set is rendered, a part can be taken away without a trace, instead of being covered by a colour that
no network has seen. The protocol is that of FunnyBirds (Hesse, Schaub-Meyer, Roth), on the birds of
``datasets/toybirds.py``: bit for bit the images of the test set, and the same scenes without some parts, grass or leaf.

Theory, for a map Phi of an image x with class c:
    PI(p)        sum of Phi over the part's visible pixels, dilated by 5 x 5
    important    PI(p) > t sum Phi
    t            of 80 values from 0.01 to 0.5 the one with the largest sum of completeness (mean of controlled
                 synthetic data check, preservation and deletion) and distractibility. The authors choose it on the test
                 images that they report; here on up to ``OWN`` other birds that no network was trained or tested on,
                 which the method explains for this purpose
The parts are the five that carry marks (both wings together): three of them define the class, two do not matter, which
three depends on the class. Distractors are these two, grass and leaf, wherever the network does not look at them.

Weaknesses, to be read with every score; figures in ``docs/true-parts.md``:
- The networks have seen no bird without a part: what they answer to one is a guess, as for any removed pixels, though a
  far better one. FunnyBirds' own networks are trained on such birds.
- Preservation alone is won by a map for which everything is important, distractibility by one for which nothing is:
  read them together, as the threshold is chosen.
- PI is a sum: a map that spreads evenly favours large parts. Signed maps whose sum is small or negative make every part
  important.
- A few parts and few distinct values: single images say little, and a metric near 0 or 1 needs many.

Reference: Hesse, Schaub-Meyer, Roth. FunnyBirds: A Synthetic Vision Dataset for a Part-Based Analysis of Explainable AI
Methods. ICCV 2023, arXiv:2308.06248, and the authors' code, which settles what the paper leaves open.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import torch
from numpy.random import Generator
from scipy import ndimage

from benchmark.api import (
    Array,
    Batch,
    Explain,
    Explanation,
    NotApplicable,
    Target,
    calling_metric,
    metric,
)
from benchmark.metrics.again import asked, by_class, maps_of
from benchmark.metrics.masking import heatmaps, shared
from benchmark.metrics.regions import spearman
from benchmark.shared import toybirds
from benchmark.utils.seeds import generator

MARKS = len(toybirds.MARKS)  # the parts of the protocol
# of each, the indices into ``toybirds.PARTS``
CARRIERS = [list(map(toybirds.PARTS.index, p)) for p in toybirds.CARRIERS.values()]
SETS = 2**MARKS  # of parts that a bird has; bit i: part i
GRASS, LEAF = SETS, SETS + 1  # drawings without one of these
THRESHOLDS = np.linspace(0.01, 0.5, 80)
OWN = 32  # birds that the threshold is chosen on
SMALL_EFFECT = 0.05  # of the logit: a part with less does not matter
MOST = 5_000  # test images that a data set of birds has, at most

ANNOTATIONS = {"heatmaps", "parts", "part_importance"}


# --------------------------------------------------------------------------------------------- birds


@dataclass(frozen=True, eq=False)
class Birds:
    """n birds, whose drawings without parts are made when they are asked for.

    Attributes:
        scene: what ``toybirds.render`` draws, n rows.
        x: (n, 3, s, s) uint8, the images.
        areas: (n, 7, s, s) bool, the dilated pixels of the five parts, grass and leaf.
    """

    scene: dict[str, Array]
    x: Array
    areas: Array
    drawn: dict[tuple[int, int], Array]

    @classmethod
    def of(cls, scene: dict[str, Array], size: int) -> Birds:
        x, owner = toybirds.render(scene, size)
        _, without_grass = toybirds.render(_without(scene, GRASS), size)
        leaf = without_grass == toybirds.COVER
        grass = (owner == toybirds.COVER) & ~leaf
        shown = []
        for carriers in CARRIERS:
            shown.append(np.isin(owner, carriers))
        areas = np.stack([*shown, grass, leaf], axis=1)
        dilated = ndimage.binary_dilation(areas, np.ones((1, 1, 5, 5)))
        return cls(scene, x, dilated, {})

    def __len__(self) -> int:
        return len(self.x)

    def drawings(self, rows: Array, which: Array) -> Array:
        """Drawings (m, 3, s, s) uint8 of birds ``rows`` with the parts of the sets ``which`` (m,), or without GRASS or
        LEAF; each is made once."""
        keys = list(zip(rows.tolist(), which.tolist(), strict=True))
        todo = set(keys) - self.drawn.keys()
        for kind in {kind for _, kind in todo}:
            mine = sorted(row for row, other in todo if other == kind)
            self._draw(mine, kind)
        return np.stack([self.drawn[key] for key in keys])

    def _draw(self, rows: list[int], kind: int) -> None:
        """Draw birds ``rows`` with the parts of one set, or without GRASS or LEAF."""
        scene = {key: value[rows] for key, value in self.scene.items()}
        size = self.x.shape[-1]
        scene = _without(scene, kind)
        x, _ = toybirds.render(scene, size)
        for row, drawing in zip(rows, x, strict=True):
            self.drawn[row, kind] = drawing


def _without(scene: dict[str, Array], kind: int) -> dict[str, Array]:
    """The scene with the parts of a set, or without GRASS or LEAF."""
    if kind == GRASS:
        return scene | {"grass": np.full_like(scene["grass"], 2)}
    if kind == LEAF:
        return scene | {"leaf": np.full_like(scene["leaf"], 3)}
    there = kind >> np.arange(MARKS) & 1
    gone = np.zeros((len(scene["y"]), len(toybirds.PARTS)), bool)
    for is_there, carriers in zip(there, CARRIERS, strict=True):
        gone[:, carriers] = not is_there
    return scene | {"without": gone}


def birds_of(batch: Batch) -> Birds:
    """The birds of a batch of test images of toybirds.

    Raises:
        NotApplicable: the images are others.
    """
    y, x = batch.y.cpu().numpy(), batch.x.mul(255).round().byte().cpu().numpy()
    ids = np.arange(len(batch)) if batch.ids is None else batch.ids.cpu().numpy()
    birds = _found(tuple(ids.tolist()), y.tobytes(), x.tobytes(), x.shape, MOST)
    if birds is None:
        raise NotApplicable(
            "the images are no test images of toybirds, so their parts cannot be removed"
        )
    return birds


@functools.lru_cache(maxsize=2)
def _found(
    ids: tuple[int, ...],
    labels: bytes,
    pixels: bytes,
    shape: tuple[int, ...],
    most: int,
) -> Birds | None:
    """A scene depends on its number and on how many the test set has; the classes of the images tell how many."""
    y, rows = np.frombuffer(labels, np.int64), list(ids)
    is_square = shape[1] == 3 and shape[2] == shape[3]
    for n in range(max(ids) + 1, most + 1 if is_square else 0):
        if not np.array_equal(toybirds.draw_classes(_drawing(), n)[rows], y):
            continue
        scene = toybirds.draw_scene(_drawing(), n)
        birds = Birds.of({k: v[rows] for k, v in scene.items()}, shape[-1])
        if birds.x.tobytes() == pixels:
            return birds
    return None


def _drawing() -> Generator:
    """What the test images of ``datasets/toybirds.py`` are drawn with."""
    return generator("toybirds", "test")


@functools.lru_cache(maxsize=2)
def own_birds(n: int, size: int) -> Birds:
    """Birds that are in no data set, to choose the threshold on."""
    scene = toybirds.draw_scene(generator("toybirds", "thresholds"), n)
    return Birds.of(scene, size)


# --------------------------------------------------------------------------------------------- answers


@dataclass(frozen=True, eq=False)
class Answers:
    """What a network answers to birds and to their drawings; each is asked once."""

    target: Target
    birds: Birds
    z: dict[tuple[int, int], Array]  # logits (C,)

    def __call__(self, which: Array | int) -> Array:
        """Logits (n, C) to each bird with the parts of its set ``which`` (n,), or one for all."""
        which = np.broadcast_to(which, len(self.birds))
        keys = list(enumerate(which.tolist()))
        todo = [row for row, key in enumerate(keys) if key not in self.z]
        if todo:
            rows = np.array(todo)
            z = self._asked(self.birds.drawings(rows, which[rows]))
            for row, logits in zip(todo, z, strict=True):
                self.z[keys[row]] = logits
        return np.stack([self.z[key] for key in keys])

    @torch.no_grad()
    def _asked(self, drawings: Array) -> Array:
        """Logits (m, C) to drawings (m, 3, s, s) uint8."""
        x = torch.from_numpy(drawings).to(self.target.device)
        parts = (x.float() / 255).split(64)
        z = torch.cat([self.target(part) for part in parts])
        return z.double().cpu().numpy()

    @property
    def whole(self) -> Array:
        """Logits (n, C) to the birds as they are."""
        return self(SETS - 1)

    def falls(self, c: Array) -> Array:
        """By how much the logit of class c (n,) falls without each part, grass and leaf: (n, 7)."""
        without = [SETS - 1 - 2**i for i in range(MARKS)]
        without += [GRASS, LEAF]
        before = _of_class(self.whole, c)
        after = [_of_class(self(which), c) for which in without]
        return before[:, None] - np.stack(after, axis=1)


def _of_class(z: Array, c: Array) -> Array:
    return np.take_along_axis(z, c[:, None], axis=1)[:, 0]


def answers_of(target: Target, batch: Batch, own: int = 0) -> Answers:
    """What the network answers to the birds of a batch, or to ``own`` birds that are in no data set."""
    key = "answers to birds", target, own
    if key not in batch.memo:
        birds = birds_of(batch)
        if own:
            birds = own_birds(own, batch.x.shape[-1])
        batch.memo[key] = Answers(target, birds, {})
    return batch.memo[key]


# --------------------------------------------------------------------------------------------- what a map says


def part_importance(maps: Array, birds: Birds) -> Array:
    """PI, (n, 7) float64, of the five parts, grass and leaf, by maps (n, h, w)."""
    return np.einsum("nhw,nphw->np", maps.astype(np.float64), birds.areas)


def important(maps: Array, birds: Birds, t: float) -> Array:
    """(n, 7) bool: the parts, and distractors, that maps (n, h, w) call important."""
    total = maps.sum((1, 2), dtype=np.float64)
    return part_importance(maps, birds) > t * total[:, None]


def _set_of(chosen: Array) -> Array:
    """The sets (n,) of the parts chosen (n, 7)."""
    return chosen[:, :MARKS] @ 2 ** np.arange(MARKS)


_sufficient_sets = functools.cache(toybirds.sufficient_sets)


def kept_answer(chosen: Array, answers: Answers) -> Array:
    """Preservation, (n,): 1 where the network gives the same class to the bird with its important parts alone."""
    z = answers(_set_of(chosen))
    return (z.argmax(1) == answers.whole.argmax(1)).astype(float)


def changed_answer(chosen: Array, answers: Answers) -> Array:
    """Deletion, (n,): 1 where it gives another class to the bird without its important parts."""
    z = answers(SETS - 1 - _set_of(chosen))
    return (z.argmax(1) != answers.whole.argmax(1)).astype(float)


def found_sufficient(chosen: Array, answers: Answers) -> Array:
    """Controlled synthetic data check, (n,): how much of a smallest sufficient set of parts is important; NaN where the
    network is wrong."""
    values = []
    for parts, c in zip(chosen, answers.birds.scene["y"], strict=True):
        shares = [parts[sorted(s)].mean() for s in _sufficient_sets(int(c))]
        values.append(max(shares))
    right = answers.whole.argmax(1) == answers.birds.scene["y"]
    return np.where(right, values, np.nan)


def not_distracted(chosen: Array, answers: Answers) -> Array:
    """Distractibility, (n,): 1 minus the share of irrelevant parts that are important; NaN without any."""
    c = answers.whole.argmax(1)
    y = _of_class(answers.whole, c)
    falls = answers.falls(c)
    least = SMALL_EFFECT * np.abs(y[:, None])
    irrelevant = (np.abs(falls) < least) | (falls < 0)
    # not every image has grass or a leaf
    irrelevant &= answers.birds.areas.any((2, 3))
    count = irrelevant.sum(1)
    distracting = (irrelevant & chosen).sum(1)
    share = distracting / np.maximum(count, 1)
    return np.where(count > 0, 1 - share, np.nan)


def best_threshold(maps: Array, answers: Answers) -> float:
    """t, by maps (n, h, w) of birds that are not scored; NaN: there is no map of this bird."""
    known, sums = np.isfinite(maps).all((1, 2)), []
    for t in THRESHOLDS:
        chosen = important(maps, answers.birds, t)
        found, kept, changed, undistracted = [
            _mean(check(chosen, answers)[known])
            for check in (found_sufficient, kept_answer, changed_answer, not_distracted)
        ]
        sums.append((found + kept + changed) / 3 + undistracted)
    return float(THRESHOLDS[np.argmax(sums)])


def _mean(values: Array) -> float:
    """Of those that are not NaN; 0 if there are none."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else 0.0


# --------------------------------------------------------------------------------------------- metrics


@metric(
    needs=ANNOTATIONS,
    track="heatmap",
    better="higher",
    unit="fraction",
    version=1,
    partial=True,
    source="Hesse et al. 2023, single deletion",
)
def single_deletion(
    e: Explanation, target: Target, batch: Batch, rng: Generator
) -> Array:
    """Single deletion. Does the map put more on parts whose removal the answer feels more?

    (rho + 1) / 2, (n,) in [0, 1]: rho is Spearman's correlation, over the five parts, of PI with the fall of the
    predicted class's logit when the part is removed.

    A map with equal PI has 0.5 (the authors leave such images out); NaN where no part changes the logit.

    Range: 0 to 1.
    Weakness: Five parts give a coarse order, and a part alone matters little where another says the same.
    """
    answers = answers_of(target, batch)
    c = answers.whole.argmax(1)
    falls = answers.falls(c)[:, :MARKS]
    importance = part_importance(heatmaps(e, batch), answers.birds)[:, :MARKS]
    rho = spearman(importance, falls)
    flat = falls.max(1) == falls.min(1)
    return np.where(flat, np.nan, (rho + 1) / 2)


def _checked(
    check: Callable[[Array, Answers], Array],
    e: Explanation,
    target: Target,
    batch: Batch,
    explain: Explain,
) -> Array:
    """A check, (n,), of what the maps call important by the threshold of the method and the network."""
    memo = shared(e, batch)
    if "threshold" not in memo:
        answers = answers_of(target, batch, own=min(OWN, 4 * len(batch)))
        maps = maps_of(explain(_own_batch(answers.birds, batch)))
        memo["threshold"] = best_threshold(maps, answers)
    answers = answers_of(target, batch)
    chosen = important(heatmaps(e, batch), answers.birds, memo["threshold"])
    return check(chosen, answers)


def _own_batch(birds: Birds, batch: Batch) -> Batch:
    """The birds that the threshold is chosen on, the same object each time."""
    key = "own birds", len(birds)
    if key not in batch.memo:
        device = batch.x.device
        x = torch.from_numpy(birds.x).to(device)
        y = torch.tensor(birds.scene["y"], dtype=torch.int64, device=device)
        ids = torch.arange(len(y), device=device)
        batch.memo[key] = Batch(x.float() / 255, y, ids, chunk=batch.chunk)
    return batch.memo[key]


@calling_metric(
    needs=ANNOTATIONS | {"explain"},
    calls=4,
    track="heatmap",
    better="higher",
    unit="fraction",
    version=1,
    source="Hesse et al. 2023, preservation check",
)
def preservation(
    e: Explanation, target: Target, batch: Batch, rng: Generator, explain: Explain
) -> Array:
    """Preservation of important parts. Does the network keep its answer with the important parts alone?

    [the network gives the same class to the bird that has its important parts alone], (n,), 0 or 1.

    Range: 0 or 1 per image.
    Weakness: A map that calls all parts important passes; read it beside distractibility.
    """
    return _checked(kept_answer, e, target, batch, explain)


@calling_metric(
    needs=ANNOTATIONS | {"explain"},
    calls=4,
    track="heatmap",
    better="higher",
    unit="fraction",
    version=1,
    source="Hesse et al. 2023, deletion check",
)
def deletion(
    e: Explanation, target: Target, batch: Batch, rng: Generator, explain: Explain
) -> Array:
    """Deletion of important parts. Does the network change its answer without the parts that the map calls important?

    [the network gives another class to the bird without its important parts], (n,), 0 or 1.

    Range: 0 or 1 per image.
    Weakness: A map that calls all parts important passes; read it beside distractibility.
    """
    return _checked(changed_answer, e, target, batch, explain)


@calling_metric(
    needs=ANNOTATIONS | {"explain"},
    calls=4,
    track="heatmap",
    better="higher",
    unit="fraction",
    version=1,
    partial=True,
    source="Hesse et al. 2023, controlled synthetic data check",
)
def controlled_synthetic_data_check(
    e: Explanation, target: Target, batch: Batch, rng: Generator, explain: Explain
) -> Array:
    """Controlled synthetic data check. How much of a smallest telling set of parts does the map call important?

    max over the smallest sets of parts S that tell the class of |important and S| / |S|, (n,) in [0, 1].

    On toybirds there is one such set for each class, of three parts. NaN where the network's class is wrong.

    Range: 0 to 1.
    Weakness: It asks for parts that suffice by the way that classes are made; a network may use others as well.
    """
    return _checked(found_sufficient, e, target, batch, explain)


@calling_metric(
    needs=ANNOTATIONS | {"explain"},
    calls=4,
    track="heatmap",
    better="higher",
    unit="fraction",
    version=1,
    partial=True,
    source="Hesse et al. 2023, distractibility",
)
def distractibility(
    e: Explanation, target: Target, batch: Batch, rng: Generator, explain: Explain
) -> Array:
    """Distractibility. How many of the parts that do not matter does the map call unimportant?

    1 - |irrelevant and important| / |irrelevant|, (n,) in [0, 1], over the five parts, grass and leaf; higher: less
    distracted.

    A part is irrelevant if the predicted class's logit changes by less than 5 % of itself, or rises, without it. NaN
    where all are relevant.

    Range: 0 to 1.
    Weakness: A map that calls nothing important passes; read it beside deletion.
    """
    return _checked(not_distracted, e, target, batch, explain)


@calling_metric(
    needs=ANNOTATIONS | {"explain"},
    calls=2,
    track="heatmap",
    better="higher",
    unit="fraction",
    version=1,
    partial=True,
    source="Hesse et al. 2023, target sensitivity",
)
def target_sensitivity(
    e: Explanation, target: Target, batch: Batch, rng: Generator, explain: Explain
) -> Array:
    """Target sensitivity. Does the map move to the parts of the class that is asked for?

    ([PI_a(A) > PI_b(A)] + [PI_b(B) > PI_a(B)]) / 2, (n,), 0, 0.5 or 1: asked for class a instead of b, the map says
    more of the parts A that the bird's class shares with a, and less of those that it shares with b.

    a and b are the first two classes that share some mark with the bird's class, and none with each other's; the
    authors': two marks of five each. NaN where there are none (one class of eight), or where the network does not mind:
    without A the logit of a must fall more than without B, and that of b the other way round.

    Range: 0, 0.5 or 1 per image.
    Weakness: Asked only where classes share parts and the network minds them; a map that ignores the class has 0.
    """
    answers, y = answers_of(target, batch), batch.y.cpu().numpy()
    pairs = [_two_classes(c) for c in y]
    found = np.full(len(y), np.nan)
    rows = np.array([i for i, pair in enumerate(pairs) if pair], int)
    if not len(rows):
        return found
    a, b, A, B = (np.array(each) for each in zip(*(pairs[i] for i in rows)))
    z = answers.whole[rows]
    without_A = answers(SETS - 1 - _sets_at(A, rows, len(y)))[rows] - z
    without_B = answers(SETS - 1 - _sets_at(B, rows, len(y)))[rows] - z
    minds = _of_class(without_A, a) < _of_class(without_B, a)
    minds &= _of_class(without_B, b) < _of_class(without_A, b)
    of_a = _asked_importance(target, batch, answers.birds, rows, a, explain)
    of_b = _asked_importance(target, batch, answers.birds, rows, b, explain)
    more_of_A = (of_a * A).sum(1) > (of_b * A).sum(1)
    more_of_B = (of_b * B).sum(1) > (of_a * B).sum(1)
    found[rows] = np.where(minds, (more_of_A + more_of_B.astype(float)) / 2, np.nan)
    return found


@functools.cache
def _two_classes(c: int) -> tuple[int, int, Array, Array] | None:
    """(a, b, A, B): the first classes whose marks in common with class c, A and B (5,) bool, have none in common."""
    others = [k for k in range(len(toybirds.RULES)) if k != c]
    for a, b in combinations(others, 2):
        A = toybirds.shared_marks(c, a)
        B = toybirds.shared_marks(c, b)
        share_some = A.any() and B.any()
        if share_some and not (A & B).any():
            return a, b, A, B
    return None


def _sets_at(parts: Array, rows: Array, n: int) -> Array:
    """The sets (n,) of parts (m, 5) at ``rows`` (m,), empty elsewhere."""
    found = np.zeros(n, int)
    found[rows] = parts @ 2 ** np.arange(MARKS)
    return found


def _asked_importance(
    target: Target,
    batch: Batch,
    birds: Birds,
    rows: Array,
    classes: Array,
    explain: Explain,
) -> Array:
    """PI (m, 5) by maps of the birds ``rows`` that are asked for ``classes``, both (m,)."""
    found = np.zeros((len(rows), MARKS))
    wanted = torch.full((len(batch),), -1)
    wanted[rows] = torch.from_numpy(classes)
    for c, mine, images in by_class(batch, wanted):
        if c >= 0:
            maps = maps_of(explain(images, asked(target, [images], c)))
            areas = birds.areas[mine, :MARKS]
            found[np.searchsorted(rows, mine)] = np.einsum("nhw,nphw->np", maps, areas)
    return found
