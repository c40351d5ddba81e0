"""The paper's own experiments.

worked_example   App. A.1, term by term
planted          Fig. 2 top: rules planted in synthetic data, and how many are found
rules            Figs. 3, 4, 10, 11, 15: rules from the classes to a layer, and where on its filters they end
intervention     Fig. 2 bottom: a class before and after its rules' weights are zeroed, and what is answered instead
flow             Fig. 5: rules chained from the classes through several layers
prototypes       Fig. 14: the image of a rule's whole tail beside those of its single units
traits           Figs. 4, 13, 15, 18, 19: what classes share and what each has alone; the different rules of one class
fine_tuning      App. B.3, Fig. 17: rules of the last hidden layer before and after a network was fine-tuned
"""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.random import Generator
from torch import Tensor

from benchmark.api import Batch, NotApplicable, Target
from benchmark.papers import Number, Outcome, Study
from benchmark.papers.explainn import mdl, networks, substitutes
from benchmark.papers.explainn import planted as synthetic
from benchmark.papers.explainn import prototypes as images
from benchmark.papers.explainn import traits as shown_rules
from benchmark.papers.explainn.mdl import (
    ROBUST,
    SIMPLE,
    Encoding,
    Rule,
    description_length,
)
from benchmark.papers.explainn.miner import Model, mine
from benchmark.papers.explainn.networks import Last, LastRules, Units, label_rules, last
from benchmark.zoo import pretrained

CHUNK = 250  # images that go through the network together
COUNTS = (
    "n_",
    "heads_",
    "classes_",
    "largest_",
    "background_",
    "tails_",
)  # other metrics are fractions

# --------------------------------------------------------------------------------------------- synthetic data


def worked_example(study: Study, rng: Generator) -> Outcome:
    """App. A.1: n = 100; A, B, C, D in 40, 35, 33, 35 rows; B and C in 30 of A's; the rule A -> BC, simple code."""
    D = np.zeros((100, 4), bool)
    D[:40, 0] = True  # A
    D[:30, 1:3] = True  # B and C
    D[40:45, 1] = True
    D[40:43, 2] = True
    D[50:85, 3] = True  # D
    L = description_length(D, [Rule((0,), (1, 2))], SIMPLE)
    terms = {
        "L(D,M_ind)_bits": description_length(D, (), SIMPLE).total,
        "L(D|M)_bits": L.data,
        "L(M)_bits": L.model,
        "L(D,M)_bits": L.total,
        "4*Lpc(100)_bits": 4 * mdl.lpc(100),
        "Lpc(40)_bits": mdl.lpc(40),
        "2*log2_C(100,35)": 2 * mdl.log2_binomial(100, 35),
        "L_N(1)": mdl.universal(1),
        "L_N(2)": mdl.universal(2),
    }
    for n, k in ((100, 40), (100, 33), (40, 30), (100, 5), (100, 3), (100, 35)):
        terms[f"log2_C({n},{k})"] = mdl.log2_binomial(n, k)
    for margin in (40, 35, 33):
        terms[f"-log2({margin}/143)"] = -math.log2(margin / 143)
    numbers = []
    for metric, value in terms.items():
        number = Number(
            metric,
            value,
            "ExplaiNN encoding",
            n=100,
            better="lower",
            unit="bits",
            dataset="toy n=100",
            target="-",
        )
        numbers.append(number)
    return Outcome(numbers)


def planted(
    study: Study,
    rng: Generator,
    *,
    m: int,
    heads: synthetic.Heads = "exclusive",
    noise: float = 0.001,
    alone: bool = False,
    theta: float = 0.0,
    mu: int = 10,
    n: int = 10_000,
    encoding: Literal["robust", "simple"] = "robust",
) -> Outcome:
    """One data set with m planted rules: exact and soft precision and recall, bits of planted and of found rules.

    theta = 0 and mu = |X_1| + |X_2| give "the best results with respect to MDL" (Sec. 2.3); two planted heads have at
    most 10 items.
    """
    code: Encoding = {"robust": ROBUST, "simple": SIMPLE}[encoding]
    data = synthetic.planted(rng, m=m, n=n, heads=heads, noise=noise, alone=alone)
    model = mine(
        data.heads, data.tails, theta=theta, mu=mu, encoding=code, allow=networks.ALLOW
    )
    kind = "mutually exclusive heads" if heads == "exclusive" else "co-occurring heads"
    target = f"m={m} planted, {kind}"
    if alone:
        target += ", also alone"
    setting: dict[str, Any] = {"noise": noise, "theta": theta, "mu": mu}
    if encoding != "robust":
        setting["encoding"] = encoding
    found = synthetic.score(model, data)
    found["planted_minus_found_bits"] = data.length(code) - model.bits
    found["found_bits"] = model.bits
    rule_counts = ("n_found", "noise_rules")
    numbers = []
    for metric, value in found.items():
        unit = "bits" if metric.endswith("_bits") else "fraction"
        if metric in rule_counts:
            unit = "rules"
        number = Number(
            metric,
            value,
            "ExplaiNN",
            setting,
            n=m,
            better="higher",
            unit=unit,
            dataset=f"synthetic n={n}",
            target=target,
        )
        numbers.append(number)
    return Outcome(numbers)


# --------------------------------------------------------------------------------------------- networks


def rules(
    study: Study,
    rng: Generator,
    *,
    layers: Sequence[str] | None = None,
    pool: int = 1,
    samples: int = 10_000,
    theta: float = 0.4,
    mu: int = 1,
    filters: int = 2,
    steps: int = 128,
) -> Outcome:
    """Rules from the classes to each of ``layers`` (default: the last hidden one): how many, shared or not, and where.

    Arrays, for a layer with positions: of the ``filters`` channels with most pixels in rules of several classes, and of
    the one that responds most to background, the mean activation per class, the rule of each pixel, and the prototype
    of the whole filter.
    """
    target, batch = study.target, _batch(study, "train", samples)
    source = last(target)
    numbers, arrays = [], {"classes": np.array(target.classes)}
    for layer in layers or [source.layer]:
        whole_channels = source.channels and layer == source.layer
        units = Units.of(target, batch, layer, pool, channels=whole_channels)
        model = label_rules(target, batch, units, theta=theta, mu=mu)
        facts = {
            "n_rules": len(model.rules),
            "n_literals": model.size["literals"],
            "saved_bits_share": model.saved_share,
            "largest_tail": max((len(rule.Y) for rule in model.rules), default=0),
            **networks.kinds(model),
        }
        if units.blocks is not None:
            facts |= _adjacent(model, units, rng)
            light = networks.background(target, batch, layer)
            facts["background_filters"] = int((light < -0.1).sum())
            facts["n_filters"] = units.shape[0]
            found = shown_rules.filter_maps(target, batch, units, model, light, filters)
            if len(found["filter"]):
                artist = images.Artist.of(target, batch, layer, steps, channels=True)
                drawn = artist.draw([[k] for k in found["filter"].tolist()], rng)
                found["prototype"] = images.pixels(drawn)
            arrays |= {f"{layer}.{key}": value for key, value in found.items()}
        setting = {"layer": layer}
        if pool > 1:
            setting["pool"] = pool
        numbers += _numbers(facts, setting, len(batch))
    return Outcome(numbers, arrays)


def intervention(
    study: Study,
    rng: Generator,
    *,
    samples: int = 10_000,
    test_samples: int = 10_000,
    theta: float = 0.4,
    mu: int = 1,
) -> Outcome:
    """Every class with a rule: recall before, without its rules' weights, and without as many random ones; and the
    class that is answered instead.
    """
    target, test = study.target, _batch(study, "test", test_samples)
    mined = _last_rules(study, samples, theta, mu)
    result = networks.intervene(target, test, mined.model, rng)
    judged, q90 = result.judged, result.quantile()
    if not judged.any():
        raise NotApplicable(
            f"no class of {target.name} has a rule on {len(mined.batch)} images"
        )
    before, after = result.before[judged], result.after[judged]
    below = after < q90[judged]
    facts = {
        "classes_judged": (int(judged.sum()), "count"),
        "below_random_q90_share": (below.mean(), "fraction"),
        "after_at_most_5pct_share": ((after <= 0.05).mean(), "fraction"),
        "class_accuracy_before": (before.mean(), "fraction"),
        "class_accuracy_after": (after.mean(), "fraction"),
        "class_accuracy_random_q90": (q90[judged].mean(), "fraction"),
        "weights_zeroed": (result.removed[judged].mean(), "weights a class"),
    }
    setting = {"layer": mined.source.layer}
    numbers = []
    for metric, (value, unit) in facts.items():
        better = "lower" if "after" in metric else "higher"
        n = int(judged.sum())
        numbers.append(Number(metric, value, "ExplaiNN", setting, n, better, unit))
    numbers += _numbers(substitutes.facts(target, test, result), setting, n)
    arrays = {
        "classes": np.array(target.classes),
        "instead": substitutes.commonest(result.instead),
        "before": result.before,
        "after": result.after,
        "q90": q90,
        "images": result.images,
    }
    return Outcome(numbers, arrays)


def flow(
    study: Study,
    rng: Generator,
    *,
    layers: Sequence[str],
    samples: int = 5_000,
    theta: float = 0.4,
    mu: int = 1,
    pool: int = 1,
    wide: int = 3,
    steps: int = 96,
) -> Outcome:
    """Rules chained classes -> layers[0] -> layers[1] ...; for the class with the most chains, what they look like.

    Arrays: the drawn nodes (level, parent, units, head classes; filters and places in a layer with positions) with the
    prototype of each tail; in the last layer, if it has positions, of the units of single filters.

    Args:
        pool: positions of a map are taken together, pool x pool.
        wide: number of rules of the class that are drawn.
    """
    target, batch = study.target, _batch(study, "train", samples)
    levels = networks.cascade(target, batch, layers, theta=theta, mu=mu, pool=pool)
    numbers = []
    offered = len(target.classes)
    for depth, (units, model) in enumerate(levels, start=1):
        facts = {
            "n_rules": len(model.rules),
            "heads_used": len({rule.X for rule in model.rules}),
            "heads_offered": offered,
        }
        if units.blocks is not None:
            facts |= _adjacent(model, units, rng)
        setting = {"layer": units.layer, "level": depth}
        numbers += _numbers(facts, setting, len(batch))
        offered = len(model.rules)
    chains = np.array(
        [shown_rules.chains(levels, c) for c in range(len(target.classes))]
    )
    facts = {"classes_traced_to_the_end": (chains > 0).sum()}
    numbers += _numbers(facts, {"layer": layers[-1]}, len(batch))
    if not chains.any():
        return Outcome(numbers, {})
    c = int(chains.argmax())
    nodes = shown_rules.drawn_nodes(levels, c, wide)
    colours, pictures = images.Colours.of(batch), []
    for depth, (units, _) in enumerate(levels, start=1):  # nodes are breadth first
        tails = [node.pop("units_of_layer") for node in nodes if node["level"] == depth]
        if tails:
            artist = images.Artist.of(
                target,
                batch,
                units.layer,
                steps,
                channels=units.channels,
                pool=units.pool,
                colours=colours,
            )
            pictures.append(artist.draw(tails, rng).cpu().numpy())
    arrays = {
        "class": np.array(target.classes[c]),
        "classes": np.array(target.classes),
        "nodes": np.array(json.dumps(nodes)),
        "prototypes": np.concatenate(pictures).astype(np.float32),
    }
    return Outcome(numbers, arrays)


def prototypes(
    study: Study,
    rng: Generator,
    *,
    samples: int = 2_000,
    rules: int = 5,
    most: int = 5,
    steps: int = 128,
    side: int | None = None,
    theta: float = 0.4,
    mu: int = 1,
) -> Outcome:
    """For the ``rules`` that save most bits and have two units or more in the tail, of which the first ``most`` are
    taken: the image of the whole tail beside that of each unit.

    Numbers: the mean activation of the whole tail (1: as in the images in which its units are ON) on the tail's own
    image, and on the best single unit's; how sharp the tail's image is, and those of its single units are on average
    (App. B.4).
    """
    target = study.target
    mined = _last_rules(study, samples, theta, mu)
    chosen = [rule for rule in mined.model.rules if len(rule.Y) >= 2][:rules]
    if not chosen:
        raise NotApplicable(f"no rule of {target.name} has two units in its tail")
    artist = _artist(target, mined, steps, side)
    numbers = []
    arrays = {"classes": np.array(target.classes), "count": np.array(len(chosen))}
    for i, rule in enumerate(chosen):
        tail = mined.model.tails(rule)[:most]
        groups = [tail, *([unit] for unit in tail)]
        x = artist.draw(groups, rng)
        reached = artist.reached(x, [tail])[:, 0]
        sharp = images.sharpness(x)
        setting = {"layer": mined.source.layer, "rule": i + 1}
        n = len(tail)
        for metric, unit, method, value in (
            ("tail_activation", "mean when ON", "whole tail", reached[0]),
            ("tail_activation", "mean when ON", "best single unit", reached[1:].max()),
            ("sharpness", "fraction", "whole tail", sharp[0]),
            ("sharpness", "fraction", "single units", sharp[1:].mean()),
        ):
            numbers.append(Number(metric, value, method, setting, n, "higher", unit))
        arrays |= {
            f"images{i}": x.cpu().numpy().astype(np.float32),
            f"reached{i}": reached,
            f"units{i}": np.array(tail),
            f"head{i}": np.array(rule.X),
        }
    return Outcome(numbers, arrays)


def traits(
    study: Study,
    rng: Generator,
    *,
    samples: int = 2_000,
    steps: int = 128,
    side: int | None = None,
    theta: float = 0.4,
    mu: int = 1,
    shown: int = 4,
) -> Outcome:
    """Rules classes -> last hidden layer, of several classes or of one; prototypes of the tails of Figs. 4, 13, 15, 18,
    19.

    Arrays: ``heads`` (rules, classes), ``tails`` (rules,) sizes; of two classes that share a rule and have one each
    (``pair``), of the class with most rules (``within``), and of ``shown`` rules each of one class, of two and of more
    (``gallery``): the classes in the rules' heads, their tails' prototypes, images.
    """
    target, C = study.target, len(study.target.classes)
    mined = _last_rules(study, samples, theta, mu)
    model, batch = mined.model, mined.batch
    if not model.rules:
        raise NotApplicable(
            f"no class of {target.name} has a rule on {len(batch)} images"
        )
    y = networks.answers(target, batch).argmax(1)
    H = shown_rules.heads(model.rules, C)
    artist = _artist(target, mined, steps, side)
    on = mined.units(target, batch)
    sizes = shown_rules.tail_sizes(model.rules)
    several = H.sum(1) > 1
    facts = {
        "n_rules_of_one_class": (H.sum(1) == 1).sum(),
        "n_rules_of_several_classes": several.sum(),
        "n_rules_of_several_classes_and_units": (several & (sizes > 1)).sum(),
        "n_rules_of_a_class_at_most": H.sum(0).max(),
        "n_pairs_with_three_rules": shown_rules.three_rules(H),
        "several_rules_share": shown_rules.with_another_rule(H),
    }
    numbers = []
    setting = {"layer": mined.source.layer}
    arrays = {"classes": np.array(target.classes), "heads": H, "tails": sizes}
    if two := shown_rules.pair(model.rules, C):
        c, d, three = two
        holds = shown_rules.holding(on, model, three)
        own, shared = shown_rules.pair_gaps(holds, y, c, d)
        facts |= {"pair_own_gap": own, "pair_shared_gap": shared}
        rows = [np.flatnonzero(y == k)[:2] for k in (c, d)]
        arrays |= {
            "pair": np.array([c, d]),
            "pair.heads": shown_rules.heads(three, C),
            "pair.images": images.pixels(artist.draw_tails(model, three, rng)),
            "pair.units": shown_rules.tail_sizes(three),
            "pair.examples": images.pixels(batch.x[np.concatenate(rows)]),
        }
    if one := shown_rules.within(model.rules, C):
        c, own = one
        logits = target.layers[-1]
        of_class = images.maximise(
            target, logits, [[c]], artist.colours, rng, steps=steps, side=side
        )
        examples = shown_rules.examples(on, model, own, np.flatnonzero(y == c))
        holds = shown_rules.holding(on, model, own)[:, y == c]
        within = {
            "within_share": holds.mean(),
            "within_correlation": shown_rules.together(holds),
        }
        within = {key: v for key, v in within.items() if math.isfinite(v)}
        numbers += _numbers(within, setting, holds.shape[1])
        arrays |= {
            "within": np.array(c),
            "within.heads": shown_rules.heads(own, C),
            "within.images": images.pixels(artist.draw_tails(model, own, rng)),
            "within.units": shown_rules.tail_sizes(own),
            "within.class": images.pixels(of_class),
            "within.examples": images.pixels(batch.x[examples]),
        }
    if chosen := shown_rules.gallery(model.rules, shown):
        arrays |= {
            "gallery.heads": shown_rules.heads(chosen, C),
            "gallery.images": images.pixels(artist.draw_tails(model, chosen, rng)),
            "gallery.units": shown_rules.tail_sizes(chosen),
        }
    return Outcome(numbers + _numbers(facts, setting, len(batch)), arrays)


def fine_tuning(
    study: Study,
    rng: Generator,
    *,
    samples: int = 2_000,
    theta: float = 0.2,
    mu: int = 1,
    source: Literal["imagenet", "torchvision", "deepcompression"] = "imagenet",
    shown: int = 4,
    steps: int = 64,
    side: int | None = None,
) -> Outcome:
    """Rules classes -> last hidden layer of a fine-tuned network and of the one it started from, on the same images.

    Arrays: rules of each class that were ``kept``, are ``new`` and were ``lost``; for ``shown`` rules of the fine-tuned
    network (half of them kept) what their tails look like in it and in the network before, and an image of a class in
    the head.
    """
    target, batch = study.target, _batch(study, "train", samples)
    end = last(target)
    before = _before_tuning(study, end, source)
    networks.share_features(target, before, batch, end.layer)
    on_before, model_before = networks.rules_to_last(
        before, target, batch, end, theta, mu
    )
    on, model = networks.rules_to_last(target, target, batch, end, theta, mu)
    kept = shown_rules.alike(model.rules, model_before.rules)
    lost = ~shown_rules.alike(model_before.rules, model.rules)
    facts = {
        "n_rules_before": len(model_before.rules),
        "n_rules_after": len(model.rules),
        "rules_alike": networks.likeness(model.rules, model_before.rules),
        "same_on_state_share": float((on_before == on).mean()),
        "saved_bits_share_before": model_before.saved_share,
        "saved_bits_share_after": model.saved_share,
        "n_rules_kept": kept.sum(),
        "n_rules_new": (~kept).sum(),
        "n_rules_lost": lost.sum(),
    }
    setting = {"layer": end.layer}
    numbers = _numbers(facts, setting, len(batch))
    C = len(target.classes)
    H = shown_rules.heads(model.rules, C)
    H_before = shown_rules.heads(model_before.rules, C)
    arrays = {
        "classes": np.array(target.classes),
        "kept": H[kept].sum(0),
        "new": H[~kept].sum(0),
        "lost": H_before[lost].sum(0),
    }
    kept_rules = [model.rules[r] for r in np.flatnonzero(kept)]
    new_rules = [model.rules[r] for r in np.flatnonzero(~kept)]
    first = shown_rules.by_classes(kept_rules)[: shown - shown // 2]
    chosen = [*first, *shown_rules.by_classes(new_rules)][:shown]
    if chosen:
        tails = [model.tails(rule) for rule in chosen]
        drawing = {"steps": steps, "side": side, "channels": end.channels}
        after = images.Artist.of(target, batch, end.layer, **drawing)
        drawing["colours"] = after.colours
        earlier = images.Artist.of(before, batch, end.layer, **drawing)
        x, x_before = after.draw(tails, rng), earlier.draw(tails, rng)
        numbers += _numbers(
            _still_there(after, x, x_before, tails), setting, len(tails)
        )
        y = networks.answers(target, batch).argmax(1)
        arrays |= {
            "images.after": images.pixels(x),
            "images.before": images.pixels(x_before),
            "examples": images.pixels(
                batch.x[shown_rules.examples_of_heads(on, model, chosen, y)]
            ),
            "heads": shown_rules.heads(chosen, C),
            "units": shown_rules.tail_sizes(chosen),
            "is_kept": np.array([rule in kept_rules for rule in chosen]),
        }
    return Outcome(numbers, arrays)


def _still_there(
    after: images.Artist,
    x: Tensor,
    x_before: Tensor,
    tails: Sequence[Sequence[int]],
) -> dict[str, float]:
    """What of each tail the network before fine-tuning had (Fig. 17): how much the image that it draws activates the
    tail in the fine-tuned network, as a share of what that network's own image does, where it does; the same of the
    images of other tails; the share of tails whose image had less intense colours.
    """
    own = after.reached(x, tails).diagonal()
    drawn = own > 0  # else there is nothing to take a share of
    shares = after.reached(x_before, tails)[:, drawn] / own[drawn]  # (images, tails)
    same = np.eye(len(tails), dtype=bool)[:, drawn]
    facts = {"tails_drawn": len(tails), "tails_reached": drawn.sum()}
    if same.any():
        facts["before_activation_share"] = shares[same].mean()
    if (~same).any():
        facts["before_other_activation_share"] = shares[~same].mean()
    if x.shape[1] > 1:
        paler = images.intensity(x_before) < images.intensity(x)
        facts["paler_before_share"] = paler.mean()
    return facts


def _before_tuning(study: Study, end: Last, source: str) -> Target:
    """The network with the weights it was fine-tuned from.

    Raises:
        NotApplicable: there are no such weights for the last hidden layer.
    """
    net = study.target_name.split("-")[
        0
    ]  # the zoo names a network by its net, or net-variant
    weights, _ = pretrained.weights(net, source)
    before = copy.deepcopy(study.target)
    missing = before.net.load_state_dict(weights, strict=False).missing_keys
    if any(key.startswith(f"{end.layer}.") for key in missing):
        raise NotApplicable(f"there are no {source} weights for {end.layer} of {net}")
    return before


# --------------------------------------------------------------------------------------------- shared


def _last_rules(study: Study, samples: int, theta: float, mu: int) -> LastRules:
    batch = _batch(study, "train", samples)
    return LastRules.of(study.target, batch, theta, mu)


def _artist(
    target: Target, mined: LastRules, steps: int, side: int | None
) -> images.Artist:
    """Draws tails of the last hidden layer."""
    layer, channels = mined.source.layer, mined.source.channels
    return images.Artist.of(target, mined.batch, layer, steps, side, channels=channels)


def _adjacent(model: Model, units: Units, rng: Generator) -> dict[str, float]:
    """The share of a rule's pixel pairs that touch, and by chance; empty where no rule has two pixels of a filter."""
    share, chance = networks.neighbours(model, units, rng)
    if not math.isfinite(share):
        return {}
    return {"adjacent_share": share, "adjacent_share_by_chance": chance}


def _numbers(
    facts: Mapping[str, float], setting: Mapping[str, Any], n: int
) -> list[Number]:
    """Counts and fractions (``COUNTS``) as numbers of ExplaiNN."""
    numbers = []
    for metric, value in facts.items():
        unit = "count" if metric.startswith(COUNTS) else "fraction"
        numbers.append(Number(metric, value, "ExplaiNN", setting, n, "higher", unit))
    return numbers


def _batch(study: Study, split: str, count: int) -> Batch:
    data = study.data
    ids = data.sample(split, count, study.target_name, study.seed)
    chunk = CHUNK
    if data.input_shape[1] >= 100:
        chunk = 32
    return data.batch(split, ids, study.device, chunk)
