"""``occlusion_delta_accuracy`` against hand-computed cases and a slow, literal twin in float64."""

import copy
import itertools

import numpy as np
import pytest
import torch
from torch import nn

from benchmark.api import Batch, Explanation, Target
from benchmark.metrics.occlusion import occlusion_delta_accuracy, relevance, squares
from benchmark.papers.cladec import occlusion as paper

RNG = np.random.default_rng(0)


def bright_corner(mean=0.0, pixel_mean=None):
    """A network that says class 1 where the upper left 6 x 6 pixels are bright on average, else class 0."""
    weight = torch.zeros(2, 32 * 32)
    weight[1] = torch.nn.functional.pad(torch.ones(6, 6) / 36, (0, 26, 0, 26)).flatten()
    layer = nn.Linear(32 * 32, 2)
    layer.weight.data, layer.bias.data = weight, torch.tensor([0.5 - mean, 0.0])
    net = nn.Sequential(nn.Flatten(), layer)
    return Target(
        net,
        name="corner",
        classes="ab",
        input_shape=(1, 32, 32),
        mean=[mean],
        std=[1.0],
        pixel_mean=pixel_mean,
    )


def white(n=2):
    return Batch(
        x=torch.ones(n, 1, 32, 32), y=torch.ones(n, dtype=torch.int64), chunk=3
    )


def spot(row, column, n=2, side=32):
    maps = np.zeros((n, side, side), np.float32)
    maps[:, row, column] = 1
    return maps


def score(maps, target=None, batch=None, **setting):
    e = Explanation(heatmaps=maps)
    return occlusion_delta_accuracy(
        e, target or bright_corner(), batch or white(len(maps)), RNG, **setting
    )


def test_squares_are_those_of_the_paper():
    places = squares(32, 32)
    assert [(r.start, c.start) for r, c in places] == [
        (r, c) for r in (0, 6, 12, 20) for c in (0, 6, 12, 20)
    ]
    assert all(s.stop - s.start == 12 for place in places for s in place)


@pytest.mark.parametrize(
    ("h", "w"), [(28, 28), (48, 48), (224, 224), (12, 40), (8, 8), (2, 2)]
)
def test_squares_of_other_images_are_equal_in_size_and_cover_every_pixel(h, w):
    places, covered = squares(h, w), np.zeros((h, w), bool)
    assert len(places) == 16
    assert len({(r.stop - r.start, c.stop - c.start) for r, c in places}) == 1
    for place in places:
        covered[place] = True
        assert covered[place].size == (places[0][0].stop) * (places[0][1].stop)
    assert covered.all()


def test_the_squares_of_one_pixel_and_the_sums_of_a_flat_map():
    assert squares(1, 2) == [
        (slice(0, 1), slice(c, c + 1)) for _ in range(4) for c in (0, 0, 1, 1)
    ]
    maps = np.stack([np.full((8, 8), value, np.float32) for value in (0, 3, -2)])
    assert not relevance(maps, squares(8, 8)).any()


def test_the_paper_s_room_has_the_same_squares_and_sums():
    maps = np.random.default_rng(1).standard_normal((3, 28, 20)).astype(np.float32)
    assert squares(28, 20) == paper.squares(28, 20)
    np.testing.assert_allclose(
        relevance(maps, squares(28, 20)), paper.sums(torch.from_numpy(maps)), rtol=1e-12
    )


def test_a_map_of_what_matters_scores_1_and_its_negative_minus_1():
    # Only the square at (0, 0) hides all 6 x 6 pixels. Squares at 6 and beyond hide none: class 1 stays.
    assert score(spot(0, 0), fill=0.0).tolist() == [1, 1]
    assert score(-spot(0, 0), fill=0.0).tolist() == [-1, -1]


def test_a_map_elsewhere_scores_what_a_draw_among_the_tied_squares_would():
    # A spot at (31, 31) is in the last square alone; the other 15 tie for least: one of them is the square that hurts.
    assert score(spot(31, 31), fill=0.0) == pytest.approx([14 / 15 - 1] * 2)


def test_a_flat_map_scores_exactly_0():
    for level in (0.0, -3.0, 0.1):
        noise = 1 + 1e-8 * np.random.default_rng(2).standard_normal(
            (2, 32, 32)
        )  # below float32's resolution
        assert score((level * noise).astype(np.float32), fill=0.0).tolist() == [0, 0]


def test_only_true_labels_count():
    wrong = Batch(x=torch.ones(2, 1, 32, 32), y=torch.zeros(2, dtype=torch.int64))
    assert score(spot(0, 0), batch=wrong, fill=0.0).tolist() == [
        -1,
        -1,
    ]  # hidden, the network says class 0: right


def test_the_grey_is_the_mean_the_network_normalises_by():
    at = {
        mean: score(spot(0, 0), bright_corner(mean)).tolist()
        for mean in (0.0, 0.4, 0.6)
    }
    assert at == {
        0.4: [1, 1],
        0.6: [0, 0],
        0.0: [1, 1],
    }  # grey of .5 at 0: a tie of the logits, class 0


def test_the_grey_is_the_mean_training_pixel_whatever_the_network_normalises_by():
    for mean in (0.0, 0.4):  # class 1 where the corner is brighter than 0.5
        for grey, expected in ((0.13, 1), (0.6, 0)):
            target = bright_corner(mean, [grey])
            assert score(spot(0, 0), target).tolist() == [expected] * 2


def own(scores, **setting):
    """The score of the squares' own ``scores`` (n, 16), beside a map that says nothing."""
    flat = np.zeros((len(scores), 32, 32), np.float32)
    e = Explanation(heatmaps=flat, squares=scores)
    return occlusion_delta_accuracy(
        e, bright_corner(), white(len(scores)), RNG, fill=0.0, **setting
    )


def test_squares_that_an_explanation_scores_itself_count_instead_of_its_map():
    scores = np.arange(16, dtype=np.float32)[None].repeat(2, 0)
    assert own(-scores).tolist() == [1, 1]  # the square at (0, 0) is the first
    assert own(scores).tolist() == [-1, -1]
    assert own(-1e6 * scores).tolist() == own(-1e-6 * scores).tolist() == [1, 1]
    assert own(0 * scores + 3).tolist() == [0, 0]


def test_squares_that_differ_by_rounding_tie():
    scores = np.full((2, 16), 1e4, np.float32)
    scores[0, 0] = np.nextafter(np.float32(1e4), np.float32(2e4))
    scores[1, 0] = 1.001e4
    assert own(scores).tolist() == [0, 1]


def test_scores_of_other_regions_are_refused():
    with pytest.raises(
        ValueError, match=r"squares has shape \(2, 9\), expected \(2, 16\)"
    ):
        own(np.zeros((2, 9)))


def test_a_map_of_squares_summed_again_loses_the_most_relevant_one():
    R = torch.zeros(1, 16)
    R[0, 0], R[0, 5] = (
        2.9,
        3.0,
    )  # others cover every pixel of the second, not of the first
    maps = paper.on_pixels(R, 32, 32).numpy()
    assert relevance(maps, squares(32, 32)).argmax() == 0


@pytest.fixture
def convolutional():
    """A network of random weights on colour images of 28 x 20, and nine of them: (target, batch)."""
    gen = torch.Generator().manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 26 * 18, 3)
    ).double()
    for p in net.parameters():
        p.data = 0.3 * torch.randn(p.shape, generator=gen, dtype=torch.float64)
    target = Target(
        net.float(),
        name="t",
        classes="abc",
        input_shape=(3, 28, 20),
        mean=[0.2, 0.4, 0.6],
        std=[0.3] * 3,
    )
    x = np.random.default_rng(3).random((9, 3, 28, 20), np.float32)
    return target, Batch(x=torch.from_numpy(x), y=torch.arange(9) % 3, chunk=4)


def literal_delta(net, x, y, s):
    """(Accuracy without the least relevant square minus that without the most relevant, was there a tie?)."""
    s, right, R = (s - s.min()) / (s.max() - s.min()), [], []
    # {0, 6, 12, 20} * 28 / 32, rounded; squares of 10 x 8 end at the border
    for top, left in itertools.product((0, 5, 10, 18), (0, 4, 8, 12)):
        z = x.copy()
        z[:, top : top + 10, left : left + 8] = 0.4
        z = (z - [[[0.2]], [[0.4]], [[0.6]]]) / 0.3
        logits = net(torch.from_numpy(z[None]))[0]
        right.append(float(int(logits.argmax()) == y))
        R.append(s[top : top + 10, left : left + 8].sum())
    right, R = np.array(right), np.array(R)
    least, most = np.isclose(R, R.min()), np.isclose(R, R.max())
    return right[least].mean() - right[most].mean(), least.sum() + most.sum() > 2


def test_against_a_literal_twin(convolutional):
    target, batch = convolutional
    maps = (
        np.random.default_rng(4).integers(-2, 3, (9, 28, 20)).astype(np.float32)
    )  # ties happen
    maps[:, 4:] = 0
    net = copy.deepcopy(target.net).double()
    images = batch.x.numpy().astype(float), batch.y.tolist(), maps.astype(float)
    found = [literal_delta(net, x, y, s) for x, y, s in zip(*images, strict=True)]
    want = [delta for delta, _ in found]
    assert any(tied for _, tied in found)
    assert len(set(want)) > 2
    np.testing.assert_allclose(score(maps, target, batch), want, atol=1e-12)
