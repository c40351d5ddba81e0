"""Sec. 4's linear encoders and decoders against scikit-learn, numpy and the theory."""

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from sklearn.linear_model import Ridge

from benchmark import store
from benchmark.data import Dataset
from benchmark.papers import Study
from benchmark.papers.cladec import linear, replicate
from benchmark.papers.cladec.training import Training
from tests.helpers.workspace import blobs

RNG = np.random.default_rng
HOW = {"epochs": 1000, "batch": 20, "lr": 0.01}


@pytest.fixture
def images():
    """Centred images (40, 36) of three classes, whose pixels vary together."""
    rng = RNG(0)
    y = np.arange(40) % 3
    x = (
        rng.normal(size=(40, 5)) @ rng.normal(size=(5, 36))
        + rng.normal(size=(3, 36))[y]
    )
    x += 0.3 * rng.normal(size=x.shape)
    x = torch.from_numpy(x).view(40, 1, 6, 6)
    return linear.centred(x), torch.from_numpy(y)


def test_centred_pixels_have_mean_0_and_their_mean_variance_is_1(images):
    x, _ = images
    assert torch.allclose(x.mean(0), torch.zeros(36, dtype=x.dtype), atol=1e-12)
    assert float(x.square().mean()) == pytest.approx(1)
    assert float(linear.lost(x, 0 * x).mean()) == pytest.approx(1)
    assert float(linear.lost(x, x).mean()) == 0


@pytest.mark.parametrize("k", [1, 3])
def test_the_projection_is_scikit_learn_s(images, k):
    x, _ = images
    pca = PCA(k).fit(x.numpy())
    expected = pca.inverse_transform(pca.transform(x.numpy()))
    np.testing.assert_allclose(linear.projected(x, k), expected, atol=1e-9)


def test_the_models_are_scikit_learn_s(images):
    x, y = images
    E = linear.models(x, y, 2, ridge=0.01)
    for c in range(2):
        theirs = Ridge(alpha=0.01 * 40).fit(x.numpy(), (y == c).numpy().astype(float))
        np.testing.assert_allclose(E[c], theirs.coef_, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("k", [1, 3])  # with all 3 the codes add up to 0: rank 2
def test_the_decoder_is_the_best_and_loses_nothing_of_the_output(images, k):
    x, y = images
    E = linear.models(x, y, k, ridge=0.01)
    codes = x @ E.T
    found = linear.decoded(x, codes)
    R, *_ = np.linalg.lstsq(codes.numpy(), x.numpy(), rcond=1e-10)
    np.testing.assert_allclose(found, codes.numpy() @ R, atol=1e-8)
    np.testing.assert_allclose(found @ E.T, codes, atol=1e-8)


@pytest.mark.parametrize("k", [1, 3])
def test_a_linear_autoencoder_finds_the_principal_directions(images, k):
    x, _ = images
    how = Training(**vars(linear.TRAINING) | HOW)
    rebuilt = linear.autoencoded(x, k, how, RNG(0))
    apart = (rebuilt - linear.projected(x, k)).square().sum() / x.square().sum()
    assert apart < 1e-3
    short = Training(**vars(how) | {"epochs": 1})
    rebuilt = linear.autoencoded(x, k, short, RNG(0))
    apart = (rebuilt - linear.projected(x, k)).square().sum() / x.square().sum()
    assert apart > 0.05


def test_the_experiment_says_what_is_lost():
    study = Study(dataset="blobs", data=Dataset("blobs", blobs(40, 16, 16)))
    outcome = replicate.linear(study, RNG(0), hidden=[1, 2], training=HOW)
    got = {
        (n.metric, n.method, store.setting_text(n.setting)): n.value
        for n in outcome.numbers
    }
    for k in ("hidden units=1", "hidden units=2"):
        loss = {m: got["variance_lost", m, k] for m in ("PCA", "RefAE", "ClaDec")}
        assert loss["PCA"] <= loss["RefAE"] < loss["ClaDec"] < 1
        gap = loss["ClaDec"] - loss["RefAE"]
        assert got["variance_lost", "ClaDec-RefAE", k] == pytest.approx(gap)
        assert got["output_lost", "ClaDec", k] == pytest.approx(0, abs=1e-9)
        assert got["output_lost", "RefAE", k] > 0.01
        assert got["distance_to_pca", "RefAE", k] < 0.01
        assert got["variance_lost_se", "ClaDec", k] > 0
