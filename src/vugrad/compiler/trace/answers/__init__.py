"""The rules that turn NumPy functions on tracers into primitives, one family per file, as in ``ops/``.

A function without a rule here that works on nodes uses the rule of the nodes: see ``others.py``.
"""

from vugrad.compiler.trace.answers import elementwise, movement, others, reduce
from vugrad.compiler.trace.answers.elementwise import filled

__all__ = ["elementwise", "filled", "movement", "others", "reduce"]
