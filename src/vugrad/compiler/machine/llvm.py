"""LLVM: what this machine can do, from text to machine code, and from machine code to functions that can be called."""

from __future__ import annotations

import ctypes
import ctypes.util
import functools
import os
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import llvmlite.binding as llvm

from vugrad.suggest import choose


@dataclass(frozen=True)
class Target:
    """A processor: its name and features as LLVM spells them, and the bytes in its widest vectors."""

    triple: str
    cpu: str
    features: str
    vector_bytes: int

    @property
    def registers(self) -> int:
        """How many vectors fit in registers."""
        return 32 if self.vector_bytes == 64 or not self.triple.startswith("x86") else 16

    @property
    def flushes(self) -> bool:
        """Whether numbers too small to be normal are so slow that they had better count as 0."""
        return self.triple.startswith("x86_64")

    @property
    def fuses(self) -> bool:
        """Whether a multiply-add that rounds once is one instruction."""
        return "+fma" in self.features.split(",") or not self.triple.startswith("x86")

    @property
    def key(self) -> str:
        """All that machine code depends on, LLVM's own version included."""
        return f"{llvm.llvm_version_info} {self.triple} {self.cpu} {self.features}"


def host() -> Target:
    """The target of compiled code: this machine, or the baseline that ``VUGRAD_TARGET`` names.

    Raises ``ValueError`` for an unknown name, and for a target whose code this machine cannot run.
    """
    name = os.environ.get("VUGRAD_TARGET") or "host"
    return _this() if name == "host" else _emulated(name)


@functools.cache
def _this() -> Target:
    """The target of this machine."""
    features = llvm.get_host_cpu_features()
    names = features.flatten()
    if features.get("avx512f") and features.get("avx512vl"):
        size, names = 64, f"{names},-prefer-256-bit"
    elif features.get("avx2") and features.get("fma"):
        size = 32
    else:
        size = 16
    return Target(llvm.get_process_triple(), llvm.get_host_cpu_name(), names, size)


@functools.cache
def _emulated(name: str) -> Target:
    """The named target, with this machine's triple."""
    target, this = choose("VUGRAD_TARGET", name, TARGETS)(), _this()
    foreign = target.triple.split("-")[0] != this.triple.split("-")[0]
    lacking = sorted({part for part in target.features.split(",") if part[:1] == "+"} - {*this.features.split(",")})
    if foreign or lacking:
        why = this.triple if foreign else f"{this.cpu} without {', '.join(part[1:] for part in lacking)}"
        raise ValueError(f"VUGRAD_TARGET={name}: this machine, {why}, cannot run code for it")
    return replace(target, triple=this.triple)


#: The features of the x86-64 levels; each level includes the earlier ones.
V3 = "+avx2,+bmi,+bmi2,+f16c,+fma,+lzcnt,+movbe"
V4 = f"{V3},+avx512f,+avx512bw,+avx512cd,+avx512dq,+avx512vl"

#: Targets by name; code can be made for targets other than this machine.
TARGETS: dict[str, Callable[[], Target]] = {
    "host": host,
    "x86-64": lambda: Target("x86_64-unknown-linux-gnu", "x86-64", "", 16),
    "x86-64-v3": lambda: Target("x86_64-unknown-linux-gnu", "x86-64-v3", V3, 32),
    "x86-64-v4": lambda: Target("x86_64-unknown-linux-gnu", "x86-64-v4", f"{V4},-prefer-256-bit", 64),
    "aarch64": lambda: Target("aarch64-unknown-linux-gnu", "generic", "", 16),
}


@functools.cache
def _initialize() -> None:
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()


def _machine(target: Target) -> Any:
    _initialize()
    return llvm.Target.from_triple(target.triple).create_target_machine(
        cpu=target.cpu, features=target.features, opt=2, reloc="pic", codemodel="small"
    )


#: The machine that compiles for a target, made once: LLVM reads its features again for each, which takes 1 ms.
_compiler = functools.cache(_machine)


def compile_text(text: str, target: Target) -> bytes:
    """Machine code, as an object file, from a module's text."""
    machine = _compiler(target)
    module = llvm.parse_assembly(text if target.fuses else _without_fma(text))
    module.triple = target.triple
    module.data_layout = str(machine.target_data)
    module.verify()
    builder = llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options())
    inlined = llvm.create_new_module_pass_manager()
    inlined.add_always_inliner_pass()
    inlined.add_global_dead_code_eliminate_pass()
    inlined.run(module, builder)
    # The loops have their final form, so these passes are enough: with LLVM's pipeline of level 2 for functions, the
    # code of 20 workloads is as fast (within 1 %, in one of them 3 %), and LLVM takes 1.4 times as long.
    simplified = llvm.create_new_function_pass_manager()
    simplified.add_sroa_pass()
    simplified.add_instruction_combine_pass()
    simplified.add_simplify_cfg_pass()
    for function in module.functions:
        if not function.is_declaration:
            simplified.run(function, builder)
    return bytes(machine.emit_object(module))


#: LLVM's fma of float32, or of vectors of it, where it is declared, and where it is called.
DECLARED = re.compile(r"^declare (.*) @llvm\.fma\.(\w*f32)\(.*\)$", re.MULTILINE)
CALLED = re.compile(r"@llvm\.fma\.(?=\w*f32\()")


def _without_fma(text: str) -> str:
    """A module's text with x · y + z of float32 computed in float64, in which the product is exact.

    Without an instruction for it, LLVM would call C's ``fmaf`` for each lane.
    """

    def defined(found: re.Match[str]) -> str:
        kind, name = found.groups()
        wide, taken = kind.replace("float", "double"), ", ".join(f"{kind} %{v}" for v in "xyz")
        return "\n".join(
            [
                f"define internal {kind} @fma.{name}({taken}) alwaysinline nounwind {{",
                *(f"  %{v}.wide = fpext {kind} %{v} to {wide}" for v in "xyz"),
                f"  %product = fmul {wide} %x.wide, %y.wide",
                f"  %sum = fadd {wide} %product, %z.wide",
                f"  %rounded = fptrunc {wide} %sum to {kind}",
                f"  ret {kind} %rounded",
                "}",
            ]
        )

    return CALLED.sub("@fma.", DECLARED.sub(defined, text))


def missing(object_file: bytes) -> list[str]:
    """The names that an ELF object file takes from elsewhere; of another format it cannot be seen."""
    tables = {s.name(): s.data() for s in llvm.ObjectFileRef.from_data(object_file).sections()}
    symbols, texts = tables.get(b".symtab", b""), tables.get(b".strtab", b"")
    found = []
    for begin, _, _, section, _, _ in struct.iter_unpack("<IBBHQQ", symbols):  # ELF's Elf64_Sym
        if begin and not section:
            found.append(texts[begin : texts.index(b"\0", begin)].decode())
    return found


class Code:
    """Loaded machine code."""

    def __init__(self, object_file: bytes, target: Target) -> None:
        _add_symbols()
        backing = llvm.parse_assembly("")
        backing.triple = target.triple
        self._engine = llvm.create_mcjit_compiler(backing, _machine(target))
        self._engine.add_object_file(llvm.ObjectFileRef.from_data(object_file))
        self._engine.finalize_object()

    def address(self, name: str) -> int:
        """Where a function is; ``KeyError`` if there is none of that name."""
        address = int(self._engine.get_function_address(name))
        if not address:
            raise KeyError(name)
        return address


@functools.cache
def _add_symbols() -> None:
    """Make the C library's mathematical functions known, wherever the platform keeps them."""
    library = ctypes.CDLL(ctypes.util.find_library("m") or None)
    for name in ("tan", "asin", "acos", "atan", "sinh", "cosh", "pow", "sin", "cos", "exp", "log", "fma"):
        for suffix in ("", "f"):
            function = getattr(library, name + suffix, None)
            if function is not None:
                llvm.add_symbol(name + suffix, ctypes.cast(function, ctypes.c_void_p).value)
