"""Compiled code on disk, so that the next process need not compile it again.

A file holds the code's SHA-256 and then the code: what is not whole is not used. Files are written whole or not at all,
and two processes that write the same one write the same bytes.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
from pathlib import Path

from vugrad.files import write_whole

#: When the files together are larger than this, those that were not used for longest go.
LIMIT = 256 << 20
#: After each so many files that a process writes it looks at all of them, which takes longer than to write one.
SELDOM = 64

_written = itertools.count()


def folder() -> Path | None:
    """``$VUGRAD_CACHE``, or ``vugrad`` in the user's cache folder; ``None``, no cache, if the variable is empty."""
    if "VUGRAD_CACHE" in os.environ:
        return Path(os.environ["VUGRAD_CACHE"]) if os.environ["VUGRAD_CACHE"] else None
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "vugrad" / "code"


def key(*parts: str) -> str:
    """The name of a file for code that depends on these texts."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def get(key: str) -> bytes | None:
    """The code stored under a key, if there is any and it is whole."""
    place = folder()
    if place is None:
        return None
    path = place / key
    try:
        content = path.read_bytes()
        with contextlib.suppress(OSError):
            os.utime(path)
    except OSError:
        return None
    code = content[32:]
    return code if hashlib.sha256(code).digest() == content[:32] else None


def put(key: str, code: bytes) -> None:
    """Store code under a key. A folder that cannot be written to is no error: the code is compiled again next time."""
    place = folder()
    if place is None:
        return
    with contextlib.suppress(OSError):
        write_whole(place / key, hashlib.sha256(code).digest() + code)
        if next(_written) % SELDOM == 0:
            _tidy(place)


def _tidy(place: Path) -> None:
    files = sorted(((f.stat().st_mtime, f.stat().st_size, f) for f in place.iterdir() if f.is_file()), reverse=True)
    total = 0
    for _, size, file in files:
        total += size
        if total > LIMIT:
            file.unlink(missing_ok=True)
