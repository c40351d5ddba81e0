"""The pretend accelerator itself: it refuses what CUDA refuses, and keeps what CUDA keeps."""

import gc

import pytest
import torch
from torch import nn
from torch.func import functional_call, stack_module_state

from benchmark.api import torch_rng
from benchmark.engine import machine
from benchmark.utils import accelerator, devices
from benchmark.utils.errors import UsageError
from benchmark.utils.seeds import generator
from benchmark.zoo.nets import seeded
from tests.helpers import pretend


@pytest.fixture
def device(monkeypatch):
    monkeypatch.delenv("GLASSBENCH_DEVICE", raising=False)
    with pretend.device() as found:
        yield found


@pytest.mark.parametrize(
    "make",
    [
        lambda there: torch.zeros(3, **there),
        lambda there: torch.arange(1, 4, **there),
        lambda there: torch.tensor([1.0, 2.0], **there),
        lambda there: torch.eye(2, **there),
        lambda there: torch.randperm(4, **there),
        lambda there: torch.linspace(0, 1, 3, **there),
        lambda there: torch.ones(3).to(**there),
        lambda there: torch.ones(3).to(**there)[torch.tensor([0])],
        lambda there: torch.ones(3).to(**there) * torch.tensor(2.0),
        lambda there: torch.ones(2, 3).to(**there).double().new_zeros(2),
        lambda there: torch.ones(3).to(**there) @ torch.ones(3, 2).to(**there),
    ],
)
def test_its_tensors_say_where_they_are(device, make):
    made = make({"device": "pretend"})
    assert str(made.device) == "pretend:0" and made.cpu().device.type == "cpu"


@pytest.mark.parametrize(
    ("mix", "why"),
    [
        (lambda x: x + torch.ones(3), "same device"),
        (lambda x: torch.ones(3)[x.long()], "same device"),
        (lambda x: torch.cat([x, torch.ones(3)]), "same device"),
        (lambda x: nn.Linear(3, 2)(x), "same device"),
        (lambda x: x.numpy(), "numpy"),
        (lambda x: x.normal_(generator=torch.Generator()), "generator"),
        (lambda x: torch.rand(2, generator=torch.Generator(), device=x.device), "gen"),
    ],
)
def test_it_refuses_what_cuda_refuses(device, mix, why):
    with pytest.raises((RuntimeError, TypeError), match=why):
        mix(torch.ones(3, device="pretend"))


def test_outside_torch_has_the_cpu_alone():
    with pretend.device():
        assert devices.kinds() == ["cpu", "pretend"]
    assert "pretend" not in devices.kinds()
    assert torch.Generator is torch._C.Generator


def test_layouts_are_kept(device):
    last = torch.channels_last
    x = torch.rand(2, 3, 4, 5)
    conv = nn.Conv2d(3, 4, 3).to("pretend", memory_format=last)
    for moved in (x.to("pretend", memory_format=last), x.to("pretend").to(x.dtype)):
        z = conv(moved)
        assert z.is_contiguous(memory_format=last)
    assert conv.weight.is_contiguous(memory_format=last)
    assert x.mT.to("pretend").stride() == x.mT.stride()


def test_gradients_and_optimisers_give_what_the_cpu_gives(device):
    found = []
    for place in ("cpu", "pretend"):
        with seeded(0):
            net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout())
        net = net.to(place)
        optimiser = torch.optim.Adam(net.parameters(), lr=0.1)
        with seeded(1, place):
            for _ in range(3):
                net(torch.ones(2, 3, 5, 5, device=place)).square().sum().backward()
                optimiser.step()
        found.append({k: v.cpu() for k, v in net.state_dict().items()})
    assert all(torch.equal(found[0][key], found[1][key]) for key in found[0])


def test_under_autocast_products_are_in_bfloat16_where_it_is_asked_for(device):
    nets = [nn.Linear(4, 3, bias=False).to("pretend") for _ in range(2)]
    x, types = torch.rand(2, 5, 4, device="pretend"), []
    stacked = stack_module_state(nets)
    call = torch.vmap(lambda p, b, x: functional_call(nets[0], (p, b), (x,)))
    for device.bfloat16 in (False, True):
        with accelerator.bfloat16(x.device):
            out = call(*stacked, x)
            types += [nets[0](x[0]).dtype, out.dtype, out.softmax(2).dtype]
    float32, bfloat16 = torch.float32, torch.bfloat16
    assert types == [float32, float32, float32, bfloat16, bfloat16, float32]
    with accelerator.bfloat16("cpu"):
        assert nn.Linear(4, 3)(torch.rand(5, 4)).dtype == float32


def test_its_random_numbers_follow_a_seed_and_are_given_back(device):
    def draw():
        return torch.rand(3, device="pretend").tolist()

    before = torch.get_rng_state(), device.get_rng_state()
    with seeded(7, "pretend"):
        first = draw()
    with seeded(7, "pretend:0"):
        assert first == draw() != draw()
    after = torch.get_rng_state(), device.get_rng_state()
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    rng = torch_rng(generator("a"), "pretend")
    assert torch.rand(2, device="pretend", generator=rng).device == pretend.DEVICE


def test_it_tells_its_memory(device):
    device.memory = 10**6
    x = torch.zeros(25_000, device="pretend")  # 100 kB
    y = (x + 1)[:10]
    assert device.memory_allocated() == 200_000
    assert accelerator.free_memory("pretend") == 800_000
    del x, y
    gc.collect()
    assert accelerator.free_memory("pretend") == 10**6
    machine.reset_peak_memory()
    torch.zeros(50_000, device="pretend")
    assert machine.peak_memory() == 200_000 / 1e9


def test_the_machine_says_what_it_computes_on(device, monkeypatch):
    assert machine.device() == "pretend" and machine.device_name() == "Pretend 1"
    assert machine.default_workers() == 1
    monkeypatch.setenv("GLASSBENCH_DEVICE", "cpu")
    assert machine.device() == machine.device_name() == "cpu"


@pytest.mark.parametrize("asked", ["gpu", "cuda:x", "pretend:7", "cpu:3", "Pretend"])
def test_a_device_that_is_not_there_is_one_line(device, monkeypatch, asked):
    monkeypatch.setenv("GLASSBENCH_DEVICE", asked)
    line = f"GLASSBENCH_DEVICE={asked}: this machine's torch has cpu and pretend$"
    with pytest.raises(UsageError, match=line):
        machine.device()


@pytest.mark.parametrize("asked", ["cpu", "pretend", "pretend:0"])
def test_a_device_that_is_there_is_taken(device, monkeypatch, asked):
    monkeypatch.setenv("GLASSBENCH_DEVICE", asked)
    assert machine.device() == asked
