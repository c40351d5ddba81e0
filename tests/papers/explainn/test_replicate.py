"""ExplaiNN's experiments, verdicts and pictures: on the toy of App. A.1, on planted rules, and on a
small trained network."""

import csv
import json

import numpy as np
import pandas as pd
import pytest
import torch

from benchmark import data, papers, store, zoo
from benchmark.api import NotApplicable
from benchmark.papers import Found, FoundUnit, Study
from benchmark.papers.explainn import figures, replicate, traits, verdicts
from benchmark.papers.explainn.mdl import Rule
from benchmark.papers.explainn.miner import Model
from benchmark.papers.explainn.networks import last
from benchmark.utils import plot_style
from tests.helpers.places import ROOT

PROFILE = {
    "profile": "p",
    "track": "replication",
    "paper": "explainn",
    "n": 1,
    "better": "higher",
    "unit": "",
    "metric_version": 1,
    "status": "ok",
    "reason": "",
}


@pytest.fixture(scope="module")
def study(blob_network):
    target = zoo.load(blob_network / "cnn-0.safetensors")
    return Study(
        0, "cpu", "blobs", data.load(blob_network / "blobs.npz"), "explainn_cnn", target
    )


def rng():
    return np.random.default_rng(0)


def by_metric(outcome, **setting):
    return {
        n.metric: n.value
        for n in outcome.numbers
        if setting.items() <= dict(n.setting).items()
    }


def rows_of(outcome, dataset="blobs", target="cnn", seed=0):
    return [
        PROFILE
        | {
            "dataset": n.dataset or dataset,
            "target": n.target or target,
            "seed": seed,
            "method": n.method,
            "setting": store.setting_text(n.setting),
            "metric": n.metric,
            "value": float(n.value),
            "n": n.n,
        }
        for n in outcome.numbers
    ]


def frame(rows):
    return pd.DataFrame(rows, columns=list(store.ROW_COLUMNS))


# --------------------------------------------------------------------------------------------- experiments


def test_every_published_term_of_the_worked_example_is_measured():
    with open(ROOT / "results" / "reported" / "explainn.csv") as file:
        published = [
            row for row in csv.DictReader(file) if row["dataset"] == "toy n=100"
        ]
    outcome = replicate.worked_example(Study(), rng())
    found = by_metric(outcome)
    assert {row["metric"] for row in published} == set(found)
    assert {(n.dataset, n.target, n.method) for n in outcome.numbers} == {
        ("toy n=100", "-", "ExplaiNN encoding")
    }
    assert published
    for row in published:  # printed sums are sums of rounded terms: 14.88 = 4 x 3.72
        slack = {
            "L(D,M_ind)_bits": 0.03,
            "L(D,M)_bits": 0.0052,
            "4*Lpc(100)_bits": 0.015,
            "2*log2_C(100,35)": 0.0075,
        }.get(row["metric"], 0.0051)
        assert found[row["metric"]] == pytest.approx(float(row["value"]), abs=slack), (
            row
        )
    assert [c.holds for c in verdicts.verdicts(frame(rows_of(outcome)))] == [True]


def test_planted_rules_have_the_names_of_the_published_ones():
    outcome = replicate.planted(Study(), rng(), m=10, n=2000)
    with open(ROOT / "results" / "reported" / "explainn.csv") as file:
        targets = {row["target"] for row in csv.DictReader(file)}
    assert (
        {n.target for n in outcome.numbers}
        == {"m=10 planted, mutually exclusive heads"}
        <= targets
    )
    found = by_metric(outcome, noise=0.001, theta=0, mu=10)
    assert found["precision"] == found["recall"] == 1
    assert found["planted_minus_found_bits"] == pytest.approx(0, abs=1e-6)
    simple = replicate.planted(
        Study(), rng(), m=5, n=1000, heads="conjunctive", noise=0.03, encoding="simple"
    )
    assert {n.target for n in simple.numbers} == {"m=5 planted, co-occurring heads"}
    assert {n.setting["encoding"] for n in simple.numbers} == {"simple"}


def test_rules_and_interventions_of_a_network(study):
    outcome = replicate.rules(study, rng(), layers=["fc1", "conv2"], theta=0.3)
    fc1, conv = by_metric(outcome, layer="fc1"), by_metric(outcome, layer="conv2")
    assert fc1["n_rules"] >= 2
    assert 0 <= fc1["multi_class_share"] <= 1
    assert conv["n_filters"] == 40
    assert conv["n_literals"] >= conv["n_rules"] * 2
    shape = outcome.arrays["conv2.rule"].shape
    assert shape == outcome.arrays["conv2.mean"].shape
    assert shape[1:] == (4, 11, 11)
    assert (outcome.arrays["conv2.rule"] >= 0).any()
    prototypes = outcome.arrays["conv2.prototype"]
    assert prototypes.shape == (len(outcome.arrays["conv2.filter"]), 1, 28, 28)
    assert prototypes.std((1, 2, 3)).min() > 1  # of 255
    outcome = replicate.intervention(study, rng(), theta=0.3)
    found = by_metric(outcome)
    assert found["class_accuracy_after"] <= found["class_accuracy_before"]
    assert outcome.arrays["after"].shape == outcome.arrays["instead"].shape == (4,)
    assert (outcome.arrays["instead"] >= 0).any() == ("classes_that_lose" in found)
    assert len({(n.metric, str(n.setting)) for n in outcome.numbers}) == len(
        outcome.numbers
    )


def test_pooled_layers_are_smaller(study):
    pooled = replicate.rules(study, rng(), layers=["conv2"], pool=2, theta=0.3)
    assert pooled.arrays["conv2.rule"].shape[1:] == (4, 6, 6)
    assert {n.setting["pool"] for n in pooled.numbers} == {2}


def test_flow_and_prototypes(study):
    outcome = replicate.flow(study, rng(), layers=["fc1", "conv2"], theta=0.3, steps=3)
    found = by_metric(outcome, layer="conv2")
    assert found["heads_used"] <= found["heads_offered"]
    assert found["adjacent_share"] > found["adjacent_share_by_chance"]
    nodes = json.loads(str(outcome.arrays["nodes"]))
    assert len(nodes) == len(outcome.arrays["prototypes"])
    assert "places" not in nodes[0]
    last_level = [node for node in nodes if node["level"] == 2]
    for node in last_level:  # the units of one filter, each at a place of its own
        assert len(node["filters"]) == 1 and node["map"] == [11, 11]
        assert node["units"] == len(node["places"])
        assert np.array(node["places"]).max() < 11
    assert outcome.arrays["prototypes"].shape[1:] == (1, 28, 28)
    outcome = replicate.prototypes(study, rng(), theta=0.3, steps=3, rules=1)
    assert {(n.metric, n.method) for n in outcome.numbers} == {
        ("tail_activation", "whole tail"),
        ("tail_activation", "best single unit"),
        ("sharpness", "whole tail"),
        ("sharpness", "single units"),
    }
    with pytest.raises(NotApplicable, match="two units in its tail"):
        replicate.prototypes(study, rng(), samples=8)
    with pytest.raises(NotApplicable, match="no class of"):
        replicate.intervention(study, rng(), samples=8)


def test_rules_that_classes_share_and_have_alone(study):
    outcome = replicate.traits(study, rng(), theta=0.3, steps=2)
    a, found = outcome.arrays, by_metric(outcome)
    assert a["heads"].shape == (len(a["tails"]), 4)
    assert found["n_rules_of_one_class"] + found["n_rules_of_several_classes"] == len(
        a["tails"]
    )
    assert found["n_rules_of_a_class_at_most"] == a["heads"].sum(0).max()
    assert found["n_pairs_with_three_rules"] > 0
    assert -1 <= found["pair_own_gap"] <= 1 and found["pair_shared_gap"] > 0
    several = (a["heads"].sum(1) > 1) & (a["tails"] > 1)
    assert found["n_rules_of_several_classes_and_units"] == several.sum()
    assert a["gallery.images"].shape[1:] == (1, 28, 28)
    assert (a["gallery.units"] > 1).all()
    c, d = a["pair"]
    assert a["pair.heads"][:, [c, d]].tolist() == [
        [True, False],
        [True, True],
        [False, True],
    ]
    assert (
        a["pair.images"].shape == (3, 1, 28, 28) and a["pair.images"].dtype == np.uint8
    )
    assert a["within.heads"][:, int(a["within"])].all()
    assert (
        len(a["within.images"])
        == len(a["within.examples"])
        == len(a["within.units"])
        <= 3
    )
    with pytest.raises(NotApplicable, match="has a rule on 8 images"):
        replicate.traits(study, rng(), samples=8)


def test_the_pair_has_fewest_classes_and_all_three_rules():
    r = lambda *X: Rule(X, (10,), 1, 1)
    assert traits.pair([r(0, 1, 2), r(0, 3), r(1, 3), r(0), r(1), r(0, 1)], 4) == (
        0,
        1,
        (r(0), r(0, 1), r(1)),
    )
    assert traits.pair([r(0, 1), r(0)], 4) is None  # 1 has nothing without 0
    assert traits.pair([], 4) is None
    rules = [r(0, 1, 2), r(2), r(0, 2), r(1)]
    assert traits.within(rules, 4) == (2, [r(2), r(0, 2), r(0, 1, 2)])
    assert traits.within(rules, 4, most=1) == (2, [r(2)])
    assert traits.within([r(0), r(1)], 4) is None and traits.within([], 4) is None


def test_tails_hold_where_k_of_their_units_are_on():
    on = np.array([[1, 1, 0], [1, 0, 0], [0, 0, 1]], bool)
    model = Model((), (), 0.0, 0.0, p=10)
    rules = [Rule((0,), (10, 11), 1, 2), Rule((0,), (10, 11), 1, 1), Rule((1,), (12,))]
    assert traits.holding(on, model, rules).tolist() == [
        [True, False, False],
        [True, True, False],
        [False, False, True],
    ]


def test_pairs_of_classes_with_three_rules_are_counted():
    r = lambda *X: Rule(X, (10,), 1, 1)
    rules = [r(0, 1), r(0), r(1), r(1, 2), r(2)]
    H = traits.heads(rules, 4)
    literal = 0
    for c in range(4):
        for d in range(c):
            has = [(c in rule.X, d in rule.X) for rule in rules]
            three = {(True, True), (True, False), (False, True)}
            literal += three <= set(has)
    assert traits.three_rules(H) == literal == 2
    assert traits.three_rules(traits.heads([r(0, 1), r(0)], 4)) == 0


def test_gaps_of_a_pair_by_hand():
    y = np.array([0, 0, 1, 1, 2, 2])
    holds = np.array([[1, 1, 1, 0, 0, 0], [1, 1, 1, 0, 1, 0], [1, 0, 1, 1, 1, 1]], bool)
    # own: 1 - 1/2 for class 0, 1 - 1/2 for class 1; shared: min(1, 1/2) - 1/2
    assert traits.pair_gaps(holds, y, 0, 1) == (0.5, 0.0)
    assert traits.pair_gaps(holds[:, :4], y[:4], 0, 1) == (0.5, 0.5)  # no other class


def test_rules_that_hold_apart_correlate_below_zero():
    apart = np.array([[1, 1, 0, 0], [0, 0, 1, 1]], bool)
    assert traits.together(apart) == pytest.approx(-1)
    always = np.ones((1, 4), bool)
    assert np.isnan(traits.together(np.concatenate([apart[:1], always])))


def test_classes_of_shared_rules_have_other_rules():
    r = lambda *X: Rule(X, (10,), 1, 1)
    H = traits.heads([r(0, 1), r(2, 3), r(1)], 4)
    assert traits.with_another_rule(H) == 0.5
    assert traits.with_another_rule(traits.heads([r(0)], 4)) == 0


def test_the_gallery_has_rules_of_one_class_of_two_and_of_more():
    r = lambda X, *Y: Rule(X, Y, 1, 1)
    one, two, more = r((0,), 10, 11), r((0, 1), 10, 11), r((0, 1, 2), 10, 11)
    larger, single = r((0,), 10, 11, 12), r((1,), 10)
    rules = [more, one, single, larger, two]
    assert traits.gallery(rules, 1) == [larger, two, more]
    assert traits.gallery(rules, 2) == [larger, one, two, more]
    assert traits.gallery([single], 2) == []


def test_examples_have_their_own_rules_tail_on():
    model = lambda rule: [y - 10 for y in rule.Y]
    rules = [Rule((0,), (10, 11), 1, 2), Rule((0, 1), (12, 13), 1, 2)]
    on = np.array(
        [[1, 1, 1, 1], [1, 1, 0, 0], [0, 1, 1, 1], [0, 0, 0, 0], [1, 1, 0, 0]], bool
    )
    fake = type("M", (), {"tails": staticmethod(model)})
    assert traits.examples(on, fake, rules, np.arange(5)) == [1, 2]
    assert traits.examples(on, fake, [rules[0]] * 2, np.array([0, 1, 4])) == [
        0,
        1,
    ]  # all alike: no image twice
    assert traits.examples(on, fake, [rules[0]] * 2, np.array([1])) == [1, 1]


def test_rules_are_alike_from_half_an_overlap_on():
    a = [Rule((0,), (5, 6), 1, 1), Rule((0, 1), (5, 6), 1, 1), Rule((2,), (7,), 1, 1)]
    assert traits.alike(a, [Rule((0,), (5, 6), 1, 2)]).tolist() == [
        True,
        True,
        False,
    ]  # 1, 1/2, 0
    assert traits.alike(a, []).tolist() == [False] * 3 and traits.alike(
        [], a
    ).shape == (0,)


@pytest.fixture
def fine_tuned(study, monkeypatch):
    """The experiment from pretrained weights that are the network's own, changed by ``change(name, weight)``."""

    def run(change=lambda name, weight: weight, **settings):
        state = study.target.net.state_dict()
        own = {k: change(k, v) for k, v in state.items() if not k.startswith("logits")}
        monkeypatch.setattr(
            replicate.pretrained, "weights", lambda net, which: (own, {})
        )
        return replicate.fine_tuning(study, rng(), theta=0.3, steps=2, **settings)

    return run


def test_fine_tuning_from_its_own_weights_changes_nothing(fine_tuned):
    outcome = fine_tuned(shown=3)
    found, a = by_metric(outcome), outcome.arrays
    assert found["rules_alike"] == found["same_on_state_share"] == 1
    assert (
        found["n_rules_before"] == found["n_rules_after"] == found["n_rules_kept"] > 0
    )
    assert found["n_rules_new"] == found["n_rules_lost"] == 0
    assert found["before_activation_share"] > found["before_other_activation_share"]
    assert "paler_before_share" not in found  # grey
    assert a["is_kept"].all() and not a["new"].any() and not a["lost"].any()
    shapes = {a[name].shape for name in ("images.after", "images.before", "examples")}
    assert shapes == {(len(a["units"]), 1, 28, 28)}
    assert len(a["units"]) == min(
        2, found["n_rules_kept"]
    )  # half of what is shown may be kept


def test_fine_tuning_from_other_weights_counts_what_changes(fine_tuned, study):
    fingerprint = study.target.fingerprint()
    found = by_metric(fine_tuned(lambda name, weight: weight + 0.2))
    assert found["same_on_state_share"] < 1
    assert found["n_rules_kept"] + found["n_rules_new"] == found["n_rules_after"]
    assert (
        0 <= found["n_rules_before"] - found["n_rules_lost"] <= found["n_rules_before"]
    )
    assert study.target.fingerprint() == fingerprint


def test_fine_tuning_has_its_pictures(fine_tuned):
    arrays = fine_tuned(lambda name, weight: weight + 0.2).arrays
    unit = FoundUnit("fine_tuning", "cub", "squeezenet1_0", 0, {}, arrays)
    drawn = list(figures.pictures(Found(frame([]), [unit])))
    assert [(p.name, p.photo) for p in drawn] == [
        ("b3-rules-cub-squeezenet1_0", False),
        ("fig17-before-after-cub-squeezenet1_0", True),
    ]
    assert all(len(plot_style.save(p.figure, "png", dpi=40)) > 2000 for p in drawn)


def test_the_share_of_states_that_fine_tuning_keeps(fine_tuned, study):
    """Given weights that differ in fc1 alone, so that the network is the same up to flatten."""
    change = lambda name, weight: weight + 0.2 if name.startswith("fc1") else weight
    found = by_metric(fine_tuned(change))
    net, z = (
        study.target.net,
        study.target.features(study.data.batch("train"), "flatten"),
    )
    shifted = torch.relu(z @ (net.fc1[0].weight + 0.2).T + (net.fc1[0].bias + 0.2))
    at = shifted.mean(0) if (shifted > 0).float().mean() > 0.95 else 0
    same = ((shifted > at) == (net.fc1(z) > 0)).float().mean()
    assert found["same_on_state_share"] == pytest.approx(float(same))


class Drawn:
    """What the images of three tails, numbered, activate of each tail."""

    REACHED = {
        1: np.diag([2.0, 0, 4]),
        0: np.array([[1.0, 5, 2], [3, 5, 1], [0, 5, 1]]),
    }

    def reached(self, x, tails):
        return self.REACHED[int(x.flatten()[0])]


def test_the_share_of_a_tail_that_its_own_image_does_not_reach_is_left_out():
    x, before = torch.ones(3, 1, 4, 4), torch.zeros(3, 1, 4, 4)
    found = replicate._still_there(Drawn(), x, before, [[0], [1], [2]])
    assert found == {
        "tails_drawn": 3,
        "tails_reached": 2,
        "before_activation_share": (1 / 2 + 1 / 4) / 2,
        "before_other_activation_share": (3 / 2 + 0 + 2 / 4 + 1 / 4) / 4,
    }


def test_of_tails_that_no_image_reaches_only_the_number_is_known(monkeypatch):
    monkeypatch.setitem(Drawn.REACHED, 1, np.zeros((3, 3)))
    x, before = torch.ones(3, 1, 4, 4), torch.zeros(3, 1, 4, 4)
    found = replicate._still_there(Drawn(), x, before, [[0], [1], [2]])
    assert found == {"tails_drawn": 3, "tails_reached": 0}


def test_fine_tuning_without_pretrained_weights_does_not_apply(study, monkeypatch):
    monkeypatch.setattr(replicate.pretrained, "weights", lambda net, which: ({}, {}))
    with pytest.raises(NotApplicable, match=f"for {last(study.target).layer}"):
        replicate.fine_tuning(study, rng())


# --------------------------------------------------------------------------------------------- verdicts


def line(
    metric,
    value,
    dataset="mnist",
    target="cnn",
    setting="layer=fc1",
    method="ExplaiNN",
    n=1,
    seed=0,
):
    return PROFILE | {
        "dataset": dataset,
        "target": target,
        "seed": seed,
        "method": method,
        "setting": setting,
        "metric": metric,
        "value": value,
        "n": n,
    }


def planted_rows(
    kind,
    noise,
    precision,
    recall,
    soft,
    n_found=10.0,
    noisy=0.0,
    m=10,
    extra="",
    search="mu=10;noise={:g};theta=0",
):
    name = f"m={m} planted, {kind}"
    values = {
        "precision": precision,
        "recall": recall,
        "soft_precision": soft,
        "soft_recall": soft,
        "n_found": n_found,
        "noise_rules": noisy,
    }
    setting = extra + search.format(noise)
    return [
        line(k, v, "synthetic n=10000", name, setting, n=m) for k, v in values.items()
    ]


def judge(rows):
    return [(c.claim, c.holds) for c in verdicts.verdicts(frame(rows))]


EXCLUSIVE, TOGETHER = "mutually exclusive heads", "co-occurring heads"


@pytest.mark.parametrize(
    "rows, expected",
    [
        (planted_rows(EXCLUSIVE, 0.001, 0.9, 0.95, 1), [("EX2", True), ("EX4", True)]),
        (
            planted_rows(EXCLUSIVE, 0.001, 0.89, 0.95, 1),
            [("EX2", False), ("EX4", True)],
        ),
        (
            planted_rows(EXCLUSIVE, 0.001, 1, 1, 1, n_found=11),
            [("EX2", True), ("EX4", False)],
        ),
        (
            planted_rows(EXCLUSIVE, 0.001, 1, 1, 1, noisy=1),
            [("EX2", True), ("EX4", False)],
        ),
        (
            planted_rows(TOGETHER, 0.001, 0.3, 0.3, 0.9)
            + planted_rows(TOGETHER, 0.03, 0.9, 0.9, 0.73),
            [("EX3", True)],
        ),
        (
            planted_rows(TOGETHER, 0.001, 0.3, 0.3, 0.9)
            + planted_rows(TOGETHER, 0.03, 0.9, 0.9, 0.71),
            [("EX3", False)],
        ),
        (
            planted_rows(TOGETHER, 0.001, 0.3, 0.3, 0.9)
            + planted_rows(TOGETHER, 0.1, 0.9, 0.9, 0.71),
            [("EX3", False)],
        ),
        (  # more noise than in the paper
            planted_rows(TOGETHER, 0.001, 0.3, 0.3, 0.9)
            + planted_rows(TOGETHER, 0.2, 0.9, 0.9, 0.1),
            [],
        ),
        *(  # a search that leaves something out
            (
                planted_rows(TOGETHER, 0.001, 0.3, 0.3, 0.9, search=search)
                + planted_rows(TOGETHER, 0.1, 0.9, 0.9, 0.1, search=search),
                [],
            )
            for search in ("mu=10;noise={:g};theta=0.1", "mu=9;noise={:g};theta=0")
        ),
        (planted_rows(TOGETHER, 0.03, 0.3, 0.3, 0.9, extra="encoding=simple;"), []),
    ],
)
def test_verdicts_on_planted_rules(rows, expected):
    assert judge(rows) == expected


def intervention_rows(share, nothing):
    values = {
        "classes_judged": 10,
        "below_random_q90_share": share,
        "after_at_most_5pct_share": nothing,
        "class_accuracy_before": 0.9,
        "class_accuracy_after": 0.1,
        "class_accuracy_random_q90": 0.9,
    }
    return [line(k, v) for k, v in values.items()]


def place_rows(several=0.5, near=0.6, chance=0.1, dark=2):
    values = {
        "multi_class_share": several,
        "n_rules": 9,
        "adjacent_share": near,
        "adjacent_share_by_chance": chance,
        "background_filters": dark,
        "n_filters": 20,
    }
    return [line(k, v, setting="layer=conv1") for k, v in values.items()]


@pytest.mark.parametrize(
    ("recalls", "held"),
    [((1, 0.6), [True, True]), ((0.8, 0.4), [True, False]), ((0.5, 0), [False, False])],
)
def test_verdicts_on_interventions(recalls, held):
    assert judge(intervention_rows(*recalls)) == [("EX5", holds) for holds in held]


@pytest.mark.parametrize(
    ("changed", "held"),
    [
        ({}, [True, True, True]),
        ({"several": 0}, [False, True, True]),
        ({"chance": 0.7}, [True, False, True]),
        ({"dark": 0}, [True, True, False]),
    ],
)
def test_verdicts_on_places(changed, held):
    verdicts_on_places = [("EX6", holds) for holds in held]
    assert judge(place_rows(**changed)) == [("EX7", True), *verdicts_on_places]


INSTEAD = {
    "classes_that_lose": 20,
    "instead_commonest_share": 0.5,
    "instead_related_share": 0.6,
    "instead_related_by_chance": 0.1,
}
NAMESAKES = INSTEAD | {
    "classes_that_lose_with_namesakes": 10,
    "instead_namesake_share": 0.5,
    "instead_namesake_by_chance": 0.05,
}
OWN_AND_SHARED = {
    "n_rules_of_several_classes_and_units": 3,
    "n_pairs_with_three_rules": 5,
    "pair_own_gap": 0.2,
    "pair_shared_gap": 0.4,
}
NO_PAIR = {
    "n_rules_of_several_classes_and_units": 0,
    "n_pairs_with_three_rules": 0,
}
TUNED = {
    "same_on_state_share": 0.8,
    "n_rules_kept": 3,
    "n_rules_new": 4,
    "tails_drawn": 6,
    "before_activation_share": 0.6,
    "before_other_activation_share": 0.1,
    "paler_before_share": 1,
}


@pytest.mark.parametrize(
    ("claim", "values", "held"),
    [
        ("EX8", INSTEAD, [True]),
        ("EX8", INSTEAD | {"instead_related_share": 0.5}, [False]),
        ("EX8", NAMESAKES, [True, True]),
        ("EX8", NAMESAKES | {"instead_namesake_share": 0.1}, [True, None]),
        ("EX9", OWN_AND_SHARED, [True]),
        ("EX9", OWN_AND_SHARED | {"pair_own_gap": -0.1}, [False]),
        ("EX9", OWN_AND_SHARED | {"pair_shared_gap": 0}, [False]),
        ("EX9", NO_PAIR, [False]),
        ("EX10", OWN_AND_SHARED, [True]),
        ("EX10", NO_PAIR, [False]),
        ("EX14", TUNED, [True, True, True]),
        ("EX14", TUNED | {"same_on_state_share": 0.7}, [False, True, True]),
        ("EX14", TUNED | {"n_rules_new": 3}, [False, True, True]),
        ("EX14", TUNED | {"before_activation_share": 0.4}, [True, False, True]),
        ("EX14", TUNED | {"before_other_activation_share": 0.6}, [True, False, True]),
        ("EX14", TUNED | {"paler_before_share": 5 / 6}, [True, True, None]),
        ("EX14", TUNED | {"paler_before_share": 0}, [True, True, False]),
    ],
)
def test_verdicts_on_what_rules_name(claim, values, held):
    rows = [line(metric, value) for metric, value in values.items()]
    assert [h for c, h in judge(rows) if c == claim] == held


def test_chains_are_judged_by_level():
    rows = [
        line("adjacent_share", near, setting=f"layer=conv2;level={level}")
        for level, near in ((2, 0.5), (3, 0.1))
    ] + [
        line("adjacent_share_by_chance", 0.2, setting=f"layer=conv2;level={level}")
        for level in (2, 3)
    ]
    assert judge(rows) == [("EX15", True), ("EX15", False)]


def within_rows(r, n, share=0.6):
    rows = [line("within_share", share)]
    return rows if r is None else [*rows, line("within_correlation", r, n=n)]


@pytest.mark.parametrize(
    ("r", "n", "holds"),
    [
        (-0.3, 100, True),
        (-0.3, 30, None),  # Fisher: -0.6 to 0.07
        (0.3, 100, False),
        (None, 100, False),  # never apart
    ],
)
def test_rules_of_a_class_hold_in_different_images(r, n, holds):
    assert judge(within_rows(r, n)) == [("EX13", holds)]


@pytest.mark.parametrize(
    ("wins", "holds"), [([1] * 5, True), ([1, 1, 1, 0], None), ([0] * 5, False)]
)
def test_whole_tails_beside_their_units(wins, holds):
    rows = []
    for rule, won in enumerate(wins, start=1):
        setting = f"layer=fc1;rule={rule}"
        for metric, other in (
            ("tail_activation", "best single unit"),
            ("sharpness", "single units"),
        ):
            rows.append(line(metric, 0.5, setting=setting, method=other))
            whole = 0.5 + (won - 0.5) / 5
            rows.append(line(metric, whole, setting=setting, method="whole tail"))
    assert judge(rows) == [("EX11", holds), ("EX12", holds)]


def test_wilsons_interval():
    """Newcombe 1998, Table I: 81 of 263 and 15 of 148."""
    assert verdicts.wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert verdicts.wilson(15, 148) == pytest.approx((0.0624, 0.1605), abs=1e-4)


def test_every_claim_of_the_paper_is_judged():
    claims = pd.read_csv(ROOT / "results" / "reported" / "claims.csv")
    ids = claims.loc[claims["paper"] == "explainn", "id"]
    judged = {f"EX{k}" for k in range(1, 16)}
    assert set(ids) == judged
    assert all(f"{id} " in verdicts.__doc__ for id in judged)


def test_thousands_of_rules_are_too_many():
    rows = [
        r | {"value": 3001} if r["metric"] == "n_rules" else r for r in place_rows()
    ]
    (many,) = (c for c in verdicts.verdicts(frame(rows)) if c.claim == "EX7")
    assert not many.holds
    assert many.evidence == "conv1: 3,001 rules"


def test_nothing_found_has_no_verdict():
    assert judge([]) == []


def test_a_wrong_code_length_is_seen():
    rows = rows_of(replicate.worked_example(Study(), rng()))
    for row in rows:
        if row["metric"] == "L_N(2)":
            row["value"] += 1e-6
    (check,) = verdicts.verdicts(frame(rows))
    assert not check.holds
    assert check.evidence == "15 of 16 code lengths to 1e-9 bits; not L_N(2)"


# --------------------------------------------------------------------------------------------- pictures


RUNS = {  # experiment -> its settings
    "rules": {"layers": ["conv2"], "theta": 0.3},
    "intervention": {"theta": 0.3},
    "flow": {"layers": ["fc1", "conv2"], "theta": 0.3, "steps": 2},
    "prototypes": {"theta": 0.3, "steps": 2, "rules": 2},
    "traits": {"theta": 0.3, "steps": 2},
}
PICTURES = [
    "fig2-planted-rules",
    "fig2-search",
    "fig3-filters-blobs-explainn_cnn-conv2",
    "fig2-intervention-blobs-explainn_cnn",
    "fig5-flow-blobs-explainn_cnn",
    "fig14-prototypes-blobs-explainn_cnn",
    "fig13-kinds-blobs-explainn_cnn",
    "fig4-shared-blobs-explainn_cnn",
    "fig18-gallery-blobs-explainn_cnn",
    "fig15-within-blobs-explainn_cnn",
]


def rows_of_planted():
    rows = []
    for seed in range(2):
        for m in (5, 10):
            rows += rows_of(
                replicate.planted(Study(seed), rng(), m=m, n=500), seed=seed
            )
    together = {"m": 5, "n": 500, "heads": "conjunctive"}
    for theta in (0, 0.4):
        rows += rows_of(replicate.planted(Study(), rng(), **together, theta=theta))
    return rows


def test_every_picture_can_be_drawn(study):
    units, rows = [], rows_of_planted()
    for name, settings in RUNS.items():
        outcome = getattr(replicate, name)(study, rng(), **settings)
        rows += rows_of(outcome)
        arrays = {k: np.asarray(v) for k, v in outcome.arrays.items()}
        units.append(FoundUnit(name, "blobs", "explainn_cnn", 0, settings, arrays))
    pictures = list(figures.pictures(Found(frame(rows), units)))
    assert [p.name for p in pictures] == PICTURES
    for picture in pictures:
        assert picture.caption.endswith(".")
        assert len(plot_style.save(picture.figure, "png")) > 3000
        assert not picture.photo


def test_figure_2_shows_the_widest_search_alone():
    rows = figures._synthetic(frame(rows_of_planted()))
    assert set(rows["theta"]) == {0, 0.4}
    assert set(figures._widest(rows)["theta"]) == {0}
    assert set(figures._widest(rows)["kind"]) == {"exclusive", "together"}
    assert set(figures._swept(rows)["kind"]) == {"together"}


def test_no_units_no_pictures():
    assert list(figures.pictures(Found(frame([]), []))) == []


def test_the_package_says_what_it_is():
    package = papers.part("explainn")
    assert package.TITLE == "ExplaiNN"
    assert "ICLR 2021" in package.CITATION
    assert all(isinstance(note, str) and note.endswith(".") for note in package.NOTES)
