"""An input whose gradient is wrong, with the true gradient; and the description of a mistake."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from vugrad.check.maps import Maps, same
from vugrad.check.subject import Array, Arrays, names


@dataclass(frozen=True)
class Mistake:
    """A mistake that explains the wrong numbers exactly.

    Args:
        kind: the kind of mistake, in a word or two.
        label: the input whose gradient is wrong.
        text: what is wrong, as a sentence.
        cure: what to write instead.
    """

    kind: str
    label: str
    text: str
    cure: str


@dataclass(frozen=True)
class Suspect:
    """One input whose gradient is wrong: its true Jacobian, and the map that the code computes."""

    maps: Maps
    i: int
    jacobians: Arrays
    codes: Arrays

    @property
    def label(self) -> str:
        """The input's name."""
        return self.maps.labels[self.i]

    @property
    def go(self) -> str:
        """The name of the upstream gradient in backward."""
        return names(self.maps.op.backward, 1, 1)[0]

    @property
    def g(self) -> str:
        """The name of the gradient in messages."""
        return f"g{self.label}"

    @property
    def jacobian(self) -> Array:
        """The true Jacobian, by outputs and the input's elements."""
        return self.jacobians[self.i]

    @property
    def code(self) -> Array:
        """The code's map, by outputs and the elements of the returned gradient."""
        return self.codes[self.i]

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the output; several outputs count as one vector."""
        ys = self.maps.outputs
        return ys[0].shape if len(ys) == 1 else (self.maps.count,)

    @property
    def ratio(self) -> float | None:
        """The number by which the code's map is a multiple of the true one; ``None`` if it is no multiple."""
        if self.code.shape != self.jacobian.shape or not np.any(self.code) or not np.any(self.jacobian):
            return None
        where = np.unravel_index(np.argmax(np.abs(self.jacobian)), self.jacobian.shape)
        c = float(self.code[where] / self.jacobian[where])
        return c if same(self.code, c * self.jacobian) else None

    @property
    def extents(self) -> dict[str, int]:
        """The extents of the input and the output, by the expressions that give them in Python."""
        shape = self.jacobian.shape[1:]
        found = {f"{self.label}.shape[{a}]": n for a, n in enumerate(shape)}
        found |= {f"{self.go}.shape[{a}]": n for a, n in enumerate(self.shape)}
        return found | {f"{self.label}.size": math.prod(shape), f"{self.go}.size": self.maps.count}

    def shorter(self) -> Iterator[Suspect]:
        """The same suspect for shorter inputs that forward accepts: one axis, or all axes of an extent, less by one."""
        xs = self.maps.inputs
        cut = [
            [x[tuple(slice(m - (m == n)) for m in x.shape)] for x in xs]
            for n in {n for x in xs for n in x.shape if n > 1}
        ]
        for i, x in enumerate(xs):
            one = (x[(slice(None),) * a + (slice(n - 1),)] for a, n in enumerate(x.shape) if n > 1)
            cut += [[*xs[:i], shorter, *xs[i + 1 :]] for shorter in one]
        for some in cut:
            with contextlib.suppress(Exception):  # whatever a forward raises
                maps = Maps(self.maps.checked, some)
                codes = maps.code()
                if codes is not None:
                    yield Suspect(maps, self.i, maps.jacobians(), codes)

    def mistake(self, kind: str, text: str, cure: str) -> Mistake:
        """A mistake in this gradient."""
        return Mistake(kind, self.label, text, cure)
