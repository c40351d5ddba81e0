"""The Sparse Reconstruction Autoencoder (SRAE) and its ablations, one for each class, all trained at once.

Idea: squeeze a layer Z into n x-features E so that the class's logit is a weighted sum of them (faithful), that they rebuild
some dimensions of Z well and need not rebuild the others (sparse), and that they differ (pull-away).

    data = examples(Z, y, labels, negatives=300, rng=rng)                # K classes, their positives and negatives
    xnn = fit(data, Setting(n=5, hidden=(128, 32)), rng)
    xnn.predict(Z)                                                       # (M, K, O) y~, the logits rebuilt

Theory, for one class, with M examples Z_i, targets y_i, E = E_theta(Z), y~ = v^T E + b, Z~ the decoder's output:

    L = 1/M sum_i w_i (y~_i - y_i)^2 + beta 1/S_z sum_k log(1 + q Q_k) + eta PT        Eq. 5
    Q_k = 1/M sum_i (Z~_ik - Z_ik)^2                                                   Eq. 2
    PT = 1/(n (n - 1)) sum_l sum_l'!=l cos^2(E_l, E_l')                                Eq. 3

w_i weighs up positives ("we enhance the weights of the positive examples"): negatives / positives, at most 50. Q and PT are
taken over a minibatch. Layers are dense with ReLU, also after E and after the decoder, as in the authors' code (its dropout
of .02 is left out). NN, SAE and CAE are the same network with terms switched off (``ABLATIONS``).

Two lessons that the paper does not print: without reconstruction first (``pretrain`` epochs of SAE) the log penalty outweighs
faithfulness; and the authors' code trains up to five times again, with beta x 1.2 and eta x .8, until two x-features speak
for the class (``accepted``). A network whose x-features are all dead (ReLU) is trained again for every method, and of trainings
that were not accepted the one with the smallest loss stays.

All K networks have one shape, so their weights are stacked, (K, in, out), and one bmm moves them all; each class keeps its
own best weights on held-out examples and leaves the stack when it has not improved for ``patience`` epochs. On a CPU a stack that would leave the caches trains in parts. A convolutional
XNN has 1x1 filters, which are dense layers over positions: Z is (M, S, d) with S positions, 1 for a dense layer.

Reference: Qi, Khorram, Fuxin. Embedding Deep Networks into Visual Explanations. Artificial Intelligence 2021, Sec. 2.2.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import torch
from numpy.random import Generator
from torch import Tensor
from torch.nn import functional as F
from torch.optim.adam import adam

CAP = 50.0  # on the weight of a positive example
ACCEPT = 0.3  # the second x-feature's mean contribution over the first's
HELD_OUT = 0.1
STRIDE = 4  # every fourth example decides between trainings that were not accepted
TINY = 1e-8
STACK = 80e6  # bytes: the classes of a larger stack train faster in parts (``speed/xnn.py``, 4,096 units)
SHARE = 0.5  # of a GPU's free memory, for a stack: autograd holds copies beside what is counted

Params = dict[
    str, Tensor
]  # W0, b0 ... of the encoder, U0, c0 ... of the decoder, v, b; all (K, in, out) or (K, 1, out)


@dataclass(frozen=True)
class Setting:
    """What is minimised, and how. Defaults: the authors' code for pull-away over features."""

    n: int = 5  # x-features
    hidden: Sequence[int] = (800, 100)
    beta: float = 15.0
    q: float = 100.0
    eta: float = 5.0
    reconstruct: str = "log"  # the penalty on Q: log (Eq. 2) or mean (SAE, CAE)
    faithful: bool = True  # False (CAE): reconstruction alone, then least squares for v
    pull_away: str = (
        "features"  # cosines between features (Eq. 3), images, or weighted features v_l E_l
    )
    pretrain: int = 30  # epochs of SAE first
    epochs: int = 60
    batch: int = 256
    lr: float = 1e-3
    decay_every: int = 40  # epochs between x 0.1 on lr
    weight_decay: float = 1e-4
    patience: int = 15
    restarts: int = 5
    accept: str = (
        "two"  # x-features that must speak for the class; or one ``live``, which fires at all
    )

    def __post_init__(self) -> None:
        choices = {
            "reconstruct": ("log", "mean"),
            "pull_away": ("features", "images", "weighted"),
            "accept": ("two", "live"),
        }
        for key, known in choices.items():
            if getattr(self, key) not in known:
                raise ValueError(f"{key} is {' or '.join(known)}, not {getattr(self, key)!r}")
        if self.n < 1 or self.batch < 2 or min(self.hidden, default=1) < 1:
            raise ValueError(
                f"n {self.n}, hidden {tuple(self.hidden)} and batch {self.batch}: at least 1, 1 and 2"
            )


ABLATIONS: dict[str, dict[str, Any]] = {
    "SRAE": {},
    "NN": {"beta": 0.0, "eta": 0.0, "pretrain": 0, "accept": "live"},
    "SAE": {"reconstruct": "mean", "eta": 0.0, "pretrain": 0, "accept": "live"},
    "CAE": {"reconstruct": "mean", "eta": 0.0, "pretrain": 0, "accept": "live", "faithful": False},
}


# --------------------------------------------------------------------------------------------- examples


@dataclass(frozen=True, eq=False)
class Examples:
    """R training examples for each of K classes. Row r of class k is image ``rows[k, r]``."""

    Z: Callable[[Tensor], Tensor]  # (K, B) images -> (K, B, S, d)
    rows: Tensor  # (K, R)
    y: Tensor  # (K, R, O) targets
    positive: Tensor  # (K, R) bool

    @property
    def weights(self) -> Tensor:
        """(K, R): 1 for negatives, negatives / positives for positives, at most 50."""
        up = (~self.positive).sum(1) / self.positive.sum(1)  # (K,)
        return torch.where(self.positive, up.clamp(1, CAP)[:, None], 1.0)

    def of(self, classes: Tensor) -> Examples:
        return replace(
            self, rows=self.rows[classes], y=self.y[classes], positive=self.positive[classes]
        )


def examples(
    Z: Tensor | Callable[[Tensor], Tensor],
    y: Tensor,
    labels: Tensor,
    negatives: int | None,
    rng: Generator,
    classes: Sequence[str] | None = None,
) -> Examples:
    """One-vs-all examples: for each class its positives and randomly drawn others, the same number R for every class.

    Args:
        Z: (M, d) or (M, S, d), or a function from image numbers to them.
        y: (M, K) logits.
        labels: (M,) true classes.
        negatives: of the class with most positives; the others get more, so that R agrees. None: all images.
        classes: their names, for messages.

    Raises:
        ValueError: a class without positives.
    """
    K, counts = y.shape[1], torch.bincount(labels, minlength=y.shape[1])
    if (counts == 0).any():
        c = int((counts == 0).nonzero()[0])
        raise ValueError(
            f"class {classes[c] if classes else c} has no positives among the {len(labels)} images"
        )
    R = len(labels) if negatives is None else min(len(labels), int(counts.max()) + negatives)
    held, rows = max(2, round(HELD_OUT * R)), []
    for c in range(
        K
    ):  # the first columns are held out later: a tenth of the positives, the rest others
        order = torch.from_numpy(rng.permutation(len(labels))).to(labels.device)
        mine, others = order[labels[order] == c], order[labels[order] != c]
        few = int(HELD_OUT * len(mine))
        first = [mine[:few], others[: held - few]]
        rows.append(torch.cat([*first, mine[few:], others[held - few :]])[:R])
    rows = torch.stack(rows)
    positive = labels[rows] == torch.arange(K, device=labels.device)[:, None]
    if (positive.sum(1) == R).any():
        raise ValueError("a class has no negatives: XNN explains one class against others")
    return Examples(source(Z), rows, y.T.gather(1, rows)[..., None], positive)


def together(Z: Tensor | Callable[[Tensor], Tensor], y: Tensor) -> Examples:
    """One network for all classes (the human study): K = 1, O = the classes; every image counts the same."""
    rows = torch.arange(len(y), device=y.device)[None]
    positive = torch.ones_like(rows, dtype=torch.bool)
    return Examples(source(Z), rows, y[None], positive)


def source(Z: Tensor | Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    if callable(Z) and not isinstance(Z, Tensor):
        return Z
    positions = Z[:, None] if Z.ndim == 2 else Z  # (M, S, d)
    return lambda rows: positions[rows]


# --------------------------------------------------------------------------------------------- the network


@dataclass(frozen=True, eq=False)
class XNN:
    """K trained explanation networks."""

    params: Params
    setting: Setting
    pool: tuple[int, int] | None = (
        None  # the map's side where E is max-pooled 2x2 before v (convolutional XNN)
    )
    trained: Tensor | None = None  # (K,) how often each was trained, restarts included
    epochs: Tensor | None = None  # (K,) epochs of the last training, pre-training left out

    def layers(self, c: int) -> list[tuple[Tensor, Tensor]]:
        """(W (in, out), b (out,)) of the encoder of class c, bottom up."""
        return [
            (self.params[f"W{i}"][c], self.params[f"b{i}"][c, 0])
            for i in range(_depth(self.params))
        ]

    def encode(self, Z: Tensor, c: int) -> list[Tensor]:
        """The activations (M, S, .) of each encoder layer for class c; the last are the x-features E (M, S, n)."""
        Z, out = Z[:, None] if Z.ndim == 2 else Z, []
        for W, b in self.layers(c):
            Z = (Z @ W + b).relu()
            out.append(Z)
        return out

    def contributions(self, Z: Tensor, c: int, output: int = 0) -> Tensor:
        """v_i E_i, (M, n): what each x-feature adds to y~; summed over positions."""
        E = _pooled(self.encode(Z, c)[-1][None], self.pool)[0]  # (M, S', n)
        v = self.params["v"][c, :, output].view(-1, self.setting.n)  # (S', n)
        return (E * v).sum(1)

    @torch.no_grad()
    def predict(self, Z: Tensor) -> Tensor:
        """y~ (M, K, O) for Z (M, d) or (M, S, d)."""
        out = []
        for c in range(len(self.params["v"])):
            E = _pooled(self.encode(Z, c)[-1][None], self.pool)
            out.append(E.flatten(2) @ self.params["v"][c] + self.params["b"][c])
        return torch.cat(out).movedim(0, 1)


def _depth(params: Params) -> int:
    return sum(name.startswith("W") for name in params)


def _pooled(E: Tensor, side: tuple[int, int] | None) -> Tensor:
    """E (K, B, S, n), max-pooled 2x2 over its map where ``side`` is given: (K, B, S', n)."""
    if side is None:
        return E
    K, B, _, n = E.shape
    maps = E.reshape(K * B, *side, n).movedim(3, 1)  # (KB, n, u, v)
    return F.max_pool2d(maps, 2).flatten(2).mT.reshape(K, B, -1, n)


def forward(
    params: Params, Z: Tensor, pool: tuple[int, int] | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Z (K, B, S, d) -> y~ (K, B, O), E (K, B, S, n), Z~ (K, B, S, d)."""
    K, B, S, _ = Z.shape
    x = Z.reshape(K, B * S, -1)
    for i in range(_depth(params)):
        x = torch.baddbmm(params[f"b{i}"], x, params[f"W{i}"]).relu()
    E = x.view(K, B, S, -1)
    for i in range(_depth(params)):
        x = torch.baddbmm(params[f"c{i}"], x, params[f"U{i}"]).relu()
    y = torch.baddbmm(params["b"], _pooled(E, pool).flatten(2), params["v"])
    return y, E, x.view_as(Z)


def initial(
    d: int, S: int, O: int, setting: Setting, seeds: Sequence[int], device: Any = "cpu"
) -> Params:  # noqa: E741
    """torch's default for dense layers, uniform within 1 / sqrt(inputs), from one seed a class; S: positions that v sees."""
    sizes = [d, *setting.hidden, setting.n]
    shapes = {
        f"{k}{i}": s
        for i, (a, b) in enumerate(pairwise(sizes))
        for k, s in (("W", (a, b)), ("b", (a, b)))
    }
    shapes |= {
        f"{k}{i}": s
        for i, (a, b) in enumerate(pairwise(sizes[::-1]))
        for k, s in (("U", (a, b)), ("c", (a, b)))
    }
    shapes |= {"v": (setting.n * S, O), "b": (setting.n * S, O)}
    out = {name: [] for name in shapes}
    for seed in seeds:
        g = torch.Generator().manual_seed(int(seed))
        for name, (a, b) in shapes.items():
            rows = 1 if name[0] in "bc" else a
            out[name].append((2 * torch.rand(rows, b, generator=g) - 1) / a**0.5)
    return {name: torch.stack(tensors).to(device) for name, tensors in out.items()}


# --------------------------------------------------------------------------------------------- Eq. 5


def loss(
    params: Params,
    Z: Tensor,
    y: Tensor,
    w: Tensor,
    setting: Setting,
    beta: Tensor,
    eta: Tensor,
    pool: Any = None,
) -> Tensor:
    """Eq. 5 for each class, (K,): Z (K, B, S, d), y (K, B, O), w (K, B), beta and eta (K,)."""
    y_, E, Z_ = forward(params, Z, pool)
    total = torch.zeros_like(beta)
    if setting.faithful:
        total = total + (w * ((y_ - y) ** 2).sum(2)).mean(1)
    if beta.any():
        Q = ((Z_ - Z) ** 2).mean(
            (1, 2)
        )  # (K, d)                                                             Eq. 2
        total = total + beta * (
            torch.log1p(setting.q * Q) if setting.reconstruct == "log" else Q
        ).mean(1)
    if eta.any():
        total = total + eta * pull_away(E, params["v"], setting.pull_away)
    return total


def pull_away(E: Tensor, v: Tensor, axis: str = "features") -> Tensor:
    """PT (K,), the mean squared cosine of pairs, for E (K, B, S, n). A dead feature has cosine 0 with all.        Eq. 3"""
    if axis != "features":
        E = E * v.mean(2).view(len(E), 1, -1, E.shape[3])[:, :, : E.shape[2]]  # v_l E_l
    vectors = (
        E.flatten(2) + TINY if axis == "images" else E.flatten(1, 2).mT
    )  # (K, B, S n) or (K, n, B S)
    vectors = vectors / vectors.norm(dim=2, keepdim=True).clamp(min=TINY)
    cosines = (vectors @ vectors.mT) ** 2
    n = cosines.shape[1]
    return (cosines.sum((1, 2)) - cosines.diagonal(dim1=1, dim2=2).sum(1)) / max(1, n * (n - 1))


# --------------------------------------------------------------------------------------------- training


def fit(
    data: Examples,
    setting: Setting,
    rng: Generator,
    pool: tuple[int, int] | None = None,
    done: dict[tuple[int, ...], tuple[Params, Tensor]] | None = None,
) -> XNN:
    """Train the K networks, restarts included. Each class has its own seed; the order of examples is shared.

    ``done`` keeps the trainings for a second call with the same data and rng whose setting differs in ``accept`` alone.
    """
    K, device = len(data.rows), data.y.device
    seeds = torch.from_numpy(rng.integers(2**31, size=(1 + setting.restarts, K)))
    order = int(rng.integers(2**31))
    beta, eta = (
        torch.full((K,), float(value), device=device) for value in (setting.beta, setting.eta)
    )
    trained, epochs = torch.zeros(K, dtype=torch.int64), torch.zeros(K, dtype=torch.int64)
    todo, lowest = torch.arange(K, device=device), torch.full((K,), torch.inf, device=device)
    params: Params = {}
    for again in range(1 + setting.restarts):
        part, more = data.of(todo), (1.2**again, 0.8**again)
        key, terms = (again, *todo.tolist()), (more[0] * beta[todo], more[1] * eta[todo])
        new, took = (done or {}).get(key) or _train(
            part, setting, seeds[again][todo.cpu()], order, *terms, pool
        )
        if done is not None:
            done[key] = new, took
        params = params or {name: tensor.clone() for name, tensor in new.items()}
        ok = accepted(XNN(new, setting, pool), part)
        value = _value(new, part, setting, beta[todo], eta[todo], pool)
        better = ok | (value < lowest[todo])
        lowest[todo] = torch.where(better, value, lowest[todo])
        for name, tensor in new.items():
            params[name][todo[better]] = tensor[better]
        trained[todo.cpu()] += 1
        epochs[todo[better].cpu()] = took[better.cpu()]
        if not (todo := todo[~ok]).numel():
            break
    return XNN(params, setting, pool, trained, epochs)


@torch.no_grad()
def accepted(xnn: XNN, data: Examples) -> Tensor:
    """(K,) bool: do two x-features speak for the class? On the positives, the second largest mean v_i E_i is above 0 and at
    least 0.3 of the largest. Where the setting asks for less (or n = 1): does one fire on any positive?"""
    out = []
    for c in range(len(data.rows)):
        Z = data.Z(data.rows[c : c + 1, data.positive[c]])[0]
        if xnn.setting.accept == "live" or xnn.setting.n == 1:
            out.append(bool((xnn.encode(Z, c)[-1] > 0).any()))
            continue
        means = sum(xnn.contributions(Z, c, o).mean(0) for o in range(data.y.shape[2]))
        first, second = means.topk(2).values.tolist()
        out.append(second > 0 and second / first >= ACCEPT)
    return torch.tensor(out, device=data.rows.device)


@torch.no_grad()
def _value(
    params: Params, data: Examples, setting: Setting, beta: Tensor, eta: Tensor, pool: Any
) -> Tensor:
    """Eq. 5 (K,) over every fourth example, as the setting weighs, whatever the training did."""
    classes, out = torch.arange(len(data.rows), device=data.rows.device), []
    for k in _parts(data, setting) or [classes]:
        part, own = data.of(k), {name: tensor[k] for name, tensor in params.items()}
        Z, y, w = part.Z(part.rows[:, ::STRIDE]), part.y[:, ::STRIDE], part.weights[:, ::STRIDE]
        out.append(loss(own, Z, y, w, setting, beta[k], eta[k], pool))
    return torch.cat(out)


def _train(
    data: Examples, setting: Setting, seeds: Any, order: int, beta: Tensor, eta: Tensor, pool: Any
) -> tuple[Params, Tensor]:
    """One training of all classes of ``data``: weights and epochs (K,)."""
    if parts := _parts(
        data, setting
    ):  # the seeds and the order of examples are the same as for all together
        done = [
            _train(data.of(k), setting, seeds[k.cpu()], order, beta[k], eta[k], pool) for k in parts
        ]
        return {name: torch.cat([p[name] for p, _ in done]) for name in done[0][0]}, torch.cat(
            [took for _, took in done]
        )
    held = max(2, round(HELD_OUT * data.rows.shape[1]))
    split = [data.rows, data.y, data.weights]
    seen, unseen = [t[:, held:] for t in split], [t[:, :held] for t in split]
    shape = data.Z(data.rows[:, :1]).shape  # (K, 1, S, d)
    S = shape[2] if pool is None else (pool[0] // 2) * (pool[1] // 2)
    params = initial(shape[3], S, data.y.shape[2], setting, seeds, data.y.device)
    g = torch.Generator().manual_seed(order)
    sae = replace(setting, reconstruct="mean")
    if setting.pretrain:
        params, _ = _descend(
            params, data.Z, seen, None, sae, beta, torch.zeros_like(eta), setting.pretrain, g, pool
        )
    params, epochs = _descend(
        params, data.Z, seen, unseen, setting, beta, eta, setting.epochs, g, pool
    )
    if not setting.faithful:
        _least_squares(params, data, pool)
    return params, epochs


def _parts(data: Examples, setting: Setting) -> Sequence[Tensor]:
    """Classes in stacks, with gradients, moments and activations: as large as a CPU moves well, or as a GPU holds; none where
    one stack does."""
    _, _, S, d = data.Z(data.rows[:1, :1]).shape
    device, classes = data.rows.device, torch.arange(len(data.rows), device=data.rows.device)
    most = at_once(d, S, data.rows.shape[1], setting, device.type, room(device))
    return classes.split(most) if len(classes) > most else []


def at_once(d: int, S: int, R: int, setting: Setting, device: str, bytes_: float) -> int:
    """How many classes of R examples, d numbers at S positions, train as one stack of at most ``bytes_`` bytes."""
    sizes = [d, *setting.hidden, setting.n]
    weights = 2 * sum(a * b for a, b in pairwise(sizes))
    looked_at = (
        0 if device == "cpu" else max(R // STRIDE, round(HELD_OUT * R))
    )  # together, whatever the batch
    activations = 2 * sum(sizes) * S * max(setting.batch, looked_at)
    return max(1, int(bytes_ // (4 * (4 * weights + activations))))


def room(device: torch.device) -> float:
    """Bytes that a stack may take: of a GPU a share of what is free."""
    return SHARE * torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else STACK


def _descend(
    params: Params,
    source: Callable[[Tensor], Tensor],
    seen: list[Tensor],
    unseen: list[Tensor] | None,
    setting: Setting,
    beta: Tensor,
    eta: Tensor,
    epochs: int,
    g: torch.Generator,
    pool: Any,
) -> tuple[Params, Tensor]:
    """Adam on Eq. 5. With ``unseen`` examples each class ends with its best weights on them, and stops when they are
    ``patience`` epochs old."""
    K, M = seen[0].shape
    params = {name: tensor.clone() for name, tensor in params.items()}
    best, lowest = (
        {name: tensor.clone() for name, tensor in params.items()},
        torch.full_like(beta, torch.inf),
    )
    moments = [{name: torch.zeros_like(t) for name, t in params.items()} for _ in range(2)]
    stale, taken = torch.zeros(K, dtype=torch.int64, device=beta.device), torch.full((K,), epochs)
    alive, step = torch.arange(K, device=beta.device), 0

    def batch(split: list[Tensor], columns: Tensor | slice) -> list[Tensor]:
        rows, y, w = (t[alive][:, columns] for t in split)
        return [source(rows), y, w]

    for epoch in range(epochs):
        lr = setting.lr * 0.1 ** (epoch // setting.decay_every)
        for columns in torch.randperm(M, generator=g).to(beta.device).split(setting.batch):
            if len(columns) < 2:
                continue
            step += 1
            live = {name: tensor.requires_grad_() for name, tensor in params.items()}
            value = loss(live, *batch(seen, columns), setting, beta[alive], eta[alive], pool)
            gradients = torch.autograd.grad(value.sum(), list(live.values()), allow_unused=True)
            params = {name: tensor.detach() for name, tensor in params.items()}
            _adam(
                params,
                dict(zip(params, gradients, strict=True)),
                moments,
                step,
                lr,
                setting.weight_decay,
            )
        if unseen is None:
            continue
        with torch.no_grad():
            value = loss(
                params, *batch(unseen, slice(None)), setting, beta[alive], eta[alive], pool
            )
        better = value < lowest[alive]
        lowest[alive[better]] = value[better]
        stale[alive] = torch.where(better, 0, stale[alive] + 1)
        for name, tensor in params.items():
            best[name][alive[better]] = tensor[better]
        keep = stale[alive] < setting.patience
        if not keep.all():
            taken[alive[~keep].cpu()] = epoch + 1
            alive = alive[keep]
            params, *moments = (
                {name: t[keep] for name, t in tensors.items()} for tensors in (params, *moments)
            )
            if not len(alive):
                break
    return (params if unseen is None else best), taken


def _adam(
    params: Params,
    gradients: Mapping[str, Tensor | None],
    moments: Sequence[Params],
    step: int,
    lr: float,
    decay: float = 0.0,
) -> None:
    """Kingma and Ba 2015, Algorithm 1, in place and in one pass over memory; ``decay`` x a weight is added to its gradient.
    A weight without a gradient stays."""
    names = [name for name, gradient in gradients.items() if gradient is not None]
    p, m, s = ([tensors[name] for name in names] for tensors in (params, *moments))
    g = [
        gradients[name].contiguous() for name in names
    ]  # the fused kernel reads memory in order, whatever the strides
    steps = list(torch.full((len(names),), step - 1.0, device=p[0].device).unbind())
    adam(
        p,
        g,
        m,
        s,
        [],
        steps,
        fused=True,
        amsgrad=False,
        beta1=0.9,
        beta2=0.999,
        lr=lr,
        weight_decay=decay,
        eps=1e-8,
        maximize=False,
    )


def _least_squares(params: Params, data: Examples, pool: Any) -> None:
    """v and b of least squared error, in place (CAE: "no attempt to achieve faithfulness" before)."""
    with torch.no_grad():
        for c in range(len(data.rows)):
            one = {name: tensor[c : c + 1] for name, tensor in params.items()}
            E = (
                _pooled(forward(one, data.Z(data.rows[c : c + 1]))[1], pool).flatten(2)[0].double()
            )  # (R, n)
            w = data.weights[c, :, None].double().sqrt()
            A, target = torch.cat([E, torch.ones_like(E[:, :1])], 1) * w, data.y[c].double() * w
            solution = (
                torch.linalg.lstsq(A.cpu(), target.cpu(), driver="gelsd")
                .solution.to(E.device)
                .to(params["v"].dtype)
            )
            params["v"][c], params["b"][c] = solution[:-1], solution[-1:]


def settings_for(name: str, base: Mapping[str, Any]) -> Setting:
    """The Setting of SRAE, NN, SAE or CAE from SRAE's own."""
    return Setting(**{**base, **ABLATIONS[name]})
