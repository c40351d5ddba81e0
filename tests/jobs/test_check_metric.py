"""``glassbench check`` of metrics: what breaks a law is said, with the line; what is sound passes, ours included."""

import functools
import json
from pathlib import Path

import pytest

from benchmark.api import METRICS
from benchmark.cli import main
from benchmark.jobs import check_metric, toy
from benchmark.jobs.check import Finding
from benchmark.methods.metric_refs import MetricRef, is_metric
from benchmark.methods.registry import metrics

HEAD = """
import time
import numpy as np
import torch
from benchmark.api import bounds, metric

@metric(needs={{{needs}}}, track="heatmap", better="{better}", unit="{unit}", version=1, source="me")
{above}
def mine(e, target, batch, rng):
"""
SOUND = """
    mass = np.abs(e.heatmaps).reshape(len(batch), -1)
    return mass.max(axis=1) / np.maximum(mass.sum(axis=1), 1e-9)
"""
# The body of each wrong metric: the finding, a part of its text, and of the line that is blamed (empty: of none).
WRONG = {
    "    return e.heatmaps.mean()": (
        "run",
        "returns shape (), not one number for each of 12 images",
        "return",
    ),
    "    return e.heatmaps.mean(axis=0)": ("run", "returns shape (28, 28)", "return"),
    "    return None": ("run", "returns a NoneType", "return"),
    "    return ['much'] * len(batch)": ("run", "returns values of type <U4", "return"),
    "    x = batch.x.requires_grad_()\n    return target(x).amax(1)": (
        "run",
        "on a graph",
        "return",
    ),
    "    raise KeyError('no luck')": ("run", "KeyError: 'no luck'", "raise"),
    "    return np.sort(e.heatmaps.mean(axis=(1, 2)))": (
        "order",
        "in reverse order",
        "return",
    ),
    "    m = e.heatmaps\n    m /= m.max()\n    return m.mean(axis=(1, 2))": (
        "e.heatmaps",
        "in place",
        "m /=",
    ),
    "    batch.x.clamp_(0, 0.5)\n    return e.heatmaps.mean(axis=(1, 2))": (
        "batch.x",
        "in place",
        "clamp_",
    ),
    "    z = np.random.rand(len(batch))\n    return z": (
        "numpy's global random state",
        "draw from rng",
        "rand",
    ),
    "    z = np.random.default_rng().random(len(batch))\n    return z": (
        "deterministic",
        "the same rng",
        "default_rng",
    ),
    "    m = e.heatmaps\n    return m.max(axis=(1, 2)) / m.sum(axis=(1, 2))": (
        "constant maps",
        "NaN or infinite",
        "return",
    ),
    "    return (e.scores.argmax(1) == 0) * 1.0": (
        "run",
        "it reads scores, which needs= does not name",
        "scores",
    ),
}
WARNED = {
    "    m = e.heatmaps / max(np.abs(e.heatmaps).max(), 1)\n    return m.mean(axis=(1, 2))": (
        "batch",
        "depends on the others",
    ),
    "    return np.tanh(np.abs(e.heatmaps)).mean(axis=(1, 2))": (
        "scale",
        "depends on the scale",
    ),
    "    return 100.0 * (e.heatmaps > 0).mean(axis=(1, 2))": (
        "bounds",
        "a fraction lies in [0, 1]",
    ),
    "    return batch.x.mean(dim=(1, 2, 3))": ("needs", "never reads heatmaps"),
    "    m = np.maximum(e.heatmaps, 0) + 1e-9\n"
    "    return -(batch.x.mean(1).numpy() * m).sum((1, 2)) / m.sum((1, 2))": (
        "direction",
        "higher is declared better",
    ),
}


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """A folder to work in; the toy networks are made once."""
    monkeypatch.setenv("GLASSBENCH_DEVICE", "cpu")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(check_metric, "toy", _toy)


_toy = functools.cache(toy.toy)


def source(body, needs='"heatmaps"', better="higher", unit="fraction", above=""):
    head = HEAD.format(needs=needs, better=better, unit=unit, above=above)
    return head.replace("\n\ndef", "\ndef") + body + "\n"


def found(text):
    """The findings of the checks in this process."""
    Path("my.py").write_text(text)
    Path("findings.jsonl").unlink(missing_ok=True)
    METRICS.pop("mine", None)
    check_metric.check_here(MetricRef.parse("my.py:mine", base=Path.cwd()), 1e4)
    lines = Path("findings.jsonl").read_text().splitlines()
    return [Finding(**json.loads(line)) for line in lines]


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of numpy, in this process
@pytest.mark.parametrize("body", WRONG)
def test_what_is_wrong_is_said_with_its_line(body):
    what, text, code = WRONG[body]
    first = next(f for f in found(source(body)) if f.wrong)
    assert first.what == what and text in first.text
    assert code in first.code and first.where.startswith("my.py:")
    assert "\n" not in first.text


@pytest.mark.parametrize("body", WARNED)
def test_what_may_be_wrong_is_warned_of(body):
    what, text = WARNED[body]
    every = found(source(body))
    assert not [f for f in every if f.wrong]
    (warned,) = (f for f in every if f.doubtful and f.what == what)
    assert text in warned.text and warned.hint


def test_the_declared_range_is_held():
    body = "    return 2.0 * (e.heatmaps > 0).mean(axis=(1, 2))"
    (wrong,) = (f for f in found(source(body, above="@bounds(0, 1)")) if f.wrong)
    assert wrong.what == "bounds" and "beyond [0, 1]" in wrong.text
    every = found(source(body, above="@bounds(0, 2)"))
    assert not [f for f in every if f.wrong or (f.doubtful and f.what == "bounds")]


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_extremes_are_tried_and_the_other_laws_all_the_same():
    body = "    mse = ((e.decoded - batch.x.numpy()) ** 2).mean((1, 2, 3))\n    return -10 * np.log10(mse)"
    every = found(source(body, needs='"decoded"', unit="dB"))
    (wrong,) = (f for f in every if f.wrong)
    assert wrong.what == "perfect images" and wrong.code.startswith("return")
    assert {"order", "bounds", "needs"} <= {f.what for f in every}
    body = """
    from benchmark.api import NotApplicable

    if (e.labels < 0).all():
        raise NotApplicable('no label')
    return (e.labels == batch.y.numpy()) * 1.0
"""
    every = found(source(body, needs='"labels"'))
    assert not [f for f in every if f.wrong]
    assert next(f for f in every if f.what == "applies").text.endswith("no label")


def test_a_metric_that_draws_is_told_apart_from_one_that_is_not_repeatable():
    every = found(source("    return (e.heatmaps > rng.random()).mean(axis=(1, 2))"))
    assert not [f for f in every if f.wrong]
    assert "draws from rng" in next(f for f in every if f.what == "rng").text


@pytest.mark.parametrize(
    "name",
    [
        "gini",
        "average_drop",
        "part_ranking",
        "o1",
        "acu_gt",
        "f_reg",
        "reconstruction_loss",
    ],
)
def test_nothing_is_wrong_with_our_own(name):
    spec = metrics()[name]
    file = Path(__import__("inspect").getsourcefile(spec.function))
    check_metric.check_here(MetricRef(str(file), name), 1e4)
    lines = [
        json.loads(line) for line in Path("findings.jsonl").read_text().splitlines()
    ]
    assert lines and not [line for line in lines if line["wrong"]]
    assert {line["what"] for line in lines} >= {
        "untouched",
        "deterministic",
        "order",
        "bounds",
    }


def test_the_starter_passes_in_a_process_of_its_own(capsys):
    assert main.main(["new", "my.py", "--kind", "metric"]) == 0
    assert "glassbench score --metric my.py:my_metric" in capsys.readouterr().out
    assert main.main(["check", "my.py:my_metric"]) == 0
    text = capsys.readouterr().out
    assert text.endswith("nothing to change\n") and "WARN" not in text


def test_an_endless_metric_is_stopped(monkeypatch):
    from benchmark.jobs import check

    monkeypatch.setattr(check, "LIMITS", check.Limits(seconds=6, gigabytes=4))
    monkeypatch.setattr(check, "_UNTIL", 3)
    Path("my.py").write_text(source("    while True:\n        pass"))
    (wrong,) = (f for f in check_metric.check_metric("my.py:mine") if f.wrong)
    assert "took longer than the 6 seconds" in wrong.text and wrong.where.startswith(
        "my.py:"
    )


def test_a_name_is_a_metric_if_the_file_says_so():
    Path("my.py").write_text("class A: pass\ndef f(): pass\ng = f\n")
    Path("only.py").write_text("def f(): pass\n")
    names = {
        "my.py:f": True,
        "my.py:g": True,
        "my.py:A": False,
        "my.py:h": False,
        "only.py:h": True,
        "no.py:f": False,
    }
    assert {name: is_metric(name) for name in names} == names
