"""Why a gradient is wrong: the known mistakes, each as a map that the code's would then be, tried in order."""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from vugrad.check.maps import Maps, same
from vugrad.check.subject import Array, Arrays, element, of_op
from vugrad.check.suspect import Mistake, Suspect
from vugrad.check.terms import power, sign_of_a_term, upstream_lost_in_a_term


def explain(maps: Maps) -> Mistake | None:
    """The first known mistake that makes the code's numbers those that they are; ``None`` if none does."""
    codes = maps.code()
    if codes is None:
        return None
    jacobians = maps.jacobians()
    wrong = [i for i, x in enumerate(maps.inputs) if x.dtype.kind == "f" and not same(jacobians[i], codes[i])]
    for i in wrong:
        suspect = Suspect(maps, i, jacobians, codes)
        for hypothesis in HYPOTHESES:
            found = next(hypothesis(suspect), None)
            if found is not None:
                return found
    return None


def _not_finite(s: Suspect) -> Iterator[Mistake]:
    """The code gives what is no number."""
    if s.code.shape == s.jacobian.shape and not np.all(np.isfinite(s.code)):
        at = tuple(int(i) for i in np.argwhere(~np.isfinite(s.code))[0][1:])
        text = f"the gradient of {element(s.label, at)} is {s.code[~np.isfinite(s.code)][0]}, which is no number"
        yield s.mistake(
            "not finite", text, "see what is divided by 0 there, or has its logarithm or root taken of 0 or less"
        )


def _unused(s: Suspect) -> Iterator[Mistake]:
    """Whatever comes from above, the code answers the same."""
    rng = np.random.default_rng(0)
    one, other = (s.maps.answers(rng.uniform(1, 2, s.maps.count))[s.i] for _ in range(2))
    if not one.size or one.tobytes() != other.tobytes():
        return
    if not np.any(one):
        text = f"the gradient of {s.label} is 0 here, whatever comes from above"
        yield s.mistake("nothing", text, f"compute {s.g} from {s.go}")
        return
    alone = same(one, np.sum(s.jacobian, axis=0))
    more = "" if alone else "; and what is left of it is not right either"
    yield s.mistake(
        "upstream",
        f"the upstream gradient {s.go} is not used in the gradient of {s.label}{more}",
        f"multiply by it, and sum over the outputs that {s.label} reaches: {s.g} = {s.go} * …",
    )


def _derivative_lost(s: Suspect) -> Iterator[Mistake]:
    """What comes from above goes on as it is."""
    if (
        s.code.shape == s.jacobian.shape
        and s.code.size == s.maps.count**2
        and same(s.code.reshape(s.maps.count, -1), np.eye(s.maps.count))
    ):
        text = f"the upstream gradient {s.go} is handed on as it is: {s.maps.op.__name__}'s own derivative is missing"
        yield s.mistake("derivative", text, f"{s.g} = {s.go} * (the derivative by {s.label})")


def _saved_then_changed(s: Suspect) -> Iterator[Mistake]:
    """With copies of what forward saves, the code is right."""
    codes = s.maps.code(copying=True)
    if codes is None or not same(codes[s.i], s.jacobian):
        return
    before, after = s.maps.saved(copying=True), s.maps.saved()
    key = next((key for key in after if not same(before[key], after[key])), None)
    if key is None:
        yield s.mistake(
            "saved",
            "backward writes into an array of the context that is there under another name too",
            "make a new array in it (g = 3 * g in place of g *= 3)",
        )
        return
    yield s.mistake(
        "saved",
        f"forward changes the array that it has saved as context[{key!r}], in place, after saving it",
        f"make a new array (y = y + 1 in place of y += 1), or save a copy: context[{key!r}] = {key}.copy()",
    )


def _sum_to_shape(s: Suspect) -> Iterator[Mistake]:
    """Summed over some axes, or in another shape, the gradient is right."""
    g, shape = s.code.shape[1:], s.jacobian.shape[1:]
    if g == shape:
        return
    if s.code.size == s.jacobian.size:
        yield from _turned(s)
        if same(s.code.reshape(s.jacobian.shape), s.jacobian):
            text = f"the gradient of {s.label} has the right numbers in shape {g} in place of {shape}"
            yield s.mistake("shape", text, f"{s.g} = np.reshape({s.g}, {s.label}.shape)")
        return
    for axes in _subsets(len(g)):
        total = np.sum(s.code, axis=tuple(a + 1 for a in axes))
        if total.size == s.jacobian.size and same(total.reshape(s.jacobian.shape), s.jacobian):
            extra = len(g) - len(shape)
            repeated = {*range(extra), *(a + extra for a, n in enumerate(shape) if n == 1 < g[a + extra])}
            missing = f"the gradient of {s.label} has shape {g}, and {s.label} has {shape}: "
            missing += f"the sum over {_axes(axes)} is missing"
            if set(axes) == repeated:
                cure = f"{s.g} = vg.ops.sum_to({s.g}, {s.label}.shape)"
                yield s.mistake("sum", f"{missing}, along which {s.label} was repeated", cure)
            else:
                yield s.mistake("sum", missing, f"{s.g} = np.sum({s.g}, axis={axes[0] if len(axes) == 1 else axes})")


def _lost_sum(s: Suspect) -> Iterator[Mistake]:
    """Of the outputs that an element reaches, only those with its own index on an axis count, or the first or last."""
    if s.code.shape != s.jacobian.shape:
        return
    jacobian = s.jacobian.reshape(*s.shape, *s.jacobian.shape[1:])
    code = s.code.reshape(jacobian.shape)
    grid = np.indices(jacobian.shape)
    outputs, ins = len(s.shape), jacobian.ndim - len(s.shape)
    pairs = [(a, b) for a in range(outputs) for b in range(ins) if s.shape[a] == jacobian.shape[outputs + b] > 1]
    for chosen in _subsets(len(pairs)):
        keep = np.all([grid[a] == grid[outputs + b] for a, b in (pairs[c] for c in chosen)], axis=0)
        lost = jacobian * ~keep
        if not np.any(lost):
            continue
        axes = sorted({pairs[c][0] for c in chosen})
        if same(code, jacobian * keep) or (not np.any(code * ~keep) and _one_term(jacobian - code, outputs)):
            yield s.mistake(
                "sum",
                f"an element of {s.label} reaches outputs with other indices on {_axes(axes)} too, and the sum over "
                "them is missing in its gradient",
                f"add the term with np.sum({s.go} * …, axis={axes[-1]}, keepdims=True)",
            )
    for a in range(outputs):
        for index, word in ((0, "first"), (-1, "last")):
            keep = grid[a] == index % s.shape[a]
            if np.any(jacobian * ~keep) and same(code, jacobian * keep):
                yield s.mistake(
                    "sum",
                    f"of axis {a} of {s.go} only the {word} counts: the sum over it is missing",
                    f"sum over all of axis {a}: np.sum({s.go} * …, axis={a})",
                )


def _one_term(rest: Array, outputs: int) -> bool:
    """Whether what is missing is one product of what stands with the outputs and what stands with the inputs."""
    matrix = rest.reshape(math.prod(rest.shape[:outputs]), -1)
    # Rows of a softmax are apart from each other: what belongs together is connected by numbers that are not 0.
    for rows, columns in _connected(np.abs(matrix) > 1e-9 * np.max(np.abs(matrix), initial=0)):
        values = np.linalg.svd(matrix[np.ix_(rows, columns)], compute_uv=False)
        if len(values) > 1 and values[1] > 1e-5 * values[0]:
            return False
    return bool(matrix.size)


def _connected(there: Array) -> Iterator[tuple[list[int], list[int]]]:
    """The rows and columns of each connected part of a table of truth values."""
    left = set(np.flatnonzero(there.any(axis=1)).tolist())
    while left:
        rows, columns = {left.pop()}, set[int]()
        while True:
            more = set(np.flatnonzero(there[sorted(rows)].any(axis=0)).tolist())
            back = set(np.flatnonzero(there[:, sorted(more)].any(axis=1)).tolist())
            if (more, back) == (columns, rows):
                break
            rows, columns = rows | back, more
        left -= rows
        yield sorted(rows), sorted(columns)


def _transposed(s: Suspect) -> Iterator[Mistake]:
    """An operand, the upstream gradient or the result has its axes in another order."""
    if s.code.shape != s.jacobian.shape:
        return
    shape, outputs = s.jacobian.shape[1:], len(s.shape)
    jacobian = s.jacobian.reshape(*s.shape, *shape)
    code = s.code.reshape(jacobian.shape)
    for axes in itertools.permutations(range(outputs)):
        turned = np.transpose(code, (*axes, *range(outputs, code.ndim)))
        if axes != tuple(range(outputs)) and turned.shape == code.shape and same(turned, jacobian):
            yield s.mistake(
                "transposed",
                f"in the gradient of {s.label} the upstream gradient {s.go} has its axes in another order than the "
                "output: it is transposed, or summed over the wrong axis",
                f"take {s.go} with the axes of the output, and sum over those along which {s.label} was repeated",
            )
    yield from _turned(s)
    order = np.arange(math.prod(shape)).reshape(shape[::-1]).T.ravel()
    flat, true = s.code.reshape(s.maps.count, -1), s.jacobian.reshape(s.maps.count, -1)
    if len(shape) > 1 and (same(flat, true[:, order]) or same(flat[:, order], true)):
        text = (
            f"the gradient of {s.label} has its numbers in another order: it was reshaped where it had to be transposed"
        )
        yield s.mistake(
            "transposed", text, f"np.transpose in place of np.reshape, or np.reshape(…, {s.label}.shape) at the end"
        )
    for j, x in enumerate(s.maps.inputs):
        for axes in itertools.permutations(range(x.ndim)):
            other = np.transpose(x, axes)
            if x.dtype.kind == "f" and axes != tuple(range(x.ndim)) and other.shape == x.shape:
                xs = [*s.maps.inputs[:j], other, *s.maps.inputs[j + 1 :]]
                if _agrees(s, xs):
                    label = s.maps.labels[j]
                    text = f"in the gradient of {s.label} the operand {label} is transposed"
                    yield s.mistake("transposed", text, f"take {label} in place of {label}.T, or the other way round")


def _turned(s: Suspect) -> Iterator[Mistake]:
    """The gradient's axes are permuted."""
    g, shape = s.code.shape[1:], s.jacobian.shape[1:]
    for axes in itertools.permutations(range(len(g))):
        turned = np.transpose(s.code, (0, *(1 + a for a in axes)))
        if axes != tuple(range(len(g))) and turned.shape == s.jacobian.shape and same(turned, s.jacobian):
            of_shape = f": it has shape {g}, and {s.label} has {shape}" if g != shape else ""
            cure = f"{s.g} = {s.g}.T" if len(g) == 2 else f"{s.g} = np.transpose({s.g}, {axes})"
            yield s.mistake("transposed", f"the gradient of {s.label} is transposed{of_shape}", _product(s) or cure)


def _product(s: Suspect) -> str:
    """The code of a gradient that is the matrix product of the upstream gradient and another input; else empty."""
    if len(s.shape) != 2 or s.jacobian.ndim != 3:
        return ""
    for label, x in zip(s.maps.labels, s.maps.inputs, strict=True):
        if label != s.label and x.ndim == 2 and x.shape[0] == s.shape[0]:
            ways = f"{s.go}.T @ {label}", f"{label}.T @ {s.go}"
            for subscripts, way, other in (("nb,ma->nmab", *ways), ("na,mb->nmab", *ways[::-1])):
                product = np.einsum(subscripts, x, np.eye(s.shape[1])).reshape(s.maps.count, -1)
                if same(product, s.jacobian.reshape(s.maps.count, -1)):
                    return f"{s.g} = {way}, in place of {other}"
    return ""


def _agrees(s: Suspect, xs: Arrays) -> bool:
    """Whether the code's map is that of other inputs."""
    try:
        return same(s.code, s.maps.jacobians(xs)[s.i])
    except Exception:  # these are inputs that forward does not take
        return False


def _factor(s: Suspect) -> Iterator[Mistake]:
    """The map is right but for one number."""
    c = s.ratio
    if c is None or abs(c - 1) < 1e-3:
        return
    if abs(c + 1) < 1e-4:
        yield s.mistake("sign", f"the gradient of {s.label} has the wrong sign", f"{s.g} = -({s.g})")
        return
    number, meaning = _number(s, abs(c))
    text = f"the gradient of {s.label} is {abs(c):.4g} times what it should be"
    minus, sign = ("-", " and has the wrong sign") if c < 0 else ("", "")
    yield s.mistake("factor", text + sign + meaning, f"{s.g} = {minus}{s.g} {'/' if abs(c) > 1 else '*'} {number}")


def _number(s: Suspect, c: float) -> tuple[str, str]:
    """What a factor, or its inverse where it is below 1, is written as; and what it stands for."""
    c = max(c, 1 / c)

    def follows(name: str) -> bool:
        """Whether the factor is that extent at others too."""
        others = [(s.extents[name], abs(s.ratio)) for s in s.shorter() if s.ratio]
        return any(n != s.extents[name] for n, _ in others) and all(
            abs(max(ratio, 1 / ratio) / n - 1) < 1e-4 for n, ratio in others
        )

    def is_constant(name: str) -> bool:
        """Whether the factor is that constant with another number too."""
        with contextlib.suppress(Exception):  # forward need not take it
            other = known[name] + 1
            constants = {**s.maps.constants, name: other}
            maps = Maps(of_op(s.maps.op, s.maps.inputs, constants), s.maps.inputs)
            codes = maps.code()
            ratio = Suspect(maps, s.i, maps.jacobians(), codes).ratio if codes is not None else None
            return ratio is not None and abs(max(abs(ratio), 1 / abs(ratio)) / other - 1) < 1e-4
        return False

    known = {key: value for key, value in s.maps.constants.items() if type(value) in (int, float)}
    fitting = [name for name, n in (s.extents | known).items() if n > 2 and abs(c / n - 1) < 1e-4]
    name = next((name for name in fitting if (is_constant if name in known else follows)(name)), "")
    return (name, f" ({c:.4g} is {name})") if name else (f"{c:.4g}", "")


def _other_gradient(s: Suspect) -> Iterator[Mistake]:
    """The returned gradient is the gradient of another input."""
    for j, other in enumerate(s.jacobians):
        if j != s.i and other is not None and same(s.code, other):
            label = s.maps.labels[j]
            order = ", ".join(f"g{name}" for name in s.maps.labels)
            if same(s.codes[j], other):  # it was not exchanged
                text, cure = f"the gradient of {s.label} is that of {label}", f"differentiate by {s.label}"
            else:
                text = f"what is returned as the gradient of {s.label} is that of {label}"
                cure = f"return the gradients in the order of forward's arguments: {order}"
            yield s.mistake("operand", text, cure)


def _other_operand(s: Suspect) -> Iterator[Mistake]:
    """The derivative is evaluated at another array."""
    arrays = dict(zip(s.maps.labels, s.maps.inputs, strict=True)) | {
        f"output {k}": y for k, y in enumerate(s.maps.outputs)
    }
    if len(s.maps.outputs) == 1:
        arrays["the output"] = arrays.pop("output 0")
    for key, value in s.maps.saved().items():
        for name, array in arrays.items():
            if array.shape == value.shape and array.dtype.kind == "f" and not same(array, value):
                codes = s.maps.code(**{key: array})
                if codes is not None and same(codes[s.i], s.jacobian):
                    text = f"the formula of backward is meant for {name}, and context[{key!r}] is something else"
                    yield s.mistake(
                        "operand", text, f"save {name} as context[{key!r}], or use the formula for what is there"
                    )
    for j, x in enumerate(s.maps.inputs):
        for name, array in arrays.items():
            if array is not x and x.dtype.kind == "f" and array.shape == x.shape:
                xs = [*s.maps.inputs[:j], np.asarray(array, float), *s.maps.inputs[j + 1 :]]
                if _agrees(s, xs):
                    label = s.maps.labels[j]
                    text = f"the derivative is taken at {name} where {label} belongs"
                    yield s.mistake("operand", text, f"use {label} in place of {name}")


def _overwritten(s: Suspect) -> Iterator[Mistake]:
    """Of the outputs that an element reaches, one alone counts."""
    if s.code.shape != s.jacobian.shape:
        return
    code, jacobian = (x.reshape(s.maps.count, -1) for x in (s.code, s.jacobian))
    there = np.abs(jacobian) > 1e-9 * np.max(np.abs(jacobian), initial=0)
    for order, word in ((-1, "last"), (1, "first")):
        rank = np.cumsum(there[::order], axis=0)[::order]
        if np.any(there & (rank > 1)) and same(code, jacobian * (there & (rank == 1))):
            yield s.mistake(
                "overwritten",
                f"where an element of {s.label} reaches several outputs, only the {word} one's gradient is kept: they "
                "have to be added up",
                f"np.add.at({s.g}, index, {s.go}), which adds; {s.g}[index] = {s.go} and {s.g}[index] += {s.go} do not",
            )
    kept = np.abs(code) > 1e-9 * np.max(np.abs(code), initial=0)
    if np.any(there & ~kept) and same(code, jacobian * kept):
        text = f"of what reaches {s.label} from the outputs, {np.sum(there & ~kept)} of {np.sum(there)} parts are lost"
        yield s.mistake("lost", text, "see that every output that an element reaches is in its gradient")


#: In the order in which they are tried.
HYPOTHESES: tuple[Callable[[Suspect], Iterator[Mistake]], ...] = (
    _not_finite,
    _saved_then_changed,
    _unused,
    upstream_lost_in_a_term,
    _sum_to_shape,
    _lost_sum,
    _transposed,
    _factor,
    _derivative_lost,
    _other_gradient,
    power,
    sign_of_a_term,
    _other_operand,
    _overwritten,
)


def _subsets(n: int) -> list[tuple[int, ...]]:
    """All but the empty one, the small ones first."""
    return [chosen for size in range(1, min(n, 4) + 1) for chosen in itertools.combinations(range(n), size)]


def _axes(axes: Any) -> str:
    return ("axis " if len(axes) == 1 else "axes ") + " and ".join(map(str, axes))
