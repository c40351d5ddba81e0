"""The papers' own experiments: what a profile asks for, units that are not made twice, rows, verdicts, pictures."""

import contextlib
import shutil
import types

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from benchmark import engine, papers, store
from benchmark.api import NotApplicable
from benchmark.cli import main
from benchmark.methods.contract import PixelsOnly
from benchmark.papers import Check, Number, Outcome, Picture
from benchmark.pipeline import replicate, report
from benchmark.pipeline.profile import Profile
from benchmark.utils.near_names import ProfileError, UnknownName
from tests.helpers.places import ROOT

calls = []
EXTERNAL = """
class Mine:
    name = "Mine"

    def fit(self, target, reference, rng):
        return self

    def explain(self, target, batch, rng): ...
"""


def widths(study, rng, *, scale=1.0):
    """Works on a network."""
    calls.append((study.dataset, study.target_name, study.seed))
    x = study.data.batch("test", study.data.sample("test", 4)).x
    logits = study.target(x)
    return Outcome(
        [
            Number(
                "n_width",
                scale * logits.shape[1],
                method="ruler",
                setting={"layer": 1, "k": 0.5},
                n=4,
                better="lower",
            )
        ],
        {"logits": logits.numpy()},
    )


def coins(study, rng, *, m=2, fail=""):
    """Works on nothing."""
    if fail == "raise":
        raise RuntimeError("the coin\nrolled away")
    if fail == "not applicable":
        raise NotApplicable("no coin")
    if fail == "NaN":
        return Outcome([Number("heads", float("nan"))])
    if fail == "other":
        return 3
    return Outcome(
        [Number("heads", rng.integers(m), setting={"m": m}, dataset="synthetic")]
    )


def verdicts(rows):
    for row in rows[rows.metric == "n_width"].itertuples():
        yield Check(
            "LT1",
            row.value > 3,
            f"width {row.value:g}",
            row.dataset,
            row.target,
            row.seed,
        )
        yield Check(
            "LT1",
            row.value > 100,
            f"width {row.value:g} is not above 100",
            row.dataset,
            row.target,
            row.seed,
        )


def pictures(found):
    figure = Figure()
    figure.add_subplot().plot(found.units[0].arrays["logits"][0])
    yield Picture("logits", "Logits <b>", "Of one image", figure)
    yield Picture("raster", "Raster", "The same", figure, raster=True, photo=True)


@pytest.fixture
def project(trained, monkeypatch):
    """The trained workspace with a paper of two experiments."""
    here = {
        "": types.SimpleNamespace(
            TITLE="Rulers", CITATION="R. Uler, 1999", NOTES=("width & depth",)
        ),
        "replicate": types.SimpleNamespace(
            __name__=__name__, widths=widths, coins=coins
        ),
        "verdicts": types.SimpleNamespace(verdicts=verdicts),
        "figures": types.SimpleNamespace(pictures=pictures),
    }
    monkeypatch.setattr(papers, "part", lambda paper, name="": here.get(name))
    trained.here = here
    trained.params |= {"papers": ["layer_trees"], "replicate": {"layer_trees": []}}
    calls.clear()
    return trained


def ask(project, *entries):
    project.params["replicate"]["layer_trees"] = list(entries)
    return replicate.tasks(project.profile, "layer_trees")


def run_all(project):
    for task in replicate.tasks(project.profile, "layer_trees"):
        with contextlib.suppress(engine.Failed):
            replicate.replicate_task(task)
    return replicate.collect(
        project.profile, pd.DataFrame(columns=list(store.ROW_COLUMNS))
    )


WIDTHS = {"experiment": "widths", "dataset": "blobs", "target": "cnn"}


def test_units_are_every_network_seed_and_swept_value(project):
    tasks = ask(
        project,
        WIDTHS,
        {"experiment": "coins", "seeds": [3, 4], "sweep": {"m": [2, 5]}},
    )
    assert [(t.dataset, t.target, t.seed, dict(t.settings)) for t in tasks] == [
        ("blobs", "cnn", 0, {}),
        ("", "", 3, {"m": 2}),
        ("", "", 3, {"m": 5}),
        ("", "", 4, {"m": 2}),
        ("", "", 4, {"m": 5}),
    ]
    assert len({t.path for t in tasks}) == 5
    titles = [replicate.unit_of(task).title for task in tasks]
    assert titles[0] == "layer_trees.widths blobs/cnn-0"
    assert titles[2] == "layer_trees.coins seed=3 m=5"
    assert ask(project, {**WIDTHS, "target": "c*"})[0].target == "cnn"


@pytest.mark.parametrize(
    "entry, words",
    [
        (
            {"experiment": "width"},
            r"replicate.layer_trees\[0\].experiment: .*did you mean widths",
        ),
        ({"experiment": "verdicts"}, "no experiment"),
        ({**WIDTHS, "target": "cmm"}, "no network of blobs: .cmm.; there are cnn"),
        ({**WIDTHS, "dataset": "blob"}, "did you mean blobs"),
        ({**WIDTHS, "scales": 2}, "did you mean scale"),
        ({**WIDTHS, "sweep": {"scal": [2]}}, "did you mean scale"),
    ],
)
def test_what_is_not_there_is_said_before_any_work(project, entry, words):
    with pytest.raises(ProfileError, match=words):
        ask(project, entry)


def test_an_external_method_of_an_experiment_sees_pixels_only(tmp_path):
    (tmp_path / "mine.py").write_text(EXTERNAL)
    assert isinstance(replicate._method(f"{tmp_path}/mine.py:Mine"), PixelsOnly)
    own = replicate._method("baselines/random_map.py:RandomMap")
    assert type(own).__name__ == "RandomMap"


def test_the_same_unit_twice_is_refused(project):
    with pytest.raises(ProfileError, match="twice"):
        ask(project, WIDTHS, WIDTHS)


def test_numbers_become_rows_and_claims_become_shares(project):
    ask(project, WIDTHS, {"experiment": "coins", "seeds": [1]})
    rows, evidence, found = run_all(project)
    assert (
        set(rows.track) == {"replication"}
        and set(rows.paper) == {"layer_trees"}
        and set(rows.status) == {"ok"}
    )
    (width,) = rows[rows.metric == "n_width"].to_dict("records")
    assert (width["dataset"], width["target"], width["method"], width["setting"]) == (
        "blobs",
        "cnn",
        "ruler",
        "k=0.5;layer=1",
    )
    assert (width["value"], width["n"], width["better"], width["seed"]) == (
        4.0,
        4,
        "lower",
        0,
    )
    (coin,) = rows[rows.metric == "heads"].to_dict("records")
    assert (coin["dataset"], coin["target"], coin["seed"]) == ("synthetic", "", 1)
    (claim,) = rows[rows.metric == "LT1"].to_dict("records")
    assert (claim["value"], claim["n"], claim["unit"]) == (0.5, 2, "share")
    assert evidence == {
        "LT1": "blobs/cnn: width 4 is not above 100 (does not hold) | blobs/cnn: width 4"
    }
    assert [u.experiment for u in found["layer_trees"].units] == ["widths", "coins"]
    assert found["layer_trees"].units[0].arrays["logits"].shape == (4, 4)


def reported(project):
    """The folder of a profile that was run whole."""
    ask(project, WIDTHS)
    project.params["explain"]["methods"] = [f"{ROOT}/baselines/random_map.py:RandomMap"]
    project.save()
    published = ROOT / "results" / "reported"
    shutil.copytree(published, project.root / "results" / "reported")
    for command in ("explain", "score"):
        assert main.main([command, "blobs"]) == 0
    run_all(project)
    return report.write(project.profile)


def test_committed_rows_are_judged_again_by_new_claims(project, capsys):
    """The networks are gone: their sizes are in networks.json."""
    folder = reported(project)
    before = store.read_rows(folder / "rows.csv")
    table = (folder / "reproduction.csv").read_text()
    shutil.rmtree(folder / "artifacts")

    assert main.main(["judge"]) == 0
    assert "claims: 0 hold, 1 mixed" in capsys.readouterr().out
    pd.testing.assert_frame_equal(store.read_rows(folder / "rows.csv"), before)
    assert (folder / "reproduction.csv").read_text() == table

    wide = Check("LT1", True, "wide enough", "blobs", "cnn", 0)
    project.here["verdicts"].verdicts = lambda rows: [wide]
    assert main.main(["judge"]) == 0
    assert "claims: 1 hold, 0 mixed" in capsys.readouterr().out
    after = store.read_rows(folder / "rows.csv")
    claims = lambda rows: rows["metric"] == "LT1"
    assert after.loc[claims(after), "value"].tolist() == [1.0]
    pd.testing.assert_frame_equal(
        after[~claims(after)].reset_index(drop=True),
        before[~claims(before)].reset_index(drop=True),
    )
    (line,) = (
        pd.read_csv(folder / "reproduction.csv").query("id == 'LT1'").to_dict("records")
    )
    assert line["verdict"] == "holds" and "train images" in line["scale"]
    board = pd.read_csv(folder / "leaderboard.csv")
    assert board.loc[board["metric"] == "LT1", "mean"].tolist() == [1.0]


def test_rows_without_the_sizes_of_networks_cannot_be_judged(project, capsys):
    folder = reported(project)
    (folder / "networks.json").unlink()
    capsys.readouterr()
    assert main.main(["judge"]) == 2
    text = capsys.readouterr().err
    assert "networks.json" in text and text.count("\n") == 1


def test_evidence_lists_what_contradicts_the_claim_first():
    words = {
        "a": [True, True],
        "b": [False, False],
        "c": [True, False, False],
        **{letter: [True] for letter in "defg"},
    }
    assert (
        replicate._quoted(words)
        == "b (does not hold) | c (holds in 1 of 3) | a | d | and 3 more"
    )


def test_a_unit_is_not_made_twice_and_is_made_again_when_it_changes(project):
    ask(project, WIDTHS)
    run_all(project)
    run_all(project)
    assert len(calls) == 1
    ask(project, {**WIDTHS, "scale": 2.0})
    rows, _, _ = run_all(project)
    assert len(calls) == 2 and rows.loc[rows.metric == "n_width", "value"].item() == 8


def test_a_damaged_unit_is_made_again(project):
    (task,) = ask(project, WIDTHS)
    run_all(project)
    task.path.write_bytes(b"PK nonsense")
    rows, _, _ = replicate.collect(
        project.profile, pd.DataFrame(columns=list(store.ROW_COLUMNS))
    )
    assert rows.status.item() == "failed" and "damaged" in rows.reason.item()
    rows, _, _ = run_all(project)
    assert set(rows.status) == {"ok"} and len(calls) == 2


@pytest.mark.parametrize(
    "fail, status, words",
    [
        ("raise", "failed", "RuntimeError: the coin rolled away"),
        ("NaN", "failed", "heads"),
        ("other", "failed", "returns an Outcome, not int"),
        ("not applicable", "not applicable", "no coin"),
    ],
)
def test_a_unit_that_fails_is_a_row_and_costs_no_other(project, fail, status, words):
    ask(project, {"experiment": "coins", "fail": fail}, WIDTHS)
    rows, _, _ = run_all(project)
    (lost,) = rows[rows.metric == "coins"].to_dict("records")
    assert (
        lost["status"] == status and words in lost["reason"] and np.isnan(lost["value"])
    )
    assert (rows[rows.metric == "n_width"].status == "ok").all()


def test_undecided_checks_have_a_row_of_their_own(project):
    def verdicts(rows):
        for claim, *found in (("LT1", True, None), ("LT1", None, None), ("LT2", True)):
            for holds in found:
                yield Check(claim, holds, f"{claim} {holds}", "d", "t")

    ask(project, WIDTHS)
    project.here["verdicts"] = types.SimpleNamespace(verdicts=verdicts)
    rows, evidence, _ = run_all(project)
    claims = rows[rows.metric.str.startswith("LT")]
    shares = claims[["metric", "metric_setting", "value", "n"]].values.tolist()
    assert shares == [
        ["LT1", "", 0.25, 4],
        ["LT1", "undecided", 0.75, 4],
        ["LT2", "", 1.0, 1],
    ]
    assert evidence["LT1"] == "d/t: LT1 None (undecided) | d/t: LT1 True"


def test_checks_on_extensions_are_apart(project):
    def verdicts(rows):
        yield Check("LT1", True, "own", "d", "t")
        for target in ("t", "u"):
            yield Check("LT1", False, "theirs", "d", target, extension=True)
        yield Check("LT2", True, "theirs", "d", "t", extension=True)

    ask(project, WIDTHS)
    project.here["verdicts"] = types.SimpleNamespace(verdicts=verdicts)
    rows, evidence, _ = run_all(project)
    claims = rows[rows.metric.str.startswith("LT")]
    shares = claims[["metric", "target", "metric_setting", "value"]].values.tolist()
    assert sorted(shares) == [
        ["LT1", "t", "", 1.0],
        ["LT1", "t", "extension", 0.0],
        ["LT1", "u", "extension", 0.0],
        ["LT2", "t", "extension", 1.0],
    ]
    own, _, theirs = evidence["LT1"].partition(" | Extensions: ")
    assert own == "d/t: own" and "d/u: theirs (does not hold)" in theirs
    assert evidence["LT2"] == "Extensions: d/t: theirs"


@pytest.mark.parametrize(
    ("holds", "note"),
    [
        ([True, True], ""),
        ([False], " (does not hold)"),
        ([None, None], " (undecided)"),
        ([True, False, None], " (holds in 1 of 3, undecided in 1)"),
        ([False, None], " (holds in 0 of 2, undecided in 1)"),
        ([True, False], " (holds in 1 of 2)"),
    ],
)
def test_evidence_says_how_often_it_holds(holds, note):
    assert replicate._with_count("E", holds) == f"E{note}"


def test_verdicts_that_fail_are_a_row(project):
    ask(project, WIDTHS)
    project.here["verdicts"] = types.SimpleNamespace(
        verdicts=lambda rows: rows["no such column"]
    )
    rows, evidence, _ = run_all(project)
    assert rows[rows.metric == "verdicts"].status.item() == "failed" and not evidence


def test_a_broken_picture_costs_only_itself_in_its_chapter(project):
    ask(project, WIDTHS)
    found = run_all(project)[2]["layer_trees"]
    chapter = report.chapter("layer_trees", found)
    assert [p["name"] for p in chapter["pictures"]] == [
        "layer_trees-logits",
        "photo-layer_trees-raster",
    ]
    assert (
        b"<svg" in chapter["pictures"][0]["svg"] and "svg" not in chapter["pictures"][1]
    )
    assert chapter == report.chapter("layer_trees", found)  # byte for byte
    project.here["figures"] = types.SimpleNamespace(
        pictures=lambda found: found.units[9]
    )
    chapter = report.chapter("layer_trees", found)
    assert chapter["pictures"] == [] and "IndexError" in chapter["lost"]


def test_chapters_are_drawn_side_by_side_and_stand_in_their_order():
    found = {
        name: papers.Found(pd.DataFrame(columns=list(store.ROW_COLUMNS)), [])
        for name in reversed(papers.names())
    }
    chapters = report.chapters(found)
    assert [chapter["paper"] for chapter in chapters] == list(found)
    assert chapters == [
        report.chapter(name, nothing) for name, nothing in found.items()
    ]


def test_a_chapter_whose_process_dies_is_named(monkeypatch):
    lost = lambda units, label: [
        engine.Done(unit, error="its worker process was killed") for unit in units
    ]
    monkeypatch.setattr(engine, "run", lost)
    with pytest.raises(
        RuntimeError, match="no chapter for xnn: its worker process was killed"
    ):
        report.chapters({"xnn": None})


def test_side_by_side_is_map_in_other_processes():
    jobs = [("a", 1), ("b", 2), ("c", 3)]
    assert report.side_by_side(len, jobs) == [2, 2, 2]
    with pytest.raises(RuntimeError, match="no picture for x: TypeError"):
        report.side_by_side(sum, [("x", 1)])


@pytest.mark.parametrize("name", papers.names())
def test_every_paper_says_what_it_is(name):
    package = papers.part(name)
    assert package.TITLE and package.CITATION
    assert all(isinstance(note, str) for note in package.NOTES)


def test_an_unknown_paper_is_refused():
    with pytest.raises(UnknownName):
        papers.part("layer_tree")


@pytest.mark.parametrize("name", main.profiles())
def test_every_profiles_experiments_are_there(name):
    profile = Profile.read(main.profiles()[name])
    assert all(replicate.tasks(profile, paper) for paper in profile.papers)
