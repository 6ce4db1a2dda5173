"""Files that are there whole or not at all, and that one process writes at a time."""

from __future__ import annotations

import contextlib
import errno
import glob
import json
import math
import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any


def check_writable(path: Path) -> None:
    """Make the folder of a file to be, and raise ``OSError`` that says so if the file cannot be written in it."""
    folder = path.parent
    if path.is_dir():
        raise OSError(f"cannot write the file {path}: it is a folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OSError(f"cannot write to the folder {folder}: {error.strerror or error}") from error


def as_json(record: Any) -> bytes:
    """A record as JSON, with null for NaN and infinity, which JSON lacks.

    >>> print(as_json({"loss": float("nan"), "epochs": 2}).decode())
    {
     "loss": null,
     "epochs": 2
    }
    """
    return json.dumps(_finite(record), indent=1, allow_nan=False).encode()


def _finite(record: Any) -> Any:
    if isinstance(record, dict):
        return {key: _finite(value) for key, value in record.items()}
    if isinstance(record, list | tuple):
        return [_finite(value) for value in record]
    return None if isinstance(record, float) and not math.isfinite(record) else record


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that at every moment the old or the new one is there, whole, also if the power fails."""
    path = path.resolve() if path.is_symlink() else path  # the file that a link names is written, and the link stays
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and not path.is_file():  # a device, which is written to and not replaced
        path.write_bytes(content)
        return
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}")
    try:
        with open(temporary, "wb") as file:  # unlike tempfile's, it has the permissions that a new file has
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno and error.filename is None:
            error.filename = str(path)
        raise
    if hasattr(os, "O_DIRECTORY"):  # where folders can be opened, they can be synced, and the new name with them
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


@contextlib.contextmanager
def held(path: Path) -> Iterator[None]:
    """Be the only one, of all processes and threads that ask, to write a file; what they left half written goes.

    Raises ``OSError``, at once, if another one is at it. A process that is killed does not hold it any more.
    """
    check_writable(path)
    lock = path.with_name(f".{path.name}.lock")
    with open(lock, "a+") as file:
        if not _locked(file):
            file.seek(0)
            raise OSError(f"process {file.read() or '?'} is writing {path} already: give another folder")
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        for partial in path.parent.glob(f".{glob.escape(path.name)}.[0-9]*"):
            partial.unlink(missing_ok=True)
        yield


def _locked(file: IO[str]) -> bool:
    """Lock an open file until it is closed; whether nobody else has. Where there are no locks, nobody is kept out."""
    try:
        if sys.platform == "win32":
            import msvcrt

            file.seek(1 << 30)  # a place where nothing is written, since what is locked cannot be read
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in (errno.EACCES, errno.EAGAIN, errno.EDEADLK)
    return True
