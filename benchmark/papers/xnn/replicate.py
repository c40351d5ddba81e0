"""The paper's experiments: Tables 1, 3, .4 and .5, Sec. 4.4, Figs. 7, 8, 10 and .12, and the network of the human study.

Every class has its own XNN; numbers are means over classes. Maps are taken on ``images`` test images of each class. What
SRAE gains over an ablation is paired by class: ``delta_O1`` of ``NN-SRAE`` is the mean over classes of O1(NN) - O1(SRAE), and
``delta_O1_ci95`` half of its 95 % interval (Student's t).
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.random import Generator
from scipy.stats import t as student
from sklearn.linear_model import Lasso
from torch import Tensor
from torch.nn import functional as F

from benchmark.api import Array, Batch, Target
from benchmark.papers import Number, Outcome, Study
from benchmark.papers.xnn import maps, masking, srae
from benchmark.shared import attention_maps
from benchmark.shared.excitation_backprop import class_maps

LOWER, HIGHER = "lower", "higher"
UNITS = {
    "F_reg": (LOWER, "logits"),
    "F_cls": (HIGHER, "percent"),
    "O1": (LOWER, ""),
    "O2": (LOWER, "nats"),
    "locality": (LOWER, "nats"),
    "class_part_share": (HIGHER, "fraction"),
}
RADIUS = 0.08  # of a part, in sides of the image


# --------------------------------------------------------------------------------------------- Table 1, Figs. 7 and 8


def table1(
    study: Study,
    rng: Generator,
    *,
    training: Mapping[str, Any] | None = None,
    negatives: int | None = None,
    alpha: float = 2.5,
    alphas: Sequence[float] = (),
    images: int = 4,
    z_units: int = 20,
    test: int | None = None,
    layer: str | None = None,
    to: str | None = None,
    shown: int | None = None,
    pixels: Sequence[int] = (300, 500, 1000),
) -> Outcome:
    """SRAE (with restarts and without), NN, SAE, CAE, Lasso, Z and the 1-Heatmap; Tables .4 and .5, Figs. 7 and 8.

    Args:
        training: settings of ``srae.Setting`` that all share.
        negatives: training examples of other classes for each class; None: all.
        alpha: of the Lasso; its maps are those of its n largest contributions. alphas: of Table .4.
        images: test images of each class whose maps are measured; z_units: units of Z, drawn once.
        test: test images, equally many of each class; None: all.
        shown: so many classes have pictures; None: all.
        pixels: kept in Table .5, of 224 x 224.
    """
    training = dict(training or {})
    at, (Z, y, train), (Zt, yt, tested) = _layer_of(study, layer, test)
    data = srae.examples(Z, y, train.y, negatives, rng, study.target.classes)
    K, n = y.shape[1], srae.Setting(**training).n
    seen = _maps_of(tested, K, images)
    numbers, arrays, trained = [], {}, {}
    per_class: dict[str, dict[str, Array]] = {}
    seed = int(rng.integers(2**31))  # all start from the same weights
    done: dict[
        tuple[int, ...], Any
    ] = {}  # the first training is the same with restarts and without
    for name in ("SRAE", "SRAE without restarts", "NN", "SAE", "CAE"):
        base, variant = (
            training | ({"accept": "live"} if "without" in name else {}),
            name.split()[0],
        )
        shared = done if variant == "SRAE" else None
        trained[name] = xnn = srae.fit(
            data, srae.settings_for(variant, base), np.random.default_rng(seed), done=shared
        )
        per_class[name] = _faithful(data, y, xnn.predict(Z)[..., 0], yt, xnn.predict(Zt)[..., 0])
        live = [float((xnn.encode(Zt, c)[-1].amax((0, 1)) > 0).sum()) for c in range(K)]
        speak = [_speaking(xnn, Zt[tested.y == c], c) for c in range(K)]
        numbers += [
            Number("n_live", float(np.mean(live)), name, {"n": n}, K, HIGHER, "x-features"),
            Number("n_positive", float(np.mean(speak)), name, {"n": n}, K, HIGHER, "x-features"),
            Number(
                "n_trainings",
                float(xnn.trained.double().mean()),
                name,
                {"n": n},
                K,
                LOWER,
                "trainings",
            ),
        ]
    lasso = _lasso(data, alpha)
    per_class["Lasso"] = _faithful(data, y, _linear(lasso, Z), yt, _linear(lasso, Zt))
    numbers.append(
        Number(
            "n_features",
            float((lasso[0] != 0).sum(1).double().mean()),
            "Lasso",
            {"alpha": alpha, "n": n},
            K,
            LOWER,
            "units",
        )
    )
    numbers += _table4(alphas, data, (Z, y), (Zt, yt))
    active = torch.nonzero(Z.amax(0) > 0)[:, 0].cpu().numpy()
    units = torch.from_numpy(
        np.sort(rng.choice(active, min(z_units, len(active)), replace=False))
    ).to(Z.device)

    all_z, srae_maps, srae_added, heat = f"Z ({Z.shape[1]} fc dims)", [], [], []
    of_maps: dict[str, list[dict[str, float]]] = {
        name: [] for name in (*trained, "Lasso", "1-Heatmap", all_z)
    }
    for c, part in enumerate(seen):  # the maps of all methods go down together, image by image
        z, cells, each = at(study.target, part), _cells(part), part.x.split(1)
        walkers = torch.cat([maps.walkers(xnn, z, c, at) for xnn in trained.values()]).split(
            1, dim=1
        )
        found = torch.cat(
            [maps.down(study.target, *one, at, to) for one in zip(each, walkers, strict=True)], 1
        )
        for (name, xnn), S in zip(trained.items(), found.split(n), strict=True):
            added = xnn.contributions(z, c)  # v_i E_i, (m, n)
            of_maps[name].append(_overlap(S, added.mean(0).clamp(min=0), part, cells))
            if name == "SRAE":
                srae_maps.append(S)
                srae_added.append(added)
        chosen, share = _largest(lasso[0][c], Zt[tested.y == c], n)
        found = torch.cat(
            [maps.z_maps(study.target, x, torch.cat([chosen, units]), at, to) for x in each], 1
        )
        of_maps["Lasso"].append(_overlap(found[: len(chosen)], share, part, cells))
        of_maps[all_z].append(_overlap(found[len(chosen) :], None, part, cells))
        heat.append(class_maps(study.target, part.x, torch.full_like(part.y, c), to=to)[None])
        of_maps["1-Heatmap"].append(_overlap(heat[-1], None, part, cells))
    settings = {"Lasso": {"alpha": alpha, "n": n}, "1-Heatmap": {}, all_z: {}}
    for name, values in of_maps.items():
        keep = (
            ("locality", "class_part_share") if name in ("1-Heatmap", all_z) else tuple(values[0])
        )
        per_class.setdefault(name, {}).update(
            {k: np.array([one[k] for one in values]) for k in values[0] if k in keep}
        )
        numbers += _numbers(name, per_class[name], settings.get(name, {"n": n}), K)
    numbers += _gaps(per_class, K)
    merged = [masking.one_map(*two) for two in zip(srae_maps, srae_added, strict=True)]
    numbers += _table5(study.target, seen, merged, [h[0] for h in heat], pixels)
    if "class_part_share" in per_class["SRAE"]:
        area = [float(_part_region(part).mean()) for part in seen]
        numbers.append(
            Number(
                "class_part_share", float(np.mean(area)), "uniform map", {}, K, HIGHER, "fraction"
            )
        )
        arrays["bars"] = _bars(srae_maps, seen)
        arrays["importance"] = np.stack([p.part_importance[0].cpu().numpy() for p in seen])
        arrays["part_names"] = study.data.arrays.get(
            "part_names", np.array([str(i) for i in range(arrays["importance"].shape[1])])
        )
    arrays |= {
        f"class_{metric}": np.stack([v[metric] for v in per_class.values() if metric in v])
        for metric in ("O1", "O2", "F_reg_test")
    }
    arrays["class_methods"] = np.array([k for k, v in per_class.items() if "O1" in v])
    return Outcome(
        numbers, arrays | _picture(study.target, seen[:shown], srae_maps, srae_added, heat)
    )


def _layer_of(study: Study, layer: str | None, test: int | None) -> tuple[maps.Layer, tuple, tuple]:
    """The explained layer, and (Z, y, batch) of the training and of the test images."""
    out = []
    for split in ("train", "test"):
        rows = None if split == "train" or test is None else study.data.sample("test", test, "xnn")
        chunk = max(1, min(64, 2**20 // int(np.prod(study.data.input_shape[1:]))))
        out.append(study.data.batch(split, rows, device=study.device, chunk=chunk))
    at = maps.find(study.target, out[0].x, layer)
    return at, *((*_both(study.target, at, batch), batch) for batch in out)


@torch.no_grad()
def _both(target: Target, at: maps.Layer, batch: Batch) -> tuple[Tensor, Tensor]:
    """Z and logits of a batch, in chunks, with one pass: (n, d), (n, C)."""
    Z, y = [], []
    for start in range(0, len(batch), batch.chunk):
        z = target.features(batch.x[start : start + batch.chunk], at.name)
        y.append(target.head(z, at.name))
        Z.append(z.flatten(2).mT if at.side else z.mean((2, 3)) if at.average else z)
    return torch.cat(Z), torch.cat(y)


def _maps_of(tested: Batch, K: int, images: int) -> list[Batch]:
    """The first test images of each class."""
    out = [tested[(tested.y == c).nonzero()[:images, 0]] for c in range(K)]
    if empty := [c for c, part in enumerate(out) if not len(part)]:
        raise ValueError(f"no test image of class {empty[0]}: raise `test`")
    return out


def _faithful(
    data: srae.Examples, y: Tensor, y_: Tensor, yt: Tensor, yt_: Tensor
) -> dict[str, Array]:
    """F_reg and F_cls of each class on its training examples and on all test images; (K,) each."""
    K = y.shape[1]
    out: dict[str, list[float]] = {
        k: [] for k in ("F_reg_train", "F_reg_test", "F_cls_train_pct", "F_cls_test_pct")
    }
    everything = torch.arange(len(yt), device=yt.device)
    for split, full, approx in (("train", y, y_), ("test", yt, yt_)):
        for c in range(K):
            rows = data.rows[c] if split == "train" else everything
            replaced = full[rows].clone()
            replaced[:, c] = approx[rows, c]
            same = replaced.argmax(1) == full[rows].argmax(1)
            out[f"F_reg_{split}"].append(float((full[rows, c] - approx[rows, c]).abs().mean()))
            out[f"F_cls_{split}_pct"].append(100 * float(same.double().mean()))
    return {k: np.array(v) for k, v in out.items()}


def _overlap(
    found: Tensor, weights: Tensor | None, part: Batch, cells: tuple[Array, Array] | None
) -> dict[str, float]:
    """O1, O2, locality and the share on class-defining parts of maps (k, m, h, w) of one class; whether P is singular, how many
    maps are dead, and the mean correlation of live maps, which dead ones do not lower."""
    S = attention_maps.normalised(found.movedim(0, 1).cpu().numpy())  # (m, k, h, w)
    P, dead = attention_maps.correlation(S)
    o2, singular = attention_maps.o2(P)
    out = {
        "O1": attention_maps.o1(P),
        "O2": o2,
        "mean_correlation": attention_maps.mean_correlation(P, dead),
        "n_singular": float(singular),
        "n_dead": float(dead.sum()),
    }
    if cells is not None:
        H = attention_maps.entropy(_histogram(S, cells))
        out["locality"] = float(np.nanmean(H)) if np.isfinite(H).any() else np.nan
    if part.part_importance is not None:
        share = np.einsum("mkhw,mhw->k", S, _part_region(part)) / np.maximum(
            S.sum((0, 2, 3)), 1e-12
        )  # (k,)
        w = np.ones(len(share)) if weights is None else weights.double().cpu().numpy()
        out["class_part_share"] = float((share * w).sum() / w.sum()) if w.sum() > 0 else np.nan
    return out


def _cells(part: Batch) -> tuple[Array, Array] | None:
    """Which images show a part, (m,) bool, and P(part | pixel) of these, (seen, p + 1, h, w); None without annotated parts."""
    if part.parts is None:
        return None
    parts, (h, w) = part.parts.cpu().numpy(), part.x.shape[2:]
    visible = (
        np.ones(parts.shape[:2], bool)
        if part.part_visible is None
        else part.part_visible.cpu().numpy()
    )
    boxes = (
        part.boxes.cpu().numpy()
        if part.boxes is not None
        else np.array([[0, 0, w, h]] * len(parts))
    )
    seen = visible.any(1)
    cells = [
        attention_maps.voronoi(*one, h, w)
        for one in zip(parts[seen], visible[seen], boxes[seen], strict=True)
    ]
    return seen, np.array(cells).reshape(-1, parts.shape[1] + 1, h, w)


def _histogram(S: Array, cells: tuple[Array, Array]) -> Array:
    """(k, p + 1) Voronoi histogram over the images that show a part; all 0 where none does."""
    seen, of_pixel = cells
    return attention_maps.histogram(S[seen], of_pixel).sum(0) / max(1, seen.sum())


def _bars(found: Sequence[Tensor], seen: Sequence[Batch]) -> Array:
    """(K, n, p + 1) histograms of the x-features of each class, each summing to 1 (Fig. 7b, over images)."""
    S = [attention_maps.normalised(f.movedim(0, 1).cpu().numpy()) for f in found]
    bars = np.stack([_histogram(*both) for both in zip(S, map(_cells, seen), strict=True)])
    return bars / np.maximum(bars.sum(2, keepdims=True), 1e-12)


def _part_region(part: Batch) -> Array:
    """Pixels (m, h, w) near a visible part that defines the class."""
    h, w = part.x.shape[2:]
    x, y = part.parts.double().cpu().numpy().transpose(2, 0, 1)[..., None, None]  # (m, p, 1, 1)
    d = np.hypot(np.arange(w) + 0.5 - x, np.arange(h)[:, None] + 0.5 - y)  # (m, p, h, w)
    chosen = (part.part_importance > 0).cpu().numpy() & part.part_visible.cpu().numpy()
    return ((d <= RADIUS * max(h, w)) & chosen[:, :, None, None]).any(1)


def _speaking(xnn: srae.XNN, Z: Tensor, c: int) -> int:
    """x-features with a positive mean contribution v_i E_i on images of the class."""
    return int((xnn.contributions(Z, c).mean(0) > 1e-6).sum())


def _numbers(
    method: str, values: Mapping[str, Array], setting: Mapping[str, Any], K: int
) -> list[Number]:
    """Means over classes. A class whose value is undefined is left out, and n says how many count."""
    out = []
    for metric, v in values.items():
        better, unit = UNITS.get(
            metric.removesuffix("_pct").removesuffix("_train").removesuffix("_test"), (LOWER, "")
        )
        ok = np.isfinite(v)
        if metric in ("n_singular", "n_dead"):
            out.append(
                Number(
                    metric,
                    float(v.sum()),
                    method,
                    setting,
                    K,
                    LOWER,
                    "classes" if metric == "n_singular" else "maps",
                )
            )
        elif ok.any():
            out.append(
                Number(metric, float(v[ok].mean()), method, setting, int(ok.sum()), better, unit)
            )
    return out


def _gaps(per_class: Mapping[str, Mapping[str, Array]], K: int) -> list[Number]:
    """Method - SRAE, paired by class: mean and half of the 95 % interval."""
    out = []
    for name, values in per_class.items():
        for metric in ("O1", "O2", "mean_correlation", "locality", "F_reg_test"):
            if name == "SRAE" or metric not in values:
                continue
            out += _paired(
                f"{name}-SRAE",
                metric,
                values[metric] - per_class["SRAE"][metric],
                unit=UNITS.get(metric, ("", ""))[1],
            )
    return out


def _paired(
    pair: str, metric: str, gap: Array, setting: Mapping[str, Any] | None = None, unit: str = ""
) -> list[Number]:
    """Mean and half of the 95 % interval of a gap (K,) over classes; nothing where fewer than two classes have one."""
    gap = gap[np.isfinite(gap)]
    if len(gap) < 2:
        return []
    half = student.ppf(0.975, len(gap) - 1) * gap.std(ddof=1) / len(gap) ** 0.5
    return [
        Number(f"delta_{metric}", float(gap.mean()), pair, setting or {}, len(gap), HIGHER, unit),
        Number(f"delta_{metric}_ci95", float(half), pair, setting or {}, len(gap), LOWER),
    ]


def _table5(
    target: Target,
    seen: Sequence[Batch],
    merged: Sequence[Tensor],
    heat: Sequence[Tensor],
    pixels: Sequence[int],
) -> list[Number]:
    """Table .5: accuracy, the mean over classes, on images of which the top pixels are kept; the gap is paired by class."""
    clean = [float((target(part).argmax(1) == part.y).double().mean()) for part in seen]
    n = sum(map(len, seen))
    numbers = [
        Number("accuracy", float(np.mean(clean)), "original image", {}, n, HIGHER, "fraction")
    ]
    for k in pixels:
        ours, theirs = (
            np.array(
                [
                    masking.masked_right(target, part, one, k).mean()
                    for part, one in zip(seen, of, strict=True)
                ]
            )
            for of in (merged, heat)
        )
        setting = {"pixels kept": k}
        numbers += [
            Number(
                "accuracy", float(ours.mean()), "mask by x-features", setting, n, HIGHER, "fraction"
            ),
            Number(
                "accuracy",
                float(theirs.mean()),
                "mask by 1-Heatmap",
                setting,
                n,
                HIGHER,
                "fraction",
            ),
            *_paired("x-features-1-Heatmap", "accuracy", ours - theirs, setting, "fraction"),
        ]
    return numbers


SIDE = 112  # pixels of a picture at most: all classes stay a few MB


def _picture(
    target: Target,
    seen: Sequence[Batch],
    found: Sequence[Tensor],
    added: Sequence[Tensor],
    heat: Sequence[Tensor],
) -> dict[str, Array]:
    """Two images of each class, with the 1-Heatmap, the x-features' maps and v_i E_i (Figs. 1, 8); levels 0 to 255."""
    out: dict[str, list[Array]] = {
        k: [] for k in ("image", "heat", "maps", "contribution", "logit", "name")
    }
    for c, part in enumerate(seen):
        m = min(2, len(part))
        out["image"].append(_levels(part.x[:m], 1))
        out["heat"].append(_levels(heat[c][0, :m, None])[:, 0])
        out["maps"].append(_levels(found[c][:, :m].movedim(0, 1)))
        out["contribution"].append(added[c][:m].cpu().numpy())
        out["logit"].append(target(part)[:m, c].cpu().numpy())
        out["name"].append(np.array([target.classes[c]] * m))
    return {f"shown_{k}": np.concatenate(v) for k, v in out.items()}


def _levels(x: Tensor, most: float | None = None) -> Array:
    """x (m, k, h, w) at most SIDE pixels large, 255 times its share of ``most`` (default: the largest of each map)."""
    h, w = x.shape[2:]
    shrink = min(1, SIDE / max(h, w))
    x = F.adaptive_avg_pool2d(x, (round(shrink * h), round(shrink * w)))
    x = x / (most or x.amax((2, 3), keepdim=True).clamp(min=1e-12))
    return (255 * x).round().byte().cpu().numpy()


# --------------------------------------------------------------------------------------------- Lasso (Tables 1 and .4)


def _lasso(data: srae.Examples, alpha: float) -> tuple[Tensor, Tensor]:
    """Coefficients (K, d) and intercepts (K,) of scikit-learn's Lasso on Z, one a class."""
    coef, intercept = [], []
    for c in range(len(data.rows)):
        Z = data.Z(data.rows[c : c + 1])[0, :, 0].double().cpu().numpy()
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # small alphas may not converge within max_iter: still a Lasso, less sparse
            found = Lasso(alpha=alpha, max_iter=2000).fit(Z, data.y[c, :, 0].double().cpu().numpy())
        coef.append(found.coef_)
        intercept.append(found.intercept_)
    device = data.y.device
    return torch.tensor(np.stack(coef), device=device).float(), torch.tensor(
        intercept, device=device
    ).float()


def _linear(lasso: tuple[Tensor, Tensor], Z: Tensor) -> Tensor:
    return Z @ lasso[0].T + lasso[1]


def _largest(coef: Tensor, Z: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """The (at most) n selected units with the largest mean contribution on images of the class, and that, cut off at 0."""
    share = (coef * Z).mean(0)
    units = share.abs().topk(min(n, max(1, int((coef != 0).sum())))).indices
    return units, share[units].clamp(min=0)


def _table4(
    alphas: Sequence[float],
    data: srae.Examples,
    seen: tuple[Tensor, Tensor],
    tested: tuple[Tensor, Tensor],
) -> list[Number]:
    """Number of selected units and faithfulness over alpha."""
    numbers = []
    for alpha in alphas:
        found = _lasso(data, alpha)
        values = _faithful(
            data, seen[1], _linear(found, seen[0]), tested[1], _linear(found, tested[0])
        )
        values["n_features"] = (found[0] != 0).sum(1).double().cpu().numpy()
        numbers += _numbers("Lasso", values, {"alpha": alpha}, len(data.rows))
    return numbers


# --------------------------------------------------------------------------------------------- Table 3, Sec. 4.4, Fig. 10


def convolutional(
    study: Study,
    rng: Generator,
    *,
    layers: Sequence[str] = (),
    dense: str | None = None,
    training: Mapping[str, Any] | None = None,
    negatives: int | None = None,
    train: int | None = None,
    test: int | None = None,
    pool: bool = True,
    shown: int | None = None,
) -> Outcome:
    """The convolutional XNN at ``layers``, and the dense one at ``dense`` beside it.

    Filters are 1x1; E is max-pooled 2x2 (``pool``) before the dense layer v, as the paper's network for MNIST. Features of a
    minibatch are computed when they are needed: those of a low layer do not fit into memory.

    Args:
        train, test: images, equally many of each class; shown: the class whose x-features are kept for the picture.
    """
    sizes = {"train": train, "test": test}
    chunk = max(1, min(256, 2**20 // int(np.prod(study.data.input_shape[1:]))))
    batches = [
        study.data.batch(s, k and study.data.sample(s, k, "xnn"), device=study.device, chunk=chunk)
        for s, k in sizes.items()
    ]
    (seen, tested), K, numbers, arrays = batches, len(study.target.classes), [], {}
    for name in (*layers, *([dense] if dense else [])):
        at = (
            maps.find(study.target, seen.x, name)
            if name == dense
            else maps.convolutional(study.target, seen.x, name)
        )
        if len(seen) * study.target.features(seen.x[:1], name).numel() < 2**28:  # a gigabyte
            source, y = _both(study.target, at, seen)
        else:
            source, y = _on_the_fly(study.target, at, seen), _logits(study.target, seen)
        yt = _logits(study.target, tested)
        data = srae.examples(source, y, seen.y, negatives, rng, study.target.classes)
        side = at.side if pool and at.side and min(at.side) > 1 else None
        xnn = srae.fit(data, srae.Setting(**{"accept": "live", **(training or {})}), rng, side)
        y_, yt_ = (_predict(xnn, study.target, at, b) for b in batches)
        values = {
            k: v for k, v in _faithful(data, y, y_, yt, yt_).items() if not k.endswith("_pct")
        }
        method = "SRAE" if name == dense else "conv SRAE"
        numbers += _numbers(method, values, {"layer": name}, K)
        if shown is not None and name == layers[-1]:
            one = {k: v[shown : shown + 1] for k, v in values.items()}
            numbers += _numbers(method, one, {"class": shown, "n": xnn.setting.n}, 1)
            arrays = _shown(study, xnn, at, tested, shown)
    return Outcome(numbers, arrays)


def _logits(target: Target, batch: Batch) -> Tensor:
    with torch.no_grad():
        return torch.cat(
            [target(batch.x[i : i + batch.chunk]) for i in range(0, len(batch), batch.chunk)]
        )


def _on_the_fly(target: Target, at: maps.Layer, batch: Batch):
    """(K, B) images -> Z (K, B, S, d), each image once."""

    def source(rows: Tensor) -> Tensor:
        unique, where = rows.unique(return_inverse=True)
        with torch.no_grad():
            Z = torch.cat([at(target, batch.x[part]) for part in unique.split(batch.chunk)])
        return Z[where]

    return source


def _predict(xnn: srae.XNN, target: Target, at: maps.Layer, batch: Batch) -> Tensor:
    with torch.no_grad():
        parts = [
            xnn.predict(at(target, batch.x[i : i + batch.chunk]))[..., 0]
            for i in range(0, len(batch), batch.chunk)
        ]
    return torch.cat(parts)


def _shown(study: Study, xnn: srae.XNN, at: maps.Layer, tested: Batch, c: int) -> dict[str, Array]:
    """Fig. 10: three images of the class and three of others, with the x-features and their contributions."""
    rows = torch.cat([(tested.y == c).nonzero()[:3, 0], (tested.y != c).nonzero()[:3, 0]])
    x = tested.x[rows]
    found = maps.feature_maps(xnn, study.target, x, c, at, "pixels").movedim(0, 1)
    found = found / found.amax((2, 3), keepdim=True).clamp(min=1e-12)
    return {
        "conv_image": (255 * x).round().byte().cpu().numpy(),
        "conv_maps": found.cpu().numpy().astype(np.float16),
        "conv_contribution": xnn.contributions(at(study.target, x), c).cpu().numpy(),
        "conv_class": np.array(c),
    }


# --------------------------------------------------------------------------------------------- Fig. .12, human study


def degeneration(
    study: Study,
    rng: Generator,
    *,
    n: int = 3,
    training: Mapping[str, Any] | None = None,
    negatives: int | None = None,
    test: int | None = None,
    layer: str | None = None,
) -> Outcome:
    """Fig. .12: how alike the x-features of SRAE and of NN are, as activations over the test images, and how many speak for
    the class."""
    _, (Z, y, train), (Zt, _, tested) = _layer_of(study, layer, test)
    data, K = srae.examples(Z, y, train.y, negatives, rng, study.target.classes), y.shape[1]
    numbers, arrays, seed = [], {}, int(rng.integers(2**31))
    for name in ("SRAE", "NN"):
        xnn = srae.fit(
            data, srae.settings_for(name, {**(training or {}), "n": n}), np.random.default_rng(seed)
        )
        cosines = np.stack([_cosines(xnn.encode(Zt, c)[-1][:, 0]) for c in range(K)])  # (K, n, n)
        off = ~np.eye(n, dtype=bool)
        speak = np.array([_speaking(xnn, Zt[tested.y == c], c) for c in range(K)])
        numbers += [
            Number("mean_cosine", float(cosines[:, off].mean()), name, {"n": n}, K, LOWER),
            Number("n_speaking", float(speak.mean()), name, {"n": n}, K, HIGHER, "x-features"),
        ]
        arrays[f"cosines_{name}"], arrays[f"speak_{name}"] = cosines, speak
    nn, ours = (arrays[f"cosines_{name}"][:, off].mean(1) for name in ("NN", "SRAE"))  # (K,)
    return Outcome([*numbers, *_paired("NN-SRAE", "mean_cosine", nn - ours, {"n": n})], arrays)


def _cosines(E: Tensor) -> Array:
    """|cos| (n, n) between x-features E (M, n); 0 with a dead one."""
    E = E.double()
    unit = E / E.norm(dim=0).clamp(min=1e-12)
    return (unit.T @ unit).abs().cpu().numpy()


def human_study(
    study: Study,
    rng: Generator,
    *,
    classes: Sequence[int] = (0, 1, 2, 3),
    n: int = 7,
    training: Mapping[str, Any] | None = None,
    layer: str | None = None,
) -> Outcome:
    """The network shown to people: one XNN for four classes with n = 7 x-features. No program replicates the people."""
    _, (Z, y, train), (Zt, yt, tested) = _layer_of(study, layer, None)
    chosen = list(classes)
    mine, theirs = (
        torch.isin(b.y, torch.tensor(chosen, device=b.y.device)) for b in (train, tested)
    )
    setting = srae.Setting(**{"accept": "live", **(training or {}), "n": n})
    xnn = srae.fit(srae.together(Z[mine], y[mine][:, chosen]), setting, rng)
    out = []
    for split, z, full in (
        ("train", Z[mine], y[mine][:, chosen]),
        ("test", Zt[theirs], yt[theirs][:, chosen]),
    ):
        y_ = xnn.predict(z)[:, 0]
        same = float((y_.argmax(1) == full.argmax(1)).double().mean())
        out += [
            Number(
                f"F_reg_{split}",
                float((y_ - full).abs().mean()),
                "SRAE (multi-class)",
                {"n": n},
                len(z),
                LOWER,
                "logits",
            ),
            Number(
                f"agreement_{split}_pct",
                100 * same,
                "SRAE (multi-class)",
                {"n": n},
                len(z),
                HIGHER,
                "percent",
            ),
        ]
    return Outcome(out)
