"""The course library's module path for modules: ``from vugrad.modules import Linear, Module``."""

from vugrad.course import Linear
from vugrad.nn import Module

__all__ = ["Linear", "Module"]
