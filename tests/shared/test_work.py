"""Counted work: the meter against torch's own, and every kind of unit of the profile ``paper``, run
at toy size here, against its plan: by multiply-adds, not by seconds."""

import inspect
import warnings
from dataclasses import fields, is_dataclass, replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from benchmark import store
from benchmark.jobs import costs, plan
from benchmark.methods.registry import MethodRef, method_refs
from benchmark.papers.cladec import linear
from benchmark.papers.cladec.prototypes import TRAINING
from benchmark.papers.cladec.training import CLASSIFYING, DECODING
from benchmark.papers.explainn import replicate as explainn
from benchmark.papers.xnn.network import Setting
from benchmark.pipeline import cells, explain, inputs, replicate, score, train
from benchmark.pipeline.profile import Profile
from benchmark.shared.work import Facts, Meter, Work, measure, of_method, training_step
from benchmark.zoo import dense, nets
from tests.helpers.places import ROOT
from tests.helpers.toy_paper import (
    EXPERIMENTS,
    NO_DATA,
    PAPER,
    experiments,
    methods,
    named,
)

FACTOR = 3


# --------------------------------------------------------------------------------------------- the meter


def products():
    """One call for each kind of product that networks here are made of."""
    x, w, b = torch.rand(2, 8, 12, 12), torch.rand(6, 8, 3, 3), torch.rand(6)
    many = torch.rand(3, 4, 5)
    net = nn.Conv2d(4, 5, 3)
    return {
        "conv": lambda: F.conv2d(x, w, b, stride=2),
        "grouped": lambda: F.conv2d(x, torch.rand(8, 2, 3, 3), groups=4),
        "transposed": lambda: F.conv_transpose2d(
            x, torch.rand(8, 3, 4, 4), stride=2, padding=1
        ),
        "linear": lambda: F.linear(torch.rand(7, 5), torch.rand(3, 5), torch.rand(3)),
        "bmm": lambda: many @ many.mT,
        "baddbmm": lambda: torch.baddbmm(torch.rand(3, 1, 4), many, many.mT),
        "einsum": lambda: torch.einsum("nk,nkuv->nuv", torch.rand(2, 8), x),
        "vmap": lambda: torch.vmap(lambda z: F.conv2d(z, w))(x[None]),
        "backward": lambda: net(x[:, :4]).sum().backward(),
    }


@pytest.mark.parametrize("kind", products())
def test_the_meter_counts_what_torch_counts(kind):
    with FlopCounterMode(display=False) as theirs:
        products()[kind]()
    assert measure(products()[kind]).passes == theirs.get_total_flops() / 2 > 0


@pytest.mark.parametrize("layer", [nn.Conv2d, nn.ConvTranspose2d])
@pytest.mark.parametrize("groups", [1, 2, 8])
def test_gradients_of_a_grouped_convolution_cost_twice_its_forward_pass(layer, groups):
    conv = layer(8, 16, 3, stride=2, padding=1, groups=groups)
    x = torch.rand(2, 8, 6, 6, requires_grad=True)
    forward = measure(conv, x).passes
    assert measure(conv(x).sum().backward).passes == 2 * forward
    assert measure(conv(x.detach()).sum().backward).passes == forward


def test_eight_networks_under_vmap_cost_eight_times_one():
    gradient = torch.func.grad(lambda w, x: F.conv2d(x, w).square().sum())
    w, x = torch.rand(8, 4, 4, 3, 3), torch.rand(8, 2, 4, 6, 6)
    one = measure(gradient, w[0], x[0]).passes
    assert measure(torch.vmap(gradient), w, x).passes == 8 * one


def test_multiply_adds_by_hand():
    net = nn.Sequential(nn.Conv2d(3, 5, 3), nn.Flatten(), nn.Linear(5 * 36, 7))
    with torch.no_grad():
        found = measure(net, torch.rand(2, 3, 8, 8))
    assert found.passes == 2 * (5 * 36 * 27 + 5 * 36 * 7)


def test_a_training_step_is_three_passes_but_for_the_pixels():
    net = nn.Sequential(nn.Linear(10, 20), nn.ReLU(), nn.Linear(20, 5))
    assert training_step(net.to("meta"), 4, 10).passes == 4 * (
        3 * (10 * 20 + 20 * 5) - 10 * 20
    )


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_the_meter_follows_what_is_alive(device):
    def function():
        a = torch.empty(1000, device=device)
        b = a * 2  # two alive
        del a
        c = b[:10]  # a view is no memory of its own
        return b * c[0]  # two alive, and a number

    assert 8000 <= measure(function).bytes < 8100


def test_work_adds_up_and_memory_is_that_of_the_larger():
    a, b = Work(2.0, 1.0, 100.0), Work(3.0, 5.0, 70.0)
    assert (
        a + b == Work(5.0, 6.0, 100.0)
        and 3 * b == Work(9.0, 15.0, 70.0)
        and (a + b).beside(9.0).bytes == 109.0
    )


def test_a_method_that_declares_nothing_has_a_default():
    facts = toy_facts().explaining(10, 7)
    assert of_method(object(), facts).passes == pytest.approx(37 * facts.logits.passes)


def toy_facts():
    recipe = {"net": "explainn_cnn", "epochs": 1}
    found = costs.Images((1, 28, 28), 4, 160, 40)
    return Facts(
        found.shape, 4, 160, 40, target=costs.network(costs.Recipe.parse(recipe), found)
    )


# --------------------------------------------------------------------------------------------- real runs


@pytest.fixture
def counted(trained, monkeypatch):
    """The trained workspace; products that torch's formulas do not know (oneDNN's layout, numpy) run as torch's own."""
    monkeypatch.setattr(nets.Conv, "_is_dense", lambda self, z: False)
    monkeypatch.setattr(dense.Chain, "of", classmethod(lambda cls, net: None))
    for folder in ("baselines", "benchmark"):
        (trained.root / folder).symlink_to(ROOT / folder)
    inputs.forget()
    yield trained
    inputs.forget()


def agrees(function, unit, step, profile):
    """The multiply-adds of a unit that is run are within a factor of its plan."""
    _, work = plan.counter(profile).count(step, unit)
    with warnings.catch_warnings(), Meter() as meter:
        warnings.simplefilter("ignore")
        function(*unit.arguments)
    least, most = (
        (work.passes / FACTOR, work.passes * FACTOR) if work.passes else (-1, 1e6)
    )
    assert least < meter.passes < most, f"{meter.passes:.3g} of {work.passes:.3g}"


RECIPES = {
    "mlp": {
        "options": {"width": 20, "depth": 3},
        "epochs": 4,
        "stop_at_train_accuracy": 1.0,
        "check_every": 2,
        "lr": 1e-5,
    },
    "explainn_cnn": {"epochs": 2, "batch": 50},
    "xnn_cnn": {"epochs": 2, "freeze_until": "conv2"},
    "vgg11": {"epochs": 1, "options": {"width": 0.25, "resize": 32}},
    "resnet10": {"epochs": 1, "options": {"width": 0.25}},
}


@pytest.mark.parametrize(
    "net",
    sorted(
        {r["net"] for targets in PAPER["zoo"].values() for r in targets.values()}
        - {"vgg19"}
    ),
)
def test_training_is_planned_as_it_runs(counted, net):
    recipe = {"net": net, "seeds": [0], "layer": "logits", **RECIPES[net]}
    profile = Profile.parse(counted.params | {"zoo": {"blobs": {net: recipe}}})
    (unit,) = train.training_units(profile, "blobs", gpu=False)
    agrees(train.train_jobs, unit, "train", profile)


@pytest.mark.parametrize("entry", list(methods()), ids=named)
def test_an_explanation_is_planned_as_it_runs(counted, entry):
    cell = toy_cell(counted, entry)
    inputs.load_target(cell)  # to build a network is a pass of its own
    agrees(explain.explain_cell, explain.explain_unit(cell), "explain", counted.profile)
    assert cells.read_cell(cell)[1]["status"] == "ok"


def toy_cell(counted, entry):
    counted.params["explain"] |= {"images": 12, "reference": 60, "methods": [entry]}
    (cell,) = cells.cells(counted.profile, "blobs")
    return cell


@pytest.mark.parametrize("entry", list(methods()), ids=named)
def test_scores_are_planned_as_they_run(counted, monkeypatch, entry):
    cell = toy_cell(counted, entry)
    declared = costs.offered(cell.method)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        explain.explain_cell(cell)
    offers = cells.read_cell(cell)[0].offers()
    assert offers <= declared and declared - offers <= {
        "heatmaps"
    }  # ExplaiNN finds no rule for maps on a toy
    monkeypatch.setattr(costs, "offered", lambda ref: offers)
    inputs.forget()
    inputs.load_target(cell)
    agrees(score.score_cell, score.score_unit(cell), "score", counted.profile)


@pytest.mark.parametrize("name", experiments())
def test_an_experiment_is_planned_as_it_runs(counted, monkeypatch, name):
    paper, experiment = name.split(".")
    where = {} if experiment in NO_DATA else {"dataset": "blobs", "target": "cnn"}
    entry = {"experiment": experiment, "seeds": [0], **where, **EXPERIMENTS[name]}
    monkeypatch.setattr(
        explainn.pretrained, "weights", lambda net, source: (before(counted), {})
    )
    profile = Profile.parse(
        counted.params | {"papers": [paper], "replicate": {paper: [entry]}}
    )
    (task,) = replicate.tasks(profile, paper)
    agrees(replicate.replicate_task, replicate.unit_of(task), "replicate", profile)
    assert replicate._meta(task)["status"] == "ok"


def before(counted):
    """Weights of the network that the toy was fine-tuned from: its own, but for the logits."""
    state = store.read_weights(store.Paths("tiny").target("blobs", "cnn", 0))
    return {key: value for key, value in state.items() if not key.startswith("logits")}


# --------------------------------------------------------------------------------------------- defaults


@pytest.mark.parametrize("ref", method_refs(), ids=lambda ref: ref.cls)
def test_a_method_with_its_defaults_written_out_has_the_same_plan(ref):
    if ref.cls == "Reused":
        ref = MethodRef(ref.file, ref.cls, {"of": "baselines/grad_cam.py:GradCAM"})
    method, facts = ref.build(), toy_facts().explaining(10, 20)
    written = {
        f.name: getattr(method, f.name)
        for f in fields(method)
        if f.init and not is_dataclass(getattr(method, f.name))
    }
    explicit = MethodRef(ref.file, ref.cls, dict(ref.settings) | written)
    assert costs.explaining(explicit, facts) == costs.explaining(ref, facts)
    assert costs.explaining(ref, facts).passes + costs.explaining(ref, facts).fits > 0


def nested(name):
    """Settings of an experiment that are mappings with defaults of their own."""
    decoders = {"decoding": vars(DECODING), "evaluation": vars(CLASSIFYING)}
    dense = vars(Setting())
    return {
        "cladec.epochs": decoders | {"training": vars(CLASSIFYING)},
        "cladec.prototypes": {"decoding": vars(DECODING), "training": vars(TRAINING)},
        "cladec.linear": {"training": vars(linear.TRAINING)},
        "cladec.subsets": {"decoding": vars(DECODING)},
        "xnn.table1": {"training": dense},
        "xnn.degeneration": {"training": dense | {"accept": "live"}},
        "xnn.counts": {"training": dense},
        "xnn.tuning": {"training": dense},
        "xnn.human_study": {"training": dense | {"accept": "live"}},
        "xnn.convolutional": {"training": dense | {"accept": "live"}},
    }.get(name, decoders if name.startswith("cladec") else {})


@pytest.mark.parametrize("name", experiments())
def test_an_experiment_with_its_defaults_written_out_has_the_same_plan(name):
    paper, experiment = name.split(".")
    parameters = list(
        inspect.signature(replicate.experiment(paper, experiment)).parameters.values()
    )[2:]
    defaults = {p.name: p.default for p in parameters if p.default is not p.empty}
    asked = [
        p.name for p in parameters if p.default is p.empty or p.name == "nested"
    ]  # a toy has no 512 units
    needed = {key: EXPERIMENTS[name][key] for key in asked}
    facts = replace(toy_facts(), build=lambda entry: MethodRef.parse(entry).build())
    written = defaults | needed | nested(name)
    assert costs.experiment(paper, experiment, written, facts) == costs.experiment(
        paper, experiment, needed, facts
    )
