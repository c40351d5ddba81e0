"""Metrics that call the method again: in its own process, counted, from the same seeds, in files of their own."""

import contextlib

import numpy as np
import pytest
import torch

from benchmark import engine
from benchmark.api import METRICS, any_metric, calling_metric
from benchmark.methods import registry
from benchmark.pipeline import again, cells, collect, explain, score
from benchmark.pipeline.inputs import load_batch, load_target
from benchmark.pipeline.keys import again_keys, explain_key, score_keys
from benchmark.utils.near_names import ProfileError
from tests.helpers.places import ROOT

GRAD_CAM = str(ROOT / "baselines/grad_cam.py:GradCAM")
METRIC = {"track": "heatmap", "better": "lower", "unit": "", "version": 1, "source": ""}
LEARNS = """
    from benchmark.api import Explanation

    class Mine:
        name = "learns"
        def fit(self, target, reference, rng):
            self.mean = reference.x.mean(0)
            return self
        def explain(self, target, batch, rng):
            return Explanation(heatmaps=((batch.x - self.mean) ** 2).mean(1))
"""
OF_TOYBIRDS = [  # asked of rendered birds alone
    name
    for name, spec in registry.calling_metrics().items()
    if spec.function.__module__ == "benchmark.metrics.parts"
]
LOOKS = """
    from benchmark.api import Explanation

    class Mine:
        name = "looks"
        def fit(self, target, reference, rng):
            return self
        def explain(self, target, batch, rng):
            {look}
            return Explanation(heatmaps=batch.x.mean(1))
"""
FEW = """
    from benchmark.api import Explanation

    class Mine:
        name = "few"
        def fit(self, target, reference, rng):
            return self
        def explain(self, target, batch, rng):
            applies = [len(batch) > 3] * len(batch)
            return Explanation(heatmaps=batch.x.mean(1), applies=applies)
"""


@pytest.fixture
def called(trained):
    """A workspace whose methods are called again on three images."""
    trained.params["explain"]["again"] = {"images": 3}
    return trained


@pytest.fixture
def declared():
    """Metrics that a test declares are gone afterwards."""
    before = dict(METRICS)
    yield
    METRICS.clear()
    METRICS.update(before)


def one(workspace, method):
    """The cell of one method of this project, explained and scored; its rows and values by metrics that call again."""
    workspace.params["explain"]["methods"] = [method]
    (cell,) = cells.cells(workspace.profile, "blobs")
    for step in (explain.explain_cell, score.score_cell, again.again_cell):
        with contextlib.suppress(engine.Failed):
            step(cell)
    return cell, *collect.rows_of([cell.again_scores])


def test_a_method_is_scored_on_a_share_of_its_images_and_only_once(called):
    cell, rows, values = one(called, GRAD_CAM)
    assert set(rows.metric) == set(registry.calling_metrics())
    here = rows[~rows.metric.isin(OF_TOYBIRDS)]
    assert set(here.status) == {"ok"} and set(here.n) <= {1, 2, 3}
    assert values.groupby(["metric", "metric_setting"]).size().eq(8).all()
    known = values[np.isfinite(values.value)]
    assert set(known.image) == set(values.image.unique()[:3])
    assert again.again_cell(cell) == engine.KEPT
    first = cell.again_scores.read_bytes()
    cell.again_scores.write_bytes(first[:100])  # it lost its end
    assert not again.is_scored_again(cell)
    again.again_cell(cell)
    assert cell.again_scores.read_bytes() == first


def test_other_keys_do_not_depend_on_it(called):
    called.params["explain"]["methods"] = [GRAD_CAM]
    (cell,) = cells.cells(called.profile, "blobs")
    called.params["explain"]["again"] = {"images": 2, "refits": 0}
    (other,) = cells.cells(called.profile, "blobs")
    assert explain_key(cell) == explain_key(other)
    explain.explain_cell(cell)
    assert score_keys(cell) == score_keys(other)
    ours, theirs = again_keys(cell), again_keys(other)
    assert ours.keys() == registry.calling_metrics().keys()
    assert not set(ours.values()) & set(theirs.values())
    assert not set(ours) & set(score_keys(cell))


def test_it_can_be_left_out(called):
    called.params["explain"]["methods"] = [GRAD_CAM]
    for leave_out in ({"images": 0}, {"seeds": [1]}):
        called.params["explain"]["again"] = leave_out
        (cell,) = cells.cells(called.profile, "blobs")
        assert score.files(cell) == (cell.scores,)
        assert not list(again.score_again(called.profile, "blobs", [cell]))
    called.params["explain"]["again"] = {"image": 3}
    with pytest.raises(ProfileError, match=r"explain\.again: .*images"):
        called.profile  # noqa: B018


def test_the_profile_keeps_it(called):
    called.params["explain"]["again"] = {"images": 2, "seeds": [0]}
    called.params["explain"]["only"] = {"blobs": {"again": {"images": 1}}}
    profile = called.profile
    assert profile.explained("blobs").again.images == 1
    assert type(profile).parse(profile.as_mapping()) == profile


FACES = {  # what a method does when it is called again, on three images, and how its rows begin
    "annotations": ("batch.boxes", "AttributeError: batch.boxes is withheld"),
    "labels": ("batch.y", "AttributeError: batch.y is withheld"),
    "images": ("batch.x.add_(1)", "ValueError: the method changed the images"),
    "weights": (
        "target.net[0][0].weight.data.add_(1)",
        "ValueError: the method changed the",
    ),
    "random": ("import torch; torch.rand(1)", "ValueError: the method used the global"),
    "raises": ("1 / 0", "ZeroDivisionError: division by zero (raises.py:9)"),
    "dies": ("import os; os._exit(3)", "its process ended without a result"),
    "shape": (
        "return Explanation(heatmaps=batch.x[:, 0, 1:])",
        "ValueError: heatmaps is 27x28",
    ),
}


def test_external_methods_are_called_in_their_sandbox(called, tmp_path):
    """One that learns gets what a method of this project would; those that show another face only now have failed rows;
    one that failed before has no more of them; maps cannot be called."""
    methods = [called.plugin(LEARNS, "learns")]
    for name, (look, _) in FACES.items():
        body = LOOKS.format(look=f"if len(batch) == 3: {look}").replace("looks", name)
        methods.append(called.plugin(body, name))
    methods.append(called.plugin(LOOKS.format(look="raise RuntimeError"), "looks"))
    called.params["explain"]["methods"] = [GRAD_CAM]
    (cell,) = cells.cells(called.profile, "blobs")
    maps = np.random.default_rng(0).random((cell.images, 28, 28))
    np.savez(tmp_path / "maps.npz", **{load_target(cell).name: maps})
    methods.append(str(tmp_path / "maps.npz"))
    called.params["explain"]["methods"] = methods
    profile = called.profile
    list(explain.explain_images(profile, "blobs"))
    todo = cells.cells(profile, "blobs")
    done = {d.unit.name: d for d in again.score_again(profile, "blobs", todo)}
    names = set(registry.calling_metrics())
    for cell in todo:
        rows, values = collect.rows_of([cell.again_scores])
        name = cell.method.stem
        if name == "looks":
            assert len(rows) == 0 and cell.name not in done
            continue
        assert set(rows.metric) == names and done[cell.name].unit.limits, name
        if name in FACES:
            _, says = FACES[name]
            assert set(rows.status) == {"failed"}, name
            assert rows.reason.str.startswith(says).all(), (name, rows.reason[0])
            assert says in done[cell.name].error, name
        elif name == "maps":
            assert set(rows.status) == {"not applicable"}
            assert rows.reason.str.contains("made elsewhere").all()
        else:
            here = rows[~rows.metric.isin(OF_TOYBIRDS)]
            assert set(here.status) == {"ok"} and not done[cell.name].error
            found = again.measure_again(again.fitted_again(cell), load_batch(cell), {})
            for (metric, setting), (_, _, want) in found.items():
                mine = (values.metric == metric) & (values.metric_setting == setting)
                np.testing.assert_array_equal(values[mine].value, want)
    again_done = list(again.score_again(profile, "blobs", todo[:1]))
    assert again_done == []  # its scores are there


def test_a_method_that_offers_no_maps_is_not_fitted(called, monkeypatch):
    monkeypatch.setattr(again, "measure_again", None)
    _, rows, _ = one(
        called, str(ROOT / "benchmark/papers/layer_trees/method.py:LayerTree")
    )
    assert set(rows.status) == {"not applicable"}


def test_a_method_that_learns_is_fitted_on_as_many_networks_as_allowed(called):
    called.params["explain"]["again"] = {"images": 2, "refits": 1}
    _, rows, _ = one(called, called.plugin(LEARNS, "learns"))
    by_name = rows.groupby("metric").status.first()
    assert by_name["mprt"] == "not applicable"
    assert set(by_name.drop(["mprt", *OF_TOYBIRDS])) == {"ok"}
    assert rows[rows.metric == "mprt"].reason.str.contains("refits").all()


# --------------------------------------------------------------------------------------------- the contract of a metric


def test_images_without_an_explanation_are_no_failure(called):
    """The first images, which are asked about again, may be those that a method cannot explain."""
    _, rows, values = one(called, called.plugin(FEW, "few"))
    here = rows[~rows.metric.isin(OF_TOYBIRDS)]
    assert set(here.status) == {"not applicable"} and len(values) == 0
    assert set(here.reason) == {"explains none of the images"}


def test_a_metric_that_asks_too_often_fails_alone(called, declared):
    @any_metric(needs={"heatmaps", "explain"}, calls=2, **METRIC)
    def greedy(e, target, batch, rng, explain):
        for _ in range(3):
            explain(batch)
        return np.zeros(len(batch))

    @calling_metric(needs={"heatmaps"}, calls=2, **METRIC)
    def modest(e, target, batch, rng, explain):
        assert batch.boxes is None  # not declared, so not given
        one, other = explain(batch), explain(batch[:1])
        np.testing.assert_array_equal(one.heatmaps, e.heatmaps)
        np.testing.assert_allclose(other.heatmaps, e.heatmaps[:1], atol=1e-5)
        return np.full(len(batch), float(len(batch)))

    found = measured(called)
    status, reason, _ = found["greedy", ""]
    assert status == "failed" and "more explanations than the 2 per image" in reason
    status, _, values = found["modest", ""]
    assert (
        status == "ok" and list(values[:3]) == [3, 3, 3] and np.isnan(values[3:]).all()
    )


def measured(workspace):
    workspace.params["explain"]["methods"] = [GRAD_CAM]
    (cell,) = cells.cells(workspace.profile, "blobs")
    return again.measure_again(again.fitted_again(cell), load_batch(cell), {})


def test_all_metrics_and_methods_get_the_same_random_numbers(called, declared):
    drawn = []

    @calling_metric(
        needs={"heatmaps"}, calls=1, settings=({"k": 1}, {"k": 2}), **METRIC
    )
    def draws(e, target, batch, rng, explain, k):
        drawn.append(rng.random())
        return np.zeros(len(batch))

    for method in (GRAD_CAM, str(ROOT / "baselines/edge_map.py:EdgeMap")):
        called.params["explain"]["methods"] = [method]
        (cell,) = cells.cells(called.profile, "blobs")
        again.measure_again(again.fitted_again(cell), load_batch(cell), {})
    assert len(drawn) == 4 and len(set(drawn)) == 1


def test_a_wrong_answer_of_a_metric_is_its_error(called, declared):
    @calling_metric(needs={"boxes"}, calls=1, **METRIC)
    def counts(e, target, batch, rng, explain):
        assert batch.boxes is not None
        return np.zeros(len(batch) + 1)

    @calling_metric(needs={"parts"}, calls=1, **METRIC)
    def parts(e, target, batch, rng, explain):
        return np.zeros(len(batch))

    @calling_metric(needs={"heatmaps"}, calls=1, **METRIC)
    def infinite(e, target, batch, rng, explain):
        return np.full(len(batch), np.inf)

    found = measured(called)
    assert "returned shape (4,) for 3 images" in found["counts", ""][1]
    assert found["parts", ""][:2] == ("not applicable", "images have no parts")
    assert "NaN or infinite for 3 of 3" in found["infinite", ""][1]


@pytest.mark.parametrize(
    ("declaration", "says"),
    [
        ({"needs": {"explain"}}, "calls=1 or more, not 0"),
        ({"needs": {"explain"}, "calls": -1}, "calls=1 or more, not -1"),
        ({"needs": {"explain"}, "calls": 2.0}, "calls=1 or more, not 2.0"),
        ({"needs": {"heatmaps"}, "calls": 3}, 'without "explain"'),
        ({"needs": {"explain", "magic"}, "calls": 3}, "magic"),
    ],
)
def test_a_declaration_that_does_not_fit_is_refused(declared, declaration, says):
    with pytest.raises(ValueError, match=says):
        any_metric(**METRIC, **declaration)(lambda *seen: None)


def test_a_plain_metric_is_declared_as_before(declared):
    @any_metric(needs={"heatmaps"}, **METRIC)
    def plain(e, target, batch, rng):
        return np.zeros(len(batch))

    assert "plain" in registry.scoring_metrics()
    assert "plain" not in registry.calling_metrics()
    assert registry.calling_metrics().keys().isdisjoint(registry.scoring_metrics())


def test_the_plan_prices_the_calls(called):
    from benchmark.jobs import costs, plan

    called.params["explain"]["methods"] = [GRAD_CAM]
    called.params["explain"]["again"] = {"images": 3}
    units = [unit for step, _, unit in plan.units(called.profile) if step == "again"]
    count = plan.counter(called.profile)
    kind, work = count.count("again", units[0])
    (cell,) = cells.cells(called.profile, "blobs")
    facts = count.facts("blobs", "cnn").explaining(1, 0)
    specs = registry.calling_metrics().values()
    calls = 1 + sum(spec.calls * len(spec.settings) for spec in specs)
    once = costs.explaining(cell.method, facts)
    assert kind == "again grad_cam" and len(units) == 1
    assert work.passes == pytest.approx(3 * calls * once.passes)
    called.params["explain"]["again"] = {"images": 0}
    assert not [step for step, _, _ in plan.units(called.profile) if step == "again"]


def test_the_global_random_state_is_left_alone(called):
    state = torch.get_rng_state()
    measured(called)
    assert torch.equal(torch.get_rng_state(), state)
