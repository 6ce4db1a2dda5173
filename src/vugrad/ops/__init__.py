"""Floor 1: every derivative of the library, one family per file, and NumPy on nodes.

``Op``, ``TensorNode`` and ``np`` are exported too, for course code with ``from vugrad.ops import *``.
"""

import numpy as np

from vugrad.graph import Op, TensorNode
from vugrad.ops import (
    activations,
    convolve,
    elementwise as _elementwise,
    index,
    linear,
    normalize,
    primitives,
    reduce,
    shape,
)
from vugrad.ops.activations import *
from vugrad.ops.convolve import *
from vugrad.ops.dispatch import supported
from vugrad.ops.elementwise import *
from vugrad.ops.index import *
from vugrad.ops.linear import *
from vugrad.ops.normalize import *
from vugrad.ops.primitives import *
from vugrad.ops.reduce import *
from vugrad.ops.shape import *

__all__ = ["Op", "TensorNode", "np", "supported"]
__all__ += activations.__all__
__all__ += convolve.__all__
__all__ += _elementwise.__all__
__all__ += index.__all__
__all__ += linear.__all__
__all__ += normalize.__all__
__all__ += primitives.__all__
__all__ += reduce.__all__
__all__ += shape.__all__


def __dir__() -> list[str]:
    return __all__
