"""Published beside measured: the committed files, the join by names, the verdicts."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest

from benchmark import store
from benchmark.leaderboard import reproduction, tables
from benchmark.leaderboard.render import reproduction_markdown

REPORTED = store.ROOT / "results" / "reported"
ADDED = {"LT14", "EX7", "RI6", "XN7", "XN8"}  # claims beside the 38 that were listed first
CLAIMS = 38 + len(ADDED)


def measured(*lines: tuple) -> pd.DataFrame:
    """A board of (track, paper, dataset, target, method, setting, metric, values by seed or a reason)."""
    rows = []
    for track, paper, dataset, target, method, setting, metric, values in lines:
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
                    "",
                    seed,
                    value,
                    10,
                    "higher",
                    "x",
                    1,
                    "failed" if failed else "ok",
                    values if failed else "",
                )
            )
    return tables.leaderboard(pd.DataFrame(rows, columns=list(store.ROW_COLUMNS)))


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
    assert len(frame) == frame["id"].nunique() == CLAIMS


def test_every_number_has_a_rule_or_a_reason():
    """The mappings name only what is published, and no pattern is idle."""
    assert reproduction.TOLERANCES and reproduction.PICK and reproduction.WHY_NOT
    frame = pd.concat([published(paper) for paper in PAPERS])
    names = store.read_json(REPORTED / "names.json")
    assert set(names["targets"]) <= set(frame["target"])
    assert set(names["datasets"]) <= set(frame["dataset"])
    assert set(reproduction.MEASURED) <= set(
        zip(frame["method"], frame["metric"], strict=True)
    )
    for pattern in reproduction.TOLERANCES:
        assert frame["metric"].str.fullmatch(pattern).any(), pattern
    for words in reproduction.PICK:
        assert frame["setting"].str.contains(words).any(), words
    frame["what"] = frame["metric"] + " " + frame["setting"]
    for column, pattern, _ in reproduction.WHY_NOT:
        assert frame[column].str.fullmatch(pattern).any(), pattern


def test_the_tolerances_are_these():
    amounts = [(rule, amount) for _, rule, amount in reproduction.TOLERANCES.values()]
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
    assert "data set is not part" in find(out, "FOOD · VGG-19 · RI · mAD_pct")["why"]
    assert out.index.is_unique


# --------------------------------------------------------------------------------------------- joining


def test_accuracies_join_across_names_and_units():
    out = table(
        network("mnist", "explainn_cnn", 98.0, 97.6),
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
    assert (alone["verdict"], alone["measured"]) == ("not run", "9")
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
    key = dict.fromkeys(("table", "dataset", "target", "setting", "metric"), "m")
    other = [
        key | {column: name, "value": value}
        for name, value in (("a", "0"), ("z", "0.5"), ("z", "9"))
    ]
    published = [key | {"value": "1"}, key | {"value": "2"}, *other]
    joined = [{"mean": mean} for mean in (5.0, 6.0, 5.5, 7.0, 0.1)]
    assert [reproduction._rank_holds(published, joined, i) for i in (0, 1)] == [
        True,
        True,
    ]
    assert reproduction._rank_holds(published, joined, 2) is None  # alone in its column
    assert (
        reproduction._rank_holds(published, [joined[0], None, *joined[2:]], 0) is None
    )


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
        ("1", 1.0, "", 0.0, None),
        ("0.5", 0.515, "absolute", 0.015, True),
        ("0.5", 0.485, "absolute", 0.015, True),
        ("4", 2.0, "factor", 2.0, True),
        ("4", 8.0, "factor", 2.0, True),
        ("4", 3.0, "factor", 2.0, True),
        ("-4", -3.0, "factor", 2.0, True),
        (">3", 3.0, "absolute", 0.0, True),
        ("0", 0.5, "factor", 1.5, False),
        ("2", 0.0, "factor", 1.5, False),
        (">=3", 9.0, "factor", 1.5, True),
        ("<=3", 9.0, "factor", 1.5, False),
        ("0.5", 0.6, "factor", 1.5, True),
        ("0.5", 0.2, "factor", 1.5, False),
    ],
)
def test_verdict_of_a_number(published, measured, rule, amount, held):
    assert reproduction._holds(published, measured, rule, amount) is held


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
    assert table(claim("LT1", [1.0, 0.75])).loc["LT1", "interval"] == "[0.75, 1]"


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
    assert f"## Claims: 1 hold, 0 mixed, 0 do not hold, {CLAIMS - 1} not run" in text
    assert "## Numbers: 1 hold, 0 mixed, 0 do not hold, 781 not run" in text
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
