"""Methods of other libraries: the same maps as the libraries give by hand, and clear words where one is absent."""

import ast
import re
import sys

import numpy as np
import pytest
import torch

from benchmark.api import settings_of
from benchmark.jobs import check
from benchmark.methods import adapters
from benchmark.methods.registry import MethodRef
from benchmark.utils.near_names import UnknownName

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::UserWarning", "ignore::FutureWarning"
)


@pytest.fixture(scope="module")
def toy():
    return check.toy((3, 32, 32))


def maps(entry, toy, seed=0):
    target, batch, reference = toy
    before = (
        target.fingerprint(),
        torch.get_rng_state(),
        np.random.get_state()[1].copy(),
    )
    method = MethodRef.parse(entry).build()
    rng = np.random.default_rng(seed)
    e = method.fit(target, reference, rng).explain(target, batch, rng)
    assert e.heatmaps.shape == (len(batch), 32, 32) and np.isfinite(e.heatmaps).all()
    assert target.fingerprint() == before[0]
    assert (
        torch.equal(torch.get_rng_state(), before[1])
        and (np.random.get_state()[1] == before[2]).all()
    )
    return e.heatmaps


@pytest.mark.oracle
@pytest.mark.parametrize(
    "entry",
    [
        "captum:Saliency",
        "captum:InputXGradient",
        "captum:IntegratedGradients?n_steps=5",
        "captum:DeepLift",
        "captum:GuidedBackprop",
        "captum:Deconvolution",
        "captum:Occlusion?sliding_window_shapes=8&strides=8",
        "captum:FeatureAblation?perturbations_per_eval=64",
        "captum:GradientShap?n_samples=2",
        "captum:LayerGradCam",
        "captum:LayerGradCam?layer=conv1",
        "captum:GuidedGradCam",
    ],
)
def test_captum(entry, toy):
    pytest.importorskip("captum")
    found = maps(entry, toy)
    assert found.std(axis=(1, 2)).min() > 0  # a map each
    np.testing.assert_array_equal(found, maps(entry, toy))


@pytest.mark.oracle
def test_captums_integrated_gradients_are_those_of_its_formula(toy):
    """Midpoints instead of captum's Gauss-Legendre points: equal to the quadrature's error."""
    pytest.importorskip("captum")
    target, batch, _ = toy
    c, total = target(batch.x).argmax(dim=1), torch.zeros_like(batch.x)
    for k in range(200):
        x = ((k + 0.5) / 200 * batch.x).requires_grad_()
        total += torch.autograd.grad(target(x).gather(1, c[:, None]).sum(), x)[0] / 200
    expected = (batch.x * total).sum(dim=1).numpy()
    np.testing.assert_allclose(
        maps("captum:IntegratedGradients?n_steps=100", toy),
        expected,
        atol=0.01 * np.abs(expected).max(),
    )


@pytest.mark.oracle
@pytest.mark.parametrize(
    "entry",
    [
        "GradCAM",
        "EigenCAM",
        "LayerCAM",
        "GradCAM?layer=conv1",
        "HiResCAM",
        "GradCAM?eigen_smooth=true",
    ],
)
def test_pytorch_grad_cam(entry, toy):
    pytest.importorskip("pytorch_grad_cam")
    found = maps(f"pytorch_grad_cam:{entry}", toy)
    assert found.min() >= 0 and found.max() <= 1


@pytest.mark.oracle
def test_pytorch_grad_cams_grad_cam_is_ours_after_scaling(toy):
    pytest.importorskip("pytorch_grad_cam")
    target, batch, _ = toy
    ours = (
        MethodRef.parse("baselines/grad_cam.py:GradCAM")
        .build()
        .explain(target, batch, None)
        .heatmaps
    )
    scaled = [(m - m.min()) / max(m.max() - m.min(), 1e-7) for m in ours]
    np.testing.assert_allclose(maps("pytorch_grad_cam:GradCAM", toy), scaled, atol=1e-3)


@pytest.mark.oracle
@pytest.mark.parametrize(
    "entry",
    [
        "EpsilonPlus",
        "EpsilonPlusFlat",
        "EpsilonGammaBox?low=-2&high=2",
        "GuidedBackprop",
        "EpsilonAlpha2Beta1",
    ],
)
def test_zennit(entry, toy):
    pytest.importorskip("zennit")
    assert maps(f"zennit:{entry}", toy).std(axis=(1, 2)).min() > 0


@pytest.mark.oracle
def test_zennits_relevance_is_conserved(toy):
    """The relevance of the pixels adds up to the logit it started from, but for what the biases take."""
    pytest.importorskip("zennit")
    target, batch, _ = toy
    logit = target(batch.x).amax(dim=1).numpy()
    total = maps("zennit:EpsilonPlus", toy).sum(axis=(1, 2))
    assert (
        np.corrcoef(total, logit)[0, 1] > 0.5
        and (np.sign(total) == np.sign(logit)).all()
    )


@pytest.mark.oracle
@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("captum:IntegratedGradient", "did you mean IntegratedGradients"),
        ("captum:IntegratedGradients?n_step=3", "did you mean n_steps"),
        ("captum:Occlusion", "captum:Occlusion needs sliding_window_shapes"),
        ("captum:Saliency?target=3", "no option of captum:Saliency 'target'"),
        ("captum:Lime?similarity_func=3", "no option of captum:Lime"),
        ("captum:Lime?feature_mask=0", "feature_mask=4 (squares of 4 pixels)"),
        ("captum:Lime?feature_mask=4&segments=9", "segments=50 (of each image)"),
        ("captum:NoiseTunnel", "needs attribution_method: captum:NoiseTunnel?"),
        ("captum:NoiseTunnel?attribution_method=Salienc", "did you mean Saliency"),
        ("captum:NoiseTunnel?attribution_method=NoiseTunnel", "no attribution method"),
        ("captum:GradientAttribution", "no attribution in captum"),
        ("captum:PerturbationAttribution", "no attribution in captum"),
        ("captum:LayerActivation", "no attribution in captum"),
        ("captum:NeuronGradient", "no attribution in captum"),
        ("captum:LimeBase", "did you mean Lime"),
        ("captum:LLMAttribution", "no attribution in captum"),
        ("captum:LayerLRP?attribute_to_layer_input=true", "no option of"),
        ("pytorch_grad_cam:BaseCAM", "no map in pytorch_grad_cam"),
        ("pytorch_grad_cam:AblationLayer", "did you mean AblationCAM"),
        ("pytorch_grad_cam:GradCAM?orient=true", "no option of"),
        ("zennit:LayerMapComposite", "no composite in zennit"),
        ("zennit:NameLayerMapComposite", "no composite in zennit"),
        ("pytorch_grad_cam:EigenCam", "did you mean EigenCAM"),
        ("zennit:EpsilonPluss", "did you mean EpsilonPlus"),
        ("zennit:EpsilonGammaBox", "zennit:EpsilonGammaBox needs high, low"),
    ],
)
def test_what_a_library_has_not_is_said(entry, message):
    pytest.importorskip(entry.partition(":")[0])
    with pytest.raises(UnknownName, match=re.escape(message)):
        MethodRef.parse(entry).build()


@pytest.mark.parametrize(
    "entry", ["captum:Saliency", "pytorch_grad_cam:EigenCAM", "zennit:EpsilonPlus"]
)
def test_a_library_that_is_absent_is_named_with_the_way_out(entry, monkeypatch):
    for name in [
        name for name in sys.modules if name.split(".")[0] == entry.partition(":")[0]
    ]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, entry.partition(":")[0], None)
    with pytest.raises(
        UnknownName,
        match=r"cannot be imported \(.*\); pip install .*, or pip install 'glassbench\[adapters\]'",
    ):
        MethodRef.parse(entry).build()


def test_options_are_settings_of_the_method():
    made = adapters.method("Name (library)", {"steps": 3, "window": [1, 4]}, None)
    assert made.name == "Name (library)" and settings_of(made) == {
        "steps": 3,
        "window": (1, 4),
    }


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("0.5", 0.5),
        ("(1,4,4)", (1, 4, 4)),
        ("true", True),
        ("None", None),
        ("conv3", "conv3"),
    ],
)
def test_options_are_read_as_python_reads_them(text, value):
    assert MethodRef.parse(f"captum:X?a={text}").settings == {"a": value}


def test_no_adapter_is_imported_where_none_is_asked_for():
    """The libraries are optional: no module of the package imports one by itself."""
    from benchmark import store

    paths = list((store.ROOT / "benchmark").rglob("*.py"))
    assert paths
    for path in paths:
        nodes = list(ast.walk(ast.parse(path.read_text())))
        names = {
            a.name for node in nodes if isinstance(node, ast.Import) for a in node.names
        }
        names |= {
            node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)
        }
        libraries = {name.split(".")[0] for name in names}
        assert not libraries & {"captum", "pytorch_grad_cam", "zennit"}, path


def test_random_states_are_seeded_from_rng_and_put_back():
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    drawn = []
    for seed in (0, 0, 1):
        with adapters.seeded(np.random.default_rng(seed)):
            drawn.append((torch.rand(1).item(), np.random.rand()))
    assert drawn[0] == drawn[1] != drawn[2]
    assert (
        torch.equal(torch.get_rng_state(), before[0])
        and (np.random.get_state()[1] == before[1]).all()
    )
