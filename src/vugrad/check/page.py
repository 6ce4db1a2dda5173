"""The derivations page: each op's maths, code and proof, made from the code itself."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, StrictUndefined
from latex2mathml.converter import convert

from vugrad.check.proof import Proof, prove
from vugrad.files import write_whole
from vugrad.graph import Op
from vugrad.ops.table import ROWS


@dataclass(frozen=True)
class Entry:
    """An op on the page.

    Args:
        name: of the op.
        says: what its docstring says.
        code: of forward and backward.
        proof: at the shapes of one row of the table, with a derivation by index if the op has one there.
        rows: how each row was established, by its shapes and constants.
    """

    name: str
    says: str
    code: str
    proof: Proof
    rows: Mapping[str, str]


def entries(statuses: Mapping[str, str]) -> list[Entry]:
    """An entry for each op of the table; ``statuses`` say how each row was established, by its name."""
    found = []
    for op in dict.fromkeys(row.op for row in ROWS):
        mine = [row for row in ROWS if row.op is op]
        proofs = (prove(op, row.shapes, 20, **row.constants) for row in mine if 0 not in sum(row.shapes, ()))
        proof = next((p for p in proofs if p.derivation is not None), None) or prove(op, seconds=20)
        rows = {row.name.partition(" ")[2]: statuses[row.name] for row in mine}
        found.append(Entry(op.__name__, inspect.cleandoc(op.__doc__ or ""), code_of(op), proof, rows))
    return found


def code_of(op: type[Op]) -> str:
    """The source of both directions."""
    return "\n".join(textwrap.dedent(inspect.getsource(direction)) for direction in (op.forward, op.backward))


def write(found: Iterable[Entry], folder: Path) -> None:
    """``derivations.md``, with LaTeX, and ``derivations.html``, with MathML: it opens without a network."""
    found = list(found)
    plain = Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    safe = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    safe.filters["mathml"] = lambda latex: convert(latex, display="block")
    for environment, name in ((plain, "derivations.md"), (safe, "derivations.html")):
        template = environment.from_string(files("vugrad.check").joinpath(f"{name}.jinja").read_text(encoding="utf-8"))
        write_whole(folder / name, template.render(entries=found).encode())
