"""The course library's module path for modules: ``from vugrad.modules import Linear, Module``.

It also exports all of ``vugrad.ops`` and ``vugrad.functions``, as the course's module does.
"""

from vugrad.core import Module as Module, TensorNode as TensorNode
from vugrad.course import Linear as Linear
from vugrad.functions import *
from vugrad.ops import *
