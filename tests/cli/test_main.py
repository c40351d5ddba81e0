"""The command line: exit codes, one clear line for bad input, nothing lost."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import yaml

from benchmark import store
from benchmark.cli import main
from benchmark.pipeline import cells, collect
from benchmark.pipeline.profile import Profile
from tests.helpers.command import call, one_line
from tests.helpers.workspace import plugin

REPORTED = store.ROOT / "results" / "reported"


@pytest.mark.parametrize(
    "command",
    [
        "use",
        "list",
        "prepare",
        "train",
        "explain",
        "score",
        "report",
        "replicate",
        "show",
        "readme",
        "compare",
        "diff",
        "study",
    ],
)
def test_help_has_examples(command, capsys):
    with pytest.raises(SystemExit) as stop:
        call(command, "--help")
    assert stop.value.code == 0
    assert f"glassbench {command}" in capsys.readouterr().out.split("examples:")[1]


@pytest.mark.parametrize("arguments", [[], ["frobnicate"], ["list", "metrcs"], ["use"]])
def test_bad_use_is_one_line_and_exit_code_2(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        call(*arguments)
    assert stop.value.code == 2
    one_line(capsys)


@pytest.mark.parametrize(
    ("arguments", "near"), [(["dif"], "diff"), (["list", "metrcs"], "metrics")]
)
def test_an_unknown_word_suggests_a_near_one(arguments, near, capsys):
    with pytest.raises(SystemExit):
        call(*arguments)
    assert f"did you mean {near}" in one_line(capsys)


def test_a_reader_that_leaves_gets_no_complaint():
    command = f"{sys.executable} -m benchmark list metrics --json"
    done = subprocess.run(
        ["bash", "-c", f"{command} | true; echo ${{PIPESTATUS[0]}}"],
        capture_output=True,
        text=True,
        cwd=store.ROOT,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        check=True,
    )
    assert done.stderr == "" and done.stdout.strip() in ("1", "141")


def test_unknown_profile_suggests_a_near_one(workspace, capsys):
    assert call("use", "offlin") == 2
    assert "did you mean offline?" in one_line(capsys)


def test_unknown_data_set_suggests_a_near_one(workspace, capsys):
    assert call("train", "blob") == 2
    assert "did you mean blobs?" in one_line(capsys)


def test_unknown_section_of_params(workspace, capsys):
    workspace.params["expalin"] = workspace.params["explain"]
    workspace.save()
    assert call("train") == 2
    assert "params.yaml: no section 'expalin'; did you mean explain" in one_line(capsys)


@pytest.mark.parametrize("text", ["profile: [", "just text", ""])
def test_damaged_params(workspace, capsys, text):
    (workspace.root / "params.yaml").write_text(text)
    assert call("train") == 2
    line = one_line(capsys)
    assert "params.yaml is damaged" in line and "glassbench use offline" in line


def test_missing_params(workspace, capsys):
    (workspace.root / "params.yaml").unlink()
    assert call("train") == 2
    assert "choose a profile" in one_line(capsys)


def test_use_copies_a_profile_and_keeps_own_edits(workspace, capsys):
    path = workspace.root / "params.yaml"
    own = path.read_text()
    assert call("use", "offline") == 0
    assert path.read_text() == main.profiles()["offline"].read_text()
    assert (workspace.root / "params.tiny.yaml").read_text() == own
    path.write_text(path.read_text() + "# mine\n")
    capsys.readouterr()
    assert call("use", "offline") == 0
    assert path.read_text().endswith("# mine\n") and "own edits" in one_line(capsys)
    assert call("use", "offline", "--force") == 0
    assert path.read_text() == main.profiles()["offline"].read_text()


@pytest.mark.parametrize("name", main.profiles())
def test_every_profile_is_sound(name):
    profile = Profile.read(main.profiles()[name])
    assert profile.name == name
    assert profile.datasets
    for dataset in profile.datasets:
        assert profile.trainings(dataset), f"{name}: no network for {dataset}"


def test_missing_data_names_the_way_out(workspace, capsys):
    store.Paths("tiny").data("blobs").unlink()
    assert call("train") == 1
    assert "glassbench prepare blobs" in capsys.readouterr().err


def test_a_damaged_data_set_fails_its_cells_with_the_file_named(workspace, capsys):
    path = store.Paths("tiny").data("blobs")
    path.write_bytes(path.read_bytes()[:1000])
    assert call("train") == 1
    assert "blobs.npz is damaged" in capsys.readouterr().err


def test_damaged_weights_fail_the_cell_and_training_again_mends_it(workspace, capsys):
    workspace.params["explain"]["methods"] = [plugin(workspace)]
    workspace.save()
    assert call("train") == 0
    weights = store.Paths("tiny").target("blobs", "cnn", 0)
    weights.write_bytes(weights.read_bytes()[:-100])
    assert call("explain") == 1
    assert "cnn-0.safetensors" in capsys.readouterr().err
    weights.unlink()
    assert call("train") == 0
    assert call("explain") == 0


def test_a_damaged_explanation_is_recomputed(trained):
    workspace = trained
    workspace.params["explain"]["methods"] = [plugin(workspace)]
    workspace.save()
    assert call("explain") == 0
    (cell,) = cells.cells(workspace.profile, "blobs")
    whole = cell.explanation.read_bytes()
    cell.explanation.write_bytes(whole[:-50])
    assert call("explain") == 0
    assert cells.read_meta(cell.explanation)["status"] == "ok"


@pytest.fixture
def half_bad(trained):
    """One method that fails and one that does not."""
    shutil.copytree(REPORTED, trained.root / "results" / "reported")
    bad = plugin(trained, "raise RuntimeError('no luck')", name="bad")
    trained.params["explain"]["methods"] = [bad, plugin(trained, name="good")]
    trained.save()
    return trained


def test_a_failed_cell_is_exit_code_1_and_named_by_show(half_bad, capsys):
    assert call("explain") == 1
    assert call("explain", "--keep-going") == 0
    assert call("score") == 1
    assert call("report") == 0
    capsys.readouterr()
    assert call("show") == 1
    captured = capsys.readouterr()
    assert "no luck" in captured.err and "index.html" in captured.out


def test_the_report_has_all_its_files_in_spite_of_a_failed_cell(half_bad):
    for step in ("explain", "score", "report"):
        call(step)
    folder = half_bad.root / "results" / "tiny"
    assert {
        "rows.csv",
        "leaderboard.csv",
        "leaderboard.md",
        "reproduction.csv",
        "reproduction.md",
        "index.html",
        "plots",
        "provenance.json",
    } <= set(os.listdir(folder))
    assert set(store.read_rows(folder / "rows.csv").status) == {
        "ok",
        "failed",
        "not applicable",
    }
    assert "no luck" in (folder / "leaderboard.md").read_text()


def test_damaged_rows_are_one_line(workspace, capsys):
    folder = workspace.root / "results" / "tiny"
    folder.mkdir(parents=True)
    (folder / "rows.csv").write_text("profile,track\n1,2,3\n4")
    assert call("show") == 2
    assert "rows.csv is damaged" in one_line(capsys)


def test_a_full_disk_is_one_line(workspace, capsys, monkeypatch):
    import errno

    def full(fd):
        raise OSError(errno.ENOSPC, "No space left on device", "params.yaml")

    monkeypatch.setattr(os, "fsync", full)
    before = (workspace.root / "params.yaml").read_text()
    assert call("use", "offline") == 2
    assert "No space left on device" in one_line(capsys)
    assert (workspace.root / "params.yaml").read_text() == before


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        ("profiles", "quick"),
        ("datasets", "blobs"),
        ("targets", "cnn"),
        ("metrics", "average_drop"),
    ],
)
def test_lists_have_what_there_is(workspace, capsys, what, expected):
    assert call("list", what, "--json") == 0
    assert expected in capsys.readouterr().out
    assert call("list", what) == 0


def interrupt_explain(folder, after):
    """The real command, interrupted once ``after`` cells are there: (exit code, what it said)."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmark", "explain"],
        env=os.environ | {"GLASSBENCH_WORKERS": "2"},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # a background shell's child ignores it
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 60
    while len(list(folder.rglob("*.npz"))) < after and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=30)
    return process.returncode, err


def test_ctrl_c_leaves_whole_files_and_a_re_run_resumes(trained):
    """A real interrupt of a real process in the middle of its cells."""
    slow = "import time; time.sleep(0.4)"
    names = [f"m{i}" for i in range(8)]
    trained.params["explain"]["methods"] = [
        plugin(trained, slow, name=name) for name in names
    ]
    trained.save()
    folder = store.Paths("tiny").explanations("blobs")

    code, err = interrupt_explain(folder, after=2)

    assert code == 130, err
    assert "Traceback" not in err and "interrupted" in err
    files = list(folder.rglob("*"))
    assert not [f for f in files if f.suffix == ".tmp"]
    done = {f: f.stat().st_mtime_ns for f in files if f.is_file()}
    assert 2 <= len(done) < 8
    assert {cells.read_meta(file)["status"] for file in done} == {"ok"}  # whole
    assert call("explain") == 0
    assert len(list(folder.rglob("*.npz"))) == 8
    assert all(
        f.stat().st_mtime_ns == stamp for f, stamp in done.items()
    )  # not made twice


def test_rows_do_not_depend_on_the_process_or_the_number_of_workers(workspace):
    workspace.params["explain"]["methods"] = [
        plugin(workspace, name="a"),
        plugin(workspace, name="b"),
    ]
    workspace.save()
    texts = []
    for workers in ("1", "2"):
        for step in ("train", "explain", "score"):
            code = subprocess.run(
                [sys.executable, "-m", "benchmark", step],
                env=os.environ | {"GLASSBENCH_WORKERS": workers},
                check=False,
            ).returncode
            assert code == 0
        rows, instances = collect.profile_rows(workspace.profile)
        texts.append((store.rows_text(rows), instances.value.to_numpy()))
        for folder in ("targets", "explanations", "scores"):
            for file in (store.Paths("tiny").artifacts / folder).rglob("*.*"):
                file.unlink()
    assert texts[0][0] == texts[1][0]
    np.testing.assert_array_equal(texts[0][1], texts[1][1])


def test_markup_in_names_is_no_markup(workspace, capsys):
    workspace.params["explain"]["methods"] = ["[red]x.py:Mine"]
    workspace.save()
    assert call("explain") == 2
    assert "[red]x.py" in one_line(capsys)


def test_profiles_differ_only_in_scale():
    sections = {
        name: set(yaml.safe_load(path.read_text()))
        for name, path in main.profiles().items()
    }
    assert set(sections) == {
        "offline",
        "quick",
        "trees",
        "decoders",
        "cladec",
        "paper",
    }
    assert len({frozenset(s) for s in sections.values()}) == 1
    assert all(re.match(r"^# ", path.read_text()) for path in main.profiles().values())
