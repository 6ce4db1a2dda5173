"""One input whose gradient is wrong, beside what it should be; and what a mistake is."""

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
    """A mistake that makes the numbers agree.

    Args:
        kind: in a word or two, the same for all of its kind.
        label: of the input whose gradient is wrong.
        text: what is wrong, as a sentence.
        cure: what to write.
    """

    kind: str
    label: str
    text: str
    cure: str


@dataclass(frozen=True)
class Suspect:
    """One input whose gradient is wrong: what its map should be, and what the code's is."""

    maps: Maps
    i: int
    jacobians: Arrays
    codes: Arrays

    @property
    def label(self) -> str:
        """Of the input."""
        return self.maps.labels[self.i]

    @property
    def go(self) -> str:
        """What backward calls the upstream gradient."""
        return names(self.maps.op.backward, 1, 1)[0]

    @property
    def g(self) -> str:
        """What to call the gradient."""
        return f"g{self.label}"

    @property
    def jacobian(self) -> Array:
        """By outputs and the input's elements."""
        return self.jacobians[self.i]

    @property
    def code(self) -> Array:
        """By outputs and the elements of what the code returns."""
        return self.codes[self.i]

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the only output; of all in a row if there are several."""
        ys = self.maps.outputs
        return ys[0].shape if len(ys) == 1 else (self.maps.count,)

    @property
    def ratio(self) -> float | None:
        """What the code's map is times the true one; ``None`` if that is no one number."""
        if self.code.shape != self.jacobian.shape or not np.any(self.code) or not np.any(self.jacobian):
            return None
        where = np.unravel_index(np.argmax(np.abs(self.jacobian)), self.jacobian.shape)
        c = float(self.code[where] / self.jacobian[where])
        return c if same(self.code, c * self.jacobian) else None

    @property
    def extents(self) -> dict[str, int]:
        """Of the input and the output, as a person writes them."""
        shape = self.jacobian.shape[1:]
        found = {f"{self.label}.shape[{a}]": n for a, n in enumerate(shape)}
        found |= {f"{self.go}.shape[{a}]": n for a, n in enumerate(self.shape)}
        return found | {f"{self.label}.size": math.prod(shape), f"{self.go}.size": self.maps.count}

    def shorter(self) -> Iterator[Suspect]:
        """The same with one axis made one shorter, or all of one extent, where forward takes that."""
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
