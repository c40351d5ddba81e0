"""Networks as users bring them, small and untrained: those that can be explained, and those that cannot."""

import torch
import torch.nn.functional as F
import torchvision
from torch import nn

CLASSES = "abcde"
SIDE = 32
SHAPE = (3, SIDE, SIDE)


def seeded(build):
    """The network with weights of a fixed seed, none of which is 0 throughout."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = build()
        for module in net.modules():
            if isinstance(module, nn.Linear) and not module.weight.any():
                nn.init.normal_(module.weight)
    return net.eval()


class UNet(nn.Module):
    """Up and down with a skip; the mean of its maps is the answer."""

    def __init__(self):
        super().__init__()
        self.down1 = nn.Conv2d(3, 8, 3, padding=1)
        self.down2 = nn.Conv2d(8, 16, 3, stride=2, padding=1)
        self.up = nn.ConvTranspose2d(16, 8, 2, stride=2)
        self.out = nn.Conv2d(16, 5, 1)

    def forward(self, x):
        skip = self.down1(x).relu()
        deep = self.down2(skip).relu()
        both = torch.cat([skip, self.up(deep)], 1)
        return self.out(both).mean((2, 3))


class Residual(nn.Module):
    """A block that adds in place, as torchvision's do, and is followed by a change in place."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.branch = nn.Conv2d(8, 8, 3, padding=1)
        self.pool = nn.AvgPool2d(2)
        self.fc = nn.Linear(8 * 8 * 8, 5)

    def forward(self, x):
        a = self.stem(x)
        b = self.branch(a)
        b += a
        z = self.pool(b)
        z.relu_()
        return self.fc(z.flatten(1))


class Functional(nn.Module):
    """One module; all else are functions and bare parameters."""

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.randn(6, 3, 3, 3) / 5)
        self.v = nn.Parameter(torch.randn(8, 6, 3, 3) / 5)
        self.u = nn.Parameter(torch.randn(5, 8))
        self.maps = nn.Identity()

    def forward(self, x):
        z = F.conv2d(x, self.w, stride=2).relu()
        z = self.maps(F.max_pool2d(F.conv2d(z, self.v).relu(), 2))
        return z.mean((2, 3)) @ self.u.T


class Counting(nn.Module):
    """It looks at the number of images on the way."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 4, stride=4)
        self.fc = nn.Linear(8 * 64, 5)

    def forward(self, x):
        n = x.shape[0]
        return self.fc(self.conv(x).relu().view(n, -1))


class Patches(nn.Module):
    """A transformer without a class token: the mean of its tokens is the answer."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Conv2d(3, 16, 8, stride=8)
        layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
        self.blocks = nn.ModuleList([layer, nn.Identity()])
        self.head = nn.Linear(16, 5)

    def forward(self, x):
        z = self.embed(x).flatten(2).mT
        for block in self.blocks:
            z = block(z)
        return self.head(z.mean(1))


class OwnSequential(nn.Sequential):
    """A Sequential with a forward pass of its own."""

    def forward(self, x):
        return self[1](self[0](x).relu().mean((2, 3)))


def vit():
    return torchvision.models.vision_transformer.VisionTransformer(
        SIDE, 8, 3, 4, 32, 64, num_classes=5
    )


def swin():
    return torchvision.models.swin_transformer.SwinTransformer(
        [4, 4], 16, [1, 1], [2, 2], [4, 4], num_classes=5
    )


def densenet():
    return torchvision.models.DenseNet(8, (2, 2), 16, num_classes=5)


def resnet():
    from torchvision.models.resnet import BasicBlock, ResNet

    return ResNet(BasicBlock, [1, 1, 1, 1], num_classes=5)


def bottleneck():
    from torchvision.models.resnet import Bottleneck, ResNet

    return ResNet(Bottleneck, [1, 1, 1, 1], num_classes=5)


def twice():
    """A chain in which one module stands twice."""
    relu = nn.ReLU()
    pool = nn.AdaptiveAvgPool2d(1)
    conv1, conv2 = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 5, 3)
    return nn.Sequential(conv1, relu, conv2, relu, pool, nn.Flatten())


def of_torchvision(name):
    return lambda: getattr(torchvision.models, name)(num_classes=5)


# name: (how it is built, the last layer with positions, the shape of its maps)
GOOD = {
    "resnet": (resnet, "layer3", (256, 2, 2)),
    "bottleneck": (bottleneck, "layer3", (1024, 2, 2)),
    "mobilenet": (
        of_torchvision("mobilenet_v3_small"),
        "features.9.block.0",
        (288, 2, 2),
    ),
    "densenet": (densenet, "features", (32, 4, 4)),
    "squeezenet": (of_torchvision("squeezenet1_1"), "features.7", (256, 3, 3)),
    "shufflenet": (of_torchvision("shufflenet_v2_x0_5"), "stage3", (96, 2, 2)),
    "vit": (vit, "encoder.layers.encoder_layer_1", (32, 4, 4)),
    "swin": (swin, "permute", (32, 4, 4)),
    "patches": (Patches, "blocks.1", (16, 4, 4)),
    "unet": (UNet, "out", (5, 32, 32)),
    "residual": (Residual, "pool", (8, 8, 8)),
    "functional": (Functional, "maps", (8, 6, 6)),
    "counting": (Counting, "conv", (8, 8, 8)),
    "own Sequential": (
        lambda: OwnSequential(nn.Conv2d(3, 8, 3), nn.Linear(8, 5)),
        "0",
        (8, 30, 30),
    ),
    "twice": (twice, "2", (5, 28, 28)),
}
