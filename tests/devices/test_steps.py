"""Every step on a second device (``tests.helpers.pretend``): the CPU's numbers, to the bit unless a test says why."""

import warnings
from dataclasses import replace

import numpy as np
import pytest

from benchmark import data, engine, store, zoo
from benchmark.methods import registry
from benchmark.papers.explainn import replicate as explainn
from benchmark.pipeline import again, cells, inputs, protocol, replicate
from benchmark.pipeline.profile import Profile
from tests.helpers import pretend
from tests.helpers.places import ROOT
from tests.helpers.toy_paper import EXPERIMENTS, NO_DATA, experiments, methods, named
from tests.helpers.workspace import BLOB_NETWORK

IMAGES = {"images": 8, "reference": 60, "again": {"images": 3, "refits": 1}}
FAST = ("GradCAM", "ClaDec", "XNN", "LayerTree")
# Networks that train together add in another order, and a classifier that trains on what they decode adds to it.
TOLERANCE = {"cladec.alphas": 0.1}


@pytest.fixture
def toy(trained, monkeypatch):
    """The trained workspace, on the accelerator where there is one."""
    monkeypatch.delenv("GLASSBENCH_DEVICE")
    for folder in ("baselines", "benchmark"):
        (trained.root / folder).symlink_to(ROOT / folder)
    inputs.forget()
    yield trained
    inputs.forget()


def on_both(function):
    """What a function returns on the CPU and on the device."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # toys converge to nothing
        here = function()
        inputs.forget()
        with pretend.device():
            assert engine.device() == pretend.NAME
            there = function()
        inputs.forget()
    return here, there


def differences(here, there):
    """The arrays, by name, that are not the same to the bit, and by how much of their largest value."""
    found = {}
    assert here.keys() == there.keys()
    for name, one in here.items():
        if one is None or there[name] is None:
            assert one is there[name], name
            continue
        one, other = np.asarray(one), np.asarray(there[name])
        assert (one.shape, one.dtype) == (other.shape, other.dtype), name
        if not np.array_equal(one, other, equal_nan=one.dtype.kind == "f"):
            apart = np.nanmax(np.abs(one.astype(float) - other.astype(float)))
            found[name] = apart / max(np.nanmax(np.abs(one)), 1e-12)
    return found


def marked(entries, name):
    """The fast ones run in every suite."""
    for entry in entries:
        short = name(entry)
        marks = () if short in FAST else pytest.mark.slow
        yield pytest.param(entry, id=short, marks=marks)


def cell_of(toy, entry):
    toy.params["explain"] |= IMAGES | {"methods": [entry]}
    (cell,) = cells.cells(toy.profile, "blobs")
    return cell


# --------------------------------------------------------------------------------------------- training


def trained_as(folder, recipe, **how):
    """The weights of two seeds, and the devices of their cards."""
    dataset = data.load(store.Paths("tiny").data("blobs"))
    jobs = [(recipe, seed, folder / f"{seed}.safetensors") for seed in (0, 1)]
    cards = zoo.train_many(dataset, jobs, device=engine.device(), **how)
    weights = {}
    for _, seed, path in jobs:
        state = store.read_weights(path)
        weights |= {f"{seed} {name}": tensor.numpy() for name, tensor in state.items()}
    return weights, {card["device"] for card in cards}


MLP = {"net": "mlp", "options": {"width": 10, "depth": 2}, "epochs": 2, "batch": 32}


@pytest.mark.parametrize(
    ("recipe", "together", "tolerance"),
    [
        (BLOB_NETWORK, False, 0),
        (BLOB_NETWORK | {"freeze_until": "pool1"}, False, 0),
        (BLOB_NETWORK | {"flip": True, "shift": 2}, False, 0),
        (MLP, False, 1e-6),  # the CPU has a loop of its own for dense networks
        (MLP, True, 1e-6),  # and the products of two are one, added in another order
        (BLOB_NETWORK | {"options": {"dropout": False}}, True, 1e-3),
    ],
)
def test_networks_train_to_the_same_weights(toy, tmp_path, recipe, together, tolerance):
    here, _ = trained_as(tmp_path / "here", recipe)
    with pretend.device():
        there, device = trained_as(tmp_path / "there", recipe, batched=together)
    assert device == {"Pretend 1"}
    apart = differences(here, there)
    assert max(apart.values(), default=0) <= tolerance
    assert not together or apart  # they did train together


def test_products_in_bfloat16_train_a_network_that_is_near(toy, tmp_path):
    here, _ = trained_as(tmp_path / "here", MLP)
    with pretend.device(bfloat16=True):
        there, _ = trained_as(tmp_path / "there", MLP)
    assert {tensor.dtype for tensor in there.values()} == {np.dtype("float32")}
    assert 1e-3 < max(differences(here, there).values()) < 0.5


# --------------------------------------------------------------------------------------------- methods and metrics


@pytest.mark.parametrize("entry", list(marked(methods(), named)))
def test_a_method_explains_as_on_the_cpu(toy, entry):
    cell = cell_of(toy, entry)
    (here, meta), (there, other) = on_both(lambda: protocol.attempt(cell))
    assert meta == other and meta["status"] == "ok"
    assert not differences(vars(here), vars(there))


def scores(cell, explanation):
    """The values of every metric with every setting, by name and status."""
    batch, found = inputs.load_batch(cell), {}
    for spec in registry.scoring_metrics().values():
        for number, setting in enumerate(spec.settings):
            status, reason, values = protocol.measure(
                cell, spec, setting, explanation, batch
            )
            assert status != "failed", (spec.name, reason)
            found[f"{spec.name} {number} {status} {reason}"] = values
    return found


@pytest.mark.parametrize("entry", list(marked(methods(), named)))
def test_its_scores_are_those_of_the_cpu(toy, entry):
    cell = cell_of(toy, entry)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        explanation, _ = protocol.attempt(cell)
    here, there = on_both(lambda: scores(cell, explanation))
    assert not differences(here, there)
    assert sum(" ok" in name for name in here) > 2


CALLED = [{"use": "baselines/grad_cam.py:GradCAM"}]


@pytest.mark.slow
@pytest.mark.parametrize("entry", CALLED, ids=named)
def test_metrics_that_call_again_find_what_they_find_on_the_cpu(toy, entry):
    cell = cell_of(toy, entry)
    found = []
    measured = lambda: again.measure_again(
        again.fitted_again(cell), inputs.load_batch(cell), {}
    )
    for outcomes in on_both(measured):
        values = {f"{key} {status}": v for key, (status, _, v) in outcomes.items()}
        assert not any("failed" in name for name in values), outcomes
        found.append(values)
    assert not differences(*found)
    assert sum(" ok" in name for name in found[0]) > 2


# --------------------------------------------------------------------------------------------- experiments


@pytest.mark.slow
@pytest.mark.parametrize("name", experiments())
def test_an_experiment_finds_what_it_finds_on_the_cpu(toy, monkeypatch, name):
    paper, experiment = name.split(".")
    where = {} if experiment in NO_DATA else {"dataset": "blobs", "target": "cnn"}
    entry = {"experiment": experiment, "seeds": [0], **where, **EXPERIMENTS[name]}
    monkeypatch.setattr(explainn.pretrained, "weights", lambda *_: (before(toy), {}))
    changes = {"papers": [paper], "replicate": {paper: [entry]}}
    (task,) = replicate.tasks(Profile.parse(toy.params | changes), paper)
    found = []
    for outcome in on_both(lambda: replicate.perform(task)):
        values = {}
        for place, number in enumerate(outcome.numbers):
            values[f"{place} {replace(number, value=0.0)}"] = number.value
        found.append(values | dict(outcome.arrays))
    apart = differences(*found)
    assert max(apart.values(), default=0) <= TOLERANCE.get(name, 0)


def before(toy):
    """Weights of the network that the toy was fine-tuned from: its own, but for the logits."""
    state = store.read_weights(store.Paths("tiny").target("blobs", "cnn", 0))
    return {key: value for key, value in state.items() if not key.startswith("logits")}
