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

#: Whether processes can be forked from a fork server: one starts in 0.02 s, an interpreter that imports vugrad in
#: 0.2 s. Linux only: some libraries of macOS do not survive a fork.
FORKS = sys.platform == "linux"


class Stop(BaseException):
    """The judging of an op ends; a ``BaseException``, so that ``except Exception`` does not catch it."""


class Ended(Stop):
    """The process that runs the submission has ended; ``timed_out`` if its time ran out."""

    def __init__(self, text: str, timed_out: bool = False) -> None:
        super().__init__(text)
        self.timed_out = timed_out


class Process:
    """A process that answers one request after the other; requests and answers are messages of ``wire``.

    Args:
        module: the module that it runs.
        arguments: the module's arguments.
        forked: whether it is forked from a fork server, where :data:`FORKS`; its standard error is discarded. The main
            program of such a module calls :func:`fork_children`.
    """

    def __init__(self, module: str, *arguments: str, forked: bool = False) -> None:
        self.folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        self.timed_out = False
        self.child: subprocess.Popen[bytes] | Forked
        if forked and FORKS:
            self.child = Forked(module, arguments, self.folder.name)
        else:
            out, err = subprocess.PIPE, subprocess.DEVNULL if forked else None
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
            raise Ended(said, self.timed_out) from None
        except BadMessage as error:
            self.end()
            raise Ended(f"its process sent an invalid answer: {error}") from None

    def _how(self) -> str:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.child.wait(5)
        code = self.child.returncode
        if code is not None and code == -getattr(signal, "SIGXCPU", 0):
            self.timed_out = True
        if self.timed_out:
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
        self.timed_out = True
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
        with contextlib.suppress(OSError), self.child:  # closing sends what is buffered, and the pipe may be broken
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


class ForkServer:
    """A process that has imported a module, and forks a child for each request; it runs :func:`fork_children`.

    It is killed with the group of the process that starts it; its children have sessions of their own.
    """

    def __init__(self, module: str) -> None:
        self.socket, child_end = socket.socketpair()
        null = subprocess.DEVNULL
        with child_end:
            self.process = _started(module, folder=os.sep, stdin=child_end, stdout=null, stderr=null)
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


_fork_servers: dict[str, ForkServer] = {}


def _fork_server(module: str) -> ForkServer:
    """The fork server of a module, another one if an earlier submission has killed it."""
    if module in _fork_servers and _fork_servers[module].process.poll() is not None:
        _fork_servers.pop(module).end()
    if module not in _fork_servers:
        _fork_servers[module] = ForkServer(module)
    return _fork_servers[module]


class Forked:
    """A forked child, with the part of :class:`subprocess.Popen` that :class:`Process` uses."""

    def __init__(self, module: str, arguments: tuple[str, ...], folder: str) -> None:
        server = _fork_server(module)
        request_read, request_write = os.pipe()
        answer_read, answer_write = os.pipe()
        status_read, status_write = os.pipe()
        server.fork([folder, *arguments], request_read, answer_write, status_write)
        for descriptor in (request_read, answer_write, status_write):
            os.close(descriptor)
        self.stdin, self.stdout = os.fdopen(request_write, "wb"), os.fdopen(answer_read, "rb")
        self._status = os.fdopen(status_read, "rb", buffering=0)
        self.pid = int(self._status.readline())
        self.returncode: int | None = None

    def wait(self, timeout: float | None = None) -> int | None:
        """Its return code; raises ``TimeoutExpired`` if it runs longer than ``timeout`` seconds."""
        if self.returncode is None:
            if not select.select([self._status], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired("a forked process", timeout or 0)
            self.returncode = int(self._status.readline() or -signal.SIGKILL)  # empty if the waiting process was killed
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
    """The main program of a :class:`ForkServer`: call ``run`` in a child for each request at standard input, a socket.

    Between this process and each child is one that waits for the child: see :func:`_wait_for_child`.
    """
    requests = socket.socket(fileno=0)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps the waiting processes
    while True:
        text, descriptors, _, _ = socket.recv_fds(requests, 1 << 16, 3)
        if not text:
            return
        if not os.fork():
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            requests.detach()
            _wait_for_child(run, json.loads(text), *descriptors)
        for descriptor in descriptors:
            os.close(descriptor)


def _wait_for_child(
    run: Callable[[list[str]], None], arguments: list[str], requests: int, answers: int, status: int
) -> None:
    """Fork a child that runs ``run`` with two descriptors as its standard streams; write its id, then its return code.

    The child is reaped when the other end of ``status`` is closed, so that until then no other process has its id.
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
        os.waitpid(child, 0)
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
