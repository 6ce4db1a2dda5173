"""vugrad: a small deep-learning library you can read. Every op once, in plain NumPy."""

from vugrad import graph, ops
from vugrad.graph import *

__version__ = "0.1.0"
