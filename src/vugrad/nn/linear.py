"""Layers that are one matrix, or one look-up in it."""

from __future__ import annotations

from typing import Any

import numpy as np

from vugrad import initializers
from vugrad.graph import TensorNode, as_array
from vugrad.nn.arguments import initial, with_features
from vugrad.nn.module import Module, parameter
from vugrad.ops import BatchMM, Take
from vugrad.suggest import whole


class Linear(Module):
    """y = x Wᵀ + b.

    Args:
        in_features: extent of the last axis of x.
        out_features: extent of the last axis of y.
        bias: whether there is a b.
        init: the initialiser of W (b starts at zero); Glorot's normal one by default.
        rng: generator for the initial weights; the one that ``vg.seed`` sets by default.
        dtype: of the parameters.

    ``weight`` has shape (out_features, in_features), ``bias`` (out_features,).

    >>> import numpy as np, vugrad as vg
    >>> vg.nn.Linear(3, 2)(np.ones((5, 3), np.float32)).shape
    (5, 2)
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        init: initializers.Initializer = initializers.glorot_normal,
        rng: np.random.Generator | None = None,
        dtype: Any = np.float32,
    ) -> None:
        super().__init__()
        shape = whole("Linear: out_features", out_features), whole("Linear: in_features", in_features)
        self.weight = initial("Linear", init, shape, rng, dtype)
        self.bias = parameter(np.zeros(out_features, dtype), "bias") if bias else None

    def forward(self, x: Any) -> Any:
        """(…, in_features) to (…, out_features)."""
        y = BatchMM.do_forward(self.weight, with_features(self, self.weight, x))
        return y if self.bias is None else y + self.bias

    def extra_repr(self) -> str:
        """The layer's extents."""
        out_features, in_features = self.weight.shape
        return f"{in_features}, {out_features}" + ("" if self.bias is not None else ", bias=False")


class Embedding(Module):
    """A learned vector for each of a number of symbols.

    Args:
        num_embeddings: how many symbols.
        embedding_dim: the length of their vectors.
        init: the initialiser of the vectors; standard normal by default.
        rng: generator for the initial vectors.
        dtype: of the parameters.

    >>> import numpy as np, vugrad as vg
    >>> vg.nn.Embedding(10, 4)(np.array([[1, 2, 2]])).shape
    (1, 3, 4)
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        *,
        init: initializers.Initializer = initializers.normal,
        rng: np.random.Generator | None = None,
        dtype: Any = np.float32,
    ) -> None:
        super().__init__()
        shape = whole("Embedding: num_embeddings", num_embeddings), whole("Embedding: embedding_dim", embedding_dim)
        self.weight = initial("Embedding", init, shape, rng, dtype)

    def forward(self, indices: Any) -> Any:
        """Integers (…) to vectors (…, embedding_dim)."""
        indices = indices.value if isinstance(indices, TensorNode) else as_array(indices)
        n = self.weight.shape[0]
        if indices.dtype.kind not in "iu":
            raise ValueError(f"Embedding: symbols are whole numbers, got {indices.dtype}: write indices.astype(int)")
        # A tracer has no values to check. An array has; without the check, NumPy would take -1 for the last symbol.
        if isinstance(indices, np.ndarray) and not ((indices >= 0) & (indices < n)).all():
            wrong = indices[(indices < 0) | (indices >= n)][0]
            raise ValueError(
                f"Embedding: {wrong} is not one of the symbols 0 to {n - 1} of Embedding({self.extra_repr()})"
            )
        return Take.do_forward(self.weight, indices)

    def extra_repr(self) -> str:
        """The layer's extents."""
        return "{}, {}".format(*self.weight.shape)
