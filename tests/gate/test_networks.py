"""Networks that two runs share: what moved on them was moved by the change."""

import numpy as np
import pandas as pd
import pytest

from benchmark.gate import diff, networks, noise
from tools.gate_rates import History

DIGITS = ("offline", "digits", "cnn")


@pytest.fixture(scope="module")
def history():
    return History("networks", methods=4)


def moved(rows, points, metric="metric 0", method="method b", dataset="digits"):
    """The rows with one cell shifted by ``points``, one for each of its three seeds."""
    rows = rows.copy()
    where = rows["metric"].eq(metric) & rows["method"].eq(method)
    where &= rows["dataset"].eq(dataset)
    rows.loc[where, "value"] += np.array(points)
    return rows


def kind(found, metric="metric 0", method="method b"):
    line = found[
        found["metric"].eq(metric)
        & found["method"].eq(method)
        & found["dataset"].eq("digits")
    ]
    return line["kind"].item()


def accuracy(rows, values):
    """The rows of the network itself, which has these accuracies."""
    facts = rows.iloc[:3].assign(
        track="target", method="network", paper="", metric="test_accuracy"
    )
    return facts.assign(dataset="digits", seed=range(3), value=values)


def test_worse_on_every_seed_of_the_same_network_is_a_regression(history):
    old = history.old()
    found = diff.compare(old, moved(old, [-0.02, -0.01, -0.003]))  # "metric 0": higher
    assert kind(found) == "regression"
    assert "every seed of the same network" in found["why"].iloc[0]
    assert found["kind"].value_counts().to_dict() == {"regression": 1, "unchanged": 95}
    better = diff.compare(old, moved(old, [0.02, 0.01, 0.003]))
    assert kind(better) == "improvement"


def test_worse_on_some_seeds_or_by_less_than_the_floor_is_not(history):
    old = history.old()
    assert kind(diff.compare(old, moved(old, [-0.02, -0.01, 0.003]))) == "unchanged"
    assert kind(diff.compare(old, moved(old, [-0.02, -0.01, 0.0]))) == "unchanged"
    assert kind(diff.compare(old, moved(old, [-1e-4, -1e-4, -1e-4]))) == "unchanged"


def test_a_metric_where_lower_is_better(history):
    old = history.old()
    found = diff.compare(old, moved(old, [0.04, 0.02, 0.006], metric="metric 1"))
    assert kind(found, "metric 1") == "regression"


def test_on_other_networks_noise_decides(history):
    old = history.old()
    other = history.new(0.0, redrawn=history.where(dataset="digits"))
    assert not networks.shown(
        diff.compare(old, other).assign(paper="baseline"), "method b", DIGITS
    )
    new = moved(old, [-0.02, -0.01, -0.003])
    new.loc[new["method"].ne("method b"), "method"] += " of today"  # nothing to compare
    assert kind(diff.compare(old, new)) == "unchanged"
    assert kind(diff.compare(old, new, same=[DIGITS])) == "regression"


def test_a_network_with_another_accuracy_is_another(history):
    old = history.old()
    new = moved(old, [-0.02, -0.01, -0.003])
    before = pd.concat([old, accuracy(old, [97.0, 98.0, 96.0])])
    for values, expected in (
        ([97.0, 98.0, 96.0], "regression"),
        ([97.0, 98.0, 96.5], "unchanged"),
    ):
        after = pd.concat([new, accuracy(old, values)])
        assert kind(diff.compare(before, after)) == expected


def test_controls_show_nothing_of_the_network(history):
    old = history.old()
    old.loc[old["method"].ne("method b"), "paper"] = "control"
    found = diff.compare(old, moved(old, [-0.02, -0.01, -0.003]))
    assert kind(found) == "unchanged"


def cells(equal, moved=0, own=1, method="b", paper="baseline", **facts):
    """Cells of one network: of method a, whose own all moved, and of another one."""
    n = own + equal + moved
    has_moved = [True] * own + [False] * equal + [True] * moved
    names = ["a"] * own + [method] * (equal + moved)
    columns = dict(zip(networks.NETWORK, DIGITS, strict=True))
    columns |= {"track": "heatmap", "method": names, "moved": has_moved}
    columns |= {"paper": paper, "old": 1.0, "new": 1.0, **facts}
    return pd.DataFrame(columns, index=range(n))


def shown(*parts):
    return networks.shown(pd.concat(parts, ignore_index=True), "a", DIGITS)


def test_eight_equal_cells_and_half_of_all_show_a_network_to_be_the_same():
    assert shown(cells(8)) and not shown(cells(7))
    assert shown(cells(8, 8)) and not shown(cells(8, 9))
    assert shown(cells(9, 9)) and shown(cells(9, 8))


@pytest.mark.parametrize(
    "other",
    [
        {"method": "a"},
        {"paper": "control"},
        {"track": "target"},
        {"track": "replication"},
        {"track": "replication", "paper": "control"},
        {"method": "a", "paper": "control"},
        {"old": np.nan},
        {"new": np.nan},
        {"dataset": "birds"},
        {"target": "mlp"},
        {"profile": "quick"},
    ],
)
def test_what_shows_nothing_of_the_network(other):
    """An eighth equal cell that is of the method itself, of a control, a fact, lost, or of another network."""
    assert not shown(cells(7), cells(1, own=0, **other))
    assert shown(cells(7), cells(1, own=0))


@pytest.mark.parametrize("other", [{"method": "A"}, {"paper": "xnn"}])
def test_any_other_method_shows_something_of_the_network(other):
    """Names that sort before the method's own, and after those of controls."""
    assert shown(cells(7), cells(1, own=0, **other))


def test_one_fact_of_the_network_that_moved_is_enough():
    fact = {"track": "target", "own": 0, "method": "network"}
    assert shown(cells(20), cells(3, **fact))
    assert not shown(cells(20), cells(2, 1, **fact))
    elsewhere = {"own": 0, "method": "network", "dataset": "birds", "track": "target"}
    assert shown(cells(20), cells(0, 1, **elsewhere))
    # a replication may train networks of its own
    assert shown(cells(20), cells(0, 1, track="replication", own=0))


def judged(gain, direction, *, kind="unchanged", why="", same=True, moved=1):
    """The first of ten cells of a metric with a usual spread of about 1, after ``networks.judge``."""
    n = 10
    columns = dict(zip(networks.NETWORK, DIGITS, strict=True))
    columns |= {"track": "heatmap", "metric": "m", "unit": "percent", "paper": ""}
    columns |= {"method": "a", "kind": "unchanged", "why": "", "gain": 0.0}
    columns |= {"direction": 0, "old": 1.0, "new": 1.0, "moved": False}
    columns |= {"variance": 1.0, "dof": 4}
    found = pd.DataFrame(columns, index=range(5, 5 + n))
    found.loc[5 : 4 + moved, "moved"] = True
    first = {"gain": gain, "direction": direction, "kind": kind, "why": why}
    found.loc[5, list(first)] = list(first.values())
    networks.judge(found, [DIGITS] if same else [])
    others = found.iloc[1:]
    assert (others["kind"] == "unchanged").all() and (others["why"] == "").all()
    return tuple(found.loc[5, ["kind", "why"]])


WHY = "on every seed of the same network"


def test_cells_of_the_same_network_by_hand():
    usual = np.sqrt(noise.fit(np.ones(10), np.full(10, 4)).s2)
    floor = noise.FLOOR * usual
    assert judged(-2 * floor, -1) == ("regression", f"worse {WHY}")
    assert judged(2 * floor, 1) == ("improvement", f"better {WHY}")
    assert judged(floor, 1)[0] == "improvement"  # the floor itself is enough
    assert judged(0.99 * floor, 1) == ("unchanged", "")
    assert judged(-0.99 * floor, -1) == ("unchanged", "")
    assert judged(2 * floor, 0) == ("unchanged", "")  # better on some seeds only
    assert judged(2 * floor, 1, same=False) == ("unchanged", "")
    why = f"setting k: 1 -> 2; worse {WHY}"
    assert judged(-3.0, -1, why="setting k: 1 -> 2") == ("regression", why)


@pytest.mark.parametrize("kind", ["unverified", "regression", "improvement"])
def test_what_noise_has_judged_is_judged_again(kind):
    assert judged(-3.0, -1, kind=kind)[0] == "regression"


@pytest.mark.parametrize("kind", ["re-baselined", "lost", "new"])
def test_what_is_not_compared_stays_what_it_is(kind):
    assert judged(-3.0, -1, kind=kind) == (kind, "")


def test_from_eight_moved_cells_on_noise_alone_decides():
    assert judged(-3.0, -1, moved=7)[0] == "regression"
    assert judged(-3.0, -1, moved=8) == ("unchanged", "")
    assert judged(-3.0, -1, moved=9) == ("unchanged", "")
    assert judged(-3.0, -1, moved=0) == ("unchanged", "")


def test_weights_of_provenance():
    base = {
        "weights": {"digits/cnn-0": "a", "digits/cnn-1": "b", "birds/vgg-11-0": "c"}
    }
    head = {"profile": "offline", "weights": {"digits/cnn-0": "a", "digits/cnn-1": "x"}}
    assert networks.by_weights(base, head) == set()
    head["weights"] |= {"digits/cnn-1": "b", "birds/vgg-11-0": "c", "new/cnn-0": "d"}
    assert networks.by_weights(base, head) == {
        DIGITS,
        ("offline", "birds", "vgg-11"),
    }
    assert networks.by_weights({}, head) == set()
    assert networks.by_weights(base, {}) == networks.by_weights({}, {}) == set()
    base = {"weights": {"digits/cnn-0": "a"}}
    assert networks.by_weights(base, base) == {("", "digits", "cnn")}
    for hash_ in ("A", "b"):  # sorts before, and after
        assert not networks.by_weights(base, {"weights": {"digits/cnn-0": hash_}})


def test_a_cell_on_another_network_does_not_hide_the_next():
    """Ten cells, of which the first two moved: one on a network that is not the same, one on one that is."""
    columns = {"track": "heatmap", "metric": "m", "unit": "percent", "paper": ""}
    columns |= {"method": "a", "kind": "unchanged", "why": "", "old": 1.0, "new": 1.0}
    columns |= {"variance": 1.0, "dof": 4}
    found = pd.DataFrame(columns, index=range(10))
    found[networks.NETWORK] = [("offline", "birds", "cnn"), *[DIGITS] * 9]
    found[["gain", "direction", "moved"]] = [(-3.0, -1, True)] * 2 + [
        (0.0, 0, False)
    ] * 8
    networks.judge(found, [DIGITS])
    assert list(found["kind"]) == ["unchanged", "regression", *["unchanged"] * 8]


def test_a_changed_setting_is_matched_if_asked_for(history):
    old = history.old().assign(setting="alpha=1;layer=conv2")
    new = moved(old, [0.0, 0.0, 0.0])
    mine = new["method"].eq("method b")
    new.loc[mine, "setting"] = "alpha=1;layer=conv3"
    found = diff.compare(old, new)
    assert found["kind"].value_counts()[["lost", "new"]].tolist() == [24, 24]
    matched = diff.compare(old, new, match="method")
    assert set(matched["kind"]) == {"unchanged"}
    lines = matched[matched["method"].eq("method b")]
    assert set(lines["why"]) == {"setting layer: conv2 -> conv3"}
    assert set(lines["setting"]) == {"alpha=1;layer=conv3"}


@pytest.mark.parametrize("setting", ["alpha=2;layer=conv3", "", "layer=conv2"])
def test_two_changed_settings_are_another_method(history, setting):
    old = history.old().assign(setting="alpha=1;layer=conv2")
    new = old.assign(setting=setting)
    kinds = set(diff.compare(old, new, match="method")["kind"])
    assert kinds == ({"unchanged"} if setting == "layer=conv2" else {"lost", "new"})


def test_of_several_candidates_none_is_matched(history):
    old = history.old().assign(setting="layer=conv2")
    new = pd.concat([old.assign(setting=f"layer={name}") for name in ("a", "b")])
    assert set(diff.compare(old, new, match="method")["kind"]) == {"lost", "new"}
