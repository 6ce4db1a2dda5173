"""Floor 1: every derivative we own, one family a file, and NumPy on nodes."""

from vugrad.graph import Op
from vugrad.ops.activations import ELU, GELU, LeakyReLU, ReLU, Sigmoid, SiLU, Softplus
from vugrad.ops.convolve import AvgPool2d, Conv2d, Fold, MaxPool2d, Unfold
from vugrad.ops.dispatch import supported
from vugrad.ops.elementwise import (
    Abs,
    Add,
    Arccos,
    Arcsin,
    Arctan,
    Cast,
    Cos,
    Cosh,
    Divide,
    Erf,
    Exp,
    Expm1,
    Id,
    Log,
    Log1p,
    Log2,
    Log10,
    Maximum,
    Minimum,
    Multiply,
    Negative,
    Power,
    Reciprocal,
    Sin,
    Sinh,
    Sqrt,
    Square,
    Sub,
    Tan,
    Tanh,
    Where,
    elementwise,
)
from vugrad.ops.index import Scatter, Select, Slice, Take, TakeAlongAxis
from vugrad.ops.linear import BatchMM, Einsum, MatrixMultiply
from vugrad.ops.normalize import BatchNorm, CrossEntropy, Dropout, LayerNorm, LogSoftmax, Normalize, Softmax
from vugrad.ops.primitives import erf, fold, random_bits, scatter, unfold
from vugrad.ops.reduce import LogSumExp, Max, Mean, Min, RowMax, RowSum, Sum, Var
from vugrad.ops.shape import (
    BroadcastTo,
    Concatenate,
    Expand,
    Flip,
    Pad,
    Reshape,
    Squeeze,
    Stack,
    Transpose,
    Unsqueeze,
    sum_to,
)
