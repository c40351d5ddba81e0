"""Every step on a second device (``tests.helpers.pretend``): the numbers of the CPU, to the bit unless a test says why."""

import warnings

import numpy as np
import pytest

from benchmark import engine, store
from benchmark.papers.explainn import replicate as explainn
from benchmark.pipeline import cells, inputs, protocol, replicate
from benchmark.pipeline.profile import Profile
from tests.helpers import pretend
from tests.helpers.places import ROOT
from tests.helpers.toy_paper import EXPERIMENTS, NO_DATA, experiments, methods, named

IMAGES = {"images": 8, "reference": 48, "again": {"images": 3, "refits": 1}}


@pytest.fixture
def toy(trained, monkeypatch):
    """The trained workspace; what follows on the device computes there alone."""
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
    """Fields of an explanation, or arrays by name, that are not the same to the bit: by how much of their range."""
    found = {}
    for name, one in here.items():
        other = there[name]
        if one is None and other is None:
            continue
        one, other = np.asarray(one), np.asarray(other)
        assert one.shape == other.shape and one.dtype == other.dtype, name
        if not np.array_equal(one, other, equal_nan=one.dtype.kind == "f"):
            apart = np.nanmax(np.abs(one.astype(float) - other.astype(float)))
            found[name] = apart / max(np.nanmax(np.abs(one)), 1e-12)
    return found


def cell_of(toy, entry):
    toy.params["explain"] |= IMAGES | {"methods": [entry]}
    (cell,) = cells.cells(toy.profile, "blobs")
    return cell


@pytest.mark.parametrize("entry", list(methods()), ids=named)
def test_a_method_explains_as_on_the_cpu(toy, entry):
    cell = cell_of(toy, entry)
    (here, meta), (there, other) = on_both(lambda: protocol.attempt(cell))
    assert meta == other and meta["status"] == "ok"
    print(differences(vars(here), vars(there)))
    assert not differences(vars(here), vars(there))


@pytest.mark.parametrize("name", experiments())
def test_an_experiment_finds_what_it_finds_on_the_cpu(toy, monkeypatch, name):
    paper, experiment = name.split(".")
    where = {} if experiment in NO_DATA else {"dataset": "blobs", "target": "cnn"}
    entry = {"experiment": experiment, "seeds": [0], **where, **EXPERIMENTS[name]}
    monkeypatch.setattr(
        explainn.pretrained, "weights", lambda net, source: (before(toy), {})
    )
    profile = Profile.parse(
        toy.params | {"papers": [paper], "replicate": {paper: [entry]}}
    )
    (task,) = replicate.tasks(profile, paper)
    here, there = on_both(lambda: replicate.perform(task))
    assert len(here.numbers) == len(there.numbers)
    a = {str(n): number.value for n, number in enumerate(here.numbers)}
    b = {str(n): number.value for n, number in enumerate(there.numbers)}
    print(differences(a, b), differences(here.arrays, there.arrays))
    assert not differences(a, b)


def before(toy):
    state = store.read_weights(store.Paths("tiny").target("blobs", "cnn", 0))
    return {key: value for key, value in state.items() if not key.startswith("logits")}
