"""The Sparse Reconstruction Autoencoder (SRAE) and its ablations, one for each class, all trained at once.

Idea: squeeze a layer Z into n x-features E so that the class's logit is a weighted sum of them (faithful), that
they rebuild some dimensions of Z well and need not rebuild the others (sparse), and that they differ (pull-away).

    data = examples(Z, y, labels, negatives=300, rng=rng)                # K classes, their positives and negatives
    xnn = fit(data, Setting(n=5, hidden=(128, 32)), rng)
    xnn.predict(Z)                                                       # (M, K, O) y~, the logits rebuilt

Theory, for one class, with M examples Z_i, targets y_i, E = E_theta(Z), y~ = v^T E + b, Z~ the decoder's output:

    L = 1/M sum_i w_i (y~_i - y_i)^2 + beta 1/S_z sum_k log(1 + q Q_k) + eta PT        Eq. 5
    Q_k = 1/M sum_i (Z~_ik - Z_ik)^2                                                   Eq. 2
    PT = 1/(n (n - 1)) sum_l sum_l'!=l cos^2(E_l, E_l')                                Eq. 3

w_i gives positives more weight ("we enhance the weights of the positive examples"): negatives / positives, at most
50. Q and PT are taken over a minibatch. Layers are dense with ReLU, also after E and after the decoder, as in the
authors' code (its dropout of 0.02 is left out). NN, SAE and CAE are the same network with terms switched off
(``ABLATIONS``), trained as long, with the same schedule, and as often.

Two lessons that the paper does not print: without reconstruction first (``pretrain`` epochs of SAE) the log penalty
outweighs faithfulness; and the authors' code trains up to five more times, with beta x 1.2 and eta x 0.8, until two
x-features contribute to the class (``accepted``). Both stages are there for every ablation, the first without the terms
that it lacks: NN's has no reconstruction. Of trainings that were not accepted the one with the smallest loss is kept.

All K networks train as one stack (``network``). Each class keeps its own best weights on held-out examples and
leaves the stack when it has not improved for ``patience`` epochs. On a CPU a stack too large for the caches trains
in parts.

Reference: Qi, Khorram, Fuxin. Embedding Deep Networks into Visual Explanations. Artificial Intelligence 2021, Sec. 2.2.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from numpy.random import Generator
from torch import Tensor
from torch.optim.adam import adam

from benchmark.papers.xnn.network import (
    XNN,
    Params,
    Setting,
    forward,
    initial,
    loss,
    pooled,
    positions_after,
)
from benchmark.utils.accelerator import free_memory, is_accelerator

CAP = 50.0  # on the weight of a positive example
ACCEPT = 0.3  # the second x-feature's mean contribution over the first's
HELD_OUT = 0.1
STRIDE = 4  # every fourth example decides between trainings that were not accepted
STACK = (
    80e6  # bytes: a larger stack trains faster in parts (``speed/xnn.py``, 4,096 units)
)
SHARE = 0.7  # of an accelerator's free memory, for a stack: some is in pieces

Source = Callable[[Tensor], Tensor]  # (K, B) numbers of images -> their Z (K, B, S, d)

ABLATIONS: dict[str, dict[str, Any]] = {
    "SRAE": {},
    "NN": {"beta": 0.0, "eta": 0.0},
    "SAE": {"reconstruct": "mean", "eta": 0.0},
    "CAE": {"reconstruct": "mean", "eta": 0.0, "faithful": False},
}


def settings_for(name: str, base: Mapping[str, Any]) -> Setting:
    """The Setting of SRAE, NN, SAE or CAE from SRAE's own."""
    return Setting(**{**base, **ABLATIONS[name]})


# --------------------------------------------------------------------------------------------- examples


@dataclass(frozen=True, eq=False)
class Examples:
    """R training examples for each of K classes. Row r of class k is image ``rows[k, r]``."""

    Z: Source
    rows: Tensor  # (K, R)
    y: Tensor  # (K, R, O) targets
    positive: Tensor  # (K, R) bool

    @property
    def weights(self) -> Tensor:
        """(K, R): 1 for negatives, negatives / positives for positives, at most 50."""
        ratio = (~self.positive).sum(1) / self.positive.sum(1)  # (K,)
        return torch.where(self.positive, ratio.clamp(1, CAP)[:, None], 1.0)

    def of(self, classes: Tensor) -> Examples:
        """The examples of these classes."""
        rows, y = self.rows[classes], self.y[classes]
        positive = self.positive[classes]
        return replace(self, rows=rows, y=y, positive=positive)


def examples(
    Z: Tensor | Source,
    y: Tensor,
    labels: Tensor,
    negatives: int | None,
    rng: Generator,
    classes: Sequence[str] | None = None,
    without: Sequence[Tensor] | None = None,
) -> Examples:
    """One-vs-all examples: for each class its positives and randomly drawn others, the same number R for every class.

    Args:
        Z: (M, d) or (M, S, d), or a function from image numbers to them.
        y: (M, K) logits.
        labels: (M,) true classes.
        negatives: of the class with most positives; the others get more, so that R agrees. None: all images.
        classes: their names, for messages.
        without: images that each class must not train on; None: none.

    Raises:
        ValueError: a class without positives or without negatives.
    """
    M, K = y.shape
    free = torch.ones(K, M, dtype=torch.bool, device=labels.device)
    for c, rows in enumerate(without or ()):
        free[c, rows] = False
    own = labels == torch.arange(K, device=labels.device)[:, None]
    counts = (own & free).sum(1)
    if (counts == 0).any():
        c = int((counts == 0).nonzero()[0])
        name = classes[c] if classes else c
        raise ValueError(
            f"class {name} has no positives among the {len(labels)} images"
        )
    R = int(free.sum(1).min())
    if negatives is not None:
        R = min(R, int(counts.max()) + negatives)
    rows = torch.stack([_rows_of(c, labels, free[c], R, rng) for c in range(K)])
    positive = labels[rows] == torch.arange(K, device=labels.device)[:, None]
    if (positive.sum(1) == R).any():
        raise ValueError(
            "a class has no negatives: XNN explains one class against others"
        )
    return Examples(source(Z), rows, y.T.gather(1, rows)[..., None], positive)


def _rows_of(c: int, labels: Tensor, free: Tensor, R: int, rng: Generator) -> Tensor:
    """R of the images that are ``free`` (M,) for class c, (R,): first those that are held out, then positives, then
    other classes.

    A tenth of the positives is held out, and as many others as are missing.
    """
    order = rng.permutation(len(labels))
    order = torch.from_numpy(order).to(labels.device)
    order = order[free[order]]
    of_class = labels[order] == c
    positives, others = order[of_class], order[~of_class]
    few = int(HELD_OUT * len(positives))
    rest = _held_out(R) - few
    held_out = [positives[:few], others[:rest]]
    trained_on = [positives[few:], others[rest:]]
    return torch.cat(held_out + trained_on)[:R]


def _held_out(R: int) -> int:
    """How many of R examples are held out: the first ones."""
    return max(2, round(HELD_OUT * R))


def folds(labels: Tensor, count: int, rng: Generator) -> list[Tensor]:
    """The numbers of all images in ``count`` parts, each with as many of every class."""
    order = rng.permutation(len(labels))
    order = torch.from_numpy(order).to(labels.device)
    by_class = order[labels[order].argsort(stable=True)]
    return [by_class[part::count] for part in range(count)]


def together(Z: Tensor | Source, y: Tensor) -> Examples:
    """One network for all classes (the human study): K = 1, O = the classes; every image counts the same."""
    rows = torch.arange(len(y), device=y.device)[None]
    positive = torch.ones_like(rows, dtype=torch.bool)
    return Examples(source(Z), rows, y[None], positive)


def source(Z: Tensor | Source) -> Source:
    """Z as a function of the numbers of images; a function stays what it is."""
    if not isinstance(Z, Tensor):
        return Z
    positions = Z[:, None] if Z.ndim == 2 else Z  # (M, S, d)
    return lambda rows: positions[rows]


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
    beta = torch.full((K,), float(setting.beta), device=device)
    eta = torch.full((K,), float(setting.eta), device=device)
    lowest = torch.full((K,), torch.inf, device=device)
    trained, epochs = (
        torch.zeros(K, dtype=torch.int64),
        torch.zeros(K, dtype=torch.int64),
    )
    todo = torch.arange(K, device=device)
    params: Params = {}
    for restart in range(1 + setting.restarts):
        part = data.of(todo)
        key = (restart, *todo.tolist())
        if done is not None and key in done:
            new, took = done[key]
        else:
            more, less = 1.2**restart * beta[todo], 0.8**restart * eta[todo]
            seed = seeds[restart][todo.cpu()]
            new, took = _train(part, setting, seed, order, more, less, pool)
        if done is not None:
            done[key] = new, took
        params = params or _copy(new)
        ok = accepted(XNN(new, setting, pool), part)
        value = _value(new, part, setting, beta[todo], eta[todo], pool)
        better = ok | (value < lowest[todo])
        lowest[todo] = torch.where(better, value, lowest[todo])
        for name, tensor in new.items():
            params[name][todo[better]] = tensor[better]
        trained[todo.cpu()] += 1
        epochs[todo[better].cpu()] = took[better.cpu()]
        todo = todo[~ok]
        if not todo.numel():
            break
    return XNN(params, setting, pool, trained, epochs)


def _copy(params: Params) -> Params:
    return {name: tensor.clone() for name, tensor in params.items()}


@torch.no_grad()
def accepted(xnn: XNN, data: Examples) -> Tensor:
    """(K,) bool: do two x-features contribute to the class?

    On the positives, the second largest mean v_i E_i is above 0 and at least 0.3 of the largest. Where the setting asks
    for less (or n = 1): is one active on any positive?
    """
    out = []
    for c in range(len(data.rows)):
        Z = data.Z(data.rows[c : c + 1, data.positive[c]])[0]
        if xnn.setting.accept == "live" or xnn.setting.n == 1:
            out.append(bool((xnn.features(Z, c) > 0).any()))
            continue
        means = sum(xnn.contributions(Z, c, o).mean(0) for o in range(data.y.shape[2]))
        first, second = means.topk(2).values.tolist()
        out.append(second > 0 and second / first >= ACCEPT)
    return torch.tensor(out, device=data.rows.device)


@torch.no_grad()
def _value(
    params: Params,
    data: Examples,
    setting: Setting,
    beta: Tensor,
    eta: Tensor,
    pool: Any,
) -> Tensor:
    """Eq. 5 (K,) over every fourth example, with the weights of the setting, whatever those of the restart were."""
    classes = torch.arange(len(data.rows), device=data.rows.device)
    values = []
    for k in _parts(data, setting) or [classes]:
        part = data.of(k)
        own = _rows(params, k)
        rows, y, w = (t[:, ::STRIDE] for t in (part.rows, part.y, part.weights))
        Z = part.Z(rows)
        values.append(loss(own, Z, y, w, setting, beta[k], eta[k], pool))
    return torch.cat(values)


def _train(
    data: Examples,
    setting: Setting,
    seeds: Any,
    order: int,
    beta: Tensor,
    eta: Tensor,
    pool: Any,
) -> tuple[Params, Tensor]:
    """One training of all classes of ``data``, in parts where one stack is too large: weights and epochs (K,)."""
    parts = _parts(data, setting)
    if not parts:
        return _train_stack(data, setting, seeds, order, beta, eta, pool)
    done = []  # the seeds and the order of examples are the same as for all together
    for k in parts:
        done.append(
            _train(data.of(k), setting, seeds[k.cpu()], order, beta[k], eta[k], pool)
        )
    names = done[0][0]
    params = {name: torch.cat([part[name] for part, _ in done]) for name in names}
    return params, torch.cat([epochs for _, epochs in done])


def _train_stack(
    data: Examples,
    setting: Setting,
    seeds: Any,
    order: int,
    beta: Tensor,
    eta: Tensor,
    pool: Any,
) -> tuple[Params, Tensor]:
    """One training of all classes of ``data`` as one stack: weights and epochs (K,)."""
    held = _held_out(data.rows.shape[1])
    columns = [data.rows, data.y, data.weights]
    seen = [tensor[:, held:] for tensor in columns]
    unseen = [tensor[:, :held] for tensor in columns]
    _, _, S, d = data.Z(data.rows[:, :1]).shape  # (K, 1, S, d)
    positions, outputs = positions_after(S, pool), data.y.shape[2]
    params = initial(d, positions, outputs, setting, seeds, data.y.device)
    generator = torch.Generator().manual_seed(order)
    if setting.pretrain:
        sae, none = replace(setting, reconstruct="mean"), torch.zeros_like(eta)
        params, _ = _descend(
            params,
            data.Z,
            seen,
            None,
            sae,
            beta,
            none,
            setting.pretrain,
            generator,
            pool,
        )
    params, epochs = _descend(
        params,
        data.Z,
        seen,
        unseen,
        setting,
        beta,
        eta,
        setting.epochs,
        generator,
        pool,
    )
    if not setting.faithful:
        _least_squares(params, data, pool)
    return params, epochs


def _parts(data: Examples, setting: Setting) -> Sequence[Tensor]:
    """Classes in stacks, with gradients, moments and activations: as large as a CPU moves well, or as a GPU holds;
    empty where one stack holds all."""
    _, _, S, d = data.Z(data.rows[:1, :1]).shape
    K, R = data.rows.shape
    device = data.rows.device
    most = at_once(d, S, R, setting, device.type, stack_bytes(device))
    return [] if most >= K else torch.arange(K, device=device).split(most)


def at_once(
    d: int, S: int, R: int, setting: Setting, device: str, bytes_: float
) -> int:
    """How many classes of R examples, d numbers at S positions, train as one stack of at most ``bytes_`` bytes."""
    numbers, examples = sum(setting.sizes(d)), setting.batch
    if device != "cpu":  # also what goes through together after an epoch, and its error
        numbers += d
        examples = max(examples, R // STRIDE, round(HELD_OUT * R))
    activations = 2 * numbers * S * examples
    weights = 4 * 2 * setting.encoder_weights(d)  # with gradients and two moments
    per_class = 4 * (weights + activations)
    return max(1, int(bytes_ // per_class))


def stack_bytes(device: torch.device) -> float:
    """Bytes that a stack may take: of an accelerator a share of what is free."""
    return SHARE * free_memory(device) if is_accelerator(device) else STACK


def _descend(
    params: Params,
    source: Source,
    seen: list[Tensor],
    unseen: list[Tensor] | None,
    setting: Setting,
    beta: Tensor,
    eta: Tensor,
    epochs: int,
    generator: torch.Generator,
    pool: Any,
) -> tuple[Params, Tensor]:
    """Adam on Eq. 5: weights and epochs (K,). With ``unseen`` examples each class ends with its best weights on
    them, and stops when they are ``patience`` epochs old.

    Args:
        seen, unseen: rows (K, R), y (K, R, O) and weights (K, R) of examples.
    """
    stack = _Stack(params, source, setting, beta, eta, epochs, pool)
    M = seen[0].shape[1]
    for epoch in range(epochs):
        lr = setting.lr * 0.1 ** (epoch // setting.decay_every)
        for columns in (
            torch.randperm(M, generator=generator).to(beta.device).split(setting.batch)
        ):
            if len(columns) >= 2:
                stack.step(seen, columns, lr)
        if unseen is None:
            continue
        stack.evaluate(unseen, epoch)
        if not len(stack.alive):
            break
    return (stack.params if unseen is None else stack.best), stack.epochs


class _Stack:
    """K networks in training. ``params`` and ``moments`` hold the classes that are ``alive``; all else holds all K."""

    def __init__(
        self,
        params: Params,
        source: Source,
        setting: Setting,
        beta: Tensor,
        eta: Tensor,
        epochs: int,
        pool: Any,
    ) -> None:
        K, device = len(beta), beta.device
        self.params, self.best = _copy(params), _copy(params)
        self.source, self.setting, self.pool = source, setting, pool
        self.beta, self.eta = beta, eta
        self.moments = [_zeros(params), _zeros(params)]
        self.steps = 0
        self.alive = torch.arange(K, device=device)
        self.lowest = torch.full_like(beta, torch.inf)  # loss of ``best``
        self.stale = torch.zeros(
            K, dtype=torch.int64, device=device
        )  # epochs since then
        self.epochs = torch.full((K,), epochs)

    def loss(self, split: list[Tensor], columns: Tensor | slice) -> Tensor:
        """Eq. 5 of the classes that are alive, on ``columns`` of their examples."""
        alive, setting = self.alive, self.setting
        examples = [tensor[alive] for tensor in split]
        rows, y, w = (tensor[:, columns] for tensor in examples)
        Z = self.source(rows)
        beta = self.beta[alive]
        eta = self.eta[alive]
        return loss(self.params, Z, y, w, setting, beta, eta, self.pool)

    def step(self, seen: list[Tensor], columns: Tensor, lr: float) -> None:
        """One step of Adam on a minibatch."""
        self.steps += 1
        weights = [tensor.requires_grad_() for tensor in self.params.values()]
        value = self.loss(seen, columns)
        found = torch.autograd.grad(value.sum(), weights, allow_unused=True)
        gradients = dict(zip(self.params, found, strict=True))
        params = {name: tensor.detach() for name, tensor in self.params.items()}
        decay = self.setting.weight_decay
        _adam(params, gradients, self.moments, self.steps, lr, decay)
        self.params = params

    @torch.no_grad()
    def evaluate(self, unseen: list[Tensor], epoch: int) -> None:
        """Keep the weights of classes that are better than ever; drop classes that no longer improve."""
        alive = self.alive
        value = self.loss(unseen, slice(None))
        better = value < self.lowest[alive]
        improved = alive[better]
        self.lowest[improved] = value[better]
        for name, tensor in self.params.items():
            self.best[name][improved] = tensor[better]
        self.stale[alive] = torch.where(better, 0, self.stale[alive] + 1)

        keep = self.stale[alive] < self.setting.patience
        if keep.all():
            return
        self.epochs[alive[~keep].cpu()] = epoch + 1
        self.alive = alive[keep]
        self.params = _rows(self.params, keep)
        self.moments = [_rows(moment, keep) for moment in self.moments]


def _rows(params: Params, classes: Tensor | slice) -> Params:
    """The weights of some of the classes."""
    return {name: tensor[classes] for name, tensor in params.items()}


def _zeros(params: Params) -> Params:
    """Moments before the first step."""
    return {name: torch.zeros_like(tensor) for name, tensor in params.items()}


def _adam(
    params: Params,
    gradients: Mapping[str, Tensor | None],
    moments: Sequence[Params],
    step: int,
    lr: float,
    decay: float = 0.0,
) -> None:
    """Kingma and Ba 2015, Algorithm 1, in place and in one pass over memory; ``decay`` x a weight is added to its
    gradient. A weight without a gradient stays."""
    names = [name for name, gradient in gradients.items() if gradient is not None]
    weights, first, second = (
        [tensors[name] for name in names] for tensors in (params, *moments)
    )
    # The fused kernel reads memory in order, whatever the strides.
    contiguous = [gradients[name].contiguous() for name in names]
    steps = list(
        torch.full((len(names),), step - 1.0, device=weights[0].device).unbind()
    )
    adam(
        weights,
        contiguous,
        first,
        second,
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


@torch.no_grad()
def _least_squares(params: Params, data: Examples, pool: Any) -> None:
    """v and b of least squared error, in place (CAE: "no attempt to achieve faithfulness" before)."""
    v, b = params["v"], params["b"]
    K = len(data.rows)
    for c in range(K):
        k = slice(c, c + 1)
        Z = data.Z(data.rows[k])
        _, E, _ = forward(_rows(params, k), Z)
        E = pooled(E, pool).flatten(2)[0]  # (R, n)
        solution = _solved(E, data.y[c], data.weights[c])
        solution = solution.to(v.dtype)
        v[c] = solution[:-1]
        b[c] = solution[-1:]


def _solved(E: Tensor, y: Tensor, w: Tensor) -> Tensor:
    """Weights and, last, the intercept of least squared error, (n + 1, O), in float64.

    Args:
        E: (R, n), may be singular; y: (R, O); w: (R,) weights of the errors.
    """
    E = E.double()
    w = w.double().sqrt()[:, None]
    ones = torch.ones_like(E[:, :1])
    A = torch.cat([E, ones], 1) * w
    y = y.double() * w
    found = torch.linalg.lstsq(A.cpu(), y.cpu(), driver="gelsd")
    return found.solution.to(E.device)
