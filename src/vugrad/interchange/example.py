"""The example that a network is exported for: an array for each of its inputs."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

from vugrad.graph import TensorNode, as_array, is_array
from vugrad.nn import Module


def array_of(x: Any) -> Any:
    """The array of a node, or of any library's; lists and numbers, which do not say their dtype, as they are."""
    x = x.value if isinstance(x, TensorNode) else x
    return as_array(x) if is_array(x) else x


def argument_names(model: Module, arrays: Sequence[Any]) -> list[str]:
    """What the model's ``forward`` calls these arguments, with nothing for those that it gives no name.

    Raises ``TypeError`` if it takes more of them, or less.
    """
    signature = inspect.signature(model.forward)
    try:
        signature.bind(*arrays)
    except TypeError as error:
        raise TypeError(
            f"the example does not fit here: the forward of {type(model).__name__} is "
            f"forward({', '.join(signature.parameters)}), and of arrays there are {len(arrays)}: {error}. So "
            "give an array, or a tuple of as many as it takes"
        ) from None
    named = [p.name for p in signature.parameters.values() if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return (named + [""] * len(arrays))[: len(arrays)]
