"""The runner process of a submission: it evaluates forward and backward on the arrays that the judge sends.

It is forked, or started with the file as its argument; answers one request after the other; and ends when the judge
closes the pipe.
"""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import math
import os
import select
import sys
import threading
import types
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from vugrad.check.loading import Left, Loading, defined
from vugrad.check.maps import Copying
from vugrad.check.process import fork_children
from vugrad.check.subject import listed
from vugrad.check.wire import is_plain, receive, send
from vugrad.graph import Op

Array = Any
#: The number of forward calls whose context is kept for backward.
KEPT = 16
#: The folder of vugrad; and the files and functions in it that a graded op may call, since they compute no derivative.
OURS = str(Path(__file__).parents[1]) + os.sep
ALLOWED = tuple(
    os.path.join(OURS, *parts) for parts in (("ops", "primitives.py"), ("check", "maps.py"), ("check", "loading.py"))
)
HELPERS = ("sum_to", "needs_input_grad", "<module>", "__getattr__")
#: Other packages that compute gradients.
OTHERS = frozenset(
    {"torch", "jax", "tensorflow", "keras", "autograd", "mygrad", "tinygrad", "mxnet", "paddle", "sympy"}
)


class NotOwn(Exception):  # noqa: N818 (the name says what is wrong)
    """The graded op is not the submission's own code."""


def ops_of(module: types.ModuleType) -> dict[str, type[Op]]:
    """The ops that a module itself defines, in order."""
    own: dict[str, type[Op]] = {}
    for name, op in vars(module).items():
        if is_op(op) and op not in own.values() and not _is_imported(op, module):
            own[name] = op
    return own


def is_op(value: Any) -> bool:
    """Whether a value is an op with a forward: a subclass of vugrad's Op, or of a class Op in the submission."""
    if not isinstance(value, type):
        return False
    if issubclass(value, Op):
        return value.forward is not Op.forward  # an abstract base class is no op
    base = next((base for base in value.__mro__[1:] if base.__name__ == "Op"), None)
    return base is not None and getattr(value, "forward", None) is not getattr(base, "forward", None)


def _is_imported(op: type, module: types.ModuleType) -> bool:
    home = sys.modules.get(op.__module__)
    return op.__module__ != module.__name__ and home is not None and vars(home).get(op.__name__) is op


class Submission:
    """A submitted file, or a folder's files, and the ops in them; a file is loaded when one of its ops is requested."""

    def __init__(self, path: Path, beside: bool) -> None:
        self.path = path
        self.root = path if path.is_dir() else path.parent
        self.whole = path.is_dir()
        self.files = files_of(path) if self.whole else [path]
        self.loading = Loading(self.root, beside)
        self.errors: list[Left] = []
        if beside:
            sys.path += dict.fromkeys(str(file.parent) for file in [*self.files, self.root / "file"])

    def _load(self, file: Path) -> types.ModuleType | None:
        try:
            return self.loading.load(file)
        except (OSError, ValueError) as error:
            self._note(file, "", str(error))
        return None

    def names(self) -> list[str]:
        """The names of all ops; of ops of one name, the first is judged."""
        first: dict[str, Path] = {}
        for file in self.files:
            module = self._load(file)
            for name in {} if module is None else ops_of(module):
                if first.setdefault(name, file) != file:
                    self._note(file, f"class {name}", f"only the one in {first[name].relative_to(self.root)} is judged")
        return list(first)

    def find(self, name: str) -> Any:
        """The op of a name; without one, any other object of that name, or ``None``."""
        other, defining = None, [file for file in self.files if not self.whole or self._defines(file, name)]
        for i, file in enumerate(defining):
            module = self._load(file)
            found = getattr(module, name, None)
            if module is not None and name in ops_of(module):
                for again in defining[i + 1 :]:
                    self._note(again, f"class {name}", f"only the one in {file.relative_to(self.root)} is judged")
                return found
            other = other if found is None else found
        return other

    @staticmethod
    def _defines(file: Path, name: str) -> bool:
        """Whether a file defines a name at its top, or cannot be read, which loading it reports."""
        try:
            return name in defined(file)
        except (ValueError, OSError):
            return True

    def _note(self, file: Path, text: str, error: str) -> None:
        """Report a file, or a part of one, that is not judged."""
        found = Left(str(file.relative_to(self.root)), text, (), error)
        if found not in self.errors:
            self.errors.append(found)

    def left(self) -> list[dict[str, Any]]:
        """The statements and files that were not loaded."""
        return [dataclasses.asdict(each) for each in [*self.errors, *self.loading.left]][:200]

    def check_own(self, name: str, op: Any) -> None:
        """Raise :class:`NotOwn` unless forward and backward are functions that the submission defines."""
        for direction in ("forward", "backward"):
            code = code_of(inspect.getattr_static(op, direction, None))
            if code is None:
                raise NotOwn(f"its {direction} is not a function: write def {direction}(context, …) in class {name}")
            if code.co_filename.startswith(OURS):
                raise NotOwn(f"its {direction} is vugrad's own {code.co_qualname}: write your own")
            # The files beside a single file are other submissions.
            if not (code.co_filename in self.loading.own and (self.whole or self._is_in(self.path, code))):
                where = "made at run time" if code.co_filename.startswith("<") else f"in {Path(code.co_filename).name}"
                raise NotOwn(f"its {direction} is {where}, and not in {self.path.name}: define it in {self.path.name}")

    @staticmethod
    def _is_in(path: Path, code: types.CodeType) -> bool:
        return code.co_filename == str(path) or code.co_filename.startswith(f"{path} cell ")


def files_of(folder: Path) -> list[Path]:
    """The Python files and notebooks in a folder and its subfolders, those of the upper folders first."""
    passed = ("__pycache__", "site-packages", "node_modules", "venv", "env", "__MACOSX")
    found = [
        path
        for suffix in ("py", "ipynb")
        for path in folder.rglob(f"*.{suffix}")
        if not any(part.startswith(".") or part in passed for part in path.relative_to(folder).parts) and path.is_file()
    ]
    return sorted(found, key=lambda path: (len(path.parts), path.suffix != ".py", str(path)))[:200]


def code_of(function: Any) -> types.CodeType | None:
    """The code object of a function, below its wrappers; ``None`` if it has none."""
    for _ in range(20):
        if isinstance(function, staticmethod | classmethod):
            function = function.__func__
        elif hasattr(function, "__wrapped__"):
            function = function.__wrapped__
        elif isinstance(getattr(function, "func", None), types.FunctionType):  # of functools.partial
            function = function.func
    if isinstance(function, types.FunctionType | types.MethodType):
        return function.__code__
    called = vars(type(function)).get("__call__")
    return called.__code__ if isinstance(called, types.FunctionType) else None


class Watch:
    """A profile hook that forbids an op to call vugrad's ops and gradients, or other packages that differentiate."""

    def __init__(self, own: set[str]) -> None:
        self.own, self.found = own, ""

    def __call__(self, frame: types.FrameType, event: str, _: Any) -> None:
        """Check one call."""
        if event != "call" or self.found:
            return
        code, module = frame.f_code, str(frame.f_globals.get("__name__"))
        file = code.co_filename
        above = frame.f_back.f_code.co_filename if frame.f_back is not None else ""
        if file.startswith(OURS):
            inside = above.startswith(OURS) and above != __file__
            if not inside and file not in ALLOWED and code.co_name not in HELPERS:
                self.found = f"calls vugrad's {code.co_qualname}"
        elif file == "<string>" and above in self.own and not (code.co_name[:2] == "__" or "namedtuple_" in module):
            self.found = "runs code that is made as it runs, by exec or eval"
        elif (package := module.partition(".")[0]) in OTHERS:
            self.found = f"calls {package}'s {code.co_qualname}"
        if self.found:
            raise NotOwn(self.found)

    def run(self, direction: str, function: Callable[..., Any], *arguments: Any, **constants: Any) -> Any:
        """Call a function; raise :class:`NotOwn` if it makes a forbidden call, even if it catches that error."""
        self.found = ""
        threading.setprofile(self)
        sys.setprofile(self)
        try:
            result = function(*arguments, **constants)
            if sys.getprofile() is not self:
                self.found = self.found or "replaces the profile hook that checks its calls"
            return result
        finally:
            sys.setprofile(None)
            threading.setprofile(None)
            if self.found:
                raise NotOwn(f"its {direction} {self.found}: write it with NumPy and functions of your own")


class Server:
    """Answers requests about one submission."""

    def __init__(self, submission: Submission, own: bool) -> None:
        self.submission, self.own = submission, own
        self.watch = Watch(submission.loading.own)
        self.op: Any = None
        self.calls: dict[int, tuple[Any, list[Array], list[Array]]] = {}
        self.count = 0

    def answer(self, request: Mapping[str, Any]) -> Any:
        """The answer to one request; its key ``do`` names the handler."""
        arguments = {key: value for key, value in request.items() if key != "do"}
        handlers: dict[str, Callable[..., Any]] = {
            "names": self.names,
            "choose": self.choose,
            "forward": self.forward,
            "forwards": self.forwards,
            "backward": self.backward,
            "record": self.record,
        }
        return handlers[request["do"]](**arguments)

    def names(self) -> Any:
        """The names of all ops, and the statements that were not loaded."""
        return {"names": self.submission.names(), "left": self.submission.left()}

    def choose(self, name: str) -> Any:
        """Choose an op, and describe it; if there is no such op, return the names of all ops."""
        op = self.submission.find(name)
        if not is_op(op):
            self.submission.names()
            return {"missing": self.submission.names(), "left": self.submission.left()}
        self.op = op
        if self.own:
            self.submission.check_own(name, op)
        described = {
            "left": self.submission.left(),
            "forward": _parameters(op.forward),
            "backward": _parameters(getattr(op, "backward", None)),
            "constants": dict(getattr(op, "constants", {})),
        }
        if hasattr(op, "inputs"):
            described["inputs"] = [_sendable(np.asarray(x)) for x in op.inputs]
        return described

    def forward(self, xs: list[Array], constants: Any, copying: bool) -> Any:
        """The outputs of a forward, the arrays that it saved in the context, and the inputs that it has changed."""
        context: dict[str, Any] = Copying() if copying else {}
        before = [x.tobytes() for x in xs]
        result = self._run("forward", context, *xs, **constants)
        ys = [_sendable(np.asarray(y)) for y in listed(result)]
        self.count += 1
        self.calls[self.count] = context, xs, ys
        self.calls.pop(self.count - KEPT, None)
        saved = {k: v for k, v in context.items() if isinstance(k, str) and isinstance(v, np.ndarray) and is_plain(v)}
        changed = {i: x for i, x in enumerate(xs) if x.tobytes() != before[i]}
        return {"call": self.count, "ys": None if result is None else ys, "saved": saved, "changed": changed}

    def forwards(self, all_xs: list[list[Array]], constants: Any) -> Any:
        """The outputs of a forward at several inputs."""
        results = [self._run("forward", {}, *xs, **constants) for xs in all_xs]
        return [[_sendable(np.asarray(y)) for y in listed(result)] for result in results]

    def backward(self, call: int, gos: list[Array], replaced: Mapping[str, Array]) -> Any:
        """The gradients, and the arrays of the call that backward has changed."""
        context, xs, ys = self.calls[call]
        context.update(replaced)
        arrays = [*xs, *gos, *(y for y in ys if isinstance(y, np.ndarray))]
        before = [x.tobytes() for x in arrays]
        result = self._run("backward", context, *gos)
        gradients = [_sendable(g) for g in listed(result)]
        changed = {i: x for i, x in enumerate(arrays) if x.tobytes() != before[i]}
        return {"gradients": gradients, "changed": changed}

    def record(self, xs: list[Array], constants: Any) -> Any:
        """Forward and backward as an array program, with the places of its outputs."""
        from vugrad.check.recording import record, sent

        return sent(record(self.op, xs, constants))

    def _run(self, direction: str, *arguments: Any, **constants: Any) -> Any:
        function = getattr(self.op, direction)
        if not self.own:
            return function(*arguments, **constants)
        return self.watch.run(direction, function, *arguments, **constants)


def _sendable(x: Any) -> Any:
    """A result unchanged if ``wire`` can send it; else the name of its type."""
    if x is None or is_plain(x) or type(x) in (bool, int, float, complex):
        return x
    return {"type": type(x).__name__}


def _parameters(function: Any) -> list[Any] | None:
    """The names and kinds of a function's parameters, whether each has a default, and a default that is a number."""
    try:
        found = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return None
    numbers = [p.default if type(p.default) in (int, float) else None for p in found]
    return [[p.name, int(p.kind), p.default is not p.empty, n] for p, n in zip(found, numbers, strict=True)]


def limit(seconds: float, memory: int) -> None:
    """Limit the memory and core-seconds of this process, on systems that support it."""
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
        resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(seconds), math.ceil(seconds) + 1))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def end_with(requests: int) -> None:
    """End this process when nobody can send requests any more, even while an op runs."""
    poll = select.poll()
    poll.register(requests, 0)  # which waits for the other end to be closed
    poll.poll()
    os._exit(1)


def main(path: Path, seconds: float, memory: int, own: bool, beside: bool) -> None:
    """Answer requests on copies of the standard streams, which the submission cannot use; its prints are discarded."""
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)
    if hasattr(select, "poll"):
        threading.Thread(target=end_with, args=(requests.fileno(),), daemon=True).start()
    limit(seconds, memory)
    sys.argv = [str(path)]
    me = os.getpid()
    server = Server(Submission(path, beside), own)
    while True:
        try:
            request = receive(requests)
        except EOFError:
            os._exit(0)
        try:
            with np.errstate(all="ignore"):
                found: dict[str, Any] = {"is": server.answer(request)}
        except NotOwn as error:
            found = {"not own": str(error)}
        except BaseException as error:  # SystemExit and KeyboardInterrupt too
            found = {"error": type(error).__name__, "text": str(error)[:2000]}
        if os.getpid() != me:  # the submission has forked: the child must not answer
            os._exit(0)
        _reply(answers, found)


def _reply(answers: IO[bytes], found: Any) -> None:
    try:
        send(answers, found)
    except (TypeError, ValueError, RecursionError) as error:  # nothing has been written yet
        send(answers, {"error": type(error).__name__, "text": str(error)[:2000]})


def start(words: list[str]) -> None:
    """Call :func:`main` with a command's words."""
    path, seconds, memory, own, beside = words
    main(Path(path), float(seconds), int(memory), own == "own", beside == "beside")


if __name__ == "__main__":
    if sys.argv[1:]:
        start(sys.argv[1:])
    else:
        import vugrad.check.recording  # noqa: F401 (so that its children need not)

        fork_children(start)
