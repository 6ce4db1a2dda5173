"""Teams of threads that stay in native code, so that work begins without the interpreter.

Each worker has a box of 64-bit numbers. Python writes into it which function to call, raises its round, and signals.
For a while after its last work a worker looks at the round again and again, and begins at once; then it sleeps.
"""

from __future__ import annotations

import ctypes
import functools
import os
import threading
from typing import Any

import numpy as np

from vugrad.compiler.machine import cache, llvm

Array = Any

#: How often a worker looks before it sleeps: some milliseconds, less than the time to be woken up often costs.
PATIENCE = 4_000_000
#: Where things stand in a box, in numbers of 8 bytes; a mutex and a condition have 128 bytes each, enough anywhere.
ROUND, FUNCTION, ARGUMENTS, FINISHED, MUTEX, CONDITION, SIZE = 0, 8, 9, 16, 24, 40, 56

SERVE = f"""
declare i32 @pthread_mutex_lock(ptr)
declare i32 @pthread_mutex_unlock(ptr)
declare i32 @pthread_cond_wait(ptr, ptr)

define void @serve(ptr %box) {{
entry:
  %mutex = getelementptr i64, ptr %box, i64 {MUTEX}
  %condition = getelementptr i64, ptr %box, i64 {CONDITION}
  %finished = getelementptr i64, ptr %box, i64 {FINISHED}
  br label %idle
idle:
  %last = phi i64 [ 0, %entry ], [ %now, %work ]
  br label %look
look:
  %tries = phi i64 [ 0, %idle ], [ %more, %again ]
  %seen = load atomic i64, ptr %box acquire, align 8
  %begun = icmp ne i64 %seen, %last
  br i1 %begun, label %work, label %again
again:
  %more = add i64 %tries, 1
  %patient = icmp slt i64 %more, {PATIENCE}
  br i1 %patient, label %look, label %sleep
sleep:
  call i32 @pthread_mutex_lock(ptr %mutex)
  br label %asleep
asleep:
  %round = load atomic i64, ptr %box acquire, align 8
  %awake = icmp ne i64 %round, %last
  br i1 %awake, label %wake, label %wait
wait:
  call i32 @pthread_cond_wait(ptr %condition, ptr %mutex)
  br label %asleep
wake:
  call i32 @pthread_mutex_unlock(ptr %mutex)
  br label %work
work:
  %now = load atomic i64, ptr %box acquire, align 8
  %at = getelementptr i64, ptr %box, i64 {FUNCTION}
  %function = load ptr, ptr %at
  %p0 = getelementptr i64, ptr %box, i64 {ARGUMENTS}
  %p1 = getelementptr i64, ptr %box, i64 {ARGUMENTS + 1}
  %p2 = getelementptr i64, ptr %box, i64 {ARGUMENTS + 2}
  %p3 = getelementptr i64, ptr %box, i64 {ARGUMENTS + 3}
  %a0 = load i64, ptr %p0
  %a1 = load i64, ptr %p1
  %a2 = load i64, ptr %p2
  %a3 = load i64, ptr %p3
  call void %function(i64 %a0, i64 %a1, i64 %a2, i64 %a3)
  store atomic i64 %now, ptr %finished release, align 8
  br label %idle
}}
"""


@functools.cache
def _native() -> tuple[Any, Any]:
    """The workers' loop, and the C library."""
    target = llvm.host()
    key = cache.key(SERVE, target.key)
    code = cache.get(key)
    if code is None:
        code = llvm.compile_text(SERVE, target)
        cache.put(key, code)
    loaded = llvm.Code(code, target)
    _keep.append(loaded)
    return ctypes.CFUNCTYPE(None, ctypes.c_void_p)(loaded.address("serve")), ctypes.CDLL(None)


_keep: list[Any] = []


class Team:
    """Workers with the numbers 0 to n − 1; they end with the process."""

    def __init__(self, n: int) -> None:
        self.n = n
        serve, self._library = _native()
        self._boxes = np.zeros((n, SIZE), np.int64)
        self._begun = range(0)
        for i in range(n):
            base = self._address(i)
            for part in (MUTEX, CONDITION):
                name = "pthread_mutex_init" if part == MUTEX else "pthread_cond_init"
                getattr(self._library, name)(ctypes.c_void_p(base + 8 * part), None)
            threading.Thread(target=serve, args=(base,), daemon=True, name=f"vugrad-{i}").start()

    def _address(self, i: int) -> int:
        return int(self._boxes.__array_interface__["data"][0]) + 8 * SIZE * i

    def begin(self, function: int, arguments: tuple[int, int, int], first: int = 0) -> None:
        """Let each worker from ``first`` on call the function at an address, with the arguments and its number."""
        self._begun = range(first, self.n)
        for i in self._begun:
            box, base = self._boxes[i], self._address(i)
            mutex, condition = (ctypes.c_void_p(base + 8 * part) for part in (MUTEX, CONDITION))
            box[FUNCTION] = function
            box[ARGUMENTS : ARGUMENTS + 4] = (*arguments, i)
            self._library.pthread_mutex_lock(mutex)
            box[ROUND] += 1
            self._library.pthread_cond_signal(condition)
            self._library.pthread_mutex_unlock(mutex)

    def finished(self) -> bool:
        """Whether all of them have returned."""
        return all(self._boxes[i, FINISHED] == self._boxes[i, ROUND] for i in self._begun)


_idle: dict[int, list[Team]] = {}
_lock = threading.Lock()


def hire(n: int) -> Team:
    """A team of n that nobody uses now."""
    with _lock:
        teams = _idle.setdefault(n, [])
        return teams.pop() if teams else Team(n)


def release(team: Team) -> None:
    """Give a team back."""
    with _lock:
        _idle[team.n].append(team)


def _after_fork() -> None:
    """Threads do not live on in a forked process: it hires its own."""
    global _lock
    _lock = threading.Lock()
    _idle.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
