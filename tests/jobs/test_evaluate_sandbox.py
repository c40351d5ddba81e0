"""Twenty-two plug-ins that misbehave, each its own way: each costs its own cell, and says why in one line."""

import os
import shutil
import time
from pathlib import Path

import numpy as np
import pytest

from benchmark import engine
from benchmark.engine import Unit, sandbox
from benchmark.engine.sandbox import Limits
from benchmark.leaderboard import tables
from benchmark.methods import registry
from benchmark.pipeline import cells, collect, explain, score
from tests.helpers import external_methods
from tests.helpers.places import PLUGINS

REASONS = {
    "raises_in_fit": "RuntimeError: no luck (raises_in_fit.py:10)",
    "raises_in_explain": "RuntimeError: no luck (raises_in_explain.py:13)",
    "nan": "heatmaps holds 1 values that are NaN or infinite (nan.py:",
    "infinite": "heatmaps holds 1 values that are NaN or infinite (infinite.py:",
    "wrong_shape": "heatmaps is 28x29, images 28x28",
    "wrong_count": "heatmaps explains 7 images of 8",
    "wrong_dtype": "heatmaps is of type complex128, which holds no plain number (wrong_dtype.py:16)",
    "endless": "took longer than the 6 seconds that it may take",
    "memory": "Unable to allocate 128. MiB for an array with shape (16777216,) and data type float64 "
    "(memory.py:17); it may use 1 GB",
    "weights": "the method changed the target",
    "train_mode": "the method changed the target",
    "hooks": "the method changed the target",
    "global_seed": "the method used the global random state of torch",
    "prints": "printed more than 1 MB",
    "graph": "heatmaps is a tensor on a graph; return heatmaps.detach() (graph.py:14)",
    "exits": "called sys.exit(0)",
    "segfaults": "its process was killed by SIGSEGV",
    "forks": "a method may not fork: it has one process (forks.py:15)",
    "writes": "PermissionError: a method may write into its working directory only, not ",
    "writes_from_c": "Permission denied (writes_from_c.py:17)",
    "order": "heatmaps of an image depend on the images beside it, or on its place in the batch",
    "script": "ValueError: its name is '<script>alert(1)</script>'",
}


def test_there_is_a_reason_for_every_plug_in():
    assert {p.stem for p in PLUGINS.glob("*.py")} == REASONS.keys() | {"good"}


def test_each_costs_its_own_cell_and_says_why(trained):
    """All of them in one profile, by the pipeline's own steps."""
    results = trained.root / "results" / "rows.csv"
    results.write_text("as it was")
    names = sorted(REASONS.keys() | {"good"})
    if not sandbox.landlock():
        names.remove("writes_from_c")
    for name in names:
        shutil.copy(PLUGINS / f"{name}.py", trained.root)
    methods = [f"{trained.root / name}.py:Mine" for name in names]
    trained.params["explain"] |= {
        "methods": methods,
        "limits": {"seconds": 6, "gigabytes": 1},
    }

    done = list(explain.explain_images(trained.profile, "blobs"))
    list(score.score_explanations(trained.profile, "blobs"))
    rows, instances = collect.profile_rows(trained.profile)

    rows = rows[rows.track != "target"]
    by_name = {d.unit.arguments[0].method.stem: d for d in done}
    assert sorted(by_name) == names
    check_good(by_name.pop("good"), rows)
    for name, d in by_name.items():
        check_failed(name, d, rows)
    assert (
        by_name["script"].result["method"] == "Mine"
    )  # it has no name that can be shown
    assert set(instances.method) == {"good"}
    assert (
        results.read_text() == "as it was" and not results.with_name("mine.pt").exists()
    )
    frame = tables.leaderboard(rows, instances)
    assert (frame.status == "failed").any() and not frame.label.str.contains("<").any()


LINES = {  # of those that this project notices, not Python
    "wrong_shape": "return Explanation",
    "wrong_count": "return Explanation",
    "weights": ".data.add_(1)",
    "train_mode": "target.net.train()",
    "hooks": "register_forward_hook",
    "global_seed": "torch.manual_seed",
    "order": "batch.x[:1]",
}


def test_a_broken_contract_is_said_with_the_methods_line(trained):
    methods = [f"{PLUGINS / name}.py:Mine" for name in LINES]
    trained.params["explain"]["methods"] = methods
    for done in explain.explain_images(trained.profile, "blobs"):
        name = done.unit.arguments[0].method.stem
        code = (PLUGINS / f"{name}.py").read_text().splitlines()
        (number,) = (
            i
            for i, line in enumerate(code, 1)
            if LINES[name] in line and "def " not in line
        )
        assert done.error.endswith(f" ({name}.py:{number})"), done.error
        assert done.result["reason"] == done.error


def check_good(done, rows):
    lines = rows[rows.method == done.result["method"]]
    assert done.error is None
    assert set(lines.metric) == set(registry.scoring_metrics())
    assert set(lines.status) == {"ok", "not applicable"}
    assert (lines.status == "ok").sum() > 8


def check_failed(name, done, rows):
    lines = rows[rows.method == done.result["method"]]
    assert REASONS[name] in done.error and "\n" not in done.error, name
    assert set(lines.status) == {"failed"} and set(lines.reason) == {done.error}, name


def test_an_external_methods_cell_has_the_bytes_of_one_made_here(trained):
    """A process of its own changes no number."""
    trained.params["explain"]["methods"] = [f"{PLUGINS / 'good.py'}:Mine"]
    (cell,) = cells.cells(trained.profile, "blobs")
    list(explain.explain_images(trained.profile, "blobs"))
    apart, meta = cells.read_cell(cell)
    cell.explanation.unlink()
    explain.explain_cell(cell)
    here, again = cells.read_cell(cell)
    np.testing.assert_array_equal(apart.heatmaps, here.heatmaps)
    assert meta == again
    stamp = cell.explanation.stat().st_mtime_ns
    assert list(explain.explain_images(trained.profile, "blobs")) == []  # nothing to do
    assert cell.explanation.stat().st_mtime_ns == stamp


LABELS = """
from benchmark.api import Explanation


class Mine:
    name = "Labelled"
    needs = {"labels"}

    def fit(self, target, reference, rng):
        self.classes = reference.y.unique()
        return self

    def explain(self, target, batch, rng):
        maps = batch.x.mean(dim=1)
        return Explanation(heatmaps=maps * (1 + batch.y[:, None, None]))
"""


@pytest.mark.parametrize("declared", [True, False])
def test_labels_are_given_where_they_are_declared_and_the_board_says_so(
    trained, declared
):
    text = LABELS if declared else LABELS.replace("needs", "wants")
    (trained.root / "mine.py").write_text(text)
    trained.params["explain"]["methods"] = [f"{trained.root / 'mine.py'}:Mine"]
    list(explain.explain_images(trained.profile, "blobs"))
    list(score.score_explanations(trained.profile, "blobs"))
    rows, instances = collect.profile_rows(trained.profile)
    frame = tables.leaderboard(rows[rows.track != "target"], instances)
    lost = tables.losses(frame)
    if declared:
        note = "note: was given the true classes"
        assert note in set(lost.reason) and "ok" in set(frame.status)
    else:
        assert "batch.y is withheld" in frame.reason[0]
        assert frame.reason[0].endswith("(mine.py:10)")
        assert set(frame.status) == {"failed"}


# --------------------------------------------------------------------------------------------- the process itself


def apart(function, *arguments, seconds=20.0, **limits):
    return engine.alone(
        Unit("test", function, arguments, Limits(seconds=seconds, **limits))
    )


def test_what_it_leaves_running_is_killed_with_it():
    group = apart(external_methods.leave_a_child_running).result
    with pytest.raises(ProcessLookupError):
        for _ in range(100):
            os.killpg(group, 0)
            time.sleep(0.05)


def test_its_working_directory_is_its_own_and_gone_afterwards(tmp_path):
    folder, temporary = apart(external_methods.where).result
    assert folder == temporary and not Path(folder).exists()
    kept = engine.alone(Unit("test", external_methods.where, (), Limits(), tmp_path))
    assert (
        kept.result[0] == str(tmp_path.resolve()) and (tmp_path / "here.txt").exists()
    )


def test_a_result_that_cannot_travel_is_an_error_not_a_crash():
    assert "not JSON serializable" in apart(external_methods.not_json).error


def test_leaving_is_told():
    assert apart(external_methods.swallow).error == "called sys.exit('over')"


def test_several_run_side_by_side_and_an_interrupt_kills_them():
    units = [
        Unit(str(i), external_methods.sleep, (20.0,), Limits()) for i in range(2)
    ] + [Unit("short", external_methods.sleep, (0.1,), Limits())]
    results = engine.run(units[::-1], label="test", workers=3)
    start = time.monotonic()
    assert next(results).unit.name == "short"
    with pytest.raises(KeyboardInterrupt):
        results.throw(KeyboardInterrupt())
    assert time.monotonic() - start < 15


def test_units_with_and_without_limits_go_together():
    units = [
        Unit("in the pool", external_methods.sleep, (0.0,)),
        Unit("apart", external_methods.sleep, (0.0,), Limits()),
    ]
    assert {
        d.unit.name: d.result for d in engine.run(units, label="test", workers=2)
    } == {
        "in the pool": 0,
        "apart": 0,
    }


def test_without_landlock_python_writes_are_refused_all_the_same(tmp_path):
    done = apart(external_methods.write_with_the_hook_alone, str(tmp_path / "x"))
    assert (
        "a method may write into its working directory only" in done.error
        and not (tmp_path / "x").exists()
    )
