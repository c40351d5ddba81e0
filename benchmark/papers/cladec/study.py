"""The user study of Sec. 6.7 as a kit: people compare an image with what ClaDec rebuilds from a layer, in words, and
tell ClaDec's reconstruction from RefAE's.

As printed: 100 test images, the last convolution, five pairs for each person so that each pair is seen equally often,
the original on the left, an answer of 10 to 100 words. The paper has no second part; here each person then sees the
same five images with both reconstructions, X_E and X_R, on random sides, and says which is closer to the original (Sec.
7: "This limitation could also be remedied with another user study"). Only what X_R shows and X_E does not is due to the
classifier.

Theory: the authors coded the texts by hand ("open coding") into 13 concepts and print the share of replies with each.
Whoever codes by hand writes the concepts into the column ``concepts``, separated by ``;`` (``none`` for a reply
without any). A reply without codes is counted by key words, which is cruder: it sees words, not what is meant.

Reference: Schneider, Vlachos. Explaining classifiers by constructing familiar concepts. Machine Learning 2022,
Sec. 6.7.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd
from numpy.random import Generator
from torch import Tensor

from benchmark.api import Array
from benchmark.papers import Study
from benchmark.papers.cladec.method import VARIANTS, scale_for
from benchmark.papers.cladec.training import (
    Training,
    fit_decoders,
    fit_reference,
    run,
    seen,
)
from benchmark.papers.kits import (
    Kit,
    Score,
    Shown,
    Stage,
    Task,
    levels,
    mean_score,
    share_score,
)

LIKE = {"alphas": ("layer",)}
CLOSER = ("A", "B", "No difference")
# Beginnings of words that speak of a concept; the concepts are the paper's.
WORDS = {
    "shape": ("shape", "outline", "contour", "silhouette", "form"),
    "feature": (
        "feature",
        "characteristic",
        "detail",
        "zip",
        "button",
        "collar",
        "sleeve",
        "pocket",
        "strap",
        "heel",
        "handle",
        "lace",
    ),
    "colour_or_grey": ("colour", "color", "grey", "gray", "black", "white", "tone"),
    "pattern_or_texture": ("pattern", "texture", "stripe", "print", "dot", "fabric"),
    "logo": ("logo", "brand", "letter", "writing", "text"),
    "shading": ("shad", "light", "bright", "dark"),
    "design": ("design", "style"),
    "sharpness": ("sharp", "blur", "fuzz", "unclear", "smooth", "crisp"),
    "perspective": ("perspective", "orientation", "angle", "rotat", "tilt"),
    "artifacts": ("artifact", "artefact", "noise", "smudge", "spot"),
    "contrast": ("contrast",),
    "depth": ("depth", "flat", "3d"),
    "symmetry": ("symmetr", "asymmetr", "skew"),
}
PRINTED = (10, 100)  # words that an answer should have


def kit(
    study: Study,
    rng: Generator,
    *,
    forms: int = 20,
    layer: str | None = None,
    pairs: int = 100,
    pairs_each: int = 5,
    fitted: int = 4000,
    base: int = 16,
    epochs: int = 30,
    batch: int = 64,
    lr: float = 2e-3,
) -> Kit:
    """The study.

    Args:
        layer: whose activations are decoded; None: the target's own choice, the last layer with spatial extent.
        pairs: test images, at most; pairs_each: shown on a form.
        fitted: training images of D and RefAE, at most; base, epochs, batch, lr: of both (the paper's: 60,000 images,
            64, 64, 128, 3e-4).

    Raises:
        ValueError: fewer test images than ``pairs_each``.
    """
    target, data = study.target, study.data
    ids = rng.permutation(data.sample("test", pairs, "study"))
    if len(ids) < pairs_each:
        raise ValueError(f"{len(ids)} test images, fewer than pairs_each={pairs_each}")
    layer = layer or target.layer or target.layers[-2]
    how = Training(epochs=epochs, batch=batch, lr=lr)
    rows = data.sample("train", fitted, "study")
    train = data.batch("train", rows, device=study.device)
    x = seen(target, train.x)
    scale = scale_for("standardised", x)
    shape = {"base": base, **VARIANTS["standardised"]}
    (D,) = fit_decoders(target, layer, x, train.y, scale, how, rng, **shape)
    RefAE = fit_reference(target, layer, x, scale, how, rng, **shape)

    X = seen(target, data.batch("test", ids, device=study.device).x)
    X_E = scale.pixels(run(D, run(lambda part: target.features(part, layer), X)))
    X_R = scale.pixels(run(RefAE, scale(X)))
    pictures = {name: levels(v) for name, v in (("X", X), ("E", X_E), ("R", X_R))}
    errors = {"E": _errors(X, X_E), "R": _errors(X, X_R)}
    made = [
        _form(pictures, errors, ids, _turn(f, pairs_each, len(ids)), rng)
        for f in range(forms)
    ]
    return Kit(
        title="An image through the eyes of an AI",
        text=(
            "An artificial intelligence (AI) learns to recognise what images show. Inside, it turns an image into "
            "numbers, keeps what it needs and drops the rest. From these numbers we paint an image again: the image "
            "as seen through the AI.",
            "You compare such images with the originals. Look for anything that is different or lacking, and for what "
            "is kept.",
        ),
        forms=made,
        facts={
            "layer": layer,
            "images": [int(i) for i in ids],
            "squared_error_cladec": float(errors["E"].mean()),
            "squared_error_reference": float(errors["R"].mean()),
        },
    )


def _errors(x: Tensor, rebuilt: Tensor) -> Array:
    """Mean squared error of each image (n,), pixels in [0, 1]."""
    return (x - rebuilt).square().mean((1, 2, 3)).cpu().numpy()


def _turn(form: int, each: int, n: int) -> Array:
    """The pairs of a form: each form takes the next ones, so that all are seen equally often."""
    return np.arange(form * each, (form + 1) * each) % n


def _form(
    pictures: Mapping[str, Array],
    errors: Mapping[str, Array],
    ids: Array,
    numbers: Array,
    rng: Generator,
) -> list[Stage]:
    """The two parts of a form.

    Args:
        pictures: X, E and R (n, c, h, w) uint8; errors: of E and R (n,); numbers: the pairs of the form.
    """
    words, sides = [], []
    for i, number in enumerate(numbers, 1):
        X, E, R = (pictures[key][number] for key in "XER")
        original = Shown(X, f"original {i}", caption="Original")
        through = Shown(E, f"image {i} through the AI", caption="Through AI")
        truth = {"image": int(ids[number])}
        words.append(
            Task(
                "What is different or lacking for the AI? What does it maintain? (10 to 100 words)",
                pictures=[original, through],
                kind="text",
                truth=truth,
            )
        )
        reference_first = bool(rng.integers(2))
        first, second = (R, E) if reference_first else (E, R)
        a = Shown(first, f"image {i} painted by A", caption="A")
        b = Shown(second, f"image {i} painted by B", caption="B")
        truth = {
            "image": int(ids[number]),
            "reference": "A" if reference_first else "B",
            "closer": "A"
            if (errors["R"] < errors["E"])[number] == reference_first
            else "B",
        }
        sides.append(
            Task(
                "Which of the two is closer to the original?",
                CLOSER,
                [original, a, b],
                truth=truth,
            )
        )
    order = rng.permutation(len(sides))
    return [
        Stage(
            "words",
            "Part 1: the image through the AI",
            "Compare the original image (left) with the one seen through an AI classifier (right).",
            words,
        ),
        Stage(
            "sides",
            "Part 2: two painters",
            "Beside each original are two painted images, A and B. One was painted from what the AI keeps.",
            [sides[k] for k in order],
        ),
    ]


# --------------------------------------------------------------------------------------------- scores


def concepts(text: str, codes: str = "") -> set[str]:
    """The concepts that a reply speaks of: those coded by hand, else by key words.

    Raises:
        ValueError: a code that is no concept.
    """
    coded = {code.strip() for code in codes.split(";")} - {""}
    if coded:
        unknown = sorted(coded - {*WORDS, "none"})
        if unknown:
            raise ValueError(
                f"{unknown[0]!r} is no concept; they are {', '.join(WORDS)}, or none"
            )
        return coded - {"none"}
    found = set()
    for concept, beginnings in WORDS.items():
        if re.search(rf"\b({'|'.join(beginnings)})", text.casefold()):
            found.add(concept)
    return found


def score(answers: pd.DataFrame, published: pd.DataFrame) -> Iterator[Score]:
    """The share of replies with each concept, and how often people take RefAE's image for the closer one.

    Args:
        answers: stage, answer, concepts and the truth's columns ``reference`` and ``closer``.
        published: results/reported/cladec.csv.
    """
    replies = answers[answers["stage"] == "words"]
    if len(replies):
        yield from _concept_scores(replies, published)
    sides = answers[answers["stage"] == "sides"]
    if not len(sides):
        return
    decided = sides[sides["answer"] != "No difference"]
    n = len(decided)
    if n:
        chosen, closer = decided["answer"], decided["closer"]
        hits = int((chosen == decided["reference"]).sum())
        yield share_score("RefAE is closer, %", "of those decided", hits, n)
        right = int((chosen == closer).sum())
        yield share_score("as the squared error says, %", "of those decided", right, n)
    yield share_score("no difference, %", "", len(sides) - n, len(sides))


def _concept_scores(replies: pd.DataFrame, published: pd.DataFrame) -> Iterator[Score]:
    """Share of replies with each concept, and their words."""
    spoken = [concepts(*pair) for pair in zip(replies["answer"], replies["concepts"])]
    by_hand = int((replies["concepts"] != "").sum())
    n = len(replies)
    for concept in WORDS:
        hits = sum(concept in one for one in spoken)
        text = _published(published, concept)
        yield share_score("replies with concept, %", concept, hits, n, "replies", text)
    yield share_score("coded by hand, %", "", by_hand, n, "replies")
    words = [len(text.split()) for text in replies["answer"]]
    yield mean_score("words of a reply", "", words, "replies")
    least, most = PRINTED
    fitting = sum(least <= count <= most for count in words)
    yield share_score("replies of 10 to 100 words, %", "", fitting, n, "replies")


def _published(reported: pd.DataFrame, concept: str) -> str:
    """The paper's share of replies with a concept."""
    rows = reported[reported["setting"].str.startswith(f"concept={concept};")]
    return ", ".join(f"{value:g}" for value in rows["value"])
