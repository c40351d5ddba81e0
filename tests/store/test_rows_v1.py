"""Rows of version 1 are read as today's: the same board, the same values of single images."""

import re

import numpy as np
import pandas as pd
import pytest

from benchmark import store
from benchmark.cli import main
from benchmark.gate import sources
from benchmark.gate.diff import compare
from benchmark.leaderboard import tables
from benchmark.store import rows_v1
from tests.helpers.places import GOLDEN

KEY = "offline,heatmap,user,digits,cnn,"
HEAD = (
    "profile,track,paper,dataset,target,method,setting,metric,seed,"
    "value,n,better,unit,metric_version,status,reason,seconds\n"
)
FACTS = ",0,0.5,8,lower,percent,1,ok,,0.3\n"


def board_v1():
    """The board of version 1, with the columns that both versions have."""
    path = GOLDEN / "leaderboard_v1.csv"
    text = pd.read_csv(
        path, keep_default_na=False, na_values={"mean": [""], "rank": [""]}
    )
    frame = rows_v1.current_board(text)
    return frame.assign(control=frame["control"].astype(bool))


@pytest.fixture(scope="module")
def rows():
    return store.read_rows(GOLDEN / "rows_v1.csv")


def test_the_board_is_the_one_of_version_1(rows):
    """Labels, means, ranks, counts and reasons are the committed ones, in the same order; columns are renamed."""
    facts = [
        "label",
        "method",
        "paper",
        "mean",
        "n_images",
        "n_seeds",
        "better",
        "unit",
        "rank",
        "control",
        "status",
        "reason",
    ]
    got, want = tables.leaderboard(rows), board_v1()
    got["mean"] = [float(store.format_value(v) or "nan") for v in got["mean"]]
    contests = [
        frame[frame["track"] != "replication"].reset_index(drop=True)
        for frame in (got, want)
    ]
    pd.testing.assert_frame_equal(
        *(frame[[*tables.TABLE, "setting", *facts]] for frame in contests)
    )
    assert (
        contests[0]["metric_setting"].nunique() > 8
        and contests[0]["setting"].nunique() > 12
    )
    assert len(contests[0]) > 160


def test_the_numbers_of_replications_are_those_of_version_1(rows):
    frames = [tables.leaderboard(rows), board_v1()]
    means = []
    for frame in (frame[frame["track"] == "replication"] for frame in frames):
        parts = zip(frame["setting"], frame["metric_setting"], strict=True)
        whole = [
            ";".join(sorted(filter(None, f"{a};{b}".split(";")))) for a, b in parts
        ]
        means.append(
            frame.assign(whole=whole)
            .set_index(["target", "method", "metric", "whole"])["mean"]
            .sort_index()
        )
    pd.testing.assert_series_equal(*means, rtol=1e-6)
    assert len(means[0]) > 10


def test_no_key_is_lost_and_none_is_in_both_columns(rows):
    old = pd.read_csv(GOLDEN / "rows_v1.csv", keep_default_na=False)
    merged = [
        ";".join(sorted(filter(None, [*a.split(";"), *b.split(";")])))
        for a, b in zip(rows["setting"], rows["metric_setting"], strict=True)
    ]
    assert sorted(merged) == sorted(
        ";".join(sorted(text.split(";"))) for text in old["setting"]
    )
    assert list(rows.columns) == list(store.ROW_COLUMNS) and len(rows) == len(old)


def test_rows_of_version_1_and_2_are_compared(rows, tmp_path):
    store.write_rows(tmp_path / "rows.csv", rows)
    found = compare(
        *(
            sources.load(str(p), store.Paths("offline")).rows
            for p in (GOLDEN / "rows_v1.csv", tmp_path / "rows.csv")
        )
    )
    assert set(found["kind"]) == {"unchanged"} and not found["moved"].any()


def v1(tmp_path, *lines):
    path = tmp_path / "rows.csv"
    path.write_text(HEAD + "".join(f"{KEY}{line}{FACTS}" for line in lines))
    return path


def test_which_part_is_the_metrics(tmp_path):
    read = store.read_rows(
        v1(
            tmp_path,
            "A,keep=0.2;layer=3,average_drop",
            "A,layer=3,gini",
            "A,,energy_in_box",
        )
    )
    assert list(read["setting"]) == ["", "layer=3", "layer=3"]
    assert dict(zip(read["metric"], read["metric_setting"], strict=True)) == {
        "average_drop": "keep=0.2",
        "gini": "",
        "energy_in_box": "",
    }


def test_a_method_whose_setting_was_lost_is_refused_in_one_line(tmp_path, capsys):
    path = v1(tmp_path, "Mine,keep=0.2,average_drop", "Mine,keep=0.5,gini")
    assert main.main(["diff", str(path), "--profile", "offline"]) == 2
    text = capsys.readouterr().err
    assert text.count("\n") == 1 and "'keep' of 'Mine'" in text and str(path) in text


def test_values_of_single_images_of_version_1(tmp_path):
    key = dict(
        zip(
            store.ROW_KEYS,
            (
                "p",
                "heatmap",
                "x",
                "d",
                "t",
                "A",
                "layer=3",
                "average_drop",
                "keep=0.2",
                0,
            ),
            strict=True,
        )
    )
    frame = pd.DataFrame(
        [key | {"image": i, "value": v} for i, v in enumerate([0.5, 1.5])]
    )
    store.write_values(tmp_path / "new.npz", frame)
    arrays = store.read_npz(tmp_path / "new.npz")
    del arrays["key_metric_setting"]
    store.write_npz(
        tmp_path / "old.npz", arrays | {"key_setting": np.array(["keep=0.2;layer=3"])}
    )
    read = [store.read_values(tmp_path / name) for name in ("new.npz", "old.npz")]
    pd.testing.assert_frame_equal(*read)
    pd.testing.assert_frame_equal(read[0], frame, check_dtype=False)


# --------------------------------------------------------------------------------------------- the page about rows


def test_the_page_names_every_column_and_its_lines_run(
    tmp_path, monkeypatch, rows, capsys
):
    text = (store.ROOT / "docs" / "rows.md").read_text()
    named = re.findall(
        r"`(\w+)`",
        "".join(
            line.split("|")[1] for line in text.splitlines() if line.startswith("| `")
        ),
    )
    assert tuple(named) == store.ROW_COLUMNS
    store.write_rows(tmp_path / "results" / "offline" / "rows.csv", rows)
    monkeypatch.chdir(tmp_path)
    exec(re.search(r"```python\n(.*?)```", text, re.DOTALL)[1], {})
    assert "Grad-CAM" in capsys.readouterr().out
