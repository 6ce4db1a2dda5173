"""Which primitives answer for each NumPy function on stand-ins, one family a file, as in ``ops/``.

Functions that are not here, but that work on nodes, are answered by the same few lines as there: see ``others.py``.
"""

from vugrad.compiler.trace.answers import elementwise, movement, others, reduce
from vugrad.compiler.trace.answers.elementwise import filled

__all__ = ["elementwise", "filled", "movement", "others", "reduce"]
