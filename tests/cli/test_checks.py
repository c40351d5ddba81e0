"""What is wrong on the command line is said, and what only reads files is done, without importing torch."""

import json
import os
import subprocess
import sys
import textwrap

import pytest

from benchmark import store
from benchmark.cli import evaluating, main
from benchmark.jobs import own
from benchmark.methods import declared
from benchmark.utils import syntax
from tests.helpers.places import ROOT

MINE = """
    import torch
    from dataclasses import dataclass, field
    from typing import ClassVar

    from benchmark.api import metric

    raise RuntimeError("this file must not be run to know its names")

    @dataclass
    class Mine:
        layer: str | None = None
        count: ClassVar[int] = 3
        seen: list = field(default_factory=list, init=False)

    class Heir(Mine):
        pass

    class Plain:
        pass

    try:
        class Inner:
            pass
    except ImportError:
        pass

    @metric(needs={"heatmaps"}, track="heatmap", better="higher", unit="", version=1, source="")
    def sound(e, target, batch, rng):
        return e
"""
NETWORK = ["--network", "mine.py:sound", "--images", "."]
TYPOS = [
    (["evaluate", "mien.py:Mine"], "no method file 'mien.py'"),
    (["evaluate", "mine.py:Mien"], "no class in mine.py: 'Mien'; did you mean Mine"),
    (
        ["evaluate", "mine.py:Mine?layr=3"],
        "no setting of Mine 'layr'; did you mean layer",
    ),
    (["evaluate", "mine.py:Mine?count=3"], "no setting of Mine 'count'"),
    (["evaluate", "mine.py:Mine?seen=3"], "no setting of Mine 'seen'"),
    (["evaluate", "mine.py:Plain?a=3"], "no setting of Plain 'a'"),
    (["evaluate", "baselines/grad_cam.py:GradCam"], "did you mean GradCAM"),
    (["evaluate", "captum:Ocllusion"], "did you mean Occlusion"),
    (["evaluate", "captun:Occlusion"], "did you mean captum"),
    (["evaluate", "zennit:EpsilonPlusFlt"], "did you mean EpsilonPlusFlat"),
    (["evaluate", "none.npz"], "no file of maps"),
    (
        ["evaluate", "mine.py:Mine", "--metric", "my.py:f"],
        "no file of a metric 'my.py'",
    ),
    (["evaluate", "mine.py:Mine", "--metric", "mine.py:soud"], "did you mean sound"),
    (["evaluate", "mine.py:Mine", "--profile", "ofline"], "did you mean offline"),
    (
        ["evaluate", "mine.py:Mine", "--profile", "offline", "--targets", "digit"],
        "digits",
    ),
    (["evaluate", "mine.py:Mine", *NETWORK[:2]], "--network needs --images"),
    (["evaluate", "mine.py:Mine", *NETWORK, "--weights", "w.pt"], "there is no file"),
    (
        ["evaluate", "mine.py:Mine", "--network", "mine.py:b", *NETWORK[2:]],
        "no function in",
    ),
    (
        ["evaluate", "mine.py:Mine", "--network", "tim:x", *NETWORK[2:]],
        "did you mean timm",
    ),
    (["evaluate", "mine.py:Mine", "--nopage"], "unrecognized arguments"),
    (["score", "--metric", "mine.py:soud"], "did you mean sound"),
    (
        ["evaluate", "mine.py:Mine", "--profile", "offline", "--baseline", "none"],
        "'none' is not a rows file",
    ),
    (["score", "--json"], "--json is for --metric"),
    (["check", "mine.py:Mien"], "did you mean Mine"),
    (["prepare", "digts"], "did you mean digits"),
    (["verify", "--profile", "ofline"], "did you mean offline"),
    (["plan", "--profile", "ofline"], "did you mean offline"),
    (["study", "xnn", "--profile", "offline", "--target", "digits/cn"], "digits/cnn"),
    (["list", "metrics", "gin"], "did you mean gini"),
    (["diff", "HEAD", "--profile", "offline", "--fail-on", "lst"], "did you mean lost"),
]
COMMANDS = [
    "use", "list", "prepare", "train", "explain", "score", "replicate", "plan", "report", "mend", "show", "readme",
    "verify", "judge", "rekey", "compare", "diff", "evaluate", "check", "new", "study",
]  # fmt: skip
MOVED = [
    "diff",
    "results/offline/rows.csv",
    "moved.csv",
    "--profile",
    "offline",
    "--fail-on",
    "lost",
]
READ = [
    *(["list", what] for what in ("profiles", "datasets", "methods", "metrics")),
    ["show", "--profile", "offline"],
    [
        "diff",
        "results/offline/rows.csv",
        "results/offline/rows.csv",
        "--profile",
        "offline",
    ],
    MOVED,
]
RUN = """
    import contextlib, io, json, sys
    from benchmark.cli import main

    for arguments in json.load(sys.stdin):
        out, said = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(said):
            try:
                code = main.main(arguments)
            except SystemExit as stop:
                code = stop.code
        texts = said.getvalue(), out.getvalue()
        slow = [name for name in ("torch", "scipy.stats") if name in sys.modules]
        print(json.dumps([arguments, code, *texts, slow]))
"""


@pytest.fixture(scope="module")
def said(tmp_path_factory):
    """By command line: exit code, stderr, stdout, and which slow libraries were imported; all in one process."""
    folder = tmp_path_factory.mktemp("checks")
    (folder / "mine.py").write_text(textwrap.dedent(MINE))
    (folder / "results").symlink_to(ROOT / "results")
    rows = store.read_rows(ROOT / "results" / "offline" / "rows.csv")
    moved = rows["value"].where(rows["metric"] != "gini", rows["value"] * 1.1)
    store.write_rows(folder / "moved.csv", rows.assign(value=moved))
    every = [
        *(typo for typo, _ in TYPOS),
        *READ,
        *([name, "--help"] for name in COMMANDS),
    ]
    done = subprocess.run(
        [sys.executable, "-P", "-c", textwrap.dedent(RUN)],
        input=json.dumps(every),
        capture_output=True,
        text=True,
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT), "GLASSBENCH_HOME": str(ROOT)},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = map(json.loads, done.stdout.splitlines())
    return {tuple(arguments): facts for arguments, *facts in lines}


@pytest.mark.parametrize(
    ("arguments", "message"),
    TYPOS,
    ids=lambda x: " ".join(x) if isinstance(x, list) else "",
)
def test_a_typo_is_one_line_without_torch(said, arguments, message):
    code, text, _, slow = said[tuple(arguments)]
    assert code == 2 and message in text, text
    assert text.count("\n") == 1 and not slow


@pytest.mark.parametrize(
    "arguments", [*READ, *([name, "--help"] for name in COMMANDS)], ids=" ".join
)
def test_reading_files_and_help_do_without_torch(said, arguments):
    code, text, _, slow = said[tuple(arguments)]
    assert code == 0, text
    assert not slow


def test_what_moved_is_told(said):
    _, _, text, _ = said[tuple(MOVED)]
    assert "better" in text and "gini" in text


def test_names_are_not_wrapped_in_a_pipe(said):
    _, _, out, _ = said["list", "metrics"]
    lines = out.splitlines()
    for row in declared.metrics():
        (line,) = (line for line in lines if f" {row['metric']} " in line[:60])
        assert row["asks"] in line and row["source"] in line


def test_the_profile_of_a_network_of_ones_own():
    assert evaluating.OWN == own.NAME


def test_every_command_is_asked():
    (group,) = (a for a in main.parser()._actions if a.choices and "list" in a.choices)
    assert sorted(group.choices) == sorted(COMMANDS)


# --------------------------------------------------------------------------------------------- what a file binds


@pytest.mark.parametrize(
    ("text", "is_lacking"),
    [
        ("class Other: pass", True),
        ("def f():\n    class X: pass", True),
        ("class X: pass", False),
        ("if True:\n    class X: pass", False),
        ("try:\n    pass\nexcept Exception:\n    X = 1", False),
        ("match 1:\n    case 1:\n        X = 1", False),
        ("from a import X", False),
        ("from a import b as X", False),
        ("import X.y", False),
        ("X: int = 3", False),
        ("for X in (): pass", False),
        ("(X := 3)", False),
        ("from a import *", False),
        ("globals()['X'] = 3", False),
        ("exec('X = 3')", False),
        ("def __getattr__(name): ...", False),
        ("class (", False),  # Python says what is wrong with it
    ],
)
def test_a_name_is_lacking_only_where_that_is_certain(tmp_path, text, is_lacking):
    path = tmp_path / "a.py"
    path.write_text(text)
    assert syntax.lacks(path, "X") is is_lacking


def test_the_fields_of_a_dataclass(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(textwrap.dedent(MINE))
    found = {name: syntax.fields(cls) for name, cls in syntax.classes(path).items()}
    assert {name: fields and list(fields) for name, fields in found.items()} == {
        "Mine": ["layer"],
        "Heir": None,
        "Plain": {},
        "Inner": {},
    }


def test_values_are_followed_through_names_and_imports(tmp_path):
    path = tmp_path / "a.py"
    path.write_text(
        "from benchmark.metrics.parts import ANNOTATIONS\nB = {'b'}\nx = ANNOTATIONS | B\ny = f()\n"
    )
    value = lambda name: syntax.value(syntax.bound(path)[name].value, path)
    assert value("x") == {"heatmaps", "parts", "part_importance", "b"}
    with pytest.raises(ValueError):
        value("y")
