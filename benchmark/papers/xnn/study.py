"""The human study of Sec. 4.1 as a kit: people sort ten images into four groups, without help, with one heat map of
the network, and with the heat maps of seven x-features.

Pool: at most 50 test images of each of four classes; five sets of ten are drawn from it at random, so that a kit
shows 50 images. A form has three stages with ten images each: NoVis first, then 1-Heatmap and XNN in random order,
each with another set; over five forms every set comes once in every stage. The authors draw the set of a stage at
random and run two data sets in turn; a kit is for one data set.

Theory: purity of a person's groups against the classes that the network predicts,

    purity = 1/N sum_g max_c |{x in group g : Class(x) = c}|,

N the images of a stage. Ten images in four groups have a purity far above 1/4 even if they are dealt at random, so
the mean purity of 2,000 random deals of the same sizes is given beside it.

Reference: Qi, Khorram, Fuxin. Embedding Deep Networks into Visual Explanations. Artificial Intelligence 2021, Sec. 4.1.
"""

from __future__ import annotations

import string
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.random import Generator
from torch import Tensor

from benchmark.api import Array, Batch
from benchmark.papers import Study
from benchmark.papers.kits import (
    Kit,
    Score,
    Shown,
    Stage,
    Task,
    check_classes,
    levels,
    mean_score,
    published_values,
    share_score,
)
from benchmark.papers.xnn import maps, srae
from benchmark.papers.xnn.network import Setting
from benchmark.shared.excitation_backprop import class_maps
from benchmark.utils.seeds import generator

LIKE = {
    "human_study": ("classes", "layer", "training", "n"),
    "table1": ("layer", "training", "to"),
}
CONFIDENCE = ("Zero", "Very low", "Low", "Mediocre", "High", "Very high", "100%")
RATING = (
    "Very poor",
    "Poor",
    "Slightly poor",
    "Neutral or N/A",
    "Slightly good",
    "Good",
    "Very good",
)
PUBLISHED = {
    "NoVis": "NoVis",
    "1-Heatmap": "1-Heatmap ExcitationBP",
    "XNN": "XNN",
}
HOW = {
    "NoVis": "Sort the images by what you see.",
    "1-Heatmap": "The heat map beside each image shows in bright colours what an AI looks at to tell the images apart.",
    "XNN": "An AI tells the images apart by several features of its own. Each heat map shows in bright colours where "
    "one of them looks, feature 1 always in the first place, and the number how much it adds to the AI's decision "
    "on this image (negative: it speaks against it).",
}
DEALS = 2000  # random groupings behind the purity of chance


@dataclass(frozen=True, eq=False)
class Explained:
    """The images of all sets, with what is shown of them; N images."""

    x: Array  # (N, c, h, w) uint8
    ids: Array  # (N,) in the test split
    predicted: Sequence[str]  # (N,) class names
    heat: Array  # (N, h, w), the 1-Heatmap
    features: Array  # (N, n, h, w), maps of the x-features
    added: Array  # (N, n), percent of the contributions to the predicted class


def kit(
    study: Study,
    rng: Generator,
    *,
    forms: int = 5,
    classes: Sequence[int] = (0, 1, 2, 3),
    n: int = 7,
    training: Mapping[str, Any] | None = None,
    layer: str | None = None,
    to: str | None = None,
    pool: int = 50,
    sets: int = 5,
    images: int = 10,
) -> Kit:
    """The study.

    Args:
        classes: that people tell apart; n, training, layer: of the XNN, as for ``replicate.human_study``; to: the
            layer that maps are taken at.
        pool: test images of each class, at most. sets, images: that are drawn from them, and images in each.

    Raises:
        ValueError: fewer test images than ``sets`` times ``images``, or fewer sets than stages.
    """
    check_classes(classes, study.target.classes)
    rows = _drawn(study, classes, pool, sets * images, rng)
    if sets < len(HOW):
        raise ValueError(
            f"sets={sets}: each of the {len(HOW)} stages shows another set"
        )
    explained = _explain(study, rng, rows, classes, n, training, layer, to)
    numbers = np.arange(sets * images).reshape(sets, images)
    names = [study.target.classes[c] for c in classes]
    groups = ", ".join(_letters(len(classes)))
    return Kit(
        title="Sort images into groups",
        text=(
            f"You will see {len(HOW)} times {images} images. Please sort each time the {images} images into "
            f"{len(classes)} groups, {groups}, so that images of the same kind are in the same group. "
            "What the groups are called does not matter, they need not be of equal size, and one may stay empty.",
            "There is no time limit. If you are unsure, choose what seems most likely.",
        ),
        forms=[_form(explained, numbers, f, rng, len(classes)) for f in range(forms)],
        facts={"classes": names, "n": n, "images": [int(i) for i in explained.ids]},
    )


def _drawn(
    study: Study, classes: Sequence[int], pool: int, count: int, rng: Generator
) -> Array:
    """``count`` test images out of a pool of at most ``pool`` of each class, in random order."""
    y = study.data.arrays["y_test"]
    rows = []
    for c in classes:
        of_class = np.flatnonzero(y == c)
        rows.append(rng.permutation(of_class)[:pool])
    rows = np.concatenate(rows)
    if len(rows) < count:
        raise ValueError(
            f"the classes {tuple(classes)} of {study.dataset} have {len(rows)} test images, "
            f"fewer than the {count} of all sets; set `sets`, `images` or `classes`"
        )
    return rng.permutation(rows)[:count]


def _explain(
    study: Study,
    rng: Generator,
    rows: Array,
    classes: Sequence[int],
    n: int,
    training: Mapping[str, Any] | None,
    layer: str | None,
    to: str | None,
) -> Explained:
    """Trains one XNN for all classes, and takes the maps of the images ``rows`` of the test split."""
    target, chosen = study.target, list(classes)
    of_classes = np.isin(study.data.arrays["y_train"], chosen)
    seen = _batch(study, "train", np.flatnonzero(of_classes))
    at = maps.find(target, seen.x, layer)
    setting = Setting(**{"accept": "live", **(training or {}), "n": n})
    data = srae.together(at(target, seen), target(seen)[:, chosen])
    xnn = srae.fit(data, setting, rng)

    batch = _batch(study, "test", rows)
    predicted = target(batch)[:, chosen].argmax(1)  # (N,) among the classes
    logits = torch.tensor(chosen, device=predicted.device)[predicted]
    heat, features, added = [], [], []
    for part, k, logit in zip(batch.x.split(1), predicted.tolist(), logits.split(1)):
        heat.append(class_maps(target, part, logit, to=to))
        features.append(maps.feature_maps(xnn, target, part, 0, at, to)[:, 0])
        added.append(xnn.contributions(at(target, part), 0, k)[0])
    return Explained(
        levels(batch.x),
        rows,
        [target.classes[c] for c in logits.tolist()],
        torch.cat(heat).cpu().numpy(),
        torch.stack(features).cpu().numpy(),
        _percent(torch.stack(added)),
    )


def _batch(study: Study, split: str, rows: Array) -> Batch:
    """The images ``rows`` of a split."""
    pixels = np.prod(study.data.input_shape[1:])
    chunk = max(1, min(64, int(2**20 // pixels)))
    return study.data.batch(split, rows, device=study.device, chunk=chunk)


def _percent(added: Tensor) -> Array:
    """v_i E_i (N, n) in percent of their absolute sum for each image; 0 where all are 0."""
    total = added.abs().sum(1, keepdim=True).clamp(min=1e-12)
    return (100 * added / total).cpu().numpy()


# --------------------------------------------------------------------------------------------- forms


def _form(
    explained: Explained, sets: Array, form: int, rng: Generator, groups: int
) -> list[Stage]:
    """The stages of a form: NoVis, then the other two in random order, then the ratings.

    Args:
        sets: (sets, images) numbers of ``explained``.
    """
    others = ["1-Heatmap", "XNN"]
    order = ["NoVis", *rng.permutation(others)]
    stages = []
    for s, name in enumerate(HOW):  # every set comes in every stage, over the forms
        numbers = rng.permutation(sets[(form + s) % len(sets)])
        place = order.index(name)
        stages.append((place, _stage(name, place, explained, numbers, groups)))
    stages = [stage for _, stage in sorted(stages, key=lambda pair: pair[0])]
    return [*stages, _ratings(order)]


def _stage(
    name: str, place: int, explained: Explained, numbers: Array, groups: int
) -> Stage:
    """One batch of images to sort, and how sure the person is."""
    tasks = []
    for i, number in enumerate(numbers, 1):
        truth = {
            "class": explained.predicted[number],
            "image": int(explained.ids[number]),
        }
        pictures = _pictures(name, explained, number, i)
        question = f"Group of image {i}"
        tasks.append(Task(question, _letters(groups), pictures, truth=truth))
    sure = (
        "What is your confidence level that the answers you picked will group all the samples "
        "correctly?"
    )
    tasks.append(Task(sure, CONFIDENCE, truth={"asks": "confidence"}))
    title = f"Part {place + 1}: sort {len(numbers)} images"
    return Stage(name, title, HOW[name], tasks)


def _pictures(name: str, explained: Explained, number: int, i: int) -> list[Shown]:
    """The image and, depending on the stage, its heat maps."""
    image = explained.x[number]
    pictures = [Shown(image, f"image {i}")]
    if name == "1-Heatmap":
        heat = explained.heat[number]
        pictures.append(Shown(image, f"heat map of image {i}", heat))
    if name == "XNN":
        of_image = zip(explained.features[number], explained.added[number])
        for j, (heat, added) in enumerate(of_image, 1):
            caption = f"{j}: {added:+.0f} %" if round(added) else f"{j}: 0 %"
            what = f"heat map {j} of image {i}"
            pictures.append(Shown(image, what, heat, caption))
    return pictures


def _ratings(order: Sequence[str]) -> Stage:
    """How good each agent was, as the authors' printed questions ask."""
    tasks = []
    for name in order[1:]:
        part = order.index(name) + 1
        what = "one heat map" if name == "1-Heatmap" else "several heat maps"
        question = (
            f"The AI of part {part} showed you {what} of each image. How do you rate its "
            "performance in distinguishing images from each other?"
        )
        tasks.append(Task(question, RATING, truth={"asks": "rating", "of": name}))
    return Stage("ratings", "At the end", "Please compare the two AIs.", tasks)


def _letters(count: int) -> list[str]:
    return list(string.ascii_uppercase[:count])


# --------------------------------------------------------------------------------------------- scores


def purity(groups: Sequence[Any], classes: Sequence[Any]) -> float:
    """Share of images that belong to the most frequent class of their group, in percent."""
    return _purity(_one_hot(groups), _one_hot(classes))


def purity_of_chance(groups: Sequence[Any], classes: Sequence[Any]) -> float:
    """Mean purity of groups of the same sizes that are dealt at random."""
    rng = generator("study", "xnn", "chance")
    G, C = _one_hot(groups), _one_hot(classes)
    dealt = []
    for _ in range(DEALS):
        dealt.append(_purity(G, rng.permutation(C)))
    return float(np.mean(dealt))


def _one_hot(names: Sequence[Any]) -> Array:
    """(N, different names), 1 where an image has the name."""
    _, numbers = np.unique(np.asarray(names), return_inverse=True)
    return np.eye(numbers.max() + 1)[numbers]


def _purity(G: Array, C: Array) -> float:
    """Of groups G (N, groups) and classes C (N, classes), one-hot."""
    counts = G.T @ C  # (groups, classes)
    return 100 * float(counts.max(axis=1).sum()) / len(G)


def score(answers: pd.DataFrame, published: pd.DataFrame) -> Iterator[Score]:
    """Purity of each stage, what XNN gains, confidence, and which agent people rate higher.

    Args:
        answers: person, form, stage, answer and the truth's columns ``class``, ``asks``, ``of``.
        published: results/reported/xnn.csv.
    """
    found = _purities(answers)
    for name in HOW:
        if name in found:
            text = published_values(
                published, metric="clustering_purity_pct", method=PUBLISHED[name]
            )
            of_stage = found[name].dropna()
            yield mean_score("purity, %", name, of_stage, "forms", text, most=100)
            chance = found[f"chance {name}"].dropna()
            yield mean_score("purity of chance, %", name, chance, "forms", most=100)
    for other in ("NoVis", "1-Heatmap"):
        if {"XNN", other} <= set(found):
            gain = (found["XNN"] - found[other]).dropna()
            if len(gain):
                what = f"XNN - {other}"
                yield mean_score("gain in purity, points", what, gain, "forms")
    yield from _confidence(answers)
    yield from _preference(answers)


def _purities(answers: pd.DataFrame) -> pd.DataFrame:
    """Purity, and that of chance, of each person and form (rows) in each stage (columns)."""
    keys = ["person", "form", "stage"]
    in_groups = answers[answers["class"].notna()]
    found = []
    for key, part in in_groups.groupby(keys):
        person, form, stage = key
        groups, classes = part["answer"], part["class"]
        chance = purity_of_chance(groups, classes)
        found.append((*key, purity(groups, classes)))
        found.append((person, form, f"chance {stage}", chance))
    table = pd.DataFrame(found, columns=[*keys, "purity"])
    return table.pivot(index=["person", "form"], columns="stage", values="purity")


def _confidence(answers: pd.DataFrame) -> Iterator[Score]:
    """From 0 (zero) to 6 (100 %)."""
    asked = answers[answers["asks"] == "confidence"]
    for name in HOW:
        given = asked[asked["stage"] == name]["answer"].map(CONFIDENCE.index)
        if len(given):
            yield mean_score("confidence, 0 to 6", name, given, "forms", most=6)


def _preference(answers: pd.DataFrame) -> Iterator[Score]:
    """How many rate XNN above the 1-Heatmap, of those who rate one of them higher."""
    asked = answers[answers["asks"] == "rating"].copy()
    if not len(asked):
        return
    asked["answer"] = asked["answer"].map(RATING.index)
    both = asked.pivot(index=["person", "form"], columns="of", values="answer")
    both = both.reindex(columns=["XNN", "1-Heatmap"]).dropna()
    higher = int((both["XNN"] > both["1-Heatmap"]).sum())
    lower = int((both["XNN"] < both["1-Heatmap"]).sum())
    if higher + lower:
        n = higher + lower
        what = "of those not even"
        yield share_score(
            "rate XNN higher, %", what, higher, n, "forms", method="exact"
        )
