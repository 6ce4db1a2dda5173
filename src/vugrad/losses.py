"""Losses: what a batch of outputs costs, as one number. PyTorch's names and arguments.

Each takes ``reduction="mean"`` (over all elements or instances), ``"sum"`` or ``"none"``, and complains of
targets that do not fit before anything is computed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from vugrad import ops
from vugrad.graph import TensorNode, as_array
from vugrad.suggest import choose

__all__ = [
    "LOSSES",
    "binary_cross_entropy_with_logits",
    "cross_entropy",
    "hinge_loss",
    "huber_loss",
    "l1_loss",
    "mse_loss",
    "nll_loss",
    "one_hot",
]

Node = Any
Loss = Callable[..., Any]

REDUCTIONS: dict[str, Callable[[Node], Node]] = {"mean": np.mean, "sum": np.sum, "none": lambda losses: losses}


def cross_entropy(outputs: Node, targets: Any, reduction: str = "mean") -> Node:
    """−log softmax(outputs) at the target class, fused and stable.

    Args:
        outputs: logits, shape (N, C).
        targets: classes, integers of shape (N,) from 0 to C − 1.
        reduction: "mean", "sum" or "none".

    Raises ``ValueError`` for targets of another shape, dtype or range, and for an empty batch.

    >>> import numpy as np
    >>> round(cross_entropy(np.zeros((2, 10)), np.array([3, 7])).item(), 6)  # log 10
    2.302585
    """
    classes = check_classes("cross_entropy", outputs, targets)
    return reduce(ops.CrossEntropy.do_forward(outputs, classes), reduction)


def nll_loss(outputs: Node, targets: Any, reduction: str = "mean") -> Node:
    """Minus the log-probability of the target class: for outputs of :class:`nn.LogSoftmax`.

    Shapes and errors as in :func:`cross_entropy`.
    """
    classes = check_classes("nll_loss", outputs, targets)
    picked = np.take_along_axis(_node(outputs), np.expand_dims(classes, 1), axis=1)
    return reduce(-np.squeeze(picked, axis=1), reduction)


def hinge_loss(outputs: Node, targets: Any, margin: float = 1.0, reduction: str = "mean") -> Node:
    """Σ over the other classes of max(0, margin − output of the target class + output), divided by C.

    Shapes and errors as in :func:`cross_entropy`; PyTorch calls it ``multi_margin_loss``. Source: Crammer &
    Singer, 2001, summed over classes as in Weston & Watkins, 1999.
    """
    classes = np.expand_dims(check_classes("hinge_loss", outputs, targets), 1)
    outputs = _node(outputs)
    own = np.take_along_axis(outputs, classes, axis=1)
    others = classes != np.arange(outputs.shape[1])
    return reduce(np.mean(np.maximum(margin - own + outputs, 0) * others, axis=1), reduction)


def mse_loss(outputs: Node, targets: Any, reduction: str = "mean") -> Node:
    """(output − target)², element by element; both of the same shape.

    >>> import numpy as np
    >>> mse_loss(np.array([1.0, 2.0]), np.array([1.0, 4.0])).item()
    2.0
    """
    check_shapes("mse_loss", outputs, targets)
    return reduce(np.square(_node(outputs) - targets), reduction)


def l1_loss(outputs: Node, targets: Any, reduction: str = "mean") -> Node:
    """|output − target|, element by element; both of the same shape."""
    check_shapes("l1_loss", outputs, targets)
    return reduce(np.abs(_node(outputs) - targets), reduction)


def huber_loss(outputs: Node, targets: Any, delta: float = 1.0, reduction: str = "mean") -> Node:
    """e²/2 where e = |output − target| ≤ delta, else delta · (e − delta/2). Source: Huber, 1964."""
    check_shapes("huber_loss", outputs, targets)
    e = np.abs(_node(outputs) - targets)
    return reduce(np.where(e <= delta, 0.5 * np.square(e), delta * (e - 0.5 * delta)), reduction)


def binary_cross_entropy_with_logits(outputs: Node, targets: Any, reduction: str = "mean") -> Node:
    """−t log σ(x) − (1 − t) log(1 − σ(x)), as softplus(x) − t x so that no logarithm meets a 0.

    Args:
        outputs: logits x, any shape.
        targets: probabilities t from 0 to 1, or labels 0 and 1, of the same shape; (N,) fits (N, 1) and the reverse.
        reduction: "mean", "sum" or "none".

    >>> import numpy as np
    >>> binary_cross_entropy_with_logits(np.zeros((2, 1)), np.array([0, 1])).item()  # log 2
    0.6931471805599453
    """
    outputs, targets = _node(outputs), targets if isinstance(targets, TensorNode) else as_array(targets)
    if {outputs.shape, targets.shape} == {outputs.shape[:1], (*outputs.shape[:1], 1)}:
        targets = targets.reshape(outputs.shape)
    check_shapes("binary_cross_entropy_with_logits", outputs, targets)
    if targets.dtype.kind in "iu":  # without this, integers would promote float32 outputs to float64
        targets = targets.astype(outputs.dtype)
    t = targets.value if isinstance(targets, TensorNode) else targets
    if isinstance(t, np.ndarray) and not ((t >= 0) & (t <= 1)).all():
        raise ValueError(
            f"binary_cross_entropy_with_logits: targets must be from 0 to 1, got {t.min()} to {t.max()}: for more "
            "classes use cross_entropy, and a network with one output for each class"
        )
    return reduce(ops.softplus(outputs) - outputs * targets, reduction)


def one_hot(labels: Any, num_classes: int, dtype: Any = np.float32) -> np.ndarray[Any, Any]:
    """Rows with a 1 at the label: integers (N,) to (N, num_classes). For mse_loss and its like.

    >>> import numpy as np
    >>> one_hot(np.array([1, 0]), 3)
    array([[0., 1., 0.],
           [1., 0., 0.]], dtype=float32)
    """
    labels = labels.value if isinstance(labels, TensorNode) else as_array(labels)
    fits = labels.ndim == 1 and labels.dtype.kind in "iu"
    if isinstance(labels, np.ndarray):  # a tracer has no values to check
        fits = fits and not ((labels < 0) | (labels >= num_classes)).any()
    if not fits:
        held = f"{labels.dtype} of shape {labels.shape}"
        if isinstance(labels, np.ndarray) and labels.size and labels.dtype.kind in "iuf":
            held += f", from {labels.min()} to {labels.max()}"
        raise ValueError(f"one_hot: labels are whole numbers from 0 to {num_classes - 1} in one axis, got {held}")
    rows: np.ndarray[Any, Any] = (labels[:, None] == np.arange(num_classes)).astype(dtype)
    return rows


def reduce(losses: Node, reduction: str) -> Node:
    """The losses of all instances or elements as the one number asked for."""
    return choose("reduction", reduction, REDUCTIONS)(losses)


def check_classes(name: str, outputs: Node, targets: Any) -> Any:
    """The targets as an array of classes; raises ``ValueError`` if they do not fit the outputs."""
    targets = targets.value if isinstance(targets, TensorNode) else as_array(targets)
    outputs = as_array(outputs)
    if len(outputs.shape) != 2:
        raise ValueError(f"{name}: outputs must be (batch, classes), got shape {outputs.shape}")
    n, classes = outputs.shape
    if n == 0:
        raise ValueError(f"{name}: the batch is empty, and a mean over nothing is not a number")
    if targets.shape != (n,):
        hint = ""
        if targets.shape == (n, 1):
            hint = ": write targets.ravel()"
        elif targets.shape == (n, classes):
            hint = ": one-hot rows become classes by targets.argmax(axis=1)"
        raise ValueError(f"{name}: {n} rows of outputs need targets of shape ({n},), got {targets.shape}{hint}")
    if targets.dtype.kind not in "iu":
        raise ValueError(f"{name}: targets are classes, whole numbers, got {targets.dtype}: write targets.astype(int)")
    # A tracer has no values to check; ``fit`` checks the targets after it has compiled the step.
    if isinstance(targets, np.ndarray) and not (targets.min() >= 0 and targets.max() < classes):
        wrong = int(np.flatnonzero((targets < 0) | (targets >= classes))[0])
        if classes == 1:
            raise ValueError(
                f"{name}: one output means one class, 0, and target {targets[wrong]} at {wrong} is another class: give "
                "the network one output for each class, or use loss=vg.losses.binary_cross_entropy_with_logits"
            )
        raise ValueError(
            f"{name}: target {targets[wrong]} at {wrong} is not one of the classes 0 to {classes - 1} of {classes} "
            "outputs: give the network one output for each class, and count the classes from 0"
        )
    return targets


def check_shapes(name: str, outputs: Node, targets: Any) -> None:
    """Raise ``ValueError`` unless outputs and targets have the same shape and at least one element."""
    shapes = as_array(outputs).shape, np.shape(targets)
    if shapes[0] != shapes[1]:
        hint = ""
        if int(np.prod(shapes[0])) == int(np.prod(shapes[1])):
            hint = f" (as they are they would broadcast to a table of all pairs): write targets.reshape{shapes[0]}"
            if np.result_type(targets).kind in "iu":  # a dataset takes integer targets for class labels of shape (N,)
                hint += ".astype(np.float32)"
        elif len(shapes[0]) == 2 and shapes[1] == shapes[0][:1]:
            hint = f": class labels become rows by vg.losses.one_hot(targets, {shapes[0][1]})"
        raise ValueError(f"{name}: outputs have shape {shapes[0]}, targets {shapes[1]}{hint}")
    if 0 in shapes[0]:
        raise ValueError(f"{name}: the batch is empty, and a mean over nothing is not a number")


def _node(x: Any) -> Node:
    return x if isinstance(x, TensorNode) else TensorNode(x, requires_grad=False)


#: By the names that command-line flags and studies use.
LOSSES: dict[str, Loss] = {
    "cross_entropy": cross_entropy,
    "nll": nll_loss,
    "mse": mse_loss,
    "l1": l1_loss,
    "huber": huber_loss,
    "hinge": hinge_loss,
    "bce": binary_cross_entropy_with_logits,
}


def __dir__() -> list[str]:
    return __all__
