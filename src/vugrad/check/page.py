"""The derivations page: each op's maths, code and proof, made from the code itself, section by section."""

from __future__ import annotations

import contextlib
import inspect
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, StrictUndefined, Template
from latex2mathml.converter import convert

from vugrad.check.derive import Derivation, derive_row
from vugrad.check.proof import established
from vugrad.files import write_whole
from vugrad.ops.table import Row

#: The endings of the two pages.
ENDINGS = ("md", "html")


@dataclass(frozen=True)
class Entry:
    """An op on the page.

    Args:
        name: of the op.
        says: its docstring.
        code: of forward and backward.
        blocks: the derivation by index: titles, and equations in LaTeX; none for an op that has no such form.
        worked_out: one element of each gradient if there is no derivation, and what is wrong or not established.
        rows: the status of each row, by its shapes and constants.
        error: why the section could not be made.
    """

    name: str
    says: str = ""
    code: str = ""
    blocks: Sequence[tuple[str, str]] = ()
    worked_out: str = ""
    rows: Mapping[str, str] = field(default_factory=dict)
    error: str = ""


class Failed(Exception):  # noqa: N818 (the name says how another process ended)
    """The process that should make an entry failed; the message says how."""


def entry(rows: Sequence[Row], seconds: float) -> Entry:
    """The entry of an op; each of its rows is checked and proven, with a limit of ``seconds`` for each proof."""
    op = rows[0].op
    found = [established(row, seconds) for row in rows]
    derivation = next(filter(None, (_derivation(row) for row in rows if 0 not in sum(row.shapes, ()))), None)
    open_rows = sorted((result for result in found if result[0] != "proven"), key=lambda each: each[0] != "wrong")
    texts = [text for _, text in open_rows[:1]]
    if derivation is None and not texts:
        texts = [text for row, (_, text) in zip(rows, found, strict=True) if 0 not in sum(row.shapes, ())][:1]
    return Entry(
        op.__name__,
        inspect.cleandoc(op.__doc__ or ""),
        "\n".join(textwrap.dedent(inspect.getsource(direction)) for direction in (op.forward, op.backward)),
        derivation.blocks() if derivation is not None else (),
        "\n\n".join(texts),
        {row.name.partition(" ")[2]: status for row, (status, _) in zip(rows, found, strict=True)},
    )


def _derivation(row: Row) -> Derivation | None:
    """The derivation at a row, or ``None``."""
    with contextlib.suppress(Exception):  # the derivation is only for reading, and not all ops have one
        return derive_row(row)
    return None


@cache
def template(name: str) -> Template:
    """The template in ``name.jinja``, which escapes for HTML if the name has that ending."""
    html = ".html" in name
    environment = Environment(autoescape=html, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["mathml"] = lambda latex: convert(latex, display="block")
    return environment.from_string(files("vugrad.check").joinpath(f"{name}.jinja").read_text(encoding="utf-8"))


def section(name: str, make: Callable[[], Entry]) -> tuple[dict[str, str], str]:
    """The section of an op for each page, Markdown with LaTeX and HTML with MathML; and the error, or "".

    An error prevents only this section, which then shows the error.
    """
    try:
        return _rendered(make()), ""
    except Exception as error:
        text = str(error) if isinstance(error, Failed) else f"{type(error).__name__}: {error}"
        return _rendered(Entry(name, error=text)), text


def _rendered(found: Entry) -> dict[str, str]:
    return {ending: template(f"section.{ending}").render(e=found) for ending in ENDINGS}


class Page:
    """``derivations.md`` and a self-contained ``derivations.html``; both are written again with each new section.

    Args:
        folder: the folder of both files.
        title: the title of both.
        names: the names of all ops, in order.
    """

    def __init__(self, folder: Path, title: str, names: Sequence[str]) -> None:
        self.folder, self.title, self.names = folder, title, list(names)
        self.done: dict[str, dict[str, str]] = {}
        self.write()

    def add(self, name: str, section: dict[str, str]) -> None:
        """Add the section of an op."""
        self.done[name] = section
        self.write()

    def write(self) -> None:
        """Write both pages with the sections that are done."""
        names = [name for name in self.names if name in self.done]
        for ending in ENDINGS:
            text = template(f"derivations.{ending}").render(
                title=self.title,
                names=names,
                missing=len(self.names) - len(names),
                sections=[self.done[name][ending] for name in names],
            )
            write_whole(self.folder / f"derivations.{ending}", text.encode())
