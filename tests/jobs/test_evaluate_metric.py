"""A metric of the user on the known methods and on a new one; what is wrong with one costs its own rows alone."""

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest

from benchmark import store
from benchmark.api import Explanation
from benchmark.cli import main
from benchmark.methods import metric_refs
from benchmark.methods.describe import describe
from benchmark.methods.metric_refs import MetricRef, declared
from benchmark.methods.registry import MethodRef
from benchmark.pipeline import cells, collect, explain, keys, own_scores, score
from benchmark.pipeline.profile import Profile
from tests.helpers.places import ROOT

KNOWN = [
    f"{ROOT / 'baselines' / 'random_map.py'}:RandomMap",
    f"{ROOT / 'baselines' / 'edge_map.py'}:EdgeMap",
]
PEAK = """
from benchmark.api import metric


@metric(
    needs={"heatmaps"},
    track="heatmap",
    better="lower",
    unit="fraction",
    version=3,
    source="mine",
    settings=({"share": 0.5}, {"share": 0.25}),
)
def peak_width(e, target, batch, rng, *, share):
    largest = e.heatmaps.max(axis=(1, 2), keepdims=True)
    return (e.heatmaps > share * largest).mean(axis=(1, 2))
"""
FLAT = """
from benchmark.api import Explanation


class Flat:
    name = "Flat"

    def fit(self, target, reference, rng):
        return self

    def explain(self, target, batch, rng):
        return Explanation(heatmaps=batch.x.mean(dim=1))
"""


@pytest.fixture
def known(trained, monkeypatch):
    """A workspace whose profile has two known methods, explained and scored, and a user's folder to work in."""
    shutil.copytree(
        ROOT / "results" / "reported", trained.root / "results" / "reported"
    )
    trained.params["explain"]["methods"] = KNOWN
    trained.save()
    for cell in cells.cells(trained.profile, "blobs"):
        explain.explain_cell(cell)
        score.score_cell(cell)
    home = trained.root / "home"
    home.mkdir()
    (home / "my.py").write_text(PEAK)
    (home / "flat.py").write_text(FLAT)
    monkeypatch.chdir(home)
    return trained


def snapshot(root):
    files = [p for p in root.rglob("*") if p.is_file() and "evaluations" not in p.parts]
    return {path: path.stat().st_mtime_ns for path in files}


def rows_of(found):
    return found.rows[found.rows.metric == "peak_width"]


def test_known_and_new_methods_are_scored_and_nothing_else_changes(known, capsys):
    before = snapshot(known.root)
    arguments = ["flat.py:Flat", "--metric", "my.py:peak_width", "--no-page"]
    assert main.main(["evaluate", *arguments]) == 0
    assert snapshot(known.root) == before
    folder = known.root / "results" / "evaluations" / "tiny" / "Flat"
    rows = store.read_rows(folder / "rows.csv")
    mine = rows[rows.metric == "peak_width"]
    assert set(mine.method) == {"Flat", "Random map", "Edge map (Sobel)"}
    assert set(mine.metric_setting) == {"share=0.5", "share=0.25"}
    for column, value in {
        "better": "lower",
        "unit": "fraction",
        "metric_version": 3,
        "track": "heatmap",
        "status": "ok",
        "n": 8,
    }.items():
        assert set(mine[column]) == {value}
    assert set(rows[rows.metric == "gini"].method) == {"Flat"}
    assert "peak width" in capsys.readouterr().out


def test_score_alone_recomputes_what_is_missing_and_keeps_what_is_there(known, capsys):
    for cell in cells.cells(known.profile, "blobs"):
        cell.explanation.unlink()
    assert (
        main.main(["score", "blobs", "--metric", "my.py:peak_width?share=0.125"]) == 0
    )
    said = capsys.readouterr().out
    assert "peak width, share=0.125" in said and "Random map" in said
    folder = known.root / "results" / "evaluations" / "tiny" / "peak_width"
    rows = store.read_rows(folder / "rows.csv")
    assert set(rows.metric) == {"peak_width"} and set(rows.method) == {
        "Random map",
        "Edge map (Sobel)",
    }
    for cell in cells.cells(known.profile, "blobs"):
        e, _ = cells.read_explanation(cell.explanation)
        name, _, _ = describe(cell.method)
        (row,) = rows[rows.method == name].itertuples()
        top = e.heatmaps.max(axis=(1, 2), keepdims=True)
        assert row.value == pytest.approx((e.heatmaps > 0.125 * top).mean(), rel=1e-6)
    files = {p: p.stat().st_mtime_ns for p in folder.rglob("*peak_width*.npz")}
    assert len(files) == 2
    code = keys.own_metric_hash(MetricRef.parse("my.py:peak_width", base=Path.cwd()))
    assert main.main(["score", "--metric", "my.py:peak_width?share=0.125"]) == 0
    assert {p: p.stat().st_mtime_ns for p in files} == files
    Path("my.py").write_text("# a comment\n" + PEAK)
    ref = MetricRef.parse("my.py:peak_width", base=Path.cwd())
    assert keys.own_metric_hash(ref) == code
    Path("my.py").write_text(PEAK.replace("> share", ">= share"))
    assert keys.own_metric_hash(ref) != code


CALLING = """
import numpy as np

import glassbench


@glassbench.metric(
    needs={"heatmaps", "explain"},
    calls=2,
    track="heatmap",
    better="lower",
    unit="fraction",
    version=1,
    source="mine",
    settings=({"times": 1}, {"times": 3}, {"times": 2}),
)
def mirrored(e, target, batch, rng, explain, *, times):
    for _ in range(times):
        there = explain(glassbench.Batch(batch.x.flip(3), batch.y)).heatmaps
    return np.abs(there[:, :, ::-1] - e.heatmaps).mean(axis=(1, 2))
"""


@pytest.fixture
def calling(known):
    """A user's metric that calls the method again, in a profile that names images for it."""
    Path("calling.py").write_text(CALLING)
    known.params["explain"]["again"] = {"images": 5}
    known.save()
    return MetricRef.parse("calling.py:mirrored?times=1", base=Path.cwd())


def test_a_metric_may_call_known_methods_again(known, calling):
    assert main.main(["score", "blobs", "--metric", "calling.py:mirrored"]) == 1
    folder = known.root / "results" / "evaluations" / "tiny" / "mirrored"
    rows = store.read_rows(folder / "rows.csv")
    rows = rows.set_index(["method", "metric_setting"])
    edge, drawn = rows.loc["Edge map (Sobel)"], rows.loc["Random map"]
    for times in ("times=1", "times=2"):
        assert edge.loc[times, "value"] < 1e-6 < 0.1 < drawn.loc[times, "value"]
        assert edge.loc[times, "n"] == 5  # explain: again: images
    assert edge.loc["times=3", "status"] == "failed"
    assert "more explanations than the 2 per image" in edge.loc["times=3", "reason"]


def test_a_metric_may_call_a_users_method_but_no_maps_made_elsewhere(known, calling):
    np.savez("maps.npz", **{"blobs/cnn/seed=0": np.ones((8, 28, 28))})
    refs = [MethodRef.parse(e, base=Path.cwd()) for e in ("flat.py:Flat", "maps.npz")]
    profile = known.profile.with_methods(refs).with_metrics([calling])
    todo = cells.cells(profile, "blobs")
    for cell in todo:
        meta = cells.who(cell) | {"status": "ok", "key": keys.explain_key(cell)}
        maps = Explanation(heatmaps=np.ones((8, 28, 28)))
        cells.write_explanation(cell.explanation, maps, meta)
    found = own_scores.files(profile, todo)
    assert [done.error for done in own_scores._score(profile, "blobs", found)] == [
        None
    ] * 2
    flat, maps = (store.read_scores(path)[0].iloc[0] for path in found)
    assert (flat.status, flat.value) == ("ok", 0)  # its own maps, not those above
    assert maps.status == "not applicable"
    assert "cannot be called again" in maps.reason


def test_what_decides_a_calling_metric_is_in_its_key(known, calling):
    ref = calling
    assert declared(ref).spec.calls == 2
    (cell, _) = cells.cells(known.profile, "blobs")
    key = keys.own_score_key(cell, ref, calls=True)
    fewer = dataclasses.replace(cell, again=cell.again - 1)
    assert key != keys.own_score_key(fewer, ref, calls=True)
    assert key != keys.own_score_key(cell, ref)
    cell.explanation.unlink()  # it is made anew, and is no part of it
    assert key == keys.own_score_key(cell, ref, calls=True)


def test_metrics_that_call_again_are_left_out_where_the_profile_says_so(known, calling):
    known.params["explain"]["again"]["seeds"] = [1]
    known.save()
    profile = known.profile.with_metrics([calling])
    assert not own_scores.files(profile, cells.cells(profile, "blobs"))


BODIES = {  # of metrics that misbehave, and what their rows say
    "raises": ("raise KeyError('no luck')", "KeyError: 'no luck' (raises.py:8)"),
    "counts": (
        "return e.heatmaps[1:].mean(axis=(1, 2))",
        "counts returns shape (7,), not one number for each of 8 images",
    ),
    "scalar": ("return e.heatmaps.mean()", "scalar returns shape (), not one number"),
    "words": (
        "return ['much'] * len(batch)",
        "words returns values of type <U4, not one number",
    ),
    "nan": (
        "return np.log(-1 - e.heatmaps.max((1, 2)))",
        "nan is NaN or infinite for 8 of 8 images; partial=True",
    ),
    "graph": (
        "return target(batch.x.clone().requires_grad_()).amax(1)",
        "graph returns a tensor on a graph; detach it",
    ),
    "maps": (
        "m = e.heatmaps; m *= 2; return m.max((1, 2))",
        "maps changes e.heatmaps in place; copy first",
    ),
    "pixels": (
        "batch.x[0] = 0; return e.heatmaps.max((1, 2))",
        "pixels changes batch.x in place; copy first",
    ),
    "trains": (
        "target.net.train(); return e.heatmaps.max((1, 2))",
        "trains changes the target's modes in place",
    ),
    "draws": (
        "return np.random.rand(len(batch))",
        "draws uses numpy's global random state; draw from rng instead",
    ),
    "endless": ("while True: pass", "took longer than the 4 seconds that it may take"),
    "segfaults": (
        "import ctypes; ctypes.string_at(0)",
        "its process was killed by SIGSEGV",
    ),
    "exits": ("import sys; sys.exit(0)", "called sys.exit(0)"),
    "forks": ("import os; os.fork()", "a method may not fork"),
    "writes": ("open('/work/out', 'w')", "may write into its working directory only"),
}
DECLARED = """import numpy as np
from benchmark.api import metric


@metric(needs={{"heatmaps"}}, track="heatmap", better="higher", unit="", version=1, source="me")
def {name}(e, target, batch, rng):
    value = 0
    {body}
"""


def test_what_is_wrong_with_a_metric_costs_its_own_rows_alone(known):
    names = [*BODIES, "sound"]
    bodies = {name: body for name, (body, _) in BODIES.items()}
    bodies["sound"] = "return e.heatmaps.max((1, 2)) + value"
    for name, body in bodies.items():
        Path(f"{name}.py").write_text(DECLARED.format(name=name, body=body))
    known.params["explain"] |= {
        "metrics": [f"{Path(name).absolute()}.py:{name}" for name in names],
        "limits": {"seconds": 4, "gigabytes": 1},
    }
    profile = known.profile
    assert Profile.parse(profile.as_mapping()) == profile
    done = list(own_scores.score_all(profile, "blobs"))
    rows, instances = collect.profile_rows(profile)
    assert not [d for d in done if d.error and "sound" in d.unit.name]
    assert set(rows[rows.metric == "gini"].status) == {"ok"}
    assert set(instances[instances.metric == "sound"].method) == {
        "Random map",
        "Edge map (Sobel)",
    }
    for name, (_, reason) in BODIES.items():
        mine = rows[rows.metric == name]
        assert len(mine) == 2 and set(mine.status) == {"failed"}, name
        assert mine.reason.str.contains(reason, regex=False).all(), mine.reason.tolist()
        assert not mine.reason.str.contains("\n").any()
    endless = rows[rows.metric == "endless"].reason
    assert (
        endless.str.startswith("not tried: it took longer").sum() == 1
    )  # one wait is enough
    assert sum("sound" in d.unit.name for d in done) == 2
    (gone,) = (ref for ref in profile.explain.metrics if ref.function == "sound")
    for path, (cell, ref) in own_scores.files(
        profile, cells.cells(profile, "blobs")
    ).items():
        assert own_scores._is_kept(path, keys.own_score_key(cell, ref)) == (ref == gone)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no metric in my.py: 'f'"),
        (
            "import nothing_like_it\nf = 1",
            "ModuleNotFoundError: No module named 'nothing_like_it' (my.py:2)",
        ),
        (
            "def f(e, target, batch, rng):\n    return 0",
            "f is a function without a declaration; put @metric",
        ),
        ("f = 3", "f is int without a declaration"),
        (
            "@metric\ndef f(e, target, batch, rng):\n    return 0",
            "write @metric(needs={...}",
        ),
        (
            "@metric(needs={'heatmaps'})\ndef f(e):\n    return 0",
            "missing 5 required keyword-only arguments",
        ),
        ("@metric(**GOOD | {'better': 'up'})\ndef f(e):\n    return 0", "better 'up'"),
        (
            "@metric(**GOOD | {'needs': {'heatmap'}})\ndef f(e):\n    return 0",
            "needs ['heatmap'] unknown",
        ),
        (
            "@metric(**GOOD)\ndef f(e, batch):\n    return 0",
            "f(e, target, batch, rng, **setting): too many positional",
        ),
        (
            "@metric(**GOOD, settings=[{'k': 1}])\ndef f(e, t, b, r):\n    return 0",
            "unexpected keyword argument 'k'",
        ),
        (
            "@metric(**GOOD | {'version': '1'})\ndef f(e, t, b, r):\n    return 0",
            "version '1' is not a whole number",
        ),
        (
            "@metric(**GOOD | {'unit': '<b>'})\ndef f(e, t, b, r):\n    return 0",
            "unit '<b>': write up to 60",
        ),
        (
            "@metric(**GOOD)\n@bounds(1, 0)\ndef f(e, t, b, r):\n    return 0",
            "bounds(1, 0): the first must be below",
        ),
        (
            "@metric(**GOOD | {'track': 'target'})\ndef f(e, t, b, r):\n    return 0",
            "track 'target' is not one of heatmap",
        ),
        (
            "@metric(**GOOD, settings=[{'k': 'a;b'}])\ndef f(e, t, b, r, k):\n    return 0",
            "setting 'k=a;b': write numbers",
        ),
        (
            "@metric(**GOOD, settings={'k': 1})\ndef f(e, t, b, r, k):\n    return 0",
            "settings hold 'k'; write a list",
        ),
        (
            "@metric(**GOOD, settings=[])\ndef f(e, t, b, r):\n    return 0",
            "settings name one setting twice, or none",
        ),
        ("f = metric(**GOOD)(lambda e, t, b, r: 0)", "'<lambda>' is no name"),
        ("def f(:", "SyntaxError"),
        ("while True: pass\nf = 1", "took longer than"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_in_one_line(
    tmp_path, monkeypatch, capsys, text, message
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(metric_refs, "_OPEN", metric_refs.Limits(seconds=3))
    good = "GOOD = dict(needs={'heatmaps'}, track='heatmap', better='higher', unit='', version=1, source='')"
    Path("my.py").write_text(
        f"from benchmark.api import bounds, metric; {good}\n{text}\n"
    )
    assert main.main(["evaluate", "--metric", "my.py:f"]) == 2
    said = capsys.readouterr().err
    assert message in said and "my.py" in said and said.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["gini.py:gini"],
            "gini.py:gini: 'gini' is a metric of glassbench already; give yours another name",
        ),
        (["mi.py:peak_width"], "no file of a metric 'mi.py'; did you mean my.py"),
        (["my.py:peak"], "no metric in my.py: 'peak'; did you mean peak_width?"),
        (["my.py"], "a metric is written path/to/file.py:function, not 'my.py'"),
        (
            ["my.py:peak_width?shere=1"],
            "no setting of peak_width 'shere'; did you mean share?",
        ),
        (
            ["my.py:peak_width", "--metric", "two.py:peak_width"],
            "two metrics are called 'peak_width'",
        ),
    ],
)
def test_a_wrong_name_is_refused_in_one_line(
    workspace, monkeypatch, capsys, arguments, message
):
    monkeypatch.chdir(workspace.root)
    Path("my.py").write_text(PEAK)
    Path("two.py").write_text(PEAK)
    Path("gini.py").write_text(PEAK.replace("peak_width", "gini"))
    assert main.main(["score", "--metric", *arguments]) == 2
    said = capsys.readouterr().err
    assert message in said and said.count("\n") == 1


def test_a_metric_that_is_declared_in_this_process_is_none_of_ours(tmp_path):
    from benchmark import api
    from benchmark.methods.registry import metrics

    before = set(metrics())
    exec(PEAK, {"__name__": "__main__"})
    try:
        assert set(metrics()) == before and "peak_width" in api.METRICS
    finally:
        del api.METRICS["peak_width"]


def test_the_declaration_is_read_in_a_process_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("my.py").write_text(PEAK)
    found = declared(MetricRef.parse("my.py:peak_width", base=tmp_path))
    assert found.settings == ("share=0.5", "share=0.25")
    assert (found.spec.name, found.spec.better, found.spec.version) == (
        "peak_width",
        "lower",
        3,
    )
    assert found.spec.needs == {"heatmaps"} and not found.spec.partial
    with pytest.raises(RuntimeError):
        found.spec(None, None, None, np.random.default_rng(0))
