"""Training steps in PyTorch, eager, and in JAX, compiled: what compiled vugrad is measured against.

Both are installed by hand (``pip install torch jax``) and imported only where they run.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from workloads import OPTIMIZERS, Workload

Array = Any
#: Makes the workload's steps and returns the last one's loss.
Training = Callable[[], float]


def torch_model(workload: Workload) -> tuple[Any, Any]:
    """The network with the workload's weights, and its optimizer."""
    import torch
    from torch import nn

    torch.set_num_threads(2)
    if workload.hidden is None:
        convolutions = [nn.Conv2d(1, 6, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2)]
        linear = [nn.Linear(256, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10)]
        model = nn.Sequential(*convolutions, nn.Flatten(), *linear)
    else:
        model = nn.Sequential(nn.Linear(784, workload.hidden), nn.Sigmoid(), nn.Linear(workload.hidden, 10))
    with torch.no_grad():
        for parameter, weight in zip(model.parameters(), workload.weights(), strict=True):
            parameter.copy_(torch.from_numpy(weight))
    rule = torch.optim.Adam if workload.optimizer == "Adam" else torch.optim.SGD
    return model.train(), rule(model.parameters(), **OPTIMIZERS[workload.optimizer])


def torch_steps(workload: Workload) -> Training:
    """Steps on batches that lie ready."""
    import torch
    from torch.nn.functional import cross_entropy

    model, optimizer = torch_model(workload)
    batches = [(torch.from_numpy(x), torch.from_numpy(labels)) for x, labels in workload.batches()]

    def run() -> float:
        for x, labels in batches:
            optimizer.zero_grad(set_to_none=True)
            loss = cross_entropy(model(x), labels)
            loss.backward()
            optimizer.step()
        return float(loss.detach())

    return run


def torch_epoch(workload: Workload) -> Training:
    """The same steps fed by a DataLoader that shuffles, as PyTorch's tutorials write it."""
    import torch
    from torch.nn.functional import cross_entropy
    from torch.utils.data import DataLoader, TensorDataset

    model, optimizer = torch_model(workload)
    x, labels, _ = workload.data()
    data = TensorDataset(torch.from_numpy(x), torch.from_numpy(labels))
    loader = DataLoader(data, batch_size=workload.batch, shuffle=True)

    def run() -> float:
        for x, labels in loader:
            optimizer.zero_grad()
            loss = cross_entropy(model(x), labels)
            loss.backward()
            optimizer.step()
        return float(loss.detach())

    return run


def jax_loss(parameters: list[Array], x: Array, labels: Array) -> Array:
    """The cross-entropy of the MLP, or of LeNet on images NCHW."""
    import jax
    from jax import lax, numpy as jnp

    layers = list(zip(parameters[::2], parameters[1::2], strict=True))
    activation = jax.nn.sigmoid
    if x.ndim == 4:
        activation = jax.nn.relu
        for w, b in layers[:2]:
            x = lax.conv_general_dilated(x, w, (1, 1), "VALID", dimension_numbers=("NCHW", "OIHW", "NCHW"))
            x = jax.nn.relu(x + b[:, None, None])
            x = lax.reduce_window(x, -jnp.inf, lax.max, (1, 1, 2, 2), (1, 1, 2, 2), "VALID")
        x, layers = x.reshape(len(x), -1), layers[2:]
    for w, b in layers[:-1]:
        x = activation(x @ w.T + b)
    w, b = layers[-1]
    chances = jax.nn.log_softmax(x @ w.T + b)
    return -jnp.take_along_axis(chances, labels[:, None], axis=1).mean()


def jax_update(name: str, parameters: list[Array], gradients: list[Array], memory: Any) -> tuple[list[Array], Any]:
    """New parameters and a new memory, by the rules of PyTorch's optimizers."""
    from jax import numpy as jnp

    lr = OPTIMIZERS[name]["lr"]
    if name == "SGD":
        return [p - lr * g for p, g in zip(parameters, gradients, strict=True)], memory
    if name == "momentum":
        memory = [0.9 * m + g for m, g in zip(memory, gradients, strict=True)]
        return [p - lr * m for p, m in zip(parameters, memory, strict=True)], memory
    t, first, second = memory
    t = t + 1
    first = [0.9 * m + 0.1 * g for m, g in zip(first, gradients, strict=True)]
    second = [0.999 * v + 0.001 * g * g for v, g in zip(second, gradients, strict=True)]
    rate, scale = lr / (1 - 0.9**t), 1 / (1 - 0.999**t)
    moved = [p - rate * m / (jnp.sqrt(v * scale) + 1e-8) for p, m, v in zip(parameters, first, second, strict=True)]
    return moved, (t, first, second)


def jax_steps(workload: Workload, scan: bool = False) -> Training:
    """Steps on batches that lie ready: a compiled function for each, or one, with a ``scan``, for all of them."""
    import jax
    from jax import lax, numpy as jnp

    def zeros() -> list[Array]:
        return [jnp.zeros_like(p) for p in parameters]

    parameters = [jnp.array(weight) for weight in workload.weights()]
    memory = {"SGD": lambda: (), "momentum": zeros, "Adam": lambda: (jnp.float32(0), zeros(), zeros())}
    state = (parameters, memory[workload.optimizer]())

    def step(state: Any, batch: Any) -> tuple[Any, Array]:
        parameters, memory = state
        loss, gradients = jax.value_and_grad(jax_loss)(parameters, *batch)
        return jax_update(workload.optimizer, parameters, gradients, memory), loss

    def steps(state: Any, batches: Any) -> tuple[Any, Array]:
        state, losses = lax.scan(step, state, batches)
        return state, losses[-1]

    batches = [(jnp.array(x), jnp.array(labels)) for x, labels in workload.batches()]
    if scan:
        batches = [tuple(map(jnp.stack, zip(*batches, strict=True)))]
    compiled = jax.jit(steps if scan else step, donate_argnums=0)

    def run() -> float:
        nonlocal state
        for batch in batches:
            state, loss = compiled(state, batch)
        jax.block_until_ready(state)
        return float(loss)

    return run
