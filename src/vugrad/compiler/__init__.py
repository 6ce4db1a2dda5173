"""The compiler: whole functions, and whole training steps, as native code.

In order: ``trace/`` runs a function on tracers and records an array program (``arrays/``); ``lower/`` turns it into
kernels (``loops/``); ``emit/`` writes these as LLVM text for ``machine/``; ``plan.py`` holds the compiled program and
runs it; ``export.py`` writes it as an object file for other programs.
"""

from vugrad.compiler.compiled import Compiled, compile
from vugrad.compiler.machine.threads import get_threads, set_threads
from vugrad.compiler.plan import Plan
from vugrad.compiler.trace.standin import CannotCompileError

__all__ = ["CannotCompileError", "Compiled", "Plan", "compile", "get_threads", "set_threads"]


def __dir__() -> list[str]:
    return __all__
