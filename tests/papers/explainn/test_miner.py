"""ExplaiNN's search: rule for rule the plain loop's, planted rules found, interruption and limits."""

# ruff: noqa: E741  l is the paper's letter

import numpy as np
import pytest

from benchmark.papers.explainn import kernel
from benchmark.papers.explainn.mdl import Encoding, Rule, description_length
from benchmark.papers.explainn.miner import fitted, mine, verify
from benchmark.papers.explainn.planted import overlap, planted, score
from tests.helpers.explainn_twin import Plain


def found(model):
    return sorted((r.X, tuple(model.tails(r)), r.l, r.k) for r in model.rules)


def noisy_layers(seed, n, groups=6, width=4):
    """Two layers driven by the same hidden causes, with shared and private items, and one all-zero tail."""
    rng = np.random.default_rng(seed)
    cause = rng.random((n, groups)) < 0.25
    heads = cause[:, rng.integers(0, groups, 9)] ^ (rng.random((n, 9)) < 0.06)
    tails = cause[:, rng.integers(0, groups, groups * width)] ^ (
        rng.random((n, groups * width)) < 0.1
    )
    tails[:, -1] = False
    return heads, tails


CASES = [
    ({}, {}),
    ({"mu": 4, "theta": 0.2}, {}),
    ({"disjunctive": True}, {}),
    ({}, {"robust": False}),
    ({"mu": 3}, {"drop": "holds"}),
]


@pytest.mark.parametrize("settings, encoding", CASES, ids=str)
@pytest.mark.parametrize("seed, n", [(0, 70), (1, 300), (2, 129)])
def test_the_plain_loop_finds_the_same_rules(settings, encoding, seed, n):
    heads, tails = noisy_layers(seed, n)
    settings = {"theta": 0.3, "mu": 2} | settings
    model = mine(
        heads, tails, encoding=Encoding(**encoding), allow=("constant",), **settings
    )
    assert found(model) == Plain(heads, tails, **settings, **encoding).mine()
    assert model.finished
    assert len(model.rules) >= 2
    assert verify(model, heads, tails, Encoding(**encoding)) == pytest.approx(
        model.bits, abs=1e-6
    )
    assert model.bits < model.baseline
    assert model.size == {
        "rules": len(model.rules),
        "literals": sum(r.literals for r in model.rules),
        "bits": model.bits,
    }


@pytest.mark.parametrize("encoding", [{}, {"drop": "holds"}, {"robust": False}])
def test_tails_larger_than_the_planes_are_counted_alike(encoding):
    rng = np.random.default_rng(4)
    cause = rng.random((400, 2)) < 0.3
    heads = cause[:, [0, 0, 1]] ^ (rng.random((400, 3)) < 0.05)
    tails = cause[:, np.arange(30) % 2] ^ (rng.random((400, 30)) < 0.15)
    model = mine(heads, tails, theta=0.3, mu=2, encoding=Encoding(**encoding))
    assert found(model) == Plain(heads, tails, 0.3, 2, **encoding).mine()
    longest = max(len(r.Y) for r in model.rules)
    assert (longest > kernel.PLANES) == encoding.get("robust", True)
    bits = verify(model, heads, tails, Encoding(**encoding))
    assert bits == pytest.approx(model.bits, abs=1e-6)


def test_packed_bits():
    table = np.random.default_rng(0).random((131, 7)) < 0.4
    packed = kernel.pack(table)
    assert packed.shape == (7, 3)
    np.testing.assert_array_equal(
        kernel.co_occurrence(packed, packed), table.T.astype(int) @ table
    )
    counts = np.zeros(131, np.uint16)
    kernel.tail_counts(_db(packed), np.array([1, 4, 6]), counts)
    np.testing.assert_array_equal(counts, table[:, [1, 4, 6]].sum(1))


def _db(packed):
    nothing = np.zeros(len(packed))
    return kernel.Packed(
        packed,
        packed,
        nothing.astype(int),
        nothing,
        nothing,
        nothing,
        nothing,
        nothing,
        131,
        False,
        True,
        False,
    )


def test_planes_are_thresholds():
    table = np.random.default_rng(1).random((200, 9)) < 0.3
    planes, packed, top = np.zeros((9, 4), np.uint64), kernel.pack(table), 0
    for t in range(9):
        top = kernel.add_item(planes, packed[t], top, 9)
        counts = table[:, : t + 1].sum(1)
        assert top == counts.max()
        for l in range(1, t + 2):
            np.testing.assert_array_equal(
                np.bitwise_count(planes[l - 1]).sum(), (counts >= l).sum()
            )


def test_threads_and_blocks_do_not_change_the_rules(monkeypatch):
    heads, tails = noisy_layers(3, 500)
    one = mine(heads, tails, theta=0.2, mu=3, allow=("constant",))
    monkeypatch.setattr("benchmark.papers.explainn.search._BLOCK", 7)
    two = mine(heads, tails, theta=0.2, mu=3, allow=("constant",), threads=2)
    assert one.rules == two.rules


def test_rules_do_not_cross_blocks():
    heads, tails = noisy_layers(3, 500)
    blocks = np.arange(tails.shape[1]) % 3
    model = mine(heads, tails, theta=0.2, mu=3, allow=("constant",), blocks=blocks)
    assert all(len(set(blocks[model.tails(r)])) == 1 for r in model.rules)
    apart = [
        mine(heads, tails[:, blocks == b], theta=0.2, mu=3, allow=("constant",))
        for b in range(3)
    ]
    assert sum(len(m.rules) for m in apart) == pytest.approx(
        len(model.rules), abs=2
    )  # the prefix code differs


def test_groups_are_the_only_heads():
    heads, tails = noisy_layers(5, 600)
    groups = [(0, 2), (1,), (3, 4, 5)]
    model = mine(heads, tails, theta=0.2, groups=groups, allow=("constant",))
    assert model.rules
    assert {r.X for r in model.rules} <= set(groups)
    plain = Plain(heads, tails, 0, 0)
    for y in range(tails.shape[1] - 1):  # each tail item alone: the best group
        alone = mine(heads, tails[:, [y]], groups=groups, theta=0.2)
        costs = [
            min(Plain(heads, tails[:, [y]], 0, 0).cost(list(g), [0])[0] for g in groups)
        ]
        gain = plain.single([y]) - min(costs)
        assert sum(alone.gains) == pytest.approx(max(gain, 0), abs=1e-6)


def test_exclusive_rules_are_recovered():
    data = planted(np.random.default_rng(1), m=30, n=4000)
    model = mine(data.heads, data.tails, theta=0.2, mu=4)
    result = score(model, data)
    assert result == {
        "precision": 1,
        "recall": 1,
        "soft_precision": 1,
        "soft_recall": 1,
        "n_found": 30,
        "noise_rules": 0,
    }
    assert data.length() == pytest.approx(model.bits, abs=1e-6)
    assert all(r.l == 1 for r in model.rules)


def test_conjunctive_rules_cost_more_bits_than_what_is_found():
    data = planted(np.random.default_rng(1), m=20, n=4000, heads="conjunctive")
    model = mine(data.heads, data.tails, theta=0.2, mu=4)
    assert score(model, data)["recall"] < 0.8
    assert model.bits < data.length() - 10
    alone = planted(
        np.random.default_rng(1),
        m=20,
        n=4000,
        heads="conjunctive",
        alone=True,
        noise=0.03,
    )
    assert (
        score(mine(alone.heads, alone.tails, theta=0.2, mu=4), alone)["recall"]
        > score(model, data)["recall"]
    )


@pytest.mark.parametrize("heads", ["exclusive", "conjunctive"])
def test_planted_data_is_as_described(heads):
    data = planted(np.random.default_rng(2), m=40, heads=heads, noise=0.0)
    p = data.heads.shape[1]
    assert len(data.rules) == 40
    assert p + data.tails.shape[1] == sum(r.literals for r in data.rules) + 5
    for rule in data.rules:
        active = data.heads[:, list(rule.X)].sum(1)
        tail = data.tails[:, [y - p for y in rule.Y]]
        assert set(np.unique(active)) == (
            {0, 1} if heads == "exclusive" else {0, len(rule.X)}
        )
        assert (tail.all(1) == tail.any(1)).all()
        assert not (tail.any(1) & (active == 0)).any()
        assert 0.015 < (active > 0).mean() < 0.09
        assert 0.4 < tail[active > 0].mean() <= 1


def test_planted_noise_turns_its_share_of_tails():
    noisy = planted(np.random.default_rng(2), m=40, noise=0.1)
    clean = planted(np.random.default_rng(2), m=40, noise=0.0)
    assert (noisy.tails ^ clean.tails).mean() == pytest.approx(0.1, abs=0.003)


def test_overlap_is_the_product_of_jaccards():
    a, b = [((0, 1), (5, 6)), ((2,), (7,))], [((0, 1), (5, 6)), ((1, 2), (7, 8))]
    np.testing.assert_allclose(overlap(a, b), [[1, 0], [0, 0.25]])
    assert score(mine(*_perfect()), planted(np.random.default_rng(0), m=1, n=50))[
        "precision"
    ] in (
        0.0,
        1.0,
    )


def _perfect():
    rng = np.random.default_rng(0)
    head = rng.random((300, 1)) < 0.3
    return head, np.concatenate(
        [head ^ (rng.random((300, 1)) < 0.01), rng.random((300, 1)) < 0.5], axis=1
    )


def test_an_interrupted_run_keeps_its_model():
    heads, tails = noisy_layers(3, 500)
    full = mine(heads, tails, theta=0.2, mu=3, allow=("constant",))
    steps = []

    def stop(what, done, of):
        steps.append(what)
        if (
            what.startswith("merges")
            and sum(s.startswith("merges") for s in steps) == 2
        ):
            raise KeyboardInterrupt

    part = mine(heads, tails, theta=0.2, mu=3, allow=("constant",), progress=stop)
    assert not part.finished
    assert full.finished
    assert full.bits < part.bits < part.baseline
    assert verify(part, heads, tails) == pytest.approx(part.bits, abs=1e-6)

    def at_once(what, done, of):
        raise KeyboardInterrupt

    none = mine(heads, tails, theta=0.2, allow=("constant",), progress=at_once)
    assert (none.rules, none.finished) == ((), False)
    assert none.bits == none.baseline


def test_nothing_to_find():
    rng = np.random.default_rng(0)
    model = mine(rng.random((200, 4)) < 0.5, rng.random((200, 5)) < 0.05, theta=0.4)
    assert model.rules == ()
    assert model.bits == model.baseline


H, T = noisy_layers(0, 60)
T = T[:, :-1]


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: mine(H[:0], T[:0]), r"heads has shape \(0, 9\)"),
        (lambda: mine(H, T[:50]), "heads have 60 rows, tails 50"),
        (lambda: mine(H, T * 3), "tails must be binary"),
        (lambda: mine(H & [False] + [True] * 8, T), "heads: columns 0 are constant"),
        (lambda: mine(H, T[:, [0, 1, 0]]), "tails: columns 2 repeat"),
        (lambda: mine(H, T, theta=1.0), "theta = 1.0 must lie"),
        (lambda: mine(H, T, mu=-1), "mu = -1"),
        (lambda: mine(H, T, memory=1e-6), "more than memory = 1e-06"),
        (lambda: mine(H, T, blocks=np.zeros(3)), "blocks has shape"),
        (lambda: mine(H, T, groups=[(0, 99)]), "group of heads"),
        (lambda: mine(H, T, groups=[()]), "group of heads"),
        (
            lambda: planted(np.random.default_rng(0), m=2, heads="either"),
            "exclusive or conjunctive",
        ),
        (lambda: planted(np.random.default_rng(0), m=0), "m = 0"),
    ],
)
def test_bad_input_is_one_clear_error(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_the_gains_of_merges_are_within_memory(monkeypatch):
    rng = np.random.default_rng(0)
    cause = rng.random((300, 1)) < 0.4
    heads, tails = (
        cause ^ (rng.random((300, 1)) < 0.02),
        cause ^ (rng.random((300, 40)) < 0.1),
    )
    monkeypatch.setattr("benchmark.papers.explainn.miner._memory", lambda *_: 0.0)
    with pytest.raises(ValueError, match="mine in blocks"):
        mine(heads, tails, memory=1e-5)
    assert len(mine(heads, tails, memory=1e-2).rules) == 1


def test_given_rules_get_the_l_and_k_that_cost_least():
    data = planted(
        np.random.default_rng(3), m=4, n=300, heads="conjunctive", noise=0.02
    )
    D = np.concatenate([data.heads, data.tails], axis=1)
    allow = ("constant", "duplicates")

    def length(rule):
        return description_length(D, [rule], allow=allow).total

    best = [
        min(
            (
                Rule(r.X, r.Y, l, k)
                for l in range(1, len(r.X) + 1)
                for k in range(len(r.Y), 0, -1)
            ),
            key=length,
        )
        for r in data.rules
    ]
    model = fitted(data.heads, data.tails, data.rules)
    assert set(model.rules) == set(best)
    assert (
        data.length()
        == model.bits
        == pytest.approx(description_length(D, best, allow=allow).total, abs=1e-6)
    )
