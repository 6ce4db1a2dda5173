"""What the doctor sees: a model, a loss and a batch, with what one step of them does; and what it writes down."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from vugrad.graph import OpNode, TensorNode
from vugrad.graph.backward import Array
from vugrad.nn import Module
from vugrad.optim import Optimizer
from vugrad.viewer.watched import Watched


@dataclass(frozen=True)
class Finding:
    """Something amiss.

    Args:
        kind: in a few words, the same for all of its kind.
        where: the layer, parameter or op; empty if it is about all.
        text: what was seen and why it harms, in a sentence.
        cure: what to write or do.
    """

    kind: str
    where: str
    text: str
    cure: str

    def __str__(self) -> str:
        where = f" in {self.where}" if self.where else ""
        return f"{self.kind}{where}: {self.text}\n  {self.cure}"


@dataclass
class Visit:
    """A model, a loss and a batch, and what one step of them does.

    Args:
        names: of the parameters, by node.
        x: the batch's inputs.
        y: its targets.
        outputs: what the model makes of the inputs.
        value: the loss.
        ops: of the graph, the oldest first.
        gradients: of all nodes that the loss depends on.
        again: the loss of the same batch twice over, in eval mode, and once.
    """

    model: Module
    loss: Callable[[Any, Any], Any]
    optimizer: Optimizer | None
    training: bool
    x: Array
    y: Array
    names: dict[TensorNode, str]
    outputs: Any = None
    value: TensorNode | None = None
    ops: list[OpNode] = field(default_factory=list)
    gradients: Mapping[TensorNode, Array] = field(default_factory=dict)
    again: tuple[float, float] | None = None

    @property
    def classes(self) -> int | None:
        """How many, if the targets are classes and the outputs have a number for each."""
        is_class = self.y.dtype.kind in "iu" and self.y.ndim == 1 and getattr(self.outputs, "ndim", 0) == 2
        return self.outputs.shape[1] if is_class and self.outputs.shape[1] > 1 else None


def place(op: OpNode) -> str:
    """The module that an op is in, and else the line that applied it."""
    if isinstance(op, Watched):
        return op.calls[-1].path if op.calls else op.line
    return ""
