"""What a backward should compute and what it does, as two linear maps: the Jacobian, and its answers to units."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from vugrad.check.subject import Array, Arrays, Fault, Subject, run_backward, run_forward

#: Two maps are the same if they differ by so little, as a share of the larger one's largest number.
SAME = 1e-5


def same(a: Array, b: Array) -> bool:
    """Whether two maps agree, one of them measured; never if one has NaN."""
    if np.shape(a) != np.shape(b):
        return False
    largest = max(float(np.max(np.abs(a), initial=0)), float(np.max(np.abs(b), initial=0)))
    return bool(np.max(np.abs(np.subtract(a, b)), initial=0) <= SAME * largest)


class Copying(dict[str, Any]):
    """A context that keeps copies, so that what is changed after it was saved stays as it was."""

    def __setitem__(self, key: str, value: Any) -> None:
        super().__setitem__(key, np.copy(value) if isinstance(value, np.ndarray) else value)

    def update(self, *others: Any, **more: Any) -> None:
        """As a dict's, by copies."""
        for key, value in dict(*others, **more).items():
            self[key] = value


@dataclass
class Maps:
    """An op at some inputs.

    Both maps have the axes of all outputs as one first axis, then those of the input (or of what the code returns).
    """

    checked: Subject
    inputs: Arrays
    outputs: Arrays = field(init=False)

    def __post_init__(self) -> None:
        assert self.checked.op is not None
        self.op, self.constants, self.labels = self.checked.op, self.checked.constants, self.checked.labels
        with np.errstate(all="ignore"):
            self.outputs = self.checked.forward(self.inputs)
        self.count = sum(y.size for y in self.outputs)

    def jacobians(self, xs: Arrays | None = None) -> Arrays:
        """For each input the slopes of all outputs, by differences extrapolated once; ``None`` for whole numbers."""
        xs = self.inputs if xs is None else xs
        return [self._jacobian(xs, i) if x.dtype.kind == "f" else None for i, x in enumerate(xs)]

    def _jacobian(self, xs: Arrays, i: int) -> Array:
        jacobian = np.zeros((self.count, *xs[i].shape))
        for at in np.ndindex(xs[i].shape):
            h = 1e-3 * max(abs(float(xs[i][at])), 1e-1)
            a, b = (self._difference(xs, i, at, step) for step in (h, h / 2))
            jacobian[(slice(None), *at)] = (4 * b - a) / 3
        return jacobian

    def _difference(self, xs: Arrays, i: int, at: tuple[int, ...], h: float) -> Array:
        ends = []
        for step in (h, -h):
            moved = np.copy(xs[i])
            moved[at] += step
            with np.errstate(all="ignore"):
                ends.append(self._flat(self.checked.forward([*xs[:i], moved, *xs[i + 1 :]])))
        return (ends[0] - ends[1]) / (2 * h)

    @staticmethod
    def _flat(arrays: Arrays) -> Array:
        return np.concatenate([np.ravel(a) for a in arrays]) if arrays else np.zeros(0)

    def upstream(self, numbers: Array) -> Arrays:
        """Numbers for all outputs in one row, as one array for each."""
        parts = np.split(np.asarray(numbers, float), np.cumsum([y.size for y in self.outputs])[:-1])
        return [part.reshape(y.shape) for part, y in zip(parts, self.outputs, strict=True)]

    def answers(self, numbers: Array, context: dict[str, Any] | None = None, **replaced: Any) -> Arrays:
        """What the code makes of upstream gradients, whatever its shape; with parts of its context replaced."""
        context = {} if context is None else context
        with np.errstate(all="ignore"):
            xs = [np.copy(x) for x in self.inputs]
            run_forward(self.op, self.labels, context, xs, self.constants)
            context.update(replaced)
            return run_backward(self.op, self.labels, context, xs, self.upstream(numbers))

    def code(self, copying: bool = False, **replaced: Any) -> Arrays | None:
        """For each input the code's answers to every unit; ``None`` if it fails, or gives none of floating point."""
        try:
            columns = [self.answers(unit, Copying() if copying else None, **replaced) for unit in np.eye(self.count)]
        except Fault:
            return None
        parts: Arrays = []
        for i, x in enumerate(self.inputs):
            if x.dtype.kind != "f":
                parts.append(None)
            elif len({column[i].shape for column in columns}) == 1:
                parts.append(np.stack([column[i] for column in columns]))
            else:
                return None
        return parts

    def saved(self, copying: bool = False) -> dict[str, Array]:
        """The arrays of floating-point numbers in the context."""
        context: dict[str, Any] = Copying() if copying else {}
        with np.errstate(all="ignore"):
            run_forward(self.op, self.labels, context, [np.copy(x) for x in self.inputs], self.constants)
        return {key: x for key, x in context.items() if isinstance(x, np.ndarray) and x.dtype.kind == "f"}
