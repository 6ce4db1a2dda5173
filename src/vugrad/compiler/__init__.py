"""The compiler: whole functions, and whole training steps, as native code.

In order: ``trace/`` runs a function on tracers and records an array program (``arrays/``); ``lower/`` turns it into
kernels (``loops/``); ``emit/`` writes these as LLVM text for ``machine/``; ``plan.py`` holds the compiled program and
runs it; ``export.py`` writes it as an object file for other programs.
"""

from typing import TYPE_CHECKING, Any

from vugrad.compiler.trace.standin import CannotCompileError

if TYPE_CHECKING:
    from vugrad.compiler.compiled import Compiled, compile
    from vugrad.compiler.machine.threads import get_threads, set_threads
    from vugrad.compiler.plan import Plan

__all__ = ["CannotCompileError", "Compiled", "Plan", "compile", "get_threads", "set_threads"]


def __dir__() -> list[str]:
    return __all__


def __getattr__(name: str) -> Any:
    """Load what is first asked for: a proof records array programs and needs no LLVM."""
    if name in ("Compiled", "compile"):
        from vugrad.compiler import compiled

        return getattr(compiled, name)
    if name == "Plan":
        from vugrad.compiler import plan

        return getattr(plan, name)
    if name in ("get_threads", "set_threads"):
        from vugrad.compiler.machine import threads

        return getattr(threads, name)
    raise AttributeError(f"module 'vugrad.compiler' has no attribute {name!r}")
