"""Writes pytorch/: networks' weights as PyTorch saves them, and what its layers make of an input, one by one.

    pip install torch==2.13.0 numpy safetensors
    python tests/reference/pytorch_weights.py
    PYTHONPATH=src python tests/reference/pytorch_weights.py --check

The second command needs vugrad too: it has PyTorch load what ``vg.save_state`` writes, and compares the outputs.
PyTorch is needed here and nowhere else. A network is a function of a module, called with ``torch.nn`` here and with
``vugrad.nn`` there.
"""

from __future__ import annotations

import pathlib
import sys
import tempfile
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

FOLDER = pathlib.Path(__file__).with_name("pytorch")
OUTPUTS = FOLDER / "outputs.npz"


def mlp(nn: Any) -> Any:
    if hasattr(nn, "MLP"):
        return nn.MLP([6, 5, 5, 3], batch_norm=True, dropout=0.5)
    block = [part for n in (6, 5) for part in (nn.Linear(n, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Dropout(0.5))]
    return nn.Sequential(*block, nn.Linear(5, 3))


def lenet(nn: Any) -> Any:
    if hasattr(nn, "LeNet"):
        return nn.LeNet(num_classes=3, image_shape=(1, 16, 16), hidden=(5, 4), batch_norm=True)
    head = [part for a, b in ((16, 5), (5, 4)) for part in (nn.Linear(a, b), nn.BatchNorm1d(b), nn.ReLU())]
    return nn.Sequential(
        *(nn.Conv2d(1, 6, 5), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(6, 16, 5), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2)),
        nn.Flatten(),
        nn.Sequential(*head, nn.Linear(4, 3)),
    )


def strided(nn: Any) -> Any:
    if hasattr(nn, "StridedCNN"):
        return nn.StridedCNN(num_classes=3, image_shape=(1, 19, 19))
    return nn.Sequential(
        *(nn.Conv2d(1, 8, 5, stride=2), nn.ReLU()),
        *(nn.Conv2d(8, 16, 3), nn.MaxPool2d(2), nn.ReLU()),
        *(nn.Conv2d(16, 32, 3), nn.ReLU()),
        nn.Flatten(),
        nn.Linear(32, 3),
    )


def convolutions(nn: Any) -> Any:
    return nn.Sequential(
        nn.Conv2d(2, 4, (3, 2), stride=(2, 1), padding=(1, 2), groups=2),
        nn.GELU(),
        nn.AvgPool2d(2, stride=1, padding=1),
        nn.Conv2d(4, 4, 3, groups=4, bias=False),
        nn.BatchNorm2d(4, eps=1e-2),
        nn.SiLU(),
    )


def residual(nn: Any) -> Any:
    class Residual(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.module = nn.Sequential(nn.LayerNorm(6), nn.Linear(6, 6, bias=False), nn.Tanh())

        def forward(self, x: Any) -> Any:
            return x + self.module(x)

    return nn.Sequential(Residual(), Residual(), nn.Linear(6, 2))


def tied(nn: Any) -> Any:
    class Tied(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Embedding(7, 4)
            self.norm = nn.LayerNorm((3, 4), eps=1e-3)
            self.decoder = nn.Linear(4, 7, bias=False)
            self.decoder.weight = self.embedding.weight

        def forward(self, x: Any) -> Any:
            return self.decoder(self.norm(self.embedding(x)))

    return Tied()


NETWORKS: dict[str, tuple[tuple[int, ...], Callable[[Any], Any]]] = {  # the shape of a batch, and the network
    "mlp": ((4, 6), mlp),
    "lenet": ((2, 1, 16, 16), lenet),
    "strided": ((2, 1, 19, 19), strided),
    "convolutions": ((2, 2, 6, 5), convolutions),
    "residual": ((3, 6), residual),
    "tied": ((2, 3), tied),
}


def batch(case: str, rng: np.random.Generator) -> Any:
    shape = NETWORKS[case][0]
    return rng.integers(0, 7, shape) if case == "tied" else rng.standard_normal(shape, np.float32)


def outputs(network: Any, x: Any) -> dict[str, Any]:
    """What every module of the network, in PyTorch, makes of a batch in eval mode."""
    import torch

    found = {}
    for name, module in network.eval().named_modules():
        module.register_forward_hook(lambda _, __, y, name=name: found.update({name: y.detach().numpy().copy()}))
    network(torch.from_numpy(x))
    return found


def kinds() -> dict[str, Any]:
    """Tensors of every kind that a state dict may hold."""
    import torch

    whole = torch.arange(24, dtype=torch.float32).reshape(4, 6)
    tensors = {str(t).removeprefix("torch."): torch.tensor([1, 0, 3]).to(t) for t in (torch.int8, torch.int16)}
    for dtype in (torch.int32, torch.int64, torch.uint8, torch.uint16, torch.uint32, torch.uint64, torch.bool):
        tensors[str(dtype).removeprefix("torch.")] = torch.tensor([1, 0, 3]).to(dtype)
    for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.complex64, torch.complex128):
        tensors[str(dtype).removeprefix("torch.")] = torch.tensor([1.5, -0.0, float("nan"), float("inf")]).to(dtype)
    attributed, parameter = torch.ones(2), torch.nn.Parameter(torch.ones(3))
    attributed.tag = parameter.tag = "x"
    return tensors | {
        "transposed": whole.T,
        "every other": whole[1::2, ::3],
        "offset": whole[2],
        "expanded": torch.tensor([[5.0], [6.0]]).expand(2, 3),
        "turned": torch.arange(12.0).reshape(1, 2, 3, 2).to(memory_format=torch.channels_last),
        "scalar": torch.tensor(2.5),
        "bfloat16 scalar": torch.tensor(2.5, dtype=torch.bfloat16),
        "empty": torch.empty(0, 3),
        "empty view": whole[4:],
        "parameter": torch.nn.Parameter(torch.ones(2)),
        "frozen": torch.nn.Parameter(torch.ones(2), requires_grad=False),
        "trained": torch.ones(2, requires_grad=True),
        "attributed": attributed,
        "attributed parameter": parameter,
    }


def refused(network: Any) -> dict[str, Any]:
    """What is no state dict of plain tensors, by the name of its file."""
    import torch

    optimizer = torch.optim.Adam(network.parameters())
    return {
        "whole": network,
        "checkpoint": {"epoch": 3, "model": network.state_dict(), "optimizer": optimizer.state_dict(), "best": None},
        "one": torch.ones(2),
        "sparse": {"a": torch.eye(2).to_sparse()},
        "quantized": {"a": torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8)},
        "meta": {"a": torch.ones(2, device="meta")},
        "conjugated": {"a": torch.ones(2, dtype=torch.complex64).conj()},
        "float8": {"a": torch.ones(2).to(torch.float8_e4m3fn)},
    }


def write() -> None:
    import safetensors.torch
    import torch

    warnings.simplefilter("ignore")  # that quantized tensors are on their way out
    FOLDER.mkdir(exist_ok=True)
    stored: dict[str, Any] = {}
    for seed, (case, (_, make)) in enumerate(NETWORKS.items()):
        rng = np.random.default_rng(seed)
        network = make(torch.nn)
        for parameter in network.parameters():
            parameter.data = torch.from_numpy(rng.standard_normal(parameter.shape, np.float32)) / 2
        for _ in range(3):  # which leaves running statistics
            network.train()(torch.from_numpy(batch(case, rng)))
        state = network.state_dict()
        torch.save(state, FOLDER / f"{case}.pt")
        safetensors.torch.save_file({name: x.clone() for name, x in state.items()}, FOLDER / f"{case}.safetensors")
        x = stored[f"{case}/x"] = batch(case, rng)[:1]
        stored |= {f"{case}/y/{name}": y for name, y in outputs(network, x).items()}
    for name, tensor in (tensors := kinds()).items():
        stored[f"kinds/{name}"] = (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).detach().numpy()
    torch.save(tensors, FOLDER / "kinds.pt")
    np.savez_compressed(OUTPUTS, **stored)

    for name, holds in refused(torch.nn.Sequential(torch.nn.Linear(2, 1))).items():
        torch.save(holds, FOLDER / f"refused-{name}.pt")
    state = torch.load(FOLDER / "residual.pt")
    torch.save(state, FOLDER / "refused-legacy.pt", _use_new_zipfile_serialization=False)
    for dtype in (torch.float16, torch.bfloat16, torch.float64):
        name = str(dtype).removeprefix("torch.")
        torch.save({key: x.to(dtype) for key, x in state.items()}, FOLDER / f"residual-{name}.pt")
    for protocol in (3, 5):
        torch.save(state, FOLDER / f"residual-protocol{protocol}.pt", pickle_protocol=protocol)
    torch.save({f"module.{key}": x for key, x in state.items()}, FOLDER / "residual-wrapped.pt")
    torch.serialization.set_crc32_options(False)
    torch.save(state, FOLDER / "residual-unchecked.pt")


def check() -> None:
    """Have PyTorch load what vugrad writes, strictly, and compare what both make of the same batch."""
    import safetensors.torch
    import torch

    import vugrad as vg

    for seed, (case, (_, make)) in enumerate(NETWORKS.items()):
        vg.seed(seed)
        rng = np.random.default_rng(seed)
        ours, theirs = make(vg.nn), make(torch.nn)
        for _ in range(3):
            ours.train()(batch(case, rng))
        x = batch(case, rng)
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / f"{case}.safetensors"
            vg.save_state(ours, path)
            theirs.load_state_dict(safetensors.torch.load_file(path))
        with torch.no_grad():
            expected = theirs.eval()(torch.from_numpy(x)).numpy()
        difference = np.abs(ours.eval()(x).value - expected).max()
        print(f"{case}: PyTorch loads it strictly, and the outputs differ by {difference:.1e} at most")
        if not difference <= 1e-5 * max(1, np.abs(expected).max()):
            sys.exit(f"{case}: that is too much")


if __name__ == "__main__":
    check() if sys.argv[1:] == ["--check"] else write()
