"""The compiler: whole functions, and whole training steps, as native code.

From above: ``trace/`` runs a function on stand-ins and records an array program (``arrays/``); ``lower/`` makes
kernels of it (``loops/``); ``emit/`` writes them down for LLVM (``machine/``); ``plan.py`` holds all that and runs it,
``export.py`` makes an object file of it for other programs.
"""

from vugrad.compiler.compiled import Compiled, compile
from vugrad.compiler.machine.threads import get_threads, set_threads
from vugrad.compiler.plan import Plan
from vugrad.compiler.trace.standin import CannotCompileError

__all__ = ["CannotCompileError", "Compiled", "Plan", "compile", "get_threads", "set_threads"]


def __dir__() -> list[str]:
    return __all__
