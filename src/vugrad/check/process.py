"""Processes that answer requests over pipes: those of judges, and those of submissions, which Linux forks."""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from types import TracebackType
from typing import Any

from vugrad.check.wire import BadMessage, receive, send

#: Whether a module that is started often is imported once, and each process of it forked from that one: it starts in
#: 0.02 s in place of 0.2 s. Not all libraries of macOS survive a fork.
FORKS = sys.platform == "linux"


class Stop(BaseException):
    """The reason why an op is judged no further; ``except Exception`` does not catch it."""


class Ended(Stop):
    """The process that runs the submission has ended; ``late`` if its time ran out."""

    def __init__(self, text: str, late: bool = False) -> None:
        super().__init__(text)
        self.late = late


class Process:
    """A process that answers one request after the other; requests and answers are messages of ``wire``.

    Args:
        module: the module that it runs.
        arguments: the module's arguments.
        hear: whether its standard error is shown.
        often: whether many processes of this module are started: its main program calls :func:`fork_children`.
    """

    def __init__(self, module: str, *arguments: str, hear: bool = False, often: bool = False) -> None:
        self.folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        self.late = False
        self.child: subprocess.Popen[bytes] | Forked
        if often and FORKS:
            self.child = Forked(module, arguments, self.folder.name)
        else:
            out, err = subprocess.PIPE, None if hear else subprocess.DEVNULL
            # A session of its own, so that its children can be killed with it.
            self.child = _started(
                module, *arguments, folder=self.folder.name, stdout=out, stderr=err, start_new_session=True
            )

    def __enter__(self) -> Process:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    def ask(self, request: Mapping[str, Any]) -> Any:
        """The answer to a request; raises :class:`Ended` if there is none."""
        assert self.child.stdin is not None
        assert self.child.stdout is not None
        try:
            send(self.child.stdin, dict(request))
            return receive(self.child.stdout)
        except (EOFError, OSError):
            said = self._how()
            raise Ended(said, self.late) from None
        except BadMessage as error:
            self.end()
            raise Ended(f"its process sent an invalid answer: {error}") from None

    def _how(self) -> str:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.child.wait(5)
        code = self.child.returncode
        if code is not None and code == -getattr(signal, "SIGXCPU", 0):
            self.late = True
        if self.late:
            return "its time ran out"
        if code is not None and code < 0:
            names = {each.value: each.name for each in signal.Signals}
            return f"it crashed, with {names.get(-code, f'signal {-code}')}"
        return f"it ended its process, with status {code}"

    @contextlib.contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """Kill the process if the block takes longer."""
        timer = threading.Timer(seconds, self._expire)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _expire(self) -> None:
        self.late = True
        self.kill()

    def kill(self) -> None:
        """Kill the process and its children."""
        if hasattr(os, "killpg"):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.child.pid, signal.SIGKILL)
        self.child.kill()

    def end(self) -> None:
        """Kill the process, close its pipes and remove its folder."""
        self.kill()
        with contextlib.suppress(OSError), self.child:  # a rest that could not be sent
            pass
        self.folder.cleanup()


def _started(module: str, *arguments: str, folder: str, **options: Any) -> subprocess.Popen[bytes]:
    """A process that runs a module in a folder, with options of :class:`subprocess.Popen`."""
    return subprocess.Popen(
        [sys.executable, "-P", "-m", module, *arguments],  # -P: no module of the current folder
        cwd=folder,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": _absolute(os.environ.get("PYTHONPATH", ""))},
        **{"stdin": subprocess.PIPE, **options},
    )


def _absolute(paths: str) -> str:
    """The folders of a search path as absolute paths, since the other process has another working folder."""
    return os.pathsep.join(os.path.abspath(path) for path in paths.split(os.pathsep) if path)


# --- forks


class Nursery:
    """A process that has imported a module, and forks its children: its main program calls :func:`fork_children`.

    It is killed with the group of the process that starts it; its children have sessions of their own.
    """

    def __init__(self, module: str) -> None:
        self.socket, its = socket.socketpair()
        nothing = subprocess.DEVNULL
        with its:
            self.process = _started(module, folder=os.sep, stdin=its, stdout=nothing, stderr=nothing)
        atexit.register(self.end)

    def fork(self, arguments: list[str], *descriptors: int) -> None:
        """Fork a child that gets arguments, and the descriptors of its requests, answers and status."""
        socket.send_fds(self.socket, [json.dumps(arguments).encode()], descriptors)

    def end(self) -> None:
        """End it; its children go on."""
        atexit.unregister(self.end)
        self.socket.close()
        self.process.kill()
        self.process.wait()


_nurseries: dict[str, Nursery] = {}


def _nursery(module: str) -> Nursery:
    """The nursery of a module, another one if an earlier submission has killed it."""
    if module in _nurseries and _nurseries[module].process.poll() is not None:
        _nurseries.pop(module).end()
    if module not in _nurseries:
        _nurseries[module] = Nursery(module)
    return _nurseries[module]


class Forked:
    """A forked child, with what the rest uses of a :class:`subprocess.Popen`."""

    def __init__(self, module: str, arguments: tuple[str, ...], folder: str) -> None:
        nursery = _nursery(module)
        requests, ours = os.pipe()
        its, answers = os.pipe()
        told, status = os.pipe()
        nursery.fork([folder, *arguments], requests, answers, status)
        for descriptor in (requests, answers, status):
            os.close(descriptor)
        self.stdin, self.stdout = os.fdopen(ours, "wb"), os.fdopen(its, "rb")
        self._status = os.fdopen(told, "rb", buffering=0)
        self.pid = int(self._status.readline())
        self.returncode: int | None = None

    def wait(self, timeout: float | None = None) -> int | None:
        """Its return code; raises ``TimeoutExpired`` if it runs longer than ``timeout`` seconds."""
        if self.returncode is None:
            if not select.select([self._status], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired("a forked process", timeout or 0)
            self.returncode = int(self._status.readline() or -signal.SIGKILL)  # nothing if that too was killed
        return self.returncode

    def __enter__(self) -> Forked:
        return self

    def __exit__(self, *error: object) -> None:
        try:
            self.stdout.close()
            self.stdin.close()
        finally:
            self.wait()
            self._status.close()

    def kill(self) -> None:
        """Kill it."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)


def fork_children(run: Callable[[list[str]], None]) -> None:
    """The main program of a :class:`Nursery`: call ``run`` in a child for each request at standard input, a socket.

    Between this process and each child is one that waits for the child: see :func:`_wait_for_child`.
    """
    asked = socket.socket(fileno=0)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those that wait
    while True:
        text, descriptors, _, _ = socket.recv_fds(asked, 1 << 16, 3)
        if not text:
            return
        if not os.fork():
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            asked.detach()
            _wait_for_child(run, json.loads(text), *descriptors)
        for descriptor in descriptors:
            os.close(descriptor)


def _wait_for_child(
    run: Callable[[list[str]], None], arguments: list[str], requests: int, answers: int, status: int
) -> None:
    """Fork a child that runs ``run`` with two descriptors as its standard streams; write its number and return code.

    The number is the child's alone until the other end of ``status`` is closed.
    """
    child = os.fork()
    if child:
        os.close(requests)
        os.close(answers)
        os.write(status, b"%d\n" % child)
        ended = os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
        assert ended is not None
        code = ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status
        os.write(status, b"%d\n" % code)
        closed = select.poll()
        closed.register(status, 0)
        closed.poll()
        os._exit(0)
    try:
        os.setsid()
        os.chdir(arguments[0])
        os.dup2(requests, 0)
        os.dup2(answers, 1)
        for descriptor in (requests, answers, status):
            os.close(descriptor)
        run(arguments[1:])
    finally:
        os._exit(1)
