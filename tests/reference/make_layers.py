"""Writes layers.npz: what PyTorch's layers give, forward and backward, in the cases below.

    pip install torch==2.13.0 numpy
    python tests/reference/make_layers.py

PyTorch is needed here and nowhere else: the tests read the cases from this file and PyTorch's answers from the
archive. A case is a function of a module, called with ``torch.nn`` here and with ``vugrad.nn`` there.
"""

from __future__ import annotations

import collections
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np

ARCHIVE = pathlib.Path(__file__).with_name("layers.npz")
LAYERS: dict[str, tuple[tuple[int, ...], Callable[[Any], Any]]] = {  # the shape of a batch, and the layer
    "linear": ((4, 3), lambda nn: nn.Linear(3, 2)),
    "linear-stack": ((2, 4, 3), lambda nn: nn.Linear(3, 2, bias=False)),
    "conv": ((2, 3, 6, 5), lambda nn: nn.Conv2d(3, 4, 3)),
    "conv-rectangle": ((2, 3, 6, 7), lambda nn: nn.Conv2d(3, 4, (2, 5), bias=False)),
    "conv-stride": ((2, 3, 8, 7), lambda nn: nn.Conv2d(3, 4, 3, stride=2)),
    "conv-strides": ((2, 2, 8, 9), lambda nn: nn.Conv2d(2, 3, (3, 2), stride=(2, 3))),
    "conv-padding": ((2, 3, 5, 5), lambda nn: nn.Conv2d(3, 4, 3, padding=1)),
    "conv-all": ((2, 4, 7, 6), lambda nn: nn.Conv2d(4, 6, 3, stride=(2, 1), padding=(1, 2), groups=2)),
    "conv-depthwise": ((2, 3, 5, 5), lambda nn: nn.Conv2d(3, 6, 3, groups=3)),
    "conv-one": ((1, 1, 2, 2), lambda nn: nn.Conv2d(1, 1, 2)),
    "max-pool": ((2, 3, 6, 5), lambda nn: nn.MaxPool2d(2)),
    "max-pool-all": ((2, 3, 7, 8), lambda nn: nn.MaxPool2d((3, 2), stride=(2, 1), padding=(1, 0))),
    "avg-pool": ((2, 3, 6, 5), lambda nn: nn.AvgPool2d(2)),
    "avg-pool-all": ((2, 3, 7, 8), lambda nn: nn.AvgPool2d((3, 2), stride=(2, 1), padding=(1, 0))),
    "batch-norm-1d": ((6, 3), lambda nn: nn.BatchNorm1d(3)),
    "batch-norm-1d-sequence": ((4, 3, 5), lambda nn: nn.BatchNorm1d(3, eps=1e-2, momentum=0.3)),
    "batch-norm-2d": ((3, 2, 4, 3), lambda nn: nn.BatchNorm2d(2)),
    "layer-norm": ((4, 5), lambda nn: nn.LayerNorm(5)),
    "layer-norm-two-axes": ((3, 2, 4), lambda nn: nn.LayerNorm((2, 4), eps=1e-2)),
    "sigmoid": ((4, 3), lambda nn: nn.Sigmoid()),
    "tanh": ((4, 3), lambda nn: nn.Tanh()),
    "relu": ((4, 3), lambda nn: nn.ReLU()),
    "leaky-relu": ((4, 3), lambda nn: nn.LeakyReLU(0.2)),
    "elu": ((4, 3), lambda nn: nn.ELU(1.5)),
    "gelu": ((4, 3), lambda nn: nn.GELU()),
    "silu": ((4, 3), lambda nn: nn.SiLU()),
    "softplus": ((4, 3), lambda nn: nn.Softplus()),
    "softmax": ((4, 3), lambda nn: nn.Softmax(dim=1)),
    "log-softmax": ((4, 3), lambda nn: nn.LogSoftmax(dim=0)),
    "cnn": (
        (2, 1, 8, 8),
        lambda nn: nn.Sequential(
            nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(18, 3)
        ),
    ),
}


def modes(case: str) -> list[bool]:
    """Whether the layer is in train mode, for each batch: two and one in eval mode where batches leave a trace."""
    return [True, True, False] if "batch-norm" in case or case == "cnn" else [True]


def main() -> None:
    import torch

    stored: dict[str, Any] = {}
    for seed, (case, (shape, make)) in enumerate(LAYERS.items()):
        rng = np.random.default_rng(seed)
        layer = make(torch.nn).double()
        for name, array in layer.named_parameters():
            array.data = torch.from_numpy(rng.standard_normal(array.shape))
            stored[f"{case}/{name}"] = array.detach().numpy().copy()
        found: dict[str, list[Any]] = collections.defaultdict(list)
        for training in modes(case):
            layer.train(training).zero_grad()
            x = torch.from_numpy(rng.standard_normal(shape)).requires_grad_()
            y = layer(x)
            gy = torch.from_numpy(rng.standard_normal(y.shape))
            y.backward(gy)
            arrays = {"x": x.detach(), "y": y.detach(), "gx": x.grad, "gy": gy}
            arrays |= {f"g {name}": array.grad for name, array in layer.named_parameters()}
            arrays |= {name: array for name, array in layer.named_buffers() if array.dtype.is_floating_point}
            for name, array in arrays.items():
                found[name].append(array.numpy().copy())
        stored |= {f"{case}/{name}": np.stack(arrays) for name, arrays in found.items()}
    np.savez_compressed(ARCHIVE, **stored)


if __name__ == "__main__":
    main()
