"""ExplaiNN's code lengths: App. A.1 number by number, exact integers, and every bad table."""

import math

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmark.papers.explainn import mdl
from benchmark.papers.explainn.compiled import compiled
from benchmark.papers.explainn.mdl import (
    Encoding,
    Length,
    Rule,
    description_length,
    lpc,
    universal,
)
from tests.helpers.explainn_twin import (
    literal_length,
    literal_lpc,
    literal_universal,
    log2_comb,
)


def toy():
    """App. A.1, Fig. 6: n = 100, A 40, B 35, C 33, D 35 rows; B and C hold in 30 of A's rows."""
    D = np.zeros((100, 4), bool)
    D[:40, 0] = D[:30, 1] = D[:30, 2] = D[40:45, 1] = D[40:43, 2] = D[50:85, 3] = True
    return D


@pytest.mark.parametrize(
    "got, exact, printed",
    [
        (lpc(100), 3.7235542618, 14.88 / 4),
        (lpc(40), 3.1058646117, 3.11),
        (mdl.log2_binomial(100, 40), 93.4730230956, 93.47),
        (mdl.log2_binomial(100, 35), 89.8230779054, 89.82),
        (mdl.log2_binomial(100, 33), 87.9293404538, 87.93),
        (mdl.log2_binomial(40, 30), 29.6589113675, 29.66),
        (mdl.log2_binomial(100, 5), 26.1659074013, 26.17),
        (mdl.log2_binomial(100, 3), 17.3029601532, 17.30),
        (universal(1), 1.5185673664, 1.52),
        (universal(2), 2.5185673664, 2.52),
    ],
)
def test_terms_of_the_worked_example(got, exact, printed):
    assert got == pytest.approx(exact, abs=1e-10)
    assert got == pytest.approx(printed, abs=0.0051)


def test_the_worked_example():
    D, simple = toy(), Encoding(robust=False)
    assert D.sum(0).tolist() == [40, 35, 33, 35]
    assert description_length(D, (), simple).total == pytest.approx(
        375.9427364074, abs=1e-9
    )
    L = description_length(D, [Rule((0,), (1, 2))], simple)
    assert (L.data, L.model, L.total) == pytest.approx(
        (256.4238799230, 28.0212251708, 284.4451050938), abs=1e-9
    )
    counted = description_length(
        D, [Rule((0,), (1, 2))], Encoding(robust=False, count_rules=True)
    )
    assert counted.total == pytest.approx(285.9636724602, abs=1e-9)


def test_factorials_and_complexity_are_exact():
    for n in [*range(40), 999, 1000, 12345]:
        exact = math.factorial(n)
        bits = (
            math.log2(exact >> (exact.bit_length() - 60)) + exact.bit_length() - 60
            if n > 20
            else math.log2(exact)
        )
        assert mdl.log2_factorial(n) == pytest.approx(bits, rel=1e-13, abs=1e-11)
    for n in [1, 2, 3, 10, 57, 300, 500]:
        assert lpc(n) == pytest.approx(literal_lpc(n), abs=1e-11)
    for n in [999, 1000, 1001, 4096, 10**6]:  # the series takes over at 1000
        assert lpc(n) == pytest.approx(
            math.log2(mdl.parametric_complexity(n)), abs=1e-12
        )
    assert lpc(0) == 0
    assert lpc(1) == 1
    for z in [1, 2, 3, 4, 5, 17, 1000, 10**6]:
        assert universal(z) == pytest.approx(literal_universal(z), abs=1e-12)


def test_a_million_rows_do_not_overflow():
    assert mdl.log2_binomial(10**6, 1000) == pytest.approx(
        log2_comb(10**6, 1000), rel=1e-11
    )
    assert mdl.log2_binomial(10**5, 50_000) == pytest.approx(
        log2_comb(10**5, 50_000), rel=1e-12
    )
    assert mdl.log2_binomial(10**12, 5 * 10**11) == pytest.approx(
        1e12 - 0.5 * math.log2(math.pi * 5e11), rel=1e-12
    )


@st.composite
def tables(draw):
    n, p, q = draw(st.integers(3, 30)), draw(st.integers(1, 3)), draw(st.integers(1, 4))
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    D = rng.random((n, p + q)) < draw(st.floats(0.2, 0.8))
    D[0], D[1] = True, False  # every item is active somewhere, none everywhere
    rules = []
    for _ in range(draw(st.integers(0, 3))):
        X = rng.permutation(p)[: rng.integers(1, p + 1)]
        Y = p + rng.permutation(q)[: rng.integers(1, q + 1)]
        rules.append(
            Rule(X, Y, rng.integers(1, len(X) + 1), rng.integers(1, len(Y) + 1))
        )
    return D, rules


@settings(max_examples=60, deadline=None)
@given(
    tables(),
    st.sampled_from([(True, "applies"), (True, "holds"), (False, "applies")]),
    st.booleans(),
)
def test_length_against_sets_of_rows(case, encoding, count_rules):
    (D, rules), (robust, drop) = case, encoding
    rules = [r if robust else Rule(r.X, r.Y, r.l) for r in rules]
    got = description_length(
        D, rules, Encoding(robust, drop, count_rules), allow=("duplicates",)
    )
    assert (got.data, got.model) == pytest.approx(
        literal_length(D, rules, robust, drop, count_rules), abs=1e-8
    )


def test_robust_encoding_pays_for_its_exceptions_only():
    D = np.zeros((200, 4), bool)
    D[:60, 0] = D[:50, 1:] = True
    D[100:110, 1] = D[100:112, 2] = D[100:114, 3] = True
    clean = Rule((0,), (1, 2, 3))
    noisy = D.copy()
    noisy[np.arange(0, 20), 1 + np.arange(20) % 3] = (
        False  # one of three is missing in 20 rows
    )
    loose = Rule((0,), (1, 2, 3), k=2)
    robust = lambda table, rule: (
        description_length(table, [rule], allow=("duplicates",)).total
    )
    assert robust(noisy, loose) < robust(noisy, clean)
    assert (
        robust(noisy, loose)
        < description_length(noisy, [clean], Encoding(robust=False)).total
    )
    assert robust(D, clean) < robust(D, Rule((0,), (1, 2, 3), k=1)) + 1e-9


def test_items_lose_their_order_and_length_adds_up():
    assert Rule((3, 1, 3), [5, 4]) == Rule((1, 3), (4, 5), 1, 2)
    assert Rule((1, 3), (4, 5)).literals == 4
    assert Length(1.5, 2.0).total == 3.5


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: description_length(np.zeros((0, 3), bool)), r"shape \(0, 3\)"),
        (lambda: description_length(np.zeros((3, 0), bool)), r"shape \(3, 0\)"),
        (lambda: description_length(np.zeros(3, bool)), r"shape \(3,\)"),
        (lambda: description_length(toy() * 2), "must be binary: it holds"),
        (lambda: description_length(toy() + 0.5), "must be binary"),
        (lambda: description_length(np.where(toy(), np.nan, 0)), "must be binary"),
        (
            lambda: description_length(toy() & [True, False, True, True]),
            "columns 1 are constant",
        ),
        (
            lambda: description_length(toy() | [True, False, False, True]),
            "columns 0, 3 are constant",
        ),
        (
            lambda: description_length(toy()[:, [0, 1, 0, 2, 1]]),
            "columns 2, 4 repeat earlier ones",
        ),
        (
            lambda: description_length(
                toy(), [Rule((0,), (1,)), Rule((1,), (2,)), Rule((2,), (0,))]
            ),
            "cyclic: item 0",
        ),
        (
            lambda: description_length(toy(), [Rule((0,), (4,))]),
            "not a column of the data or is never active",
        ),
        (
            lambda: description_length(
                toy(), [Rule((0,), (1, 2), k=1)], Encoding(robust=False)
            ),
            "needs the robust",
        ),
        (lambda: Rule((0,), (0, 1)), r"items \[0\] are in head and tail"),
        (lambda: Rule((), (0,)), "needs a head and a tail"),
        (lambda: Rule((0,), (1,), l=2), "l = 2 of 1 head items"),
        (lambda: Rule((0,), (1,), k=2), "k = 2 of 1 tail items"),
        (lambda: Encoding(drop="all"), "'applies' or 'holds'"),
    ],
)
def test_bad_input_is_one_clear_error(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_allowed_columns_pass():
    D = np.concatenate([toy(), toy()[:, :1], np.zeros((100, 1), bool)], axis=1)
    L = description_length(
        D,
        [Rule((0,), (1, 2))],
        Encoding(robust=False),
        allow=("constant", "duplicates"),
    )
    assert L.data == pytest.approx(256.4238799230 + 93.4730230956, abs=1e-8)


def test_long_chains_of_rules_are_no_cycle():
    mdl.check_acyclic([Rule((i,), (i + 1,)) for i in range(5000)])
    mdl.check_acyclic([Rule((0,), (1, 2)), Rule((1,), (3,)), Rule((2,), (3,))])
    with pytest.raises(ValueError, match="cyclic"):
        mdl.check_acyclic([Rule((i,), ((i + 1) % 5000,)) for i in range(5000)])


def test_code_that_cannot_be_kept_is_compiled_all_the_same():
    """numba finds no place for a function without a file, as for one whose folder nobody may write to."""
    place = {}
    exec("def twice(x):\n    return 2 * x", place)
    with pytest.raises(RuntimeError, match="no locator"):
        numba.njit(cache=True)(place["twice"])
    assert compiled(place["twice"])(21) == 42
