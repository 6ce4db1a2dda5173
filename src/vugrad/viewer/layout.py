"""Where everything is drawn: in layers with few crossings (Sugiyama, Tagawa & Toda, 1981), group by group."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vugrad.viewer.scene import Edge

#: Sweeps to lessen crossings, and to bring what is connected to one height.
SWEEPS, SETTLING = 8, 6
#: Pixels between layers, between parts of a layer, around what is in a group, and for its title.
ACROSS, ALONG, MARGIN, TITLE = 36.0, 16.0, 12.0, 26.0


@dataclass(frozen=True)
class Layers:
    """The parts of a group in layers, from first to last.

    Args:
        rows: the numbers of the parts in each layer, in order; below 0 for a bend of an edge that passes through.
        bends: for each edge between parts the bends that it passes, and for each that comes in from outside, or goes
            out, which has ``None`` for the other end.
        leaves: the parts that lie at the end of their layer, just before what they are used by.
    """

    rows: list[list[int]]
    bends: dict[Edge, list[int]]
    leaves: frozenset[int] = frozenset()

    @property
    def links(self) -> list[tuple[int, int]]:
        """All edges from layer to layer."""
        whole = ([end for end in (a, *through, b) if end is not None] for (a, b), through in self.bends.items())
        return [link for passed in whole for link in itertools.pairwise(passed)]


def layers(count: int, edges: Sequence[Edge], leaves: frozenset[int]) -> Layers:
    """Layers for parts 0, 1, … of which none leads to one before it; leaves lie just before what they are used by."""
    rank = [0] * count
    within = [(a, b) for a, b in edges if a is not None and b is not None]
    for a, b in sorted(within, key=lambda edge: edge[1]):
        rank[b] = max(rank[b], rank[a] + 1)
    for leaf in leaves:
        rank[leaf] = max(min((rank[b] for a, b in within if a == leaf), default=1) - 1, 0)
    rows: list[list[int]] = [[] for _ in range(max(rank, default=-1) + 1)]
    for part in range(count):
        rows[rank[part]].append(part)
    bends: dict[Edge, list[int]] = {}
    made = 0
    for edge in edges:
        start, end = edge
        bends[edge] = []
        for r in range(0 if start is None else rank[start] + 1, len(rows) if end is None else rank[end]):
            made -= 1
            rows[r].append(made)
            bends[edge].append(made)
    return _with_few_crossings(Layers(rows, bends, leaves))


def _with_few_crossings(found: Layers) -> Layers:
    """Each layer in the order of the means of its neighbours' places, sweep by sweep; the best of all is kept."""
    before: dict[int, list[int]] = {}
    after: dict[int, list[int]] = {}
    for a, b in found.links:
        after.setdefault(a, []).append(b)
        before.setdefault(b, []).append(a)
    rows = found.rows
    best, fewest = rows, crossings(rows, after)
    for sweep in range(SWEEPS):
        if not fewest:
            break
        rows = [list(row) for row in rows]
        neighbours = after if sweep % 2 else before
        for r in range(len(rows) - 2, -1, -1) if sweep % 2 else range(1, len(rows)):
            place = {part: i for i, part in enumerate(rows[r + 1 if sweep % 2 else r - 1])}
            own = {part: i for i, part in enumerate(rows[r])}

            def mean(part: int, place: Mapping[int, int] = place, own: Mapping[int, int] = own) -> float:
                beside = [place[n] for n in neighbours.get(part, [])]  # noqa: B023
                return sum(beside) / len(beside) if beside else own[part]

            rows[r].sort(key=mean)
        count = crossings(rows, after)
        if count < fewest:
            best, fewest = rows, count
    return Layers(best, found.bends, found.leaves)


def crossings(rows: Sequence[Sequence[int]], after: Mapping[int, Sequence[int]]) -> int:
    """How many pairs of edges between neighbouring layers cross."""
    total = 0
    for row, following in itertools.pairwise(rows):
        place = {part: i for i, part in enumerate(following)}
        ends = [place[b] for a in row for b in sorted(after.get(a, []), key=place.__getitem__)]
        total += sum(ends[i] > ends[j] for i in range(len(ends)) for j in range(i + 1, len(ends)))
    return total


@dataclass(frozen=True)
class Placed:
    """Where parts and bends are, from a corner of the group that they lie in, and how large that is.

    ``spots`` has the middle of each part and bend, by its number.
    """

    spots: dict[int, tuple[float, float]]
    width: float
    height: float


def place(found: Layers, sizes: Mapping[int, tuple[float, float]], title: float = 0.0, down: bool = False) -> Placed:
    """Places for parts of these sizes, layer by layer to the right or ``down``; bends have no size.

    ``page.js`` does the same, for groups that are opened and closed.
    """
    # Along the layers it is "across", within one "along"; all that is said of widths is of heights if it goes down.
    extent = {part: (size[::-1] if down else size) for part, size in sizes.items()}
    spans = {part: extent.get(part, (0.0, 0.0))[1] for row in found.rows for part in row}
    along = _settled(found, spans)
    least = min((y - spans[part] / 2 for part, y in along.items()), default=0.0)
    most = max((y + spans[part] / 2 for part, y in along.items()), default=0.0)
    x = MARGIN
    spots: dict[int, tuple[float, float]] = {}
    for row in found.rows:
        thick = max((extent.get(part, (0.0, 0.0))[0] for part in row), default=0.0)
        for part in row:
            middle = thick - extent[part][0] / 2 if part in found.leaves else thick / 2
            spots[part] = (x + middle, along[part] - least + MARGIN)
        x += thick + ACROSS
    across, width = max(x - ACROSS, MARGIN) + MARGIN, most - least + 2 * MARGIN
    if down:
        spots = {part: (b, a) for part, (a, b) in spots.items()}
        across, width = width, across
    return Placed({part: (a, b + title) for part, (a, b) in spots.items()}, across, width + title)


def _settled(found: Layers, spans: Mapping[int, float]) -> dict[int, float]:
    """How far along its layer each part is: near the middle of what it is connected to, and clear of the others."""
    before: dict[int, list[int]] = {}
    after: dict[int, list[int]] = {}
    for a, b in found.links:
        after.setdefault(a, []).append(b)
        before.setdefault(b, []).append(a)
    y: dict[int, float] = {}

    def spread(row: Sequence[int], wanted: Sequence[float]) -> None:
        places: list[float] = []
        for i, part in enumerate(row):
            low = wanted[i]
            if i:
                low = max(low, places[-1] + (spans[row[i - 1]] + spans[part]) / 2 + ALONG)
            places.append(low)
        shift = sum(w - p for w, p in zip(wanted, places, strict=True)) / max(len(row), 1)
        y.update(zip(row, (p + shift for p in places), strict=True))

    for row in found.rows:
        spread(row, [0.0] * len(row))
    for sweep in range(SETTLING):
        back = sweep % 2
        for row in reversed(found.rows) if back else found.rows:
            beside = after if back else before
            means = [[y[n] for n in beside.get(part, [])] for part in row]
            spread(row, [sum(ys) / len(ys) if ys else y[part] for part, ys in zip(row, means, strict=True)])
    return y
