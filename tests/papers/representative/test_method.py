"""Representative Interpretations: each equation against a slow, literal twin in float64 or a case
done by hand; the greedy against the optimum by brute force; every bad input."""

import itertools
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from benchmark.api import Method, NotApplicable, Target
from benchmark.papers.representative import boundaries as b
from benchmark.papers.representative.boundaries import Boundaries
from benchmark.papers.representative.clusters import _isometric, cluster
from benchmark.papers.representative.cover import count, greedy, pack, prune
from benchmark.papers.representative.method import RepresentativeInterpretations
from benchmark.papers.representative.regions import Region, assign, coverage, regions
from tests.helpers.representative import SIDE, K, images, network


def parts(seed=0, n=60):
    """A target, its reference images' feature maps and their classes; at least two are predicted."""
    target, R = network(seed), images(n)
    classes = target(R).argmax(1)
    assert len(classes.unique()) >= 2
    return target, target.features(R), classes


# --------------------------------------------------------------------------------------------- Eq. 2


def literal_boundary(target, t):
    """Eq. 2 at one feature map (K, u, v), in float64, by central differences."""
    net = network(dtype=torch.float64).net[1:]
    net.load_state_dict(
        {
            k.split(".", 1)[0] + "." + k.split(".", 1)[1]: v.double()
            for k, v in target.net[1:].state_dict().items()
        }
    )

    def gap(t):
        first, second = sorted(net(t[None])[0].tolist())[:-3:-1]
        return first - second

    t, W = t.double(), torch.zeros(t.shape, dtype=torch.float64)
    for place in itertools.product(*map(range, t.shape)):
        step = torch.zeros_like(t)
        step[place] = 1e-6
        W[place] = (gap(t + step) - gap(t - step)) / 2e-6
    return W, gap(t) - float((W * t).sum())


def test_a_boundary_is_the_gradient_of_the_gap_of_the_top_two_logits():
    target, psi, _ = parts()
    Q = b.at(target, psi[:6], chunk=4)
    assert Q.W.shape == (6, K, 4, 4)
    for i in range(6):
        W, bias = literal_boundary(target, psi[i])
        np.testing.assert_allclose(Q.W[i], W, atol=2e-4)
        np.testing.assert_allclose(Q.b[i], bias, atol=2e-3)


def test_on_its_own_polytope_a_boundary_is_the_gap_itself():
    """Where the same units fire and the same two classes lead, <W, t> + b = Delta G(t); beyond, it need not be."""
    target, psi, _ = parts()

    def piece(t):
        fires = target.net.hidden[0](t.flatten(1)) > 0
        return torch.cat([fires, target.head(t).topk(2, dim=1).indices], dim=1)

    Q, noise = (
        b.at(target, psi),
        0.02 * torch.randn(psi.shape, generator=torch.Generator().manual_seed(0)),
    )
    t = psi + noise
    top = target.head(t).topk(2, dim=1).values
    off = (Q.margins(t).diagonal() - (top[:, 0] - top[:, 1])).abs()
    same = (piece(t) == piece(psi)).all(dim=1)
    assert 10 < same.sum() < 60
    assert off[same].max() < 1e-5 < off[~same].max()


def test_a_boundary_by_hand():
    """G(t) = (t1 + 2 t2, 3 t1, 0) at t = (2, 1): Delta G = 6 - 4 = 2, W = (2, -2), b = 2 - 2 = 0; t
    = (1, 2) lies beyond."""
    G = nn.Linear(2, 3)
    G.weight.data, G.bias.data = (
        torch.tensor([[1.0, 2], [3, 0], [0, 0]]),
        torch.zeros(3),
    )
    net = nn.Sequential(nn.Conv2d(1, 2, 1), nn.Flatten(), G)
    target = Target(net, name="hand", classes="abc", input_shape=(1, 1, 1), layer="0")
    Q = b.at(target, torch.tensor([[[[2.0]], [[1.0]]]]))
    assert Q.W.flatten().tolist() == [2, -2] and Q.b.tolist() == [0]
    assert Q.sides(torch.tensor([[[[2.0]], [[1.0]]], [[[1.0]], [[2.0]]]])).tolist() == [
        [True],
        [False],
    ]


@pytest.mark.parametrize("way", b.WAYS)
def test_the_same_sample_whatever_the_chunk_and_another_for_another_seed(way):
    target, psi, classes = parts()

    def W(seed, chunk):
        rng = np.random.default_rng(seed)
        kw = dict(classes=classes, classes_x=classes[:2], chunk=chunk)
        return list(b.sample(target, psi, psi[:2], way, 7, rng, **kw))[1].W

    np.testing.assert_allclose(W(0, 3), W(0, 64), atol=1e-4)
    assert not torch.equal(W(0, 64), W(1, 64))


def test_reference_samples_are_shared_and_boundary_samples_are_not():
    target, psi, classes = parts()
    kw = dict(classes=classes, classes_x=classes[:3])
    shared = list(
        b.sample(target, psi, psi[:3], "reference", 9, np.random.default_rng(0), **kw)
    )
    assert shared[0] is shared[2] and len(shared[0]) == 9
    rows = np.random.default_rng(0).choice(len(psi), 9, replace=False)
    assert torch.equal(shared[0].W, b.at(target, psi[rows]).W)
    own = list(
        b.sample(target, psi, psi[:3], "boundary", 9, np.random.default_rng(0), **kw)
    )
    assert own[0] is not own[1] and [len(Q) for Q in own] == [9, 9, 9]


def test_a_line_search_ends_at_the_decision_boundary_on_the_inputs_side():
    target, psi, classes = parts()
    x, c = psi[0], int(classes[0])
    ends = psi[classes != c][:20]
    t = b.leave(target, x, ends, c, chunk=7)
    top, found = target.head(t).topk(2, dim=1)
    assert (found[:, 0] == c).all()
    assert (top[:, 0] - top[:, 1]).max() < 2 * b.GAP
    share = (t - x).flatten(1).norm(dim=1) / (ends - x).flatten(1).norm(dim=1)
    assert (share > 0).all() and (share < 1).all()
    np.testing.assert_allclose(
        t, x + share[:, None, None, None] * (ends - x), atol=1e-5
    )  # on the line
    alone = torch.cat([b.leave(target, x, end[None], c) for end in ends])
    np.testing.assert_allclose(alone, t, atol=1e-3)


def test_an_activation_that_is_not_piecewise_linear_is_named():
    with pytest.warns(
        UserWarning, match=r"tiny is not piecewise linear after conv \(hidden: Tanh\)"
    ):
        b.warn_if_curved(network(activation=nn.Tanh))
    with pytest.warns(UserWarning, match="hidden: GELU"):
        RepresentativeInterpretations(n_boundaries=5, per_class=1).fit(
            network(activation=nn.GELU), images(), np.random.default_rng(0)
        )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        b.warn_if_curved(network())
        b.warn_if_curved(
            network(activation=nn.Tanh), layer="hidden"
        )  # it lies before G


@pytest.mark.parametrize(
    "q, way", [(61, "reference"), (0, "reference"), (0, "boundary")]
)
def test_more_boundaries_than_reference_images_are_refused(q, way):
    target, psi, classes = parts()
    with pytest.raises(
        ValueError, match=rf"\|Q\| = {q}: the number of boundaries must lie in 1..60"
    ):
        b.sample(
            target,
            psi,
            psi[:1],
            way,
            q,
            np.random.default_rng(0),
            classes=classes,
            classes_x=classes[:1],
        )


def test_the_boundary_way_takes_what_there_is_of_other_classes():
    target, psi, classes = parts()
    (Q,) = b.sample(
        target,
        psi,
        psi[:1],
        "boundary",
        60,
        np.random.default_rng(0),
        classes=classes,
        classes_x=classes[:1],
    )
    assert len(Q) == int((classes != classes[0]).sum()) < 60


def test_one_class_only_has_no_boundary():
    target, R = network(), images()
    target.net.logits.bias[1] += 100
    with pytest.raises(
        NotApplicable, match="every reference image is predicted as 'b'"
    ):
        RepresentativeInterpretations().fit(target, R, np.random.default_rng(0))
    alone = network(classes=1)
    with pytest.raises(NotApplicable, match="knows one class only"):
        b.at(alone, alone.features(R))


# --------------------------------------------------------------------------------------------- Alg. 1


def literal_greedy(inside, same, delta=0):
    """Alg. 1 with sets of Python integers; inside (n, q) bool, same (n,) bool."""
    n, q = inside.shape
    tau = sum(not same[i] and inside[i].all() for i in range(n))
    P, covered = [], set(range(n))
    while sum(not same[i] for i in covered) > max(delta, tau):
        best = None
        for h in range(q):
            if h in P:
                continue
            lost = [i for i in covered if not inside[i, h]]
            lost_same, lost_other = (
                sum(same[i] for i in lost),
                sum(not same[i] for i in lost),
            )
            if lost_other and (
                best is None or (lost_same / lost_other, -lost_other) < best[:2]
            ):
                best = (lost_same / lost_other, -lost_other, h)
        P.append(best[2])
        covered = {i for i in covered if inside[i, best[2]]}
    return P


def optimum(inside, same):
    """The most reference images that any subset of Q can cover within delta = tau(x), by brute force."""
    tau = (inside.all(1) & ~same).sum()
    best = -1
    for bits in itertools.product((False, True), repeat=inside.shape[1]):
        covered = inside[:, bits].all(1)
        if (covered & ~same).sum() <= tau:
            best = max(best, int(covered.sum()))
    return best


def run_greedy(inside, same, delta=None):
    bits = pack(inside)
    return greedy(bits, pack(same[:, None])[0], pack(~same[:, None])[0], delta)


cases = (
    st.integers(0, 2**32 - 1)
    .map(np.random.default_rng)
    .map(
        lambda rng: (
            rng.random((rng.integers(1, 150), rng.integers(1, 9)))
            < rng.uniform(0.3, 0.95),
            rng,
        )
    )
)


@settings(max_examples=60, deadline=None)
@given(cases)
def test_the_greedy_is_algorithm_1(case):
    inside, rng = case
    same = rng.random(len(inside)) < 0.5
    P = run_greedy(inside, same)
    assert literal_greedy(inside, same) == P
    few = run_greedy(inside, same, delta=2)
    assert literal_greedy(inside, same, delta=2) == few == P[: len(few)]
    tau = (inside.all(1) & ~same).sum()
    covered = inside[:, P].all(1)
    assert (covered & ~same).sum() == tau
    assert len(P) <= inside.shape[1]
    assert covered.sum() <= optimum(inside, same)


def test_how_far_the_greedy_is_from_the_optimum():
    """Over 200 random cases of 60 images and 7 boundaries it covers 98 % of what can be covered, and all in most."""
    shares = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        inside, same = rng.random((60, 7)) < 0.8, rng.random(60) < 0.5
        shares.append(
            inside[:, run_greedy(inside, same)].all(1).sum() / optimum(inside, same)
        )
    assert 0.95 < np.mean(shares) < 1
    assert np.mean(np.array(shares) == 1) > 0.5
    assert min(shares) > 0.5


def test_the_greedy_by_hand_with_its_ties():
    """x's own: a, b. Others: c, d, e. h0 loses c; h1 loses c, d; h2 loses a, d, e; h3 loses c, d again."""
    inside = np.array(
        [[1, 1, 0, 1], [1, 1, 1, 1], [0, 0, 1, 0], [1, 0, 0, 0], [1, 1, 0, 1]], bool
    )
    same = np.array([True, True, False, False, False])
    assert run_greedy(inside, same) == [
        1,
        2,
    ]  # both free: h1 cuts more than h0 and stands before h3; then only h2 cuts e
    assert run_greedy(inside[:4], same[:4]) == [1]
    inside[4] = (
        True  # e lies inside of all: tau = 1, and nothing is left to do after h1
    )
    assert run_greedy(inside, same) == [1]
    assert (
        run_greedy(np.ones((5, 3), bool), same) == []
    )  # nothing can be cut: P(x) is the whole space
    assert run_greedy(inside, np.ones(5, bool)) == []  # no other class


@settings(max_examples=40, deadline=None)
@given(cases)
def test_pruning_keeps_the_covered_images(case):
    inside, rng = case
    P = run_greedy(inside, rng.random(len(inside)) < 0.5)
    kept = prune(P, pack(inside))
    np.testing.assert_array_equal(inside[:, kept].all(1), inside[:, P].all(1))
    assert [h for h in P if h in kept] == kept  # a part of P, in its order
    for h in kept:  # none can go
        assert (
            not P
            or (
                inside[:, [i for i in kept if i != h]].all(1) != inside[:, kept].all(1)
            ).any()
        )


def test_pruning_by_hand():
    inside = np.array(
        [[1, 1, 1], [0, 1, 0], [1, 0, 0]], bool
    )  # h2 does what h0 and h1 do
    assert prune([0, 1, 2], pack(inside)) == [2]
    assert prune([0, 1], pack(inside)) == [0, 1]
    assert prune([], pack(inside)) == []


def test_bits_are_counted_whatever_the_length():
    rng = np.random.default_rng(0)
    for n in (1, 63, 64, 65, 1000):
        inside = rng.random((n, 3)) < 0.5
        np.testing.assert_array_equal(count(pack(inside)), inside.sum(0))


# --------------------------------------------------------------------------------------------- regions, Eq. 5 and 6


def some_regions(way="boundary", q=12, **settings_):
    target, psi, classes = parts()
    rows = torch.arange(8)
    kw = dict(classes=classes, classes_x=classes[rows])
    sampled = list(
        b.sample(target, psi, psi[rows], way, q, np.random.default_rng(1), **kw)
    )
    (found,) = regions(sampled, psi, classes, psi[rows], classes[rows], **settings_)
    return target, psi, classes, sampled, found


@pytest.mark.parametrize("way", b.WAYS)
def test_a_region_holds_its_input_and_as_few_others_as_its_sample_allows(way):
    _, psi, classes, sampled, found = some_regions(way)
    assert len(found) == 8
    for i, region in enumerate(found):
        covered, Q = region.covers(psi), sampled[i]
        assert covered[i] and region.label == classes[i]
        assert region.representativeness == int(covered.sum())
        tau = (
            (Q.sides(psi) == Q.sides(psi[i : i + 1])).all(1) & (classes != classes[i])
        ).sum()
        assert (covered & (classes != region.label)).sum() == tau
    np.testing.assert_array_equal(
        coverage(found, psi), np.stack([r.covers(psi).numpy() for r in found], 1)
    )


def test_pruned_regions_cover_the_same():
    _, psi, *_, pruned = some_regions(q=30)
    *_, whole = some_regions(q=30, pruned=False)
    np.testing.assert_array_equal(coverage(pruned, psi), coverage(whole, psi))
    assert sum(map(len, pruned)) < sum(map(len, whole))


@pytest.mark.parametrize("way", b.WAYS)
def test_the_code_drops_redundant_boundaries_and_the_text_does_not(way):
    """Given no word on it, each variant does as its source; delta holds fewer boundaries."""
    target, S = network(), images()
    fit = lambda **settings: RepresentativeInterpretations(
        variant=way, n_boundaries=30, per_class=2, **settings
    ).fit(target, S, np.random.default_rng(0))
    held = [len(region) for region in fit()._regions]
    assert held == [len(r) for r in fit(pruned=way == "boundary")._regions]
    assert sum(held) != sum(len(r) for r in fit(pruned=way != "boundary")._regions)
    assert sum(len(r) for r in fit(delta=10)._regions) < sum(held)


def test_the_first_boundaries_are_a_smaller_sample():
    _, psi, classes, sampled, whole = some_regions()
    rows = torch.arange(8)
    few, every = regions(
        iter(sampled), psi, classes, psi[rows], classes[rows], sizes=(4, 12)
    )
    (again,) = regions([Q[:4] for Q in sampled], psi, classes, psi[rows], classes[rows])
    for one, two in ((few, again), (every, whole)):
        assert all(torch.equal(r.P.W, s.P.W) for r, s in zip(one, two, strict=True))
        assert [r.representativeness for r in one] == [
            s.representativeness for s in two
        ]
    assert max(map(len, few)) <= 4


def literal_interpolation(a):
    """torch's, written out: bilinear, pixel centres aligned, edges repeated."""
    out = np.zeros((SIDE, SIDE))
    for i, j in itertools.product(range(SIDE), repeat=2):
        y, x = ((np.array([i, j]) + 0.5) * 4 / SIDE - 0.5).clip(0, 3)
        y0, x0 = int(y), int(x)
        y1, x1 = min(y0 + 1, 3), min(x0 + 1, 3)
        top, bottom = (
            (1 - (x - x0)) * a[k, x0] + (x - x0) * a[k, x1] for k in (y0, y1)
        )
        out[i, j] = (1 - (y - y0)) * top + (y - y0) * bottom
    return out


def literal_heat_map(region, psi):
    """Eq. 5 of one image's feature maps (K, u, v)."""
    total = np.zeros((SIDE, SIDE))
    for W, side in zip(region.P.W.double().numpy(), region.side):
        W = W if side else -W
        alpha = [W[k].sum() / 16 for k in range(K)]
        raw = np.maximum(sum(a * p for a, p in zip(alpha, psi.double().numpy())), 0)
        m = literal_interpolation(raw)
        total += (m - m.min()) / (m.max() - m.min()) if m.max() > m.min() else 0
    return total / len(region)


def test_heat_maps_are_the_mean_of_scaled_maps_of_each_boundary():
    _, psi, _, _, found = some_regions()
    region = next(r for r in found if len(r) > 1)
    maps = region.heat_maps(psi[:5], (SIDE, SIDE))
    assert maps.shape == (5, SIDE, SIDE) and maps.min() >= 0 and maps.max() <= 1
    for i in range(5):
        np.testing.assert_allclose(maps[i], literal_heat_map(region, psi[i]), atol=1e-4)


def test_the_input_lies_on_the_positive_side_of_every_turned_boundary():
    _, psi, _, _, found = some_regions("reference")
    assert len(found) == 8
    for i, region in enumerate(found):
        turned = region.P.margins(psi[i : i + 1])[0] * torch.where(
            region.side, 1.0, -1.0
        )
        assert (turned > 0).all()


def test_similar_images_are_ranked_by_equation_6():
    _, psi, _, _, found = some_regions()
    region, x = found[2], psi[2]
    d = region.distances(x, psi)
    want = [
        sum(abs(float((W * x).sum() - (W * t).sum())) for W in region.P.W.double())
        for t in psi.double()
    ]
    np.testing.assert_allclose(d, want, rtol=1e-3, atol=1e-3)
    assert d.argmin() == 2 and d[2] < 1e-5
    unit = region.distances(x, psi, unit=True)
    want = [
        sum(abs(float((W / W.norm() * (x - t)).sum())) for W in region.P.W.double())
        for t in psi.double()
    ]
    np.testing.assert_allclose(unit, want, rtol=1e-3, atol=1e-3)


def region(label, size):
    nothing = Boundaries(torch.zeros(0, 1, 1, 1), torch.zeros(0))
    return Region(nothing, torch.zeros(0, dtype=torch.bool), label, size)


def test_an_image_goes_to_its_largest_region_or_the_nearest_centre():
    covered = np.array([[1, 1, 0], [1, 1, 1], [0, 0, 1], [0, 0, 0]], bool)
    chosen, labels = assign(
        [region(5, 10), region(6, 20), region(7, 20)], covered, np.array([0, 0, 0, 2])
    )
    assert chosen.tolist() == [1, 1, 2, 2]  # equal sizes: the lower index
    assert labels.tolist() == [6, 6, 7, -1]


def test_a_region_without_boundaries_covers_all_and_shows_nothing():
    whole, psi = region(1, 3), torch.rand(3, 1, 1, 1)
    assert whole.covers(psi).all()
    assert not whole.heat_maps(psi, (4, 4)).any()
    assert coverage([whole, whole], psi).all()


# --------------------------------------------------------------------------------------------- k-means


def test_the_isometric_points_have_the_distances_of_the_feature_maps():
    x = torch.randn(30, 500, generator=torch.Generator().manual_seed(0))
    x = x - x.mean(0)
    got, want = (
        torch.cdist(_isometric(x), _isometric(x)),
        torch.cdist(x.double(), x.double()),
    )
    np.testing.assert_allclose(got, want, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("d", [3, 200])
def test_clusters_that_are_there_are_found(d):
    rng = np.random.default_rng(0)
    truth = np.repeat(np.arange(4), 10)
    x = torch.from_numpy(
        (
            10 * rng.standard_normal((4, d))[truth] + 0.1 * rng.standard_normal((40, d))
        ).astype(np.float32)
    )
    V = cluster(x[:, :, None, None], 4, np.random.default_rng(1))
    assert len({(a, c) for a, c in zip(truth, V.labels)}) == 4
    for v in range(4):
        members = x[V.labels == v]
        np.testing.assert_allclose(V.centres[v], members.mean(0), atol=1e-4)
        assert V.seeds[v] == int((x - V.centres[v]).square().sum(1).argmin())
    np.testing.assert_array_equal(V.nearest(x[:, :, None, None]), V.labels)


def test_fewer_images_than_clusters_make_fewer_clusters():
    x = torch.rand(3, 2, 1, 1, generator=torch.Generator().manual_seed(0))
    assert len(cluster(x, 10, np.random.default_rng(0))) == 3
    assert len(cluster(x[[0, 0, 1, 1]], 10, np.random.default_rng(0))) == 2
    with pytest.raises(ValueError, match="no reference images"):
        cluster(x[:0], 10, np.random.default_rng(0))


# --------------------------------------------------------------------------------------------- the plug-in


def fitted(seed=0, **settings_):
    target = network(seed)
    method = RepresentativeInterpretations(
        **{"n_boundaries": 20, "per_class": 3} | settings_
    )
    return target, method.fit(target, images(), np.random.default_rng(2))


@pytest.mark.parametrize("way", b.WAYS)
def test_the_plug_in_keeps_the_contract(way):
    target, method = fitted(variant=way)
    assert isinstance(method, Method) and method.paper == "representative"
    mark, state = target.fingerprint(), torch.get_rng_state()
    S = images(n=30, seed=9)
    e = method.explain(target, S, np.random.default_rng(0))
    assert e.offers() == {"heatmaps", "concept_maps", "labels", "size"}
    assert (
        e.heatmaps.shape == (30, SIDE, SIDE)
        and e.heatmaps.min() >= 0
        and e.heatmaps.max() <= 1
    )
    assert e.labels.min() >= -1 and e.labels.max() < 3
    assert e.size["regions"] <= 9 and e.size["boundaries"] > 0
    assert target.fingerprint() == mark and torch.equal(torch.get_rng_state(), state)
    np.testing.assert_allclose(
        method.explain(
            target, images(n=30, seed=9, chunk=4), np.random.default_rng(0)
        ).heatmaps,
        e.heatmaps,
        atol=1e-5,
    )
    _, again = fitted(variant=way)
    np.testing.assert_array_equal(
        again.explain(target, S, np.random.default_rng(0)).heatmaps, e.heatmaps
    )


def test_concept_maps_are_those_of_the_regions_own_boundaries():
    target, method = fitted(variant="boundary")
    S = images(n=30, seed=9)
    e, psi = method.explain(target, S, np.random.default_rng(0)), target.features(S)
    chosen, _ = assign(
        method._regions, coverage(method._regions, psi), method._V.nearest(psi)
    )
    counts = set()
    for i, v in enumerate(chosen):
        region = method._regions[v]
        counts.add(min(len(region), 5))
        for k in range(5):
            alone = (
                Region(region.P[[k]], region.side[[k]], 0, 0).heat_maps(
                    psi[i : i + 1], (SIDE, SIDE)
                )[0]
                if k < len(region)
                else 0
            )
            np.testing.assert_allclose(e.concept_maps[i, k], alone, atol=1e-6)
        if len(region) <= 5:
            np.testing.assert_allclose(
                e.concept_maps[i].sum(0) / max(1, len(region)), e.heatmaps[i], atol=1e-5
            )
    assert len(counts) > 1


def test_an_image_in_no_polytope_has_no_label_but_a_map():
    target, method = fitted(variant="reference")
    S = images(n=200, seed=11)
    e, psi = method.explain(target, S, np.random.default_rng(0)), target.features(S)
    outside = ~coverage(method._regions, psi).any(1)
    assert outside.any() and (~outside).any()
    assert (e.labels[outside] == -1).all() and (e.labels[~outside] >= 0).all()
    i = int(np.flatnonzero(outside)[0])
    v = int((psi[i].flatten() - method._V.centres).square().sum(1).argmin())
    np.testing.assert_allclose(
        e.heatmaps[i],
        method._regions[v].heat_maps(psi[i : i + 1], (SIDE, SIDE))[0],
        atol=1e-6,
    )


def test_a_class_that_is_never_predicted_has_no_region():
    target = network(classes=4)
    target.net.logits.bias[3] -= 1000
    method = RepresentativeInterpretations(n_boundaries=20, per_class=3).fit(
        target, images(), np.random.default_rng(0)
    )
    assert len(method._regions) == 12
    assert 3 not in {r.label for r in method._regions}


def test_a_wrong_setting_is_refused():
    for wrong in ({"variant": "text"}, {"n_boundaries": 0}, {"per_class": 0}):
        with pytest.raises(ValueError, match="variant is|at least 1"):
            RepresentativeInterpretations(**wrong)
    target = network()
    with pytest.raises(NotApplicable, match="flatten of tiny has no channels"):
        RepresentativeInterpretations(layer="flatten").fit(
            target, images(), np.random.default_rng(0)
        )
    target.layer = None
    with pytest.raises(NotApplicable, match="no layer with spatial extent"):
        RepresentativeInterpretations().fit(target, images(), np.random.default_rng(0))
