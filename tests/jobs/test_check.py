"""``glassbench check`` finds what a method does wrong, and the line; ``glassbench new`` writes what
it finds nothing in."""

import functools
from pathlib import Path

import pytest

from benchmark.cli import main
from benchmark.jobs import check
from benchmark.methods import templates
from tests.helpers.places import PLUGINS

BLAMED = {  # the line of each misbehaving plug-in that is to change, and a word of the finding
    "raises_in_fit": ("raise RuntimeError", "RuntimeError: no luck"),
    "raises_in_explain": ("raise RuntimeError", "RuntimeError: no luck"),
    "nan": ("return Explanation", "NaN"),
    "infinite": ("return Explanation", "infinite"),
    "wrong_shape": ("return Explanation", "28x29, images 28x28"),
    "wrong_count": ("return Explanation", "11 images of 12"),
    "wrong_dtype": ("return Explanation", "complex128"),
    "memory": ("held.append", "MemoryError"),
    "weights": (".data.add_(1)", "changes the target's weights"),
    "train_mode": ("target.net.train()", "changes the target's modes"),
    "hooks": ("register_forward_hook", "changes the target's hooks"),
    "global_seed": ("torch.manual_seed", "changes torch's global random state"),
    "prints": ("print(", "prints 4.0 MB"),
    "graph": ("return Explanation", "on a graph"),
    "exits": ("sys.exit(0)", "called sys.exit(0)"),
    "segfaults": ("ctypes.string_at", "SIGSEGV"),
    "forks": ("os.fork()", "may not fork"),
    "writes": ("write_text", "may write into its working directory only"),
    "order": ("batch.x[:1]", "in reverse order get other explanations"),
    "script": ("", "its name is '<script>"),
}
WITHOUT_HINT = ("raises_in_fit", "raises_in_explain", "segfaults", "script")


@pytest.fixture(autouse=True)
def on_the_cpu(monkeypatch):
    monkeypatch.setenv("GLASSBENCH_DEVICE", "cpu")


def wrong(entry):
    return [f for f in check.check_method(str(entry)) if f.wrong]


@functools.cache
def first_finding(name):
    return wrong(f"{PLUGINS / name}.py:Mine")[0]


@pytest.mark.parametrize("name", BLAMED)
def test_what_is_wrong_is_said(name):
    assert BLAMED[name][1] in first_finding(name).text


@pytest.mark.parametrize("name", [name for name, (line, _) in BLAMED.items() if line])
def test_the_line_to_change_is_named(name):
    lines = (PLUGINS / f"{name}.py").read_text().splitlines()
    blamed = BLAMED[name][0]
    (number,) = (
        i for i, code in enumerate(lines) if blamed in code and "def " not in code
    )
    first = first_finding(name)
    assert first.where == f"{name}.py:{number + 1}"
    assert first.code == lines[number].strip()


@pytest.mark.parametrize("name", [name for name in BLAMED if name not in WITHOUT_HINT])
def test_a_usual_mistake_has_a_hint(name):
    assert first_finding(name).hint


def test_an_endless_loop_is_stopped_and_its_line_named(monkeypatch):
    monkeypatch.setattr(check, "LIMITS", check.Limits(seconds=8, gigabytes=4))
    monkeypatch.setattr(check, "_UNTIL", 4)
    (found,) = wrong(f"{PLUGINS / 'endless.py'}:Mine")
    assert "took longer than the 8 seconds" in found.text
    assert found.code in ("while True:", "pass") and "bound the loop" in found.hint


def test_a_good_method_has_nothing_to_change(capsys):
    assert main.main(["check", f"{PLUGINS / 'good.py'}:Mine"]) == 0
    text = capsys.readouterr().out
    assert (
        text.endswith("nothing to change\n")
        and "WRONG" not in text
        and "judged as heatmap" in text
    )


def test_exit_code_1_and_the_hint_where_there_is_something(capsys):
    assert main.main(["check", f"{PLUGINS / 'weights.py'}:Mine"]) == 1
    text = capsys.readouterr().out
    assert (
        "weights.py:13:  next(target.net.parameters()).data.add_(1)" in text
        and "change: work on a copy" in text
    )


@pytest.mark.parametrize("kind", sorted({*templates.KINDS} - {"metric"}))
def test_a_starter_passes_and_keeps_to_the_plug_in_api(
    kind, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    assert main.main(["new", "mine.py", "--kind", kind]) == 0
    assert "glassbench check mine.py:MyMethod" in capsys.readouterr().out
    text = Path("mine.py").read_text()
    assert "from benchmark.api import" in text and "benchmark." not in text.replace(
        "benchmark.api", ""
    )
    assert len(text.splitlines()) < 60
    found = check.check_method("mine.py:MyMethod")
    assert not [f for f in found if f.wrong], found
    assert {
        "heatmap": "heatmap",
        "concept": "heatmap",
        "surrogate": "surrogate",
        "decoder": "reconstruction",
    }[kind] in found[2].text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["new", "mine.py"], "mine.py is there already"),
        (["new", "mine"], "a method is a Python file, like mine.py"),
        (["check", "mine.py:Mien"], "did you mean Mine"),
        (["check", "mien.py:Mine"], "no method file"),
    ],
)
def test_bad_use_is_one_line_and_exit_code_2(
    tmp_path, monkeypatch, capsys, arguments, message
):
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text((PLUGINS / "good.py").read_text())
    assert main.main(arguments) == 2
    text = capsys.readouterr().err
    assert message in text and text.count("\n") == 1


BODY = """
import numpy as np
import torch
from benchmark.api import Explanation


class Mine:
    name = "Mine"

    def fit(self, target, reference, rng):
        return self

    def explain(self, target, batch, rng):
        {}
        return Explanation(heatmaps=maps)
"""


@pytest.mark.parametrize(
    ("lines", "line", "text"),
    [
        (
            [
                "noise = np.random.default_rng().random(batch.x.shape[-2:])",
                "maps = batch.x.mean(dim=1).numpy() * noise",
            ],
            0,
            "the same seed gives another explanation",
        ),
        (["batch.x.add_(1)", "maps = batch.x.mean(dim=1)"], 0, "images"),
        (
            ["x = batch.x", "x = x / x.max()", "maps = x.mean(dim=1)"],
            1,
            "by themselves get other explanations",
        ),
        (
            ["maps = batch.x.mean(dim=1)", "maps = maps - maps.mean(dim=0)"],
            1,
            "by themselves get other explanations",
        ),
        (
            [
                "p = next(target.net.parameters())",
                "p.requires_grad_()",
                "maps = batch.x.mean(dim=1)",
            ],
            1,
            "requires_grad",
        ),
        (
            ["maps = torch.rand(len(batch), *batch.x.shape[-2:])"],
            0,
            "torch's global random state",
        ),
        (["maps = batch.x.mean(dim=(1, 2))"], 1, "expected 3 axes"),
        (["maps = {}['missing']"], 0, "KeyError"),
        (
            [
                "light = batch.x.mean(dim=(1, 2, 3))",
                "maps = batch.x.mean(dim=1) / light[:, None, None] ** 2",
                "maps = maps / maps.max()  # the first image has the maximum",
            ],
            2,
            "single images by themselves get other explanations",
        ),
        (
            ["maps = batch.x.mean(dim=1) * len(batch.boxes)"],
            0,
            "batch.boxes is withheld",
        ),
        (
            ["maps = batch.x.mean(dim=1) + batch.y[:, None, None]"],
            0,
            "batch.y is withheld",
        ),
    ],
)
def test_more_that_goes_wrong(tmp_path, lines, line, text):
    path = tmp_path / "mine.py"
    path.write_text(BODY.replace("{}", "\n        ".join(lines), 1))
    first = wrong(f"{path}:Mine")[0]
    code = [*lines, "return Explanation(heatmaps=maps)"][line]
    assert text in first.text and first.code == code


GRADIENT = [
    "x = batch.x.clone().requires_grad_()",
    "target(x).amax(dim=1).sum().backward()",
    "maps = x.grad.abs().sum(dim=1)",
]


def checked(tmp_path, lines, **changes):
    path = tmp_path / "mine.py"
    text = BODY.replace("{}", "\n        ".join(lines), 1)
    for old, new in changes.items():
        text = text.replace(old, new)
    path.write_text(text)
    return check.check_method(f"{path}:Mine")


@pytest.mark.parametrize(
    ("lines", "text", "hint"),
    [
        (GRADIENT, "mass in the class's quadrant 99%, chance 25%, edge map 41%", ""),
        ([*GRADIENT, "maps = maps.mT"], "quadrant 49%", "rows and columns swapped"),
        ([*GRADIENT, "maps = 1 - maps"], "negated 99%", "larger must mean more"),
        (
            [
                GRADIENT[0],
                "target((x - target.mean) / target.std).amax(1).sum().backward()",
                GRADIENT[2],
            ],
            "quadrant 0%",
            "normalises pixels by itself",
        ),
    ],
)
def test_a_map_that_does_not_fit_the_truth_is_warned_of_and_fails_nothing(
    tmp_path, lines, text, hint
):
    found = checked(tmp_path, lines)
    truth = found[-1]
    assert truth.what == "truth" and text in truth.text and hint in truth.hint
    assert truth.doubtful == bool(hint) and not any(f.wrong for f in found)
    last = list(check.report(found))
    assert last[-1] == "nothing to change"
    assert any(line.startswith("WARN   truth") for line in last) == bool(hint)


def test_labels_that_are_declared_are_given(tmp_path):
    lines = ["maps = batch.x.mean(dim=1) + 0 * batch.y[:, None, None]"]
    found = checked(
        tmp_path, lines, **{'name = "Mine"': 'name, needs = "Mine", {"labels"}'}
    )
    assert not any(f.wrong for f in found), found


def test_another_need_is_refused(tmp_path):
    lines = ["maps = batch.x.mean(dim=1)"]
    found = checked(
        tmp_path, lines, **{'name = "Mine"': 'name, needs = "Mine", {"boxes"}'}
    )
    assert 'it needs boxes; a method may need {"labels"} only' in found[-1].text


FIELD = """
from dataclasses import dataclass
from benchmark.api import Explanation


@dataclass
class Inner:
    layer: str = "conv1"
    name = "Inner"

    def fit(self, target, reference, rng):
        return self

    def explain(self, target, batch, rng):
        return Explanation(heatmaps=batch.x.mean(dim=1))


@dataclass
class Needs:
    k: int
    name, fit, explain = Inner.name, Inner.fit, Inner.explain


@dataclass
class Mine(Inner):
    of: object = {}
    name = "Mine"
"""


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("'a;b=c'", "`;` separates settings"),
        ("('a', 'b;c')", "`;` separates settings"),
        (
            "type('Thing', (), {'__hash__': None, '__eq__': None})",
            "type has no text of its own",
        ),
        ("Inner(layer='conv2')", "a row names Inner without its settings"),
        ("Needs(3)", "a row names Inner without its settings"),
    ],
)
def test_a_setting_that_no_row_can_tell_apart_is_named_with_its_line(
    tmp_path, value, why
):
    path = tmp_path / "mine.py"
    path.write_text(
        FIELD.replace("{}", f"field(default_factory=lambda: {value})", 1).replace(
            "dataclass\n", "dataclass, field\n", 1
        )
    )
    (found,) = wrong(f"{path}:Mine")
    assert (
        found.what == "setting"
        and found.text.startswith("rows cannot tell of=")
        and why in found.text
    )
    assert found.code.startswith("of: object") and found.hint


@pytest.mark.parametrize(
    "value", ["0.12345678", "(1, 4)", "'a=b'", "None", "Inner()", "{'a': [1, 2.5]}"]
)
def test_a_setting_that_rows_tell_apart_is_no_finding(tmp_path, value):
    path = tmp_path / "mine.py"
    path.write_text(
        FIELD.replace("{}", f"field(default_factory=lambda: {value})", 1).replace(
            "dataclass\n", "dataclass, field\n", 1
        )
    )
    assert not wrong(f"{path}:Mine")


def test_randomness_from_rng_is_no_finding(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        BODY.replace("{}", "maps = rng.random((len(batch), *batch.x.shape[-2:]))", 1)
    )
    assert not wrong(f"{path}:Mine")


def test_a_file_with_a_syntax_error_is_a_finding_with_its_line(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text("x = 1\nclass Mine(:\n    pass\n")
    (found,) = wrong(f"{path}:Mine")
    assert "SyntaxError" in found.text and found.where == "mine.py:2"
