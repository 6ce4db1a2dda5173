"""Floor 1: every derivative we own, one family a file, and NumPy on nodes. Each file says what it exports.

``Op``, ``TensorNode`` and ``np`` are here too, for course code that does ``from vugrad.ops import *``.
"""

import numpy as np  # noqa: F401

from vugrad.graph import Op as Op, TensorNode as TensorNode
from vugrad.ops.activations import *
from vugrad.ops.convolve import *
from vugrad.ops.dispatch import supported as supported
from vugrad.ops.elementwise import *
from vugrad.ops.index import *
from vugrad.ops.linear import *
from vugrad.ops.normalize import *
from vugrad.ops.primitives import *
from vugrad.ops.reduce import *
from vugrad.ops.shape import *
