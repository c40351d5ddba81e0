"""Published beside measured: the committed files, the join by names, the verdicts."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmark import store
from benchmark.leaderboard import joining, judging, reproduction
from benchmark.leaderboard.render import reproduction_markdown

REPORTED = store.ROOT / "results" / "reported"
FIRST = {"LT": 13, "EX": 6, "CD": 8, "XN": 6, "RI": 5}  # claims that were listed first
CLAIMS = len(pd.read_csv(REPORTED / "claims.csv"))


def measured(*lines: tuple) -> pd.DataFrame:
    """Rows of (track, paper, dataset, target, method, setting, metric, values by seed or a reason), and the
    metric's setting if it has one."""
    rows = []
    for line in lines:
        track, paper, dataset, target, method, setting, metric, values, *rest = line
        (metric_setting,) = rest or [""]
        failed = isinstance(values, str)
        for seed, value in enumerate([float("nan")] if failed else values):
            rows.append(
                (
                    "quick",
                    track,
                    paper,
                    dataset,
                    target,
                    method,
                    setting,
                    metric,
                    metric_setting,
                    seed,
                    value,
                    10_000,
                    "higher",
                    "x",
                    1,
                    "failed" if failed else "ok",
                    values if failed else "",
                )
            )
    return pd.DataFrame(rows, columns=list(store.ROW_COLUMNS))


def network(dataset: str, target: str, *accuracy: float) -> tuple:
    return ("target", "", dataset, target, "network", "", "test_accuracy", accuracy)


def table(*lines: tuple, **cards) -> pd.DataFrame:
    return reproduction.table(measured(*lines), REPORTED, **cards).set_index("id")


def find(frame: pd.DataFrame, *words: str) -> pd.Series:
    hits = frame[[all(w in f" {line}" for w in words) for line in frame["claim"]]]
    assert len(hits) == 1, list(hits["claim"])
    return hits.iloc[0]


# --------------------------------------------------------------------------------------------- the files


COLUMNS = [
    "paper",
    "table",
    "dataset",
    "target",
    "method",
    "setting",
    "metric",
    "value",
    "std",
]
PAPERS = ["cladec", "explainn", "layer_trees", "representative", "xnn"]


def published(name: str) -> pd.DataFrame:
    return pd.read_csv(REPORTED / f"{name}.csv", dtype=str, keep_default_na=False)


def test_every_published_number_is_there():
    assert {p.stem for p in REPORTED.glob("*.csv")} == {*PAPERS, "claims"}
    assert sum(len(published(paper)) for paper in PAPERS) == 782


@pytest.mark.parametrize("paper", PAPERS)
def test_published_numbers_are_named_once(paper):
    frame = published(paper)
    assert list(frame.columns) == COLUMNS and set(frame["paper"]) == {paper}
    assert not frame.duplicated(COLUMNS[:-2]).any()


def test_every_claim_is_there():
    frame = published("claims")
    assert list(frame.columns) == ["id", "paper", "source", "claim", "check"]
    first = {f"{name}{k}" for name, n in FIRST.items() for k in range(1, n + 1)}
    assert len(first) == 38 and first <= set(frame["id"])
    assert frame["id"].is_unique and set(frame["paper"]) == set(PAPERS)


def test_every_number_has_a_rule_or_a_reason():
    """The mappings name only what is published, and no pattern is idle."""
    assert judging.TOLERANCES and joining.PICK and joining.NEVER
    frame = pd.concat([published(paper) for paper in PAPERS])
    names = store.read_json(REPORTED / "names.json")
    for translated in (names["targets"], names["stand-ins"]):
        assert set(translated) <= set(frame["target"])
    assert set(names["datasets"]) <= set(frame["dataset"])
    assert set(joining.MEASURED) <= set(
        zip(frame["method"], frame["metric"], strict=True)
    )
    for pattern in judging.TOLERANCES:
        assert frame["metric"].str.fullmatch(pattern).any(), pattern
    for words in joining.PICK:
        assert frame["setting"].str.contains(words, regex=False).any(), words
    frame["what"] = frame["metric"] + " " + frame["setting"]
    for column, pattern, _ in joining.NEVER:
        assert frame[column].str.fullmatch(pattern).any(), pattern


def test_the_tolerances_are_these():
    amounts = [(rule, amount) for _, rule, amount in judging.TOLERANCES.values()]
    assert amounts == [
        ("absolute", 0.03),
        ("absolute", 0.0051),
        ("absolute", 1.5),
        ("absolute", 0.015),
        ("factor", 2.0),
        ("factor", 1.5),
        ("rank", 0.0),
    ]


def test_without_measurements_nothing_holds():
    out = table()
    assert (
        len(out) == 782 + CLAIMS
        and set(out["verdict"]) == {"not run"}
        and out["why"].str.len().min() > 5
    )
    food = find(out, "FOOD · VGG-19 · RI · mAD_pct")
    assert food["why"] == "its data set is not in this profile"
    assert out.index.is_unique


# --------------------------------------------------------------------------------------------- joining


def test_accuracies_join_across_names_and_units():
    out = table(
        network("mnist", "explainn_cnn", 97.82, 97.78),
        network("fashion_mnist", "vgg11", 90.0),
        network("cifar100", "resnet10", 50.0),
        network("mnist", "xnn_cnn", 96.0),
    )
    line = find(out, "CNN 20-40 conv")
    assert (line["published"], line["measured"], line["n_seeds"], line["verdict"]) == (
        "99",
        "97.8",
        2,
        "holds",
    )
    fashion = find(out, "FashionMNIST · VGG-11 and ResNet-10 · classifier")
    assert (fashion["published"], fashion["measured"], fashion["verdict"]) == (
        ">0.92",
        "0.9",
        "does not hold",
    )
    assert (
        find(out, "CIFAR-100 · VGG-11 and ResNet-10 · classifier")["verdict"] == "holds"
    )  # above its bound
    assert find(out, "MNIST · 2-layer CNN · network")["verdict"] == "does not hold"
    assert (out["verdict"] != "not run").sum() == 4


def test_a_range_over_depths_is_held_against_the_depths_measured():
    out = table(
        *(
            network("mnist", f"mlp-100x{d}", a)
            for d, a in ((1, 97.0), (5, 99.0), (10, 98.0))
        ),
        network("mnist", "mlp-20x5", 1.0),
    )
    low = find(
        out, " MNIST · MLP depth 1-10 width 100 · network · test_accuracy_pct · min"
    )
    assert (low["measured"], low["verdict"]) == (
        "97",
        "holds",
    ) and "picked from mlp-100x1, mlp-100x10, mlp-100x5" in low["scale"]
    assert (
        find(
            out, " MNIST · MLP depth 1-10 width 100 · network · test_accuracy_pct · max"
        )["measured"]
        == "99"
    )


def replicated(
    value: float, setting: str = "layer=1;threshold=0", paper: str = "layer_trees"
) -> tuple:
    return (
        "replication",
        paper,
        "mnist",
        "mlp-100x10",
        "layer tree",
        setting,
        "n_split_nodes",
        [value],
    )


@pytest.mark.parametrize(
    ("value", "verdict"),
    [
        (4682, "holds"),
        (9363, "holds"),
        (9365, "does not hold"),
        (2340, "does not hold"),
    ],
)
def test_counts_hold_within_a_factor_two(value, verdict):
    line = find(table(replicated(value)), "n_split_nodes", "layer=1;threshold=0;")
    assert (
        line["published"] == "4682"
        and line["verdict"] == verdict
        and line["why"] == "within a factor 2"
    )


def test_replication_rows_join_by_paper_and_setting():
    frame = table(replicated(4682.0, "layer=1;threshold=0;width=100"))
    assert (frame["measured"] != "").sum() == 1
    assert (table(replicated(4682.0, "layer=1"))["measured"] == "").all()
    for paper in ("cladec", "xnn"):
        assert (table(replicated(4682.0, paper=paper))["measured"] == "").all()
    bits = table(
        (
            "replication",
            "cladec",
            "fashion_mnist",
            "vgg11",
            "ClaDec",
            "alpha=1",
            "rec_loss",
            [300.0],
        )
    )
    assert (
        find(bits, "alpha=1.0", "rec_loss", "VGG-11")["verdict"] == "holds"
    )  # alpha=1 is alpha=1.0


def test_a_number_that_failed_was_not_measured():
    key = (
        "replication",
        "layer_trees",
        "mnist",
        "mlp-100x10",
        "layer tree",
        "layer=1;threshold=0",
        "n_split_nodes",
        "time",
    )
    line = find(table(key), "n_split_nodes", "layer=1;threshold=0;")
    assert (line["measured"], line["n_seeds"], line["verdict"]) == ("", 0, "not run")


def rank_verdicts(**values: float) -> dict[str, dict]:
    """{method: its line of the table} of drops that are compared by their ranks."""
    names = {"ri": "RI", "grad_cam": "Grad-CAM", "score_cam": "Score-CAM"}
    where = ("replication", "representative", "asirra", "vgg19")
    lines = [
        (*where, names[m], "|Q|=50", "mAD_pct", [value]) for m, value in values.items()
    ]
    found = table(*lines)
    return {
        m: find(found, f"ASIRRA · VGG-19 · {names[m]} · mAD_pct · unseen")
        for m in values
    }


def test_one_method_alone_has_no_rank():
    alone = rank_verdicts(ri=9.0)["ri"]
    assert (alone["verdict"], alone["measured"]) == ("undecided", "9")
    assert alone["why"] == "too few methods to rank"


@pytest.mark.parametrize(
    ("ri", "verdicts"),
    [
        (9.0, {"ri": "holds", "grad_cam": "holds", "score_cam": "holds"}),
        (
            11.0,
            {"ri": "does not hold", "grad_cam": "does not hold", "score_cam": "holds"},
        ),
    ],
)
def test_ranks_are_compared_as_ranks(ri, verdicts):
    found = rank_verdicts(ri=ri, grad_cam=10.0, score_cam=30.0)
    assert {m: line["verdict"] for m, line in found.items()} == verdicts


@pytest.mark.parametrize("column", ["table", "dataset", "target", "setting", "metric"])
def test_ranks_are_among_the_lines_of_one_column(column):
    """Of two methods the first is better in both; what another table, data set, network, setting or
    metric says is no rival."""
    key = dict.fromkeys(("table", "dataset", "target", "setting"), "m")
    key |= {"metric": "mAD_pct", "method": "RI", "std": ""}
    other = [
        key | {column: name, "value": value}
        for name, value in (("mAI_pct", "0"), ("z", "0.5"), ("z", "9"))
    ]
    published = [key | {"value": "1"}, key | {"value": "2"}, *other]
    joined = [measured_line(mean) for mean in (5.0, 6.0, 5.5, 7.0, 0.1)]
    rank = lambda joined, i: judging._rank(published, joined, i, "")[0]
    assert [rank(joined, i) for i in (0, 1)] == ["holds", "holds"]
    assert rank(joined, 2) == "undecided"  # alone in its column
    assert rank([joined[0], None, *joined[2:]], 0) == "undecided"


def measured_line(mean: float, half: float = float("nan")) -> dict:
    return {"mean": mean, "low": mean - half, "high": mean + half}


def test_ranks_are_undecided_where_intervals_overlap():
    key = dict.fromkeys(("table", "dataset", "target", "setting"), "m")
    key |= {"metric": "mAD_pct", "method": "RI", "std": ""}
    published = [key | {"value": value} for value in ("1", "2", "3")]
    joined = [measured_line(5, 1), measured_line(6.5, 1), measured_line(9, 1)]
    found = [judging._rank(published, joined, i, "")[0] for i in range(3)]
    assert found == ["undecided", "undecided", "holds"]
    joined[0] = measured_line(20, 1)  # surely the last
    assert judging._rank(published, joined, 0, "")[0] == "does not hold"


def pair(published: str, mean: float, half: float, error: float = 0.0) -> judging.Pair:
    bound = published.rstrip("-.0123456789")
    value = float(published.removeprefix(bound))
    return judging.Pair(value, bound, error, mean, mean - half, mean + half)


NAN = float("nan")


@pytest.mark.parametrize(
    ("published", "measured", "rule", "amount", "held"),
    [
        ("0.5", 0.514, "absolute", 0.015, True),
        ("0.5", 0.516, "absolute", 0.015, False),
        (">0.92", 0.99, "absolute", 0.015, True),
        (">0.92", 0.906, "absolute", 0.015, True),
        (">0.92", 0.9, "absolute", 0.015, False),
        ("<3", 1.0, "factor", 1.5, True),
        ("2", 3.0, "factor", 1.5, True),
        ("2", 3.1, "factor", 1.5, False),
        ("2", 1.3, "factor", 1.5, False),
        ("-0.05", 0.05, "factor", 1.5, False),
        ("0", 0.0, "factor", 1.5, True),
        ("0.5", 0.515, "absolute", 0.015, True),
        ("0.5", 0.485, "absolute", 0.015, True),
        ("4", 2.0, "factor", 2.0, True),
        ("4", 8.0, "factor", 2.0, True),
        ("4", 3.0, "factor", 2.0, True),
        ("-4", -3.0, "factor", 2.0, True),
        ("-4", -9.0, "factor", 2.0, False),
        ("0", 0.5, "factor", 1.5, False),
        ("2", 0.0, "factor", 1.5, False),
        (">=3", 9.0, "factor", 1.5, True),
        ("<=3", 9.0, "factor", 1.5, False),
    ],
)
def test_verdict_of_a_number_without_an_interval(
    published, measured, rule, amount, held
):
    verdict, _ = judging._within(pair(published, measured, NAN), "", rule, amount)
    assert verdict == ("holds" if held else "does not hold")


@pytest.mark.parametrize(
    ("published", "mean", "half", "error", "verdict"),
    [
        ("0.9", 0.905, 0.005, 0.0, "holds"),  # all of it within 0.015
        ("0.9", 0.905, 0.02, 0.0, "undecided"),
        ("0.9", 0.95, 0.02, 0.0, "does not hold"),  # none of it
        ("0.9", 0.93, 0.02, 0.06, "holds"),  # within two published deviations
        ("0.9", 0.93, 0.02, 0.01, "undecided"),
        (">0.9", 0.88, 0.02, 0.0, "undecided"),
        (">0.9", 0.98, 0.02, 0.0, "holds"),
        ("<0.9", 0.98, 0.02, 0.0, "does not hold"),
    ],
)
def test_the_measured_interval_decides_three_ways(
    published, mean, half, error, verdict
):
    one = pair(published, mean, half, error)
    assert judging._within(one, "w", "absolute", 0.015)[0] == verdict


@pytest.mark.parametrize(
    ("published", "mean", "half", "error", "verdict", "why"),
    [
        ("0.003", -0.012, 0.005, 0.002, "does not hold", "the other sign"),
        ("0.003", 0.001, 0.005, 0.002, "undecided", "the interval includes 0"),
        ("0.003", 0.006, 0.005, 0.002, "holds", "same sign"),
        ("0.003", 0.013, 0.005, 0.002, "does not hold", "same sign, but 0.01 apart"),
        ("-0.05", -0.06, 0.02, 0.0, "holds", "same sign"),
        ("0.001", -0.001, 0.004, 0.002, "holds", "the paper finds no sign"),
        ("0.001", 0.013, 0.004, 0.002, "does not hold", "the paper finds no sign"),
        ("0.0", 0.001, 0.02, 0.0, "undecided", "the measured error is 0.02"),
        ("0.001", -0.003, NAN, 0.0, "undecided", "error is not known"),
        ("0", 0.0, NAN, 0.0, "holds", "both are 0"),
    ],
)  # fmt: skip
def test_a_small_number_is_asked_for_its_sign(
    published, mean, half, error, verdict, why
):
    found, words = judging.by_sign(pair(published, mean, half, error), 0.015)
    assert found == verdict and why in words


def clade(method: str, metric: str, *values: float) -> tuple:
    """Rows of ClaDec's Table 2, layer -5 on MNIST."""
    return (
        *("replication", "cladec", "mnist", "vgg11", method, "layer=-5", metric),
        values,
    )


def test_a_difference_of_accuracies_is_judged_by_the_errors_of_its_parts():
    """Published +0.001, from 0.995 +- 0.0003 and 0.994 +- 0.0004."""
    line = lambda *lines: find(
        table(*lines), " MNIST · VGG-11 · ClaDec-RefAE · delta_acc · layer=-5"
    )
    delta = clade("ClaDec-RefAE", "delta_acc", -0.003)
    assert line(delta)["verdict"] == "undecided"  # one seed
    opposite = clade("ClaDec-RefAE", "delta_acc", -0.003, -0.003, -0.0031)
    assert line(opposite)["verdict"] == "does not hold"
    # accuracies of 0.9 on 10,000 images: 0.006 each, 0.008 together
    parts = clade("ClaDec", "acc_eval", 0.9), clade("RefAE", "acc_eval", 0.9)
    found = line(delta, *parts)
    assert found["verdict"] == "holds"
    assert found["why"] == "the paper finds no sign, 0.004 apart; the errors are 0.0084"


# --------------------------------------------------------------------------------------------- claims


def claim(
    identity: str, values: list[float] | str, paper: str = "layer_trees"
) -> tuple:
    return (
        "replication",
        paper,
        "mnist",
        "mlp-100x10",
        "layer tree",
        "",
        identity,
        values,
    )


def test_claims_are_judged_by_their_share():
    out = table(
        claim("LT1", [1.0, 1.0]),
        claim("LT2", [0.0]),
        claim("LT3", [1.0, 0.5]),
        claim("LT4", "time limit"),
        claim("EX1", [1.0]),
    )
    assert list(out.loc[["LT1", "LT2", "LT3", "LT4", "EX1"], "verdict"]) == [
        "holds",
        "does not hold",
        "mixed",
        "not run",
        "not run",
    ]
    assert (
        out.loc["LT3", "why"] == "75%"
        and out.loc["LT4", "why"] == "failed: time limit"
        and out.loc["LT1", "n_seeds"] == 2
    )
    assert (
        "u(1)/n >= 0.97" in out.loc["LT1", "claim"]
        and "mnist/mlp-100x10, 2 seeds" in out.loc["LT1", "scale"]
    )


def open_claim(identity: str, held: list[float], undecided: list[float]) -> tuple:
    """A claim some of whose checks are undecided."""
    rows = [claim(identity, held), claim(identity, undecided)]
    return rows[0], (*rows[1], "undecided")


@pytest.mark.parametrize(
    ("held", "undecided", "verdict"),
    [
        ([0.0], [1.0], "undecided"),
        ([0.75, 1.0], [0.25, 0.0], "undecided"),  # none fails
        ([0.5], [0.25], "mixed"),
        ([0.0], [0.25], "does not hold"),
        ([1.0], [0.0], "holds"),
    ],
)
def test_a_claim_that_no_check_denies_is_undecided_while_one_is(
    held, undecided, verdict
):
    line = table(*open_claim("LT1", held, undecided)).loc["LT1"]
    assert (line["verdict"], line["n_seeds"]) == (verdict, len(held))
    share = sum(undecided) / len(undecided)
    assert (f"{share:.0%} undecided" in line["measured"]) == (share > 0)
    assert line["why"] == ("50%" if verdict == "mixed" else "")


def test_extensions_are_shown_and_not_judged():
    own, theirs = claim("LT8", [1.0]), (*claim("LT8", [0.0, 0.5]), "extension")
    assert table(own, theirs).loc["LT8", "verdict"] == "holds"
    alone = table(theirs, evidence={"LT8": "Extensions: digits"}).loc["LT8"]
    assert (alone["verdict"], alone["why"]) == ("not run", reproduction.ONLY_EXTENSIONS)
    assert alone["measured"] == "25% of the checks on extensions: Extensions: digits"


def test_a_claim_is_its_own_papers_and_of_the_track_of_replications():
    elsewhere = [(track, *claim("LT1", [0.0])[1:]) for track in ("heatmap", "target")]
    out = table(
        claim("EX1", [1.0], "explainn"),
        *(claim("EX1", [0.0], paper) for paper in ("cladec", "xnn")),
        *elsewhere,
    )
    assert (
        out.loc["EX1", "measured"] == "100% of its checks"
        and out.loc["LT1", "verdict"] == "not run"
    )


def test_a_claim_on_two_networks_is_their_mean():
    deep = (
        *claim("LT1", [])[:3],
        "mlp-100x5",
        *claim("LT1", [])[4:-1],
        [0.0, 0.5, 0.25],
    )
    line = table(claim("LT1", [1.0, 0.75]), deep).loc["LT1"]
    assert (line["measured"], line["verdict"], line["n_seeds"], line["interval"]) == (
        "56% of its checks",
        "mixed",
        2,
        "",
    )
    assert line["scale"] == "mnist/mlp-100x10, 2 seeds | mnist/mlp-100x5, 3 seeds"


def test_the_scale_is_named():
    cards = {
        "data_cards": {"mnist": {"counts": {"train": 60000}}},
        "target_cards": {("mnist", "explainn_cnn", 0): {"epochs": 3}},
    }
    scale = find(
        table(network("mnist", "explainn_cnn", 98.0), **cards), "CNN 20-40 conv"
    )["scale"]
    assert (
        scale
        == "published: 12 epochs AdaDelta, batch 128 | here: mnist/explainn_cnn, 1 seed, 60,000 train images, 3 epochs"
    )
    card = {"epochs": 3, "options": {"width": 0.5}, "images": {"train": 5000}}
    cards["target_cards"] = {("mnist", "explainn_cnn", 0): card}
    scale = find(
        table(network("mnist", "explainn_cnn", 98.0), **cards), "CNN 20-40 conv"
    )["scale"]
    assert scale.endswith(
        "here: mnist/explainn_cnn, 1 seed, width 0.5, 5,000 train images, 3 epochs"
    )


# --------------------------------------------------------------------------------------------- files


def test_markdown_and_counts():
    frame = reproduction.table(
        measured(network("mnist", "explainn_cnn", 98.0), claim("LT1", [1.0])), REPORTED
    )
    text = reproduction_markdown.render(frame, "quick")
    assert (
        f"## Claims: 1 hold, 0 mixed, 0 do not hold, 0 undecided, {CLAIMS - 1} not run"
        in text
    )
    assert (
        "## Numbers: 1 hold, 0 mixed, 0 do not hold, 0 undecided, 781 not run" in text
    )
    assert "| LT1 | layer_trees |" in text and "explainn-023" in text
    assert sum(reproduction.not_run(frame)["count"]) == 781
    assert len(reproduction.csv_text(frame).splitlines()) == 783 + CLAIMS
    assert reproduction.csv_text(frame).startswith(
        ",".join(reproduction.COLUMNS) + "\n"
    )
    assert list(frame.index) == list(range(len(frame)))


def test_cards_go_by_name():
    with pytest.raises(TypeError, match="positional"):
        reproduction.table(measured(), REPORTED, {})


def test_missing_files_are_named(tmp_path: Path):
    with pytest.raises(
        store.StoreError, match="claims.csv is missing; restore it from git"
    ):
        reproduction.table(measured(), tmp_path)


def test_missing_names_are_named(tmp_path: Path):
    shutil.copy(REPORTED / "claims.csv", tmp_path)
    with pytest.raises(
        store.StoreError, match="names.json is missing; restore it from git"
    ):
        reproduction.table(measured(), tmp_path)


def test_a_verdict_shows_its_evidence():
    frame = table(
        (
            "replication",
            "layer_trees",
            "mnist",
            "mlp-100x10",
            "",
            "",
            "LT1",
            [1.0, 0.0],
        ),
        evidence={"LT1": "u(1)/n = 0.99"},
    )
    assert (
        frame.loc["LT1", "measured"] == "50% of its checks: u(1)/n = 0.99"
        and frame.loc["LT1", "verdict"] == "mixed"
    )


def test_a_papers_own_experiment_comes_before_a_fact_of_the_network():
    own = (
        "replication",
        "cladec",
        "fashion_mnist",
        "vgg11",
        "classifier",
        "classifier epochs=1",
        "accuracy",
        [0.5],
    )
    line = find(
        table(own, network("fashion_mnist", "vgg11", 90.0)),
        "VGG-11 · classifier · accuracy",
        "epochs=1;",
    )
    assert line["measured"] == "0.5" and line["verdict"] == "holds"


# --------------------------------------------------------------------------------------------- joining, by hand


def test_intervals_are_students_over_seeds_or_those_of_an_accuracy():
    low, high = joining.interval(np.array([1.0, 2.0, 6.0]), 10, "O1", "")
    half = 4.302652729749462 * np.sqrt(7) / np.sqrt(3)  # t(0.975, 2), s^2 = 7
    assert half > 3 and (low, high) == pytest.approx((0, 3 + half))  # none is negative
    delta = joining.interval(np.array([1.0, 2.0, 6.0]), 10, "delta_rec", "")
    assert delta == pytest.approx((3 - half, 3 + half))
    shares = joining.interval(np.array([95.0, 100.0]), 10, "accuracy_pct", "percent")
    assert shares == pytest.approx((97.5 - 12.706205 * 2.5, 100))
    one = lambda value, metric, unit: joining.interval(
        np.array([value]), 96, metric, unit
    )
    # z = 1.96 adds 1.92 right and 1.92 wrong to 48 of 96: 0.5 +- 1.96 sqrt(0.25 / 99.84)
    assert one(0.5, "acc_eval", "share") == pytest.approx((0.4019, 0.5981), abs=1e-4)
    low, high = one(100.0, "test_accuracy_pct", "percent")
    assert high == 100 and low == pytest.approx(95.38, abs=0.02)
    for value, metric, unit in ((0.5, "O1", ""), (98.0, "accuracy", "share")):
        assert one(value, metric, unit) == pytest.approx((NAN, NAN), nan_ok=True)
    falls = joining.interval(np.array([-0.5, 1.0]), 10, "acc_fall", "share")
    nothing = joining.interval(np.array([0.0, 1.0]), 10, "accuracy", "share")
    assert nothing == (0, 1)  # 0 is a share
    assert falls == pytest.approx((0.25 - 12.706205 * 0.75, 0.25 + 12.706205 * 0.75))


def test_a_seed_that_failed_has_no_error_and_the_first_says_why_there_is_nothing():
    o1 = ("replication", "xnn", "cub", "vgg19", "SRAE", "n=5", "O1")
    rows = measured((*o1, [0.7]), (*o1[:-1], "O1_ci95", [0.1, 0.5]))
    rows.loc[2, "status"] = "failed"
    line, _ = joining.lines(rows)
    assert (line["low"], line["high"]) == pytest.approx((0.6, 0.8))
    rows = measured((*o1, [NAN, NAN])).assign(status=["failed", "not applicable"])
    (line,) = joining.lines(rows)
    assert line["status"] == "failed" and np.isnan(line["low"])


def test_of_several_networks_the_first_by_name_is_taken_or_what_the_words_say():
    fits = [
        {"target": target, "setting": "", "mean": mean}
        for target, mean in (("b", 2.0), ("a", 3.0), ("c", 1.0))
    ]
    found = joining._picked("", fits)
    assert found["target"] == "a" and found["networks"] == ["a", "b", "c"]
    for words in ("the min over depths", "min over depths; max over depths"):
        assert joining._picked(words, fits)["target"] == "c"  # by the first of PICK


def test_shares_of_claims_do_not_hide_the_numbers_after_them():
    share = (
        "replication",
        "xnn",
        "a",
        "vgg19",
        "SRAE",
        "n=5",
        "XN1",
        [0.5],
        "undecided",
    )
    number = ("replication", "xnn", "cub", "vgg19", "SRAE", "n=5", "O1", [0.7])
    out = table(share, number)
    assert find(out, "VGG19 · SRAE · O1 · mean of 200")["measured"] == "0.7"


def test_an_interval_beside_the_number_serves_one_seed():
    o1 = ("replication", "xnn", "cub", "vgg19", "SRAE", "n=5", "O1")
    half = (*o1[:-1], "O1_ci95", [0.1])
    line = lambda *lines: find(table(*lines), "VGG19 · SRAE · O1 · mean of 200")
    assert line((*o1, [0.7]), half)["interval"] == "[0.6, 0.8]"
    assert line((*o1, [0.7]))["interval"] == ""
    error = (*o1[:-1], "O1_se", [0.1])
    assert line((*o1, [0.7]), error)["interval"] == "[0.504, 0.896]"  # 1.96 of them
    # two seeds: t(0.975, 1) 0.1 / sqrt(2) = 12.706205 * 0.0707107, with 0.1
    both = line((*o1, [0.95, 1.05]), (*o1[:-1], "O1_ci95", [0.1, 0.1]))
    half = np.hypot(12.7062047 * 0.0707106781 / np.sqrt(2), 0.1)
    low, high = (float(end) for end in both["interval"].strip("[]").split(","))
    assert (low, high) == pytest.approx((1 - half, 1 + half))


def test_a_variant_never_stands_for_the_method():
    o1 = ("replication", "xnn", "cub", "vgg19", "SRAE")
    variant = (*o1, "n=5;silent=zero", "O1", [0.1])
    line = lambda *lines: find(table(*lines), "VGG19 · SRAE · O1 · mean of 200")
    assert line(variant, (*o1, "n=5", "O1", [0.7]))["measured"] == "0.7"
    assert line(variant)["measured"] == "0.1"  # nothing else was measured


def test_another_network_stands_in_where_names_says_so():
    o1 = lambda target, value: (
        *("replication", "xnn", "cub", target, "SRAE", "n=5", "O1"),
        [value],
    )
    line = lambda *lines: find(table(*lines), "VGG19 · SRAE · O1 · mean of 200")
    other = line(o1("squeezenet1_0-dense", 0.3))
    assert (other["measured"], other["network"]) == ("0.3", "another")
    assert other["scale"].endswith("another network than the paper's")
    own = line(o1("squeezenet1_0-dense", 0.3), o1("vgg19", 0.7))
    assert (own["measured"], own["network"]) == ("0.7", "the paper's")
    assert line(o1("cnn", 0.3))["why"] == "its network is not in this profile"
    conv = ("replication", "xnn", "cub", "squeezenet1_0", "conv SRAE", "layer=pool4")
    frame = table((*conv, "F_reg_test", [5.0]))
    assert find(frame, "layer=pool4", "F_reg_test")["verdict"] == "not run"


@pytest.mark.parametrize("name", ["GC", "gc", "Gc"])
def test_a_data_set_joins_under_the_papers_name_in_any_case(name):
    row = (
        *("replication", "representative", name, "vgg19", "RI"),
        *("images=unseen;|Q|=50", "CVR_pct", [98.0]),
    )
    assert find(table(row), " GC · ", "RI", "unseen", "CVR_pct")["measured"] == "98"


def test_single_units_join_whatever_their_number():
    z = ("replication", "xnn", "cub", "vgg19", "Z (512 fc dims)", "", "locality", [2.0])
    assert find(table(z), "CUB", "Z (4096 fc dims)")["measured"] == "2"


def test_an_untrained_classifier_is_not_the_papers():
    """Sec. 6 says how good the classifiers are; Table 6 also trains some for no epoch."""
    early = (
        *("replication", "cladec", "fashion_mnist", "vgg11", "classifier"),
        *("classifier epochs=0", "accuracy", [0.1]),
    )
    frame = table(early, network("fashion_mnist", "vgg11", 91.5))
    line = find(frame, "FashionMNIST · VGG-11 and ResNet-10 · classifier")
    assert (line["measured"], line["verdict"]) == ("0.915", "holds")


def test_the_bound_on_rules_says_why_it_is_not_run():
    why = find(table(network("mnist", "explainn_cnn", 98.0)), "n_rules_max")["why"]
    assert "EX7 asks it of the others" in why
