"""A plan."""
from __future__ import annotations
import ctypes
import numpy as np
from vugrad.compiler.lower import lower, Machine
from vugrad.compiler.emit import emit
from vugrad.compiler.machine import llvm as L
from vugrad.compiler.trace import trace
