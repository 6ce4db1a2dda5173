"""Ctrl-C while native threads work on arrays: it is held back until they have come to an end."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any


class HeldBack:
    """Within, Ctrl-C does nothing but set ``came``; at the end it does what it does elsewhere.

    >>> try:
    ...     with HeldBack() as interrupt:
    ...         signal.raise_signal(signal.SIGINT)
    ...         print(interrupt.came)
    ... except KeyboardInterrupt:
    ...     print("now")
    True
    now
    """

    def __init__(self) -> None:
        self.came = False
        self._handler: Any = None
        self._frame: FrameType | None = None

    def __enter__(self) -> HeldBack:
        # Python lets the main thread alone set what a signal does, and runs it there.
        if threading.current_thread() is threading.main_thread() and callable(signal.getsignal(signal.SIGINT)):
            self._handler = signal.signal(signal.SIGINT, self._note)
        return self

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.came, self._frame = True, frame

    def __exit__(self, *_: Any) -> None:
        if self._handler is not None:
            signal.signal(signal.SIGINT, self._handler)
            if self.came:
                self._handler(signal.SIGINT, self._frame)
