"""What the author of a method or a metric sees. Needs numpy and torch alone.

A method is a class with ``fit`` and ``explain``; a metric is a function with a declaration::

    from benchmark.api import Explanation

    class GradNorm:
        name = "Gradient norm"

        def fit(self, target, reference, rng):
            return self

        def explain(self, target, batch, rng):
            x = batch.x.clone().requires_grad_()
            target(x).amax(dim=1).sum().backward()
            return Explanation(heatmaps=x.grad.abs().sum(dim=1))
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any, Protocol, Self, runtime_checkable

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor, nn

from benchmark.splits.hooks import Split
from benchmark.splits.networks import check_network, is_chain, unwrapped
from benchmark.utils.bounds import bounds as bounds

Array = np.ndarray

TRACKS = ("target", "heatmap", "concept", "surrogate", "reconstruction", "replication")


class NotApplicable(Exception):
    """Raised by a method that has nothing to say about a target: ``raise NotApplicable("needs a conv layer")``."""


# --------------------------------------------------------------------------------------------- images


@dataclass(eq=False)
class Batch:
    """Images with their labels and, where the data set has them, annotations; all tensors on the target's device.

    Pixel coordinates are (x, y) = (column, row) of the processed image; the centre of pixel (i, j) lies at
    (j + 0.5, i + 0.5), and a box holds a pixel if it holds its centre.

    Raises:
        ValueError: the place of a visible part, or an importance, is NaN or infinite.
    """

    x: Tensor  # (n, c, h, w) float32 in [0, 1]
    y: Tensor  # (n,) int64, the true class
    ids: Tensor | None = None  # (n,) int64, index in the data set's split
    boxes: Tensor | None = None  # (n, 4) float32: x0, y0, x1, y1
    parts: Tensor | None = None  # (n, p, 2) float32: x, y
    part_visible: Tensor | None = None  # (n, p) bool
    part_masks: Tensor | None = (
        None  # (n, h, w) int8: the part that each pixel shows, -1 where none
    )
    # (n, p) float32: true importance of each part for the image's class
    part_importance: Tensor | None = None
    chunk: int = 64  # images that go through the network together
    # shared results, e.g. psi(x); never saved
    memo: dict[Any, Any] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        for key in ("parts", "part_importance"):
            values = getattr(self, key)
            if values is None:
                continue
            wrong = ~torch.isfinite(values)
            if key == "parts" and self.part_visible is not None:
                wrong &= self.part_visible[
                    ..., None
                ]  # where an invisible part lies does not matter
            if wrong.any():
                raise ValueError(
                    f"{key} holds {int(wrong.sum())} values that are NaN or infinite"
                )

    def __len__(self) -> int:
        return len(self.x)

    def __iter__(self) -> Iterator[Batch]:
        """The same images in chunks that fit the device, in order; the chunks keep their own memo."""
        if "chunks" not in self.memo:
            starts = range(0, len(self), self.chunk)
            self.memo["chunks"] = [self[i : i + self.chunk] for i in starts]
        return iter(self.memo["chunks"])

    def __getitem__(self, rows: slice | Sequence[int] | Tensor) -> Batch:
        """The images ``rows`` as a Batch of its own (views for a slice)."""
        picked = {}
        for f in fields(self):
            value = getattr(self, f.name)
            if isinstance(value, Tensor):
                picked[f.name] = value[rows]
        return Batch(**picked, chunk=self.chunk)

    def annotations(self) -> frozenset[str]:
        """Names of the annotations that are there, among boxes, parts and part_importance."""
        names = ("boxes", "parts", "part_importance")
        return frozenset(name for name in names if getattr(self, name) is not None)


# --------------------------------------------------------------------------------------------- networks


class Target:
    """A trained network F with named layers and, for each, the split F = G o psi.

    ``net`` is any module. Of an ``nn.Sequential`` the children are the layers, so that psi is a prefix and G the rest.
    Any other module is split at the modules in it, by their dotted names (``layer4.1``), if the logits are a function
    of what the module gives (``benchmark.splits``); this is checked when a layer is first used, and that of ``layer``
    at once. Tokens (n, t, d) of a layer are then folded to maps (n, d, h, w).

    The target normalises its input by itself: callers pass pixels in [0, 1]. It is in eval mode, its parameters are
    frozen, and in-place activations are off. A network under torch.compile or DataParallel is unwrapped.

    Args:
        net: maps (n, c, h, w) to logits (n, C).
        name: unique within a profile, e.g. ``digits/vgg11/seed=0``.
        classes: C class names.
        input_shape: (c, h, w).
        mean, std: a number for each channel, in units of [0, 1] pixels: what the network normalises by.
        pixel_mean, pixel_std: the same of the training images, whatever the network normalises by (default: ``mean``
            and ``std``, unless they change nothing).
        layer: the layer that is explained where a method names none (the last one with spatial extent). None: none for
            a chain; for other modules the last that can be explained.
        tokens: the grid of tokens, ``14x14``; ``auto``: found from their number. None: not of a chain.

    Attributes:
        mean, std: (1, c, 1, 1) or (1, 1, 1, 1) tensors; a pixel of colour ``mean`` is 0 to the network.
        pixel_mean, pixel_std: tensors of these shapes, or None where they are not known.

    Raises:
        ValueError: a layer that does not exist, or at which the network cannot be split.
    """

    def __init__(
        self,
        net: nn.Module,
        *,
        name: str,
        classes: Sequence[str],
        input_shape: tuple[int, int, int],
        mean: Sequence[float] = (0.0,),
        std: Sequence[float] = (1.0,),
        pixel_mean: Sequence[float] | None = None,
        pixel_std: Sequence[float] | None = None,
        layer: str | None = None,
        tokens: str | None = None,
    ) -> None:
        net = unwrapped(net)
        self.net = net
        self.name = name
        self.classes = tuple(classes)
        self.input_shape = tuple(input_shape)
        for module in net.modules():
            if hasattr(module, "inplace"):
                module.inplace = False
        net.eval().requires_grad_(False)
        self._split = None
        self.layer = layer
        if is_chain(net) and "." not in (layer or "") and not tokens:
            self.layers = tuple(key for key, _ in net.named_children())
            if layer is not None:
                self._index(layer)
        else:
            grid = "" if tokens in (None, "auto") else tokens
            try:
                check_network(net, self.input_shape, len(self.classes))
            except ValueError as error:
                raise ValueError(f"{name} {error}") from None
            self._split = Split(net, self.input_shape, grid)
            self.layers = self._split.layers
            self._choose_layer()
        self.device = next((p.device for p in net.parameters()), torch.device("cpu"))
        self.mean, self.std = self._by_channel(mean), self._by_channel(std)
        if pixel_mean is None and any(mean):
            pixel_mean = mean
        if pixel_std is None and any(value != 1 for value in std):
            pixel_std = std
        self.pixel_mean = self.pixel_std = None
        if pixel_mean is not None:
            self.pixel_mean = self._by_channel(pixel_mean)
        if pixel_std is not None:
            self.pixel_std = self._by_channel(pixel_std)

    def _by_channel(self, values: Sequence[float]) -> Tensor:
        """(1, c, 1, 1) on the target's device."""
        tensor = torch.tensor(values, dtype=torch.float32, device=self.device)
        return tensor.view(1, -1, 1, 1)

    def _choose_layer(self) -> None:
        """Check the layer that is explained, of a module that is no chain, or choose it."""
        if self.layer is None:
            self.layer = self._split.default(self.net)
            return
        self._index(self.layer)
        if not self._split.matters(self.net, self.layer):
            other = self._split.default(self.net)
            hint = f"; name an earlier layer, such as {other}" if other else ""
            raise ValueError(
                f"{self.name}: only the class token of layer {self.layer} reaches the logits, not its positions{hint}"
            )

    @property
    def chain(self) -> nn.Sequential:
        """The network as a chain of its layers, for methods that follow it from module to module.

        Raises:
            NotApplicable: it is none.
        """
        if self._split is not None:
            raise NotApplicable(
                f"{self.name} is no plain chain of layers, which this method follows from one to the next"
            )
        return self.net

    def fold(self, layer: str) -> Callable[[Tensor], Tensor] | None:
        """What turns the tokens that the module ``layer`` gives into maps; None where nothing is to be done."""
        self._index(layer)
        return self._split.folds.get(layer) if self._split else None

    @property
    def below_logits(self) -> str:
        """The last layer below the logits.

        Raises:
            NotApplicable: there is none.
        """
        if self._split is not None:
            found = self._split.below_logits(self.net)
        else:
            found = self.layers[-2] if len(self.layers) > 1 else None
        if found is None:
            raise NotApplicable(f"{self.name} has no layer below its logits")
        return found

    def modules_up_to(self, layer: str) -> list[tuple[str, nn.Module]]:
        """(name, module) of all modules up to ``layer`` in order; of a network that is no chain, those inside it."""
        index = self._index(layer)
        if self._split is None:
            return list(self.net[: index + 1].named_modules())
        if layer == self.layers[-1]:
            return list(self.net.named_modules())
        return list(self.net.get_submodule(layer).named_modules(prefix=layer))

    def modules_after(self, layer: str) -> list[tuple[str, nn.Module]]:
        """(name, module) of all modules after ``layer``, in order."""
        index = self._index(layer)
        if self._split is None:
            return list(self.net[index + 1 :].named_modules())
        names = self._split.after(layer)
        return [(name, m) for name, m in self.net.named_modules() if name in names]

    def __call__(self, x: Tensor | Batch) -> Tensor:
        """Logits F(x), (n, C). For a Batch, computed once without gradients and remembered."""
        return self.features(x, self.layers[-1])

    def features(self, x: Tensor | Batch, layer: str | None = None) -> Tensor:
        """psi(x), the output of ``layer`` (default: ``self.layer``). For a Batch, computed once and remembered."""
        index = self._index(layer or self._explained())
        if isinstance(x, Tensor):
            z = self._psi((x - self.mean) / self.std, index)
            return (
                z.contiguous()
            )  # it may be channels-last, and ``view`` must work all the same
        key = ("features", self, index)
        if key not in x.memo:
            # not in inference mode: others may need gradients from here on
            with torch.inference_mode(False), torch.no_grad():
                parts = [self.features(part.x, self.layers[index]) for part in x]
                x.memo[key] = torch.cat(parts)
        return x.memo[key]

    def _psi(self, x: Tensor, index: int) -> Tensor:
        if self._split is None:
            return self.net[: index + 1](x)
        return self._split.features(self.net, x, self.layers[index])

    def head(self, z: Tensor, layer: str | None = None) -> Tensor:
        """G(z), the logits (n, C) from the output z of ``layer``: ``head(features(x)) == target(x)``.

        Raises:
            NotApplicable: z has lost the class tokens of its images (``benchmark.splits.tokens``).
        """
        index = self._index(layer or self._explained())
        if self._split is None:
            rest = self.net[index + 1 :]
            return rest(z)
        try:
            return self._split.head(self.net, z, self.layers[index])
        except LookupError as error:
            raise NotApplicable(
                f"{self.layers[index]} of {self.name}: {error}, without which it has no logits"
            ) from None

    def _explained(self) -> str:
        if self.layer is None:
            raise NotApplicable(
                f"{self.name} has no layer with spatial extent; name one of {', '.join(self.layers)}"
            )
        return self.layer

    def _index(self, layer: str) -> int:
        if self._split is not None:
            try:
                self._split.check(self.net, layer)
            except ValueError as error:
                raise ValueError(f"{self.name}: {error}") from None
        try:
            return self.layers.index(layer)
        except ValueError:
            raise ValueError(
                f"{self.name} has no layer {layer!r}; it has {', '.join(self.layers)}"
            ) from None

    def fingerprint(self) -> str:
        """Changes if a method changes weights, buffers, modules, modes, hooks, requires_grad or the normalisation."""
        tensors = self.mean, self.std, self.pixel_mean, self.pixel_std
        pixels = [None if value is None else value.tolist() for value in tensors]
        digest = hashlib.sha256(f"{pixels} {self.layer}".encode())
        for key, tensor in self.net.state_dict().items():
            digest.update(key.encode())
            if isinstance(tensor, Tensor):  # a module may have other state of its own
                digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        for key, module in self.net.named_modules():
            digest.update(f"{key} {_state(module)}".encode())
        trainable = [p.requires_grad for p in self.net.parameters()]
        digest.update(str(trainable).encode())
        return digest.hexdigest()


def _state(module: nn.Module) -> str:
    """What a method could change about a module besides its tensors."""
    own = vars(module)
    hooks = sum(len(value) for name, value in own.items() if name.endswith("_hooks"))
    has_forward = "forward" in own
    return f"{type(module).__name__} {module.extra_repr()} {module.training} {hooks} {has_forward}"


# --------------------------------------------------------------------------------------------- explanations


@dataclass(frozen=True, eq=False)
class Explanation:
    """What a method says about n images. Every field is optional; tensors and arrays are checked and stored as
    float32 / int64 arrays. NaN and infinities are refused. Maps of an image that float32 would make infinite or lose
    are first multiplied by a power of two, which changes no digit; all others keep their scale.

    Raises:
        ValueError: a wrong number of axes, fields that disagree on n, or values that are not finite.
    """

    # (n, h, w), larger = more important, signed or not as the method defines
    heatmaps: Array | None = None
    # (n, k, h, w): one map for each concept / x-feature / boundary
    concept_maps: Array | None = None
    # (n,): the class that the explanation alone predicts; -1 = does not apply
    labels: Array | None = None
    # (n, C) or (n,): the explanation's approximation of the logits
    scores: Array | None = None
    # (n, c, h, w): an image rebuilt from what the explained layer kept
    decoded: Array | None = None
    # (n, c, h, w): the same from the reference auto-encoder (ClaDec's RefAE)
    reference: Array | None = None
    # (n, s): where a method scores regions of its own instead of pixels; s = 16: those of
    # ``occlusion_delta_accuracy``, row by row
    squares: Array | None = None
    # split nodes, rules, literals, bits, boundaries ...
    size: Mapping[str, float] = field(default_factory=dict)
    # (n,) bool: the images that there is an explanation of; None: all. The others are scored by no metric
    applies: Array | None = None

    strict = False  # refuse what would be converted silently; set while an external method runs

    def __post_init__(self) -> None:
        counts = {}
        for key, axes in _EXPLANATION_AXES.items():
            value = getattr(self, key)
            if value is None:
                continue
            given, value = value, array_of(value)
            if self.strict:
                _refuse_conversion(key, given, value)
            if value.ndim not in axes:
                wanted = " or ".join(map(str, axes))
                raise ValueError(
                    f"{key} has shape {value.shape}; expected {wanted} axes"
                )
            stored = _stored(key, value)
            _refuse_infinite(key, value, stored)
            object.__setattr__(self, key, stored)
            counts[key] = len(value)
        if self.applies is not None:
            object.__setattr__(self, "applies", _yes_or_no(self.applies))
            counts["applies"] = len(self.applies)
        if len(set(counts.values())) > 1:
            raise ValueError(f"fields disagree on the number of images: {counts}")
        size = {str(k): float(v) for k, v in dict(self.size).items()}
        object.__setattr__(self, "size", size)

    def __getitem__(self, rows: slice | Array) -> Explanation:
        """The explanation of the images ``rows``."""
        picked = {}
        for key in (*_EXPLANATION_AXES, "applies"):
            value = getattr(self, key)
            if value is not None:
                picked[key] = value[rows]
        return replace(self, **picked)

    def offers(self) -> frozenset[str]:
        """Names of the fields that are there."""
        here = {key for key in _EXPLANATION_AXES if getattr(self, key) is not None}
        if self.size:
            here.add("size")
        return frozenset(here)


_EXPLANATION_AXES = {
    "heatmaps": (3,),
    "concept_maps": (4,),
    "labels": (1,),
    "scores": (1, 2),
    "decoded": (4,),
    "reference": (4,),
    "squares": (2,),
}


def array_of(value: Any) -> Array:
    """As an array; of tensors also those on a graph, sparse ones, and bfloat16, which numpy lacks."""
    if isinstance(value, Tensor):
        value = value.detach().cpu()
        if value.layout != torch.strided:
            value = value.to_dense()
        if value.is_floating_point() and value.dtype != torch.float64:
            value = value.float()
        value = value.resolve_conj().resolve_neg().numpy()
    return np.asarray(value)


def _yes_or_no(applies: Any) -> Array:
    """
    Raises:
        ValueError: not one bool per image.
    """
    applies = array_of(applies)
    if applies.dtype != bool or applies.ndim != 1:
        raise ValueError(
            f"applies is of type {applies.dtype} and shape {applies.shape}; expected one bool per image"
        )
    return applies


def _stored(key: str, value: Array) -> Array:
    """In the type that ``Explanation`` stores; what that cannot hold is infinite."""
    if key in ("heatmaps", "concept_maps"):
        value = _in_range(value)
    dtype = np.int64 if key == "labels" else np.float32
    with np.errstate(over="ignore", invalid="ignore"):
        return np.ascontiguousarray(value, dtype)


def _in_range(maps: Array) -> Array:
    """Maps (n, ..., h, w) that float32 can hold: those of an image whose largest value it would make infinite, or
    whose pixels would lose digits, are multiplied by the power of two that brings this value into [0.5, 1)."""
    if maps.dtype.kind != "f" or maps.itemsize <= 4:
        return maps
    axes = tuple(range(1, maps.ndim))
    largest = np.abs(maps).max(axis=axes, keepdims=True, initial=0)  # (n, ..., 1, 1)
    float32 = np.finfo(np.float32)
    # pixels down to the rounding of the largest are normal numbers
    too_small = (largest > 0) & (largest < float32.tiny / float32.eps)
    too_large = np.isfinite(largest) & (largest > float32.max)
    if not (too_small | too_large).any():
        return maps
    _, exponent = np.frexp(largest)
    return np.ldexp(maps, np.where(too_small | too_large, -exponent, 0))


def _refuse_infinite(key: str, value: Array, stored: Array) -> None:
    """
    Raises:
        ValueError: values that are NaN or infinite, as given or as stored.
    """
    given = np.isfinite(value)
    wrong = int((~(given & np.isfinite(stored))).sum())
    if wrong:
        where = " in float32" if given.all() else ""
        raise ValueError(f"{key} holds {wrong} values that are NaN or infinite{where}")


def _refuse_conversion(key: str, given: Any, value: Array) -> None:
    """
    Args:
        value: ``given`` as an array.

    Raises:
        ValueError: a tensor on a graph, or values that are not plain numbers (complex numbers, text).
    """
    if isinstance(given, Tensor) and given.requires_grad:
        raise ValueError(f"{key} is a tensor on a graph; return {key}.detach()")
    kinds, expected = ("biu", "class") if key == "labels" else ("biuf", "plain number")
    if value.dtype.kind not in kinds:
        raise ValueError(f"{key} is of type {value.dtype}, which holds no {expected}")


@runtime_checkable
class Method(Protocol):
    """A way to explain a target. ``name`` is what the board shows; the fields of a dataclass are its settings.

    A method from outside this project gets batches of pixels, without annotations. ``needs = {"labels"}`` in its class
    adds the true classes, ``batch.y``, and the board says so.
    """

    name: str

    def fit(self, target: Target, reference: Batch, rng: Generator) -> Self:
        """Learn what is needed from reference (training) images; return self."""
        ...

    def explain(self, target: Target, batch: Batch, rng: Generator) -> Explanation:
        """Explain the images of ``batch``, in order."""
        ...


def settings_of(method: Any) -> dict[str, Any]:
    """The settings of a method: the public fields of its dataclass that are not None; methods among them by name."""
    if not is_dataclass(method):
        return {}
    settings = {}
    for f in fields(method):
        if not f.init or f.name.startswith("_"):
            continue
        value = getattr(method, f.name)
        if value is not None:
            settings[f.name] = value.name if isinstance(value, Method) else value
    return settings


# --------------------------------------------------------------------------------------------- metrics


@dataclass(frozen=True)
class MetricSpec:
    """The declaration of a metric. A cell that lacks one of ``needs`` is `not applicable`, never an error."""

    name: str
    function: Callable[..., Array]
    # fields of Explanation, and annotations of Batch: boxes, parts, part_importance
    needs: frozenset[str]
    track: str
    better: str  # "lower" or "higher"
    unit: str
    version: int  # raised when the numbers change meaning: old and new rows are then never compared
    source: str  # paper and equation
    settings: tuple[Mapping[str, Any], ...]  # the keyword arguments of each row
    partial: bool  # may return NaN for an image that it does not apply to; such images are not counted in n

    @property
    def offered(self) -> frozenset[str]:
        """The part of ``needs`` that an explanation must offer."""
        return self.needs & (_EXPLANATION_AXES.keys() | {"size"})

    @property
    def annotations(self) -> frozenset[str]:
        """The part of ``needs`` that the images must carry."""
        return self.needs - self.offered

    def __call__(
        self,
        e: Explanation,
        target: Target,
        batch: Batch,
        rng: Generator,
        **setting: Any,
    ) -> Array:
        return self.function(e, target, batch, rng, **setting)


METRICS: dict[str, MetricSpec] = {}


def metric(
    *,
    needs: set[str],
    track: str,
    better: str,
    unit: str,
    version: int,
    source: str,
    settings: Sequence[Mapping[str, Any]] = ({},),
    partial: bool = False,
) -> Callable[[Callable[..., Array]], MetricSpec]:
    """Declare ``f(e, target, batch, rng, **setting) -> (n,)`` as a metric: one value per image, aggregated once, later.

    Raises:
        ValueError: an unknown track, direction or need, or a name that is taken.
    """

    def declare(function: Callable[..., Array]) -> MetricSpec:
        name = function.__name__
        known = _EXPLANATION_AXES.keys() | {"size", "boxes", "parts", "part_importance"}
        if name in METRICS and METRICS[name].function.__module__ != function.__module__:
            raise ValueError(
                f"a metric {name!r} exists already, in {METRICS[name].function.__module__}"
            )
        if (
            track not in TRACKS
            or better not in ("lower", "higher")
            or not set(needs) <= known
        ):
            raise ValueError(
                f"metric {name!r}: track {track!r}, better {better!r} or needs {sorted(needs)} unknown"
            )
        spec = MetricSpec(
            name,
            function,
            frozenset(needs),
            track,
            better,
            unit,
            version,
            source,
            tuple(settings),
            partial,
        )
        METRICS[name] = spec
        return spec

    return declare


class Explain(Protocol):
    """What a metric that calls the method again is handed: it explains images, with the same random numbers each time.

    ``target``: the network to explain (default: the one that the method was fitted on). ``fit``: a network to fit the
    method on first, once for all calls that name it. Raises NotApplicable if the method has nothing to say about a
    network, ValueError if the metric asks for more than it declares or the method breaks its contract.
    """

    def __call__(
        self, batch: Batch, target: Target | None = None, fit: Target | None = None
    ) -> Explanation: ...


@dataclass(frozen=True)
class CallingSpec(MetricSpec):
    """The declaration of a metric that calls the method again."""

    calls: int  # images that the method explains for each image that is scored

    @property
    def annotations(self) -> frozenset[str]:
        return super().annotations - {"explain"}


def calling_metric(*, needs: set[str], calls: int, **declaration: Any) -> Callable:
    """Declare ``f(e, target, batch, rng, explain, **setting) -> (n,)``, which calls the method again: ``explain``
    explains at most ``calls`` images for each image of ``batch``. The rest, and what is refused, is as in ``metric``.
    """
    if type(calls) is not int or calls < 1:
        raise ValueError(
            f"a metric that needs explain declares calls=1 or more, not {calls!r}"
        )

    def declare(function: Callable[..., Array]) -> CallingSpec:
        plain = metric(needs=set(needs) - {"explain"}, **declaration)(function)
        values = vars(plain) | {"needs": plain.needs | {"explain"}}
        spec = CallingSpec(**values, calls=calls)
        METRICS[plain.name] = spec
        return spec

    return declare


def any_metric(*, needs: set[str], calls: int = 0, **declaration: Any) -> Callable:
    """``metric``, or ``calling_metric`` where "explain" is among the needs; raises ValueError as they do."""
    if "explain" in needs:
        return calling_metric(needs=needs, calls=calls, **declaration)
    if calls:
        raise ValueError(f'calls={calls} without "explain" among the needs')
    return metric(needs=needs, **declaration)


def torch_rng(rng: Generator, device: torch.device | str = "cpu") -> torch.Generator:
    """A torch generator on ``device``, seeded from ``rng``."""
    seed = int(rng.integers(2**63 - 1))
    generator = torch.Generator(device)
    return generator.manual_seed(seed)
