"""``import glassbench``: objects in this process, five lines each; wrong input in one line."""

import multiprocessing.process
import re

import numpy as np
import pytest
import torch
from torch import nn

import glassbench
from benchmark.methods.registry import metrics, scoring_metrics
from tests.helpers import brought_networks
from tests.helpers.places import ROOT

QUICK = ["gini", "average_drop", "average_increase"]


class Net(nn.Module):
    """Two convolutions with a way around the second, and dense logits."""

    def __init__(self):
        super().__init__()
        self.layer1 = nn.Conv2d(3, 6, 3, stride=2, padding=1)
        self.layer2 = nn.Conv2d(6, 6, 3, padding=1)
        self.fc = nn.Linear(6, 3)

    def forward(self, x):
        z = self.layer1(x).relu()
        return self.fc((self.layer2(z)).relu().mean((2, 3)))


class Light:
    def fit(self, target, reference, rng):
        return self

    def explain(self, target, batch, rng):
        return glassbench.Explanation(heatmaps=batch.x.mean(dim=1))


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    return Net()


@pytest.fixture(scope="module")
def images():
    x = torch.rand(8, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    return x, torch.arange(8) % 3


def place(net, images, method=Light, **options):
    x, y = images
    options = {"metrics": QUICK} | options
    return glassbench.evaluate(method, network=net, images=x, labels=y, **options)


def test_the_examples_of_the_page_run(net, images, monkeypatch):
    def start(process):
        raise AssertionError("a process was started")

    monkeypatch.setattr(multiprocessing.process.BaseProcess, "start", start)
    text = (ROOT / "docs" / "python.md").read_text()
    x, y = images
    names = {"net": Net(), "x": x, "y": y}
    for code in re.findall(r"```python\n(.*?)```", text, re.S):
        exec(compile(code, "python.md", "exec"), names)
    found = names["found"]
    assert set(found.explanations) == {
        "GradNorm",
        "Grad-CAM",
        "Grad-CAM++",
        "Edge map (Sobel)",
        "Random map",
    }
    known = scoring_metrics().items()
    judging = {name for name, spec in known if "heatmaps" in spec.needs}
    assert set(names["scores"].metric) == judging


def test_a_class_without_a_name_goes_by_its_own(net, images):
    found = place(net, images)
    assert "Light" in found.table().columns
    assert set(found.differences) == {"Light"}
    assert set(found.rows.metric) == set(QUICK)


def test_a_value_is_the_mean_of_what_the_metric_gives(net, images):
    x, y = images
    scores = glassbench.score(x.mean(1), network=net, images=x, labels=y)
    given = scores.set_index(["metric", "metric_setting"]).value
    # average drop by hand: the share of the class's probability that is lost where all but the brightest 20 % of pixels
    # is set to the fill value of the metric
    spec = metrics()["average_drop"]
    target = glassbench.Target(
        Net(), name="x", classes=list("abc"), input_shape=(3, 16, 16)
    )
    target.net.load_state_dict(net.state_dict())
    batch = glassbench.Batch(x, y, torch.arange(8))
    e = glassbench.Explanation(heatmaps=x.mean(1))
    values = spec(e, target, batch, np.random.default_rng(0), keep=0.2)
    assert given["average_drop", "keep=0.2"] == pytest.approx(values.mean())
    assert given["gini", ""] == pytest.approx(np.mean([gini(m) for m in x.mean(1)]))


def gini(m):
    """Mean absolute difference of two pixels over twice the mean, of n - 1 other pixels or of n."""
    v = np.sort(np.abs(np.asarray(m, np.float64)).ravel())
    n = len(v)
    k = np.arange(1, n + 1)
    return 1 - 2 * np.sum(v / v.sum() * (n - k + 0.5) / n)


def test_two_runs_are_equal(net, images):
    first = place(net, images, ["baselines/random_map.py:RandomMap"], besides=False)
    second = place(net, images, ["baselines/random_map.py:RandomMap"], besides=False)
    assert first.rows.equals(second.rows)


def test_metrics_may_call_the_method_again(net, images):
    asked = []

    def declared(needs=frozenset({"heatmaps", "explain"}), **more):
        return glassbench.metric(
            needs=set(needs), track="heatmap", better="lower", unit="fraction",
            version=1, source="mine", calls=1, **more,
        )  # fmt: skip

    @declared(settings=({"times": 1}, {"times": 2}))
    def darker_moves(e, target, batch, rng, explain, *, times):
        asked.append(len(batch))
        for _ in range(times):
            there = explain(glassbench.Batch(batch.x / 2, batch.y)).heatmaps
        return np.abs(there - e.heatmaps).mean(axis=(1, 2))

    metrics = [darker_moves, "average_sensitivity", "gini"]
    found = place(net, images, metrics=metrics, besides=False).rows
    rows = found.set_index(["metric", "metric_setting"])
    x, _ = images
    expected = x.mean().item() / 2
    assert rows.loc[("darker_moves", "times=1"), "value"] == pytest.approx(expected)
    assert rows.loc[("darker_moves", "times=2"), "status"] == "failed"
    assert (
        "the 1 per image that it declares"
        in rows.loc[("darker_moves", "times=2"), "reason"]
    )
    assert asked == [8, 8]
    sensitivity = rows.loc["average_sensitivity"]
    assert set(sensitivity.status) == {"ok"} and set(sensitivity.n) == {8}
    given = glassbench.score(
        x.mean(1), network=net, images=x, labels=images[1], metrics=metrics
    ).set_index("metric")
    assert given.loc["gini", "status"] == "ok"
    calling = given.drop("gini")
    assert set(calling.status) == {"not applicable"}
    assert calling.reason.str.contains("made elsewhere").all()


def test_metrics_call_again_a_method_that_follows_the_network(images):
    """It is no chain of layers, nor are those that a metric makes of it."""
    method = "baselines/excitation_backprop.py:ExcitationBackprop"
    metrics = ["random_logit", "passes_per_image"]
    found = place(Around(), images, method, metrics=metrics, besides=False)
    assert set(found.rows.status) == {"ok"}, found.notes()


class Around(nn.Module):
    """A way around its second layer."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, padding=1)
        self.second = nn.Conv2d(4, 4, 3, padding=1)
        self.fc = nn.Linear(4, 3)

    def forward(self, x):
        z = self.first(x).relu()
        z = z + self.second(z).relu()
        return self.fc(z.mean((2, 3)))


def test_the_network_of_the_caller_stays_as_it_is(images):
    net = Net().train()
    net.fc.bias.grad = torch.ones(3)
    place(net, images, besides=False)
    assert net.training and net.fc.weight.requires_grad
    assert net.fc.bias.grad is not None
    assert not net.layer2._forward_hooks


def test_a_network_that_kept_what_a_pass_left_is_copied(images):
    net = Net()
    net.layer1.register_forward_hook(lambda m, _, out: setattr(m, "seen", out))
    torch.nn.utils.parametrize.register_parametrization(net.fc, "weight", nn.Tanh())
    net(images[0])
    assert not net.layer1.seen.is_leaf
    place(net, images, besides=False)


def test_a_notebook_draws_the_figure(net, images):
    figure = place(net, images, besides=False).figure(2)
    assert figure._repr_png_().startswith(b"\x89PNG")


def test_names_are_escaped(net, images):
    class Rude(Light):
        name = "<script>alert(1)</script>"

    html = place(net, images, Rude(), besides=False)._repr_html_()
    assert "<script>" not in html and "&lt;script&gt;" in html
    assert html.count("<table") == 1


def test_it_prints_as_a_table(net, images):
    text = repr(place(net, images, besides=False))
    assert text.startswith("Heat maps\n")
    assert "place" in text and "average drop, keep=0.2 ↓" in text


def test_images_may_be_bytes_and_labels_a_list(net, images):
    x, y = images
    pixels = (x * 255).round().to(torch.uint8)
    a = place(net, (pixels.numpy(), y.tolist()), besides=False)
    b = place(net, (pixels / 255, y), besides=False)
    assert a.rows.equals(b.rows)


def test_a_batch_brings_its_annotations(net, images):
    x, y = images
    boxes = torch.tensor([[2.0, 2.0, 9.0, 9.0]]).expand(8, 4)
    batch = glassbench.Batch(x, y, boxes=boxes)
    options = {"metrics": ["pointing_game"], "besides": False}
    found = place(net, (batch, None), **options)
    assert (found.rows.status == "ok").all()


def test_a_method_says_that_it_does_not_apply(net, images):
    class Mute(Light):
        def explain(self, target, batch, rng):
            raise glassbench.NotApplicable("needs\nwater")

    found = place(net, images, [Mute(), Light])
    assert any("not applicable: needs water" in line for line in found.notes())


def test_what_a_method_raises_is_raised(net, images):
    class Broken(Light):
        def explain(self, target, batch, rng):
            return {}["map"]

    with pytest.raises(KeyError):
        place(net, images, Broken, besides=False)
    peeking = light(lambda b, t: E(heatmaps=b.y))
    with pytest.raises(AttributeError, match="batch.y is withheld"):
        place(net, images, peeking, besides=False)


def light(value=None, **members):
    """A method whose explanation is ``value`` of the batch."""

    def explain(self, target, batch, rng):
        return value(batch, target)

    if value:
        members["explain"] = explain
    return type("Odd", (Light,), members)


E = glassbench.Explanation


@pytest.mark.parametrize(
    ("method", "line"),
    [
        (light(lambda b, t: b.x), "Odd: explain returned Tensor, not an Explanation"),
        (light(lambda b, t: E(heatmaps=b.x)), r"heatmaps has shape .* expected 3 axes"),
        (light(lambda b, t: E(heatmaps=b.x[:, 0, ::2, ::2])), "is 8x8, images 16x16"),
        (light(lambda b, t: E(heatmaps=b.x[1:, 0])), "explains 7 images of 8"),
        (light(lambda b, t: E(heatmaps=b.x[:, 0] / 0)), "NaN or infinite"),
        (light(lambda b, t: E(heatmaps=b.x.mul_(2)[:, 0])), "changed the images"),
        (
            light(lambda b, t: t.net.train() and E(heatmaps=b.x[:, 0])),
            "changed the target",
        ),
        (light(needs={"boxes"}), "it needs boxes; a method may need"),
        (light(lambda b, t: E(heatmaps=torch.rand(len(b), 16, 16))), "draw from rng"),
        (Net, "Net is not a method: it needs fit"),
        (3, "int is not a method"),
        ([], "give a method"),
        ([Light, Light], "two methods are called 'Light'"),
        ("captun:Saliency", "no library 'captun'; did you mean captum"),
    ],
)
def test_a_method_that_cannot_be_used(net, images, method, line):
    refused(lambda: place(net, images, method, besides=False), line)


def refused(call, line):
    with pytest.raises(glassbench.InputError, match=line) as caught:
        call()
    assert isinstance(caught.value, ValueError)
    assert "\n" not in str(caught.value)


X, Y = torch.rand(4, 3, 16, 16), [0, 1, 2, 0]


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"layer": "layer3"}, "no layer 'layer3'; did you mean layer"),
        ({"layer": "fc.weight"}, "no layer 'fc.weight'"),
        ({"images": X.round() * 4 - 2}, r"from -2 to 2; give pixels in \[0, 1\]"),
        ({"images": X[:, 0]}, r"shape \(4, 16, 16\); give \(images, channels"),
        ({"images": X.permute(0, 2, 3, 1)}, "channels come last"),
        ({"images": X / 0}, "NaN or infinite"),
        ({"images": "photos/"}, "images are a str"),
        ({"images": X[:0]}, "shape"),
        ({"labels": None}, "give labels"),
        ({"labels": [0, 1, 3, 0]}, "labels hold 0..3; the network has 3 classes"),
        ({"labels": [0, 1]}, "give one for each of 4 images"),
        ({"labels": [0.5, 1, 1, 0]}, "not whole numbers"),
        ({"classes": ["a", "b"]}, "has 3 outputs for 2 classes"),
        ({"mean": [0.5, 0.5], "std": [1, 1]}, "2 numbers in mean and std"),
        ({"std": 0}, "above 0"),
        ({"metrics": ["average_dorp"]}, "no metric 'average_dorp'; did you mean"),
        ({"network": torch.relu}, "is a builtin_function_or_method, not a torch"),
        ({"network": brought_networks.returns_a_dict()}, "returns a dict of logits"),
        ({"network": brought_networks.has_no_gradients()}, "logits without gradients"),
        ({"network": brought_networks.takes_a_dict()}, "must take a tensor"),
        ({"network": nn.Sequential(nn.Conv2d(1, 2, 3))}, "cannot take images"),
    ],
)  # fmt: skip
def test_images_or_a_network_that_cannot_be_used(net, changes, line):
    given = {"network": net, "images": X, "labels": Y, "metrics": ["gini"]} | changes
    refused(lambda: glassbench.score(X.mean(1), **given), line)


def test_maps_that_cannot_be_scored(net):
    for maps, line in (
        (X.mean(1)[1:], "heatmaps: heatmaps explains 3 images of 4"),
        (X[:, 0, 1:], "is 15x16, images 16x16"),
        (X, "expected 3 axes"),
        ("maps.npz", "heatmaps: "),
    ):
        refused(
            lambda m=maps: glassbench.score(m, network=net, images=X, labels=Y), line
        )


def test_what_is_public_is_documented():
    for name in glassbench.__all__:
        assert hasattr(glassbench, name)
        if name[0] != "_":
            assert getattr(glassbench, name).__doc__
