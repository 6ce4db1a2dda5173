"""The networks of the report: a multi-layer perceptron and a small convolutional network."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from vugrad import initializers
from vugrad.graph import as_array
from vugrad.nn.activations import ReLU
from vugrad.nn.arguments import misfit
from vugrad.nn.compose import Flatten, Residual, Sequential
from vugrad.nn.conv import Conv2d, MaxPool2d
from vugrad.nn.linear import Linear
from vugrad.nn.module import Module
from vugrad.nn.norm import BatchNorm1d, BatchNorm2d, Dropout
from vugrad.suggest import whole


class MLP(Sequential):
    """A multi-layer perceptron: linear layers with an activation after each but the last.

    Args:
        sizes: the features of the input, of each hidden layer, and of the output.
        activation: makes the module that follows a hidden layer.
        batch_norm: whether batch normalisation stands before each activation.
        residual: whether a hidden layer that keeps the number of features is added to its input.
        dropout: share of elements dropped after each activation.
        init, rng, dtype: as in :class:`Linear`.

    Images are flattened.

    >>> import vugrad as vg
    >>> vg.nn.MLP([784, 100, 10], activation=vg.nn.Sigmoid)
    MLP()
      (0): Linear(784, 100)
      (1): Sigmoid()
      (2): Linear(100, 10)
    """

    def __init__(
        self,
        sizes: Sequence[int],
        activation: Callable[[], Module] = ReLU,
        *,
        batch_norm: bool = False,
        residual: bool = False,
        dropout: float = 0.0,
        init: initializers.Initializer = initializers.glorot_normal,
        rng: np.random.Generator | None = None,
        dtype: Any = np.float32,
    ) -> None:
        given: Any = sizes
        if isinstance(given, str) or not isinstance(given, Sequence | np.ndarray):
            example = f"[{given}, {activation}]" if isinstance(activation, int) else "[784, 100, 10]"
            raise TypeError(f"MLP: sizes must be a list of numbers of features, as in MLP({example}), got {given!r}")
        sizes = [whole(f"MLP: sizes[{i}]", n) for i, n in enumerate(sizes)]
        if len(sizes) < 2:
            raise ValueError(f"MLP: sizes must have at least the features of input and output, got {sizes}")
        layers: list[Module] = []
        for inputs, outputs in itertools.pairwise(sizes[:-1]):
            block: list[Module] = [Linear(inputs, outputs, init=init, rng=rng, dtype=dtype)]
            block += [BatchNorm1d(outputs, dtype=dtype)] if batch_norm else []
            block += [made("MLP", activation)]
            block += [Dropout(dropout, rng=rng)] if dropout else []
            layers += [Residual(Sequential(*block))] if residual and inputs == outputs else block
        super().__init__(*layers, Linear(sizes[-2], sizes[-1], init=init, rng=rng, dtype=dtype))
        self.features = sizes[0]

    def forward(self, x: Any) -> Any:
        """(N, …) to (N, sizes[-1])."""
        x = as_array(x)
        if len(x.shape) == 1:
            raise misfit(self, f"(N, {self.features})", x, "write x[None] for one instance")
        return super().forward(x if len(x.shape) == 2 else Flatten()(x))


def made(network: str, activation: Callable[[], Module]) -> Module:
    """The module that ``activation()`` returns; ``TypeError`` if it returns none."""
    says = f"{network}: activation must return a module, as vg.nn.ReLU or lambda: vg.nn.LeakyReLU(0.2) does"
    try:
        module = activation()
    except TypeError as error:
        raise TypeError(f"{says}, got {activation!r} ({error})") from error
    if not callable(module):
        raise TypeError(f"{says}, got {activation!r}, which returns {module!r}")
    return module


def image_extents(network: str, image_shape: tuple[int, int, int]) -> tuple[int, int, int]:
    """(channels, rows, columns) as ints; raises for anything else."""
    if not isinstance(image_shape, tuple | list) or len(image_shape) != 3:
        raise ValueError(
            f"{network}: image_shape must be (channels, rows, columns), as in (1, 28, 28), got {image_shape!r}"
        )
    channels, rows, columns = (whole(f"{network}: image_shape", n) for n in image_shape)
    return channels, rows, columns


class LeNet(Sequential):
    """The report's convolutional network, after LeCun et al. (1998): 44,426 parameters on 28×28 images.

    Conv2d(1, 6, 5), activation, 2×2 max-pooling, Conv2d(6, 16, 5), activation, 2×2 max-pooling, then the
    256 features through linear layers of 120, 84 and 10.

    Args:
        num_classes: features of the output.
        image_shape: (channels, rows, columns) of the input, at least 16×16.
        hidden: features of the hidden linear layers.
        activation, batch_norm, residual, dropout, init, rng, dtype: as in :class:`MLP`.

    >>> import vugrad as vg
    >>> sum(p.value.size for p in vg.nn.LeNet().parameters())
    44426
    """

    def __init__(
        self,
        num_classes: int = 10,
        image_shape: tuple[int, int, int] = (1, 28, 28),
        hidden: Sequence[int] = (120, 84),
        activation: Callable[[], Module] = ReLU,
        *,
        batch_norm: bool = False,
        residual: bool = False,
        dropout: float = 0.0,
        init: initializers.Initializer = initializers.glorot_normal,
        rng: np.random.Generator | None = None,
        dtype: Any = np.float32,
    ) -> None:
        num_classes = whole("LeNet: num_classes", num_classes)
        channels, rows, columns = image_extents("LeNet", image_shape)
        rows, columns = (((extent - 4) // 2 - 4) // 2 for extent in (rows, columns))
        if min(rows, columns) < 1:
            raise ValueError(f"LeNet: images of {image_shape[1]}x{image_shape[2]} are too small, use MLP for them")
        layers: list[Module] = []
        for inputs, outputs in ((channels, 6), (6, 16)):
            layers += [Conv2d(inputs, outputs, 5, init=init, rng=rng, dtype=dtype)]
            layers += [BatchNorm2d(outputs, dtype=dtype)] if batch_norm else []
            layers += [made("LeNet", activation), MaxPool2d(2)]
        sizes = [16 * rows * columns, *hidden, num_classes]
        options = {"batch_norm": batch_norm, "residual": residual, "dropout": dropout}
        head = MLP(sizes, activation, **options, init=init, rng=rng, dtype=dtype)  # type: ignore[arg-type]
        super().__init__(*layers, Flatten(), head)


class StridedCNN(Sequential):
    """A convolutional network that learns digits with few operations: 8,906 parameters on 28×28 images.

    Conv2d(1, 8, 5) with stride 2, Conv2d(8, 16, 3), 2×2 max-pooling, Conv2d(16, 32, 3), an activation after each, and
    one linear layer on the 288 features. The stride spares most of what LeNet spends on its first layer: 0.19 million
    multiply-adds an image, against LeNet's 0.28.

    Args:
        num_classes: features of the output.
        image_shape: (channels, rows, columns) of the input, at least 19×19.
        activation, init, rng, dtype: as in :class:`MLP`.

    >>> import numpy as np, vugrad as vg
    >>> vg.nn.StridedCNN()(np.zeros((2, 1, 28, 28), np.float32)).shape
    (2, 10)
    """

    def __init__(
        self,
        num_classes: int = 10,
        image_shape: tuple[int, int, int] = (1, 28, 28),
        activation: Callable[[], Module] = ReLU,
        *,
        init: initializers.Initializer = initializers.glorot_normal,
        rng: np.random.Generator | None = None,
        dtype: Any = np.float32,
    ) -> None:
        num_classes = whole("StridedCNN: num_classes", num_classes)
        channels, rows, columns = image_extents("StridedCNN", image_shape)
        rows, columns = ((((extent - 5) // 2 + 1) - 2) // 2 - 2 for extent in (rows, columns))
        if min(rows, columns) < 1:
            raise ValueError(f"StridedCNN: images of {image_shape[1]}x{image_shape[2]} are too small, use MLP for them")
        options: dict[str, Any] = {"init": init, "rng": rng, "dtype": dtype}
        super().__init__(
            *(Conv2d(channels, 8, 5, stride=2, **options), made("StridedCNN", activation)),
            *(Conv2d(8, 16, 3, **options), MaxPool2d(2), made("StridedCNN", activation)),
            *(Conv2d(16, 32, 3, **options), made("StridedCNN", activation)),
            Flatten(),
            Linear(32 * rows * columns, num_classes, **options),
        )
