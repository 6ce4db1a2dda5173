"""What a forward and a backward may not do, whatever their numbers are: found by calling them again."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import numpy as np

from vugrad.check.subject import Array, Arrays, Fault, Subject, run_backward, run_forward

#: Numbers below, as exp(-735) is, have few digits.
TINY = 1e-290
#: Inputs of other sizes, signs and order.
OTHERS: tuple[Callable[[Array], Array], ...] = (np.negative, lambda x: np.flip(1.125 * x))
#: What the upstream gradient is multiplied by, to see whether the gradients follow: powers of 2, which round nothing.
MULTIPLES = (-1024.0, 2.0**-10, 2.0**40)


def outputs(checked: Subject) -> Arrays:
    """The outputs, which are real, and the same twice."""
    try:
        ys = checked.forward(checked.inputs)
    except (ValueError, IndexError) as error:
        if checked.op is None:
            raise
        raise type(error)(f"{checked.name} of {checked.shapes}: {error}. {checked.op.hint}".rstrip()) from error
    if any(y.dtype.kind == "c" for y in ys):
        raise TypeError(f"{checked.name} has complex outputs, of which gradcheck knows nothing: take their real parts")
    again = checked.forward(checked.inputs)
    if any(a.shape != b.shape or a.tobytes() != b.tobytes() for a, b in zip(ys, again, strict=True)):
        raise Fault("its forward gives other numbers each time: pass random numbers in, as an input or by a key")
    return ys


def upstream(rng: np.random.Generator, y: Array) -> Array:
    """An upstream gradient without a zero, or two that are equal."""
    return np.asarray(rng.uniform(0.5, 1.5, y.shape) * rng.choice([-1, 1], y.shape))


def well_behaved(checked: Subject, gos: Arrays) -> Arrays:
    """The gradients: of the inputs' shapes, the same twice, linear in what comes from above, of this call alone.

    Raises a :class:`Fault` for a backward of which one of that is not true.
    """
    gradients, again = (checked.gradients(checked.inputs, [np.copy(go) for go in gos]) for _ in range(2))
    for i in checked.real:
        g, x, label = np.asarray(gradients[i]), checked.inputs[i], checked.labels[i]
        if g.shape != x.shape:
            turned = ": it is transposed" if g.ndim > 1 and g.shape == x.shape[::-1] else ""
            shapes = f"a gradient of shape {g.shape} for {label} of shape {x.shape}"
            raise Fault(f"its backward returns {shapes}{turned}")
        if g.tobytes() != np.asarray(again[i]).tobytes():
            raise Fault(f"its backward gives {label} another gradient each time: it must draw no random numbers")
    gradients = [np.asarray(g) for g in gradients]
    alone = checked.gradients(checked.inputs, [0.0 * go for go in gos])
    for i in checked.real:
        if np.any(np.isfinite(alone[i]) & (alone[i] != 0)) and not _unused(alone[i], gradients[i]):
            raise Fault(
                f"its backward is not linear: for an upstream gradient of 0, the gradient of {checked.labels[i]} is "
                "not 0. Multiply each of its terms by the upstream gradient"
            )
    for multiple in MULTIPLES:
        more = checked.gradients(checked.inputs, [multiple * go for go in gos])
        for i in checked.real:
            if not _same(more[i], multiple * gradients[i], of=more[i]) and not _unused(more[i], gradients[i]):
                raise Fault(
                    f"its backward is not linear: for {multiple:g} times the upstream gradient, that of "
                    f"{checked.labels[i]} is not {multiple:g} times what it was. It may not branch on it, nor bound it"
                )
    _adds_up(checked, gos, gradients)
    if checked.op is not None and gradients:
        _by_itself(checked, gos, gradients)
    return gradients


def _adds_up(checked: Subject, gos: Arrays, gradients: Arrays) -> None:
    """See that the parts of what comes from above give parts of the gradients, and nothing gives nothing."""
    rng = np.random.default_rng(0)
    masks = [rng.random(go.shape) < 0.5 for go in gos]
    one, other = (
        checked.gradients(
            checked.inputs, [np.where(mask == side, go, 0.0) for go, mask in zip(gos, masks, strict=True)]
        )
        for side in (True, False)
    )
    least = 1e-12 * max((float(np.max(np.abs(go), initial=0)) for go in gos), default=0.0)
    for i in checked.real:
        # The parts may be larger than their sum, and are rounded as what they are made of is.
        size = np.abs(one[i]) + np.abs(other[i])
        share = max(1e-9, 64 * float(np.finfo(gradients[i].dtype).eps))
        allowed = 1e-6 * size + share * np.max(size[np.isfinite(size)], initial=0) + least + TINY
        off = ~(np.abs(one[i] + other[i] - gradients[i]) <= allowed) & np.isfinite(gradients[i])
        if np.any(off) and not _unused(one[i], gradients[i]):
            raise Fault(
                f"its backward is not linear: for parts of the upstream gradient, 0 elsewhere, that of "
                f"{checked.labels[i]} is not as much less. It may not divide by it, nor branch on it"
            )


def _same(a: Any, b: Array, of: Any = 0.0) -> bool:
    """Whether gradients are the same, where those that they are ``of`` are finite."""
    share = max(1e-9, 64 * float(np.finfo(b.dtype).eps)) if b.dtype.kind == "f" else 1e-9
    small = max(share * np.max(np.abs(b[np.isfinite(b)]), initial=0), TINY)
    return bool(np.all(np.isclose(a, b, 1e-6, small, equal_nan=True) | ~np.isfinite(of)))


def _unused(a: Any, b: Array) -> bool:
    """Whether the gradient is the same whatever comes from above, which has a diagnosis of its own."""
    return bool(np.array_equal(a, b, equal_nan=True))


def _by_itself(checked: Subject, gos: Arrays, gradients: Arrays) -> None:
    """See that nothing that another call leaves behind is used: a forward at other numbers, or a backward before."""
    assert checked.op is not None
    context: dict[str, Any] = {}
    run_forward(checked.op, checked.labels, context, checked.inputs, checked.constants)
    for other in OTHERS:
        others = [other(x) if x.dtype.kind == "f" else x for x in checked.inputs]
        with contextlib.suppress(Exception):  # it need not take them
            run_forward(checked.op, checked.labels, {}, others, checked.constants)
    after, again = (
        run_backward(checked.op, checked.labels, context, checked.inputs, [np.copy(go) for go in gos]) for _ in range(2)
    )
    for i in checked.real:
        if not _same(after[i], gradients[i]):
            raise Fault(
                "its backward uses what a later forward has changed: whatever it needs goes into the context, not into "
                "the class or a variable outside of it"
            )
        if not _same(again[i], gradients[i]):
            raise Fault(
                "its backward gives another gradient the second time: it writes into an array of the context. Make a "
                "new array (y = y * y in place of y *= y)"
            )
