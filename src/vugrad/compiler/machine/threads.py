"""How many threads a plan may have."""

from __future__ import annotations

import os

from vugrad.suggest import whole

_count: int | None = None


def allowed() -> int:
    """The cores that this process may use; one where there are no POSIX threads to use others with."""
    if os.name != "posix":
        return 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def get_threads() -> int:
    """How many threads a plan compiled from now on has.

    What :func:`set_threads` or the environment variable ``VUGRAD_THREADS`` says, else ``OMP_NUM_THREADS``, by which
    scikit-learn and Dask share a machine among their workers, and else as many as there are cores; never more than the
    cores that this process may use.
    """
    if _count is not None:
        return min(_count, allowed())
    text = os.environ.get("VUGRAD_THREADS", "")
    if text and not (text.isdecimal() and int(text) > 0):
        raise ValueError(f"VUGRAD_THREADS={text!r}: it is a number of threads, from 1 on")
    shared = os.environ.get("OMP_NUM_THREADS", "")
    text = text or (shared if shared.isdecimal() and int(shared) > 0 else "")  # OpenMP allows a list as well
    return min(int(text), allowed()) if text else allowed()


def set_threads(n: int | None) -> None:
    """Set how many threads a plan has; ``None`` for the default. With one count, results are the same bits each time.

    >>> import vugrad as vg
    >>> vg.set_threads(1)
    >>> vg.get_threads()
    1
    >>> vg.set_threads(None)
    """
    global _count
    _count = None if n is None else whole("set_threads: n", n)
