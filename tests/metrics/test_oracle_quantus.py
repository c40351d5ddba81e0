"""The same metric in Quantus, where it has it.

Not compared: its IROF (it fails on numpy 2.4), its infidelity and Sensitivity-n (they compute
something else) and PixelFlipping's area (numpy 2.4 has no ``trapz``): its curves are. PixelFlipping
flips features, not pixels, so RGB images are compared one pixel, that is three features, at a time;
where that cannot be, images are grey. Infidelity is compared with captum's.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import benchmark.metrics  # noqa: F401  fills METRICS
from benchmark.api import METRICS, Batch, Explanation, Target
from benchmark.metrics import masking, regions

quantus = pytest.importorskip("quantus", reason="the extra `oracles` is not installed")

pytestmark = [
    pytest.mark.oracle,
    pytest.mark.filterwarnings("ignore"),
]  # Quantus warns about its own parameters

SIDE, N = 12, 8
RNG = np.random.default_rng(0)


class Network(nn.Module):
    """The target as the plain module that Quantus wants: pixels in [0, 1] to logits."""

    def __init__(self, target):
        super().__init__()
        self.target = target

    def forward(self, x):
        return self.target(x.float())


def problem(c: int):
    torch_rng, rng = torch.Generator().manual_seed(c), np.random.default_rng(c)
    net = nn.Sequential(
        nn.Conv2d(c, 8, 3, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(8 * SIDE**2, 4),
    )
    for p in net.parameters():
        p.data = 0.1 * torch.randn(p.shape, generator=torch_rng)
    target = Target(
        net,
        name="net",
        classes="abcd",
        input_shape=(c, SIDE, SIDE),
        mean=[0.5] * c,
        std=[0.3] * c,
    )
    low = rng.integers(0, 5, (N, 2))
    batch = Batch(
        x=torch.from_numpy(rng.random((N, c, SIDE, SIDE), np.float32)),
        y=torch.from_numpy(rng.integers(0, 4, N)),
        boxes=torch.from_numpy(
            np.hstack([low, low + rng.integers(2, 6, (N, 2))]).astype(np.float32)
        ),
    )
    return target, batch, Explanation(heatmaps=rng.standard_normal((N, SIDE, SIDE)))


def theirs(metric, target, batch, maps, **more) -> np.ndarray:
    """A Quantus metric with its defaults (normalise the map, take absolute values, print) off."""
    quiet = {
        "disable_warnings": True,
        "display_progressbar": False,
        "normalise": False,
        "abs": False,
    }
    classes = target(batch).argmax(1).numpy()
    call = {
        "softmax": more.pop("softmax", True),
        "channel_first": True,
        "device": "cpu",
        "s_batch": more.pop("masks", None),
    }
    scored = metric(**quiet | more)(
        Network(target).eval(),
        batch.x.numpy(),
        classes,
        a_batch=maps[:, None].copy(),
        **call,
    )
    return np.array(scored, np.float64)


def masks(batch: Batch) -> np.ndarray:
    """Boxes as pixels, (n, 1, h, w)."""
    out = np.zeros((N, 1, SIDE, SIDE), bool)
    for m, (x0, y0, x1, y1) in zip(out[:, 0], batch.boxes.int().tolist()):
        m[y0:y1, x0:x1] = True
    return out


def flipping(target, batch, maps) -> np.ndarray:
    """Curves (n, h*w): the probability after 1, 2, ... pixels have gone black."""
    c = batch.x.shape[1]
    return theirs(
        quantus.PixelFlipping,
        target,
        batch,
        maps,
        features_in_step=c,
        perturb_baseline=0.0,
    )


@pytest.mark.parametrize("c", [1, 3])
def test_deletion_curves_are_pixel_flipping(c):
    target, batch, e = problem(c)
    want = flipping(target, batch, e.heatmaps)
    z = masking.logits_at(e, target, batch, range(1, SIDE**2 + 1), delete=True)
    got = masking.probability(z, masking.predicted(target, batch)).T
    np.testing.assert_allclose(got, want, atol=1e-5)
    clean = masking.probability(target(batch), masking.predicted(target, batch))
    area = np.trapezoid(np.c_[clean, want], dx=1 / SIDE**2, axis=1)
    np.testing.assert_allclose(
        METRICS["deletion_auc"](e, target, batch, RNG, steps=SIDE**2 + 1),
        area,
        atol=1e-5,
    )


@pytest.mark.parametrize("c", [1, 3])
def test_average_drop_is_a_point_of_pixel_flipping(c):
    """To keep the top 28 of 144 pixels is to flip the 116 that matter least."""
    target, batch, e = problem(c)
    y_kept = flipping(target, batch, -e.heatmaps)[:, 115]
    y = masking.probability(target(batch), masking.predicted(target, batch))
    drop, rise = (
        METRICS[name](e, target, batch, RNG)
        for name in ("average_drop", "average_increase")
    )
    np.testing.assert_allclose(drop, 100 * np.maximum(0, y - y_kept) / y, atol=1e-3)
    np.testing.assert_array_equal(rise, 100 * (y < y_kept))


def test_pointing_game():
    target, batch, e = problem(3)
    for m, inside in zip(e.heatmaps[::2], masks(batch)[::2, 0]):
        m[inside] += 5
    want = theirs(quantus.PointingGame, target, batch, e.heatmaps, masks=masks(batch))
    assert want.sum() >= N / 2
    assert want.sum() < N
    np.testing.assert_array_equal(METRICS["pointing_game"](e, target, batch, RNG), want)


def test_energy_in_box():
    target, batch, e = problem(3)
    got = METRICS["energy_in_box"](e, target, batch, RNG)
    inside = {"masks": masks(batch)}
    want = theirs(
        quantus.AttributionLocalisation,
        target,
        batch,
        e.heatmaps,
        positive_attributions=True,
        **inside,
    )
    np.testing.assert_allclose(got, want, atol=1e-6)
    positive = np.maximum(e.heatmaps, 0)
    np.testing.assert_allclose(
        got,
        theirs(quantus.RelevanceMassAccuracy, target, batch, positive, **inside),
        atol=1e-6,
    )


def test_gini_is_sparseness():
    target, batch, e = problem(1)
    want = theirs(quantus.Sparseness, target, batch, np.abs(e.heatmaps))
    np.testing.assert_allclose(METRICS["gini"](e, target, batch, RNG), want, atol=1e-5)


def test_entropy_is_complexity():
    target, batch, e = problem(1)
    want = theirs(quantus.Complexity, target, batch, np.abs(e.heatmaps))
    found = METRICS["entropy"](e, target, batch, RNG)
    np.testing.assert_allclose(found, want, rtol=1e-6)


def test_relevance_rank_accuracy():
    target, batch, e = problem(3)
    positive = Explanation(heatmaps=np.abs(e.heatmaps))
    metric = quantus.RelevanceRankAccuracy
    want = theirs(metric, target, batch, positive.heatmaps, masks=masks(batch))
    found = METRICS["relevance_rank_accuracy"](positive, target, batch, RNG)
    np.testing.assert_allclose(found, want)


def test_faithfulness_correlation(monkeypatch):
    target, batch, e = problem(1)
    sets = regions.subsets(14, 20, batch)
    drawn = iter([np.flatnonzero(row) for row in sets for _ in range(N)])
    monkeypatch.setattr(np.random, "choice", lambda *_, **__: next(drawn))
    want = theirs(
        quantus.FaithfulnessCorrelation,
        target,
        batch,
        e.heatmaps,
        softmax=False,
        nr_runs=20,
        subset_size=14,
        perturb_baseline=0.0,
        return_aggregate=False,
    )
    metric = METRICS["faithfulness_correlation"]
    found = metric(e, target, batch, RNG, size=0.1, draws=20, fill="black")
    np.testing.assert_allclose(found, want, atol=1e-4)


def test_monotonicity_correlation_of_single_pixels():
    target, batch, e = problem(1)
    want = theirs(
        quantus.MonotonicityCorrelation,
        target,
        batch,
        e.heatmaps,
        abs=True,
        softmax=False,
        nr_samples=1,
        perturb_baseline=0.0,
    )
    metric, setting = METRICS["monotonicity_correlation"], {"output": "logit"}
    found = metric(e, target, batch, RNG, grid=SIDE, fill="black", **setting)
    np.testing.assert_allclose(found, want, atol=1e-3)


def test_road():
    """Quantus' first batch, without noise; it fails on RGB images."""
    target, batch, e = problem(1)
    counts = [29, 58, 86, 115]  # of 144
    found = quantus.ROAD(
        percentages=[100 * (k + 0.5) / SIDE**2 for k in counts],
        perturb_func_kwargs={"noise": 0.0},
        disable_warnings=True,
        normalise=False,
    )(
        Network(target).eval(),
        batch.x.numpy(),
        batch.y.numpy(),
        a_batch=e.heatmaps[:, None].copy(),
        channel_first=True,
        softmax=True,
        device="cpu",
    )
    ours = METRICS["road_morf"](e, target, batch, RNG, steps=4, noise=0)
    assert ours.mean() == pytest.approx(np.mean(list(found.values())))


@pytest.mark.parametrize("scale", ["optimal", "none"])
def test_infidelity_is_captums(scale):
    captum = pytest.importorskip("captum.metrics")
    target, batch, e = problem(3)
    drawn = torch.from_numpy(regions.squares(16, batch)).view(16, 1, SIDE, SIDE)

    def perturbed(x):
        """(what a map is multiplied by, the changed image), of 16 copies of each image one after the other."""
        inside = drawn.repeat(len(x) // 16, 1, 1, 1)
        filled = masking.masked(
            batch, torch.arange(N).repeat_interleave(16), ~inside, "mean"
        )
        return inside.expand_as(
            x
        ).float() / 3, filled  # the map is copied to 3 channels

    maps = torch.from_numpy(e.heatmaps)[:, None].expand(-1, 3, -1, -1)
    want = captum.infidelity(
        target,
        perturbed,
        batch.x,
        maps,
        target=target(batch).argmax(1),
        n_perturb_samples=16,
        normalize=scale == "optimal",
    )
    found = METRICS["infidelity"](e, target, batch, RNG, draws=16, scale=scale)
    np.testing.assert_allclose(found, want, rtol=1e-4)
