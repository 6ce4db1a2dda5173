"""The console on which the commands print (extra ``lab``)."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

from rich.console import Console


class Screen(Console):
    """A console of plain text that wraps long lines between words on a terminal.

    Output to a file or a pipe is not wrapped.
    """

    def __init__(self, stderr: bool = False) -> None:
        super().__init__(stderr=stderr, markup=False, highlight=False, soft_wrap=True)

    def print(self, *objects: Any, **options: Any) -> None:
        """Print as ``rich`` does; on a terminal, wrap the lines of strings."""
        if self.is_terminal:
            objects = tuple(folded(x, self.width) if isinstance(x, str) else x for x in objects)
        super().print(*objects, **options)


def folded(text: str, width: int) -> str:
    r"""Text whose long lines are wrapped with their own indentation; a word longer than a line stays whole.

    >>> print(folded("a net\n  begin with random weights", 20))
    a net
      begin with random
      weights
    """
    lines = []
    for line in text.split("\n"):
        indent = line[: len(line) - len(line.lstrip())]
        broken = textwrap.wrap(
            line.lstrip(), width, initial_indent=indent, subsequent_indent=indent, break_long_words=False,
            break_on_hyphens=False, replace_whitespace=False, expand_tabs=False,
        )  # fmt: skip
        lines += broken or [""]
    return "\n".join(lines)


def joined(parts: Sequence[str], width: int) -> str:
    """Parts of a line, three spaces apart if they fit, else two; parts that do not fit go to the next lines.

    >>> joined(["epoch 1", "train 0.5", "validation 0.6"], 80)
    'epoch 1   train 0.5   validation 0.6'
    >>> print(joined(["epoch 1", "train 0.5", "validation 0.6"], 24))
    epoch 1  train 0.5
             validation 0.6
    """
    if len(wide := "   ".join(parts)) <= width:
        return wide
    lines = [parts[0]]
    for part in parts[1:]:
        if len(lines[-1]) + 2 + len(part) <= width:
            lines[-1] += f"  {part}"
        else:
            lines.append(" " * (len(parts[0]) + 2) + part)
    return "\n".join(lines)
