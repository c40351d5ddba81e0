#!/usr/bin/env bash
# Behind a dynamically quantised nn.Linear, backward() of torch raises nothing and gives nothing a gradient.
#
# Expected: logits that no gradient flows through say requires_grad=False, so that backward() raises ("does not require grad and
#           does not have a grad_fn"), or the quantised layer itself raises in backward().
# Seen:     torch 2.15.0, quantize_dynamic of a convolution, ReLU and nn.Linear: the logits require a gradient and have a grad_fn,
#           backward() passes, and the image's gradient is None, as are those of the convolution's weights, which are float32 and
#           would train. Only torch.autograd.grad says that the image was not used in the graph. Of the float network both exist.
# Matters:  what explains a network by hooks on gradients (Grad-CAM) waits for one that never comes, and a training step leaves the
#           weights before the quantised layer as they are; whether logits require a gradient does not tell if there is one.
# Source:   the calls below. For contrast, under no_grad, or with frozen weights and image, the logits do say requires_grad=False.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/python -m pip install -qq --disable-pip-version-check torch==2.15.0 numpy==2.4.6
cat > show.py <<'PY'
import torch
from torch import nn

torch.manual_seed(0)
net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8, 2)).eval()
quantised = torch.ao.quantization.quantize_dynamic(net, {nn.Linear}).eval()
image = torch.rand(1, 1, 4, 4)
print(torch.__version__.partition("+")[0])
for name, f in (("float", net), ("quantised", quantised)):
    x = image.clone().requires_grad_()
    z = f(x)
    z[:, 0].sum().backward()
    print(name, "requires_grad", z.requires_grad, "image's gradient", x.grad is not None,
          "weights' gradient", f[0].weight.grad is not None)
x = image.clone().requires_grad_()
try:
    torch.autograd.grad(quantised(x)[:, 0].sum(), x)
    print("autograd.grad passes")
except RuntimeError as error:
    print("autograd.grad:", "not have been used in the graph" in str(error))
with torch.no_grad():
    print("no_grad:", quantised(image).requires_grad)
quantised.requires_grad_(False)
print("frozen:", quantised(image).requires_grad)
PY
env/bin/python -W ignore show.py 2> err | tee seen || { cat err; exit 1; }
expected="2.15.0
float requires_grad True image's gradient True weights' gradient True
quantised requires_grad True image's gradient False weights' gradient False
autograd.grad: True
no_grad: False
frozen: False"
[ "$(cat seen)" = "$expected" ] && echo "as described" && exit 0
echo "this has changed" && exit 1
