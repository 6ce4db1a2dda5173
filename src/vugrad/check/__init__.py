"""Checks of derivatives: symbolic proofs, numeric checks, diagnosis of mistakes, and the doctor for a training step."""

import importlib.util
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vugrad.check.compare import gradcheck
    from vugrad.check.examination import doctor
    from vugrad.check.proof import Proof, prove
    from vugrad.check.report import Report

__all__ = ["Proof", "Report", "doctor", "gradcheck", "prove"]


def __dir__() -> list[str]:
    return [name for name in __all__ if name not in ("Proof", "prove") or importlib.util.find_spec("sympy")]


def __getattr__(name: str) -> Any:
    """Import a name at its first use: the process of a submission needs none. Proofs need SymPy (extra ``lab``)."""
    if name == "gradcheck":
        from vugrad.check import compare

        return getattr(compare, name)
    if name == "doctor":
        from vugrad.check import examination

        return getattr(examination, name)
    if name == "Report":
        from vugrad.check import report

        return getattr(report, name)
    if name in ("Proof", "prove"):
        try:
            from vugrad.check import proof
        except ImportError as error:
            raise ImportError(f"proofs need SymPy: pip install 'vugrad[lab]' ({error})") from error
        return getattr(proof, name)
    raise AttributeError(f"module 'vugrad.check' has no attribute {name!r}")
