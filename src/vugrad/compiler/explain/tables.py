"""Text in columns: tables, bars and amounts."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

#: The columns of a print-out, unless the terminal has fewer.
WIDTH = 100
#: A space at which no line ends.
SOLID = "\N{NO-BREAK SPACE}"


@dataclass(frozen=True)
class Paper:
    """A layout of text in lines of at most ``width`` columns."""

    width: int = WIDTH

    def table(self, heads: Sequence[str], rows: Sequence[Sequence[str]], indent: int = 2, least: int = 16) -> list[str]:
        r"""A table's lines.

        A column whose head begins with ``>`` is right-aligned. If the lines are too long, the left-aligned columns are
        first cut to ``least`` letters; then columns whose heads begin with ``?`` are dropped, the last one first; then
        the left-aligned columns are cut to 8 letters.

        >>> print(*Paper().table(["name", "?>bytes"], [["a", "1"], ["long", "20"]]), sep="\n")
          name  bytes
          a         1
          long     20
        >>> print(*Paper(8).table(["name", "?>bytes"], [["a", "1"], ["long", "20"]]), sep="\n")
          name
          a
          long
        """
        columns = list(range(len(heads)))
        optional = [i for i in columns if heads[i].startswith("?")]
        right = [head.removeprefix("?").startswith(">") for head in heads]
        cells = [[head.lstrip("?>") for head in heads], *rows]
        widths = self._widths(cells, columns, right, indent, least)
        while self._extent(widths, indent) > self.width and optional:
            columns.remove(optional.pop())
            widths = self._widths(cells, columns, right, indent, least)
        if self._extent(widths, indent) > self.width:
            widths = self._widths(cells, columns, right, indent, 8)
        lines = []
        for row in cells:
            parts = [cut(row[i], w).rjust(w) if right[i] else cut(row[i], w).ljust(w) for i, w in widths.items()]
            lines.append((" " * indent + "  ".join(parts)).rstrip())
        return lines

    def _widths(
        self, cells: Sequence[Sequence[str]], columns: Sequence[int], right: Sequence[bool], indent: int, least: int
    ) -> dict[int, int]:
        """The columns' widths; the widest left-aligned ones are cut until a line fits, or all have the least width."""
        widths = {i: max(len(row[i]) for row in cells) for i in columns}
        left = [i for i in columns if not right[i]]
        while self._extent(widths, indent) > self.width and left:
            widest = max(left, key=lambda i: widths[i])
            if widths[widest] <= least:
                break
            widths[widest] -= 1
        return widths

    def _extent(self, widths: Mapping[int, int], indent: int) -> int:
        return indent + sum(widths.values()) + 2 * (len(widths) - 1)

    def paragraph(self, text: str, indent: int = 2) -> list[str]:
        """Prose, wrapped into lines."""
        return textwrap.wrap(text, self.width, initial_indent=" " * indent, subsequent_indent=" " * indent)

    def item(self, label: str, text: str | Sequence[str], indent: int = 2, column: int = 12) -> list[str]:
        r"""A label with wrapped text beside it; the parts of a list are not broken.

        >>> print(*Paper().item("lanes", "32"), sep="\n")
          lanes     32
        """
        first = " " * indent + label.ljust(column - indent)
        if not isinstance(text, str):
            text = ", ".join(part.replace(" ", SOLID) for part in text)
        wrapped = textwrap.wrap(
            text, self.width, initial_indent=first, subsequent_indent=" " * column, break_on_hyphens=False
        )
        return [line.replace(SOLID, " ") for line in wrapped] or [first.rstrip()]


def cut(text: str, width: int) -> str:
    """The text, or its beginning and ``…``."""
    return text if len(text) <= width else text[: width - 1] + "…"


def some(parts: Sequence[str], most: int) -> list[str]:
    """The first parts, and how many more there are.

    >>> some(["a", "b", "c"], 2)
    ['a', 'b', 'and 1 more']
    """
    return [*parts] if len(parts) <= most else [*parts[:most], f"and {len(parts) - most} more"]


def size(nbytes: float) -> str:
    """An amount of memory, as in ``1.5 KiB``."""
    for unit, k in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if nbytes >= k:
            return f"{nbytes / k:.1f} {unit}"
    return f"{nbytes:.0f} B"


def amount(x: float, unit: str = "") -> str:
    """A number with three digits, as in ``27.3 M``."""
    for prefix, k in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if x >= k:
            return f"{x / k:.3g} {prefix}{unit}" if x / k < 999.5 else f"{x / k:.0f} {prefix}{unit}"
    return f"{x:.3g} {unit}".rstrip()


def seconds(x: float) -> str:
    """A time, as in ``12.5 µs``."""
    for unit, k in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if x >= k:
            return f"{x / k:.3g} {unit}" if x / k < 999.5 else f"{x / k:.0f} {unit}"
    return f"{x / 1e-9:.3g} ns"


def bar(part: float, width: int = 10) -> str:
    """A bar that is full at 1.

    >>> bar(0.5, 4)
    '██··'
    """
    full = round(min(max(part, 0.0), 1.0) * width)
    return "█" * full + "·" * (width - full)
