"""Load only the imports, constants, functions and classes of a user's file, so that no training runs.

Statements run one by one. A statement that is skipped, or that fails, is recorded with its line.
"""

from __future__ import annotations
import __future__

import ast
import contextlib
import importlib.machinery
import io
import json
import linecache
import sys
import tokenize
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

#: Calls that a constant may contain: these builtins, and functions whose dotted path starts with one of ``PURE``.
BUILTINS = (
    *("abs", "bool", "bytes", "complex", "dict", "divmod", "enumerate", "float", "frozenset", "int", "len", "list"),
    *("map", "max", "min", "pow", "property", "range", "reversed", "round", "set", "slice", "sorted", "staticmethod"),
    *("classmethod", "str", "sum", "super", "tuple", "type", "zip"),
)
PURE = (
    *("numpy.", "math.", "cmath.", "functools.", "collections.", "itertools.", "operator.", "typing.", "enum."),
    *("pathlib.", "os.path.", "re.compile", "string.", "dataclasses.", "fractions.", "vugrad.elementwise"),
)
#: Functions of NumPy that read or write files, or test; they are excluded from ``PURE``.
IMPURE = ("numpy.load", "numpy.save", "numpy.genfromtxt", "numpy.fromfile", "numpy.memmap", "numpy.testing.")
#: Calls that are allowed as a statement: they set where imports are searched.
PATHS = ("sys.path.append", "sys.path.insert", "sys.path.extend")
#: The package of a submission's files, so that they can import each other, as in ``from .layers import f``.
PACKAGE = "submission"
FUTURES = {name: getattr(__future__, name).compiler_flag for name in __future__.all_feature_names}


@dataclass(frozen=True)
class Left:
    """A statement that was not loaded.

    Args:
        where: the file and line.
        text: its first line.
        names: the names that it would have assigned.
        error: the error that it raised; empty for a statement that was skipped.
    """

    where: str
    text: str
    names: tuple[str, ...]
    error: str = ""

    def __str__(self) -> str:
        return f"{self.where}: {self.text}" + f" ({self.error})" * bool(self.error)


@dataclass
class Loading:
    """The loader of one submission, and the record of what it has loaded.

    Args:
        root: the folder of the submission's files.
        beside: whether a file can import the files beside it.
        own: the file names of the loaded code, as in ``co_filename`` of its functions.
        left: the statements that were not loaded.
    """

    root: Path
    beside: bool = True
    own: set[str] = field(default_factory=set)
    left: list[Left] = field(default_factory=list)

    def __post_init__(self) -> None:
        package = ModuleType(PACKAGE)
        package.__path__ = [str(self.root)] if self.beside else []
        sys.modules[PACKAGE] = package
        sys.path_hooks.insert(0, self._finder)

    def _finder(self, folder: str) -> Any:
        """The path hook for the submission's folders, whose modules are loaded in the same restricted way."""
        if not Path(folder).resolve().is_relative_to(self.root.resolve()):
            raise ImportError(folder)
        loading = self

        class Loader(importlib.machinery.SourceFileLoader):
            def exec_module(self, module: ModuleType) -> None:
                loading.fill(module, Path(self.path))

        return importlib.machinery.FileFinder(folder, (Loader, [".py"]))

    def load(self, path: Path) -> ModuleType:
        """Load a file as a module of the submission's package."""
        folders = path.parent.relative_to(self.root).parts
        package = ".".join([PACKAGE, *folders])
        name = f"{package}.{path.stem}"
        if name in sys.modules:
            return sys.modules[name]
        module = ModuleType(name)
        module.__file__, module.__package__ = str(path), package
        sys.modules[name] = module
        self.fill(module, path)
        return module

    def fill(self, module: ModuleType, path: Path) -> None:
        """Run the definitions of a file in a module."""
        names = vars(module)
        for cell, source in cells(path):
            label = str(path) + f" {cell}" * bool(cell)
            self.own.add(label)
            where = f"{path.name}{f' {cell}' * bool(cell)}"
            if cell:  # so that inspect finds the source of what it defines
                linecache.cache[label] = len(source), None, source.splitlines(keepends=True), label
            try:
                tree = ast.parse(source, label)
            except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
                self.left.append(_unreadable(where, error))
                continue
            flags = 0
            for statement in _definitions(tree.body, _Names(), self.left, where):
                if isinstance(statement, ast.ImportFrom) and statement.module == "__future__":
                    flags |= sum(FUTURES.get(alias.name, 0) for alias in statement.names)
                    continue
                try:
                    part = ast.Module([statement], [])
                    exec(compile(part, label, "exec", flags, dont_inherit=True), names)
                except BaseException as error:  # SystemExit and MemoryError too
                    self.left.append(_left(where, statement, f"{type(error).__name__}: {error}"))


def cells(path: Path) -> Iterator[tuple[str, str]]:
    """The label and source of a file, or of each code cell of a notebook.

    Raises ``ValueError`` for a file that is not text in its encoding, or not a notebook.
    """
    data = path.read_bytes()
    if path.suffix != ".ipynb":
        try:
            encoding = tokenize.detect_encoding(io.BytesIO(data).readline)[0]
            yield "", data.decode(encoding)
        except (SyntaxError, UnicodeDecodeError) as error:
            line = data.count(b"\n", 0, error.start) + 1 if isinstance(error, UnicodeDecodeError) else 1
            raise ValueError(f"the file is not in UTF-8 (line {line}: {error}): save it as UTF-8") from error
        return
    try:
        found = json.loads(data)["cells"]
        code = [cell for cell in found if cell["cell_type"] == "code"]
        sources = [source if isinstance(source := cell["source"], str) else "".join(source) for cell in code]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"the file is not a notebook of version 4 ({type(error).__name__}: {error})") from error
    for number, source in enumerate(sources, 1):
        yield f"cell {number}", _without_magics(source)


def _without_magics(source: str) -> str:
    """A cell with IPython's own lines replaced by ``pass``; a cell in another language becomes empty."""
    with contextlib.suppress(SyntaxError, ValueError, RecursionError, MemoryError):
        ast.parse(source)
        return source
    lines = source.splitlines()
    first = next((line for line in lines if line.strip()), "")
    if first.startswith("%%") and first[2:].split(" ")[0] not in ("time", "timeit", "capture", "prun"):
        return ""

    def is_magic(line: str) -> bool:
        word = line.strip()
        value = word.partition("=")[2].strip()
        return word.startswith(("%", "!", "?")) or value.startswith(("!", "%")) or word.endswith("?")

    # "pass", since the line may be the only one of an indented block.
    return "\n".join(line[: len(line) - len(line.lstrip())] + "pass" if is_magic(line) else line for line in lines)


def _unreadable(where: str, error: BaseException) -> Left:
    line = getattr(error, "lineno", None)
    text = (getattr(error, "text", None) or "").strip()
    said = error.msg if isinstance(error, SyntaxError) else str(error)
    return Left(f"{where}, line {line}" if line else where, text[:80], (), f"{type(error).__name__}: {said}")


def _left(where: str, statement: ast.stmt, error: str = "") -> Left:
    text = f"a {type(statement).__name__}"
    with contextlib.suppress(RecursionError):
        text = ast.unparse(statement).partition("\n")[0]
    short = text if len(text) <= 80 else f"{text[:79]}…"
    return Left(f"{where}, line {statement.lineno}", short, tuple(_given(statement)), error[:400])


def _given(part: ast.AST) -> Iterator[str]:
    """The names that a statement assigns."""
    if isinstance(part, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        yield part.name
    elif isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store):
        yield part.id
    elif isinstance(part, ast.alias):
        yield part.asname or part.name.partition(".")[0]
    else:
        for inner in ast.iter_child_nodes(part):
            yield from _given(inner)


@dataclass
class _Names:
    """The names of a file: imported ones with their dotted path, and constants."""

    imported: dict[str, str] = field(default_factory=dict)
    constants: set[str] = field(default_factory=set)

    def path(self, e: ast.expr) -> str:
        """The dotted path of an expression, as ``numpy.ones``; empty if it does not start at an import."""
        if isinstance(e, ast.Attribute):
            below = self.path(e.value)
            return f"{below}.{e.attr}" if below else ""
        return self.imported.get(e.id, "") if isinstance(e, ast.Name) else ""

    def is_constant(self, e: ast.AST | None) -> bool:
        """Whether an expression computes a constant, and does nothing else."""
        match e:
            case ast.Lambda():  # its body does not run
                return True
            case ast.Await() | ast.Yield() | ast.YieldFrom():
                return False
            case ast.Call(func=function):
                if not self.may_call(function):
                    return False
        return e is None or all(map(self.is_constant, ast.iter_child_nodes(e)))

    def may_call(self, function: ast.expr) -> bool:
        """Whether a call gives a constant from constants."""
        path = self.path(function)
        if path:
            return path.startswith(PURE) and not path.startswith(IMPURE)
        if isinstance(function, ast.Name):
            return function.id in BUILTINS
        if not isinstance(function, ast.Attribute):
            return False
        start: ast.expr = function.value  # a method, of a constant
        while isinstance(start, ast.Attribute | ast.Subscript):
            start = start.value
        return start.id in self.constants if isinstance(start, ast.Name) else self.is_constant(start)

    def note(self, statement: ast.stmt) -> None:
        """Record the names that a loaded statement imports or assigns."""
        match statement:
            case ast.Import(names=names):
                for alias in names:
                    whole, first = alias.name, alias.name.partition(".")[0]
                    self.imported[alias.asname or first] = whole if alias.asname else first
            case ast.ImportFrom(module=module, names=names, level=0):
                self.imported |= {alias.asname or alias.name: f"{module}.{alias.name}" for alias in names}
            case ast.Assign() | ast.AnnAssign() | ast.AugAssign():
                self.constants |= set(_given(statement))


def _definitions(body: Iterable[ast.stmt], names: _Names, left: list[Left], where: str) -> Iterator[ast.stmt]:
    """The statements to load; blocks keep only such statements. Skipped statements are added to ``left``."""

    def inner(statements: list[ast.stmt]) -> list[ast.stmt]:
        return list(_definitions(statements, names, left, where))

    for statement in body:
        match statement:
            case ast.ImportFrom():  # name by name, so that a missing name does not prevent the others
                for alias in statement.names:
                    one = ast.ImportFrom(statement.module, [alias], statement.level)
                    names.note(one)
                    yield ast.copy_location(one, statement)
                continue
            case ast.Import() | ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                pass
            case ast.Assign(value=value) | ast.AnnAssign(value=value) | ast.AugAssign(value=value) if names.is_constant(
                value
            ):
                pass
            case ast.Expr(value=ast.Constant()) | ast.Pass() | ast.Global() | ast.Delete():
                continue
            case ast.Expr(value=ast.Call(func=function)) if names.path(function) in PATHS:
                pass
            case ast.If(test=test) if _is_main(test):
                continue
            case ast.If(test=test) if names.is_constant(test):
                statement.body = inner(statement.body) or [ast.copy_location(ast.Pass(), statement)]
                statement.orelse = inner(statement.orelse)
            case ast.Try():
                statement.body = inner(statement.body) or [ast.copy_location(ast.Pass(), statement)]
                for handler in statement.handlers:
                    handler.body = inner(handler.body) or [ast.copy_location(ast.Pass(), statement)]
                statement.orelse, statement.finalbody = inner(statement.orelse), inner(statement.finalbody)
            case _:
                left.append(_left(where, statement))
                continue
        names.note(statement)
        yield statement


def _is_main(test: ast.expr) -> bool:
    """Whether a condition asks for ``__name__``, as ``if __name__ == "__main__"`` does."""
    return any(isinstance(part, ast.Name) and part.id == "__name__" for part in ast.walk(test))


def defined(path: Path) -> list[str]:
    """The names of the classes and variables that a file defines at its top, without running any of it."""
    found: list[str] = []
    for _, source in cells(path):
        with contextlib.suppress(SyntaxError, ValueError, RecursionError, MemoryError):
            kinds = (ast.ClassDef, ast.Assign, ast.AnnAssign, ast.If, ast.Try)
            found += [name for part in ast.parse(source).body if isinstance(part, kinds) for name in _given(part)]
    return found
