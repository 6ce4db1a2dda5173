"""Teams of threads that stay in native code, so that work begins and ends without the interpreter.

They are POSIX threads, not Python's: an exception of a signal handler would leave ``Thread.start`` half done.
Each worker has a box of 64-bit numbers. Who gives it work writes into it which function to call, raises its round, and
signals. For a while after its last work a worker looks at the round again and again, and begins at once; then it
sleeps.
"""

from __future__ import annotations

import ctypes
import functools
import os
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np

from vugrad.compiler.machine import cache, llvm

Array = Any

#: How often a worker looks before it sleeps: some milliseconds, less than the time to be woken up often costs.
PATIENCE = 4_000_000
#: A deadline in seconds since 1970 that is never reached (the year 2106).
NEVER = 1 << 32
#: Where things stand in a box, in numbers of 8 bytes; a mutex and a condition have 128 bytes each, enough anywhere.
ROUND, FUNCTION, ARGUMENTS, FINISHED, MUTEX, CONDITION, SIZE = 0, 8, 9, 16, 24, 40, 56

#: ``serve``: the loop of a worker. ``start``: start n workers; returns 0, or the error of pthread_create. ``begin``:
#: give work to the workers from ``first`` on. ``wait``: wait until all have finished, or a deadline. ``end``: ask them
#: to stop, and wait until all have finished. ``call``: take part as number 0, and wait for the others. Each is one call
#: for Python, so that an exception of a signal handler comes before or after it, never in between.
NATIVE = f"""
declare i32 @pthread_create(ptr, ptr, ptr, ptr)
declare i32 @pthread_detach(i64)
declare i32 @pthread_mutex_init(ptr, ptr)
declare i32 @pthread_mutex_lock(ptr)
declare i32 @pthread_mutex_unlock(ptr)
declare i32 @pthread_cond_init(ptr, ptr)
declare i32 @pthread_cond_wait(ptr, ptr)
declare i32 @pthread_cond_timedwait(ptr, ptr, ptr)
declare i32 @pthread_cond_signal(ptr)
declare i32 @sched_yield()

define ptr @serve(ptr %box) {{
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
  call i32 @pthread_mutex_lock(ptr %mutex)
  store atomic i64 %now, ptr %finished release, align 8
  call i32 @pthread_cond_signal(ptr %condition)
  call i32 @pthread_mutex_unlock(ptr %mutex)
  br label %idle
}}

define i64 @start(ptr %boxes, i64 %n) {{
entry:
  %thread = alloca i64
  br label %worker
worker:
  %i = phi i64 [ 0, %entry ], [ %next, %started ]
  %offset = mul i64 %i, {SIZE}
  %box = getelementptr i64, ptr %boxes, i64 %offset
  %mutex = getelementptr i64, ptr %box, i64 {MUTEX}
  %condition = getelementptr i64, ptr %box, i64 {CONDITION}
  call i32 @pthread_mutex_init(ptr %mutex, ptr null)
  call i32 @pthread_cond_init(ptr %condition, ptr null)
  %error = call i32 @pthread_create(ptr %thread, ptr null, ptr @serve, ptr %box)
  %failed = icmp ne i32 %error, 0
  br i1 %failed, label %end, label %started
started:
  %handle = load i64, ptr %thread
  call i32 @pthread_detach(i64 %handle)
  %next = add i64 %i, 1
  %more = icmp slt i64 %next, %n
  br i1 %more, label %worker, label %end
end:
  %result = zext i32 %error to i64
  ret i64 %result
}}

define i64 @begin(ptr %boxes, i64 %first, i64 %n, ptr %function, i64 %a0, i64 %a1, i64 %a2) {{
entry:
  br label %worker
worker:
  %i = phi i64 [ %first, %entry ], [ %next, %worker ]
  %offset = mul i64 %i, {SIZE}
  %box = getelementptr i64, ptr %boxes, i64 %offset
  %mutex = getelementptr i64, ptr %box, i64 {MUTEX}
  %condition = getelementptr i64, ptr %box, i64 {CONDITION}
  %at = getelementptr i64, ptr %box, i64 {FUNCTION}
  %p0 = getelementptr i64, ptr %box, i64 {ARGUMENTS}
  %p1 = getelementptr i64, ptr %box, i64 {ARGUMENTS + 1}
  %p2 = getelementptr i64, ptr %box, i64 {ARGUMENTS + 2}
  %p3 = getelementptr i64, ptr %box, i64 {ARGUMENTS + 3}
  store ptr %function, ptr %at
  store i64 %a0, ptr %p0
  store i64 %a1, ptr %p1
  store i64 %a2, ptr %p2
  store i64 %i, ptr %p3
  call i32 @pthread_mutex_lock(ptr %mutex)
  %round = load i64, ptr %box
  %new = add i64 %round, 1
  store atomic i64 %new, ptr %box release, align 8
  call i32 @pthread_cond_signal(ptr %condition)
  call i32 @pthread_mutex_unlock(ptr %mutex)
  %next = add i64 %i, 1
  %more = icmp slt i64 %next, %n
  br i1 %more, label %worker, label %end
end:
  ret i64 0
}}

define i64 @wait(ptr %boxes, i64 %n, i64 %seconds, i64 %nanoseconds) {{
entry:
  %deadline = alloca [2 x i64]
  %rest = getelementptr i64, ptr %deadline, i64 1
  store i64 %seconds, ptr %deadline
  store i64 %nanoseconds, ptr %rest
  br label %worker
worker:
  %i = phi i64 [ 0, %entry ], [ %next, %done ]
  %offset = mul i64 %i, {SIZE}
  %box = getelementptr i64, ptr %boxes, i64 %offset
  %mutex = getelementptr i64, ptr %box, i64 {MUTEX}
  %condition = getelementptr i64, ptr %box, i64 {CONDITION}
  %finished = getelementptr i64, ptr %box, i64 {FINISHED}
  %round = load i64, ptr %box
  call i32 @pthread_mutex_lock(ptr %mutex)
  br label %look
look:
  %seen = load atomic i64, ptr %finished acquire, align 8
  %returned = icmp eq i64 %seen, %round
  br i1 %returned, label %done, label %sleep
sleep:
  %late = call i32 @pthread_cond_timedwait(ptr %condition, ptr %mutex, ptr %deadline)
  %in.time = icmp eq i32 %late, 0
  br i1 %in.time, label %look, label %end
done:
  call i32 @pthread_mutex_unlock(ptr %mutex)
  %next = add i64 %i, 1
  %more = icmp slt i64 %next, %n
  br i1 %more, label %worker, label %all
all:
  ret i64 1
end:
  call i32 @pthread_mutex_unlock(ptr %mutex)
  ret i64 0
}}

define i64 @end(ptr %boxes, i64 %n, ptr %stop) {{
entry:
  store atomic i64 1, ptr %stop release, align 8
  call i64 @wait(ptr %boxes, i64 %n, i64 {NEVER}, i64 0)
  ret i64 0
}}

define i64 @call(ptr %boxes, i64 %n, ptr %function, i64 %a0, i64 %a1, i64 %a2) {{
entry:
  call i64 @begin(ptr %boxes, i64 1, i64 %n, ptr %function, i64 %a0, i64 %a1, i64 %a2)
  call void %function(i64 %a0, i64 %a1, i64 %a2, i64 0)
  br label %worker
worker:
  %i = phi i64 [ 1, %entry ], [ %next, %done ]
  %offset = mul i64 %i, {SIZE}
  %box = getelementptr i64, ptr %boxes, i64 %offset
  %finished = getelementptr i64, ptr %box, i64 {FINISHED}
  %round = load i64, ptr %box
  br label %look
look:
  %seen = load atomic i64, ptr %finished acquire, align 8
  %returned = icmp eq i64 %seen, %round
  br i1 %returned, label %done, label %wait
wait:
  call i32 @sched_yield()
  br label %look
done:
  %next = add i64 %i, 1
  %more = icmp slt i64 %next, %n
  br i1 %more, label %worker, label %end
end:
  ret i64 0
}}
"""


@functools.cache
def _native() -> llvm.Code:
    """The functions above."""
    target = llvm.host()
    key = cache.key(NATIVE, target.key)
    code = cache.get(key)
    if code is None:
        code = llvm.compile_text(NATIVE, target)
        cache.put(key, code)
    return llvm.Code(code, target)


def _function(name: str, arguments: int) -> Any:
    return ctypes.CFUNCTYPE(ctypes.c_int64, *[ctypes.c_void_p] * arguments)(_native().address(name))


class Team:
    """Workers with the numbers 0 to n − 1, of which the one who calls may be the first; they end with the process."""

    def __init__(self, n: int) -> None:
        self.n, self.ready = n, False
        self.lease: Callable[[], Lease | None] = lambda: None
        self._boxes = np.zeros((n, SIZE), np.int64)
        self._base = int(self._boxes.__array_interface__["data"][0])
        self._begin, self._wait, self._call = _function("begin", 7), _function("wait", 4), _function("call", 6)
        #: Write 1 to an address, and wait until all workers have finished. It runs no Python code, so that as the first
        #: statement of a ``finally`` no signal handler can run before it.
        self.end = functools.partial(_function("end", 3), self._base, n)
        _teams.append(self)  # first of all: a worker looks into its team's boxes for as long as the process lives
        if error := _function("start", 2)(self._base, n):
            raise RuntimeError(f"{n} threads cannot be started: {os.strerror(error)}")
        self.ready = True

    def begin(self, function: int, arguments: tuple[int, int, int]) -> None:
        """Let each worker call the function at an address, with the arguments and its number."""
        self._begin(self._base, 0, self.n, function, *arguments)

    def wait(self, seconds: float) -> bool:
        """Sleep until all of them have returned, but no longer than so long; whether they have."""
        deadline = time.time_ns() + int(seconds * 1e9)
        return bool(self._wait(self._base, self.n, *divmod(deadline, 10**9)))

    def call(self, function: int, arguments: tuple[int, int, int]) -> None:
        """The same with the caller as worker 0; returns when all have."""
        self._call(self._base, self.n, function, *arguments)


class Lease:
    """The right to a team, for as long as somebody holds it: an exception cannot come between and keep it for ever."""

    def __init__(self, team: Team) -> None:
        self.team = team
        team.lease = weakref.ref(self)


_teams: list[Team] = []
_lock = threading.Lock()


def hire(n: int) -> Lease:
    """A team of n that nobody uses now."""
    with _lock:
        for team in _teams:
            if team.n == n and team.ready and team.lease() is None and team.wait(0):
                return Lease(team)
        return Lease(Team(n))


def _after_fork() -> None:
    """Threads do not live on in a forked process: it hires its own."""
    global _lock
    _lock = threading.Lock()
    for team in _teams:
        team.ready = False


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
