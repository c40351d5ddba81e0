"""What a profile will take: counted work, what such work took, the schedule; and the file of times behind it."""

import json
import math
import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmark import data, engine, store
from benchmark.cli import commands, main
from benchmark.engine import Unit, pool
from benchmark.jobs import costs, plan
from benchmark.jobs.costs import Images, Model, Speed
from benchmark.jobs.plan import Planned
from benchmark.methods import metric_refs
from benchmark.pipeline import unit_times
from benchmark.pipeline.profile import Profile
from benchmark.pipeline.unit_times import Time
from benchmark.shared.work import Work
from benchmark.store import data_scripts as scripts
from benchmark.utils.near_names import UnknownName
from tests.helpers.places import ROOT as HOME
from tests.helpers.places import move_root
from tests.helpers.workspace import blobs


def planned(seconds, step="train", stage="blobs", name="", needs=(), source="measured"):
    name = name or f"u{seconds}"
    scores = name if step == "score" else ""
    return Planned(step, stage, name, needs, seconds, 0.5, source, scores)


# --------------------------------------------------------------------------------------------- schedules


def literal(seconds, workers):
    """Second by second: whoever is free takes the longest unit that waits."""
    waiting, left, clock = sorted(seconds), [0] * workers, 0
    while waiting or any(left):
        left = [waiting.pop() if waiting and not x else x for x in left]
        left, clock = [max(0, x - 1) for x in left], clock + 1
    return clock


@given(st.lists(st.integers(1, 20), max_size=12), st.integers(1, 5))
def test_the_schedule_is_that_of_a_clock(seconds, workers):
    part = [planned(float(s), name=str(i)) for i, s in enumerate(seconds)]
    assert plan.stage_seconds(part, workers) == literal(seconds, workers)


@given(st.lists(st.floats(0.01, 1e4), min_size=1, max_size=30), st.integers(1, 40))
def test_a_stage_takes_no_less_than_its_longest_unit_and_its_share(seconds, workers):
    found = plan.stage_seconds(
        [planned(s, name=str(i)) for i, s in enumerate(seconds)], workers
    )
    bound = max(max(seconds), sum(seconds) / workers)
    assert bound <= found * (1 + 1e-9) and found <= 4 / 3 * bound + max(seconds)
    assert workers < len(seconds) or found == max(seconds)


def test_stages_follow_each_other_and_the_report_is_last():
    found = [planned(10.0), planned(4.0), planned(3.0), planned(7.0, step="explain")]
    assert plan.makespan(found, 2) == plan.STAGE + 10 + plan.STAGE + 7 + plan.REPORT
    assert plan.makespan(found, 1) == 2 * plan.STAGE + 24 + plan.REPORT


def test_data_sets_of_a_step_run_side_by_side():
    found = [planned(9.0, stage="a"), planned(9.0, stage="b")]
    assert list(plan.stages(found)) == ["train"]
    assert plan.makespan(found, 2) == plan.STAGE + 9 + plan.REPORT


def test_what_bounds_a_plan_is_the_work_or_the_unit_that_others_wait_for():
    short = [planned(1000.0, name=str(i)) for i in range(40)]
    one_long = [planned(9000.0, name="long", step="explain"), planned(1.0)]
    found = short + one_long
    assert plan.bound(found, 1) is None and plan.bound(short, 10) is None
    assert plan.bound(found, 10).name == plan.bound(found, 100).name == "long"
    assert plan.bound(short, 1000) in short  # each has a worker of its own
    assert plan.bound([], 10) is None


def test_the_engine_runs_units_in_the_order_that_the_plan_takes(monkeypatch):
    units = [
        Unit(name, print, expected=s)
        for name, s in (("a", 1.0), ("b", 3.0), ("c", math.inf), ("d", 3.0))
    ]
    assert [unit.name for unit in engine.longest_first(units)] == ["c", "b", "d", "a"]
    late = [Unit("long", print, turn=1, expected=9.0), Unit("short", print, turn=0)]
    assert [unit.name for unit in engine.longest_first(late)] == ["short", "long"]
    began = []
    monkeypatch.setattr(
        pool,
        "_trusted",
        lambda units, workers: began.extend(u.name for u in units) or iter(()),
    )
    list(engine.run(units, label="test", workers=1))
    assert began == ["c", "b", "d", "a"]


def test_the_critical_path_by_hand():
    found = [
        planned(5.0, name="blobs/a-0", needs=("blobs/a-0",)),
        planned(50.0, name="blobs/b-0", needs=("blobs/b-0",)),
        planned(30.0, "explain", name="blobs/a/seed=0 m", needs=("blobs/a-0",)),
        planned(40.0, "score", name="blobs/a/seed=0 m", needs=("blobs/a-0",)),
        planned(
            20.0, "replicate", "paper", name="paper.x", needs=("blobs/b-0", "blobs/a-0")
        ),
        planned(60.0, "replicate", "paper", name="paper.y"),
    ]
    assert [(u.step, u.seconds) for u in plan.critical_path(found)] == [
        ("train", 5),
        ("explain", 30),
        ("score", 40),
    ]
    longer = [
        *found,
        planned(26.0, "replicate", "paper", name="paper.z", needs=("blobs/b-0",)),
    ]
    assert [u.name for u in plan.critical_path(longer)] == ["blobs/b-0", "paper.z"]


# --------------------------------------------------------------------------------------------- data sets


def test_a_data_set_is_counted_as_the_profile_cuts_it(monkeypatch):
    move_root(monkeypatch, HOME)
    nowhere = HOME / "datasets" / "processed" / "none"
    assert costs.images(nowhere / "mnist.npz", {"size": 28}) == Images(
        (1, 28, 28), 10, 60_000, 10_000
    )
    cut = {"size": 32, "train": 5000, "test": 2500}
    assert costs.images(nowhere / "cifar10.npz", cut) == Images(
        (3, 32, 32), 10, 5_000, 2_500
    )
    cub = costs.images(
        nowhere / "cub.npz", {"classes": 50}
    )  # size 224 by the script's defaults; the real ones: 1,500 and 1,389
    assert cub == Images((3, 224, 224), 50, 1_498, 1_448)


@pytest.mark.parametrize(
    "path", sorted((HOME / "datasets").glob("*.py")), ids=lambda path: path.stem
)
def test_every_script_says_how_large_its_data_set_is(path):
    full = scripts.literals(path).get("FULL")
    assert path.stem == "folder" or set(full) == {
        "channels",
        "classes",
        "train",
        "test",
    }


def test_a_prepared_data_set_speaks_for_itself(workspace):
    path = store.Paths("tiny").data("blobs")
    assert costs.images(path, {}) == Images((1, 28, 28), 4, 160, 40)


def test_one_that_was_prepared_otherwise_does_not(workspace):
    path = store.Paths("tiny").data("blobs")
    (workspace.root / "datasets" / "blobs.py").write_text(
        'FULL = {"channels": 3, "classes": 9, "train": 900, "test": 90}\nDEFAULTS = {"size": 16}\nx = print\n'
    )
    data.save(path, blobs(), {"params": {"size": 28}})
    assert costs.images(path, {}) == Images((3, 16, 16), 9, 900, 90)


def test_a_data_set_of_unknown_size_is_one_line(workspace, capsys):
    store.Paths("tiny").data("blobs").unlink()
    assert main.main(["plan"]) == 2
    err = capsys.readouterr().err
    assert "glassbench prepare blobs" in err and len(err.strip().splitlines()) == 1


# --------------------------------------------------------------------------------------------- counted units


def test_training_is_counted_in_images_and_steps(workspace):
    workspace.params["zoo"]["blobs"]["cnn"] |= {
        "epochs": 3,
        "batch": 50,
        "train_images": 100,
        "seeds": [0, 1],
    }
    (step, stage, unit), *_ = plan.units(workspace.profile)
    kind, work = plan.counter(workspace.profile).count(step, unit)
    assert (step, stage, kind) == ("train", "blobs", "train explainn_cnn")
    one = toy_logits()
    assert 3 * 100 * 2.5 * one < work.passes < 3 * 100 * 3 * one + 140 * one
    assert work.fits == 3 * 2 * 7  # epochs, batches, layers
    on_gpu = [
        unit
        for step, _, unit in plan.units(workspace.profile, gpu=True)
        if step == "train"
    ]
    assert [len(u.arguments[1]) for u in on_gpu] == [2]  # the seeds train as one
    assert plan.counter(workspace.profile, costs.GPUS["h200"]).count(
        "train", on_gpu[0]
    )[1].passes == pytest.approx(2 * work.passes)


def toy_logits():
    """Multiply-adds of explainn_cnn on 28 x 28 pixels and four classes, by hand."""
    conv1, conv2 = 26 * 26 * 20 * 9, 11 * 11 * 40 * 20 * 9
    return conv1 + conv2 + 5 * 5 * 40 * 64 + 64 * 4


def test_a_pass_is_counted_to_the_number(workspace):
    assert (
        plan.counter(workspace.profile).facts("blobs", "cnn").logits.passes
        == toy_logits()
    )


def test_seeds_do_the_same_work_and_other_settings_do_not(workspace):
    workspace.params["zoo"]["blobs"]["cnn"]["seeds"] = [0, 1]
    workspace.params["explain"]["methods"] = [
        {"use": f"{HOME}/baselines/score_cam.py:ScoreCAM", "channels": n}
        for n in (4, 8)
    ]
    count = plan.counter(workspace.profile)
    found = [
        count.count("explain", unit)[1].passes
        for step, _, unit in plan.units(workspace.profile)
        if step == "explain"
    ]
    assert found[:2] == found[2:] and found[0] < found[1] < 2 * found[0]


def test_passes_of_metrics_follow_what_a_method_offers():
    maps, labels = (
        costs.passes_per_image(frozenset({name})) for name in ("heatmaps", "labels")
    )
    assert labels <= 2 and 33 + 33 + 36 < maps < 250
    assert costs.passes_per_image(frozenset()) == 0


METRICS = """
import glassbench


@glassbench.metric(
    needs={"heatmaps"}, track="heatmap", better="lower", unit="fraction", version=1, source="mine",
    settings=({"share": 0.5}, {"share": 0.25}),
)
def width(e, target, batch, rng, *, share):
    return (e.heatmaps > share).mean(axis=(1, 2))


@glassbench.metric(
    needs={"heatmaps", "explain"}, calls=3, track="heatmap", better="lower", unit="fraction", version=1,
    source="mine",
)
def moved(e, target, batch, rng, explain):
    return 0 * e.heatmaps.mean(axis=(1, 2))


@glassbench.metric(
    needs={"labels"}, track="surrogate", better="higher", unit="fraction", version=1, source="mine"
)
def right(e, target, batch, rng):
    return e.labels == batch.y.numpy()
"""


def test_metrics_of_the_user_are_planned(profile, monkeypatch, capsys):
    """One that calls the method again by what it declares, others as a share of what this project's take."""
    (profile.root / "my.py").write_text(METRICS)
    monkeypatch.chdir(profile.root)
    profile.params["explain"] |= {
        "methods": [f"{HOME}/baselines/grad_cam.py:GradCAM"],
        "again": {"images": 4},
    }
    profile.save()
    chosen = [f"--metric=my.py:{name}" for name in ("width", "moved", "right")]
    assert main.main(["plan", "--profile", "tiny", "--json", *chosen]) == 0
    found = json.loads(capsys.readouterr().out)
    names = [unit["name"] for unit in found["units"] if unit["step"] == "metric"]
    cell = "blobs/cnn/seed=0 grad_cam"  # which offers no labels
    assert names == [f"{cell} my.py:width", f"{cell} my.py:moved"]
    assert found["steps"]["metric"]["units"] == 2

    refs = [metric_refs.MetricRef.parse(f"my.py:{n}") for n in ("width", "moved")]
    brought = profile.profile.with_metrics(refs)
    units = list(plan.units(brought))
    (explained,) = [unit for step, _, unit in units if step == "explain"]
    (scored,) = [unit for step, _, unit in units if step == "score"]
    width, moved = [unit for step, _, unit in units if step == "metric"]
    count = plan.counter(brought).count
    once = count("explain", explained)[1].passes / 8  # images
    assert count("metric", moved)[1].passes == pytest.approx(4 * (1 + 3) * once)
    kind, work = count("metric", width)
    in_all = costs._settings(frozenset({"heatmaps"}))
    assert work.passes == pytest.approx(2 / in_all * count("score", scored)[1].passes)
    assert kind == "score own"

    chain = plan.critical_path(plan.plan_profile(brought))
    assert [unit.step for unit in chain][:2] == ["train", "explain"]


# --------------------------------------------------------------------------------------------- what it took


GIGA, MEGA = 1e9, 1e6


def speed(kind, passes, fits, seconds):
    return Speed("quick", kind, passes, fits, seconds, 0.5)


def seconds(model, kind, passes, fits, **gpu):
    return model.seconds(kind, Work(passes * GIGA, fits * MEGA), **gpu)


works = st.tuples(st.floats(0.1, 1e4), st.floats(0.1, 1e3))


@settings(deadline=None)
@given(
    st.lists(works, min_size=5, max_size=12, unique_by=lambda w: w[0]),
    st.floats(0.01, 9),
    st.floats(1e-3, 1 / costs.CORE),
    st.floats(1e-3, 9),
)
def test_the_model_finds_the_seconds_of_work_that_it_knows(measured, a, b, c):
    took = [a + b * passes + c * fits for passes, fits in measured]
    model = Model(
        speed("train net", *work, s) for work, s in zip(measured, took, strict=True)
    )
    for work, s in zip(measured, took, strict=True):
        assert seconds(model, "train net", *work)[0] == pytest.approx(s, rel=1e-3)


def test_few_units_give_the_cost_of_a_pass_and_the_rest_is_the_fits():
    model = Model(
        [
            speed("explain slow", 2.6, 0.0, 3.1),
            speed("explain fits", 2.6, 10.0, 3.1),
            speed("explain fast", 260.0, 0.0, 2.0),
        ]
    )
    assert seconds(model, "explain slow", 26.0, 0.0) == (
        pytest.approx(3.0 + 1.0),
        "scaled",
    )
    assert seconds(model, "explain fits", 26.0, 20.0) == (
        pytest.approx(6.0 + 1.0),
        "scaled",
    )
    assert seconds(model, "explain fast", 2600.0, 0.0) == (
        pytest.approx(20.0),
        "scaled",
    )
    assert seconds(model, "explain fast", 2600.0, 0.0, ratio=10) == (
        pytest.approx(2.0),
        "scaled",
    )
    assert seconds(model, "explain other", 2600.0, 0.0)[1] == "guessed"
    assert seconds(model, "score x", 4.0, 0.0)[1] == "guessed"


def test_small_units_do_not_say_what_a_large_network_costs():
    """Seconds that differ by the clock alone, on passes that hardly differ: the slope is that of a core."""
    small = [
        speed("explain cladec", p, 0.03, s)
        for p, s in ((1.1, 2.3), (1.12, 2.9), (1.39, 4.1), (1.4, 3.8))
    ]
    assert seconds(Model(small), "explain cladec", 260.0, 0.03)[0] < 10 + 5


def test_a_guess_is_no_faster_than_a_core_multiplies():
    """Small networks stop early: what they took says little of a large one's multiply-adds."""
    small = [(5000.0, 0.5), (6000.0, 0.7), (8000.0, 1.2), (7000.0, 1.3)]
    model = Model(speed("train mlp", *work, 4 * work[1]) for work in small)
    assert seconds(model, "train vgg11", 2600.0, 0.01) == (
        pytest.approx(100.0),
        "guessed",
    )
    assert seconds(model, "train vgg11", 2600.0, 0.01, ratio=10) == (
        pytest.approx(10.0),
        "guessed",
    )
    found, source = seconds(model, "train mlp", 26000.0, 1.0)
    assert source == "scaled" and found < 10  # of its own kind it is known better


def test_a_gpu_speeds_up_passes_and_leaves_the_fits_alone():
    measured = [
        (100.0 * p, f, 2.0 * p + 3 * f)
        for p, f in ((1, 1), (2, 1), (1, 5), (7, 3), (4, 9))
    ]
    model = Model(speed("explain layer_trees", *line) for line in measured)
    assert seconds(model, "explain layer_trees", 10_000.0, 10.0, ratio=100)[
        0
    ] == pytest.approx(2 + 30, rel=1e-3)


def test_an_unknown_gpu_is_refused_with_near_names(workspace):
    with pytest.raises(UnknownName, match="did you mean h100"):
        plan.plan_profile(workspace.profile, gpu="h1000")


def test_what_does_not_fit_on_a_gpu_is_named(profile, capsys, monkeypatch):
    monkeypatch.setitem(costs.GPUS, "t4", costs.Gpu(40, 0.5))
    assert main.main(["plan", "--gpu", "t4", "--profile", "tiny"]) == 0
    out = capsys.readouterr().out
    assert re.search(
        r"^too large for one t4 \(0\.5 GB\): 3 units, .*blobs/cnn\s*\Z",
        out,
        re.MULTILINE,
    )


# --------------------------------------------------------------------------------------------- the table of speeds


def test_speeds_are_written_and_read_back_the_same_work_once(tmp_path):
    path = tmp_path / "speeds.csv"
    costs.write_speeds(
        [
            speed("train b", 2.0, 1.0, 3.0),
            speed("train a", 2.0, 1.0, 8.0),
            speed("train b", 2.0, 1.0, 5.0),
        ],
        path,
    )
    assert costs.read_speeds(path) == [
        speed("train a", 2.0, 1.0, 8.0),
        speed("train b", 2.0, 1.0, 4.0),
    ]


@pytest.mark.parametrize(
    "content",
    [
        "",
        "profile,kind\nquick,train\n",
        "profile,kind,passes,fits,seconds,gigabytes,device\nq,k,x,1,1,1,cpu\n",
    ],
)
def test_a_damaged_table_of_speeds_is_one_line(tmp_path, content):
    path = tmp_path / "speeds.csv"
    path.write_text(content)
    with pytest.raises(store.StoreError, match="git checkout"):
        costs.read_speeds(path)


def test_the_committed_table_knows_every_measured_step_and_profile():
    found = costs.read_speeds(HOME / "results" / "speeds.csv")
    assert {s.profile for s in found} == {"offline", "quick", "trees"}
    steps = {s.kind.split()[0] for s in found}
    # Calling again is planned from explain, metrics of the user from score.
    assert steps | {"again", "metric"} == set(plan.STEPS)


def test_calibration_takes_what_was_measured_here(profile):
    (found,) = [
        s for s in plan.calibration([profile.profile]) if s.kind.startswith("train")
    ]
    assert (found.kind, found.seconds, found.gigabytes, found.device) == (
        "train explainn_cnn",
        12.0,
        0.7,
        "cpu",
    )


# --------------------------------------------------------------------------------------------- the file of times


def paths():
    return store.Paths("tiny")


def test_times_are_noted_and_read_back(workspace, monkeypatch):
    monkeypatch.setattr(
        pool,
        "_trusted",
        lambda units, workers: (engine.Done(u, **engine.measured(u)) for u in units),
    )
    units = [
        Unit("slow", time.sleep, (0.05,)),
        Unit("bad", int, ("x",)),
        Unit("kept", str, (engine.KEPT,)),
    ]
    done = list(unit_times.run(paths(), "score", "blobs", units))
    assert [d.unit.name for d in done] == ["slow", "bad", "kept"] and done[1].error
    found = unit_times.read(paths())
    assert list(found) == [
        ("score", "slow")
    ]  # what failed, or found its work done, took no time worth knowing
    slow = found["score", "slow"]
    assert (
        0.05 <= slow.seconds < 5
        and slow.gigabytes > 0.05
        and (slow.device, slow.source) == ("cpu", "measured")
    )
    list(unit_times.run(paths(), "score", "blobs", [units[0]]))
    assert ("stage", "score blobs") in unit_times.read(paths())  # all of it ran, here


def test_the_longest_known_unit_starts_first_and_an_unknown_one_before(
    workspace, monkeypatch
):
    unit_times.write(
        paths(),
        {
            ("score", "a"): Time(1.0),
            ("score", "b"): Time(9.0),
            ("train", "c"): Time(99.0),
        },
    )
    seen = []
    monkeypatch.setattr(
        engine,
        "run",
        lambda units, label: (
            seen.extend((u.name, u.expected) for u in units) or iter(())
        ),
    )
    list(
        unit_times.run(paths(), "score", "blobs", [Unit(name, print) for name in "abc"])
    )
    assert seen == [("a", 1.0), ("b", 9.0), ("c", math.inf)]


def test_a_training_that_was_there_keeps_its_line(workspace):
    card = [{"seconds": 40.0}]
    unit = Unit("blobs/cnn-0", print)
    assert (
        unit_times._taken(
            engine.Done(unit, card, seconds=0.1, gigabytes=0.3), known=True
        )
        is None
    )
    assert (
        unit_times._taken(engine.Done(unit, card, seconds=0.1), known=False).seconds
        == 40.0
    )  # of an earlier run
    assert unit_times._taken(
        engine.Done(unit, card, seconds=41.0, gigabytes=0.3, device="cpu"), known=True
    ) == Time(41.0, 0.3)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "step,unit\nscore,a\n",
        "step,unit,seconds,gigabytes,device,workers,source\nscore,a,x,1,cpu,1,measured\n",
        "\0\0",
    ],
)
def test_a_damaged_file_of_times_is_an_empty_one(workspace, content):
    unit_times.file(paths()).parent.mkdir(parents=True, exist_ok=True)
    unit_times.file(paths()).write_text(content)
    assert unit_times.read(paths()) == {}


def test_a_full_disk_costs_the_times_only(workspace, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(
        pool,
        "_trusted",
        lambda units, workers: (engine.Done(u, **engine.measured(u)) for u in units),
    )
    monkeypatch.setattr(store, "write_text", full)
    (done,) = unit_times.run(paths(), "score", "blobs", [Unit("a", int, ("3",))])
    assert done.result == 3


# --------------------------------------------------------------------------------------------- the command


@pytest.fixture
def profile(workspace):
    """A profile with a network, a paper's experiment, and times for some of it."""
    workspace.params |= {
        "papers": ["explainn"],
        "replicate": {
            "explainn": [{"experiment": "planted", "seeds": [0, 1], "m": 10}]
        },
    }
    workspace.save()
    unit_times.write(
        paths(),
        {
            ("train", "blobs/cnn-0"): Time(12.0, 0.7),
            ("replicate", "explainn.planted seed=0 m=10"): Time(2.0, 0.6),
            ("stage", "train"): Time(13.0, workers=2),
        },
    )
    return workspace


def test_the_plan_as_json(profile, capsys):
    assert main.main(["plan", "--json", "--workers", "7"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [(u["step"], u["seconds"], u["source"]) for u in told["units"]] == [
        ("train", 12.0, "measured"),
        ("replicate", 2.0, "measured"),
        ("replicate", told["units"][2]["seconds"], "scaled"),
    ]
    assert 0 < told["units"][2]["seconds"] < 10
    assert told["sources"] == {"measured": 2, "scaled": 1, "guessed": 0}
    assert set(told["makespan"]) == {"1", "7", "10", "100", "1000"}
    assert set(told["bound"].values()) <= {"", "train blobs/cnn-0"}
    assert told["critical_path"]["units"] == ["train blobs/cnn-0"]
    assert told["units"][0]["gigabytes"] == 0.7 and told["hours"] == pytest.approx(
        (14 + told["units"][2]["seconds"]) / 3600
    )


def test_the_plan_in_words(profile, capsys):
    assert main.main(["plan", "--gpu", "A100"]) == 0
    text = capsys.readouterr().out
    assert (
        "A100-hours" in text
        and "assumed: A100 does 100 times" in text
        and "critical path" in text
    )
    summary, *_ = text.splitlines()
    assert "measured" not in summary  # what a CPU took says nothing certain about a GPU


CHECKED = re.compile(
    r"^(?P<stage>\w+(?: \w\S*)?) +(?P<units>\d+) +(?P<predicted>\d+)s +(?P<measured>\d+)s +(?P<ratio>\S+)"
    r" +(?P<workers>\d+) +(?P<planned>\d+)s +(?P<took>\d+)s$",
    re.MULTILINE,
)


def checked_stages(text):
    """The lines of ``plan --check`` by stage, each as {column: text}."""
    return {line["stage"]: line.groupdict() for line in CHECKED.finditer(text)}


def test_the_plan_against_what_was_measured(profile, capsys):
    assert main.main(["plan", "--check"]) == 0
    train = checked_stages(capsys.readouterr().out)["train"]
    assert (train["units"], train["measured"]) == ("1", "12")
    assert (train["workers"], train["planned"], train["took"]) == ("2", "12", "13")


def test_a_fresh_clone_has_nothing_to_be_checked_against(profile, capsys):
    unit_times.file(paths()).unlink()
    assert main.main(["plan", "--check"]) == 2
    err = capsys.readouterr().err.strip()
    assert len(err.splitlines()) == 1 and "make leaderboard PROFILE=tiny" in err


def test_calibrating_writes_the_table(profile, monkeypatch):
    monkeypatch.setattr(commands, "profiles", dict)
    assert main.main(["plan", "--calibrate"]) == 0
    mine = {s.kind for s in costs.read_speeds() if s.profile == "tiny"}
    assert mine == {"train explainn_cnn", "replicate explainn.planted"}
    assert {s.profile for s in costs.read_speeds()} == {
        "tiny",
        "offline",
        "quick",
        "trees",
    }  # measured elsewhere: kept


def test_calibrating_without_any_times_is_one_line_and_writes_nothing(profile, capsys):
    unit_times.file(paths()).unlink()
    assert main.main(["plan", "--calibrate"]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
    assert not (profile.root / "results" / "speeds.csv").exists()


def test_saved_estimates_give_way_to_what_is_measured(profile):
    assert main.main(["plan", "--save"]) == 0
    found = unit_times.read(paths())
    assert found["replicate", "explainn.planted seed=1 m=10"].source == "scaled"
    assert (
        found["train", "blobs/cnn-0"] == Time(12.0, 0.7) and ("stage", "train") in found
    )


@pytest.mark.parametrize(
    "wrong",
    [
        ["--workers", "0"],
        ["--workers", "many"],
        ["--gpu", "h1000"],
        ["--profile", "papers"],
    ],
)
def test_bad_use_is_one_line(profile, capsys, wrong):
    try:
        code = main.main(["plan", *wrong])
    except SystemExit as stop:
        code = stop.code
    err = capsys.readouterr().err
    assert code == 2 and len(err.strip().splitlines()) == 1 and wrong[1] in err


@pytest.mark.slow
@pytest.mark.parametrize("name", main.profiles())
def test_every_shipped_profile_can_be_planned(name):
    profile = Profile.read(main.profiles()[name])
    count = plan.counter(profile)
    found = [
        (step, count.count(step, unit)[1]) for step, _, unit in plan.units(profile)
    ]
    steps = {step for step, _ in found}
    # none has metrics of users, and not all call methods again
    assert steps | {"again", "metric"} == set(plan.STEPS)
    assert all(
        math.isfinite(w.passes + w.fits) and 0 <= w.bytes < 64e9 for _, w in found
    )
    names = [(step, unit.name) for step, _, unit in plan.units(profile)]
    assert len(set(names)) == len(names)  # a line of times.csv each
