"""What a profile will take: counted work, what such work took, the schedule; and the file of times behind it."""

import json
import math
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmark import cli, costs, engine, plan, store, times
from benchmark.costs import Model, Work
from benchmark.engine import Unit
from benchmark.names import UnknownName
from benchmark.plan import Planned
from benchmark.profile import Profile
from benchmark.times import Time


def planned(seconds, step="train", stage="blobs", name="", needs=(), source="measured"):
    return Planned(step, stage, name or f"u{seconds}", needs, seconds, 0.5, source)


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
    found = plan.stage_seconds([planned(s, name=str(i)) for i, s in enumerate(seconds)], workers)
    bound = max(max(seconds), sum(seconds) / workers)
    assert bound <= found * (1 + 1e-9) and found <= 4 / 3 * bound + max(seconds)
    assert workers < len(seconds) or found == max(seconds)


def test_stages_follow_each_other_and_the_report_is_last():
    found = [planned(10.0), planned(4.0), planned(3.0), planned(7.0, step="explain")]
    assert plan.makespan(found, 2) == plan.STAGE + 10 + plan.STAGE + 7 + plan.REPORT
    assert plan.makespan(found, 1) == 2 * plan.STAGE + 24 + plan.REPORT


def test_the_engine_runs_units_in_the_order_that_the_plan_takes(monkeypatch):
    units = [Unit(name, print, expected=s) for name, s in (("a", 1.0), ("b", 3.0), ("c", math.inf), ("d", 3.0))]
    assert [unit.name for unit in engine.longest_first(units)] == ["c", "b", "d", "a"]
    began = []
    monkeypatch.setattr(engine, "_trusted", lambda units, workers: began.extend(u.name for u in units) or iter(()))
    list(engine.run(units, label="test", workers=1))
    assert began == ["c", "b", "d", "a"]


def test_the_critical_path_by_hand():
    found = [
        planned(5.0, name="blobs/a-0", needs=("blobs/a-0",)),
        planned(50.0, name="blobs/b-0", needs=("blobs/b-0",)),
        planned(30.0, "explain", name="blobs/a/seed=0 m", needs=("blobs/a-0",)),
        planned(40.0, "score", name="blobs/a/seed=0 m", needs=("blobs/a-0",)),
        planned(20.0, "replicate", "paper", name="paper.x", needs=("blobs/b-0", "blobs/a-0")),
        planned(60.0, "replicate", "paper", name="paper.y"),
    ]
    assert [(u.step, u.seconds) for u in plan.critical_path(found)] == [("train", 5), ("explain", 30), ("score", 40)]
    longer = [*found, planned(26.0, "replicate", "paper", name="paper.z", needs=("blobs/b-0",))]
    assert [u.name for u in plan.critical_path(longer)] == ["blobs/b-0", "paper.z"]


# --------------------------------------------------------------------------------------------- counted work


def test_multiply_adds_by_hand():
    mlp = costs._multiply_adds("mlp", (1, 28, 28), 10, '{"depth": 2, "width": 100}', None)
    assert mlp == (0, 784 * 100 + 100 * 100 + 100 * 10)
    whole = sum(costs._multiply_adds("explainn_cnn", (1, 28, 28), 10, "{}", None))
    head, rest = costs._multiply_adds("explainn_cnn", (1, 28, 28), 10, "{}", "conv1")
    assert head + rest == whole and head > 0 < rest


def test_a_data_set_is_counted_as_the_profile_cuts_it():
    profile = Profile.read(cli.profiles()["quick"])
    assert costs.images(profile, "mnist") == ((1, 28, 28), 10, 60_000, 10_000)
    assert costs.images(profile, "cifar10") == ((3, 32, 32), 10, 5_000, 2_500)
    assert costs.images(profile, "cub") == ((3, 224, 224), 50, 1_498, 1_448)  # the real ones: 1,500 and 1,389


@pytest.mark.parametrize(("settings", "product"), [
    ({}, 1), ({"epochs": 4, "restarts": 2}, 8), ({"segments": [15, 50]}, 65), ({"alphas": [0.1, 0.2]}, 2),
    ({"layers": {"-1": "logits", "-3": "conv"}}, 2), ({"layers": None, "runs": 3, "lr": 7.0}, 3), ({"layers": "fc1"}, 1),
])  # fmt: skip
def test_settings_that_repeat_a_fit(settings, product):
    assert costs._repeats(settings) == product


def test_training_is_counted_in_images_and_steps(workspace):
    workspace.params["zoo"]["blobs"]["cnn"] |= {"epochs": 3, "train_images": 100, "seeds": [0, 1]}
    (step, stage, unit), *_ = plan.units(workspace.profile)
    work = costs.count(workspace.profile, step, unit)
    macs = sum(costs._multiply_adds("explainn_cnn", (3, 32, 32), 10, "{}", None))
    assert (step, stage, work.kind) == ("train", "blobs", "train explainn_cnn")
    assert work.passes == pytest.approx(3 * 100 * 3 * macs / 1e9)
    on_gpu = [unit for step, _, unit in plan.units(workspace.profile, gpu=True) if step == "train"]
    assert [len(u.arguments[1]) for u in on_gpu] == [2]  # the seeds train as one


# --------------------------------------------------------------------------------------------- what it took


works = st.builds(Work, st.just("train net"), st.floats(0.1, 1e4), st.floats(0.1, 1e3), st.just(0.5))


@settings(deadline=None)
@given(
    st.lists(works, min_size=5, max_size=12, unique_by=lambda w: w.passes),
    st.floats(0.01, 9),
    st.floats(1e-3, 1 / costs._CORE),
    st.floats(1e-3, 9),
)
def test_the_model_finds_the_seconds_of_work_that_it_knows(measured, a, b, c):
    took = [a + b * work.passes + c * work.fits for work in measured]
    model = Model(zip(measured, took, strict=True))
    for work, seconds in zip(measured, took, strict=True):
        assert model.seconds(work)[0] == pytest.approx(seconds, rel=1e-3)


def test_of_few_measured_units_a_pass_costs_what_a_core_needs_and_the_rest_is_the_fits():
    model = Model([(Work("explain slow", 2.6, 0.0, 0.5), 3.1), (Work("explain fits", 2.6, 10.0, 0.5), 3.1),
                   (Work("explain fast", 260.0, 0.0, 0.5), 2.0)])  # fmt: skip
    assert model.seconds(Work("explain slow", 26.0, 0.0, 0.5)) == (pytest.approx(3.0 + 1.0), "scaled")
    assert model.seconds(Work("explain fits", 26.0, 20.0, 0.5)) == (pytest.approx(6.0 + 1.0), "scaled")
    assert model.seconds(Work("explain fast", 2600.0, 0.0, 0.5)) == (pytest.approx(20.0), "scaled")
    assert model.seconds(Work("explain fast", 2600.0, 0.0, 0.5), gpu=10) == (pytest.approx(2.0), "scaled")
    assert model.seconds(Work("explain other", 2600.0, 0.0, 0.5))[1] == "guessed"
    assert model.seconds(Work("score x", 4.0, 0.0, 0.5))[1] == "guessed"


def test_the_work_of_the_stacked_auto_encoders_by_hand():
    training = {"hidden": [4, 2], "epochs": 2, "pretrain": 1, "restarts": 1, "batch": 5}
    multiply_adds, steps = costs._srae(training, 10, 20)  # 2 x 3 rounds over 20 examples, widths 10, 4, 2
    assert multiply_adds == 6 * 20 * 6 * (40 + 8) and steps == 20 * 6 / 5


def test_small_units_do_not_say_what_a_large_network_costs():
    """Seconds that differ by the clock alone, on passes that hardly differ: the slope is that of a core."""
    small = [(Work("explain cladec", p, 0.03, 0.5), s) for p, s in ((1.1, 2.3), (1.12, 2.9), (1.39, 4.1), (1.4, 3.8))]
    assert Model(small).seconds(Work("explain cladec", 260.0, 0.03, 0.5))[0] < 10 + 5


def test_a_guess_is_no_faster_than_a_core_multiplies():
    """Small networks stop early: what they took says little of a large one's multiply-adds."""
    small = [Work("train mlp", p, f, 0.5) for p, f in ((5000.0, 0.5), (6000.0, 0.7), (8000.0, 1.2), (7000.0, 1.3))]
    model = Model((work, 4 * work.fits) for work in small)
    large = Work("train vgg11", 2600.0, 0.01, 0.5)
    assert model.seconds(large) == (pytest.approx(100.0), "guessed")
    assert model.seconds(large, gpu=10) == (pytest.approx(10.0), "guessed")
    seconds, source = model.seconds(Work("train mlp", 26000.0, 1.0, 0.5))
    assert source == "scaled" and seconds < 10  # of its own kind it is known better


def test_a_gpu_speeds_up_passes_and_leaves_trees_alone():
    measured = [
        (Work("explain layer_trees", 100 * p, f, 0.5), 2 * p + 3 * f)
        for p, f in ((1, 1), (2, 1), (1, 5), (7, 3), (4, 9))
    ]
    model = Model(measured)
    assert model.seconds(Work("explain layer_trees", 10_000.0, 10.0, 0.5), gpu=100)[0] == pytest.approx(
        2 + 30, rel=1e-3
    )


def test_an_unknown_gpu_is_refused_with_near_names(workspace):
    with pytest.raises(UnknownName, match="did you mean h100"):
        plan.plan(workspace.profile, {}, gpu="h1000")


# --------------------------------------------------------------------------------------------- the file of times


def paths():
    return store.Paths("tiny")


def test_times_are_noted_and_read_back(workspace, monkeypatch):
    monkeypatch.setattr(
        engine, "_trusted", lambda units, workers: (engine.Done(u, **engine.measured(u)) for u in units)
    )
    units = [Unit("slow", time.sleep, (0.05,)), Unit("bad", int, ("x",)), Unit("kept", str, (engine.KEPT,))]
    done = list(times.run(paths(), "score", "blobs", units))
    assert [d.unit.name for d in done] == ["slow", "bad", "kept"] and done[1].error
    found = times.read(paths())
    assert list(found) == [("score", "slow")]  # what failed, or found its work done, took no time worth knowing
    slow = found["score", "slow"]
    assert 0.05 <= slow.seconds < 5 and slow.gigabytes > 0.05 and (slow.device, slow.source) == ("cpu", "measured")
    list(times.run(paths(), "score", "blobs", [units[0]]))
    assert ("stage", "score blobs") in times.read(paths())  # all of it ran, here


def test_the_longest_known_unit_starts_first_and_an_unknown_one_before(workspace, monkeypatch):
    times.write(paths(), {("score", "a"): Time(1.0), ("score", "b"): Time(9.0), ("train", "c"): Time(99.0)})
    seen = []
    monkeypatch.setattr(
        engine, "run", lambda units, label: seen.extend((u.name, u.expected) for u in units) or iter(())
    )
    list(times.run(paths(), "score", "blobs", [Unit(name, print) for name in "abc"]))
    assert seen == [("a", 1.0), ("b", 9.0), ("c", math.inf)]


def test_a_training_that_was_there_keeps_its_line(workspace):
    card = [{"seconds": 40.0}]
    unit = Unit("blobs/cnn-0", print)
    assert times._taken(engine.Done(unit, card, seconds=0.1, gigabytes=0.3), known=True) is None
    assert times._taken(engine.Done(unit, card, seconds=0.1), known=False).seconds == 40.0  # of an earlier run
    assert times._taken(engine.Done(unit, card, seconds=41.0, gigabytes=0.3, device="cpu"), known=True) == Time(
        41.0, 0.3
    )


@pytest.mark.parametrize("content", ["", "step,unit\nscore,a\n", "step,unit,seconds,gigabytes,device,workers,source\nscore,a,x,1,cpu,1,measured\n", "\0\0"])  # fmt: skip
def test_a_damaged_file_of_times_is_an_empty_one(workspace, content):
    times.file(paths()).parent.mkdir(parents=True, exist_ok=True)
    times.file(paths()).write_text(content)
    assert times.read(paths()) == {}


def test_a_full_disk_costs_the_times_only(workspace, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(
        engine, "_trusted", lambda units, workers: (engine.Done(u, **engine.measured(u)) for u in units)
    )
    monkeypatch.setattr(store, "write_text", full)
    (done,) = times.run(paths(), "score", "blobs", [Unit("a", int, ("3",))])
    assert done.result == 3


# --------------------------------------------------------------------------------------------- the command


@pytest.fixture
def profile(workspace):
    """A profile with a network, a paper's experiment, and times for some of it."""
    workspace.params |= {
        "papers": ["explainn"],
        "replicate": {"explainn": [{"experiment": "planted", "seeds": [0, 1], "m": 10}]},
    }
    workspace.save()
    times.write(paths(), {("train", "blobs/cnn-0"): Time(12.0, 0.7), ("replicate", "explainn.planted seed=0 m=10"): Time(2.0, 0.6),
                          ("stage", "train blobs"): Time(13.0, workers=2)})  # fmt: skip
    return workspace


def test_the_plan_as_json(profile, capsys):
    assert cli.main(["plan", "--json", "--workers", "7"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [(u["step"], u["seconds"], u["source"]) for u in told["units"]] == [
        ("train", 12.0, "measured"), ("replicate", 2.0, "measured"), ("replicate", pytest.approx(2.0), "scaled")]  # fmt: skip
    assert told["sources"] == {"measured": 2, "scaled": 1, "guessed": 0}
    assert set(told["makespan"]) == {"1", "7", "10", "100", "1000"}
    assert told["critical_path"]["units"] == ["train blobs/cnn-0"]
    assert told["units"][0]["gigabytes"] == 0.7 and told["hours"] == pytest.approx(16 / 3600)


def test_the_plan_in_words(profile, capsys):
    assert cli.main(["plan", "--gpu", "A100"]) == 0
    text = capsys.readouterr().out
    assert "A100-hours" in text and "assumed: A100 does 100 times" in text and "critical path" in text
    assert "measured" not in text.splitlines()[0]  # what a CPU took says nothing certain about a GPU


def test_the_plan_against_what_was_measured(profile, capsys):
    assert cli.main(["plan", "--check"]) == 0
    lines = capsys.readouterr().out.splitlines()
    train = next(line for line in lines if line.startswith("train blobs")).split()
    assert train[2] == "1" and train[4:] == ["12s", train[5], "2", "12s", "13s"]


def test_saved_estimates_give_way_to_what_is_measured(profile):
    assert cli.main(["plan", "--save"]) == 0
    found = times.read(paths())
    assert found["replicate", "explainn.planted seed=1 m=10"].source == "scaled"
    assert found["train", "blobs/cnn-0"] == Time(12.0, 0.7) and ("stage", "train blobs") in found


@pytest.mark.parametrize(
    "wrong", [["--workers", "0"], ["--workers", "many"], ["--gpu", "h1000"], ["--profile", "papers"]]
)
def test_bad_use_is_one_line(profile, capsys, wrong):
    try:
        code = cli.main(["plan", *wrong])
    except SystemExit as stop:
        code = stop.code
    err = capsys.readouterr().err
    assert code == 2 and len(err.strip().splitlines()) == 1 and wrong[1] in err


@pytest.mark.slow
def test_every_shipped_profile_can_be_planned():
    for name, path in cli.profiles().items():
        profile = Profile.read(path)
        found = [(step, costs.count(profile, step, unit)) for step, _, unit in plan.units(profile)]
        assert {step for step, _ in found} == {"train", "explain", "score", "replicate"}
        assert all(math.isfinite(w.passes + w.fits) and w.gigabytes < 64 for _, w in found), name
        names = [(step, unit.name) for step, _, unit in plan.units(profile)]
        assert len(set(names)) == len(names)  # a line of times.csv each
