"""How long ``import`` takes in a fresh interpreter, measured inside it, so that Python's own start does not count."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile

from timing import Seconds

PROGRAM = "import time; start = time.perf_counter(); import {}; print(time.perf_counter() - start)"


def import_times(modules: tuple[str, ...], rounds: int) -> dict[str, Seconds]:
    """Seconds of each import, the modules taking turns; compiled to bytecode before, as after an installation."""
    seconds: dict[str, Seconds] = {module: [] for module in modules}
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": folder}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        for turn in range(rounds + 1):
            for module in modules:
                command = [sys.executable, "-c", PROGRAM.format(module)]
                run = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
                if turn:  # the first one compiles
                    seconds[module].append(float(run.stdout))
    return seconds
