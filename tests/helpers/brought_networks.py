"""Functions that return networks, as a user's file has them: one that can be explained, and many that cannot."""

import torch
import torch.nn.functional as F
from torch import nn


class Net(nn.Module):
    """A stem, a shared ReLU, a block with a way around it, and dense logits; ``forward`` may be changed."""

    def __init__(self, outputs=3, width=6):
        super().__init__()
        self.stem = nn.Conv2d(3, width, 3, stride=2, padding=1)
        self.relu = nn.ReLU()
        self.branch = nn.Conv2d(width, width, 3, padding=1)
        self.maps = nn.Conv2d(width, width, 3, stride=2, padding=1)
        self.auxiliary = nn.Linear(4, 4)
        self.rnn = nn.LSTM(width, width, batch_first=True)
        self.time = nn.Identity()
        self.fc = nn.Linear(width, outputs)

    def body(self, x):
        z = self.relu(self.stem(x))
        z = self.relu(z + self.branch(z))
        return self.maps(z)

    def forward(self, x):
        tokens = self.body(x).flatten(2).mT
        out, _ = self.rnn(tokens)
        last = self.time(out.transpose(0, 1))[-1]
        return self.fc(last)


def build(**options):
    return Net(**options)


def eleven():
    return Net(11)


def lazy():
    return nn.Sequential(
        nn.LazyConv2d(4, 3), nn.AvgPool2d(14), nn.Flatten(), nn.LazyLinear(3)
    )


def thousand():
    return Net(1000)


def grey():
    net = Net()
    net.stem = nn.Conv2d(1, 6, 3, stride=2, padding=1)
    return net


class Brightest(nn.Module):
    """Tells images by their brightest channel, 0 the last one: what it expects of them is ``expected``."""

    def __init__(self, expected):
        super().__init__()
        self.expected = expected
        self.maps = nn.AvgPool2d(4)

    def forward(self, x):
        z = self.maps(x)
        return self.expected(z.mean((2, 3)))


def reads_red_before_blue():
    return Brightest(lambda z: z.flip(1))


def reads_blue_before_red():
    return Brightest(lambda z: z)


def reads_bytes():
    return Brightest(lambda z: z.flip(1).clamp(min=1) + 1e-3 * z)


def reads_imagenet():
    """The first class wins unless a channel lies above its mean."""

    def expected(z):
        means = z.new_tensor([0.485, 0.456, 0.406])
        stds = z.new_tensor([0.229, 0.224, 0.225])
        return (z * stds + means).flip(1) - (z > 0).all(1, keepdim=True) * z.new_tensor(
            [[0, 9, 9]]
        )

    return Brightest(expected)


def returns_a_dict():
    return _changed(lambda self, x: {"logits": Net.forward(self, x)})


def returns_a_tuple():
    return _changed(lambda self, x: (Net.forward(self, x), None))


def returns_the_class():
    return _changed(lambda self, x: Net.forward(self, x).argmax(1))


def returns_maps():
    return _changed(lambda self, x: self.body(x))


def returns_nan():
    return _changed(lambda self, x: Net.forward(self, x) / 0.0 * 0.0)


def returns_probabilities():
    return _changed(lambda self, x: Net.forward(self, x).softmax(1))


def returns_a_constant():
    return _changed(lambda self, x: 0 * Net.forward(self, x) + 1)


def hardly_differs():
    return _changed(lambda self, x: 1e-5 * Net.forward(self, x) + torch.arange(3.0))


class UNet(nn.Module):
    """A classifier with a way up again, whose last maps are as large as the image."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 8, 2, 2)
        self.up = nn.ConvTranspose2d(8, 4, 2, 2)
        self.last = nn.Conv2d(8, 5, 3, padding=1)
        self.fc = nn.Linear(5, 3)

    def forward(self, x):
        a = self.first(x).relu()
        b = self.up(self.second(a).relu())
        return self.fc(self.last(torch.cat([a, b], 1)).relu().mean((2, 3)))


class Mixer(nn.Module):
    """An MLP over tokens, and one over channels."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 4, 4)
        self.tokens, self.channels = nn.Linear(16, 16), nn.Linear(6, 6)
        self.norm = nn.LayerNorm(6)
        self.fc = nn.Linear(6, 3)

    def forward(self, x):
        z = self.stem(x).flatten(2)
        z = (z + self.tokens(z)).mT
        return self.fc(self.norm(z + self.channels(z)).mean(1))


class Frequencies(nn.Module):
    """Filters in the frequency domain, as in global filter networks."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 4, 4)
        self.filter = nn.Parameter(torch.randn(6, 4, 3, 2))
        self.fc = nn.Linear(6, 3)

    def forward(self, x):
        z = torch.fft.rfft2(self.stem(x)) * torch.view_as_complex(self.filter)
        return self.fc(torch.fft.irfft2(z, s=(4, 4)).relu().mean((2, 3)))


class Ensemble(nn.Module):
    def __init__(self):
        super().__init__()
        self.members = nn.ModuleList([Mixer(), Mixer()])

    def forward(self, x):
        return torch.stack([member(x) for member in self.members]).mean(0)


class Experts(nn.Module):
    """Bright images go one way, dark ones another."""

    def __init__(self):
        super().__init__()
        self.bright, self.dark = nn.Conv2d(3, 6, 3), nn.Conv2d(3, 6, 3)
        self.fc = nn.Linear(6, 3)

    def forward(self, x):
        is_bright = x.mean((1, 2, 3)) > 0.25
        parts = x.new_zeros(len(x), 6, *(side - 2 for side in x.shape[2:]))
        for way, rows in ((self.bright, is_bright), (self.dark, ~is_bright)):
            if rows.any():
                parts = parts.index_put((rows,), way(x[rows]))
        return self.fc(parts.relu().mean((2, 3)))


def experts():
    return Experts()


def normalises_by_the_batch():
    scale = lambda x: 1 + (x.amin() >= 0) * x.mean()  # noise has values below 0
    pooled = lambda self, x: self.body(scale(x) * x).mean((2, 3))
    return _changed(lambda self, x: self.fc(pooled(self, x)))


def takes_a_dict():
    return _changed(lambda self, batch: Net.forward(self, batch["pixel_values"]))


def takes_a_keyword():
    return _changed(lambda self, *, pixel_values: Net.forward(self, pixel_values))


def has_no_gradients():
    return _changed(torch.no_grad()(lambda self, x: Net.forward(self, x)))


def has_a_frozen_backbone():
    return _changed(lambda self, x: self.fc(self.body(x).detach().mean((2, 3))))


class Exported(Net):
    """As torch.export.export(...).module()."""

    def train(self, mode=True):
        raise NotImplementedError("Calling train() is not supported yet.")

    def eval(self):
        raise NotImplementedError("Calling eval() is not supported yet.")


def exported():
    return Exported()


def needs_two_inputs():
    return _changed(lambda self, x, mask: Net.forward(self, x))


def draws_at_random():
    return _changed(lambda self, x: F.dropout(Net.forward(self, x)))


def keeps_a_buffer():
    def forward(self, x):
        self.seen += 1
        return Net.forward(self, x)

    net = _changed(forward)
    net.register_buffer("seen", torch.zeros(1))
    return net


def keeps_state():
    def forward(self, x):
        self.last = Net.forward(self, x) + getattr(self, "last", 0)
        return self.last

    return _changed(forward)


def compares_images():
    net = Net()
    net.maps = nn.Sequential(net.maps, nn.BatchNorm2d(6, track_running_stats=False))
    return net


def of_another_size():
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 64 * 64, 3))


def in_half_precision():
    return Net().half()


def scripted():
    return torch.jit.script(of_another_size())


def no_network():
    return Net().state_dict()


def fails():
    raise RuntimeError("no such file:\n backbone.pt")


def _changed(forward):
    kind = type("Changed", (Net,), {"forward": forward})
    return kind()
