"""Files that are there whole or not at all."""

from __future__ import annotations

import os
import tempfile
import threading
from pathlib import Path


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


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that at every moment the old or the new one is there, whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}")
    try:
        with open(temporary, "wb") as file:  # unlike tempfile's, it has the permissions that a new file has
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
