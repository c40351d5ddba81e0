"""A network of one's own in a profile: it takes the place of a trained one in every step."""

import pytest

from benchmark import store
from benchmark.jobs.costs import Images, network
from benchmark.pipeline import again, cells, collect, explain, score
from benchmark.pipeline.layers import check_layers
from benchmark.pipeline.prerequisites import make_ready
from benchmark.pipeline.profile import Profile
from benchmark.pipeline.train import bring_network, train_networks, training_units
from benchmark.utils.near_names import ProfileError
from tests.helpers.places import ROOT

NET = """
from torch import nn
from torchvision.models.resnet import BasicBlock, ResNet


def build(width=4):
    net = ResNet(BasicBlock, [1, 1, 1, 1], num_classes=4, width_per_group=64)
    net.conv1 = nn.Conv2d(1, 64, 3, padding=1, bias=False)
    return net
"""


@pytest.fixture
def own(workspace):
    """The workspace with a network of its own in the place of the one that is trained."""
    (workspace.root / "net.py").write_text(NET)
    mine = {
        "use": f"{workspace.root}/net.py:build",
        "layer": "layer2",
        "mean": [0.2],
        "std": [0.3],
    }
    workspace.params["zoo"]["blobs"] = {"mine": mine}
    workspace.params["explain"]["methods"] = [
        f"{ROOT}/baselines/{name}"
        for name in ("grad_cam.py:GradCAM", "layer_z.py:LayerZ")
    ]
    return workspace


def test_a_profile_with_it_is_written_and_read_again(own):
    profile = own.profile
    assert Profile.parse(profile.as_mapping()) == profile
    check_layers(profile)
    assert profile.trainings("blobs") == [("mine", 0, profile.zoo["blobs"]["mine"])]


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"weight": "w.pt"}, "zoo.blobs.mine: no key 'weight'; did you mean weights"),
        ({"use": "nit.py:build"}, "zoo.blobs.mine: use: there is no file"),
        ({"mean": "0.5"}, "zoo.blobs.mine.mean: '0.5' is not a list"),
        ({"epochs": 3}, "zoo.blobs.mine: no key 'epochs'"),
    ],
)
def test_what_is_wrong_about_it_is_said_with_its_place(own, change, line):
    own.params["zoo"]["blobs"]["mine"] |= change
    with pytest.raises(ProfileError, match=line):
        _ = own.profile


def test_it_is_explained_and_scored_and_made_again_when_it_has_changed(own):
    profile = own.profile
    (done,) = train_networks(profile, "blobs")
    assert not done.error
    assert any("no more than guessing" in note for note in done.result[0]["notes"])
    (again,) = train_networks(profile, "blobs")
    assert again.result[0]["notes"] == []  # said once
    status = {}
    for cell in cells.cells(profile, "blobs"):
        explain.explain_cell(cell)
        score.score_cell(cell)
        meta = cells.read_meta(cell.explanation)
        status[cell.method.cls] = meta["status"], meta["reason"]
    assert status["GradCAM"] == ("ok", "")
    assert status["LayerZ"] == ("ok", "")
    (own.root / "net.py").write_text(NET.replace("padding=1", "padding=2"))
    weights = store.Paths("tiny").target("blobs", "mine", 0)
    before = weights.read_bytes()
    make_ready(profile, "blobs")
    assert weights.read_bytes() != before
    assert not any(map(explain.is_explained, cells.cells(profile, "blobs")))


def test_metrics_call_again_a_method_that_follows_it(own):
    """Random networks and other classes are followed too."""
    own.params["explain"]["again"] = {"images": 2}
    method = "excitation_backprop.py:ExcitationBackprop"
    own.params["explain"]["methods"] = [f"{ROOT}/baselines/{method}"]
    list(train_networks(own.profile, "blobs"))
    (cell,) = cells.cells(own.profile, "blobs")
    explain.explain_cell(cell)
    again.again_cell(cell)
    rows, _ = collect.rows_of([cell.again_scores])
    status = rows.groupby("metric").status.unique().str.join(" ")
    assert status["mprt"] == status["random_logit"] == "ok", rows.reason.unique()
    assert status["average_sensitivity"] == status["passes_per_image"] == "ok"


def test_a_network_that_cannot_be_explained_fails_with_its_line(own):
    own.params["zoo"]["blobs"]["mine"]["layer"] = "layer2.0.conv1"
    (unit,) = training_units(own.profile, "blobs")
    assert unit.function is bring_network
    (done,) = train_networks(own.profile, "blobs")
    assert "does not dominate the output" in done.error
    card = store.read_json(unit.writes[1])
    assert "does not dominate the output" in card["failed"]


def test_its_work_is_counted_on_shapes_alone(own):
    recipe = own.profile.zoo["blobs"]["mine"]
    F = network(recipe, Images((1, 28, 28), 4, 160, 40))
    assert F.device.type == "meta"
    assert F.layer == "layer2"
    assert list(dict(F.chain.named_children())) == list(F.layers)
