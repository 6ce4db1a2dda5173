"""Threads: how many a plan may have, and teams of them that wait for native code to run."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

_count: int | None = None


def allowed() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def get_threads() -> int:
    """How many threads a plan compiled from now on has.

    What :func:`set_threads` or the environment variable ``VUGRAD_THREADS`` says, and else as many as there are cores;
    never more than the cores that this process may use.
    """
    if _count is not None:
        return min(_count, allowed())
    text = os.environ.get("VUGRAD_THREADS", "")
    if text and not (text.isdecimal() and int(text) > 0):
        raise ValueError(f"VUGRAD_THREADS={text!r}: it is a number of threads, from 1 on")
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
    if n is not None and n < 1:
        raise ValueError(f"set_threads({n}): a plan has at least one thread")
    _count = n


class Team:
    """Threads that wait to call a function with their numbers, from 0 to n − 1; they end with the process."""

    def __init__(self, n: int) -> None:
        self._start = [threading.Lock() for _ in range(n)]
        self._finished = threading.Semaphore(0)
        self._job: Callable[[int], None] = lambda i: None
        for i, lock in enumerate(self._start):
            lock.acquire()
            threading.Thread(target=self._work, args=(i,), daemon=True, name=f"vugrad-{i}").start()

    def _work(self, i: int) -> None:
        while True:
            self._start[i].acquire()
            self._job(i)
            self._finished.release()

    def begin(self, job: Callable[[int], None], first: int = 0) -> None:
        """Let each thread from ``first`` on run the job."""
        self._job, self._running = job, len(self._start) - first
        for lock in self._start[first:]:
            lock.release()

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until all have run it, or for some seconds; says whether they have."""
        while self._running:
            if not self._finished.acquire(timeout=seconds):
                return False
            self._running -= 1
        return True


_idle: dict[int, list[Team]] = {}
_lock = threading.Lock()


def hire(n: int) -> Team:
    """A team of n that nobody uses now."""
    with _lock:
        teams = _idle.setdefault(n, [])
        return teams.pop() if teams else Team(n)


def release(n: int, team: Team) -> None:
    """Give a team back."""
    with _lock:
        _idle[n].append(team)


def _after_fork() -> None:
    """Threads do not live on in a forked process: it hires its own."""
    global _lock
    _lock = threading.Lock()
    _idle.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
