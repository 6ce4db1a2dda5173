"""What the kernels are made of: expressions, statements, buffers, stages.

An expression has one value a lane. Inside the loop over lanes, the lanes' variable stands for all of its values at
once, and what depends on it is a vector; everything else is one number.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from vugrad.compiler.arrays.program import SHORT
from vugrad.compiler.loops.index import Index, Var

DType = np.dtype[Any]


@dataclass(eq=False)
class Buffer:
    """A stretch of memory of ``size`` elements.

    ``role`` says whose it is: "argument", "order", "state", "scalar", "output", "constant" are given to every call;
    "temporary" is the plan's own, and "scratch" is too, one for each thread. An argument of rows has ``row`` elements
    in each, and as many rows as there are.
    """

    name: str
    dtype: DType
    size: int
    role: str
    row: int = 0
    value: Any = None

    @property
    def nbytes(self) -> int:
        """Bytes."""
        return self.size * self.dtype.itemsize

    def __str__(self) -> str:
        return f"{self.name}: {SHORT[self.dtype]}[{self.size}] {self.role}"


# --- expressions


class Expression:
    """One number for each lane; ``dtype`` says of which kind."""

    dtype: DType

    def parts(self) -> tuple[Expression, ...]:
        """The expressions that it is made of."""
        return ()

    def indices(self) -> tuple[Index, ...]:
        """The indices in it."""
        return ()

    def variables(self) -> set[Var]:
        """Every loop variable that it depends on, but for what accumulators hold."""
        found: set[Var] = set()
        for part in walk(self):
            for index in part.indices():
                found |= index.variables()
        return found

    def reads_locals(self) -> bool:
        """Whether it depends on what locals hold."""
        return any(isinstance(part, Read) for part in walk(self))

    def substitute(self, values: Mapping[Var, Index]) -> Expression:
        """The expression with some variables replaced."""
        raise NotImplementedError


@dataclass(eq=False)
class Constant(Expression):
    """A number."""

    value: Any
    dtype: DType

    def substitute(self, values: Mapping[Var, Index]) -> Expression:
        """Itself."""
        return self

    def __str__(self) -> str:
        return f"{self.value:g}" if self.dtype.kind == "f" else str(self.value)


@dataclass(eq=False)
class Position(Expression):
    """The value of an index, as a number."""

    index: Index
    dtype: DType

    def indices(self) -> tuple[Index, ...]:
        """Its own."""
        return (self.index,)

    def substitute(self, values: Mapping[Var, Index]) -> Expression:
        """The same of the new index."""
        return Position(self.index.substitute(values), self.dtype)

    def __str__(self) -> str:
        return f"({self.index})"


@dataclass(eq=False)
class Load(Expression):
    """An element of a buffer."""

    buffer: Buffer
    index: Index

    def __post_init__(self) -> None:
        self.dtype = self.buffer.dtype

    def indices(self) -> tuple[Index, ...]:
        """Its own."""
        return (self.index,)

    def substitute(self, values: Mapping[Var, Index]) -> Expression:
        """The same at the new index."""
        return Load(self.buffer, self.index.substitute(values))

    def __str__(self) -> str:
        return f"{self.buffer.name}[{self.index}]"


@dataclass(eq=False)
class Call(Expression):
    """A primitive of the element-wise family applied to expressions."""

    function: str
    arguments: tuple[Expression, ...]
    dtype: DType

    def parts(self) -> tuple[Expression, ...]:
        """The arguments."""
        return self.arguments

    def substitute(self, values: Mapping[Var, Index]) -> Expression:
        """The same of the new arguments."""
        return Call(self.function, tuple(x.substitute(values) for x in self.arguments), self.dtype)

    def __str__(self) -> str:
        if self.function in SIGNS and len(self.arguments) == 2:
            return f"({self.arguments[0]} {SIGNS[self.function]} {self.arguments[1]})"
        name = SHORT[self.dtype] if self.function == "cast" else self.function
        return f"{name}({', '.join(map(str, self.arguments))})"


SIGNS = {
    "add": "+",
    "sub": "-",
    "mul": "·",
    "div": "/",
    "eq": "==",
    "ne": "!=",
    "lt": "<",
    "le": "<=",
    "gt": ">",
    "ge": ">=",
    "and": "&",
    "or": "|",
    "xor": "^",
}


@dataclass(frozen=True)
class Condition:
    """``index >= 0``; with ``zero`` it is ``index == 0``."""

    index: Index
    zero: bool = False

    def known(self) -> bool | None:
        """Whether it holds, where that is sure."""
        low, high = self.index.range()
        if self.zero:
            return True if low == high == 0 else False if low > 0 or high < 0 else None
        return True if low >= 0 else False if high < 0 else None

    def substitute(self, values: Mapping[Var, Index]) -> Condition:
        """The condition on the new index."""
        return Condition(self.index.substitute(values), self.zero)

    def __str__(self) -> str:
        return f"{self.index} {'==' if self.zero else '>='} 0"


@dataclass(eq=False)
class Guard(Expression):
    """``then`` where all conditions hold, else ``otherwise``. Nothing in ``then`` is read where they do not."""

    conditions: tuple[Condition, ...]
    then: Expression
    otherwise: Expression

    def __post_init__(self) -> None:
        self.dtype = self.then.dtype

    def parts(self) -> tuple[Expression, ...]:
        """Both sides."""
        return (self.then, self.otherwise)

    def indices(self) -> tuple[Index, ...]:
        """Of the conditions."""
        return tuple(condition.index for condition in self.conditions)

    def substitute(self, values: Mapping[Var, Index]) -> Expression:
        """The same with new conditions and sides; one side alone where the conditions are settled."""
        return guard(
            tuple(c.substitute(values) for c in self.conditions),
            self.then.substitute(values),
            self.otherwise.substitute(values),
        )

    def __str__(self) -> str:
        return f"({self.then} if {' and '.join(map(str, self.conditions))} else {self.otherwise})"


def guard(conditions: tuple[Condition, ...], then: Expression, otherwise: Expression) -> Expression:
    """A guard without conditions that surely hold; the other side if one surely does not."""
    known = [condition.known() for condition in conditions]
    if False in known:
        return otherwise
    left = tuple(c for c, k in zip(conditions, known, strict=True) if k is None)
    return Guard(left, then, otherwise) if left else then


@dataclass(eq=False)
class Read(Expression):
    """What a local holds; ``at`` picks one of its copies, as in ``sum[2,0]``."""

    local: str
    at: tuple[Index, ...]
    dtype: DType

    def indices(self) -> tuple[Index, ...]:
        """Which copy."""
        return self.at

    def substitute(self, values: Mapping[Var, Index]) -> Expression:
        """The same of another copy."""
        return Read(self.local, tuple(i.substitute(values) for i in self.at), self.dtype)

    def __str__(self) -> str:
        return self.local + _copy(self.at)


@dataclass(eq=False)
class AcrossLanes(Expression):
    """The sum (or "maximum", "minimum") of an expression over all lanes: one number."""

    how: str
    of: Expression

    def __post_init__(self) -> None:
        self.dtype = self.of.dtype

    def parts(self) -> tuple[Expression, ...]:
        """What is reduced."""
        return (self.of,)

    def substitute(self, values: Mapping[Var, Index]) -> Expression:
        """The same of the new expression."""
        return AcrossLanes(self.how, self.of.substitute(values))

    def __str__(self) -> str:
        return f"{self.how} over lanes of {self.of}"


def walk(expression: Expression) -> Iterator[Expression]:
    """The expression and all that it is made of, each part once, those that positions are read by included."""
    pending, seen = [expression], set[int]()
    while pending:
        x = pending.pop()
        if id(x) in seen:  # a part of several: of a chain of sums x + x there are more ways down than can be walked
            continue
        seen.add(id(x))
        yield x
        pending.extend(x.parts())
        for index in x.indices():
            pending.extend(_indirect(index))


def _indirect(index: Index) -> Iterator[Expression]:
    for atom in index.terms:
        if hasattr(atom, "at"):
            yield atom.at
        elif hasattr(atom, "index"):
            yield from _indirect(atom.index)


def _copy(at: tuple[Index, ...]) -> str:
    return f"[{','.join(map(str, at))}]" if at else ""


# --- statements


@dataclass(eq=False)
class Loop:
    """``for var in max(lower) … min(upper) − 1``, the body once for each.

    ``kind`` is "serial"; "unrolled", the body written out for each value; "turned", the same where memory along the
    loop is turned into lanes, and lanes into it, in registers; or "lanes", all values at once. Lower and upper bounds
    may depend on outer variables and lie within 0 … extent. A turned loop does not read what it writes.
    """

    var: Var
    body: list[Statement]
    kind: str = "serial"
    lower: tuple[Index, ...] = ()
    upper: tuple[Index, ...] = ()


@dataclass(eq=False)
class Define:
    """Give a local (a new copy of it) its first value."""

    local: str
    at: tuple[Index, ...]
    value: Expression


@dataclass(eq=False)
class Update:
    """Combine what a local holds with a value: ``sum``, ``maximum``, ``minimum``, or ``set`` it."""

    local: str
    at: tuple[Index, ...]
    how: str
    value: Expression


@dataclass(eq=False)
class Store:
    """Write an element of a buffer, or add to it; only where all conditions hold."""

    buffer: Buffer
    index: Index
    value: Expression
    add: bool = False
    conditions: tuple[Condition, ...] = ()


@dataclass(eq=False)
class Prefetch:
    """A hint that an element of a buffer will be needed soon: it has no effect on any number, and cannot fail."""

    buffer: Buffer
    index: Index


Statement = Loop | Define | Update | Store | Prefetch


@dataclass(eq=False)
class Kernel:
    """Some loops that fill some buffers; ``computes`` names the array instructions, and ``flop`` their operations."""

    name: str
    body: list[Statement]
    computes: list[int]
    flop: int = 0

    def statements(self) -> Iterator[Statement]:
        """All statements, those in loops included."""
        pending = list(self.body)
        while pending:
            x = pending.pop()
            yield x
            if isinstance(x, Loop):
                pending.extend(x.body)

    def stores(self) -> set[Buffer]:
        """The buffers that it writes."""
        return {x.buffer for x in self.statements() if isinstance(x, Store)}

    def updates(self) -> set[str]:
        """The locals that it updates."""
        return {x.local for x in self.statements() if isinstance(x, Update)}


@dataclass(eq=False)
class BlockLoop:
    """Kernels that run one after the other for one block of the batch, then for the next."""

    var: Var
    kernels: list[Kernel]
    lower: tuple[Index, ...] = ()
    upper: tuple[Index, ...] = ()


@dataclass(eq=False)
class Stage:
    """What each thread does on its own part of the work, without waiting for the other threads."""

    thread: Var
    parts: list[Kernel | BlockLoop]

    def kernels(self) -> list[Kernel]:
        """Every kernel, in order."""
        return [k for part in self.parts for k in (part.kernels if isinstance(part, BlockLoop) else [part])]


@dataclass(eq=False)
class LoopProgram:
    """Buffers, and stages that run in order; all threads finish a stage before one begins the next."""

    buffers: list[Buffer]
    stages: list[Stage]
    threads: int
    lanes: int

    def __str__(self) -> str:
        lines = [str(buffer) for buffer in self.buffers]
        for i, stage in enumerate(self.stages):
            lines.append(f"stage {i}, on each thread {stage.thread.name} of {self.threads}:")
            for part in stage.parts:
                inner = part.kernels if isinstance(part, BlockLoop) else [part]
                depth = 1
                if isinstance(part, BlockLoop):
                    lines.append(f"  for {part.var.name} in {bounds(part.lower, part.upper, part.var)}:")
                    depth = 2
                for kernel in inner:
                    lines.append(f"{'  ' * depth}# {kernel.name}")
                    lines += text(kernel.body, depth)
        return "\n".join(lines)


def bounds(lower: tuple[Index, ...], upper: tuple[Index, ...], var: Var) -> str:
    """A loop's range as text."""
    low = f"max({', '.join(map(str, lower))})" if len(lower) > 1 else str(lower[0]) if lower else "0"
    tops = [*map(str, upper)] or [str(var.extent)]
    return f"{low} … {f'min({chr(44).join(tops)})' if len(tops) > 1 else tops[0]}"


def text(body: list[Statement], depth: int = 0) -> list[str]:
    """Statements as lines of text."""
    lines: list[str] = []
    pad = "  " * depth
    for x in body:
        match x:
            case Loop():
                kind = "" if x.kind == "serial" else f"  ({x.kind})"
                lines.append(f"{pad}for {x.var.name} in {bounds(x.lower, x.upper, x.var)}{kind}:")
                lines += text(x.body, depth + 1)
            case Define():
                lines.append(f"{pad}{x.local}{_copy(x.at)} = {x.value}")
            case Update():
                sign = {"sum": "+=", "set": "←"}.get(x.how, f"{x.how}=")
                lines.append(f"{pad}{x.local}{_copy(x.at)} {sign} {x.value}")
            case Prefetch():
                lines.append(f"{pad}prefetch {x.buffer.name}[{x.index}]")
            case Store():
                condition = f"  if {' and '.join(map(str, x.conditions))}" if x.conditions else ""
                lines.append(f"{pad}{x.buffer.name}[{x.index}] {'+=' if x.add else '='} {x.value}{condition}")
    return lines
