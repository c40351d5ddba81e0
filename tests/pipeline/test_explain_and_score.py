"""Cells: what a method offers is scored, what it fails at is a failed row, nothing is lost, nothing is made twice."""

import contextlib

import numpy as np
import pytest
import torch

from benchmark import engine, store
from benchmark.api import METRICS, Explanation
from benchmark.leaderboard import tables
from benchmark.methods import registry
from benchmark.pipeline import cells, collect, explain, inputs, score, train
from benchmark.utils.near_names import ProfileError
from tests.helpers.places import ROOT
from tests.helpers.workspace import plugin


def one(workspace, reference, seed=0):
    """The cell of one method, explained and scored; its rows by metric."""
    workspace.params["explain"]["methods"] = [reference]
    (cell,) = cells.cells(workspace.profile, "blobs")
    for step in (explain.explain_cell, score.score_cell):
        with contextlib.suppress(engine.Failed):
            step(cell)
    rows, values, _ = store.read_scores(cell.scores)
    return cell, rows, values


def test_a_good_method_is_scored_by_every_metric_that_applies(trained):
    _, rows, values = one(trained, plugin(trained))
    assert set(rows.metric) == set(registry.scoring_metrics())
    assert set(rows.status) == {"ok", "not applicable"}
    ok = rows[rows.status == "ok"]
    assert {"average_drop", "insertion_auc", "pointing_game", "gini"} <= set(ok.metric)
    measured = [
        value
        for value, status in zip(values, rows.status, strict=True)
        if status == "ok"
    ]
    assert list(ok.value) == pytest.approx([np.nanmean(value) for value in measured])
    assert list(ok.n) == [np.isfinite(value).sum() for value in measured]
    assert (ok.n > 0).all()
    reasons = rows[rows.status != "ok"].reason
    assert reasons.str.contains("images have no|offers no").all()


KEEPS = """
    from dataclasses import dataclass
    from benchmark.api import METRICS, Explanation

    @dataclass
    class Mine:
        keep: float = 0.5
        name = "keeps"
        def fit(self, target, reference, rng):
            return self
        def explain(self, target, batch, rng):
            return Explanation(heatmaps=batch.x.mean(dim=1))
"""


def test_a_methods_setting_and_a_metrics_of_one_name_stand_apart(trained):
    """Given a method with a field ``keep``, as average_drop has: it is one method on the board, in every table."""
    _, rows, _ = one(trained, trained.plugin(KEEPS, "keeps"))
    assert set(rows.setting) == {"keep=0.5"}
    assert set(rows[rows.metric == "average_drop"].metric_setting) == {
        "keep=0.1",
        "keep=0.2",
        "keep=0.3",
    }
    assert set(tables.leaderboard(store.tidy_rows(rows)).label) == {"keeps"}


SOME = """
    import numpy as np
    from benchmark.api import METRICS, Explanation

    class Mine:
        name = "some"
        def fit(self, target, reference, rng):
            return self
        def explain(self, target, batch, rng):
            maps = batch.x.mean(dim=1).numpy()
            applies = {applies}
            maps[~applies] = 0
            two = np.stack([maps, maps**2], axis=1)
            return Explanation(heatmaps=maps, concept_maps=two, applies=applies)
"""


def test_images_without_an_explanation_are_scored_by_no_metric(trained):
    """Every second image: the others' scores are those of the whole explanation, but for the metrics of whole classes,
    and each row counts them. An explanation of nothing is not applicable."""
    even = SOME.format(applies="np.arange(len(maps)) % 2 == 0")
    cell, rows, values = one(trained, trained.plugin(even, "some"))
    every = SOME.format(applies="np.ones(len(maps), bool)")
    _, whole, all_values = one(trained, trained.plugin(every, "every"))
    ok = rows.status == "ok"
    assert ok.sum() > 10 and (ok == (whole.status == "ok")).all()
    n = cells.read_cell(cell)[0].heatmaps.shape[0]
    assert set(rows[ok].reason) == {f"explains {(n + 1) // 2} of {n} images"}
    for i in np.flatnonzero(ok):
        assert np.isnan(values[i][1::2]).all() and rows.n[i] <= (n + 1) // 2
        if rows.track[i] == "heatmap" and rows.metric[i] != "random_map":
            np.testing.assert_allclose(
                values[i][::2], all_values[i][::2], rtol=1e-3, atol=1e-3
            )
    none = SOME.format(applies="np.zeros(len(maps), bool)")
    _, rows, _ = one(trained, trained.plugin(none, "none"))
    assert set(rows.status) == {"not applicable"}
    assert set(rows.reason) == {"explains none of the images"}


def test_the_same_cell_gives_the_same_bytes_and_is_not_made_twice(trained):
    reference = plugin(trained)
    cell, rows, _ = one(trained, reference)
    before = cell.explanation.stat().st_mtime_ns, cell.scores.stat().st_mtime_ns
    _, again, _ = one(trained, reference)
    assert (
        cell.explanation.stat().st_mtime_ns,
        cell.scores.stat().st_mtime_ns,
    ) == before
    cell.explanation.unlink()
    cell.scores.unlink()
    _, recomputed, _ = one(trained, reference)
    assert (
        store.rows_text(recomputed) == store.rows_text(rows) == store.rows_text(again)
    )


def test_a_changed_method_is_explained_again(trained):
    _, first, _ = one(trained, plugin(trained))
    _, second, _ = one(
        trained, plugin(trained, value="Explanation(heatmaps=np.ones((n, h, w)))")
    )
    gini = [r.query("metric == 'gini'").value.item() for r in (first, second)]
    assert gini[0] > 0 and gini[1] == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(
    ("before", "value", "reason"),
    [
        ("raise RuntimeError('no\\nluck')", "None", "RuntimeError: no luck (mine.py:"),
        ("pass", "Explanation(heatmaps=np.full((n, h, w), np.nan))", "NaN"),
        ("pass", "Explanation(heatmaps=np.full((n, h, w), np.inf))", "infinite"),
        ("pass", "Explanation(heatmaps=np.ones((n, h)))", "expected 3 axes"),
        (
            "pass",
            "Explanation(heatmaps=np.ones((n, h, w + 1)))",
            "heatmaps is 28x29, images 28x28",
        ),
        (
            "pass",
            "Explanation(heatmaps=np.ones((n - 1, h, w)))",
            "explains 7 images of 8",
        ),
        ("pass", "Explanation(labels=np.full(n, 4))", "there are 4 classes"),
        ("pass", "Explanation()", "empty"),
        ("pass", "np.ones((n, h, w))", "not an Explanation"),
        (
            "next(target.net.parameters()).data.add_(1)",
            "Explanation(heatmaps=np.ones((n, h, w)))",
            "changed the target",
        ),
        (
            "target.net.train()",
            "Explanation(heatmaps=np.ones((n, h, w)))",
            "changed the target",
        ),
        (
            "target.net.register_forward_hook(lambda *a: None)",
            "Explanation(heatmaps=np.ones((n, h, w)))",
            "changed the target",
        ),
        (
            "import torch; torch.manual_seed(3)",
            "Explanation(heatmaps=np.ones((n, h, w)))",
            "global random state of torch",
        ),
        (
            "np.random.seed(3)",
            "Explanation(heatmaps=np.ones((n, h, w)))",
            "global random state of numpy",
        ),
        (
            "import random; random.random()",
            "Explanation(heatmaps=np.ones((n, h, w)))",
            "global random state of random",
        ),
    ],
)
def test_what_a_method_fails_at_is_a_failed_row_with_the_reason(
    trained, before, value, reason
):
    state = torch.get_rng_state()
    _, rows, _ = one(trained, plugin(trained, before, value))
    assert rows[["track", "metric", "status"]].values.tolist() == [
        ["unknown", "explanation", "failed"]
    ]  # its kind is not known
    assert all(reason in text and "\n" not in text for text in rows.reason)
    assert torch.equal(torch.get_rng_state(), state)
    _, rows, _ = one(
        trained, plugin(trained, name="other")
    )  # the next method meets a healthy target
    assert "failed" not in set(rows.status)


def test_a_method_that_has_nothing_to_say_is_not_applicable(trained):
    before = (
        "from benchmark.api import NotApplicable; raise NotApplicable('needs colour')"
    )
    _, rows, _ = one(trained, plugin(trained, before))
    assert set(rows.status) == {"not applicable"} and set(rows.reason) == {
        "needs colour"
    }


def test_a_network_that_a_method_changed_before_it_gave_up_is_loaded_anew(trained):
    change = "target.net.conv1[0].weight.data.zero_()"
    before = f"{change}; from benchmark.api import NotApplicable; raise NotApplicable"
    cell, rows, _ = one(trained, plugin(trained, before, name="changes"))
    assert set(rows.status) == {"not applicable"}
    assert inputs.load_target(cell).net.conv1[0].weight.any()


def test_a_failing_metric_fails_its_rows_only(trained, monkeypatch):
    spec = registry.metrics()["gini"]

    def broken(*_, **__):
        raise ZeroDivisionError("oh")

    monkeypatch.setitem(
        METRICS, "gini", type(spec)(**{**vars(spec), "function": broken})
    )
    _, rows, _ = one(trained, plugin(trained))
    failed = rows[rows.status == "failed"]
    assert (
        failed.metric.tolist() == ["gini"]
        and "ZeroDivisionError: oh" in failed.reason.item()
    )


def test_a_network_that_could_not_be_trained_fails_its_cells(workspace):
    workspace.params["zoo"]["blobs"]["cnn"] |= {"optimiser": "sgd", "lr": 1000.0}
    (done,) = train.train_networks(workspace.profile, "blobs")
    assert done.error
    _, rows, _ = one(workspace, plugin(workspace))
    assert (
        set(rows.status) == {"failed"} and "could not be trained" in rows.reason.iloc[0]
    )


def test_a_method_that_kills_its_process_fails_alone(trained):
    bad = plugin(trained, "import os; os.kill(os.getpid(), 9)", name="bad")
    trained.params["explain"]["methods"] = [bad, plugin(trained, name="good")]
    done = {
        d.unit.arguments[0].method.path.stem: d
        for d in explain.explain_images(trained.profile, "blobs")
    }
    assert "killed" in done["bad"].error and done["good"].error is None
    list(score.score_explanations(trained.profile, "blobs"))
    rows, instances = collect.profile_rows(trained.profile)
    failed = rows[rows.status == "failed"]
    assert failed[["method", "track"]].values.tolist() == [["bad", "unknown"]]
    assert set(instances.image) == set(
        inputs.load_batch(cells.cells(trained.profile, "blobs")[0]).ids.tolist()
    )


@pytest.mark.parametrize(
    ("step", "section"),
    [
        (explain.explain_images, ("explain", "methods")),
        (train.train_networks, ("zoo", "blobs")),
    ],
)
def test_a_profile_that_asks_for_nothing_removes_nothing(trained, step, section):
    _, _, _ = one(trained, plugin(trained))
    before = {
        path: path.read_bytes() for path in (trained.root / "results").rglob("*.*")
    }
    outer, inner = section
    trained.params[outer][inner] = [] if outer == "explain" else {}
    with pytest.raises(
        store.StoreError, match="asks for nothing in .* finished files; name methods"
    ):
        list(step(trained.profile, "blobs"))
    assert {path: path.read_bytes() for path in before} == before


def test_what_failed_stands_on_the_tracks_of_its_kind(trained):
    """Given a heat-map method of ours that fails, then none of its rows is on another track."""
    trained.params["explain"]["methods"] = [
        f"{ROOT}/baselines/grad_cam.py:GradCAM?layer=nowhere"
    ]
    list(explain.explain_images(trained.profile, "blobs"))
    list(score.score_explanations(trained.profile, "blobs"))
    rows, _ = collect.profile_rows(trained.profile)
    assert set(rows[rows.status == "failed"].track) == {"heatmap"}


def test_what_a_method_offered_elsewhere_says_where_it_failed(trained):
    """Given a user's method that worked on one network and fails on another, its failed rows are of its kind."""
    recipe = trained.params["zoo"]["blobs"]["cnn"]
    trained.params["zoo"]["blobs"]["cnn2"] = recipe | {"seeds": [0]}
    list(train.train_networks(trained.profile, "blobs"))
    trained.params["explain"]["methods"] = [
        plugin(trained, "assert 'cnn2' not in target.name")
    ]
    list(explain.explain_images(trained.profile, "blobs"))
    list(score.score_explanations(trained.profile, "blobs"))
    rows, _ = collect.profile_rows(trained.profile)
    failed = rows[rows.status == "failed"]
    assert set(failed.target) == {"cnn2"}
    assert set(failed.track) == {"heatmap"}


@pytest.mark.parametrize("ref", registry.method_refs(), ids=lambda ref: ref.cls)
def test_our_methods_say_what_they_offer(ref):
    assert ref.cls == "Reused" or set(ref.build().offers) <= set(
        Explanation.__dataclass_fields__
    )


def test_cells_of_methods_that_left_the_profile_are_removed(trained):
    trained.params["explain"]["methods"] = [plugin(trained, name="first")]
    list(explain.explain_images(trained.profile, "blobs"))
    (old,) = cells.cells(trained.profile, "blobs")
    trained.params["explain"]["methods"] = [plugin(trained, name="second")]
    list(explain.explain_images(trained.profile, "blobs"))
    assert not old.explanation.exists()


def test_psi_is_computed_once_for_all_methods_of_a_target(trained, monkeypatch):
    from benchmark.api import Target

    passes = []
    features = Target.features

    def counted(self, x, layer=None):
        if isinstance(x, torch.Tensor):
            passes.append((len(x), layer or self.layer))
        return features(self, x, layer)

    monkeypatch.setattr(Target, "features", counted)
    use = "target.features(batch)"
    trained.params["explain"]["methods"] = [
        plugin(trained, use, name="a"),
        plugin(trained, use, name="b"),
    ]
    for cell in cells.cells(trained.profile, "blobs"):
        explain.explain_cell(cell)
    assert passes == [(8, "conv2")]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"net": "explain_cnn"}, "did you mean explainn_cnn"),
        ({"lr": "1e-3"}, "1e-3. is not a number"),
        ({"epoch": 3}, "did you mean epochs"),
    ],
)
def test_a_wrong_recipe_is_said_before_any_work(workspace, change, message):
    workspace.params["zoo"]["blobs"]["cnn"] |= change
    with pytest.raises(
        ProfileError, match=f"params.yaml: zoo.blobs.cnn.*: .*{message}"
    ):
        list(train.train_networks(workspace.profile, "blobs"))


def test_two_methods_of_one_name_are_refused(workspace):
    a, b = plugin(workspace, name="a"), plugin(workspace, name="b")
    (workspace.root / "b.py").write_text((workspace.root / "a.py").read_text())
    workspace.params["explain"]["methods"] = [a, b]
    with pytest.raises(registry.UnknownName, match="two methods are called 'a'"):
        cells.cells(workspace.profile, "blobs")


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("baselines/grad_cam.py", "path/to/file.py:ClassName"),
        ("none.py:Mine", "no method file 'none.py'"),
        ("mine.py:Mien", "did you mean Mine"),
        ({"use": "mine.py:Mine", "layr": 3}, "no setting of Mine 'layr'"),
    ],
)
def test_a_wrong_method_is_said_before_any_work(workspace, entry, message):
    plugin(workspace)
    workspace.params["explain"]["methods"] = [entry]
    with pytest.raises((ProfileError, registry.UnknownName), match=message):
        cells.cells(workspace.profile, "blobs")


def test_units_come_network_by_network_so_that_workers_keep_what_they_know_of_one():
    """Two data sets and two seeds, in the order of the cells; an earlier network's units before a later one's."""
    order = [("b", "n", 1), ("b", "n", 0), ("a", "n", 0), ("b", "n", 1)]
    todo = [cells.Cell("p", *network) for network in order]
    units = cells.in_turn(
        engine.Unit(str(i), print, (cell,)) for i, cell in enumerate(todo)
    )
    assert [(unit.name, unit.turn) for unit in units] == [
        ("0", 0),
        ("1", 1),
        ("2", 2),
        ("3", 0),
    ]
