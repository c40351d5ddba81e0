"""ExplaiNN as a method: labels and heat maps of single images, from rules between the classes and two layers.

Idea: mine the rules classes -> last hidden layer and classes -> filters of the explained layer on reference images; the
rules that say something about an image are those whose tails hold in it.

    method = ExplaiNN(theta=0.4).fit(target, reference, rng)
    e = method.explain(target, batch, rng)      # e.labels (n,), e.heatmaps (n, h, w), e.size: rules, literals, bits

Theory: ``miner.py``. The paper stops at rules; the two ways to explain an image by them are our extension:
    labels     the class c with the largest sum, over rules X -> Y with c in X and Y holding, of P(c | Y holds) among
               the reference images; -1 where no rule holds
    heatmaps   for the class that the network answers: at each position of the layer, the number of its units that are
               ON and in the tail of a rule that holds and has the class in its head, each weighted by the rule's
               P(Y holds | X); upsampled bilinearly. Tails that join filters are not searched for (``blocks``), which
               keeps large layers tractable.

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
from benchmark.papers.explainn.traits import heads


@dataclass
class ExplaiNN:
    """Rules classes -> last hidden layer (labels, size) and classes -> ``layer`` (heat maps; default: the layer that
    the target names).
    """

    theta: float = 0.4
    mu: int = 1
    layer: str | None = None
    name = "ExplaiNN"
    paper = "explainn"
    offers = ("labels", "heatmaps", "size")
    hidden: Units = field(init=False, repr=False)
    model: Model = field(init=False, repr=False)
    maps: tuple[Units, Model] | None = field(init=False, repr=False, default=None)

    def fit(
        self,
        target: Target,
        reference: Batch,
        rng: Generator,
    ) -> Self:
        """Mines both sets of rules.

        Raises:
            NotApplicable: no weights lead to the classes, or no rule saves a bit (too few images per class).
        """
        source = last(target)
        self.hidden = Units.of(
            target, reference, source.layer, channels=source.channels
        )
        self.model = label_rules(
            target, reference, self.hidden, theta=self.theta, mu=self.mu
        )
        if not self.model.rules:
            raise NotApplicable(
                f"no rule from the {len(target.classes)} classes to {source.layer} of {target.name} "
                f"saves a bit on {len(reference)} images"
            )
        classes = answers(target, reference)  # (n, C)
        holds = _holds(self.model, self.hidden(target, reference))  # (n, rules)
        in_head = heads(self.model.rules, len(target.classes))  # (rules, C)
        together = holds.T @ classes.astype(float)
        times = np.maximum(holds.sum(0), 1)
        self._votes = in_head * together / times[:, None]  # P(c | Y holds)
        self.maps = None
        layer = self.layer or target.layer
        if layer is not None and target.features(reference[:1], layer).ndim == 4:
            self._fit_maps(target, reference, layer, classes)
        return self

    def _fit_maps(
        self,
        target: Target,
        reference: Batch,
        layer: str,
        classes: Array,
    ) -> None:
        """Mines the rules for heat maps; ``maps`` stays None where there are none."""
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
        if not model.rules:
            return
        applies = np.stack(
            [rule.applies(classes) for rule in model.rules], axis=1
        )  # (n, rules)
        both = applies & _holds(model, tails)
        self._weights = both.sum(0) / np.maximum(applies.sum(0), 1)  # P(Y holds | X)
        self.maps = units, model

    def work(self, facts):
        """See ``benchmark.shared.work``."""
        from benchmark.papers.explainn import work

        return work.method(facts, self.layer or facts.target.layer)

    def explain(
        self,
        target: Target,
        batch: Batch,
        rng: Generator,
    ) -> Explanation:
        """Labels from the rules that hold, and heat maps of the class that the network answers."""
        holds = _holds(self.model, self.hidden(target, batch))
        votes = holds @ self._votes  # (n, C)
        labels = np.where(votes.max(1) > 0, votes.argmax(1), -1)
        heatmaps = None
        if self.maps:
            heatmaps = self._heatmaps(target, batch)
        return Explanation(labels=labels, heatmaps=heatmaps, size=self.model.size)

    def _heatmaps(self, target: Target, batch: Batch) -> Array:
        """(n, h, w)."""
        units, model = self.maps
        _, height, width = units.shape
        on = units(target, batch)
        c = answers(target, batch).argmax(1)
        with_class = heads(model.rules, len(target.classes)).T  # (C, rules)
        holds = _holds(model, on)
        weights = holds * with_class[c] * self._weights  # (n, rules)
        out = np.zeros((len(batch), height * width))
        for r, rule in enumerate(model.rules):
            tail = np.array(model.tails(rule))
            position = tail % out.shape[1]
            active = on[:, tail].T  # (tail, n)
            np.add.at(out.T, position, active * weights[:, r])
        maps = torch.from_numpy(out.reshape(len(batch), 1, height, width)).float()
        size = batch.x.shape[-2:]
        upsampled = F.interpolate(maps, size, mode="bilinear", align_corners=False)
        return upsampled[:, 0].numpy()


def _holds(model: Model, on: Array) -> Array:
    """(n, rules) bool: the rows in which the tail of a rule holds."""
    columns = []
    for rule in model.rules:
        active = on[:, model.tails(rule)].sum(1)
        columns.append(active >= rule.k)
    return np.stack(columns, axis=1)
