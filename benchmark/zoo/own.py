"""Networks of one's own: built by a user's function or by name from a library, with the user's weights, never trained.

    recipe = OwnNetwork.parse({"use": "net.py:build", "weights": "w.safetensors", "layer": "layer4"})
    card = bring(dataset, recipe, Path("mine-0.safetensors"), key="")
    target = zoo.load(Path("mine-0.safetensors"))

Idea: a network of one's own takes the place of a trained one: ``bring`` builds it, checks that it can be explained
(``benchmark.splits``), measures its accuracy, and writes weights and card as training does. All later steps read these.

``use`` is a function ``path/to/file.py:build`` that returns the module (``options`` are its arguments),
``torchvision:resnet18`` or ``timm:vit_tiny_patch16_224``. ``weights`` is a state dict, as safetensors or as torch saves
it (read with ``weights_only=True``: nothing is unpickled); without it the weights are those that the function gives.

A file of functions is run in the process that uses the network, as any module that you import is.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import importlib.util
import json
import platform
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from benchmark import store
from benchmark.api import Target
from benchmark.data import Dataset
from benchmark.splits.hooks import IMAGES, noise
from benchmark.splits.networks import (
    NetworkError,
    _close,
    _required,
    check_network,
    is_chain,
    unwrapped,
)
from benchmark.utils.near_names import UnknownName, near, pick
from benchmark.zoo.checkpoints import data_hash
from benchmark.zoo.pretrained import file_hash

LIBRARIES = ("timm", "torchvision")
CHECKED = 8  # images of the user that a network is checked on
_HARDLY = 1e-4  # of the largest logit: less says nothing about layers
_MARK = "glassbench.key"  # in the file of the weights: code and settings decide, too
_CHUNK_PIXELS = 2**22  # that go through a network together


@dataclass(frozen=True)
class OwnNetwork:
    """A network that is not trained here, and where it is explained.

    Attributes:
        mean, std: what pixels in [0, 1] are normalised by, a number for each channel.
        classes: of its outputs, in order; default: those of the data set. Outputs of other classes are left out.
        layer: explained; default: the last with positions that the logits depend on.
        tokens: the grid of a layer that gives tokens, ``14x14``; default: found from their number.
        options: arguments of the function.
    """

    use: str
    weights: str | None = None
    layer: str | None = None
    mean: Sequence[float] = (0.0,)
    std: Sequence[float] = (1.0,)
    classes: Sequence[str] | None = None
    tokens: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    explain: bool = True
    seeds: ClassVar[tuple[int, ...]] = (0,)

    @classmethod
    def parse(cls, mapping: Mapping[str, Any]) -> Self:
        """The network of a mapping.

        Raises:
            UnknownName: an unknown key or library; the message suggests near ones.
            ValueError: a value that does not fit, or a file that is missing.
        """
        known = [f.name for f in fields(cls)]
        for key in mapping:
            if key not in known:
                raise near(key, known, "key of a network of one's own")
        found = cls(**mapping)
        found._check_use()
        if found.weights:
            _existing(found.weights, "weights")
        if len(found.mean) != len(found.std):
            raise ValueError("mean and std must have one number for each channel")
        if not all(s > 0 for s in found.std):
            raise ValueError(f"std must be above 0, not {list(found.std)}")
        if found.tokens and not re.fullmatch(r"\d+x\d+", found.tokens):
            raise ValueError(f"tokens must be like 14x14, not {found.tokens!r}")
        return found

    def _check_use(self) -> None:
        place, _, name = self.use.rpartition(":")
        if place.endswith(".py") and name:
            _existing(place, "use")
        elif place not in LIBRARIES or not name:
            if place and not place.endswith(".py"):
                raise near(place, LIBRARIES, f"library of networks in {self.use!r}:")
            raise ValueError(
                f"use must be file.py:function or torchvision:name, not {self.use!r}"
            )

    @property
    def net(self) -> str:
        """What boards and lists call it."""
        return self.use

    def decisive(self) -> dict[str, Any]:
        """What the target depends on, as plain values: all but whether it is on the board."""
        plain = dataclasses.asdict(self)
        del plain["explain"]
        return json.loads(json.dumps(plain))

    def digest(self) -> str:
        """Hash of all that decides the network: the settings, the file of the function and the file of the weights."""
        hashes = [json.dumps(self.decisive(), sort_keys=True)]
        place, _, _ = self.use.rpartition(":")
        if place in LIBRARIES:
            hashes.append(_version(place))
        else:
            hashes.append(file_hash(_existing(place, "use")))
        if self.weights:
            hashes.append(file_hash(_existing(self.weights, "weights")))
        return hashlib.sha256("\n".join(hashes).encode()).hexdigest()

    def build(self, classes: Sequence[str], load: bool = True) -> nn.Module:
        """The module, with its weights, on the CPU.

        Args:
            classes: of the data set.
            load: with the weights of its file.

        Raises:
            NetworkError: it cannot be built, or the weights are not its own.
        """
        place, _, name = self.use.rpartition(":")
        if place in LIBRARIES:
            net = _of_library(place, name, self.options, self.classes or classes)
        else:
            net = _of_file(_existing(place, "use"), name, self.options)
        net = unwrapped(net)
        if load and self.weights:
            _load(net, _existing(self.weights, "weights"))
        return net


def bring(
    dataset: Dataset, recipe: OwnNetwork, path: Path, key: str, name: str = ""
) -> dict[str, Any]:
    """Build and check a network; write its weights to ``path`` and its card beside them, and return the card.

    Args:
        key: hash of all that it depends on.

    Raises:
        NetworkError: it cannot be explained; one line with the reason and the way out.
    """
    net = recipe.build(dataset.classes)
    notes = []
    if net.training:
        notes.append("it was in training mode; it is explained in eval mode")
    notes += check_pass(net, dataset.input_shape)
    state = {key: value.clone() for key, value in net.state_dict().items()}
    target = target_of(recipe, net, dataset.input_shape, dataset.classes, name)
    notes += check_network(target.net, target.input_shape)
    rows = np.arange(min(CHECKED, dataset.size("test")))
    check_split(target, dataset.batch("test", rows, device=target.device).x)
    accuracy = {split: _accuracy(target, dataset, split) for split in ("train", "test")}
    notes += _notes_on_input(target, dataset)
    at_chance = _notes_on(accuracy["test"], dataset)
    notes += at_chance
    mark = bytes.fromhex(hashlib.sha256(key.encode()).hexdigest())
    state[_MARK] = torch.tensor(list(mark), dtype=torch.uint8)
    store.write_weights(path, state)
    card = {
        "name": target.name,
        "net": recipe.use,
        "use": recipe.use,
        "layers": list(target.layers),
        "layer": target.layer,
        "input_shape": list(dataset.input_shape),
        "classes": list(dataset.classes),
        "mean": list(recipe.mean),
        "std": list(recipe.std),
        "parameters": sum(p.numel() for p in net.parameters()),
        "pretrained": {"file": recipe.weights} if recipe.weights else None,
        "dataset": dataset.name,
        "data": data_hash(dataset),
        "images": {split: dataset.size(split) for split in accuracy},
        "recipe": recipe.decisive(),
        "seed": 0,
        "epochs": 0,
        "train_accuracy": accuracy["train"],
        "test_accuracy": accuracy["test"],
        "notes": notes,
        "at_chance": bool(at_chance),
        "digest": recipe.digest(),
        "sha256": file_hash(path),
        "key": key,
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "torchvision": version("torchvision"),
            "numpy": np.__version__,
        },
        "device": "cpu",
    }
    store.write_json(path.with_suffix(".json"), card)
    return card


def check_pass(net: nn.Module, image: tuple[int, int, int]) -> list[str]:
    """Freeze a network, and check that it takes images and has gradients at them.

    Args:
        image: (c, h, w).

    Returns:
        what its user should know, a line each.

    Raises:
        NetworkError: it takes something else, or its logits do not depend on the images by gradients.
    """
    net = unwrapped(net)
    if len(_required(net)) != 1:  # check_network says what it takes
        return []
    x = noise(frozen(net), IMAGES, image).requires_grad_()
    try:
        with torch.enable_grad():
            y = net(x.clone())
    except (AttributeError, LookupError, TypeError) as error:
        size = "x".join(map(str, image))
        raise NetworkError(
            f"cannot take images of {size} ({_line(error)}): "
            "its forward must take a tensor (n, c, h, w) of this size, and nothing else"
        ) from None
    except Exception:  # check_network says which
        return []
    if not (isinstance(y, Tensor) and y.is_floating_point()):
        return []
    try:
        torch.autograd.grad(y.sum(), x)
    except RuntimeError:
        raise NetworkError(
            "gives logits without gradients; take no_grad, detach, NumPy and quantisation out of its forward"
        ) from None
    y = y.detach()
    if (y - y.roll(1, 0)).abs().max() < _HARDLY * y.abs().max():
        return ["its logits hardly differ between images of noise: is it trained?"]
    return []


def check_split(target: Target, x: Tensor) -> None:
    """Check on images, as a target is checked on noise, that its logits are its own and G of its layer's features.

    Args:
        x: (n, c, h, w) in [0, 1].

    Raises:
        NetworkError: images go different ways through it, or depend on each other.
    """
    with torch.no_grad():
        y = target(x)
        if not _close(target(x[:1]), y[:1]):
            raise NetworkError(
                "gives an image other logits if other images stand beside it (does it normalise by the batch?)"
            )
        if target.layer is None:
            return
        try:
            same = _close(target.head(target.features(x)), y)
        except Exception:  # what a network does with other images' features
            same = False
    if not same:
        raise NetworkError(
            f"cannot be split at layer {target.layer}: these images do not all go through it, as images of noise do; "
            "name another layer"
        )


def frozen(net: nn.Module) -> nn.Module:
    """The network itself, in eval mode and without gradients of its weights.

    Raises:
        NetworkError: it is not finished, or has no such mode, as what torch.export makes.
    """
    if any(map(is_lazy, net.parameters())):
        raise NetworkError(
            "has lazy layers without weights; pass an image through it before it is returned"
        )
    for module in net.modules():
        if hasattr(module, "inplace"):
            module.inplace = False
    try:
        return net.eval().requires_grad_(False)
    except NotImplementedError:
        raise NetworkError(
            "is an exported program, whose layers cannot be hooked; build it in Python and load its weights"
        ) from None


def is_brought(path: Path, key: str) -> bool:
    """Are weights and card there, made with this key?"""
    try:
        card = store.read_json(path.with_suffix(".json"))
        return card.get("key") == key and card["sha256"] == file_hash(path)
    except (store.StoreError, OSError, KeyError, AttributeError):
        return False


def load(card: Mapping[str, Any], state: dict[str, Tensor], device: str) -> Target:
    """The target of a card and the weights beside it.

    Raises:
        StoreError: the file of the function, or of the weights, is not the one that the card was made with.
    """
    recipe = OwnNetwork.parse(card["recipe"])
    if recipe.digest() != card["digest"]:
        raise store.StoreError(
            f"{recipe.use} or its weights have changed; run `glassbench train {card['dataset']}`"
        )
    state = {key: value for key, value in state.items() if key != _MARK}
    net = recipe.build(card["classes"], load=False)
    net.load_state_dict(state)
    shape, name = tuple(card["input_shape"]), card["name"]
    return target_of(
        recipe, net.to(device), shape, card["classes"], name, card["layer"]
    )


def target_of(
    recipe: OwnNetwork,
    net: nn.Module,
    shape: tuple[int, int, int],
    classes: Sequence[str],
    name: str = "",
    layer: str | None = None,
) -> Target:
    """The target, with an output for each of the data set's ``classes``.

    Args:
        layer: explained, instead of the recipe's.

    Raises:
        NetworkError: it cannot be explained.
    """
    net = frozen(unwrapped(net))
    check_network(net, shape, len(recipe.classes or classes))
    if recipe.classes:
        net = _with_classes(net, recipe.classes, classes)
    given = {
        "name": name or recipe.use,
        "classes": classes,
        "input_shape": shape,
        "mean": recipe.mean,
        "std": recipe.std,
    }
    if len(recipe.mean) not in {1, shape[0]}:
        raise NetworkError(
            f"has {len(recipe.mean)} numbers in mean and std for images of {shape[0]} channels"
        )
    tokens = recipe.tokens or "auto"
    try:
        target = Target(net, layer=layer or recipe.layer, tokens=tokens, **given)
    except ValueError as error:
        raise NetworkError(str(error).removeprefix(f"{given['name']}: ")) from None
    chosen = target.layer
    is_split_inside = chosen and ("." in chosen or target.fold(chosen) is not None)
    if not is_chain(net) or is_split_inside:
        return target
    return Target(net, layer=chosen, **given)


def shapes(recipe: OwnNetwork, shape: tuple[int, int, int], classes: int) -> Target:
    """The target on the device ``meta``: shapes without numbers."""
    names = recipe.classes or [str(c) for c in range(classes)]
    net = recipe.build(names, load=False).to("meta")
    given = dataclasses.replace(recipe, classes=None)
    return target_of(given, net, shape, names)


class _Columns:
    """A hook: the logits of some classes alone."""

    def __init__(self, columns: list[int]) -> None:
        self.columns = columns

    def __call__(self, module: nn.Module, args: Any, y: Tensor) -> Tensor:
        return y[:, self.columns]


class Classes(nn.Module):
    """The logits of some classes alone, as the last layer of a chain."""

    def __init__(self, columns: list[int]) -> None:
        super().__init__()
        self.columns = columns

    def forward(self, y: Tensor) -> Tensor:
        return y[:, self.columns]


def _with_classes(
    net: nn.Module, outputs: Sequence[str], classes: Sequence[str]
) -> nn.Module:
    """The network with the outputs of ``classes`` alone, in their order."""
    for name in classes:
        if name not in outputs:
            raise NetworkError(str(near(name, outputs, "output for the class")))
    columns = [list(outputs).index(name) for name in classes]
    if columns == list(range(len(outputs))):
        return net
    if is_chain(net):
        net.add_module("classes", Classes(columns))
    else:
        net.register_forward_hook(_Columns(columns))
    return net


# --------------------------------------------------------------------------------------------- where it comes from


def _existing(name: str, key: str) -> Path:
    """The path of a file, which may be relative to the project.

    Raises:
        ValueError: there is none.
    """
    path = store.ROOT / Path(name).expanduser()
    if not path.is_file():
        raise ValueError(f"{key}: there is no file {path}")
    return path


def _of_file(path: Path, name: str, options: Mapping[str, Any]) -> nn.Module:
    functions = {}
    for key, value in vars(_module(path)).items():
        if callable(value) and not key.startswith("_"):
            functions[key] = value
    try:
        function = pick(name, functions, f"function in {path.name}:")
    except UnknownName as error:
        raise NetworkError(str(error)) from None
    return _called(function, f"{path.name}:{name}", options)


def _module(path: Path) -> ModuleType:
    """The module of a file, which may import others beside it; loaded once per process and content."""
    name = f"glassbench_network_{path.stem}_{file_hash(path)[:12]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    sys.path.insert(0, str(path.parent))
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise NetworkError(f"{path.name} cannot be imported: {_line(error)}") from None
    finally:
        sys.path.remove(str(path.parent))
    return module


def _of_library(
    library: str, name: str, options: Mapping[str, Any], classes: Sequence[str]
) -> nn.Module:
    options = {"num_classes": len(classes), **options}
    try:
        module = importlib.import_module(library)
    except ImportError:
        raise NetworkError(
            f"needs {library}, which is not installed: pip install {library}, "
            "or pip install 'glassbench[networks]'"
        ) from None
    if library == "timm":
        known, build = module.list_models(), module.create_model
    else:
        models = importlib.import_module("torchvision.models")
        known, build = models.list_models(models), models.get_model
    if name not in known:
        raise NetworkError(str(near(name, known, f"network of {library}:")))
    return _called(lambda **given: build(name, **given), f"{library}:{name}", options)


def _called(function: Any, name: str, options: Mapping[str, Any]) -> nn.Module:
    """What the function returns; the same weights each time, if it draws any."""
    with torch.random.fork_rng(devices=[]):
        torch.random.default_generator.manual_seed(0)
        try:
            net = function(**options)
        except NetworkError:
            raise
        except Exception as error:
            raise NetworkError(f"{name} cannot be built: {_line(error)}") from None
    if not isinstance(net, nn.Module):
        raise NetworkError(f"{name} returns a {type(net).__name__}, no torch.nn.Module")
    return net


def _load(net: nn.Module, path: Path) -> None:
    """Load a state dict into a network.

    Raises:
        NetworkError: it cannot be read safely, or it is that of another network.
    """
    state = _state(path)
    own = net.state_dict()
    missing = sorted(own.keys() - state.keys())
    foreign = sorted(state.keys() - own.keys())
    if missing or foreign:
        lacks = f"lacks {_first(missing)}" if missing else ""
        has = f"has {_first(foreign)} besides" if foreign else ""
        both = " and ".join(part for part in (lacks, has) if part)
        raise NetworkError(f"{path.name} holds weights of another network: it {both}")
    for key, value in own.items():
        if state[key].shape != value.shape:
            there, here = ("x".join(map(str, t.shape)) for t in (state[key], value))
            raise NetworkError(
                f"{path.name} holds weights of another network: {key} is {there} in it, {here} in the network"
            )
    net.load_state_dict(state)


def _state(path: Path) -> dict[str, Tensor]:
    """A state dict; one that lies in a checkpoint under ``state_dict`` or ``model`` too, also that of DataParallel."""
    if path.suffix == ".safetensors":
        way_out = "save it with safetensors.torch.save_file"
        with store.reading(path, way_out):
            state: Any = store.read_weights(path)
    else:
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
        except Exception:
            raise NetworkError(
                f"{path.name} is no state dict that can be read without unpickling; "
                "save net.state_dict() by torch.save or safetensors.torch.save_file"
            ) from None
    for key in ("state_dict", "model"):
        if isinstance(state, Mapping) and isinstance(state.get(key), Mapping):
            state = state[key]
    values = state.values() if isinstance(state, Mapping) else [None]
    if not all(isinstance(value, Tensor) for value in values):
        raise NetworkError(f"{path.name} holds no state dict: save net.state_dict()")
    prefixes = ("module.", "_orig_mod.")
    return {_without(key, prefixes): value for key, value in state.items()}


def _without(key: str, prefixes: Sequence[str]) -> str:
    for prefix in prefixes:
        key = key.removeprefix(prefix)
    return key


def _first(names: Sequence[str]) -> str:
    more = f" and {len(names) - 2} more" if len(names) > 2 else ""
    return ", ".join(names[:2]) + more


def _line(error: Exception) -> str:
    text = " ".join(str(error).split())[:200]
    return f"{type(error).__name__}: {text}"


def _version(library: str) -> str:
    try:
        return version(library)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


# --------------------------------------------------------------------------------------------- how good it is


def _accuracy(
    target: Target,
    dataset: Dataset,
    split: str,
    rows: Sequence[int] | None = None,
    changed: Callable[[Tensor], Tensor] | None = None,
) -> float:
    """The share of a split's images (or of ``rows``) that the network puts into their class, changed or as they are."""
    _, h, w = dataset.input_shape
    chunk = min(64, max(1, _CHUNK_PIXELS // (h * w)))
    rows = np.arange(dataset.size(split)) if rows is None else np.asarray(rows)
    hits = 0
    for start in range(0, len(rows), chunk):
        part = rows[start : start + chunk]
        batch = dataset.batch(split, part, device=target.device)
        with torch.no_grad():
            found = target(batch.x if changed is None else changed(batch.x)).argmax(1)
        hits += int((found == batch.y).sum())
    return hits / len(rows)


def _notes_on_input(target: Target, dataset: Dataset) -> list[str]:
    """A line for each other way to give images to the network in which clearly more of them are right."""
    n = dataset.size("test")
    rows = np.unique(np.linspace(0, n - 1, min(n, _TRIED)).astype(int))
    now = _accuracy(target, dataset, "test", rows)
    notes = []
    for what, (changed, way_out) in _WAYS.items():
        if what != _WIDE and dataset.input_shape[0] != 3:
            continue
        then = _accuracy(target, dataset, "test", rows, changed)
        spread = np.sqrt((now * (1 - now) + then * (1 - then)) / len(rows))
        if then > now + max(3 * spread, 0.1):
            notes.append(
                f"it puts {now:.0%} of the test images into their class, {then:.0%} {what}: {way_out}"
            )
    return notes


def _reversed(x: Tensor) -> Tensor:
    return x.flip(1)


def _enlarged(x: Tensor) -> Tensor:
    return 255 * x


def _as_imagenet(x: Tensor) -> Tensor:
    mean, std = (x.new_tensor(values).view(1, 3, 1, 1) for values in _IMAGENET)
    return (x - mean) / std


_IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_TRIED = 256  # test images
_WIDE = "with pixels in [0, 255]"
_WAYS: Mapping[str, tuple[Callable[[Tensor], Tensor], str]] = {
    "with blue before red": (_reversed, "let its forward begin with x = x.flip(1)"),
    _WIDE: (_enlarged, "divide its mean and std by 255"),
    "normalised as ImageNet": (
        _as_imagenet,
        "mean and std are 0.485 0.456 0.406 and 0.229 0.224 0.225",
    ),
}


def _notes_on(accuracy: float, dataset: Dataset) -> list[str]:
    """A line if the network is no better than guessing: the most frequent class, or any if the images are of one."""
    n = dataset.size("test")
    counts = np.bincount(dataset.arrays["y_test"])
    chance = counts.max() / n
    if chance == 1:
        chance = 1 / len(dataset.classes)
    spread = np.sqrt(chance * (1 - chance) / n)
    if accuracy >= min(chance + 2 * spread, 1):
        return []
    return [
        f"it puts {accuracy:.0%} of {n} test images into their class, no more than guessing ({chance:.0%}): "
        "check mean and std, the order of channels and classes, and the weights"
    ]
