"""The A/B test of App. F as a kit: people tell two classes apart, first with the network's prediction alone (Test A),
then with RI's interpretation as well (Test B). Do they know better when to trust the network?

As printed: the same 50 images in both tests, each time in another random order; five answers from "Definite" of one
class to "Definite" of the other; people are told that the network is right on 80 % of images, whatever it is; in
Test B they may open, for each image, a heat map and similar images with theirs, and enlarge these: interpretation
actions, which are counted. The authors' written tutorial is not published: four labelled training images of each class
stand in its place.

Theory: "Not sure" scores 0, "Maybe" +1 or -1, "Definite" +2 or -2; a test's score is the sum. The difference score is
Score B - Score A, over the images that were answered in both. Fig. 7 has its mean for every 30 actions.

Reference: Lam, Chu, Torgonskiy, Pei, Zhang, Wang. Finding Representative Interpretations on Convolutional Neural
Networks. ICCV 2021, arXiv:2108.06384, App. F.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from numpy.random import Generator

from benchmark.api import Array
from benchmark.papers import Study
from benchmark.papers.kits import (
    Hint,
    Kit,
    Score,
    Shown,
    Stage,
    Task,
    check_classes,
    levels,
    mean_score,
    share_score,
)
from benchmark.papers.representative.boundaries import Way, sample
from benchmark.papers.representative.regions import Region, regions
from benchmark.papers.representative.replicate import Reference

LIKE = {"unseen": ("references", "n_boundaries")}
TESTS = {"Test A": "without", "Test B": "with"}
ACTIONS = 30  # of a bin in Fig. 7


@dataclass(frozen=True, eq=False)
class Explained:
    """The questions' images, with what RI says of them; m images."""

    x: Array  # (m, c, h, w) uint8
    ids: Array  # (m,) in the test split
    truth: Sequence[str]  # (m,) what people call the class
    predicted: Sequence[str]
    heat: Array  # (m, h, w)
    similar: Array  # (m, s, c, h, w) uint8
    similar_heat: Array  # (m, s, h, w)


def kit(
    study: Study,
    rng: Generator,
    *,
    forms: int = 5,
    classes: Sequence[int] | None = None,
    names: Sequence[str] = ("Kind 1", "Kind 2"),
    questions: int = 50,
    told: int = 80,
    similar: int = 5,
    examples: int = 4,
    references: int = 600,
    n_boundaries: int = 50,
    way: Way = "boundary",
) -> Kit:
    """The study.

    Args:
        classes: the two that people tell apart; None: those that the network confuses most. names: what people read;
            the data set's own may tell too much. questions: test images of them that the network puts into one of the
            two, as many of each class as there are.
        told: the accuracy that people are told, in percent. similar: images that an interpretation shows.
        examples: labelled training images of each class.
        references: |R|; n_boundaries: |Q|; way: how Q is sampled.

    Raises:
        ValueError: not two classes, or no test images of one of them.
    """
    if classes is None:
        classes = _confused(study)
    if len(set(classes)) != 2 or len(set(names)) != 2:
        raise ValueError(
            f"classes={tuple(classes)}, names={tuple(names)}: the A/B test is about two classes"
        )
    check_classes(classes, study.target.classes)
    called = dict(zip(classes, names))
    rows = _questions(study, classes, questions, rng)
    explained = _explain(
        study, rng, rows, called, similar, references, n_boundaries, way
    )
    right = [t == p for t, p in zip(explained.truth, explained.predicted)]
    return Kit(
        title=f"{names[0]} or {names[1]}?",
        text=(
            f"Each of the following images is of {names[0]} or of {names[1]}. Above are examples of both. Please study "
            "them first.",
            "A neural network has also looked at each image, and you will see what it says. It is right on about "
            f"{told}\u00a0% of images. You decide.",
        ),
        forms=[_form(explained, names, rng) for _ in range(forms)],
        examples=_examples(study, called, examples, rng),
        facts={
            "classes": [study.target.classes[c] for c in classes],
            "told_accuracy_pct": told,
            "accuracy_on_questions_pct": 100 * float(np.mean(right)),
            "images": [int(i) for i in explained.ids],
        },
    )


def _confused(study: Study) -> list[int]:
    """The two classes with most probability on each other's test images, the mean over the images of both."""
    C = len(study.target.classes)
    batch = study.data.batch("test", device=study.device, chunk=16)
    p = study.target(batch).softmax(1)
    of_class = [p[batch.y == c].mean(0) for c in range(C)]
    mean = torch.stack(of_class).nan_to_num()  # (C, C)
    both = (mean + mean.T).triu(1)
    most = int(both.argmax())
    return [most // C, most % C]


def _questions(
    study: Study, classes: Sequence[int], count: int, rng: Generator
) -> Array:
    """Test images of both classes, at most half of ``count`` of each, that the network puts into one of the two."""
    y = study.data.arrays["y_test"]
    rows = []
    for c in classes:
        ids = rng.permutation(np.flatnonzero(y == c))
        batch = study.data.batch("test", ids, device=study.device, chunk=16)
        predicted = study.target(batch).argmax(1).cpu().numpy()
        ids = ids[np.isin(predicted, classes)][: count // 2]
        if not len(ids):
            raise ValueError(
                f"no test image of {study.target.classes[c]} that the network takes for one of the two; "
                "choose other `classes`"
            )
        rows.append(ids)
    return np.concatenate(rows)


def _examples(
    study: Study, called: Mapping[int, str], count: int, rng: Generator
) -> list[Shown]:
    """The first things that people see: training images of both classes with their names."""
    shown = []
    for c, name in called.items():
        rows = np.flatnonzero(study.data.arrays["y_train"] == c)
        rows = rng.permutation(rows)[:count]
        for i, image in enumerate(study.data.arrays["x_train"][rows], 1):
            shown.append(Shown(image, f"example {i} of {name}", caption=name))
    return shown


def _explain(
    study: Study,
    rng: Generator,
    rows: Array,
    called: Mapping[int, str],
    similar: int,
    references: int,
    n_boundaries: int,
    way: Way,
) -> Explained:
    """P(x) of each question's image: its heat map, and the covered reference images that are nearest (Eq. 6)."""
    target, R = study.target, Reference.draw(study, references, "study")
    batch = study.data.batch("test", rows, device=study.device, chunk=16)
    psi, classes = target.features(batch), target(batch).argmax(1)
    sampled = sample(
        target,
        R.psi,
        psi,
        way,
        n_boundaries,
        rng,
        classes=R.classes,
        classes_x=classes,
        chunk=batch.chunk,
    )
    (found,) = regions(sampled, R.psi, R.classes, psi, classes)
    size = batch.x.shape[-2:]
    heat, nearest, of_nearest = [], [], []
    for region, psi_x in zip(found, psi):
        order = _nearest(region, psi_x, R)[:similar]
        heat.append(region.heat_maps(psi_x[None], size)[0])
        nearest.append(levels(R.batch.x[order]))
        of_nearest.append(region.heat_maps(R.psi[order], size))
    return Explained(
        levels(batch.x),
        rows,
        [called[c] for c in batch.y.tolist()],
        [called[c] for c in classes.tolist()],
        torch.stack(heat).cpu().numpy(),
        np.stack(nearest),
        torch.stack(of_nearest).cpu().numpy(),
    )


def _nearest(region: Region, psi_x: torch.Tensor, R: Reference) -> torch.Tensor:
    """Reference images by their distance from x; those outside the region come last."""
    distance = region.distances(psi_x, R.psi)
    outside = ~region.covers(R.psi)
    distance[outside] += 1 + distance.max()
    return distance.argsort(stable=True)


# --------------------------------------------------------------------------------------------- forms


def _form(explained: Explained, names: Sequence[str], rng: Generator) -> list[Stage]:
    """Test A and Test B of one person."""
    m = len(explained.x)
    of_A = [_task(explained, i, names, False) for i in rng.permutation(m)]
    of_B = [_task(explained, i, names, True) for i in rng.permutation(m)]
    of_B.append(
        Task(
            "How often did you open or enlarge something? (counted for you on screen)",
            kind="count",
            truth={"asks": "actions"},
        )
    )
    return [
        Stage(
            "Test A",
            "Test A",
            f"{m} images. Which kind is each?",
            of_A,
        ),
        Stage(
            "Test B",
            "Test B",
            "The same images in another order. Here you may also open what the network looked at, and images that it "
            "treats alike. Use it as often or as rarely as you like.",
            of_B,
        ),
    ]


def _task(explained: Explained, i: int, names: Sequence[str], open_: bool) -> Task:
    """One question; ``open_``: with RI's interpretation."""
    first, second = names
    image, predicted = explained.x[i], explained.predicted[i]
    hints = []
    if open_:
        heat = Shown(image, "heat map of the image", explained.heat[i])
        near = []
        of_image = zip(explained.similar[i], explained.similar_heat[i])
        for j, (other, its_heat) in enumerate(of_image, 1):
            near.append(Shown(other, f"similar image {j}"))
            near.append(Shown(other, f"heat map of similar image {j}", its_heat))
        hints = [Hint("Show heat map", [heat]), Hint("Show similar images", near)]
    return Task(
        f"The network says: {predicted}. What do you say?",
        [
            f"Definite {first}",
            f"Maybe {first}",
            "Not sure",
            f"Maybe {second}",
            f"Definite {second}",
        ],
        [Shown(image, "the image")],
        hints,
        truth={
            "class": explained.truth[i],
            "predicted": predicted,
            "image": int(explained.ids[i]),
        },
    )


# --------------------------------------------------------------------------------------------- scores


def points(answer: str, truth: str) -> int:
    """What an answer scores: 2, 1, 0, -1 or -2."""
    if answer == "Not sure":
        return 0
    sure, _, name = answer.partition(" ")
    size = 2 if sure == "Definite" else 1
    return size if name == truth else -size


def score(answers: pd.DataFrame, published: pd.DataFrame) -> Iterator[Score]:
    """Scores A and B, their difference, overall and by the number of actions, and when people follow the network.

    Args:
        answers: person, form, stage, answer and the truth's columns ``class``, ``predicted``, ``image``, ``asks``.
        published: not used: the paper shows its results in a figure alone.
    """
    asked = answers[answers["class"].notna()].copy()
    asked["points"] = [points(*pair) for pair in zip(asked["answer"], asked["class"])]
    by_test = asked.pivot_table(
        index=["person", "form", "image"], columns="stage", values="points"
    )
    for test in TESTS:
        if test in by_test:
            sums = by_test[test].dropna().groupby(["person", "form"]).sum()
            yield mean_score("score", test, sums, "forms")
    if set(TESTS) <= set(by_test):
        gap = (by_test["Test B"] - by_test["Test A"]).dropna()
        gap = gap.groupby(["person", "form"]).sum()
        if len(gap):
            yield mean_score("difference score", "B - A", gap, "forms")
            yield from _by_actions(gap, answers)
    for test in TESTS:
        part = asked[asked["stage"] == test]
        yield from _choices(part, test)


def _by_actions(gap: pd.Series, answers: pd.DataFrame) -> Iterator[Score]:
    """Fig. 7: the mean difference score of people with 0 to 30, 31 to 60 ... actions."""
    counted = answers[answers["asks"] == "actions"]
    counted = counted.set_index(["person", "form"])
    actions = counted["answer"].astype(int)
    both = pd.DataFrame({"gap": gap, "actions": actions}).dropna()
    for b, part in both.groupby(both["actions"].map(_bin)):
        what = f"B - A, {_spelt(b)} actions"
        yield mean_score("difference score", what, part["gap"], "forms")


def _bin(actions: int) -> int:
    """1 up to 30 actions, 2 up to 60, ..."""
    return max(1, math.ceil(actions / ACTIONS))


def _spelt(b: int) -> str:
    """``0 to 30`` for the first bin, ``31 to 60`` for the second, ..."""
    low = (b - 1) * ACTIONS + 1 if b > 1 else 0
    return f"{low} to {b * ACTIONS}"


def _choices(part: pd.DataFrame, test: str) -> Iterator[Score]:
    """Right answers, and how often people follow the network where it is right and where it is wrong."""
    decided = part[part["answer"] != "Not sure"]
    if not len(decided):
        return
    chosen = decided["answer"].str.partition(" ")[2]
    right = chosen == decided["class"]
    n = len(decided)
    yield share_score("right, % of decided answers", test, int(right.sum()), n)
    follows = chosen == decided["predicted"]
    sound = decided["class"] == decided["predicted"]
    for where, some in (("right", sound), ("wrong", ~sound)):
        if some.any():
            what = f"{test}, where it is {where}"
            hits = int(follows[some].sum())
            yield share_score("follows the network, %", what, hits, int(some.sum()))
