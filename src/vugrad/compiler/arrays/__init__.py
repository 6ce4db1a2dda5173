"""The array program: a whole computation as one flat list of instructions on arrays, the compiler's narrow waist."""

from vugrad.compiler.arrays.interpret import interpret
from vugrad.compiler.arrays.passes import bound, simplify, turned
from vugrad.compiler.arrays.program import VIEWS, Instruction, Output, Program
from vugrad.compiler.arrays.verify import verify

__all__ = ["VIEWS", "Instruction", "Output", "Program", "bound", "interpret", "simplify", "turned", "verify"]
