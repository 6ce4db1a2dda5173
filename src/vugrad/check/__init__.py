"""Checks of derivatives: symbolic proofs, numeric checks, diagnosis of mistakes, and the doctor for a training step."""

import importlib.util
from typing import TYPE_CHECKING, Any

from vugrad.check.compare import gradcheck
from vugrad.check.examination import doctor
from vugrad.check.report import Report

if TYPE_CHECKING:
    from vugrad.check.proof import Proof, prove

__all__ = ["Proof", "Report", "doctor", "gradcheck", "prove"]


def __dir__() -> list[str]:
    return [name for name in __all__ if name not in ("Proof", "prove") or importlib.util.find_spec("sympy")]


def __getattr__(name: str) -> Any:
    """Import the names that need SymPy (extra ``lab``) at their first use."""
    if name not in ("Proof", "prove"):
        raise AttributeError(f"module 'vugrad.check' has no attribute {name!r}")
    try:
        from vugrad.check import proof
    except ImportError as error:
        raise ImportError(f"proofs need SymPy: pip install 'vugrad[lab]' ({error})") from error
    return getattr(proof, name)
