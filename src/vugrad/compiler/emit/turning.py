"""Rows for columns in registers: what lies together along a loop is read as it lies, and then dealt to the lanes.

Four turns of a loop and four lanes make a square of numbers. One vector holds a row of each of the squares, and
shuffles within groups of four lanes, which cost little on every machine, make rows of columns and the other way round.
"""

from __future__ import annotations

from vugrad.compiler.emit.lines import Lines, Value

#: The turns of a loop, and the lanes, that make a square.
SIDE = 4


def transposed(out: Lines, xs: list[Value]) -> list[Value]:
    """Four vectors in which rows and columns of each square of four lanes have changed places."""

    def mixed(x: Value, y: Value, picks: tuple[int, ...]) -> Value:
        lanes = x.lanes
        return out.shuffle(x, y, [g + p % 4 + p // 4 * lanes for g in range(0, lanes, SIDE) for p in picks])

    low = mixed(xs[0], xs[1], (0, 4, 1, 5)), mixed(xs[2], xs[3], (0, 4, 1, 5))
    high = mixed(xs[0], xs[1], (2, 6, 3, 7)), mixed(xs[2], xs[3], (2, 6, 3, 7))
    return [mixed(*pair, picks) for pair in (low, high) for picks in ((0, 1, 4, 5), (2, 3, 6, 7))]


def from_rows(out: Lines, rows: list[Value]) -> list[Value]:
    """Of four numbers for each lane a vector of the first ones, one of the second ones, and so on."""
    found = []
    for i in range(SIDE):
        parts = rows[i::SIDE]  # the i-th lane of each square
        while len(parts) > 1:
            halves = zip(parts[::2], parts[1::2], strict=True)
            parts = [out.shuffle(x, y, range(2 * x.lanes)) for x, y in halves]
        found.append(parts[0])
    return transposed(out, found)


def to_rows(out: Lines, columns: list[Value]) -> list[Value]:
    """The other way: the four numbers of each lane."""
    squares = transposed(out, columns)
    lanes = columns[0].lanes
    rows = [range(i // SIDE * SIDE, i // SIDE * SIDE + SIDE) for i in range(lanes)]
    return [out.shuffle(squares[i % SIDE], squares[i % SIDE], row) for i, row in enumerate(rows)]
