"""Surrogates: does the explanation alone give the class that the network gives?

Idea: some explanations are classifiers themselves (decision regions, rules, trees). Let them label images; ``labels``
is -1 where an explanation does not apply. What it covers and how often it is right there are two numbers, to be read
together.

Weakness, to be read with every score: accuracy is over the covered images only. A method that covers few may pick the
easy ones and come out above the network itself (RI, App. D: ACU-GT 96.25 % against the network's 95.34 % on GC); one
that gives every image the commonest class has CVR 100.

Reference: Lam et al., Finding representative interpretations on convolutional neural networks, ICCV 2021 (RI).
"""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from benchmark.api import Array, Batch, Explanation, Target, metric


@metric(
    needs={"labels"},
    track="surrogate",
    better="higher",
    unit="percent",
    version=1,
    source="RI App. D",
    partial=True,
)
def acu_gt(e: Explanation, target: Target, batch: Batch, rng: Generator) -> Array:
    """Accuracy where it applies. How often is the explanation's label the true class, where it gives one?

    ACU-GT: 100 [label = true class], (n,); NaN where the explanation does not apply.

    Range: 0 to 100.
    Weakness: An explanation that labels only easy images can beat the network itself: read it beside coverage.
    """
    labels = _labels(e, batch)
    truth = batch.y.cpu().numpy()
    return _agreement(labels, truth)


@metric(
    needs={"labels"},
    track="surrogate",
    better="higher",
    unit="percent",
    version=1,
    source="RI App. D",
    partial=True,
)
def acu_md(e: Explanation, target: Target, batch: Batch, rng: Generator) -> Array:
    """Agreement where it applies. How often is the explanation's label the network's answer, where it gives one?

    ACU-MD: 100 [label = class that the network predicts], (n,); NaN where the explanation does not apply.

    Range: 0 to 100.
    Weakness: An explanation that labels only easy images scores high: read it beside coverage.
    """
    labels = _labels(e, batch)
    predicted = target(batch).argmax(1).cpu().numpy()
    return _agreement(labels, predicted)


@metric(
    needs={"labels"},
    track="surrogate",
    better="higher",
    unit="percent",
    version=1,
    source="RI App. D",
)
def cvr(e: Explanation, target: Target, batch: Batch, rng: Generator) -> Array:
    """Coverage. For how many images does the explanation give a label?

    CVR: 100 [the explanation applies], (n,).

    Range: 0 to 100.
    Weakness: The commonest class for every image covers all: read it beside agreement.
    """
    labels = _labels(e, batch)
    return 100.0 * (labels >= 0)


def _agreement(labels: Array, truth: Array) -> Array:
    """100 [labels = truth], (n,); NaN where there is no label."""
    agree = 100.0 * (labels == truth)
    return np.where(labels >= 0, agree, np.nan)


def _labels(e: Explanation, batch: Batch) -> Array:
    """The labels (n,).

    Raises:
        ValueError: there are none, or not one for each image.
    """
    count = 0 if e.labels is None else len(e.labels)
    if e.labels is None or count != len(batch):
        raise ValueError(
            f"{count} labels for {len(batch)} images: return one per image"
        )
    return e.labels
