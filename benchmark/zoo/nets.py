"""The networks: each a Sequential of named layers, so that F = G o psi splits at any name (``api.Target``).

    net = build("vgg11", input_shape=(1, 32, 32), classes=10, options={"width": 0.5}, seed=7)
    psi, G = net[:4], net[4:]

Names and shapes follow the papers; what a paper leaves open is said in the builder's docstring. ReLUs belong to the layer
that they follow, dropout to the layer that it precedes, so a layer's output is what the papers explain.

Sources: layer trees (Table 1), ExplaiNN (App. B.1), ClaDec (Table 1 and the authors' code), XNN (Sec. 4.4),
Representative Interpretations (App. A: VGG-19); VGG (Simonyan and Zisserman 2015), SqueezeNet (Iandola et al. 2016).
"""

from __future__ import annotations

import inspect
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import fuse_conv_bn_eval

from benchmark.utils.near_names import near, pick

Shape = tuple[int, int, int]  # (c, h, w)
Layers = dict[str, nn.Module]
ACTIVATIONS = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "gelu": nn.GELU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
}


@dataclass(frozen=True)
class Net:
    """An entry of ``NETS``: how to build it, and what it is explained at where a recipe names no layer."""

    build: Callable[..., Layers]  # (input_shape, classes, **options) -> layers by name
    layer: str | None  # None: no layer has spatial extent
    imagenet: bool  # ImageNet weights exist, in torchvision's layout
    contiguous: bool  # on a CPU its forward pass is faster in rows than channels-last (measured): tiny maps, many channels


NETS: dict[str, Net] = {}


def _net(
    layer: str | None, imagenet: bool = False, contiguous: bool = False
) -> Callable[[Callable[..., Layers]], Callable[..., Layers]]:
    def register(function: Callable[..., Layers]) -> Callable[..., Layers]:
        NETS[function.__name__] = Net(function, layer, imagenet, contiguous)
        return function

    return register


def build(
    name: str,
    input_shape: Shape,
    classes: int,
    options: Mapping[str, Any] | None = None,
    seed: int | None = None,
) -> nn.Sequential:
    """The network ``name`` for images (c, h, w) and C classes: (n, c, h, w) -> logits (n, C).

    Args:
        seed: of the initial weights; the global random state is left alone. None builds without weights (device meta),
            to be filled by ``load_state_dict(..., assign=True)``.

    Raises:
        UnknownName: no such net or option; the message suggests near ones.
        ValueError: an option's value or the image size does not fit.
    """
    net, options = pick(name, NETS, "net"), dict(options or {})
    known = list(inspect.signature(net.build).parameters)[2:]
    for key in options:
        if key not in known:
            raise near(key, known, f"option of {name}")
    try:
        with torch.device("meta") if seed is None else seeded(seed):
            layers = nn.Sequential(OrderedDict(net.build(tuple(input_shape), classes, **options)))
        _dry_run(layers, input_shape)
    except (TypeError, ValueError, RuntimeError) as error:
        text = f"net {name} with options {options} for images {tuple(input_shape)}: {' '.join(str(error).split())}"
        raise ValueError(text) from None
    return layers


@contextmanager
def seeded(seed: int, device: torch.device | str = "cpu") -> Iterator[None]:
    """Inside, torch's own random functions (initialisation, dropout) follow ``seed``; after, their state is as before."""
    device = torch.device(device)
    index = (device.index or 0) if device.type == "cuda" else None
    with torch.random.fork_rng([] if index is None else [index]):
        torch.default_generator.manual_seed(seed)
        if index is not None:
            torch.cuda.default_generators[index].manual_seed(seed)
        yield


def parameter_count(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


def fold_norm(net: nn.Sequential) -> nn.Sequential:
    """Every batch norm that follows a convolution becomes part of it, in place: what eval mode computes anyway, in one
    step. Layers keep their names and outputs (to float rounding)."""
    for module in list(net.modules()):
        if not isinstance(module, nn.Sequential):
            continue
        names = list(module._modules)
        for before, name in pairwise(names):
            conv, norm = module._modules[before], module._modules[name]
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                module._modules[before] = fuse_conv_bn_eval(conv.eval(), norm.eval())
                module._modules[name] = nn.Identity()
    return net


def spatial_layers(net: nn.Sequential, input_shape: Shape) -> dict[str, tuple[int, ...]]:
    """Shape (c, h, w) of every layer's output that has spatial extent (h w > 1), by name."""
    return {
        name: shape
        for name, shape in _dry_run(net, input_shape).items()
        if len(shape) == 3 and shape[1:] != (1, 1)
    }


def _dry_run(net: nn.Sequential, input_shape: Shape) -> dict[str, tuple[int, ...]]:
    """The output shape of each layer for one image; nothing is computed."""
    shapes, modes = {}, {module: module.training for module in net.modules()}
    meta = {key: value.to("meta") for key, value in net.state_dict(keep_vars=True).items()}
    z = torch.empty(2, *input_shape, device="meta")
    with torch.no_grad():
        net.eval()
        for name, layer in net.named_children():
            own = {
                key.removeprefix(f"{name}."): value
                for key, value in meta.items()
                if key.startswith(f"{name}.")
            }
            z = torch.func.functional_call(layer, own, (z,))
            shapes[name] = tuple(z.shape[1:])
    for module, mode in modes.items():
        module.training = mode
    return shapes


# --------------------------------------------------------------------------------------------- dense


@_net(layer=None)
def mlp(
    input_shape: Shape,
    classes: int,
    *,
    width: int = 100,
    depth: int = 10,
    bias: str = "first",
    activation: str = "relu",
) -> Layers:
    """``depth`` hidden ReLU layers of ``width`` units. Layer trees: "a bias node is added to the first layer only", so
    neither the other hidden layers nor the logits have one; torch's default initialisation is the one that reproduces
    the paper's Table 3. ``bias: all`` is the usual network; ``activation``: one of ``ACTIVATIONS``.
    """
    if bias not in ("first", "all") or activation not in ACTIVATIONS or depth < 1:
        raise ValueError(
            f"bias is first or all, activation one of {', '.join(ACTIVATIONS)}, depth at least 1"
        )
    c, h, w = input_shape
    sizes = [c * h * w] + [width] * depth
    layers: Layers = {"flatten": nn.Flatten()}
    for k in range(1, depth + 1):
        linear = nn.Linear(sizes[k - 1], sizes[k], bias=bias == "all" or k == 1)
        layers[f"fc{k}"] = nn.Sequential(linear, ACTIVATIONS[activation]())
    return layers | {"logits": nn.Linear(width, classes, bias=bias == "all")}


# --------------------------------------------------------------------------------------------- small and convolutional


@_net(layer="conv2")
def explainn_cnn(input_shape: Shape, classes: int, *, dropout: bool = True) -> Layers:
    """ExplaiNN B.1: conv 20, pool, conv 40, pool, dropout .25, FC 64, dropout .5, FC; 3x3 kernels. Padding: none (Keras'
    default). ``conv1`` and ``conv2`` are the activations after ReLU, before pooling.
    """
    c, h, w = input_shape
    first, second = (0.25, 0.5) if dropout else (0.0, 0.0)
    flat = 40 * (((h - 2) // 2 - 2) // 2) * (((w - 2) // 2 - 2) // 2)
    return {
        "conv1": nn.Sequential(nn.Conv2d(c, 20, 3), nn.ReLU()),
        "pool1": nn.MaxPool2d(2),
        "conv2": nn.Sequential(nn.Conv2d(20, 40, 3), nn.ReLU()),
        "pool2": nn.MaxPool2d(2),
        "flatten": nn.Sequential(nn.Dropout(first), nn.Flatten()) if dropout else nn.Flatten(),
        "fc1": nn.Sequential(nn.Linear(flat, 64), nn.ReLU()),
        "logits": nn.Sequential(nn.Dropout(second), nn.Linear(64, classes))
        if dropout
        else nn.Linear(64, classes),
    }


@_net(layer="pool2")
def xnn_cnn(input_shape: Shape, classes: int) -> Layers:
    """XNN Sec. 4.4: "a simple 2 layers CNN" (98.70 % on MNIST), explained at the last pooling layer. The paper names no
    sizes; these are LeNet's kernels with 10 and 20 maps and 50 hidden units.
    """
    c, h, w = input_shape
    flat = 20 * (((h - 4) // 2 - 4) // 2) * (((w - 4) // 2 - 4) // 2)
    return {
        "conv1": nn.Sequential(nn.Conv2d(c, 10, 5), nn.ReLU()),
        "pool1": nn.MaxPool2d(2),
        "conv2": nn.Sequential(nn.Conv2d(10, 20, 5), nn.ReLU()),
        "pool2": nn.MaxPool2d(2),
        "flatten": nn.Flatten(),
        "fc1": nn.Sequential(nn.Linear(flat, 50), nn.ReLU()),
        "logits": nn.Linear(50, classes),
    }


@_net(layer="conv4")
def cnn(
    input_shape: Shape, classes: int, *, maps: Sequence[int] = (16, 32, 64, 64), hidden: int = 64
) -> Layers:
    """Of no paper: the smallest network here whose last convolution keeps a map worth looking at (6x6 for images of 48x48)
    and is followed by a non-linear G. Blocks conv 3x3 - BatchNorm - ReLU with 2x2 max pooling between them.

    Args:
        maps: channels of each block.
        hidden: ReLU units between the pooled last block and the logits; 0: global average and a dense layer (then G is
            linear, and Grad-CAM is CAM).
    """
    c, *side = input_shape
    layers: Layers = {}
    for k, m in enumerate(maps, start=1):
        layers[f"conv{k}"] = nn.Sequential(*_conv_norm(c, m, 1), nn.ReLU())
        if k < len(maps) or hidden:
            layers[f"pool{k}"], side = nn.MaxPool2d(2), [s // 2 for s in side]
        c = m
    if not hidden:
        return layers | {
            "pool": nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()),
            "logits": nn.Linear(c, classes),
        }
    layers |= {
        "flatten": nn.Flatten(),
        "fc1": nn.Sequential(nn.Linear(c * side[0] * side[1], hidden), nn.ReLU()),
    }
    return layers | {"logits": nn.Linear(hidden, classes)}


@_net(layer="conv3a", contiguous=True)
def vgg11(
    input_shape: Shape, classes: int, *, width: float = 1.0, resize: int | None = None
) -> Layers:
    """ClaDec Table 1: eight blocks conv 3x3 (no bias) - BatchNorm - ReLU, stride 2 in place of pooling, dropout .5, one
    dense layer. At 32x32: conv2a 8x8, conv2 and conv3a 4x4, conv3 and conv4a 2x2, conv4 1x1; 4.66 M parameters.

    Args:
        width: factor on the number of channels.
        resize: side in pixels to which images are first brought by nearest neighbour (the authors: 28 -> 32), as layer
            ``resize``.
    """
    plan = [
        ("conv0", 32, 2),
        ("conv1", 64, 2),
        ("conv2a", 128, 1),
        ("conv2", 128, 2),
        ("conv3a", 256, 1),
        ("conv3", 256, 2),
        ("conv4a", 512, 1),
        ("conv4", 512, 2),
    ]
    c, *side = input_shape
    layers: Layers = {}
    if resize is not None:
        layers["resize"], side = nn.Upsample(size=(resize, resize)), [resize, resize]
    for name, maps, stride in plan:
        maps = max(1, round(width * maps))
        layers[name] = nn.Sequential(*_conv_norm(c, maps, stride), nn.ReLU())
        c, side = maps, [-(-s // stride) for s in side]
    layers["flatten"] = nn.Flatten()
    return layers | {
        "logits": nn.Sequential(nn.Dropout(0.5), nn.Linear(c * side[0] * side[1], classes))
    }


@_net(layer="stage4")
def resnet10(
    input_shape: Shape, classes: int, *, width: float = 1.0, resize: int | None = None
) -> Layers:
    """ClaDec's ResNet-10 (the authors' resnet.py): stem, four stages of one basic block with 64-128-256-512 maps and
    strides 1-2-2-2, global average, dense layer without bias; He-uniform initialisation. ``width``, ``resize``: as vgg11.
    """
    maps = [max(1, round(width * m)) for m in (64, 64, 128, 256, 512)]
    layers: Layers = {} if resize is None else {"resize": nn.Upsample(size=(resize, resize))}
    layers["stem"] = nn.Sequential(*_conv_norm(input_shape[0], maps[0], 1), nn.ReLU())
    for k in range(1, 5):
        layers[f"stage{k}"] = BasicBlock(maps[k - 1], maps[k], stride=1 if k == 1 else 2)
    layers["pool"] = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    layers["logits"] = nn.Linear(maps[4], classes, bias=False)
    for layer in layers.values():
        for module in layer.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_uniform_(module.weight)
    return layers


class BasicBlock(nn.Module):
    """z -> ReLU(conv(ReLU(conv(z))) + shortcut(z)); the shortcut has no parameters: 2x2 average where the block halves
    the resolution, zeros for the maps that it adds. (n, c, h, w) -> (n, c', h/stride, w/stride).
    """

    def __init__(self, c: int, maps: int, stride: int) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            *_conv_norm(c, maps, stride), nn.ReLU(), *_conv_norm(maps, maps, 1)
        )
        self.shrink = nn.AvgPool2d(2, ceil_mode=True) if stride == 2 else nn.Identity()
        self.relu = nn.ReLU()
        self.added = maps - c

    def forward(self, z: Tensor) -> Tensor:
        return self.relu(self.residual(z) + F.pad(self.shrink(z), (0, 0, 0, 0, 0, self.added)))


def _conv_norm(c: int, maps: int, stride: int) -> tuple[nn.Module, nn.Module]:
    return Conv(c, maps, 3, stride, padding=1, bias=False), nn.BatchNorm2d(maps)


class Conv(nn.Conv2d):
    """A convolution that knows when it is a dense layer: on maps with fewer pixels than its kernel most taps read padding,
    and the matrix of the whole map, (o h' w', c h w), is smaller than the convolution. On a CPU and without gradients it
    computes by that matrix, kept as oneDNN lays it out: 2 to 4 times faster, the same to float rounding.
    """

    def forward(self, z: Tensor) -> Tensor:
        if not self._is_dense(z):
            return super().forward(z)
        weight, version, shape_in, matrix, shape = _DENSE.get(self, (None,) * 5)
        if weight is not self.weight or (version, shape_in) != (weight._version, z.shape[1:]):
            unit = torch.eye(z[0].numel()).view(
                -1, *z.shape[1:]
            )  # every pixel alone, (c h w, c, h, w)
            response = self._conv_forward(unit, self.weight, None)  # (c h w, o, h', w')
            matrix, shape = response.flatten(1).T.contiguous().to_mkldnn(), response.shape[1:]
            _DENSE[self] = self.weight, self.weight._version, z.shape[1:], matrix, shape
        y = F.linear(z.flatten(1).to_mkldnn(), matrix).to_dense().view(-1, *shape)  # (n, o, h', w')
        return y if self.bias is None else y.add_(self.bias[:, None, None])

    def _is_dense(self, z: Tensor) -> bool:
        small = (
            z.ndim == 4
            and 0 < z.shape[2] * z.shape[3] < self.kernel_size[0] * self.kernel_size[1]
            and len(z) > 0
        )
        if not small or torch.is_grad_enabled() or torch._C._are_functorch_transforms_active():
            return False
        plain = (
            isinstance(self.weight, nn.Parameter) and not self.weight.is_inference()
        )  # no other weights for one call
        float32 = z.dtype == self.weight.dtype == torch.float32 and z.device.type == "cpu"
        return plain and float32 and torch.backends.mkldnn.is_available()


_DENSE: WeakKeyDictionary[Conv, tuple] = (
    WeakKeyDictionary()
)  # apart from the module: oneDNN's layout cannot be copied


# --------------------------------------------------------------------------------------------- torchvision's


def _vgg(name: str, input_shape: Shape, classes: int, norm: bool) -> Layers:
    """torchvision's VGG cut into conv<block>_<i>, pool<block>, flatten, fc6, fc7, logits."""
    from torchvision import models  # here, for it takes two seconds to import

    net = getattr(models, name)(num_classes=classes)
    layers: Layers = {}
    block, i = 1, 1
    for module in net.features:
        if isinstance(module, nn.Conv2d):
            layers[last := f"conv{block}_{i}"] = nn.Sequential(module, nn.ReLU())
            i += 1
        elif isinstance(module, nn.MaxPool2d):
            layers[f"pool{block}"] = module
            block, i = block + 1, 1
    if norm:
        shape = (net.features[-3].out_channels, input_shape[1] // 16, input_shape[2] // 16)
        layers[last] += nn.Sequential(
            nn.Flatten(), nn.BatchNorm1d(shape[0] * shape[1] * shape[2]), nn.Unflatten(1, shape)
        )
    fc6, _, drop6, fc7, _, drop7, logits = net.classifier
    return layers | {
        "flatten": nn.Sequential(net.avgpool, nn.Flatten()),
        "fc6": nn.Sequential(fc6, nn.ReLU()),
        "fc7": nn.Sequential(drop6, fc7, nn.ReLU()),
        "logits": nn.Sequential(drop7, logits),
    }


@_net(layer="conv5_3", imagenet=True)
def vgg16(input_shape: Shape, classes: int, *, norm: bool = False) -> Layers:
    """torchvision's VGG-16. ``norm``: as vgg19."""
    return _vgg("vgg16", input_shape, classes, norm)


@_net(layer="conv5_4", imagenet=True)
def vgg19(input_shape: Shape, classes: int, *, norm: bool = False) -> Layers:
    """torchvision's VGG-19. Representative Interpretations explains ``conv5_4`` (512x14x14 at 224x224) and XNN ``fc6``.
    ``norm``: a batch norm over the flattened last convolution, as in the code of Representative Interpretations.
    """
    return _vgg("vgg19", input_shape, classes, norm)


@_net(layer="fire9", imagenet=True)
def squeezenet1_0(input_shape: Shape, classes: int, *, relu: bool = True, dense: int = 0) -> Layers:
    """torchvision's SqueezeNet 1.0, layers named as in its paper; ``fire9`` is 512x13x13 at 224x224.

    Args:
        relu: whether conv10, the map of each class, is rectified before its average, the logit, is taken.
        dense: units of ``fc10``, a ReLU layer on the average of fire9 in conv10's place; 0: none. It gives methods that
            explain a dense layer (XNN) one to explain.
    """
    from torchvision import models

    net = models.squeezenet1_0(num_classes=classes)
    f, (drop, conv10, rectify, average) = net.features, net.classifier
    layers: Layers = {
        "conv1": f[:2],
        "pool1": f[2],
        "fire2": f[3],
        "fire3": f[4],
        "fire4": f[5],
        "pool4": f[6],
        "fire5": f[7],
        "fire6": f[8],
        "fire7": f[9],
        "fire8": f[10],
        "pool8": f[11],
        "fire9": f[12],
    }
    if dense:
        return layers | {
            "pool9": nn.Sequential(average, nn.Flatten()),
            "fc10": nn.Sequential(nn.Linear(512, dense), nn.ReLU()),
            "logits": nn.Sequential(drop, nn.Linear(dense, classes)),
        }
    return layers | {
        "conv10": nn.Sequential(drop, conv10, *([rectify] if relu else [])),
        "logits": nn.Sequential(average, nn.Flatten()),
    }


def from_torchvision(name: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """torchvision's state dict under the names of ``build(name, ...)``, without the classifier's last layer.

    Raises:
        ValueError: tensors are missing, or have other shapes than the network's.
    """
    from torchvision import models

    with torch.device("meta"):
        theirs = getattr(models, name)().state_dict()
    ours = build(name, (3, 224, 224), 1000).state_dict()
    if wrong := [
        key for key, value in theirs.items() if key not in state or state[key].shape != value.shape
    ]:
        raise ValueError(
            f"not a state dict of torchvision's {name}: {', '.join(wrong[:3])} missing or of another shape"
        )
    pairs = list(zip(ours, theirs, strict=True))[
        :-2
    ]  # cutting into layers keeps the order; the last two are the classes'
    return {our: state[their] for our, their in pairs}
