"""What :func:`vugrad.doctor` looks for, one mistake a function: before the step, and in what it did."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import numpy as np

from vugrad.check.visit import Finding, Visit, place
from vugrad.graph import no_grad
from vugrad.nn import BatchNorm1d, BatchNorm2d, Dropout, RandomShift

#: Instances below which a batch says nothing of order or dead units.
ENOUGH = 16
#: Shares of units that are dead, of outputs that are saturated, above which that is said.
DEAD, SATURATED = 0.5, 0.5
#: How much smaller, or larger, a layer's gradient may be than that of the last, each by the size of its weights.
VANISHED, EXPLODED = 1e-4, 1e4
#: How much larger the first loss may be than that of a guess.
FAR = 5.0


def not_finite(v: Visit) -> Iterator[Finding]:
    """NaN or infinity in the data, or in the weights."""
    arrays = {"the inputs": v.x, "the targets": v.y} | {name: node.value for node, name in v.names.items()}
    for name, array in arrays.items():
        if array.dtype.kind == "f" and not np.all(np.isfinite(array)):
            count = int(np.sum(~np.isfinite(array)))
            yield Finding(
                "not finite",
                name,
                f"{count} of {array.size} numbers are NaN or infinite, and make all weights so",
                "leave those instances out, or fill them in: np.nan_to_num(x); begin anew where weights are so",
            )


def diverged(v: Visit) -> Iterator[Finding]:
    """A loss or gradients that are not finite, of numbers that are."""
    if any(True for _ in not_finite(v)) or v.value is None:
        return
    wrong = [name for node, name in v.names.items() if not np.all(np.isfinite(v.gradients.get(node, 0.0)))]
    if not np.isfinite(v.value.value).all() or wrong:
        yield Finding(
            "not finite",
            "the loss" if not np.isfinite(v.value.value).all() else f"the gradient of {wrong[0]}",
            "it is NaN or infinite, though data and weights are finite",
            "run the step in vg.debug(), which names the op; lower the learning rate, or scale inputs and weights",
        )


def raw_pixels(v: Visit) -> Iterator[Finding]:
    """Pixels from 0 to 255."""
    x = v.x
    # Whole numbers of a signed type are words or the like, and have a table of weights.
    if x.size and x.dtype.kind in "fu" and x.min() >= 0 and 100 < x.max() <= 255 and np.all(x == np.round(x)):
        yield Finding(
            "raw pixels",
            "the inputs",
            f"they are whole numbers from {x.min():g} to {x.max():g}, a hundred times as large as weights are made "
            "for: the first layer's outputs and gradients are too",
            "x = x / 255, and better (x - mean) / std",
        )


def sorted_data(v: Visit) -> Iterator[Finding]:
    """Labels in their order, or all the same."""
    y = v.y
    if y.ndim == 2:  # in a column, or one-hot
        y = y[:, 0] if y.shape[1] == 1 else np.argmax(y, axis=1) if np.all(np.sum(y != 0, axis=1) == 1) else y
    if not v.training or y.ndim != 1 or len(y) < ENOUGH or np.any(y != np.round(y)):
        return
    kinds = len(np.unique(y))
    if kinds <= len(y) / 2 and np.all(np.diff(y.astype(np.int64)) >= 0):
        what = "all labels of the batch are the same" if kinds == 1 else "the labels of the batch are in order"
        yield Finding(
            "sorted data",
            "the labels",
            f"{what}, so that updates see one class after the other, and forget the last",
            "shuffle: vg.train.fit does, and vg.data.batches(x, y, n, rng=rng)",
        )


def labels_out_of_range(v: Visit) -> Iterator[Finding]:
    """Classes that the outputs have no number for, where the loss takes classes."""
    if v.y.dtype.kind not in "iu" or v.y.ndim != 1 or not len(v.y):
        return
    with contextlib.suppress(Exception), no_grad():  # it may take whole batches alone
        outputs = v.model(v.x)
        width = outputs.shape[1] if outputs.ndim == 2 else 1
        if width < 2 or (v.y.min() >= 0 and v.y.max() < width):
            return
        try:
            v.loss(outputs, v.y)
        except (ValueError, IndexError):  # of a loss that takes numbers, these are right
            yield Finding(
                "labels out of range",
                "the labels",
                f"they are from {v.y.min()} to {v.y.max()}, and the model's {width} outputs are for 0 to {width - 1}",
                "let them begin at 0 (y - 1), or give the last layer an output for each class",
            )


def left_gradients(v: Visit) -> Iterator[Finding]:
    """Gradients of an earlier step are still set."""
    left = [
        name for node, name in v.names.items() if getattr(node._grad, "shape", None) == node.shape and np.any(node.grad)
    ]
    if v.training and left:
        yield Finding(
            "gradients not reset",
            left[0] + (f" and {len(left) - 1} more" if len(left) > 1 else ""),
            "they have the gradient of an earlier backward, to which that of this batch will be added",
            "call optimizer.zero_grad() before each backward, or after each step",
        )


def modes(v: Visit) -> Iterator[Finding]:
    """Dropout and batch norm in the wrong mode."""
    moody = [
        (path, m)
        for path, m in v.model.named_modules()
        if isinstance(m, Dropout | RandomShift | BatchNorm1d | BatchNorm2d)
    ]
    wrong = [(path, m) for path, m in moody if m.training != v.training]
    if wrong:
        path, module = wrong[0]
        said = "evaluation in train mode" if not v.training else "training in eval mode"
        text = (
            "what it gives depends on the other instances of the batch, or on chance"
            if not v.training
            else "nothing is dropped, and running averages are used in place of the batch's and stay as they are"
        )
        call = "model.eval()" if not v.training else "model.train()"
        yield Finding(said, path or type(module).__name__, text, f"call {call} before")


def softmax_twice(v: Visit) -> Iterator[Finding]:
    """Probabilities where cross-entropy takes logits."""
    for op in v.ops:
        if op.op.__name__ != "CrossEntropy":
            continue
        logits, source = op.inputs[0], op.inputs[0].source
        name = source.op.__name__ if source is not None else ""
        rows = logits.value
        likely = np.all(rows >= 0) and np.allclose(np.sum(rows, axis=-1), 1, atol=1e-5) and rows.shape[-1] > 1
        if name == "Softmax" or likely:
            yield Finding(
                "softmax before cross-entropy",
                place(source) if source is not None else "the outputs",
                "cross-entropy takes logits and has a softmax of its own: of probabilities its gradient is small, and "
                f"its loss cannot fall below {np.log1p((rows.shape[-1] - 1) / np.e):.2f}",
                "leave the softmax out of the model; for probabilities take vg.softmax(model(x)) at the end",
            )
        elif name == "LogSoftmax":
            yield Finding(
                "softmax before cross-entropy",
                place(source) if source is not None else "",
                "cross-entropy has a log-softmax of its own, which changes nothing a second time, and costs",
                "leave it out, or take vg.losses.nll_loss",
            )


def crossed_shapes(v: Visit) -> Iterator[Finding]:
    """(N,) against (N, 1), which broadcasts to (N, N)."""
    for op in v.ops:
        if len(op.inputs) != 2 or not op.outputs:
            continue
        a, b = (node.shape for node in op.inputs)
        if (
            {len(a), len(b)} == {1, 2}
            and max(a, b, key=len) == (a[0], 1)
            and min(a, b, key=len) == (a[0],)
            and a[0] > 1
        ):
            yield Finding(
                "(N,) against (N, 1)",
                place(op),
                f"{op.op.__name__} of {a} and {b} gives {op.outputs[0].shape}: each output beside every target",
                "give both one shape: y[:, None], or outputs[:, 0]",
            )


def unreached(v: Visit) -> Iterator[Finding]:
    """Parameters that the loss does not depend on."""
    lost = [name for node, name in v.names.items() if node.requires_grad and node not in v.gradients]
    if lost:
        yield Finding(
            "no gradient",
            ", ".join(lost[:3]) + (f" and {len(lost) - 3} more" if len(lost) > 3 else ""),
            "the loss does not depend on it, or the graph is cut between: it will stay as it is",
            "use it in forward, without .value or detach() on the way; or take it out of the model",
        )


def optimizer_has_all(v: Visit) -> Iterator[Finding]:
    """Parameters that are not in the optimizer, or not in the model."""
    if v.optimizer is None:
        return
    own = {id(node) for node in v.names}
    foreign = [node for node in v.optimizer.params if id(node) not in own]
    if foreign and len(foreign) == len(v.optimizer.params):
        yield Finding(
            "not in the optimizer",
            "",
            "the optimizer has the parameters of another model: was the model made again after the optimizer?",
            "make the optimizer of this model's parameters",
        )
        return
    held = {id(node) for node in v.optimizer.params}
    lost = [name for node, name in v.names.items() if id(node) not in held and node.requires_grad]
    if lost:
        yield Finding(
            "not in the optimizer",
            ", ".join(lost[:3]) + (f" and {len(lost) - 3} more" if len(lost) > 3 else ""),
            "no step will change it",
            "make the optimizer of model.parameters(), after all parts of the model are made",
        )


def dead_units(v: Visit) -> Iterator[Finding]:
    """ReLU units that are 0 for every instance."""
    for op in v.ops:
        if (
            op.op.__name__ == "ReLU"
            and op.outputs
            and len(op.outputs[0].value) >= ENOUGH
            and op.outputs[0].value.ndim > 1
        ):
            y = op.outputs[0].value
            units = 1 if y.ndim in (2, 4) else y.ndim - 1  # of images the channels
            alive = np.any(y > 0, axis=tuple(a for a in range(y.ndim) if a != units))
            share = 1 - float(np.mean(alive))
            if share > DEAD:
                yield Finding(
                    "dead ReLUs",
                    place(op),
                    f"{share:.0%} of its {len(alive)} units are 0 for all {len(y)} instances, and have no gradient",
                    "lower the learning rate, begin with He's weights and zero biases, or take vg.nn.LeakyReLU",
                )


def saturated(v: Visit) -> Iterator[Finding]:
    """Sigmoids and tanhs at their ends, but the last."""
    hidden = [op for op in v.ops if op.op.__name__ in ("Sigmoid", "Tanh") and op.outputs]
    last = getattr(v.outputs, "source", None)
    for op in hidden:
        if last is None or op.age >= last.age:  # the model's own last one, and what the loss has in it
            continue
        y = op.outputs[0].value
        slope = y * (1 - y) if op.op.__name__ == "Sigmoid" else 1 - y * y
        most = 0.25 if op.op.__name__ == "Sigmoid" else 1.0
        share = float(np.mean(slope < 0.02 * most))
        if share > SATURATED:
            yield Finding(
                "saturated",
                place(op),
                f"{share:.0%} of its outputs are at an end of {op.op.__name__}, where it is flat: almost no gradient "
                "passes",
                "scale the inputs to about -1 to 1, begin with Glorot's weights, or put batch norm before it",
            )


def equal_units(v: Visit) -> Iterator[Finding]:
    """Units that begin the same and stay so."""
    for node, name in v.names.items():
        w, g = node.value, v.gradients.get(node)
        if w.ndim < 2 or w.shape[0] < 2 or g is None:
            continue
        if np.all(w == w[:1]) and np.allclose(g, g[:1], 1e-5, 1e-30):
            what = "all 0" if not np.any(w) else "all equal"
            yield Finding(
                "equal units",
                name,
                f"the weights of its {w.shape[0]} units are {what}, and so are their gradients: they stay one unit",
                "begin with random weights: vg.initializers.he_normal, or the layer's own",
            )


def summed_loss(v: Visit) -> Iterator[Finding]:
    """A loss that grows with the batch."""
    if v.again is None:
        return
    once, twice = v.again
    if (
        v.training
        and len(v.x) > 1
        and np.isfinite(twice)
        and abs(twice - 2 * once) < 1e-3 * abs(once)
        and abs(once) > 1e-12
    ):
        yield Finding(
            "summed loss",
            "",
            "it is twice as large for twice the batch, so that the step grows with the batch: a last batch that is "
            "smaller, or another batch size, asks for another learning rate",
            "take the mean over the batch: reduction='mean', or .mean() for .sum()",
        )


def _sizes(v: Visit) -> list[tuple[str, float]]:
    """Of each weight, in the order of use, its gradient by its own size."""
    first = {node: op.age for op in reversed(v.ops) for node in op.inputs}
    weights = [node for node in v.names if node.value.ndim > 1 and node in v.gradients and node in first]
    found = []
    for node in sorted(weights, key=first.__getitem__):
        g, w = (float(np.sqrt(np.mean(np.square(a, dtype=float)))) for a in (v.gradients[node], node.value))
        if w:  # those that begin at 0 have no size to compare with, and may do so in the last layer
            found.append((v.names[node], g / w))
    return found


def layers_apart(v: Visit) -> Iterator[Finding]:
    """Gradients that vanish, or explode, from layer to layer."""
    sizes = _sizes(v)
    if any(not np.any(node.value) for node in v.names if node.value.ndim > 1):
        return
    if len(sizes) < 2 or not sizes[-1][1] or not np.isfinite(sizes[-1][1]):
        return
    last = sizes[-1][1]
    small = [(name, size) for name, size in sizes if size < VANISHED * last]
    large = [(name, size) for name, size in sizes if size > EXPLODED * last]
    for kind, found, word in (("vanishing gradients", small, "small"), ("exploding gradients", large, "large")):
        if found:
            name, size = found[0]
            ratio = last / size if word == "small" and size else size / last
            text = f"{ratio:.0e} times as {word} as" if size else "0, unlike"
            yield Finding(
                kind,
                name,
                f"the gradient there, by the size of the weights, is {text} that of the last layer",
                "take ReLU for sigmoid, He's or Glorot's weights, batch norm or residual connections"
                + (", and clip_grad_norm_" if word == "large" else ""),
            )


def first_loss(v: Visit) -> Iterator[Finding]:
    """A loss far above that of a guess."""
    if (
        v.classes is None
        or v.value is None
        or not any(op.op.__name__ in ("CrossEntropy", "LogSoftmax") for op in v.ops)
    ):
        return
    per_instance = float(v.value.value)
    if v.again is not None and abs(v.again[1] - 2 * v.again[0]) < 1e-3 * abs(v.again[0]):
        per_instance /= len(v.x)
    guess = float(np.log(v.classes))
    if not per_instance <= FAR * guess:
        yield Finding(
            "first loss",
            "",
            f"it is {per_instance:.3g} an instance, and that of a guess among {v.classes} classes is their logarithm, "
            f"{guess:.2f}: the outputs are too large, or training has diverged",
            "scale the inputs, begin with smaller weights in the last layer, or lower the learning rate",
        )


BEFORE: tuple[Callable[[Visit], Iterator[Finding]], ...] = (
    not_finite,
    raw_pixels,
    sorted_data,
    labels_out_of_range,
    left_gradients,
    modes,
)
#: In the order setup, graph, values, loss, gradients, so that a cause comes before its effects.
AFTER: tuple[Callable[[Visit], Iterator[Finding]], ...] = (
    optimizer_has_all,
    equal_units,
    softmax_twice,
    crossed_shapes,
    unreached,
    diverged,
    dead_units,
    saturated,
    summed_loss,
    first_loss,
    layers_apart,
)
