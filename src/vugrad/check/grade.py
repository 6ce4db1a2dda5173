"""Ops in files of others, each judged in a process of its own, so that whatever one does costs that one alone."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from vugrad.check.submission import Verdict, judge, load, ops_of
from vugrad.compiler.machine.threads import allowed
from vugrad.files import write_whole
from vugrad.suggest import choose

#: Seconds, and bytes of memory, that one op may take.
SECONDS, MEMORY = 20.0, 4 * 2**30


def grade(
    path: Path, names: Sequence[str] | None = None, seconds: float = SECONDS, memory: int = MEMORY
) -> list[Verdict]:
    """A verdict for each op of a file, or for each that is asked for; one that is not there is "missing".

    Every op has a process of its own, with a limit of time and memory: an endless loop or a crash costs that op. It is
    no protection against malice: what is in the file runs with the rights of who grades it.

    Raises ``ValueError`` for a file that is not there or, where no names are given, cannot be run.
    """
    if not path.is_file():
        raise ValueError(f"{path} is not there: give the file with the ops")
    if names is not None and not names:
        raise ValueError("no op is named: write --ops Normalize,ReLU, or leave it out for all")
    if names is None:
        listed = _apart(path, None, seconds, memory)
        if "names" not in listed:
            raise ValueError(f"{path} cannot be run: {listed['text']}")
        names = listed["names"]
        if not names:
            raise ValueError(f"{path} defines no Op: write class Name(vg.Op), with forward and backward")
    with ThreadPoolExecutor(allowed()) as threads:
        found = list(threads.map(lambda name: _apart(path, name, seconds, memory), dict.fromkeys(names)))
    return [Verdict(**verdict) for verdict in found]


def _apart(path: Path, name: str | None, seconds: float, memory: int) -> dict[str, Any]:
    """What the child says of an op, or of all names; if it says nothing, how it ended."""
    with tempfile.TemporaryDirectory() as folder:
        out, errors = Path(folder) / "verdict.json", Path(folder) / "errors.txt"
        command = [
            sys.executable,
            "-P",  # what lies in the current folder is not the library's
            "-m",
            "vugrad.check.grade",
            str(path),
            name or "",
            str(seconds),
            str(memory),
            str(out),
        ]
        with errors.open("wb") as stderr:  # what else it starts ends with it, and one thread is enough
            child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                start_new_session=True,
                env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
            )
        try:
            child.wait(seconds + 5)
            last = errors.read_text(errors="replace").strip().rpartition("\n")[2]
            ended = f"it ended its process, with status {child.returncode}" + (f": {last}" if last else "")
            if child.returncode < 0:
                ended = f"it crashed, with {signal.Signals(-child.returncode).name}"
        except subprocess.TimeoutExpired:
            ended = f"it was not done after {seconds:g} s: does a loop never end?"
        finally:
            _end(child)
        try:
            return dict(json.loads(out.read_bytes()))
        except (OSError, ValueError):
            return dataclasses.asdict(Verdict(name or "", "unknown", "wrong", ended))


def _end(child: subprocess.Popen[bytes]) -> None:
    if hasattr(os, "killpg"):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
    child.kill()
    child.wait()


def _child(path: Path, name: str, seconds: float, memory: int, out: Path) -> None:
    """In the child: judge, and write down what was found."""
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    except (ImportError, ValueError, OSError):  # there is none on this system
        pass
    try:
        ops = ops_of(load(path))
        if not name:
            found: dict[str, Any] = {"names": list(ops)}
        elif name in ops:
            for verdict in judge(name, ops[name], seconds / 2):
                found = dataclasses.asdict(verdict)
                write_whole(out, json.dumps(found).encode())
        else:
            try:
                choose("op", name, ops)
            except ValueError as error:
                found = dataclasses.asdict(Verdict(name, "unknown", "missing", str(error)))
    except BaseException as error:  # SystemExit and MemoryError too
        found = dataclasses.asdict(Verdict(name, "unknown", "wrong", f"{type(error).__name__}: {error}"))
    write_whole(out, json.dumps(found).encode())


if __name__ == "__main__":
    _child(Path(sys.argv[1]), sys.argv[2], float(sys.argv[3]), int(sys.argv[4]), Path(sys.argv[5]))
