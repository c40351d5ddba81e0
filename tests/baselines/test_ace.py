"""ACE: segments, concepts, CAVs and TCAV against literal twins and cases done by hand; the plug-in's contract."""

import importlib.util
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import stats
from torch import nn

from benchmark.api import Batch, Method, NotApplicable, Target, settings_of
from benchmark.shared import concepts
from benchmark.shared.concepts import (
    cav,
    common,
    discover,
    embed,
    gradients,
    masks_of,
    paired_t,
    segment,
    tcav,
)
from tests.helpers.places import ROOT

SIDE = 24


def plugin():
    path = ROOT / "baselines" / "ace.py"
    spec = importlib.util.spec_from_file_location("plugin_ace", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module.ACE


ACE = plugin()


def target(channels=3):
    """Two classes: redder, or greener; psi are the colour channels themselves, averaged over 2x2 pixels."""
    net = nn.Sequential()
    net.add_module("colours", nn.AvgPool2d(2))
    net.add_module("flatten", nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()))
    net.add_module("logits", nn.Linear(channels, 2))
    net.logits.weight.data = 4 * torch.eye(2, channels)
    net.logits.bias.data.zero_()
    return Target(
        net,
        name="colour",
        classes="rg",
        input_shape=(channels, SIDE, SIDE),
        layer="colours",
    )


def images(n=24, seed=0, chunk=8):
    """A disc, red or green, on noise of blue and grey squares."""
    rng = np.random.default_rng(seed)
    x, y = np.zeros((n, 3, SIDE, SIDE), np.float32), np.arange(n) % 2
    i, j = np.mgrid[:SIDE, :SIDE]
    for image, c in zip(x, y):
        image[2] = rng.random((SIDE // 4, SIDE // 4)).repeat(4, 0).repeat(4, 1)
        image[:2] = 0.3 * rng.random((SIDE // 4, SIDE // 4)).repeat(4, 0).repeat(4, 1)
        a, b = rng.integers(7, SIDE - 7, 2)
        disc = (i - a) ** 2 + (j - b) ** 2 < 36
        image[:, disc] = np.eye(3, dtype=np.float32)[c][:, None]
    return Batch(x=torch.from_numpy(x), y=torch.from_numpy(y), chunk=chunk)


# --------------------------------------------------------------------------------------------- segments


def test_segments_are_those_of_slic_less_small_ones_and_doubles():
    from skimage.segmentation import slic

    image = images().x[0].permute(1, 2, 0).numpy()
    masks = masks_of(segment(image, (4, 12, 12)))
    kept = []
    for n in (4, 12, 12):
        labels = slic(
            image, n_segments=n, compactness=20, sigma=1, start_label=0, channel_axis=-1
        )
        new = []
        for k in range(labels.max() + 1):
            mask = labels == k
            doubles = any((mask & old).sum() / (mask | old).sum() > 0.5 for old in kept)
            if mask.mean() > 0.001 and not doubles:
                new.append(mask)
        kept += new
    np.testing.assert_array_equal(masks, kept)
    (coarse,) = segment(image, (4,))
    assert coarse.dtype == np.int16
    assert coarse.min() == 0  # one resolution is a partition


def test_a_segment_of_a_thousandth_of_the_pixels_is_dropped(monkeypatch):
    """``np.mean(mask) > 0.001`` in the authors' code: 1 of 1000 pixels is too few, 2 are not."""
    labels = np.zeros((20, 50), int)
    labels[0, 0], labels[5, 5:7] = 1, 2
    monkeypatch.setattr("skimage.segmentation.slic", lambda *_, **__: labels)
    (numbers,) = segment(np.zeros((20, 50, 3)), (3,))
    assert numbers[0, 0] == -1 and numbers[0, 1] == 0
    assert numbers[5, 5] == numbers[5, 6] == 1 and (numbers == 1).sum() == 2


def test_the_last_resolution_adds_nothing_new_to_itself():
    image = images().x[0].permute(1, 2, 0).numpy()
    twice, again = segment(image, (12, 12))
    np.testing.assert_array_equal(twice, segment(image, (12,))[0])
    assert (again == -1).all()


def test_a_patch_is_the_segments_box_as_large_as_the_image_on_grey():
    """Literally: grey outside the segment, its box cut out (with grey around it), brought to size by PIL's bicubic."""
    x = images().x[1]
    (found,) = embed(target(), images()[[1]], None, (12,))
    masks, acts = masks_of(found.numbers), found.acts
    assert len(masks) == len(acts) >= 5
    for mask, act in zip(masks, acts):
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        grey = np.pad(
            np.where(mask, x.numpy(), 117 / 255),
            ((0, 0), (3, 3), (3, 3)),
            constant_values=117 / 255,
        )
        box = (columns[0] + 3, rows[0] + 3, columns[-1] + 4, rows[-1] + 4)
        patch = [
            Image.fromarray(c.astype(np.float32)).resize(
                (SIDE, SIDE), Image.Resampling.BICUBIC, box=box
            )
            for c in grey
        ]
        np.testing.assert_allclose(
            act, [np.clip(np.asarray(p), 0, 1).mean() for p in patch], atol=0.02
        )
    assert (acts - acts.mean(dim=0)).abs().max() > 0.2  # patches differ by much more


# --------------------------------------------------------------------------------------------- concepts


def test_the_gradient_of_a_channels_mean_by_finite_differences():
    t, S = target(), images(4)
    psi = t.features(S)
    g = gradients(t, psi, 1)
    for k in range(3):
        step = torch.zeros(1, 3, 1, 1)
        step[0, k] = 1e-2
        got = (t.head(psi + step) - t.head(psi - step))[:, 1] / 2e-2
        np.testing.assert_allclose(g[:, k], got, atol=1e-3)


def test_a_cav_points_from_the_others_to_the_concept():
    """Two clouds apart along the first axis, each with noise on the second: v leans on the first alone."""
    rng = np.random.default_rng(0)
    a = torch.from_numpy(rng.standard_normal((40, 2)) * [0.1, 1] + [1, 0])
    b = torch.from_numpy(rng.standard_normal((30, 2)) * [0.1, 1] - [1, 0])
    v = cav(a, b)
    assert v[0] > 0 and abs(v[1]) < 0.1 * v[0]
    np.testing.assert_allclose(cav(b, a), -v, atol=1e-9)
    np.testing.assert_allclose(
        cav(torch.cat([a, a]), b), v, rtol=1e-9
    )  # a side's size does not matter


def test_tcav_is_the_share_of_images_that_lean_towards_the_concept():
    a, b = torch.tensor([[1.0, 0], [1, 0.1]]), torch.tensor([[0.0, 0], [0, 0.1]])
    gradient = torch.tensor([[1.0, 0], [2, 0], [-1, 0], [3, 0]])
    assert tcav(a, b, gradient) == 0.75
    assert tcav(b, a, gradient) == 0.25


@pytest.mark.parametrize(
    "s, m, n, keeps",
    [
        (20, 20, 20, False),
        (21, 11, 100, True),
        (40, 20, 400, False),
        (40, 20, 79, True),
        (40, 20, 80, False),
        (60, 7, 12, True),
        (60, 7, 14, False),
        (60, 7, 100, False),
        (60, 6, 10, False),
        (500, 5, 10, False),
    ],
)
def test_a_cluster_is_a_concept_if_many_images_share_it(s, m, n, keeps):
    """The conditions of the authors' ``discover_concepts``, which count images of the cluster against those of the
    class."""
    assert common(s, m, n) == keeps


def test_the_paired_t_test_is_scipys():
    a, b = np.random.default_rng(0).random((2, 20))
    for shift in (0, 0.3, 5):
        np.testing.assert_allclose(
            paired_t(a + shift, b), stats.ttest_rel(a + shift, b).pvalue, rtol=1e-9
        )
    assert paired_t([1, 1], [1, 1]) == 1 and paired_t([2, 2], [1, 1]) == 0


def test_the_concept_of_a_class_is_found_and_no_other():
    """Segments in four clouds; the class score grows with the first coordinate. The cloud there is
    a concept of score 1, the one opposite of score 0; clouds of one image only are none."""
    rng = np.random.default_rng(0)
    clouds = np.array([[3.0, 0, 0], [-3, 0, 0], [0, 3, 0], [0, 0, 3]])
    acts = []
    for i in range(30):
        which = [0, 0, 1, 1] + [2] * (30 if i == 0 else 0) + [3] * (30 if i == 1 else 0)
        acts.append(
            torch.from_numpy(
                (clouds[which] + 0.2 * rng.standard_normal((len(which), 3))).astype(
                    np.float32
                )
            )
        )
    gradient = torch.tensor([[1.0, 0, 0]]).repeat(30, 1)
    found = discover(
        acts, torch.cat(acts), gradient, clusters=4, rng=np.random.default_rng(1)
    )
    order = found.scores.argsort(descending=True)
    np.testing.assert_allclose(found.centres[order], clouds[:2], atol=0.2)
    assert found.scores[order].tolist() == [1, 0]
    rows = torch.cat(acts)
    for centre, radius in zip(found.centres, found.radii):
        distance = (rows - centre).norm(dim=1).sort().values
        torch.testing.assert_close(radius, distance[39])  # of 40 that represent it
    nothing = discover(
        acts,
        torch.cat(acts),
        torch.zeros(30, 3),
        clusters=4,
        rng=np.random.default_rng(1),
    )
    assert (
        len(nothing.scores) == 0
    )  # nothing leans on anything: no concept differs from chance


# --------------------------------------------------------------------------------------------- the plug-in


@pytest.fixture(scope="module")
def fitted():
    return ACE(segments=(6, 16), images=12, clusters=5).fit(
        target(), images(), np.random.default_rng(0)
    )


def test_the_plug_in_keeps_the_contract(fitted):
    t, S = target(), images(8, seed=3)
    assert isinstance(fitted, Method) and fitted.kind == "baseline"
    assert settings_of(fitted) == {"segments": (6, 16), "images": 12, "clusters": 5}
    mark, state = (
        t.fingerprint(),
        (torch.get_rng_state(), np.random.get_state()[1].copy()),
    )
    e = fitted.explain(t, S, np.random.default_rng(0))
    assert (
        e.offers() == {"heatmaps", "concept_maps"}
        and e.heatmaps.shape == (8, SIDE, SIDE)
        and e.heatmaps.min() >= 0
    )
    assert t.fingerprint() == mark and torch.equal(torch.get_rng_state(), state[0])
    assert np.array_equal(np.random.get_state()[1], state[1])
    np.testing.assert_array_equal(
        fitted.explain(t, S, np.random.default_rng(0)).heatmaps, e.heatmaps
    )
    np.testing.assert_allclose(
        fitted.explain(
            t, images(8, seed=3, chunk=3)[:2], np.random.default_rng(0)
        ).heatmaps,
        e.heatmaps[:2],
        atol=1e-5,
    )


def test_the_disc_of_the_class_matters_most():
    """F sees redness and greenness only: segments of the coloured disc outweigh the background.

    F is linear, so a random set's TCAV is 0 or 1 against every other: where the set that takes a concept's place leans
    towards the disc by chance, as with seed 0, the t-test drops the disc."""
    t, S = target(), images(10, seed=5)
    method = ACE(segments=(9,), images=30, clusters=5).fit(
        t, images(60), np.random.default_rng(3)
    )
    assert method._concepts
    for found in method._concepts.values():
        assert found.scores.max() == 1 and found.scores.min() < 1
    more = []
    for x, y, heat in zip(
        S.x.numpy(),
        S.y.tolist(),
        method.explain(t, S, np.random.default_rng(0)).heatmaps,
    ):
        disc = (x[y] == 1) & (x[1 - y] == 0)
        more.append(heat[disc].mean() - heat[~disc].mean())
    assert np.mean(more) > 0.1 and np.min(more) > -0.01


def test_pixels_above_a_level_are_whole_segments(fitted):
    t, S = target(), images(3, seed=7)
    e = fitted.explain(t, S, np.random.default_rng(0))
    assert e.applies.all()
    for found, heat in zip(embed(t, S, None, (6, 16)), e.heatmaps, strict=True):
        best = heat == heat.max()
        assert any(np.array_equal(best, mask) for mask in masks_of(found.numbers))
        assert len(np.unique(heat)) > 2  # segments of one concept are told apart


def test_concept_maps_are_the_segments_of_the_best_concepts_without_outlying_ones(
    fitted,
):
    t, S = target(), images(6, seed=7)
    e = fitted.explain(t, S, np.random.default_rng(0))
    assert e.concept_maps.shape == (6, 5, SIDE, SIDE) and e.concept_maps.any()
    removed = 0
    for i, c in enumerate(t(S).argmax(1).tolist()):
        found = fitted._concepts[c]
        order = sorted(
            range(len(found.scores)), key=lambda j: (-float(found.scores[j]), j)
        )[:5]
        segments = embed(t, S, None, (6, 16))[i]
        by_hand = np.zeros((5, SIDE, SIDE))
        kept = np.zeros((SIDE, SIDE), bool)
        for mask, a in zip(masks_of(segments.numbers), segments.acts):
            distance = (a - found.centres).norm(dim=1)
            j = int(distance.argmin())
            if distance[j] > found.radii[j]:
                removed += 1
                continue
            kept |= mask
            if j in order:
                by_hand[order.index(j)][mask] = 1
        np.testing.assert_array_equal(e.concept_maps[i], by_hand)
        np.testing.assert_array_equal(e.heatmaps[i] > 0, kept)
    assert removed


def test_without_concepts_there_is_no_explanation(fitted):
    few = ACE(segments=(6,), images=2).fit(
        target(), images(4), np.random.default_rng(0)
    )
    assert not few.explain(target(), images(4), np.random.default_rng(0)).applies.any()
    one = ACE(segments=(6, 16), images=12, clusters=5).fit(
        target(), images()[slice(0, 24, 2)], np.random.default_rng(0)
    )
    assert set(one._concepts) == {0}  # a class that no reference image has
    e = one.explain(target(), images()[[0, 1, 2, 3]], np.random.default_rng(0))
    assert e.applies.tolist() == [True, False, True, False]
    assert e.heatmaps.any((1, 2)).tolist() == [True, False, True, False]


def test_an_image_whose_segments_are_all_outlying_has_no_explanation(fitted):
    """A white image: nothing of it looks like what the concepts were found on."""
    white = Batch(x=torch.ones(1, 3, SIDE, SIDE), y=torch.zeros(1, dtype=torch.int64))
    e = fitted.explain(target(), white, np.random.default_rng(0))
    assert not e.applies.any() and not e.heatmaps.any()


def test_a_layer_without_positions_does_not_apply():
    with pytest.raises(NotApplicable, match="flatten of colour has no channels"):
        ACE(layer="flatten").fit(target(), images(4), np.random.default_rng(0))


def test_grey_images_are_cut_too():
    x = images(2).x.mean(1, keepdim=True)
    grey = Batch(x=x, y=torch.zeros(2, dtype=torch.int64))
    for found in embed(target(1), grey, None, concepts.RESOLUTIONS):
        masks = masks_of(found.numbers)
        assert masks.any((1, 2)).all() and found.acts.shape == (len(masks), 1)
