"""The transcendental functions of compiled kernels, as LLVM functions on vectors.

LLVM vectorises sums and products by itself, but a call of ``exp`` stops it: libm's takes one number. So the functions
that networks live on are written here for all lanes of a vector at once: the argument is reduced to a short interval
by exact arithmetic, a polynomial answers there, and the exponent is put back as an integer. None looks up a table, and
none divides more than once; only sin and cos branch, to libm, if an argument is huge. The rest calls libm lane by lane.

The maths is written on `Number`s, which write the instructions down; nothing here runs LLVM. The greatest relative
errors, in units of 1e-7 for f32 and 1e-16 for f64 (``tests/test_compiler_functions.py`` holds them), are: exp 0.8 and
1.5, expm1 1.2 and 2.5, sigmoid 1.6 and 2.7, tanh 1.8 and 3.8, erf 2.6 and 13 (but 1 and 5 absolute), log 0.9 and 2.4,
log2 1.3 and 2.6, log10 1.3 and 2.8, log1p 1.3 and 2.7, sin and cos 2.1 and 2.8.

Results under the smallest normal number are flushed to zero by exp, and may lose their last bit elsewhere.

Source: the method is that of Muller, *Elementary Functions: Algorithms and Implementation*; the coefficients are
fits of ours (the same test makes them again).

>>> text, declarations = define("exp", "f32", 8)
>>> text.splitlines()[0]
'define internal <8 x float> @vg_exp_f32x8(<8 x float> %x) alwaysinline nounwind {'
>>> declarations
['declare <8 x float> @llvm.fma.v8f32(<8 x float>, <8 x float>, <8 x float>)']
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from vugrad.compiler.arrays.program import SHORT
from vugrad.compiler.emit.lines import BOOL, DType, Lines, Value, mangled, typed

__all__ = ["FUNCTIONS", "define", "symbol"]

# --- Arithmetic that writes instructions


@dataclass(frozen=True)
class Format:
    """A floating-point format, the integers of its size, and where its bits are."""

    number: DType
    integer: DType
    mantissa: int  # bits of it that are stored
    largest_exponent: float  # the greatest x with a finite exp(x), ...
    least_exponent: float  # ... and the least for which it is a normal number

    @property
    def kind(self) -> str:
        """Its short name."""
        return SHORT[self.number]

    @property
    def size(self) -> int:
        """The bits of a number."""
        return 8 * self.number.itemsize

    @property
    def zero(self) -> float:
        """An exponent 0, stored in the last bits of a number of this format, where the others stand for 2**mantissa."""
        return 2.0**self.mantissa + self.bias

    @property
    def bias(self) -> int:
        """What is added to an exponent before it is stored: 127 or 1023."""
        return (1 << (self.size - self.mantissa - 2)) - 1

    def round(self, c: float | Fraction) -> float:
        """The nearest number of this format."""
        return float(self.number.type(float(c)))

    def bits(self, c: float) -> int:
        """The bits of a number, read as an integer."""
        return int(np.array(c, self.number).view(self.integer))

    def parts(self, c: Fraction, count: int) -> list[float]:
        """``count`` numbers of this format, each the nearest to what the ones before leave of ``c``."""
        first = self.round(c)
        return [first, *self.parts(c - Fraction(first), count - 1)] if count else []


FORMATS = {
    "f32": Format(np.dtype(np.float32), np.dtype(np.int32), 23, 88.72283, -87.33654),
    "f64": Format(np.dtype(np.float64), np.dtype(np.int64), 52, 709.782712893384, -708.3964185322641),
}


def binary(operation: str) -> Callable[[Number, Operand], Number]:
    """A method that writes an operation; that of floats has an f before its name."""

    def write(x: Number, y: Operand) -> Number:
        letter = "f" if x.value.dtype.kind == "f" else ""
        return x.new(x.out.binary(letter + operation, x.value, x.like(y).value))

    return write


def relation(name: str) -> Callable[[Number, Operand], Number]:
    """A method that writes a comparison of floats."""
    return lambda x, y: x.new(x.out.compare(name, x.value, x.like(y).value))


@dataclass(frozen=True)
class Number:
    """A value of some lanes: numbers, integers of their size, or truth values. Arithmetic on it writes instructions.

    Comparisons are ordered: none holds for NaN.
    """

    out: Lines
    format: Format
    value: Value

    def new(self, value: Value) -> Number:
        """A result."""
        return Number(self.out, self.format, value)

    def like(self, other: Operand, dtype: DType | None = None) -> Number:
        """``other``, made a constant of this value's type, or of another, where it is a number."""
        if isinstance(other, Number):
            return other
        return self.new(self.out.constant(other, dtype or self.value.dtype, self.value.lanes))

    def intrinsic(self, name: str, *others: Number) -> Number:
        """One of LLVM's own functions of numbers."""
        return self.new(self.out.intrinsic(name, self.value, *(y.value for y in others)))

    def cast(self, word: str, dtype: DType) -> Number:
        """The same lanes as another type."""
        lanes = self.value.lanes
        return self.new(Value(self.out.emit(f"{word} {self.value} to {typed(dtype, lanes)}"), dtype, lanes))

    __add__ = __radd__ = binary("add")
    __sub__ = binary("sub")
    __mul__ = __rmul__ = binary("mul")
    __truediv__ = binary("div")
    __and__, __or__, __xor__ = binary("and"), binary("or"), binary("xor")
    __lshift__, __rshift__ = binary("shl"), binary("lshr")
    __lt__, __le__, __gt__, __ge__ = relation("olt"), relation("ole"), relation("ogt"), relation("oge")

    def __rsub__(self, other: float) -> Number:
        return self.like(other) - self

    def __rtruediv__(self, other: float) -> Number:
        return self.like(other) / self

    def __neg__(self) -> Number:
        return self.new(replace(self.value, text=self.out.emit(f"fneg {self.value}")))

    def __abs__(self) -> Number:
        return self.intrinsic("fabs")

    def bits(self) -> Number:
        """The bits of numbers, read as integers."""
        return self.cast("bitcast", self.format.integer)

    def number(self) -> Number:
        """The bits of integers, read as numbers."""
        return self.cast("bitcast", self.format.number)

    def odd(self) -> Number:
        """Whether integers are odd."""
        return self.cast("trunc", BOOL)

    def at_most(self, c: float) -> Number:
        """The smaller of numbers and ``c``; NaN stays."""
        return where(self > c, c, self)

    def everywhere(self) -> str:
        """The register that tells whether a condition holds in every lane."""
        if not self.value.lanes:
            return self.value.text
        return self.out.call(f"llvm.vector.reduce.and.{mangled(BOOL, self.value.lanes)}", "i1", self.value)


Operand = Number | float
Table = dict[str, Sequence[float]]  # of each format's coefficients, the constant first


def fma(x: Number, y: Operand, z: Operand) -> Number:
    """The sum x · y + z, rounded once."""
    return x.intrinsic("fma", x.like(y), x.like(z))


def where(condition: Number, x: Operand, y: Operand) -> Number:
    """Numbers of ``x`` where a condition holds, of ``y`` elsewhere."""
    chosen = (condition.like(z, condition.format.number).value for z in (x, y))
    return condition.new(condition.out.select(condition.value, *chosen))


def copysign(x: Number, y: Number) -> Number:
    """|x| with the sign of ``y``."""
    return x.intrinsic("copysign", y)


def libm(name: str, *xs: Number) -> Number:
    """C's function of one number, for each lane."""
    out, dtype, lanes = xs[0].out, xs[0].format.number, xs[0].value.lanes
    name = name + "f" if dtype.itemsize == 4 else name
    if not lanes:
        return xs[0].new(Value(out.call(name, typed(dtype), *(x.value for x in xs)), dtype))
    result = Value("poison", dtype, lanes)
    for i in range(lanes):
        scalars = [Value(out.emit(f"extractelement {x.value}, i32 {i}"), dtype) for x in xs]
        y = Value(out.call(name, typed(dtype), *scalars), dtype)
        result = Value(out.emit(f"insertelement {result}, {y}, i32 {i}"), dtype, lanes)
    return xs[0].new(result)


def polynomial(coefficients: Table, x: Number) -> Number:
    """A polynomial by Horner's rule."""
    *rest, last = coefficients[x.format.kind]
    y = x.like(last)
    for c in reversed(rest):
        y = fma(y, x, c)
    return y


# --- exp and its family

LN2 = Fraction("0.69314718055994530941723212145817656807550013436026")


def reduce(x: Number) -> tuple[Number, Number, Number]:
    """Give r, q and n of x = n · ln 2 + r, |r| ≤ ln 2 / 2, and eʳ = 1 + r + q r²; n in the last bits of an integer.

    Adding a large number rounds x / ln 2 to an integer in the last bits of the sum; the exact product in an fma makes
    the subtraction of n · ln 2 exact but for the last rounding.
    """
    form = x.format
    high, low = form.parts(LN2, 2)
    shift = 1.5 * 2.0**form.mantissa
    t = fma(x, 1 / math.log(2), shift)
    n = t - shift
    r = fma(n, -low, fma(n, -high, x))
    return r, polynomial(EXP, r), t.bits()


def exp(x: Number) -> Number:
    """eˣ = 2ⁿ eʳ: n is added to the exponent of eʳ; where that would leave the normal numbers, 0 or x + ∞."""
    form = x.format
    r, q, n = reduce(x)
    y = fma(fma(q, r, 1.0), r, 1.0)
    y = (y.bits() + (n << form.mantissa)).number()
    y = where(x < form.least_exponent, 0.0, y)
    return where(x <= form.largest_exponent, y, x + math.inf)


def half_expm1(x: Number) -> Number:
    """(eˣ − 1) / 2 = s (eʳ − 1) + (s − ½) with s = 2ⁿ⁻¹, which is finite wherever eˣ is. For −40 ≤ x."""
    form = x.format
    r, q, n = reduce(x)
    s = ((n << form.mantissa) + form.bits(0.5)).number()
    return fma(s, fma(r * r, q, r), s - 0.5)


def expm1(x: Number) -> Number:
    """eˣ − 1, which is −1 long before x = −40, and ∞ from the integer above the largest exponent."""
    x = where(x < -40.0, -40.0, x).at_most(math.ceil(x.format.largest_exponent))
    return copysign(2.0 * half_expm1(x), x)


def sigmoid(x: Number) -> Number:
    """1 / (1 + e⁻ˣ): e⁻ˣ = ∞ gives 0, the right value."""
    return 1.0 / (1.0 + exp(-x))


def tanh(x: Number) -> Number:
    """The quotient h / (h + 1) with h = (e²ˣ − 1) / 2, for |x|; that is 1 long before 2|x| = 40."""
    h = half_expm1((2.0 * abs(x)).at_most(40.0))
    return copysign(h / (h + 1.0), x)


def erf(x: Number) -> Number:
    """1 − erfc(x) = −(eᵍ − 1) with g = log erfc(x) = x G(x), for |x| up to where it rounds to 1."""
    end = ERF_END[x.format.kind]
    z = abs(x).at_most(end)
    g = z * polynomial(ERF, fma(z, 2 / end, -1.0))
    return copysign(2.0 * half_expm1(g), x)


# --- log and its family


def split(x: Number, subtract: Operand) -> tuple[Number, Number, Number]:
    """Give k, f and s of x = 2ᵏ (1 + f), √½ ≤ 1 + f < √2, and s = 2⁻ᵏ, of a normal number x > 0.

    From k, ``subtract`` is taken beside what its place in the bits adds.
    """
    form = x.format
    root, stored = form.bits(form.round(math.sqrt(0.5))), (1 << form.mantissa) - 1
    b = x.bits() + (form.bits(1.0) - root)  # so that the exponent changes at √½, and not at 1
    biased = b >> form.mantissa
    k = (biased | form.bits(2.0**form.mantissa)).number() - subtract
    f = ((b & stored) + root).number() - 1.0
    s = ((2 * form.bias - biased) << form.mantissa).number()
    return k, f, s


def log1p_of_split(f: Number) -> Number:
    """The logarithm of 1 + f for √½ ≤ 1 + f < √2."""
    z = f * f
    return fma(z, fma(f, polynomial(LOG, f), -0.5), f)


def finish(y: Number, x: Number) -> Number:
    """A logarithm ``y`` of x, put right where x is no positive number: ∞ for ∞, −∞ for 0, else NaN."""
    y = where(x < math.inf, y, x)
    y = where(x > 0.0, y, -math.inf)
    return where(x >= 0.0, y, math.nan)


def exponent_and_log1p(x: Number) -> tuple[Number, Number]:
    """Give k and log(1 + f) of x = 2ᵏ (1 + f), √½ ≤ 1 + f < √2. Denormal numbers are scaled up."""
    form = x.format
    small = x < 2.0 ** (1 - form.bias)
    scale = form.mantissa + 1
    x = where(small, x * 2.0**scale, x)
    k, f, _ = split(x, where(small, form.zero + scale, form.zero))
    return k, log1p_of_split(f)


def log(x: Number) -> Number:
    """The natural logarithm, k log 2 plus that of 1 + f."""
    high, low = x.format.parts(LN2, 2)
    k, y = exponent_and_log1p(x)
    return finish(fma(k, high, fma(k, low, y)), x)


def log2(x: Number) -> Number:
    """The logarithm to base 2, k + log(1 + f) / log 2."""
    k, y = exponent_and_log1p(x)
    high, low = x.format.parts(1 / LN2, 2)
    return finish(fma(y, high, fma(y, low, k)), x)


def log10(x: Number) -> Number:
    """The logarithm to base 10, k log₁₀ 2 + log(1 + f) / log 10."""
    high, low = x.format.parts(LOG10_2, 2)
    scale, rest = x.format.parts(LOG10_2 / LN2, 2)
    k, y = exponent_and_log1p(x)
    return finish(fma(k, high, fma(y, scale, fma(y, rest, k * low))), x)


def log1p(x: Number) -> Number:
    """The logarithm of 1 + x = 2ᵏ (1 + f), k from the rounded sum, and f = 2⁻ᵏ x + (2⁻ᵏ − 1), rounded once.

    Above 2⁶⁴, 2⁻³² (1 + x) stands for 1 + x, so that 2⁻ᵏ is a normal number.
    """
    form = x.format
    large = x > 2.0**64
    one = where(large, 2.0**-32, 1.0)
    high, low = form.parts(LN2, 2)
    u = fma(x, one, one)
    k, _, s = split(u, where(large, form.zero - 32, form.zero))
    y = log1p_of_split(fma(x * one, s, one * s - 1.0))
    return copysign(finish(fma(k, high, fma(k, low, y)), u), x)


# --- sin and cos

PI = Fraction("3.14159265358979323846264338327950288419716939937510582097494459230781640628620899862803")
FAR = 1e5  # Above it, x − n π/2 loses bits that the parts of π/2 do not hold, and libm is asked.


def circular(x: Number, name: str, quarter: int) -> Number:
    """By n mod 4, sin(|x| + quarter π/2) = ±sin(r) or ±cos(r), where |x| = (n − quarter) π/2 + r, |r| ≤ π/4.

    Of π/2 in three parts, the first fma is exact, and the others round once, so that r is right also near zero. The
    sine takes the sign of x at last, also of −0. What is near returns here; libm's answer is handed on.
    """
    out, form = x.out, x.format
    r = abs(x)
    out.say(f"br i1 {(r <= FAR).everywhere()}, label %near, label %far")
    out.label("near")
    shift = 1.5 * 2.0**form.mantissa
    t = fma(r, 2 / math.pi, shift)
    n = t - shift
    for part in form.parts(PI / 2, 3):
        r = fma(n, -part, r)
    z = r * r
    sine = r * fma(z, polynomial(SIN, z), 1.0)
    cosine = fma(z, fma(z, polynomial(COS, z), -0.5), 1.0)
    turn = t.bits() + quarter
    sign = (turn & 2) << (form.size - 2)
    if quarter == 0:
        sign = sign ^ (x.bits() & -(1 << (form.size - 1)))
    y = (where(turn.odd(), cosine, sine).bits() ^ sign).number()
    out.say(f"ret {y.value}")
    out.label("far")
    return libm(name, x)


# --- Definitions

VECTORISED = {f.__name__: f for f in (exp, expm1, sigmoid, tanh, erf, log, log2, log10, log1p)}
QUARTERS = {"sin": 0, "cos": 1}
LIBM = {name: name.replace("arc", "a") for name in ("tan", "arcsin", "arccos", "arctan", "sinh", "cosh", "pow")}
FUNCTIONS = (*VECTORISED, *QUARTERS, *LIBM)


def symbol(name: str, kind: str, lanes: int) -> str:
    """The name of a function in LLVM's text, such as vg_exp_f32x16."""
    return f"vg_{name}_{kind}x{lanes}"


def define(name: str, kind: str, lanes: int) -> tuple[str, list[str]]:
    """The text of one of `FUNCTIONS` on ``lanes`` numbers of ``kind`` f32 or f64, and the declarations it needs.

    One lane is a plain ``float`` or ``double``, more are a vector of them. The function takes ``%x``, and ``pow`` also
    ``%y``. Declarations of several functions may be the same line; a module wants it once. The text needs LLVM 19
    (``splat``), and a processor with fma to be quick.

    Raises: ValueError: an unknown function or kind.
    """
    if name not in FUNCTIONS or kind not in FORMATS:
        raise ValueError(f"There is no {name} of {kind}: the functions are {', '.join(FUNCTIONS)}, of f32 and f64.")
    out, form = Lines(), FORMATS[kind]
    xs = [
        Number(out, form, Value(letter, form.number, lanes if lanes > 1 else 0))
        for letter in ("%x", "%y")[: 2 if name == "pow" else 1]
    ]
    if name in QUARTERS:
        y = circular(xs[0], name, QUARTERS[name])
    else:
        y = VECTORISED[name](xs[0]) if name in VECTORISED else libm(LIBM[name], *xs)
    taken = ", ".join(str(x.value) for x in xs)
    head = f"define internal {y.value.type} @{symbol(name, kind, lanes)}({taken}) alwaysinline nounwind {{"
    return "\n".join([head, *out.lines, f"  ret {y.value}", "}"]), list(out.declared)


# --- Coefficients

LOG10_2 = Fraction("0.30102999566398119521373889472449302676818988146210854131")
ERF_END = {"f32": 4.0, "f64": 6.0}
# fmt: off
# Of (eʳ − 1 − r) / r², |r| ≤ ln 2 / 2.
EXP: Table = {
    "f32": (0.5, 0.16666515, 0.04166626, 0.008369223, 0.0013946561),
    "f64": (0.5000000000000013, 0.16666666666666685, 0.04166666666651066, 0.00833333333331625, 0.0013888888948140157,
            0.00019841269898119473, 2.4801488859795562e-05, 2.7557233290037663e-06, 2.7631646731058853e-07,
            2.5112539900171347e-08),
}
# Of (log(1 + f) − f + f²/2) / f³, √½ ≤ 1 + f ≤ √2.
LOG: Table = {
    "f32": (0.33333355, -0.25000852, 0.19999832, -0.16621308, 0.14226921, -0.13202536, 0.12622096, -0.07364063),
    "f64": (0.3333333333332809, -0.25000000000011513, 0.20000000001732904, -0.16666666665618612, 0.1428571408772848,
            -0.1249999990098493, 0.1111112205910708, -0.10000015051529844, 0.09090578912547931, -0.08332622651139052,
            0.07697857076149514, -0.07159425579886197, 0.06619274777643125, -0.060455955588485974, 0.05991661251033792,
            -0.06784903767541406, 0.06269808827273644, -0.027816642987974153),
}
# Of (sin √z / √z − 1) / z, √z ≤ π/4.
SIN: Table = {
    "f32": (-0.16666654, 0.008332143, -0.00019512717),
    "f64": (-0.1666666666666663, 0.00833333333332165, -0.00019841269829211656, 2.7557313486702546e-06,
            -2.505072596350322e-08, 1.5894922395813248e-10),
}
# Of (cos √z − 1 + z/2) / z², √z ≤ π/4.
COS: Table = {
    "f32": (0.041666646, -0.0013887257, 2.4426821e-05),
    "f64": (0.04166666666666658, -0.0013888888888871423, 2.480158728789347e-05, -2.755731391514406e-07,
            2.087566618441383e-09, -1.1356790380103289e-11),
}
# Of log erfc(x) / x in u = 2x / end − 1, 0 ≤ x ≤ end.
ERF: Table = {
    "f32": (-2.6824708, -1.7356718, -0.11166358, 0.04623618, -0.017700832, 0.0041716774, -0.0023304624, 0.0010639564,
            0.0015865797),
    "f64": (-3.5734543473245166, -2.730299341686945, -0.1418833162042098, 0.0751762740481902, -0.03863691203496476,
            0.01873642338110605, -0.008263911210194185, 0.0030826298105693607, -0.0007665821158636818,
            -0.0002493430071206462, 0.0002888976920738357, -0.0001227725167455221, 0.0008500049116055546,
            0.0001696845068558485, -0.0007694483831297128, -0.001303933262454179, -0.000114754117059877,
            0.0011244764733446633, 0.0008257439437135801, -0.00011103370808596765, -0.00038530157774444165,
            -0.00014366367806707155, -9.840314574356312e-06),
}
# fmt: on
