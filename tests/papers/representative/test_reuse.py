"""The reuse protocol, and the masked images of the paper's tables."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import benchmark.metrics  # noqa: F401  fills METRICS
from benchmark.api import METRICS, Explanation, NotApplicable
from benchmark.methods import registry
from benchmark.methods.registry import MethodRef
from benchmark.papers.representative.masked import masked, top_share, whole_segments
from benchmark.papers.representative.reuse import Reused
from benchmark.pipeline import cells, inputs, protocol
from benchmark.store import ROOT
from tests.helpers.places import move_root
from tests.helpers.representative import SIDE, images, network

CAMS = (
    "grad_cam.py:GradCAM",
    "grad_cam_plusplus.py:GradCAMPlusPlus",
    "score_cam.py:ScoreCAM",
)


def reused(of, **settings):
    return MethodRef.parse(
        {
            "use": "benchmark/papers/representative/reuse.py:Reused",
            "of": f"baselines/{of}",
            **settings,
        }
    ).build()


@pytest.mark.parametrize("of", CAMS)
def test_every_image_is_explained_with_the_weights_of_its_nearest_centre(of):
    target, R, S = network(), images(), images(n=20, seed=9)
    method = reused(of, per_class=2).fit(target, R, np.random.default_rng(0))
    e = method.explain(target, S, np.random.default_rng(0))
    assert e.heatmaps.shape == (20, SIDE, SIDE) and e.heatmaps.any()
    plain = MethodRef.parse(f"baselines/{of}").build()
    psi, centres = target.features(S), method._V.centres
    for i in range(20):
        v = int((psi[i].flatten() - centres).square().sum(1).argmin())
        alpha = plain.channel_weights(target, images()[[int(method._V.seeds[v])]])[0]
        raw = torch.einsum("k,kuv->uv", alpha, psi[i])
        up = F.interpolate(
            (raw if "score" in of else raw.relu())[None, None],
            (SIDE, SIDE),
            mode="bilinear",
        )[0, 0].relu()
        np.testing.assert_allclose(e.heatmaps[i], up, atol=1e-4 * float(up.max() + 1))


@pytest.mark.parametrize("of", CAMS)
def test_with_a_centre_for_each_image_the_reused_map_is_the_images_own(of):
    target, R = network(), images(n=12)
    method = reused(of, per_class=4).fit(target, R, np.random.default_rng(0))
    assert sorted(method._V.seeds.tolist()) == list(range(12))
    own = (
        MethodRef.parse(f"baselines/{of}")
        .build()
        .explain(target, R, np.random.default_rng(0))
        .heatmaps
    )
    np.testing.assert_allclose(
        method.explain(target, R, np.random.default_rng(0)).heatmaps, own, atol=1e-5
    )


def test_the_method_itself_stays_as_it_was():
    target, method = network(), reused(CAMS[0])
    method.fit(target, images(), np.random.default_rng(0)).explain(
        target, images(), np.random.default_rng(0)
    )
    assert "channel_weights" not in vars(method.of)


def test_a_profile_names_it_and_the_board_tells_it_from_the_method():
    entry = {
        "use": "benchmark/papers/representative/reuse.py:Reused",
        "of": "baselines/grad_cam.py:GradCAM",
    }
    name, kind, setting = registry.describe(MethodRef.parse(entry).build())
    assert (name, kind) == ("Grad-CAM (reused)", "baseline")
    assert setting == "of=Grad-CAM;per_class=10"
    assert (
        MethodRef.parse(entry).slug
        != MethodRef.parse(entry | {"of": f"baselines/{CAMS[1]}"}).slug
    )


def test_what_offers_no_channel_weights_cannot_be_reused():
    with pytest.raises(ValueError, match="Random map offers no channel_weights"):
        reused("random_map.py:RandomMap")
    with pytest.raises(registry.UnknownName, match="did you mean"):
        reused("grad_cam.py:GradCam")
    target = network()
    target.layer = None
    with pytest.raises(NotApplicable, match="no layer with spatial extent"):
        reused(CAMS[0]).fit(target, images(), np.random.default_rng(0))


def test_a_users_own_method_joins_by_offering_its_channel_weights(
    tmp_path, monkeypatch
):
    move_root(monkeypatch, tmp_path)
    (tmp_path / "mine.py").write_text(
        "import torch\nfrom benchmark.api import Explanation\n\n\nclass Mine:\n    name = 'Mine'\n\n"
        "    def fit(self, target, reference, rng):\n        return self\n\n"
        "    def channel_weights(self, target, batch):\n        return target.features(batch).mean(dim=(2, 3))\n\n"
        "    def explain(self, target, batch, rng):\n        w = self.channel_weights(target, batch)\n"
        "        raw = torch.einsum('nk,nkuv->nuv', w, target.features(batch))\n"
        f"        return Explanation(heatmaps=torch.nn.functional.interpolate(raw[:, None], ({SIDE}, {SIDE}))[:, 0])\n"
    )
    mine = MethodRef(f"{tmp_path}/mine.py", "Mine").build()
    method = Reused(of=mine, per_class=2).fit(
        network(), images(), np.random.default_rng(0)
    )
    assert method.name == "Mine (reused)"
    assert method.explain(
        network(), images(n=5, seed=3), np.random.default_rng(0)
    ).heatmaps.shape == (5, SIDE, SIDE)


# --------------------------------------------------------------------------------------------- masks


@pytest.mark.parametrize("kind", ["random", "tied", "constant"])
def test_drop_and_increase_are_those_of_the_metrics(kind):
    target, S, rng = network(), images(n=30), np.random.default_rng(0)
    maps = {
        "random": rng.random((30, SIDE, SIDE)),
        "tied": rng.integers(0, 3, (30, SIDE, SIDE)),
        "constant": np.ones((30, SIDE, SIDE)),
    }[kind].astype(np.float32)
    drop, increase, y, y_kept = masked(target, S, top_share(maps, 0.2))
    e = Explanation(heatmaps=maps)
    np.testing.assert_allclose(
        drop, METRICS["average_drop"](e, target, S, rng, keep=0.2), atol=1e-4
    )
    np.testing.assert_array_equal(
        increase, METRICS["average_increase"](e, target, S, rng, keep=0.2)
    )
    assert set(increase) == {0, 100} and ((increase == 0) | (y_kept > y)).all()


@pytest.mark.parametrize("side, count", [(224, 10035), (32, 204), (10, 20)])
def test_a_fifth_of_the_pixels_is_kept(side, count):
    maps = np.random.default_rng(0).random((2, side, side))
    assert top_share(maps).sum((1, 2)).tolist() == [count, count]
    tied = top_share(np.zeros((1, side, side)))
    assert tied.reshape(-1)[:count].all()  # ties to the lower index


@pytest.mark.parametrize("levels", [1, 2, 5, 1000, 0])
@pytest.mark.parametrize("share", [0.0, 0.2, 0.37, 1.0])
def test_they_are_those_of_a_stable_sort(levels, share):
    maps = np.random.default_rng(0).normal(size=(70, 9, 11)).astype(np.float32)
    maps = np.round(maps * levels) / max(levels, 1)  # ties, zeros of both signs
    order = np.argsort(-maps.reshape(70, -1) + 0.0, axis=1, kind="stable")
    flat, count = top_share(maps, share).reshape(70, -1), int(99 * share + 1e-9)
    assert (flat.sum(1) == count).all()
    assert np.take_along_axis(flat, order[:, :count], 1).all()


def test_whole_segments_are_kept_until_more_than_a_fifth_is():
    maps = np.zeros((1, 10, 10), np.float32)
    maps[0, :2, :6], maps[0, 4:6, :6], maps[0, 8:] = 3, 2, 1  # 12, 12 and 20 pixels
    keep = whole_segments(maps)
    assert keep.sum() == 24 and not keep[0, 8:].any()
    maps[0, 1, :6] = 0
    assert (
        whole_segments(maps).sum() == 6 + 12 + 20
    )  # 18 are not more than 20: the next segment too
    assert (
        whole_segments(np.float32(maps == 2)).sum() == 12
    )  # nothing else has a segment
    assert not whole_segments(np.zeros((1, 10, 10))).any()
    exactly = np.zeros((1, 10, 10), np.float32)
    exactly[0, :2], exactly[0, 5] = 2, 1
    assert whole_segments(exactly).sum() == 30  # 20 of 100 are not more than 20 %


def test_the_references_and_their_psi_are_computed_once_for_all_methods(trained):
    trained.params["explain"]["methods"] = [
        f"{ROOT}/benchmark/papers/representative/method.py:RepresentativeInterpretations",
        {
            "use": f"{ROOT}/benchmark/papers/representative/reuse.py:Reused",
            "of": f"{ROOT}/baselines/grad_cam.py:GradCAM",
        },
    ]
    inputs.forget()
    one, two = cells.cells(trained.profile, "blobs")
    assert protocol.attempt(one)[1]["status"] == "ok"
    reference = inputs.load_reference(one)
    known = {key: z for key, z in reference.memo.items() if isinstance(key, tuple)}
    target = inputs.load_target(one)
    assert {key[1:] for key in known} >= {
        (target, target.layers.index(target.layer)),
        (target, len(target.layers) - 1),
    }
    assert protocol.attempt(two)[1]["status"] == "ok"
    assert inputs.load_reference(two) is reference
    assert all(reference.memo[key] is z for key, z in known.items())
    inputs.forget()
    assert inputs.load_reference(two) is not reference
