"""Layers that a profile names, before anything is trained."""

import pytest

from benchmark.pipeline.layers import check_layers, named
from benchmark.pipeline.profile import Profile
from benchmark.pipeline.train import train_networks
from benchmark.utils.near_names import ProfileError
from tests.helpers.places import ROOT

SHIPPED = [
    Profile.read(path) for path in sorted((ROOT / "benchmark/profiles").glob("*.yaml"))
]
CAM = f"{ROOT}/baselines/grad_cam.py:GradCAM"
XNN = f"{ROOT}/benchmark/papers/xnn/method.py:XNN"
DRAWING = {"experiment": "drawing", "dataset": "blobs", "target": "cnn"}


@pytest.mark.parametrize("profile", SHIPPED, ids=lambda profile: profile.name)
def test_the_profiles_that_are_shipped_name_layers_that_exist(profile):
    check_layers(profile)


def test_layers_stand_in_text_lists_and_mappings():
    settings = {"layer": "a", "layers": {-1: "b"}, "dense": None, "to": "pixels"}
    assert list(named(settings)) == [("layer", "a"), ("layers", "b")]
    assert list(named({"layers": ["c", "d"], "other": "e"})) == [
        ("layers", "c"),
        ("layers", "d"),
    ]


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (
            lambda p: p["zoo"]["blobs"]["cnn"].update(layer="cnv1"),
            "zoo.blobs.cnn: no layer of .* 'cnv1'; did you mean conv",
        ),
        (
            lambda p: p["zoo"]["blobs"]["cnn"].update(freeze_until="logits"),
            "zoo.blobs.cnn: no layer to freeze in .* 'logits'",
        ),
        (
            lambda p: p["explain"].update(methods=[{"use": CAM, "layer": "cnv1"}]),
            r"explain.methods\[0\].layer: no layer in the explained networks of blobs: 'cnv1'; did you mean",
        ),
        (
            lambda p: p["explain"].update(methods=[{"use": XNN, "to": "pol1"}]),
            r"explain.methods\[0\].to: no layer in the explained networks of blobs: 'pol1'",
        ),
        (
            lambda p: p.update(
                papers=["layer_trees"],
                replicate={"layer_trees": [{**DRAWING, "layer": "fc9"}]},
            ),
            r"replicate.layer_trees\[0\].layer: no layer of blobs/cnn: 'fc9'; did you mean fc1",
        ),
    ],
    ids=["recipe", "frozen", "method", "way down", "experiment"],
)
def test_a_layer_that_does_not_exist_is_named_before_anything_is_trained(
    workspace, change, line
):
    change(workspace.params)
    with pytest.raises(ProfileError, match=line):
        list(train_networks(workspace.profile, "blobs"))
    assert not list((workspace.root / "results").rglob("*.json"))
