"""Layer Z: which units, against a slow loop; their maps, against XNN's; and where nothing can be shown."""

import numpy as np
import pytest
import torch
from torch import nn

from benchmark.api import Batch, NotApplicable, Target
from benchmark.methods.registry import load_module
from benchmark.papers.xnn import maps
from benchmark.store import ROOT

LayerZ = load_module(ROOT / "baselines" / "layer_z.py").LayerZ


def network(dense=True):
    with torch.random.fork_rng():
        torch.manual_seed(4)
        net = nn.Sequential()
        net.add_module("conv", nn.Sequential(nn.Conv2d(1, 6, 3, padding=1), nn.ReLU()))
        net.add_module("pool", nn.MaxPool2d(2))
        if dense:
            net.add_module("flatten", nn.Flatten())
            net.add_module("fc", nn.Sequential(nn.Linear(96, 9), nn.ReLU()))
            net.add_module("logits", nn.Linear(9, 3))
        else:
            net.add_module(
                "logits",
                nn.Sequential(
                    nn.Conv2d(6, 3, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()
                ),
            )
    return Target(net, name="tiny", classes="abc", input_shape=(1, 8, 8), layer="pool")


def images(n=20, seed=1):
    x = torch.from_numpy(
        np.random.default_rng(seed).random((n, 1, 8, 8), dtype=np.float32)
    )
    return Batch(x=x, y=torch.zeros(n, dtype=torch.long), chunk=6)


def fitted(target, n=3, **settings):
    return LayerZ(n=n, **settings).fit(target, images(40), np.random.default_rng(0))


@pytest.mark.parametrize("dense", [True, False])
def test_units_add_most_to_the_class(dense):
    target, reference = network(dense), images(40)
    units = fitted(target)._units
    name = "fc" if dense else "pool"
    z, found = target.features(reference, name), target(reference).argmax(1)
    for c in range(3):
        rows = [i for i in range(40) if found[i] == c] or list(range(40))
        total = torch.zeros(z.shape[1])
        for i in rows:
            for u in range(
                z.shape[1]
            ):  # G is linear here: what goes when the unit is taken out
                out = z[i : i + 1].clone()
                out[:, u] = 0
                total[u] += (target.head(z[i : i + 1], name) - target.head(out, name))[
                    0, c
                ]
        assert units[c].tolist() == total.topk(3).indices.tolist()


@pytest.mark.parametrize("dense", [True, False])
def test_maps_are_those_of_xnns_units(dense):
    target, batch = network(dense), images()
    method = fitted(target)
    e = method.explain(target, batch, np.random.default_rng(0))
    at = maps.find(target, batch.x)
    assert (
        at.name == method._at
        and e.offers() == {"concept_maps"}
        and e.concept_maps.shape == (20, 3, 8, 8)
    )
    found = target(batch).argmax(1)
    for i in range(20):
        theirs = maps.z_maps(target, batch.x[i : i + 1], method._units[found[i]], at)[
            :, 0
        ]
        np.testing.assert_allclose(e.concept_maps[i], theirs.numpy(), atol=1e-6)
    assert e.concept_maps.min() >= 0 and e.concept_maps.any()


def test_a_layer_may_be_named_and_units_may_be_few():
    method = fitted(network(), n=200, layer="fc")
    assert method._at == "fc" and method._units.shape == (3, 9)
    with pytest.raises(ValueError, match="no layer 'fc9'"):
        fitted(network(), layer="fc9")


def test_nothing_below_the_logits_and_a_layer_without_a_rule():
    linear = nn.Sequential()
    linear.add_module("logits", nn.Sequential(nn.Flatten(), nn.Linear(64, 3)))
    target = Target(linear, name="linear", classes="abc", input_shape=(1, 8, 8))
    with pytest.raises(NotApplicable, match="no layer below its logits"):
        fitted(target)
    target = network()
    target.net.fc[1] = nn.Softplus()
    target.net.pool = nn.LPPool2d(2, 2)
    with pytest.raises(NotApplicable, match="no rule for LPPool2d"):
        fitted(target, to="conv").explain(target, images(), np.random.default_rng(0))
