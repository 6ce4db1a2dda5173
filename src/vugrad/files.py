"""Files that are there whole or not at all."""

from __future__ import annotations

import json
import math
import os
import tempfile
import threading
from pathlib import Path
from typing import Any


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
    """Write a file so that at every moment the old or the new one is there, whole."""
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
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
