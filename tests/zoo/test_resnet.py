"""The residual network against torchvision's."""

import pytest
import torch
import torchvision
from torch import nn

from benchmark.zoo import nets


def test_it_is_torchvisions_resnet18_with_another_stem():
    ours = nets.build("resnet", (3, 32, 32), 7, seed=0)
    theirs = torchvision.models.resnet18(num_classes=7)
    theirs.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
    theirs.maxpool = nn.Identity()
    state = ours.state_dict().values()
    theirs.load_state_dict(dict(zip(theirs.state_dict(), state, strict=True)))
    x = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    expected = theirs.eval()(x)
    assert torch.allclose(ours.eval()(x), expected, atol=1e-5)
    assert expected.std() > 0
    ours, theirs = nets.fold_norm(ours), ours(x)
    assert torch.allclose(ours(x), theirs, atol=1e-4)


@pytest.mark.parametrize(
    "options", [{"maps": [4, 8]}, {"maps": [4, 8], "blocks": [1, 1]}]
)
def test_too_few_stages_are_refused(options):
    with pytest.raises(ValueError, match="for each stage"):
        nets.build("resnet", (3, 16, 16), 3, options)
