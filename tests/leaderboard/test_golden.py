"""The synthetic profile's board and comparison, as they were when last looked at: ``tests/golden``.

Hand-computed cases and twins say that the statistics are right; this says that no number, mark or
word of a whole board has moved since. After a change that means to move them: ``python -m
tests.leaderboard.test_golden``, and read the diff.
"""

from __future__ import annotations

import functools
import io
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from benchmark import store
from benchmark.gate.diff import compare
from benchmark.leaderboard import (
    places,
    placing,
    rankings,
    reproduction,
    summaries,
    tables,
)
from benchmark.leaderboard.contests import contests
from benchmark.leaderboard.render import (
    markdown,
    reproduction_markdown,
)
from tests.helpers.boards import differences, shown_beside
from tests.helpers.leaderboard_inputs import EVIL, inputs
from tests.helpers.places import GOLDEN
from tools.gate_rates import History


@functools.cache
def _frame() -> pd.DataFrame:
    return tables.leaderboard(*inputs())


def _csv(frame: pd.DataFrame) -> str:
    return frame.to_csv(index=False, float_format="%.6g", lineterminator="\n")


@functools.cache
def _reproduced() -> pd.DataFrame:
    """What some measured numbers and claims make of the files in golden/reported."""
    mlp = lambda depth, metric, *values: (
        "target",
        "",
        "mnist",
        f"mlp-100x{depth}",
        "network",
        "",
        metric,
        values,
    )
    tree = lambda layer, *values: (
        "replication",
        "layer_trees",
        "mnist",
        "mlp-100x10",
        "layer tree",
        f"layer={layer};threshold=0",
        "n_split_nodes",
        values,
    )
    claim = lambda name, *values: (
        "replication",
        "layer_trees",
        "mnist",
        "mlp-100x10",
        "layer tree",
        "",
        name,
        values,
    )
    vgg = lambda method, setting, metric, *values, dataset="fashion_mnist": (
        "replication",
        "cladec",
        dataset,
        "vgg11",
        method,
        setting,
        metric,
        values,
    )
    lines = [
        mlp(1, "test_accuracy", 97.0, 96.2),
        mlp(5, "test_accuracy", 98.7),
        mlp(10, "test_accuracy", 98.0),
        mlp(5, "train_accuracy", 99.9),
        mlp(10, "train_accuracy", 97.0),
        tree(1, 4000.0, 5000.0),
        tree(2, 201.0),
        tree(10, 12.0),
        tree(11, 99.0),
        (
            "target",
            "",
            "fashion_mnist",
            "resnet10",
            "network",
            "",
            "test_accuracy",
            [90.0],
        ),
        claim("LT1", 1.0, 0.5),
        claim("LT2", 0.0, 0.0),
        claim("LT3", 1.0),
        claim("LT5"),
        (
            "replication",
            "explainn",
            "mnist",
            "explainn_cnn",
            "ExplaiNN",
            "",
            "EX1",
            [1.0],
        ),
        ("replication", "xnn", "mnist", "explainn_cnn", "ExplaiNN", "", "EX1", [0.0]),
        vgg("classifier", "lower bound", "accuracy", 0.47, 0.51, dataset="cifar100"),
        vgg("ClaDec", "alpha=1", "rec_loss", 300.0),
        vgg("ClaDec", "alpha=0.50", "rec_loss", 451.0),
        vgg("ClaDec", "alpha=0.1", "delta_acc", 0.016),
        *(
            (
                "replication",
                "representative",
                "asirra",
                "vgg19",
                m,
                "unseen",
                "mAD_pct",
                [v],
            )
            for m, v in (("RI", 9.0), ("Grad-CAM", 11.0), ("Score-CAM", 10.0))
        ),
        (
            "replication",
            "representative",
            "asirra",
            "vgg19",
            "RI",
            "k=2",
            "L(D|M)_bits",
            [1.27],
        ),
        (
            "replication",
            "representative",
            "asirra",
            "vgg19",
            "RI",
            "seen",
            "mAI_pct",
            [12.5],
        ),
        (
            "replication",
            "layer_trees",
            "mnist",
            "mlp-100x10",
            "layer tree",
            "",
            "oddity",
            [1.0],
        ),
    ]
    rows = [
        (
            "quick",
            *line,
            "",
            seed,
            value,
            10,
            "higher",
            "x",
            1,
            "failed" if np.isnan(value) else "ok",
            "time" if np.isnan(value) else "",
        )
        for *line, values in lines
        for seed, value in enumerate(values or [np.nan])
    ]
    frame = store.tidy_rows(pd.DataFrame(rows, columns=list(store.ROW_COLUMNS)))
    card = {
        "epochs": 3,
        "options": {"width": 0.5, "augment": True},
        "images": {"train": 5000},
    }
    return reproduction.table(
        frame,
        GOLDEN / "reported",
        evidence={"LT1": "u(1)/n = 0.99"},
        data_cards={"mnist": {"counts": {"train": 60000}}},
        target_cards={
            ("mnist", "mlp-100x10", 0): card,
            ("mnist", "mlp-100x10", 1): {"epochs": 9},
        },
    )


@functools.cache
def _placed() -> pd.DataFrame:
    rows, instances = inputs()
    return places.places(_frame(), contests(tables.labelled(rows), instances))


def _shown() -> str:
    """What the terminal says of two methods, one of which failed in places."""
    text = io.StringIO()
    console = Console(file=text, width=150)
    shown_beside(*inputs(), "Grad-CAM", f"{EVIL}", console=console)
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines()) + "\n"


def _compared() -> pd.DataFrame:
    """Three comparisons: nearly the same networks with one method worse, other networks, and one seed that borrows."""
    history = History("golden", methods=3, networks=1)
    old, near = history.old(), history.new(0.95, history.where(method="method b"), 8)
    far = history.new(0.0)
    far.loc[far["metric"] == "metric 3", "unit"] = "nodes"
    counts = old.assign(unit="nodes"), history.new(0.9).assign(unit="nodes")
    one = [frame[frame["seed"] == 0].assign(profile="quick") for frame in (old, near)]
    found = {
        "near": compare(old, near),
        "far": compare(old, far[far["method"] != "method c"]),
        "counts": compare(*counts),
        "one": compare(*one, old),
    }
    return pd.concat([frame.assign(profile=name) for name, frame in found.items()])


FILES: dict[str, Callable[[], str]] = {
    "board.csv": lambda: _csv(_frame()),
    "board.md": lambda: markdown.render(_frame(), _placed(), "offline"),
    "places.csv": lambda: places.csv_text(_placed()),
    "ranks.csv": lambda: summaries.ranks(_placed()),
    "metrics.json": lambda: summaries.metrics(_frame(), _placed(), _reproduced()),
    "differ.csv": lambda: _csv(rankings.differ(rankings.rankings(_frame(), "heatmap"))),
    "settings.csv": lambda: _csv(rankings.by_setting(_frame(), "heatmap")),
    "losses.csv": lambda: _csv(tables.losses(_frame())),
    "placing.csv": lambda: _csv(differences(*inputs(), "Grad-CAM")),
    "standing.csv": lambda: _csv(
        placing.standing(
            _frame(),
            differences(*inputs(), "Grad-CAM"),
            "Grad-CAM",
        )
    ),
    "show.txt": _shown,
    "reproduction.csv": lambda: _csv(_reproduced()),
    "reproduction.md": lambda: reproduction_markdown.render(_reproduced(), "quick"),
    "diff.csv": lambda: _csv(_compared()),
}


TABLES = [name for name in FILES if name.endswith(".csv")]


@pytest.mark.parametrize("name", TABLES)
def test_no_number_has_moved(name):
    """To five digits: machines differ in the last ones."""
    texts = FILES[name](), (GOLDEN / name).read_text()
    got, want = (
        pd.read_csv(io.StringIO(text), keep_default_na=False, na_values=[""])
        for text in texts
    )
    pd.testing.assert_frame_equal(got, want, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("name", [name for name in FILES if name not in TABLES])
def test_no_text_has_moved(name):
    assert FILES[name]() == (GOLDEN / name).read_text()


if __name__ == "__main__":
    for name, make in FILES.items():
        (GOLDEN / name).write_text(make())
