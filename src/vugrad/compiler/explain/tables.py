"""Text in columns: tables, bars and amounts, for print-outs of 100 columns."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

#: The columns of a print-out.
WIDTH = 100
#: A space at which no line ends.
SOLID = "\N{NO-BREAK SPACE}"


def table(heads: Sequence[str], rows: Sequence[Sequence[str]], indent: int = 2, width: int = WIDTH) -> list[str]:
    r"""Lines with the cells of each row one below the other; a column whose head begins with ``>`` is set to the right.

    Where a line would be longer than ``width``, the widest column on the left is cut.

    >>> print(*table(["name", ">bytes"], [["a", "1"], ["long", "20"]]), sep="\n")
      name  bytes
      a         1
      long     20
    """
    right = [head.startswith(">") for head in heads]
    cells = [[head.removeprefix(">") for head in heads], *rows]
    widths = [max(len(row[i]) for row in cells) for i in range(len(heads))]
    left = [i for i, r in enumerate(right) if not r]
    while indent + sum(widths) + 2 * (len(widths) - 1) > width and left:
        widest = max(left, key=lambda i: widths[i])
        if widths[widest] <= 8:
            break
        widths[widest] -= 1
    lines = []
    for row in cells:
        parts = [cut(c, w).rjust(w) if r else cut(c, w).ljust(w) for c, w, r in zip(row, widths, right, strict=True)]
        lines.append((" " * indent + "  ".join(parts)).rstrip())
    return lines


def cut(text: str, width: int) -> str:
    """The text, or its beginning and ``…``."""
    return text if len(text) <= width else text[: width - 1] + "…"


def paragraph(text: str, indent: int = 2, width: int = WIDTH) -> list[str]:
    """Prose in lines."""
    return textwrap.wrap(text, width, initial_indent=" " * indent, subsequent_indent=" " * indent)


def item(label: str, text: str | Sequence[str], indent: int = 2, column: int = 12, width: int = WIDTH) -> list[str]:
    r"""A label, and beside it text that may need several lines; the parts of a list are not broken.

    >>> print(*item("lanes", "32"), sep="\n")
      lanes     32
    """
    first = " " * indent + label.ljust(column - indent)
    if not isinstance(text, str):
        text = ", ".join(part.replace(" ", SOLID) for part in text)
    wrapped = textwrap.wrap(text, width, initial_indent=first, subsequent_indent=" " * column, break_on_hyphens=False)
    return [line.replace(SOLID, " ") for line in wrapped] or [first.rstrip()]


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
