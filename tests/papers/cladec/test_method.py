"""ClaDec: decoder, training, occlusion and the plug-in, against hand-computed cases and literal twins in float64."""

import itertools
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given as any_of
from hypothesis import settings, strategies
from torch import nn

from benchmark.api import Batch, NotApplicable, Target
from benchmark.methods.registry import MethodRef
from benchmark.papers.cladec import occlusion, training
from benchmark.papers.cladec.decoder import Unreachable, decoder, fresh, path, sides
from benchmark.papers.cladec.method import ClaDec
from benchmark.papers.cladec.training import Diverged, Networks, Scale, Training
from benchmark.zoo import nets

RNG = np.random.default_rng
QUICK = Training(epochs=2, batch=16, lr=0.003)
METHOD = {"epochs": 2, "batch": 16, "base": 2, "lr": 0.003}


def network(size=16, c=1, seed=0, **options):
    net = nets.build(
        "cnn", (c, size, size), 4, {"maps": [4, 6], "hidden": 5} | options, seed=seed
    )
    return Target(
        nets.fold_norm(net.eval()),
        name="tiny",
        classes="abcd",
        input_shape=(c, size, size),
        mean=[0.4] * c,
        std=[0.25] * c,
        layer="conv2",
    )


def images(n=24, size=16, c=1, seed=0, chunk=7):
    """A bright square in one of four corners, the class."""
    x = 0.2 * RNG(seed).random((n, c, size, size), np.float32)
    y, half = np.arange(n) % 4, size // 2
    for i, k in enumerate(y):
        x[i, :, (k // 2) * half :, (k % 2) * half :][:, : half - 2, : half - 2] += 0.7
    return Batch(x=torch.from_numpy(x), y=torch.from_numpy(y), chunk=chunk)


# --------------------------------------------------------------------------------------------- decoder


def test_sides_and_path_by_hand():
    assert sides(32) == [1, 2, 4, 8, 16, 32]
    assert sides(28) == [1, 2, 4, 7, 14, 28]
    assert path((10,), (1, 32, 32)) == [(k, k) for k in (1, 2, 4, 8, 16, 32)]
    assert path((8, 7, 7), (3, 28, 28)) == [(7, 7), (14, 14), (28, 28)]
    assert path((8, 11, 11), (1, 28, 28)) == [
        (14, 14),
        (28, 28),
    ]  # between two rungs: the larger
    assert path((8, 32, 32), (3, 32, 32)) == [(32, 32)]
    assert path((5,), (1, 8, 16)) == [(1, 1), (1, 2), (2, 4), (4, 8), (8, 16)]


@pytest.mark.parametrize("kernel", [4, 5])
def test_channels_are_those_of_table_1(kernel):
    net = decoder((10,), (1, 32, 32), base=32, kernel=kernel)
    steps = [m for m in net.modules() if isinstance(m, nn.ConvTranspose2d)]
    assert [m.out_channels for m in steps] == [256, 128, 64, 32, 1]
    assert {m.kernel_size for m in steps} == {(kernel, kernel)}
    assert net.fc[1].out_features == 64  # max(d, 64)
    lower = decoder((256, 4, 4), (1, 32, 32), base=32, kernel=kernel)
    assert [
        m.out_channels for m in lower.modules() if isinstance(m, nn.ConvTranspose2d)
    ] == [
        64,
        32,
        1,
    ]
    top = decoder((64, 32, 32), (3, 32, 32), base=32, kernel=kernel)
    assert [type(m) for m in top.children()] == [nn.Sequential, nn.Conv2d]


@settings(max_examples=25, deadline=None)
@any_of(
    strategies.integers(5, 40),
    strategies.integers(5, 40),
    strategies.integers(0, 6),
    strategies.sampled_from([4, 5]),
)
def test_every_layer_of_a_halving_network_comes_back_to_the_image(
    h, w, halvings, kernel
):
    z = torch.zeros(2, 3, h, w)
    for _ in range(halvings):
        z = nn.functional.conv2d(z, torch.zeros(3, 3, 3, 3), stride=2, padding=1)
    if len(sides(h)) != len(sides(w)) and 1 in z.shape[2:] and z.shape[2:] != (1, 1):
        return  # one side has come to its end before the other
    made = decoder(z.shape[1:], (2, h, w), base=1, kernel=kernel).eval()
    assert made(z).shape == (2, 2, h, w)


@pytest.mark.parametrize(
    ("code", "image", "words"),
    [
        ((4, 40, 40), (1, 32, 32), "larger than the image"),
        ((4, 8, 16), (1, 32, 32), "2 steps in height, 1 in width"),
        ((4, 8), (1, 32, 32), "neither"),
        ((), (1, 32, 32), "neither"),
    ],
)
def test_a_layer_that_no_decoder_reaches_is_refused(code, image, words):
    with pytest.raises(Unreachable, match=words):
        decoder(code, image)


@pytest.mark.parametrize(
    ("units", "words"),
    [([], "empty"), ([0, 6], "6 of a layer that has 0..5"), ([-1], "-1..-1")],
)
def test_units_that_are_not_there_are_refused(units, words):
    with pytest.raises(ValueError, match=words):
        decoder((6, 4, 4), (1, 16, 16), units=units)


@pytest.mark.parametrize("code", [(6,), (6, 4, 4)])
def test_only_the_chosen_units_matter(code):
    torch.manual_seed(0)  # with so few units a drawn network may be dead
    made = decoder(code, (1, 16, 16), units=[1, 4], base=2).eval()
    z = torch.randn(3, *code, generator=torch.Generator().manual_seed(0))
    other = z.clone()
    other[:, [0, 2, 3, 5]] += 1
    assert torch.equal(made(z), made(other))
    other[:, 4] += 1
    assert not torch.allclose(made(z), made(other))


def test_wrong_kernel_and_base_are_refused():
    for wrong in ({"kernel": 3}, {"base": 0}):
        with pytest.raises(ValueError, match="must be 4 or 5"):
            decoder((6,), (1, 16, 16), **wrong)


def test_a_fresh_copy_has_its_batch_norms_and_spares_the_target():
    target = network()
    before, plain = (
        target.fingerprint(),
        nets.build("cnn", (1, 16, 16), 4, {"maps": [4, 6], "hidden": 5}, seed=1),
    )
    with nets.seeded(3):
        made = fresh(target.net)
    assert [(k, v.shape) for k, v in made.state_dict().items()] == [
        (k, v.shape) for k, v in plain.state_dict().items()
    ]
    assert all(p.requires_grad for p in made.parameters())
    assert made.training
    assert target.fingerprint() == before
    with nets.seeded(3):
        again = fresh(target.net)
    assert all(
        torch.equal(a, b)
        for a, b in zip(
            made.state_dict().values(), again.state_dict().values(), strict=True
        )
    )
    assert not torch.equal(made.conv1[0].weight, target.net.conv1[0].weight)


# --------------------------------------------------------------------------------------------- training


def test_the_learning_rate_falls_after_29_and_58_of_64_epochs():
    rates = [Training().rate(epoch) for epoch in range(64)]
    assert rates == pytest.approx([3e-4] * 29 + [3e-5] * 29 + [3e-6] * 6)


@pytest.mark.parametrize(
    "wrong",
    [
        {"optimiser": "lion"},
        {"epochs": -1},
        {"batch": 1},
        {"lr": 0},
        {"lr": float("nan")},
    ],
)
def test_training_settings_that_cannot_be_are_refused(wrong):
    with pytest.raises(ValueError, match="optimiser is .adam. or|epochs at least 0"):
        Training(**wrong)


def test_the_scale_is_that_of_each_channel():
    x = torch.from_numpy(RNG(0).random((50, 3, 4, 4), np.float32)) * torch.tensor(
        [1, 2, 3.0]
    ).view(3, 1, 1)
    scale = Scale.of(x)
    s = scale(x)
    np.testing.assert_allclose(s.mean((0, 2, 3)), 0, atol=1e-5)
    np.testing.assert_allclose(s.std((0, 2, 3)), 1, rtol=1e-5)
    np.testing.assert_allclose(scale.pixels(s), x, atol=1e-6)


def literal_loss(x, decoded, logits, label, alpha, reduction):
    """Eq. 1 of one image: its pixels and the decoded ones, standardised, and the logits of what was decoded."""
    square = sum((a - b) ** 2 for a, b in zip(x.flat, decoded.flat, strict=True))
    square /= 1 if reduction == "sum" else x.size
    entropy = np.log(np.exp(logits).sum()) - logits[label]
    return (1 - alpha) * square + alpha * entropy


@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_the_loss_is_equation_1(monkeypatch, reduction):
    """Against literal loops in float64, for three values of alpha at once."""
    target, batch, caught = network(), images(6), []
    catch = lambda members, loss, *_: caught.append((members, loss))
    monkeypatch.setattr(training, "descend", catch)
    monkeypatch.setattr(training, "groups", lambda k, device: iter([list(range(k))]))
    scale, alphas, rows = Scale.of(batch.x), [0.0, 0.3, 1.0], torch.tensor([4, 1, 3])
    training.fit_decoders(
        target,
        "conv2",
        batch.x,
        batch.y,
        scale,
        QUICK,
        RNG(0),
        alphas,
        reduction,
        base=2,
    )
    ((members, loss),) = caught
    for net in members:
        net.eval()
    got = loss(Networks(members), rows)
    x = ((batch.x[rows].double() - scale.mean.double()) / scale.std.double()).numpy()
    labels = batch.y[rows].tolist()
    for value, net, alpha in zip(got.tolist(), members, alphas, strict=True):
        decoded = net(target.features(batch.x[rows], "conv2")).detach().double()
        logits = target(decoded.float() * scale.std + scale.mean).double().numpy()
        each = zip(x, decoded.numpy(), logits, labels, strict=True)
        total = sum(
            literal_loss(*image, alpha, reduction) / len(rows) for image in each
        )
        assert value == pytest.approx(total, rel=1e-5)


def test_two_networks_at_once_learn_what_each_learns_alone(monkeypatch):
    """On a GPU K networks are one: parameters (K, ...) under vmap. The first of two is the one trained alone."""
    target, batch = network(), images()
    sets = [Scale.of(batch.x)(batch.x), 1 - batch.x]
    alone = training.fit_classifiers(target, sets[:1], batch.y, QUICK, RNG(0))[0]
    monkeypatch.setattr(training, "groups", lambda k, device: iter([list(range(k))]))
    both = training.fit_classifiers(target, sets, batch.y, QUICK, RNG(0))
    assert not both[0].training
    for (name, a), b in zip(
        alone.state_dict().items(), both[0].state_dict().values(), strict=True
    ):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5, err_msg=name)
    assert not torch.allclose(both[1].conv1[0].weight, both[0].conv1[0].weight)


def test_decoders_for_two_alphas_at_once_are_those_for_each(monkeypatch):
    target, batch = network(), images()
    how = Training(
        2, 16, "sgd", 1e-4
    )  # Adam blows rounding up where gradients are next to 0
    fit = partial(
        training.fit_decoders,
        target,
        "fc1",
        batch.x,
        batch.y,
        Scale.of(batch.x),
        how,
        base=2,
        units=[0, 3],
    )
    alone = fit(RNG(0), [0.5])[0]
    monkeypatch.setattr(training, "groups", lambda k, device: iter([list(range(k))]))
    both = fit(RNG(0), [0.5, 0.0])
    z = target.features(batch.x, "fc1")
    np.testing.assert_allclose(alone(z), both[0](z), rtol=1e-3, atol=1e-4)
    assert not torch.allclose(both[0](z), both[1](z), atol=1e-3)


def test_activations_too_large_to_keep_are_computed_again(monkeypatch):
    target, batch = network(), images()
    fit = partial(
        training.fit_decoders,
        target,
        "conv1",
        batch.x,
        batch.y,
        Scale.of(batch.x),
        QUICK,
        base=2,
    )
    kept = fit(RNG(0))[0]
    monkeypatch.setattr(training, "STORED", 0)
    again = fit(RNG(0))[0]
    z = target.features(batch.x, "conv1")
    np.testing.assert_allclose(kept(z), again(z), rtol=1e-4, atol=1e-5)


def test_decoder_and_reference_learn_to_rebuild():
    target, batch = network(), images(64)
    scale, how = Scale.of(batch.x), Training(epochs=25, batch=16, lr=0.005)
    (D,) = training.fit_decoders(
        target, "conv2", batch.x, batch.y, scale, how, RNG(0), base=4
    )
    RefAE = training.fit_reference(target, "conv2", batch.x, scale, how, RNG(0), base=4)
    s, mean_image = scale(batch.x), scale(batch.x).mean(0, keepdim=True)
    floor = training.squared_error(s, mean_image.expand_as(s), "mean").mean()
    for out in (D(target.features(batch.x, "conv2")), RefAE(s)):
        assert training.squared_error(s, out, "mean").mean() < 0.5 * floor


def test_a_diverged_training_says_so():
    target, batch = network(), images()
    with pytest.raises(Diverged, match=r"epoch \d; lower lr \(1e\+30\)"):
        training.fit_classifiers(
            target, [batch.x], batch.y, Training(3, 16, "sgd", 1e30), RNG(0)
        )


def test_the_unit_of_a_layer_does_not_matter():
    """The last layers of an untrained network are next to 0; the decoder sees them at one standard deviation."""
    target, batch = network(), images()
    fit = lambda t: training.fit_decoders(
        t, "fc1", batch.x, batch.y, Scale.of(batch.x), QUICK, RNG(0), base=2
    )[0]
    whole, small = fit(target), network()
    for tensor in small.net.fc1[0].parameters():
        tensor *= 1e-4
    z = target.features(batch.x, "fc1")
    np.testing.assert_allclose(small.features(batch.x, "fc1"), 1e-4 * z, rtol=1e-4)
    np.testing.assert_allclose(fit(small)(1e-4 * z), whole(z), rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize("alpha", [-0.1, 1.5, float("nan")])
def test_alpha_outside_0_to_1_is_refused(alpha):
    with pytest.raises(ValueError, match=r"must lie in \[0, 1\]"):
        ClaDec(alpha=alpha, **METHOD).fit(network(), images(), RNG(0))


# --------------------------------------------------------------------------------------------- occlusion


def test_relevance_by_hand():
    x = torch.arange(2 * 32 * 32, dtype=torch.float32).view(2, 1, 32, 32) / 1000
    R = occlusion.relevance(lambda images: images, x, 0.5)
    corners = list(itertools.product((0, 6, 12, 20), repeat=2))
    for i, (k, (r, c)) in itertools.product(range(2), enumerate(corners)):
        want = sum(
            (0.5 - float(x[i, 0, a, b])) ** 2
            for a in range(r, r + 12)
            for b in range(c, c + 12)
        )
        assert float(R[i, k]) == pytest.approx(want, rel=1e-4)
    mirrored = lambda images: images.flip(
        3
    )  # what is hidden on the left changes the right
    left = occlusion.relevance(mirrored, x, 0.5)[:, 0]
    assert (left == 0).all()
    assert torch.allclose(
        occlusion.relevance(mirrored, x, 0.5, inside=False), R, rtol=1e-4
    )


def test_the_map_is_the_mean_over_the_squares_that_cover_a_pixel():
    R = torch.from_numpy(RNG(0).random((2, 16)))
    maps = occlusion.on_pixels(R, 28, 32)
    for i, r, c in ((0, 0, 0), (1, 13, 20), (0, 27, 31), (1, 5, 6)):
        over = [
            float(R[i, k])
            for k, (rows, columns) in enumerate(occlusion.squares(28, 32))
            if rows.start <= r < rows.stop and columns.start <= c < columns.stop
        ]
        assert float(maps[i, r, c]) == pytest.approx(np.mean(over))


def test_ties_are_drawn_evenly_and_least_apart_from_most():
    R = torch.zeros(4000, 16)
    R[:, 3] = 1
    least, most = occlusion.extremes(R, RNG(0))
    assert (most == 3).all()
    counts = np.bincount(least, minlength=16)
    assert counts[3] == 0
    assert counts[counts > 0].min() > 200  # 4000 / 15 = 267
    assert (counts > 0).sum() == 15
    least, most = occlusion.extremes(torch.ones(4000, 16), RNG(0))
    assert 0.04 < (least == most).mean() < 0.09  # 1/16


def test_hits_hide_the_square_that_was_chosen():
    target, batch = network(size=32), images(12, size=32)
    which = RNG(0).integers(0, 16, 12)
    got = occlusion.hits(target, batch.x, batch.y, which, 0.3, chunk=5)
    for i, k in enumerate(which):
        x = batch.x[i].clone()
        rows, columns = occlusion.squares(32, 32)[k]
        x[:, rows, columns] = 0.3
        assert got[i] == (int(target(x[None]).argmax()) == int(batch.y[i]))


def test_grad_cam_is_the_baseline_s():
    target, batch = network(size=32), images(9, size=32)
    baseline = MethodRef("baselines/grad_cam.py", "GradCAM").build()
    for layer in ("conv1", "conv2"):
        baseline.layer = layer
        want = (
            baseline.fit(target, batch, RNG(0)).explain(target, batch, RNG(0)).heatmaps
        )
        np.testing.assert_allclose(
            occlusion.grad_cam(target, batch.x, layer, chunk=4), want, atol=1e-6
        )
    last = occlusion.grad_cam(target, batch.x, "pool2")
    np.testing.assert_allclose(occlusion.grad_cam(target, batch.x, "logits"), last)


# --------------------------------------------------------------------------------------------- the plug-in


def explained(target, batch, reference=None, **settings):
    method = MethodRef(
        "benchmark/papers/cladec/method.py", "ClaDec", METHOD | settings
    ).build()
    return method.fit(target, reference or images(c=batch.x.shape[1]), RNG(1)).explain(
        target, batch, RNG(2)
    )


CONTRACT = [
    {},
    {"layer": "logits", "alpha": 0.5},
    {"units": (0, 2), "kernel": 5},
    {"variant": "authors"},
]


@pytest.mark.parametrize("c", [1, 3])
@pytest.mark.parametrize("settings", CONTRACT)
def test_the_contract(settings, c):
    target, batch = network(c=c), images(9, c=c, seed=4)
    mark, state = target.fingerprint(), torch.get_rng_state()
    e = explained(target, batch, **settings)
    assert e.offers() == {"decoded", "reference", "labels", "heatmaps", "squares"}
    assert e.decoded.shape == e.reference.shape == tuple(batch.x.shape)
    assert e.heatmaps.shape == (9, 16, 16)
    assert e.heatmaps.min() >= 0
    spread = occlusion.on_pixels(torch.from_numpy(e.squares), 16, 16)
    np.testing.assert_allclose(e.heatmaps, spread, rtol=1e-6)
    assert (e.labels == target(torch.from_numpy(e.decoded)).argmax(1).numpy()).all()
    assert target.fingerprint() == mark
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("c", [1, 3])
def test_the_authors_variant_decodes_pixels_within_0_and_1(c):
    e = explained(network(c=c), images(9, c=c, seed=4), variant="authors")
    assert e.decoded.min() >= 0
    assert e.decoded.max() <= 1


def test_the_same_seed_gives_the_same_and_the_chunk_does_not_matter():
    target, batch = network(), images(9, seed=4)
    one, two = explained(target, batch), explained(target, images(9, seed=4, chunk=2))
    again = explained(target, images(9, seed=4))
    for name in ("decoded", "reference", "heatmaps"):
        assert getattr(one, name).tobytes() == getattr(again, name).tobytes()
        np.testing.assert_allclose(
            getattr(one, name), getattr(two, name), rtol=1e-4, atol=1e-5
        )


def test_a_network_that_enlarges_its_images_is_rebuilt_at_its_own_size():
    net = nets.build("vgg11", (1, 28, 28), 4, {"width": 0.05, "resize": 32}, seed=0)
    target = Target(
        net.eval(), name="v", classes="abcd", input_shape=(1, 28, 28), layer="conv2"
    )
    batch = images(5, size=28)
    big = training.seen(target, batch.x)
    assert big.shape == (5, 1, 32, 32)
    assert torch.equal(training.given(big, (28, 28)), batch.x)
    assert torch.allclose(target(big), target(batch.x))
    e = explained(target, batch, images(size=28), layer="conv2")
    assert e.decoded.shape == (5, 1, 28, 28)
    assert e.heatmaps.shape == (5, 28, 28)
    assert path((3, 4, 4), big.shape[1:]) == [(4, 4), (8, 8), (16, 16), (32, 32)]
    assert training.seen(network(), batch.x) is batch.x


def test_what_it_cannot_do_is_not_applicable():
    with pytest.raises(NotApplicable, match="set `largest`"):
        ClaDec(largest=12).fit(network(), images(), RNG(0))
    mlp = nets.build("mlp", (1, 16, 16), 4, {"width": 6, "depth": 2}, seed=0)
    dense = Target(mlp, name="m", classes="abcd", input_shape=(1, 16, 16))
    with pytest.raises(NotApplicable, match="name one of flatten, fc1, fc2, logits"):
        ClaDec().fit(dense, images(), RNG(0))
    assert explained(dense, images(3), layer="fc2").decoded.shape == (3, 1, 16, 16)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"variant": "mine"}, "variant is .standardised. or .authors."),
        ({"units": ()}, "empty"),
        ({"layer": "conv9"}, "no layer 'conv9'"),
        ({"lr": 1e30}, "lower lr"),
    ],
)
def test_bad_settings_are_one_clear_error(settings, words):
    with pytest.raises((ValueError, Diverged), match=words):
        explained(network(), images(3), **settings)
