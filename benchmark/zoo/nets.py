"""The networks: each a Sequential of named layers, so that F = G o psi splits at any name (``api.Target``).

    net = build("vgg11", input_shape=(1, 32, 32), classes=10, options={"width": 0.5}, seed=7)
    psi, G = net[:4], net[4:]

The code of this file is part of all keys. Networks that are added have a file each, which counts for them alone
(``resnet``, ``vit``; ``zoo/__init__.py`` imports it).

Names and shapes follow the papers; each builder's docstring says how it settles what the paper leaves open. A ReLU
belongs to the layer that it follows, dropout to the layer that it precedes, so that a layer's output is what the papers
explain.

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

from benchmark.utils import accelerator
from benchmark.utils.accelerator import is_accelerator
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
    """An entry of ``NETS``: how to build the network, and the layer to explain where a recipe names none."""

    build: Callable[..., Layers]  # (input_shape, classes, **options) -> layers by name
    layer: str | None  # None: no layer has spatial extent
    imagenet: bool  # ImageNet weights exist, in torchvision's layout
    # Its forward pass on a CPU is faster in rows than channels-last (measured): tiny maps, many channels.
    contiguous: bool


NETS: dict[str, Net] = {}


Builder = Callable[..., Layers]


def _net(
    layer: str | None, imagenet: bool = False, contiguous: bool = False
) -> Callable[[Builder], Builder]:
    """Decorator that registers a builder in ``NETS`` under its name."""

    def register(function: Builder) -> Builder:
        NETS[function.__name__] = Net(function, layer, imagenet, contiguous)
        return function

    return register


net_builder = _net  # for networks in files of their own


def has_own_file(name: str) -> bool:
    """Is this a network of ``NETS`` whose builder is in a file of its own?"""
    return name in NETS and NETS[name].build.__module__ != __name__


def build(
    name: str,
    input_shape: Shape,
    classes: int,
    options: Mapping[str, Any] | None = None,
    seed: int | None = None,
) -> nn.Sequential:
    """The network ``name`` for images (c, h, w) and C classes: (n, c, h, w) -> logits (n, C).

    Args:
        seed: of the initial weights; the global random state is left alone. None builds without weights (on device
            meta), to be filled by ``load_state_dict(..., assign=True)``.

    Raises:
        UnknownName: no such net or option; the message suggests near ones.
        ValueError: an option's value or the image size does not fit.
    """
    net = pick(name, NETS, "net")
    options = dict(options or {})
    known = list(inspect.signature(net.build).parameters)[2:]
    for key in options:
        if key not in known:
            raise near(key, known, f"option of {name}")
    try:
        with torch.device("meta") if seed is None else seeded(seed):
            layers = net.build(tuple(input_shape), classes, **options)
            network = nn.Sequential(OrderedDict(layers))
        _dry_run(network, input_shape)
    except (TypeError, ValueError, RuntimeError) as error:
        why = " ".join(str(error).split())
        raise ValueError(
            f"net {name} with options {options} for images {tuple(input_shape)}: {why}"
        ) from None
    return network.to("meta") if seed is None else network


@contextmanager
def seeded(seed: int, device: torch.device | str = "cpu") -> Iterator[None]:
    """torch's own random functions (initialisation, dropout) follow ``seed``; their state is restored at the end."""
    device = torch.device(device)
    kind = device.type if is_accelerator(device) else "cpu"
    own = [device] if is_accelerator(device) else []  # it draws its own numbers
    with torch.random.fork_rng(own, device_type=kind):
        torch.default_generator.manual_seed(seed)
        for other in own:
            accelerator.seed(seed, other)
        yield


def parameter_count(net: nn.Module) -> int:
    return sum(parameter.numel() for parameter in net.parameters())


def fold_norm(net: nn.Sequential) -> nn.Sequential:
    """Fold every batch norm that follows a convolution into it, in place: one step for what eval mode computes in two.

    Layers keep their names and outputs (to float rounding).
    """
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


def spatial_layers(
    net: nn.Sequential, input_shape: Shape
) -> dict[str, tuple[int, ...]]:
    """Shape (c, h, w) of every layer's output that has spatial extent (h w > 1), by name."""
    shapes = _dry_run(net, input_shape)
    return {
        name: shape
        for name, shape in shapes.items()
        if len(shape) == 3 and shape[1:] != (1, 1)
    }


def _dry_run(net: nn.Sequential, input_shape: Shape) -> dict[str, tuple[int, ...]]:
    """The output shape of each layer for one image; nothing is computed, since a batch of no images goes through."""
    shapes: dict[str, tuple[int, ...]] = {}
    modes = {module: module.training for module in net.modules()}
    z = torch.empty(0, *input_shape)
    with torch.no_grad():
        net.eval()
        for name, layer in net.named_children():
            state = layer.state_dict(keep_vars=True)
            blank = {k: torch.empty(v.shape, dtype=v.dtype) for k, v in state.items()}
            z = torch.func.functional_call(layer, blank, (z,))
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
        choices = ", ".join(ACTIVATIONS)
        raise ValueError(
            f"bias is first or all, activation one of {choices}, depth at least 1"
        )
    c, h, w = input_shape
    sizes = [c * h * w] + [width] * depth
    layers: Layers = {"flatten": nn.Flatten()}
    everywhere = bias == "all"
    for k in range(1, depth + 1):
        linear = nn.Linear(sizes[k - 1], sizes[k], bias=everywhere or k == 1)
        layers[f"fc{k}"] = nn.Sequential(linear, ACTIVATIONS[activation]())
    layers["logits"] = nn.Linear(width, classes, bias=everywhere)
    return layers


# --------------------------------------------------------------------------------------------- small and convolutional


@_net(layer="conv2")
def explainn_cnn(input_shape: Shape, classes: int, *, dropout: bool = True) -> Layers:
    """ExplaiNN B.1: conv 20, pool, conv 40, pool, dropout 0.25, FC 64, dropout 0.5, FC; 3x3 kernels. No padding (Keras'
    default). ``conv1`` and ``conv2`` are the activations after ReLU, before pooling.
    """
    c, h, w = input_shape
    flat = 40 * (((h - 2) // 2 - 2) // 2) * (((w - 2) // 2 - 2) // 2)
    layers: Layers = {
        "conv1": nn.Sequential(nn.Conv2d(c, 20, 3), nn.ReLU()),
        "pool1": nn.MaxPool2d(2),
        "conv2": nn.Sequential(nn.Conv2d(20, 40, 3), nn.ReLU()),
        "pool2": nn.MaxPool2d(2),
        "flatten": nn.Flatten(),
        "fc1": nn.Sequential(nn.Linear(flat, 64), nn.ReLU()),
        "logits": nn.Linear(64, classes),
    }
    if dropout:
        layers["flatten"] = nn.Sequential(nn.Dropout(0.25), layers["flatten"])
        layers["logits"] = nn.Sequential(nn.Dropout(0.5), layers["logits"])
    return layers


@_net(layer="pool2")
def xnn_cnn(input_shape: Shape, classes: int) -> Layers:
    """XNN Sec. 4.4: "a simple 2 layers CNN" (98.70 % on MNIST), explained at the last pooling layer. The paper gives no
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
    input_shape: Shape,
    classes: int,
    *,
    maps: Sequence[int] = (16, 32, 64, 64),
    hidden: int = 64,
) -> Layers:
    """From no paper: the smallest network here whose last convolution keeps a map worth looking at (6x6 for 48x48
    images) and is followed by a non-linear G. Blocks conv 3x3 - BatchNorm - ReLU with 2x2 max pooling between them.

    Args:
        maps: channels of each block.
        hidden: ReLU units between the pooled last block and the logits; 0: global average and a dense layer (then G is
            linear, and Grad-CAM is CAM).
    """
    c, h, w = input_shape
    layers: Layers = {}
    for k, m in enumerate(maps, start=1):
        layers[f"conv{k}"] = nn.Sequential(*_conv_norm(c, m, 1), nn.ReLU())
        if k < len(maps) or hidden:
            layers[f"pool{k}"] = nn.MaxPool2d(2)
            h, w = h // 2, w // 2
        c = m
    if hidden:
        layers["flatten"] = nn.Flatten()
        layers["fc1"] = nn.Sequential(nn.Linear(c * h * w, hidden), nn.ReLU())
        layers["logits"] = nn.Linear(hidden, classes)
    else:
        layers["pool"] = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        layers["logits"] = nn.Linear(c, classes)
    return layers


@_net(layer="conv3a", contiguous=True)
def vgg11(
    input_shape: Shape,
    classes: int,
    *,
    width: float = 1.0,
    resize: int | None = None,
    first_stride: int = 2,
) -> Layers:
    """ClaDec Table 1: eight blocks conv 3x3 (no bias) - BatchNorm - ReLU, stride 2 in place of pooling, dropout 0.5,
    one dense layer. At 32x32: conv2a 8x8, conv2 and conv3a 4x4, conv3 and conv4a 2x2, conv4 1x1; 4.66 M parameters.

    Args:
        width: factor on the number of channels.
        resize: side in pixels to which images are first resized by nearest neighbour (the authors: 28 -> 32), as layer
            ``resize``.
        first_stride: of conv0. 1 makes every map twice as high and wide: more accurate on photographs (CIFAR), at four
            times the work.
    """
    plan = [
        ("conv0", 32, first_stride),
        ("conv1", 64, 2),
        ("conv2a", 128, 1),
        ("conv2", 128, 2),
        ("conv3a", 256, 1),
        ("conv3", 256, 2),
        ("conv4a", 512, 1),
        ("conv4", 512, 2),
    ]
    c, h, w = input_shape
    layers: Layers = {}
    if resize is not None:
        layers["resize"] = nn.Upsample(size=(resize, resize))
        h = w = resize
    for name, maps, stride in plan:
        maps = max(1, round(width * maps))
        layers[name] = nn.Sequential(*_conv_norm(c, maps, stride), nn.ReLU())
        c, h, w = maps, -(-h // stride), -(-w // stride)
    layers["flatten"] = nn.Flatten()
    layers["logits"] = nn.Sequential(nn.Dropout(0.5), nn.Linear(c * h * w, classes))
    return layers


@_net(layer="stage4")
def resnet10(
    input_shape: Shape, classes: int, *, width: float = 1.0, resize: int | None = None
) -> Layers:
    """ClaDec's ResNet-10 (the authors' resnet.py): stem, four stages of one basic block with 64-128-256-512 maps and
    strides 1-2-2-2, global average, dense layer without bias; He-uniform initialisation. ``width``, ``resize``: as
    vgg11.
    """
    maps = [max(1, round(width * m)) for m in (64, 64, 128, 256, 512)]
    layers: Layers = {}
    if resize is not None:
        layers["resize"] = nn.Upsample(size=(resize, resize))
    layers["stem"] = nn.Sequential(*_conv_norm(input_shape[0], maps[0], 1), nn.ReLU())
    for k in range(1, 5):
        layers[f"stage{k}"] = BasicBlock(
            maps[k - 1], maps[k], stride=1 if k == 1 else 2
        )
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
        return self.relu(self.residual(z) + self._shortcut(z))

    def _shortcut(self, z: Tensor) -> Tensor:
        return F.pad(self.shrink(z), (0, 0, 0, 0, 0, self.added))


def _conv_norm(c: int, maps: int, stride: int) -> tuple[nn.Module, nn.Module]:
    """A 3x3 convolution from c channels to ``maps``, and its batch norm."""
    conv = Conv(c, maps, 3, stride, padding=1, bias=False)
    return conv, nn.BatchNorm2d(maps)


class Conv(nn.Conv2d):
    """A convolution that computes as a dense layer where that is faster: on a CPU, without gradients, on tiny maps.

    On a map with fewer pixels than the kernel most taps read padding, and the matrix of the whole map,
    (o h' w', c h w), is smaller than the convolution. In oneDNN's layout it is 2 to 4 times faster, equal to rounding.
    """

    def forward(self, z: Tensor) -> Tensor:
        if not self._is_dense(z):
            return super().forward(z)
        matrix, shape = self._matrix(z)
        y = F.linear(z.flatten(1).to_mkldnn(), matrix).to_dense()
        y = y.view(-1, *shape)  # (n, o, h', w')
        return y if self.bias is None else y.add_(self.bias[:, None, None])

    def _matrix(self, z: Tensor) -> tuple[Tensor, torch.Size]:
        """The matrix for maps like z, and the shape (o, h', w') of the output; kept until the weights change."""
        known = _DENSE.get(self)
        if known is not None:
            weight, version, shape_in, matrix, shape = known
            unchanged = weight is self.weight and version == weight._version
            if unchanged and shape_in == z.shape[1:]:
                return matrix, shape
        unit = torch.eye(z[0].numel()).view(
            -1, *z.shape[1:]
        )  # each pixel alone, (c h w, c, h, w)
        response = self._conv_forward(unit, self.weight, None)  # (c h w, o, h', w')
        matrix = response.flatten(1).T.contiguous().to_mkldnn()
        shape = response.shape[1:]
        _DENSE[self] = self.weight, self.weight._version, z.shape[1:], matrix, shape
        return matrix, shape

    def _is_dense(self, z: Tensor) -> bool:
        if z.ndim != 4 or not len(z):
            return False
        pixels, taps = (
            z.shape[2] * z.shape[3],
            self.kernel_size[0] * self.kernel_size[1],
        )
        if not 0 < pixels < taps:
            return False
        if torch.is_grad_enabled() or torch._C._are_functorch_transforms_active():
            return False
        # A call may bring other weights (functional_call); these are not kept.
        own = isinstance(self.weight, nn.Parameter) and not self.weight.is_inference()
        float32 = (
            z.dtype == self.weight.dtype == torch.float32 and z.device.type == "cpu"
        )
        return own and float32 and torch.backends.mkldnn.is_available()


# Beside the module, because oneDNN's layout cannot be copied:
# conv -> weight, its version, shape of the input, matrix, shape of the output.
_DENSE: WeakKeyDictionary[Conv, tuple] = WeakKeyDictionary()


# --------------------------------------------------------------------------------------------- torchvision's


def _vgg(name: str, input_shape: Shape, classes: int, norm: bool) -> Layers:
    """torchvision's VGG cut into conv<block>_<i>, pool<block>, flatten, fc6, fc7, logits."""
    from torchvision import models  # here, because it takes two seconds to import

    net = getattr(models, name)(num_classes=classes)
    layers: Layers = {}
    block, i = 1, 1
    for module in net.features:
        if isinstance(module, nn.Conv2d):
            last = f"conv{block}_{i}"
            layers[last] = nn.Sequential(module, nn.ReLU())
            i += 1
        elif isinstance(module, nn.MaxPool2d):
            layers[f"pool{block}"] = module
            block, i = block + 1, 1
    if norm:
        c, h, w = (
            net.features[-3].out_channels,
            input_shape[1] // 16,
            input_shape[2] // 16,
        )
        layers[last] += nn.Sequential(
            nn.Flatten(), nn.BatchNorm1d(c * h * w), nn.Unflatten(1, (c, h, w))
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
def squeezenet1_0(
    input_shape: Shape, classes: int, *, relu: bool = True, dense: int = 0
) -> Layers:
    """torchvision's SqueezeNet 1.0, layers named as in its paper; ``fire9`` is 512x13x13 at 224x224.

    Args:
        relu: whether conv10, the map of each class, is rectified before it is averaged to the logit.
        dense: units of ``fc10``, a ReLU layer on the average of fire9 in place of conv10; 0: none. It is for methods
            that explain a dense layer (XNN).
    """
    from torchvision import models

    net = models.squeezenet1_0(num_classes=classes)
    drop, conv10, rectify, average = net.classifier
    names = ["pool1", "fire2", "fire3", "fire4", "pool4"]
    names += ["fire5", "fire6", "fire7", "fire8", "pool8", "fire9"]
    layers: Layers = {"conv1": net.features[:2]}
    layers |= dict(zip(names, net.features[2:], strict=True))
    if dense:
        return layers | {
            "pool9": nn.Sequential(average, nn.Flatten()),
            "fc10": nn.Sequential(nn.Linear(512, dense), nn.ReLU()),
            "logits": nn.Sequential(drop, nn.Linear(dense, classes)),
        }
    conv10 = (
        nn.Sequential(drop, conv10, rectify) if relu else nn.Sequential(drop, conv10)
    )
    return layers | {"conv10": conv10, "logits": nn.Sequential(average, nn.Flatten())}


def from_torchvision(name: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """torchvision's state dict under the names of ``build(name, ...)``, without the classifier's last layer.

    Raises:
        ValueError: tensors are missing, or have other shapes than the network's.
    """
    from torchvision import models

    with torch.device("meta"):
        theirs = getattr(models, name)().state_dict()
    ours = build(name, (3, 224, 224), 1000).state_dict()
    wrong = [
        key
        for key, value in theirs.items()
        if key not in state or state[key].shape != value.shape
    ]
    if wrong:
        raise ValueError(
            f"not a state dict of torchvision's {name}: "
            f"{', '.join(wrong[:3])} missing or of another shape"
        )
    # Cutting into layers keeps the order; the last two are the weight and bias of the last layer.
    pairs = list(zip(ours, theirs, strict=True))[:-2]
    return {our: state[their] for our, their in pairs}
