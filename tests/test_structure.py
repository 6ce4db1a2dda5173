"""The shape of the package: which way imports point, what an import loads, what files may be called and hold."""

import ast
import importlib
import inspect
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import vugrad as vg

PACKAGE = Path(vg.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))
ROOT = PACKAGE.parents[1]

#: Imports point to the same floor or down. Folders that do not exist yet have their floors already.
FLOORS = {
    **dict.fromkeys(["suggest", "random", "files", "graph"], 0),
    **dict.fromkeys(["ops"], 1),
    **dict.fromkeys(["nn", "losses", "initializers", "optim", "data"], 2),
    **dict.fromkeys(["course", "core", "functions", "mnist", "modules"], 2.5),
    **dict.fromkeys(["check", "compiler", "viewer", "interchange"], 3),
    **dict.fromkeys(["train"], 4),
    **dict.fromkeys(["lab", "sklearn"], 5),
    **dict.fromkeys(["cli", "__main__", "vugrad"], 6),
}
#: Arrays in, batches out.
DATA_KNOWS = {"data", "files", "random", "suggest"}
#: Of what is not in the standard library, the floors below 3 import this alone; data/ brings its sources' packages.
LOW_FLOORS_KNOW = {"numpy"}


def place(file, package):
    """The file or folder at the top of the package that a file belongs to; ``vugrad`` is the package itself."""
    top = file.relative_to(package).parts[0]
    return "vugrad" if top == "__init__.py" else top.removesuffix(".py")


def imports(file, package):
    """``(line, dotted name)`` of everything that a file imports, wherever in it that is written."""
    folder = ["vugrad", *file.relative_to(package).parts[:-1]]

    def is_module(name):
        path = package.parent.joinpath(*name.split("."))
        return path.is_dir() or path.with_suffix(".py").is_file()

    for statement in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        match statement:
            case ast.Import(names=names):
                yield from ((statement.lineno, alias.name) for alias in names)
            case ast.ImportFrom(module=module, names=names, level=level):
                base = (
                    ".".join([*folder[: len(folder) - level + 1], *([module] if module else [])]) if level else module
                )
                found = {f"{base}.{alias.name}" if is_module(f"{base}.{alias.name}") else base for alias in names}
                yield from ((statement.lineno, name) for name in sorted(found))
            case ast.Call(func=ast.Attribute(attr="import_module") | ast.Name(id="import_module" | "__import__")):
                match statement.args[0]:
                    case ast.Constant(value=name):
                        yield statement.lineno, name
                    case _:
                        yield statement.lineno, "vugrad"  # it might be anything


def arrows_up(package):
    """Every import that points up, as ``file:line: floor a → floor b``."""
    for file in sorted(package.rglob("*.py")):
        above = place(file, package)
        for line, name in imports(file, package):
            parts = name.split(".")
            if parts[0] != "vugrad":
                continue
            below = parts[1] if len(parts) > 1 else "vugrad"
            arrow = (
                f"{file.relative_to(package)}:{line}: {above} (floor {FLOORS[above]}) → {below} (floor {FLOORS[below]})"
            )
            if FLOORS[above] < FLOORS[below] or (above == "data" and below not in DATA_KNOWS):
                yield arrow


def test_no_import_points_up():
    assert list(arrows_up(PACKAGE)) == []


def test_everything_has_a_floor():
    tops = {place(file, PACKAGE) for file in FILES}
    assert tops <= FLOORS.keys(), "give it a floor, in the README's table and here"
    assert {"graph", "ops", "nn", "data", "train", "vugrad"} <= tops, "this is not the package"


@pytest.mark.parametrize(
    ("file", "code", "arrow"),
    [
        ("graph/nodes.py", "import vugrad.nn", "graph (floor 0) → nn (floor 2)"),
        ("graph/nodes.py", "from vugrad import ops", "graph (floor 0) → ops (floor 1)"),
        ("graph/nodes.py", "from vugrad import suggest, nn", "graph (floor 0) → nn (floor 2)"),
        ("graph/nodes.py", "from vugrad.nn.linear import Linear", "graph (floor 0) → nn (floor 2)"),
        ("graph/nodes.py", "from .. import nn", "graph (floor 0) → nn (floor 2)"),
        ("graph/nodes.py", "from ..nn.linear import Linear", "graph (floor 0) → nn (floor 2)"),
        ("nn/linear.py", "import vugrad as vg", "nn (floor 2) → vugrad (floor 6)"),
        ("nn/linear.py", "from vugrad import TensorNode", "nn (floor 2) → vugrad (floor 6)"),
        ("nn/linear.py", "def f():\n    from vugrad.train import fit", "nn (floor 2) → train (floor 4)"),
        ("nn/linear.py", "if TYPE_CHECKING:\n    from vugrad.train import fit", "nn (floor 2) → train (floor 4)"),
        ("nn/linear.py", "import importlib\nimportlib.import_module('vugrad.train')", "nn (floor 2) → train (floor 4)"),
        ("nn/linear.py", "from vugrad.course import Linear", "nn (floor 2) → course (floor 2.5)"),
        ("data/idx.py", "from vugrad.graph import TensorNode", "data (floor 2) → graph (floor 0)"),
        ("random.py", "from vugrad.nn import Module", "random (floor 0) → nn (floor 2)"),
        ("train/fit.py", "from vugrad.cli import main", "train (floor 4) → cli (floor 6)"),
    ],
)
def test_an_import_that_points_up_is_named(file, code, arrow, tmp_path):
    package = tmp_path / "vugrad"
    for name in ("graph/nodes.py", "ops/linear.py", "nn/linear.py", "data/idx.py", "train/fit.py"):
        (package / name).parent.mkdir(parents=True)
        (package / name).write_text('"""Nothing."""\n\nimport numpy as np\n')
    for name in ("__init__.py", "random.py", "suggest.py", "course.py", "cli.py"):
        (package / name).write_text("from vugrad import graph\n" if name == "__init__.py" else "")
    assert list(arrows_up(package)) == []
    (package / file).write_text(code)
    line = 1 + code.count("\n")
    assert list(arrows_up(package)) == [f"{file}:{line}: {arrow}"]


def test_low_floors_know_numpy_only():
    for file in FILES:
        top = place(file, PACKAGE)
        for line, name in imports(file, PACKAGE):
            first = name.split(".")[0]
            known = {*sys.stdlib_module_names, *LOW_FLOORS_KNOW, "vugrad"}
            where = f"{file.relative_to(PACKAGE)}:{line} imports {name}"
            assert FLOORS[top] >= 3 or top == "data" or first in known, where
            assert first != "llvmlite" or file.parent == PACKAGE / "compiler" / "machine", where


def test_importing_vugrad_loads_numpy_alone():
    code = "import sys, vugrad; print(*{name.split('.')[0] for name in sys.modules})"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env={"PYTHONPATH": str(PACKAGE.parent), "PATH": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = set(done.stdout.split())
    assert {"numpy", "vugrad"} <= loaded
    heavy = ["llvmlite", "rich", "typer", "matplotlib", "pooch", "sklearn", "mlxtend", "safetensors", "pandas", "scipy"]
    assert loaded.isdisjoint(heavy)


# --- files


def test_files_are_named_for_what_they_know():
    names = {"util", "utils", "helper", "helpers", "misc", "common", "tools", "stuff"}
    folders = [ROOT / folder for folder in ("src", "tests", "benchmarks") if (ROOT / folder).is_dir()]
    found = [path for folder in folders for path in folder.rglob("*") if path.stem.strip("_").lower() in names]
    assert found == []


def test_files_are_short():
    lengths = {str(file.relative_to(PACKAGE)): len(file.read_text(encoding="utf-8").splitlines()) for file in FILES}
    long = {name: lines for name, lines in lengths.items() if lines > 500}
    assert long == {}, "they know more than one thing"


def unsafe(tree):
    """The lines on which something is, or could be, unpickled."""
    for part in ast.walk(tree):
        names = [getattr(part, key, None) or "" for key in ("id", "attr", "module")]
        names += [alias.name for alias in getattr(part, "names", []) if isinstance(alias, ast.alias)]
        if any({"pickle", "cPickle", "dill", "shelve", "marshal", "joblib"} & set(name.split(".")) for name in names):
            yield part.lineno
        if not (isinstance(part, ast.Call) and getattr(part.func, "attr", "") == "load"):
            continue
        if ast.unparse(part.func).endswith(("np.load", "numpy.load", "lib.npyio.load")):
            allowed = [ast.unparse(keyword.value) for keyword in part.keywords if keyword.arg == "allow_pickle"]
            if allowed != ["False"]:
                yield part.lineno


def test_nothing_is_unpickled():
    for file in [*FILES, *(path for folder in ("tests", "benchmarks") for path in (ROOT / folder).rglob("*.py"))]:
        lines = list(unsafe(ast.parse(file.read_text(encoding="utf-8"))))
        assert lines == [], str(file)


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "from pickle import loads",
        "import numpy as np\nnp.load('a')",
        "np.load('a', allow_pickle=True)",
        "x.pickle.loads(b'')",
    ],
)
def test_unpickling_would_be_found(code):
    assert list(unsafe(ast.parse(code)))
    assert not list(unsafe(ast.parse("np.load('a', allow_pickle=False)  # never a pickle")))


# --- names

MODULES = ["vugrad", *sorted(info.name for info in pkgutil.walk_packages([str(PACKAGE)], "vugrad."))]


def test_public_names_exist_and_are_documented():
    for name in MODULES:
        check_names(name)


def check_names(name):
    """The public names of a module exist, once each, and have docstrings, as it has."""
    module = importlib.import_module(name)
    assert module.__doc__, f"{name} has no docstring"
    public = getattr(module, "__all__", [key for key in vars(module) if key[0] != "_"] if name == "vugrad" else [])
    assert len(public) == len(set(public)), f"{name}.__all__ names something twice"
    for key in public:
        assert hasattr(module, key), f"{name}.__all__ names {key}, which it does not have"
        thing = getattr(module, key)
        if inspect.isclass(thing) or inspect.isroutine(thing):
            # Of its own: a class that does not say anything shows its base's docstring.
            assert vars(thing).get("__doc__") if inspect.isclass(thing) else thing.__doc__, (
                f"{name}.{key} is undocumented"
            )
