"""A new method among known ones: its own folder, the known rows as they are, each difference tested."""

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmark import store
from benchmark.cli import main
from benchmark.jobs import evaluate, evaluation_page
from benchmark.leaderboard import places, placing, stats, tables
from benchmark.methods import registry
from benchmark.methods.registry import MethodRef
from benchmark.pipeline import cells, collect, explain, inputs, provenance, score
from benchmark.utils.near_names import UnknownName
from tests.helpers.boards import differences, placing_lines
from tests.helpers.imports import loaded
from tests.helpers.places import ROOT

REPORTED = ROOT / "results" / "reported"
KNOWN = [
    f"{ROOT / 'baselines' / 'random_map.py'}:RandomMap",
    f"{ROOT / 'baselines' / 'edge_map.py'}:EdgeMap",
]
GRAD_NORM = """
from benchmark.api import Explanation


class GradNorm:
    name = "Gradient norm"

    def fit(self, target, reference, rng):
        return self

    def explain(self, target, batch, rng):
        x = batch.x.clone().requires_grad_()
        target(x).amax(dim=1).sum().backward()
        return Explanation(heatmaps=x.grad.abs().sum(dim=1))
"""


@pytest.fixture
def known(trained, monkeypatch):
    """A workspace whose profile has two known methods, explained and scored, and a user's folder to work in."""
    shutil.copytree(REPORTED, trained.root / "results" / "reported")
    trained.params["explain"] |= {
        "methods": KNOWN,
        "images": 20,
    }  # with fewer the exact test takes longer
    trained.save()
    for cell in cells.cells(trained.profile, "blobs"):
        explain.explain_cell(cell)
        score.score_cell(cell)
    home = trained.root / "home"
    home.mkdir()
    (home / "mine.py").write_text(GRAD_NORM)
    monkeypatch.chdir(home)
    return trained


def test_a_network_may_be_explained_by_fewer_methods(known):
    """The page shows the known maps that there are."""
    known.params["zoo"]["blobs"]["other"] = known.params["zoo"]["blobs"]["cnn"]
    known.params["explain"]["only"] = {"blobs/other": {"methods": KNOWN[:1]}}
    known.save()
    for step in ("train", "explain", "score"):
        assert main.main([step]) == 0
    found = place(known, page=True)
    assert (found.folder / "plots" / "gallery-blobs-other.png").is_file()
    assert set(found.rows["target"]) == {"cnn", "other"}


def place(workspace, method="mine.py:GradNorm", page=False, **options):
    return evaluate.evaluate_methods(workspace.profile, [method], page=page, **options)


def snapshot(root):
    return {
        p: p.stat().st_mtime_ns
        for p in root.rglob("*")
        if p.is_file() and "evaluations" not in p.parts
    }


def test_without_a_page_no_library_that_draws_is_loaded():
    code = (
        "import benchmark.jobs.evaluate; "
        "from benchmark.leaderboard.render import brief_console, placing_console"
    )
    assert loaded(code, "matplotlib", "seaborn") == set()


def test_a_method_is_placed_and_nothing_of_the_others_is_touched(known):
    before = snapshot(known.root)
    found = place(known, page=True)
    assert snapshot(known.root) == before
    assert found.folder == known.root / "results" / "evaluations" / "tiny" / "GradNorm"
    for name in (
        "rows.csv",
        "leaderboard.csv",
        "differences.csv",
        "index.html",
        "provenance.json",
        "plots/gallery-blobs-cnn.png",
    ):
        assert (found.folder / name).stat().st_size > 0
    rows = store.read_rows(found.folder / "rows.csv")
    assert set(rows.method) == {"Gradient norm"} and set(rows.profile) == {"tiny"}
    assert set(rows.metric) == set(registry.scoring_metrics())
    board = places.of(found.placed, "heatmap")
    assert set(board.label) == {"Gradient norm", "Random map", "Edge map (Sobel)"}
    assert not found.left_out and not found.means_only
    page = (found.folder / "index.html").read_text()
    assert "Gradient norm" in page and "Edge map (Sobel)" in page
    assert page.index('id="new-Gradient-norm"') < page.index('id="findings"')
    assert not list(found.folder.glob("reproduction*"))  # of papers: nothing


def test_its_rows_are_those_that_the_pipeline_gives(known):
    found = place(known)
    known.params["explain"]["methods"] = [
        *KNOWN,
        f"{known.root / 'home' / 'mine.py'}:GradNorm",
    ]
    for step in (explain.explain_images, score.score_explanations):
        list(step(known.profile, "blobs"))
    rows, _ = collect.profile_rows(known.profile)
    same = rows[rows.method == "Gradient norm"]
    assert store.rows_text(same) == store.rows_text(found.rows)


def test_a_second_time_nothing_is_made_again(known):
    first = place(known)
    made = {
        p: p.stat().st_mtime_ns
        for p in (first.folder / "artifacts").rglob("cnn-0/mine*.npz")
    }
    assert len(made) == 2
    place(known)
    assert {p: p.stat().st_mtime_ns for p in made} == made


def forget_cells(known):
    """As in a fresh clone: no explanations, no scores."""
    for cell in cells.cells(known.profile, "blobs"):
        cell.explanation.unlink()
        cell.scores.unlink()


def test_explanations_that_are_here_get_the_scores_that_they_lack(known):
    before = place(known).frame
    for cell in cells.cells(known.profile, "blobs"):
        cell.scores.unlink()
    found = place(known)
    assert found.means_only == 0 and not found.left_out
    pd.testing.assert_frame_equal(found.frame, before)


def test_a_metric_that_changed_leaves_the_other_rows_where_they_are(known):
    rows, _ = collect.profile_rows(known.profile)
    paths = store.Paths("tiny")
    store.write_rows(paths.rows, rows)
    facts = provenance.provenance(known.profile)
    store.write_json(
        paths.results / "provenance.json",
        facts | {"metrics": facts["metrics"] | {"gini": "another"}},
    )
    forget_cells(known)
    found = place(known)
    theirs = found.frame[found.frame.method != "Gradient norm"]
    assert found.without == {"gini": 2} and not found.left_out
    assert "gini" not in set(theirs.metric) and "average_drop" in set(theirs.metric)
    assert any("no rows of gini" in line for line in evaluate.notes(found))


@pytest.fixture
def committed(known):
    """The known methods' rows and provenance are committed, and their cells are gone: the paths of both."""
    paths = store.Paths("tiny")
    rows, _ = collect.profile_rows(known.profile)
    store.write_rows(paths.rows, rows)
    store.write_json(
        paths.results / "provenance.json", provenance.provenance(known.profile)
    )
    forget_cells(known)
    return paths


def test_known_rows_are_the_committed_ones_where_the_hashes_match(known, committed):
    found = place(known)
    assert found.means_only == 2 and not found.left_out
    assert set(found.frame.label) >= {"Random map", "Edge map (Sobel)"}
    assert set(found.compared["Gradient norm"].verdict) == {
        "unknown"
    }  # means alone prove nothing
    assert any("no tests" in line for line in evaluate.notes(found))


def test_a_page_needs_no_explanations_of_known_methods(known, committed):
    """As right after the installation: committed rows, and no file of an explanation."""
    assert not any(
        cell.explanation.exists() for cell in cells.cells(known.profile, "blobs")
    )
    found = evaluate.evaluate_methods(known.profile, ["mine.py:GradNorm"])
    page = (found.folder / "index.html").read_text()
    assert "Gradient norm" in page and "Edge map (Sobel)" in page
    assert list((found.folder / "plots").glob("gallery-*.png"))


def change_provenance(paths, part, key):
    """As if the committed rows had been made of something else."""
    facts = store.read_json(paths.results / "provenance.json")
    facts[part] = {**facts[part], key: "another"}
    store.write_json(paths.results / "provenance.json", facts)


@pytest.mark.parametrize(
    ("part", "key", "rows", "said"),
    [
        ("data", "blobs", 2, "the data blobs"),
        ("weights", "blobs/cnn-0", 2, "the network blobs/cnn-0"),
        ("methods", MethodRef.parse(KNOWN[0]).use, 1, "the method"),
        ("steps", "score", 2, "the code that"),
    ],
)
def test_committed_rows_of_something_else_are_left_out(
    known, committed, part, key, rows, said
):
    change_provenance(committed, part, key)
    left_out = evaluate._known(
        known.profile, cells.cells(known.profile, "blobs")
    ).left_out
    assert sum(left_out.values()) == rows
    assert left_out and all(why.startswith(said) for why in left_out)


def test_rows_that_were_left_out_can_be_recomputed(known, committed):
    change_provenance(committed, "steps", "score")
    assert any("--recompute" in line for line in evaluate.notes(place(known)))
    again = place(known, recompute=True)
    assert not again.left_out
    verdicts = set(again.compared["Gradient norm"].verdict)
    assert verdicts <= set(placing.VERDICTS)
    scores = [cell.scores for cell in cells.cells(known.profile, "blobs")]
    assert not any(
        path.exists() for path in scores
    )  # made in the evaluation's own folder
    shown = places.of(again.placed, "heatmap")
    assert set(shown.label) == {"Gradient norm", "Random map", "Edge map (Sobel)"}


def test_differences_are_tested_on_the_committed_values_of_single_images(known):
    rows, instances = collect.profile_rows(known.profile)
    paths = store.Paths("tiny")
    store.write_rows(paths.rows, rows)
    store.write_json(
        paths.results / "provenance.json", provenance.provenance(known.profile)
    )
    store.write_values(paths.values, instances)
    wanted = place(known).compared["Gradient norm"]
    forget_cells(known)
    found = place(known)
    assert not found.means_only and not found.left_out
    pd.testing.assert_frame_equal(found.compared["Gradient norm"], wanted, rtol=1e-5)
    assert set(wanted.verdict) <= set(placing.VERDICTS)

    store.write_values(
        paths.values, instances.assign(value=instances.value + 1)
    )  # of other rows than the committed ones
    assert place(known).means_only == 2


def test_a_network_that_is_not_there_is_trained_and_one_that_is_stays(
    workspace, monkeypatch
):
    shutil.copytree(REPORTED, workspace.root / "results" / "reported")
    (workspace.root / "mine.py").write_text(GRAD_NORM)
    monkeypatch.chdir(workspace.root)
    place(workspace)
    weights = store.Paths("tiny").target("blobs", "cnn", 0)
    stamp = weights.stat().st_mtime_ns
    place(workspace)
    assert weights.stat().st_mtime_ns == stamp


def test_a_method_that_fails_is_on_the_board_as_failed(known, capsys):
    (known.root / "home" / "mine.py").write_text(
        GRAD_NORM.replace("x = batch", "1 / 0; x = batch")
    )
    assert main.main(["evaluate", "mine.py:GradNorm", "--no-page"]) == 1
    said = capsys.readouterr()
    assert "ZeroDivisionError: division by zero (mine.py:" in said.out + said.err
    assert store.read_rows(
        store.ROOT / "results/evaluations/tiny/GradNorm/rows.csv"
    ).status.unique().tolist() == ["failed"]


def test_json_is_alone_on_stdout(known, capfd):
    """Whatever the method prints, in its own process."""
    (known.root / "home" / "mine.py").write_text(
        GRAD_NORM.replace("x = batch", "print('hello', flush=True); x = batch")
    )
    command = ["evaluate", "mine.py:GradNorm", "--no-page", "--json"]
    assert main.main(command) == 0
    said = capfd.readouterr()
    facts = json.loads(said.out)
    assert said.out.count("\n") == 1 and "explain done" in said.err
    (brief,) = (each for each in facts["methods"] if each["track"] == "heatmap")
    assert {duel["rival"] for duel in brief["duels"]} == {
        "Random map",
        "Edge map (Sobel)",
    }
    assert not facts["failed"] and not facts["missing"]
    assert Path(facts["files"]["rows.csv"]).is_file()
    assert set(facts["files"]) == {
        "rows.csv",
        "leaderboard.csv",
        "differences.csv",
        "provenance.json",
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["mine.py:GradNrom"], "did you mean GradNorm"),
        (["mien.py:GradNorm"], "no method file 'mien.py'"),
        (["mine.py"], "path/to/file.py:ClassName, library:ClassName or maps.npz"),
        (["mine.py:GradNorm?layer=2"], "no setting of GradNorm 'layer'"),
        (["mine.py:GradNorm", "--targets", "blob"], "did you mean blobs"),
        (["mine.py:GradNorm", "--profile", "ofline"], "did you mean offline"),
        (["captm:Saliency"], "did you mean captum"),
        (["none.npz"], "no file of maps 'none.npz'"),
        (["mine.npz"], "mine.npz is no npz archive, or one that is cut short; maps"),
        ([], "name a method"),
        ([KNOWN[0].replace("random_map", "copy")], "is on the board already"),
    ],
)
def test_bad_use_is_one_line_and_exit_code_2(known, capsys, arguments, message):
    shutil.copy(ROOT / "baselines" / "random_map.py", known.root / "home" / "copy.py")
    Path("mine.npz").write_text("no archive")
    arguments = [
        a.replace(str(ROOT / "baselines"), str(known.root / "home")) for a in arguments
    ]
    assert main.main(["evaluate", *arguments]) == 2
    text = capsys.readouterr().err
    assert message in text and text.count("\n") == 1 and "Traceback" not in text


def test_networks_are_chosen_by_data_set_or_name(known):
    recipe = known.profile.zoo["blobs"]["cnn"]
    silent = dataclasses.replace(recipe, explain=False)
    zoo = {"a": {"x": recipe, "y": silent}, "b": {"x": recipe, "z": recipe}}
    profile = known.profile.replace(datasets=("a", "b"), zoo=zoo)
    chosen = lambda *names: {
        d: sorted(t) for d, t in profile.with_networks(names).zoo.items()
    }
    assert chosen() == {"a": ["x"], "b": ["x", "z"]}
    assert (
        chosen("b/x") == {"b": ["x"]}
        and chosen("x") == {"a": ["x"], "b": ["x"]}
        and chosen("b") == {"b": ["x", "z"]}
    )
    assert profile.with_networks(["z"]).datasets == ("b",)
    with pytest.raises(UnknownName, match="did you mean"):
        profile.with_networks(["a/y"])


# --------------------------------------------------------------------------------------------- maps


def test_maps_that_were_made_elsewhere(known, capsys):
    assert main.main(["evaluate", "--images", "images.npz"]) == 0
    assert "blobs/cnn/seed=0" in capsys.readouterr().out
    images = store.read_npz(Path("images.npz"))
    batch = inputs.load_batch(cells.cells(known.profile, "blobs")[0])
    np.testing.assert_array_equal(images["blobs/x"], batch.x.numpy())
    np.testing.assert_array_equal(images["blobs/ids"], batch.ids.numpy())
    np.savez("maps.npz", **{"blobs/cnn/seed=0": images["blobs/x"].mean(axis=1)})
    assert main.main(["evaluate", "maps.npz", "--no-page", "--name", "My maps"]) == 0
    rows = store.read_rows(store.ROOT / "results/evaluations/tiny/My-maps/rows.csv")
    assert set(rows.method) == {"My maps"} and (rows.status == "ok").sum() > 8
    assert set(rows[rows.track == "surrogate"].status) == {"not applicable"}


@pytest.mark.parametrize(
    ("maps", "status", "reason"),
    [
        (
            {"other/cnn/seed=0": np.ones((20, 28, 28))},
            "not applicable",
            "no maps of blobs/cnn/seed=0; it has other/cnn",
        ),
        (
            {"blobs/cnn/seed=0": np.ones((3, 28, 28))},
            "failed",
            "explains 3 images of 20",
        ),
        ({"blobs/cnn/seed=0": np.full((20, 28, 28), np.nan)}, "failed", "NaN"),
        (
            {"blobs/cnn/seed=0": np.ones((20, 7, 7))},
            "failed",
            "heatmaps is 7x7, images 28x28",
        ),
    ],
)
def test_maps_that_do_not_fit(known, maps, status, reason):
    np.savez("maps.npz", **maps)
    rows = place(known, "maps.npz").rows
    assert set(rows.status) == {status} and rows.reason.str.contains(reason).all()


# --------------------------------------------------------------------------------------------- placing


def board(gain, seeds=2, images=20, rng=0):
    """A table of three methods: ``mine`` better than ``low`` by ``gain`` and like ``same``."""
    rng = np.random.default_rng(rng)
    base = rng.normal(size=(seeds, images))
    values = {
        "mine": base,
        "low": base - gain + 0.1 * rng.normal(size=base.shape),
        "same": base + 0.01 * rng.normal(size=base.shape),
    }
    key = {
        "profile": "p",
        "track": "heatmap",
        "paper": "user",
        "dataset": "d",
        "target": "t",
        "metric": "gini",
    }
    rows, instances = [], []
    for method, table in values.items():
        for seed in range(seeds):
            row = key | {
                "method": method,
                "setting": "",
                "metric_setting": "keep=0.2",
                "seed": seed,
            }
            rows.append(
                row
                | {
                    "value": table[seed].mean(),
                    "n": images,
                    "better": "higher",
                    "unit": "",
                    "metric_version": 1,
                    "status": "ok",
                    "reason": "",
                }
            )
            instances += [
                row | {"image": i, "value": v} for i, v in enumerate(table[seed])
            ]
    return values, store.tidy_rows(pd.DataFrame(rows)), pd.DataFrame(instances)


def test_differences_are_those_of_the_board():
    values, rows, instances = board(0.5, seeds=3)
    found = differences(rows, instances, "mine").set_index("rival")
    stack = np.array([values[name] for name in ("mine", "low", "same")])
    expected = stats.compare(stack, "higher")
    assert found.difference["low"] == pytest.approx(expected.gain[0, 1])
    assert found.p["low"] == pytest.approx(expected.p[0, 1])
    assert found.low["same"] == pytest.approx(expected.low[0, 2])
    assert found.verdict["low"] == "beats" and found.verdict["same"] != "beats"
    low = differences(rows, instances, "low").set_index("rival")
    assert set(low.verdict) == {"loses to"}


@pytest.mark.parametrize("better", ["higher", "lower"])
def test_the_direction_of_the_metric_decides_who_wins(better):
    _, rows, instances = board(0.5)
    found = differences(rows.assign(better=better), instances, "mine")
    verdict = found.set_index("rival").verdict["low"]
    assert verdict == ("beats" if better == "higher" else "loses to")


def test_standing_names_whom_it_beats():
    _, rows, instances = board(0.5)
    frame = tables.leaderboard(rows, instances)
    (line,) = placing.standing(
        frame, differences(rows, instances, "mine"), "mine"
    ).to_dict("records")
    assert line["beats"] == "low" and line["loses to"] == ""
    assert line["ranked"] == 3 and line["rank"] in (1, 2)


def test_the_terminal_names_rivals_by_their_place():
    _, rows, instances = board(0.5)
    lines = placing_lines(rows, instances, "mine", "low", width=100)
    places = [
        line[:10].rstrip() for line in lines if line[:4] in ("   1", ">  2", ">  3")
    ]
    assert places == ["   1  same", ">  2  mine", ">  3  low"]
    mine, low = (line for line in lines if line.startswith("gini, keep=0.2"))
    assert "2 of 3  3 " in mine and mine.endswith(" 1")  # beats 3; not 1
    assert low.endswith("  3 of 3         1 2")  # loses to both


def test_equal_methods_are_never_told_apart():
    _, rows, instances = board(0.0)
    twin = instances[instances.method == "mine"].assign(method="same")
    instances = pd.concat([instances[instances.method != "same"], twin])
    found = differences(rows, instances, "mine").set_index("rival")
    assert found.p["same"] == 1 and found.verdict["same"] == "same"


def test_a_false_alarm_is_as_rare_as_promised():
    """Of tables without any difference, 1 in 20 at most may say otherwise."""
    wrong = 0
    for i in range(60):
        found = differences(*board(0.0, rng=i)[1:], "mine")
        wrong += found.verdict.isin(["beats", "loses to"]).any()
    assert wrong <= 8  # of 3, 99 % of such runs have 8 or fewer


def test_committed_galleries_are_shown_where_the_known_maps_are_not_here(tmp_path):
    """Only if every committed row holds: the picture is then of these networks."""
    paths = store.Paths("offline", tmp_path)
    file = paths.results / "plots" / "gallery-blobs-cnn.png"
    with store.atomic(file) as picture:
        picture.write(b"png")
    networks = [("blobs", "cnn"), ("blobs", "other")]
    shown = evaluation_page._committed_pictures(paths, networks)
    assert shown == {("blobs", "cnn"): b"png"}
    rows = pd.DataFrame({"value": [1.0]})
    assert evaluate._Known(means=rows).is_committed
    moved = evaluate._Known(means=rows, left_out={"other weights": 1})
    assert not moved.is_committed and not evaluate._Known().is_committed
