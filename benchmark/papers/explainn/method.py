"""ExplaiNN as a method of the board: what rules from the classes to two layers say about single images.

Idea: mine the rules classes -> last hidden layer and classes -> filters of the explained layer on reference images; an image
then has the rules whose tails hold in it.

    method = ExplaiNN(theta=0.4).fit(target, reference, rng)
    e = method.explain(target, batch, rng)          # e.labels (n,), e.heatmaps (n, h, w), e.size: rules, literals, bits

Theory: ``miner.py``. The paper stops at rules; the two readings of an image are our extension:
    labels     the class c with the largest sum, over rules X -> Y with c in X and Y holding, of P(c | Y holds) among the
               reference images; -1 where no rule holds
    heatmaps   for the class that the network answers: at each place of the layer, how many of its units are ON and in the tail
               of a rule that holds and has the class in its head, each weighed by the rule's P(Y holds | X); upsampled
               bilinearly. Tails that join filters are not searched for there (``blocks``), which keeps large layers in reach.

Reference: What's in the box? Exploring the inner life of neural networks with robust rules. Under review, ICLR 2021.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self

import numpy as np
import torch
import torch.nn.functional as F
from numpy.random import Generator

from benchmark.api import Array, Batch, Explanation, NotApplicable, Target
from benchmark.papers.explainn.miner import Model, mine
from benchmark.papers.explainn.networks import ALLOW, Units, answers, label_rules, last


@dataclass
class ExplaiNN:
    """Rules classes -> last hidden layer (labels, size) and classes -> ``layer`` (heat maps; default: the target's choice)."""

    theta: float = 0.4
    mu: int = 1
    layer: str | None = None
    name = "ExplaiNN"
    paper = "explainn"
    offers = ("labels", "heatmaps", "size")
    hidden: Units = field(init=False, repr=False)
    model: Model = field(init=False, repr=False)
    maps: tuple[Units, Model] | None = field(init=False, repr=False, default=None)

    def fit(self, target: Target, reference: Batch, rng: Generator) -> Self:
        """Mine both sets of rules.

        Raises:
            NotApplicable: no weights lead to the classes, or no rule saves a bit (too few images a class).
        """
        source = last(target)
        self.hidden = Units.of(target, reference, source.layer, channels=source.channels)
        self.model = label_rules(target, reference, self.hidden, theta=self.theta, mu=self.mu)
        if not self.model.rules:
            raise NotApplicable(
                f"no rule from the {len(target.classes)} classes to {source.layer} of {target.name} saves a bit "
                f"on {len(reference)} images"
            )
        classes = answers(target, reference)
        holds = _holds(self.model, self.hidden(target, reference))  # (n, rules)
        inside = np.array(
            [[c in rule.X for c in range(len(target.classes))] for rule in self.model.rules]
        )
        self._votes = (
            inside * (holds.T @ classes.astype(float)) / np.maximum(holds.sum(0), 1)[:, None]
        )  # P(c | Y holds)
        layer = self.layer or target.layer
        self.maps = None
        if layer is not None and target.features(reference[:1], layer).ndim == 4:
            units = Units.of(target, reference, layer)
            tails = units(target, reference)
            model = mine(
                classes,
                tails,
                theta=self.theta,
                mu=self.mu,
                disjunctive=True,
                blocks=units.blocks,
                allow=ALLOW,
            )
            if model.rules:
                applies = np.array([rule.applies(classes) for rule in model.rules]).T
                both = applies & _holds(model, tails)
                self._weights = both.sum(0) / np.maximum(applies.sum(0), 1)  # P(Y holds | X)
                self.maps = units, model
        return self

    def work(self, facts):
        """See ``benchmark.shared.work``."""
        from benchmark.papers.explainn import work

        return work.method(facts, self.layer or facts.target.layer)

    def explain(self, target: Target, batch: Batch, rng: Generator) -> Explanation:
        """Labels by the rules that hold, and maps of the class that the network answers."""
        votes = _holds(self.model, self.hidden(target, batch)) @ self._votes  # (n, C)
        labels = np.where(votes.max(1) > 0, votes.argmax(1), -1)
        heatmaps = self._heatmaps(target, batch) if self.maps else None
        return Explanation(labels=labels, heatmaps=heatmaps, size=self.model.size)

    def _heatmaps(self, target: Target, batch: Batch) -> Array:
        """(n, h, w)."""
        units, model = self.maps
        on, c = units(target, batch), answers(target, batch).argmax(1)
        with_class = np.array(
            [[k in rule.X for rule in model.rules] for k in range(len(target.classes))]
        )  # (C, rules)
        weights = _holds(model, on) * with_class[c] * self._weights  # (n, rules)
        out = np.zeros((len(batch), units.shape[1] * units.shape[2]))
        for r, rule in enumerate(model.rules):
            tail = np.array(model.tails(rule))
            np.add.at(out.T, tail % out.shape[1], on[:, tail].T * weights[:, r])
        maps = torch.from_numpy(out.reshape(len(batch), 1, *units.shape[1:])).float()
        return F.interpolate(maps, batch.x.shape[-2:], mode="bilinear", align_corners=False)[
            :, 0
        ].numpy()


def _holds(model: Model, on: Array) -> Array:
    """Which rules' tails hold in which rows: (n, rules) bool."""
    return np.stack([on[:, model.tails(rule)].sum(1) >= rule.k for rule in model.rules], axis=1)
