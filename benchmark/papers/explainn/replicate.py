"""The paper's own experiments.

worked_example   App. A.1, term by term
planted          Fig. 2 top: rules planted in synthetic data, found again
rules            Figs. 3, 4, 10, 11, 15: rules from the classes to a layer, and on which places of its filters they end
intervention     Fig. 2 bottom: a class before and after its rules' weights are zeroed
flow             Fig. 5: rules chained from the classes through several layers
prototypes       Fig. 14: the image of a rule's whole tail beside those of its single units
traits           Figs. 4, 13, 15: what two classes share and what each has alone; the different rules of one class
fine_tuning      App. B.3, Fig. 17: rules of the last hidden layer before and after a network was fine-tuned
"""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.random import Generator

from benchmark.api import Array, Batch, NotApplicable, Target
from benchmark.papers import Number, Outcome, Study
from benchmark.papers.explainn import mdl, networks
from benchmark.papers.explainn import planted as synthetic
from benchmark.papers.explainn import prototypes as images
from benchmark.papers.explainn import traits as shown_rules
from benchmark.papers.explainn.mdl import ROBUST, SIMPLE, Encoding, Rule, description_length
from benchmark.papers.explainn.miner import Model, mine
from benchmark.papers.explainn.networks import Units, label_rules, last
from benchmark.zoo import pretrained

CHUNK = 250  # images that go through a network together

# --------------------------------------------------------------------------------------------- synthetic data


def worked_example(study: Study, rng: Generator) -> Outcome:
    """App. A.1: n = 100; A, B, C, D in 40, 35, 33, 35 rows; B and C hold in 30 of A's; the rule A -> BC, simple encoding."""
    D = np.zeros((100, 4), bool)
    D[:40, 0] = D[:30, 1:3] = D[40:45, 1] = D[40:43, 2] = D[50:85, 3] = True
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
    terms |= {
        f"log2_C({n},{k})": mdl.log2_binomial(n, k)
        for n, k in ((100, 40), (100, 33), (40, 30), (100, 5), (100, 3), (100, 35))
    }
    terms |= {f"-log2({t}/143)": -math.log2(t / 143) for t in (40, 35, 33)}
    return Outcome(
        [
            Number(
                metric,
                value,
                "ExplaiNN encoding",
                n=100,
                better="lower",
                unit="bits",
                dataset="toy n=100",
                target="-",
            )
            for metric, value in terms.items()
        ]
    )


def planted(
    study: Study,
    rng: Generator,
    *,
    m: int,
    heads: str = "exclusive",
    noise: float = 0.001,
    alone: bool = False,
    theta: float = 0.2,
    mu: int = 4,
    n: int = 10_000,
    encoding: str = "robust",
) -> Outcome:
    """One data set with m planted rules: exact and soft precision and recall, and what planted and found rules cost."""
    code: Encoding = {"robust": ROBUST, "simple": SIMPLE}[encoding]
    data = synthetic.planted(rng, m=m, n=n, heads=heads, noise=noise, alone=alone)
    model = mine(data.heads, data.tails, theta=theta, mu=mu, encoding=code, allow=networks.ALLOW)
    kind = "mutually exclusive heads" if heads == "exclusive" else "co-occurring heads"
    name = f"m={m} planted, {kind}" + (", also alone" if alone else "")
    setting = {"noise": noise, "theta": theta, "mu": mu} | (
        {"encoding": encoding} if encoding != "robust" else {}
    )
    found = synthetic.score(model, data) | {
        "planted_minus_found_bits": data.length(code) - model.bits,
        "found_bits": model.bits,
    }
    return Outcome(
        [
            Number(
                metric,
                value,
                "ExplaiNN",
                setting,
                m,
                "higher",
                {"n_found": "rules", "noise_rules": "rules"}.get(
                    metric, "bits" if "bits" in metric else "fraction"
                ),
                dataset=f"synthetic n={n}",
                target=name,
            )
            for metric, value in found.items()
        ]
    )


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
) -> Outcome:
    """Rules from the classes to each of ``layers`` (default: the last hidden one): how many, shared or not, and where.

    Arrays, for a layer with positions: ``filters`` of its channels with most pixels in rules of several classes, and the one that
    answers most to background; their mean activation a class and the rule of each pixel.
    """
    target, batch = study.target, _batch(study, "train", samples)
    numbers, arrays = [], {"classes": np.array(target.classes)}
    source = last(target)
    for layer in layers or [source.layer]:
        units = Units.of(
            target, batch, layer, pool, channels=source.channels and layer == source.layer
        )
        model = label_rules(target, batch, units, theta=theta, mu=mu)
        setting = {"layer": layer} | ({"pool": pool} if pool > 1 else {})
        facts = {
            "n_rules": len(model.rules),
            "n_literals": model.size["literals"],
            "saved_bits_share": 1 - model.bits / model.baseline,
            "largest_tail": max((len(r.Y) for r in model.rules), default=0),
            **networks.kinds(model),
        }
        if units.blocks is not None:
            together, chance = networks.neighbours(model, units, rng)
            light = networks.background(target, batch, layer)
            if math.isfinite(together):
                facts |= {"adjacent_share": together, "adjacent_share_by_chance": chance}
            facts["background_filters"] = int((light < -0.1).sum())
            facts["n_filters"] = units.shape[0]
            arrays |= {
                f"{layer}.{k}": v
                for k, v in _filters(target, batch, units, model, light, filters).items()
            }
        counted = ("n_rules", "n_literals", "classes", "largest", "background", "n_filters")
        numbers += [
            Number(
                k,
                v,
                "ExplaiNN",
                setting,
                len(batch),
                "higher",
                "count" if k.startswith(counted) else "fraction",
            )
            for k, v in facts.items()
        ]
    return Outcome(numbers, arrays)


def _filters(
    target: Target, batch: Batch, units: Units, model: Model, light: Array, count: int
) -> dict[str, Array]:
    """Of the chosen filters: mean activation (F, C, u, v), number of the rule that holds the pixel for a class or -1, and the
    correlation with brightness (F,)."""
    C, (K, u, v) = len(target.classes), units.shape
    rule_of = np.full((C, K * u * v), -1, np.int16)
    several = np.zeros(K)
    for number, rule in enumerate(model.rules):
        tail = model.tails(rule)
        rule_of[np.ix_(rule.X, tail)] = number
        if len(rule.X) > 1:
            several += np.bincount(np.array(tail) // (u * v), minlength=K)
    chosen = [int(k) for k in np.argsort(-several, kind="stable")[:count] if several[k]]
    dark = int(np.nanargmin(light)) if np.isfinite(light).any() else -1
    chosen += [dark] if dark >= 0 and light[dark] < -0.1 and dark not in chosen else []
    z = networks._values(target, batch, units.layer, units.pool, False)[:, chosen]  # (n, F, u, v)
    y = networks.answers(target, batch).argmax(1)
    mean = np.stack(
        [
            z[y == c].mean(0).cpu().numpy() if (y == c).any() else np.zeros(z.shape[1:])
            for c in range(C)
        ],
        axis=1,
    )
    return {
        "filter": np.array(chosen),
        "mean": mean.astype(np.float32),
        "rule": rule_of.reshape(C, K, u, v)[:, chosen].swapaxes(0, 1),
        "light": light[chosen],
    }


def intervention(
    study: Study,
    rng: Generator,
    *,
    samples: int = 10_000,
    test_samples: int = 10_000,
    theta: float = 0.4,
    mu: int = 1,
) -> Outcome:
    """Every class with a rule: recall before, after its rules' weights are zeroed, and after as many random ones are."""
    target, batch, test = (
        study.target,
        _batch(study, "train", samples),
        _batch(study, "test", test_samples),
    )
    source = last(target)
    units = Units.of(target, batch, source.layer, channels=source.channels)
    model = label_rules(target, batch, units, theta=theta, mu=mu)
    result = networks.intervene(target, test, model, rng)
    judged, q90 = result.judged, result.quantile()
    if not judged.any():
        raise NotApplicable(f"no class of {target.name} has a rule on {len(batch)} images")
    after, before = result.after[judged], result.before[judged]
    lower = after < q90[judged]
    facts = {
        "classes_judged": (int(judged.sum()), "count"),
        "below_random_q90_share": (lower.mean(), "fraction"),
        "after_at_most_5pct_share": ((after <= 0.05).mean(), "fraction"),
        "class_accuracy_before": (before.mean(), "fraction"),
        "class_accuracy_after": (after.mean(), "fraction"),
        "class_accuracy_random_q90": (q90[judged].mean(), "fraction"),
        "weights_zeroed": (result.removed[judged].mean(), "weights a class"),
    }
    numbers = [
        Number(
            k,
            v,
            "ExplaiNN",
            {"layer": source.layer},
            int(judged.sum()),
            "lower" if "after" in k else "higher",
            unit,
        )
        for k, (v, unit) in facts.items()
    ]
    return Outcome(
        numbers,
        {
            "classes": np.array(target.classes),
            "before": result.before,
            "after": result.after,
            "q90": q90,
            "images": result.images,
        },
    )


def flow(
    study: Study,
    rng: Generator,
    *,
    layers: Sequence[str],
    samples: int = 5_000,
    theta: float = 0.4,
    mu: int = 1,
    wide: int = 3,
    steps: int = 96,
) -> Outcome:
    """Rules chained classes -> layers[0] -> layers[1] ...; for the class with the longest traces, what its traces look like.

    Arrays: the drawn nodes (level, parent, units, head classes) with the prototype of each tail. ``wide``: rules of the class that
    are drawn.
    """
    target, batch = study.target, _batch(study, "train", samples)
    levels = networks.cascade(target, batch, layers, theta=theta, mu=mu)
    numbers = []
    for depth, (units, model) in enumerate(levels, start=1):
        used = len({r.X for r in model.rules})
        groups = len(levels[depth - 2][1].rules) if depth > 1 else len(target.classes)
        facts = {"n_rules": len(model.rules), "heads_used": used, "heads_offered": groups}
        numbers += [
            Number(
                k,
                v,
                "ExplaiNN",
                {"layer": units.layer, "level": depth},
                len(batch),
                "higher",
                "count",
            )
            for k, v in facts.items()
        ]
    reach = np.array([_traces(levels, c) for c in range(len(target.classes))])
    numbers.append(
        Number(
            "classes_traced_to_the_end",
            (reach > 0).sum(),
            "ExplaiNN",
            {"layer": layers[-1]},
            len(batch),
            "higher",
            "count",
        )
    )
    if not reach.any():
        return Outcome(numbers, {})
    c = int(reach.argmax())
    nodes = _trace(levels, c, wide)
    colours, pictures = images.Colours.of(batch), []
    for depth, layer in enumerate(layers, start=1):  # nodes are breadth first
        tails = [node["units_of_layer"] for node in nodes if node["level"] == depth]
        if tails:
            scale = images.scales(target, batch, layer)
            pictures.append(
                images.maximise(target, layer, tails, colours, rng, scale=scale, steps=steps)
            )
    shown = [{k: n[k] for k in ("level", "parent", "layer", "units", "head", "k")} for n in nodes]
    return Outcome(
        numbers,
        {
            "class": np.array(target.classes[c]),
            "classes": np.array(target.classes),
            "nodes": np.array(json.dumps(shown)),
            "prototypes": np.concatenate([p.cpu().numpy() for p in pictures]).astype(np.float32),
        },
    )


def _children(levels: list[tuple[Units, Model]], depth: int, head: Sequence[int]) -> list[Rule]:
    return [
        r for r in levels[depth][1].rules if (head[0] in r.X if depth == 0 else tuple(head) == r.X)
    ]


def _traces(levels: list[tuple[Units, Model]], c: int) -> int:
    """How many chains of rules lead from class c to the last layer."""
    heads = [[c]]
    for depth, (_, model) in enumerate(levels):
        heads = [model.tails(r) for head in heads for r in _children(levels, depth, head)]
    return len(heads)


def _trace(levels: list[tuple[Units, Model]], c: int, wide: int) -> list[dict]:
    """The rules below class c that are drawn, breadth first: those of fewest classes that go on to the next layer."""
    nodes: list[dict] = []
    front = [(-1, [c])]
    for depth, (units, model) in enumerate(levels):
        new = []
        for parent, head in front:
            mine = _children(levels, depth, head)
            if depth + 1 < len(levels):
                mine = [r for r in mine if _children(levels, depth + 1, model.tails(r))] or mine
            for rule in sorted(mine, key=lambda r: len(r.X))[: (wide, 2, 1)[min(depth, 2)]]:
                tail = model.tails(rule)
                nodes.append(
                    {
                        "level": depth + 1,
                        "parent": parent,
                        "layer": units.layer,
                        "units": len(tail),
                        "k": rule.k,
                        "head": list(rule.X) if depth == 0 else [],
                        "units_of_layer": tail,
                    }
                )
                new.append((len(nodes) - 1, tail))
        front = new
    return nodes


def prototypes(
    study: Study,
    rng: Generator,
    *,
    samples: int = 2_000,
    rules: int = 3,
    most: int = 5,
    steps: int = 128,
    side: int | None = None,
    theta: float = 0.4,
    mu: int = 1,
) -> Outcome:
    """For the ``rules`` that save most bits and have 2 to ``most`` tail units: the whole tail's image beside each unit's.

    Numbers: the mean activation of the whole tail (1: as in the images in which its units are ON) on the tail's own image,
    and on the best single unit's.
    """
    target, batch = study.target, _batch(study, "train", samples)
    source = last(target)
    units = Units.of(target, batch, source.layer, channels=source.channels)
    model = label_rules(target, batch, units, theta=theta, mu=mu)
    chosen = [r for r in model.rules if len(r.Y) >= 2][:rules]
    if not chosen:
        raise NotApplicable(f"no rule of {target.name} has two units in its tail")
    few = batch[: min(len(batch), 500)]
    colours, scale = (
        images.Colours.of(few),
        images.scales(target, few, source.layer, source.channels),
    )
    numbers, arrays = [], {"classes": np.array(target.classes), "count": np.array(len(chosen))}
    for i, rule in enumerate(chosen):
        tail = model.tails(rule)[:most]
        groups = [tail, *([y] for y in tail)]
        x = images.maximise(
            target,
            source.layer,
            groups,
            colours,
            rng,
            scale=scale,
            channels=source.channels,
            steps=steps,
            side=side,
        )
        whole = images.reached(
            target, source.layer, x, [tail] * len(groups), scale, source.channels
        )
        setting = {"layer": source.layer, "rule": i + 1}
        numbers += [
            Number(
                "tail_activation",
                whole[0],
                "whole tail",
                setting,
                len(tail),
                "higher",
                "mean when ON",
            ),
            Number(
                "tail_activation",
                whole[1:].max(),
                "best single unit",
                setting,
                len(tail),
                "higher",
                "mean when ON",
            ),
        ]
        arrays |= {
            f"images{i}": x.cpu().numpy().astype(np.float32),
            f"reached{i}": whole,
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
) -> Outcome:
    """Rules classes -> last hidden layer by kind: of several classes or of one; prototypes of the tails that Figs. 4 and 15 show.

    Arrays: ``heads`` (rules, classes), ``tails`` (rules,) sizes; of two classes that share a rule and have one each
    (``pair``), and of the class with most rules (``within``): the classes in the rules' heads, their tails' prototypes, images.
    """
    target, batch = study.target, _batch(study, "train", samples)
    source, C = last(target), len(target.classes)
    units = Units.of(target, batch, source.layer, channels=source.channels)
    on, y = units(target, batch), networks.answers(target, batch).argmax(1)
    model = label_rules(target, batch, units, theta=theta, mu=mu)
    if not model.rules:
        raise NotApplicable(f"no class of {target.name} has a rule on {len(batch)} images")
    H = shown_rules.heads(model.rules, C)
    arrays = {
        "classes": np.array(target.classes),
        "heads": H,
        "tails": np.array([len(r.Y) for r in model.rules]),
    }
    few = batch[: min(len(batch), 500)]
    colours, scale = (
        images.Colours.of(few),
        images.scales(target, few, source.layer, source.channels),
    )

    def draw(rules: Sequence[Rule]) -> Array:
        tails = [model.tails(rule) for rule in rules]
        x = images.maximise(
            target,
            source.layer,
            tails,
            colours,
            rng,
            scale=scale,
            channels=source.channels,
            steps=steps,
            side=side,
        )
        return _pixels(x)

    if two := shown_rules.pair(model.rules, C):
        c, d, three = two
        rows = [np.flatnonzero(y == k)[:2] for k in (c, d)]
        arrays |= {
            "pair": np.array([c, d]),
            "pair.heads": shown_rules.heads(three, C),
            "pair.images": draw(three),
            "pair.units": np.array([len(r.Y) for r in three]),
            "pair.examples": _pixels(batch.x[np.concatenate(rows)]),
        }
    if one := shown_rules.within(model.rules, C):
        c, own = one
        prototype = images.maximise(
            target, target.layers[-1], [[c]], colours, rng, steps=steps, side=side
        )
        here = np.flatnonzero(y == c)
        arrays |= {
            "within": np.array(c),
            "within.heads": shown_rules.heads(own, C),
            "within.images": draw(own),
            "within.units": np.array([len(r.Y) for r in own]),
            "within.class": _pixels(prototype),
            "within.examples": _pixels(batch.x[shown_rules.examples(on, model, own, here)]),
        }
    facts = {
        "n_rules_of_one_class": (H.sum(1) == 1).sum(),
        "n_rules_of_several_classes": (H.sum(1) > 1).sum(),
        "n_rules_of_a_class_at_most": H.sum(0).max(),
    }
    return Outcome(
        [
            Number(k, v, "ExplaiNN", {"layer": source.layer}, len(batch), "higher", "count")
            for k, v in facts.items()
        ],
        arrays,
    )


def _pixels(x: torch.Tensor) -> Array:
    """Images (n, c, h, w) in [0, 1] as bytes."""
    return (x * 255).round().to(torch.uint8).cpu().numpy()


def fine_tuning(
    study: Study,
    rng: Generator,
    *,
    samples: int = 2_000,
    theta: float = 0.2,
    mu: int = 1,
    source: str = "imagenet",
    shown: int = 4,
    steps: int = 64,
    side: int | None = None,
) -> Outcome:
    """The same images through the fine-tuned network and the one it began from: rules classes -> last hidden layer of both.

    Arrays: rules of each class that were ``kept``, are ``new`` and were ``lost``; for ``shown`` rules of the fine-tuned network
    (half of them kept) what their tails look like in it and in the network before, and an image of a class in the head.
    """
    target, batch = study.target, _batch(study, "train", samples)
    net = study.target_name.split("-")[
        0
    ]  # the zoo's networks are called by their net, or net-variant
    weights, _ = pretrained.weights(net, source)
    before = copy.deepcopy(target)
    missing = before.net.load_state_dict(weights, strict=False).missing_keys
    end = last(target)
    if any(key.startswith(f"{end.layer}.") for key in missing):
        raise NotApplicable(f"there are no {source} weights for {end.layer} of {net}")
    heads = networks.answers(target, batch)
    found, on = {}, {}
    for when, network in (("before", before), ("after", target)):
        if when == "before":
            _share(target, before, batch, end.layer)
        units = Units.of(network, batch, end.layer, channels=end.channels)
        on[when] = units(network, batch)
        found[when] = mine(
            heads, on[when], theta=theta, mu=mu, disjunctive=True, allow=networks.ALLOW
        )
    setting = {"layer": end.layer}
    a, b = found["before"].rules, found["after"].rules
    kept, lost = shown_rules.alike(b, a), ~shown_rules.alike(a, b)
    facts = {
        "n_rules_before": len(a),
        "n_rules_after": len(b),
        "rules_alike": networks.likeness(b, a),
        "same_on_state_share": float((on["before"] == on["after"]).mean()),
        "saved_bits_share_before": 1 - found["before"].bits / found["before"].baseline,
        "saved_bits_share_after": 1 - found["after"].bits / found["after"].baseline,
        "n_rules_kept": kept.sum(),
        "n_rules_new": (~kept).sum(),
        "n_rules_lost": lost.sum(),
    }
    C = len(target.classes)
    H = shown_rules.heads(b, C)
    arrays = {
        "classes": np.array(target.classes),
        "kept": H[kept].sum(0),
        "new": H[~kept].sum(0),
        "lost": shown_rules.heads(a, C)[lost].sum(0),
    }
    halves = [
        sorted((r for r, k in zip(b, kept, strict=True) if k == which), key=lambda r: len(r.X))
        for which in (True, False)
    ]
    chosen = [*halves[0][: shown - shown // 2], *halves[1]][:shown]
    if chosen:
        few = batch[: min(len(batch), 500)]
        colours, tails = images.Colours.of(few), [found["after"].tails(rule) for rule in chosen]
        y = heads.argmax(1)
        for when, network in (("after", target), ("before", before)):
            scale = images.scales(network, few, end.layer, end.channels)
            x = images.maximise(
                network,
                end.layer,
                tails,
                colours,
                rng,
                scale=scale,
                channels=end.channels,
                steps=steps,
                side=side,
            )
            arrays[f"images.{when}"] = _pixels(x)
        rows = [
            shown_rules.examples(on["after"], found["after"], [r], np.flatnonzero(np.isin(y, r.X)))[
                0
            ]
            for r in chosen
        ]
        arrays |= {
            "examples": _pixels(batch.x[rows]),
            "heads": shown_rules.heads(chosen, C),
            "units": np.array(list(map(len, tails))),
            "is_kept": np.array([r in halves[0] for r in chosen]),
        }
    return Outcome(
        [
            Number(
                k,
                v,
                "ExplaiNN",
                setting,
                len(batch),
                "higher",
                "count" if k.startswith("n_") else "fraction",
            )
            for k, v in facts.items()
        ],
        arrays,
    )


def _share(target: Target, before: Target, batch: Batch, layer: str) -> None:
    """Remember ``before.features(batch, layer)``, computed from the last layer up to which the two networks are the same."""
    end, same = target.layers.index(layer), -1
    while same < end and all(
        torch.equal(a, b)
        for a, b in zip(
            target.net[same + 1].parameters(), before.net[same + 1].parameters(), strict=True
        )
    ):
        same += 1
    if same >= 0:
        with torch.no_grad():
            z = target.features(batch, target.layers[same])
            tail = before.net[same + 1 : end + 1]
            batch.memo["features", before, end] = torch.cat(
                [tail(part) for part in z.split(batch.chunk)]
            )


def _batch(study: Study, split: str, count: int) -> Batch:
    ids = study.data.sample(split, count, study.target_name, study.seed)
    chunk = CHUNK if study.data.input_shape[1] < 100 else 32
    return study.data.batch(split, ids, study.device, chunk)
