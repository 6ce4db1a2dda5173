"""The derivations page of a user's file: a process for each op runs the file and returns the op's section as text."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from vugrad.check.grade import MEMORY, SECONDS
from vugrad.check.inputs import rows_of
from vugrad.check.page import Entry, Failed, entry, section as section_of
from vugrad.check.runner import Submission
from vugrad.files import write_whole

#: Seconds for loading a file and deriving one of its ops, in addition to the time of the proofs.
MORE = 20.0


def names(path: Path) -> list[str]:
    """The names of the ops that a file defines.

    Raises ``ValueError`` for a file that does not exist, cannot be run, or defines no op.
    """
    if not path.exists():
        raise ValueError(f"{path} is not there: give the file with the ops")
    try:
        found: list[str] = _apart(str(path), "")["names"]
    except Failed as error:
        raise ValueError(f"{path} cannot be run: {error}") from None
    if not found:
        raise ValueError(f"{path} defines no Op: write class Name(vg.Op), with forward and backward")
    return found


def section(path: str, name: str) -> tuple[dict[str, str], str]:
    """The section of one op, and the error that prevented it, or ""."""
    return section_of(name, lambda: Entry(**_apart(path, name)["entry"]))


def _apart(path: str, name: str) -> dict[str, Any]:
    """The result of the child process; raises ``Failed`` with the child's error, or with how it ended."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "found.json"
        # -P: modules in the current folder must not shadow the library's.
        command = [sys.executable, "-P", "-m", "vugrad.check.filepage", path, name, str(out)]
        try:
            ended = subprocess.run(
                command, stdin=subprocess.DEVNULL, capture_output=True, timeout=SECONDS + MORE, check=False
            )
        except subprocess.TimeoutExpired:
            raise Failed(f"it was not done after {SECONDS + MORE:g} s: does a loop never end?") from None
        if not out.exists():
            raise Failed(f"it ended its process, with status {ended.returncode}")
        found: dict[str, Any] = json.loads(out.read_bytes())
    if "error" in found:
        raise Failed(found["error"])
    return found


def _child(path: Path, name: str, out: Path) -> None:
    """Run in the child process: write the names of all ops of a file, or the entry of one op, to ``out``."""
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    except (ImportError, ValueError, OSError):  # this system has no memory limit
        pass
    try:
        submission = Submission(path, beside=True)
        ops = submission.names()
        if submission.errors:
            raise ValueError(submission.errors[0].error)
        if name and name not in ops:
            raise ValueError(f"there is no op {name} in {path.name}")
        if name:
            rows, _ = rows_of(name, submission.find(name))
            found: dict[str, Any] = {"entry": dataclasses.asdict(entry(rows, SECONDS / len(rows)))}
        else:
            found = {"names": ops}
    except BaseException as error:  # SystemExit and MemoryError too
        found = {"error": f"{type(error).__name__}: {error}"}
    write_whole(out, json.dumps(found).encode())


if __name__ == "__main__":
    _child(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
