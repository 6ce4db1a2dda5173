"""Run every shell command of the README as it is written there, from the third block on, and print what each took.

CI runs the first two blocks by themselves. A command is a line of a block marked ``sh``; what follows two spaces and a
``#`` is its comment. The commands run in the working directory, in order, each in a shell of its own, with the
programs of ``.venv`` on the path, as after ``. .venv/bin/activate``.
"""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

#: Commands that find something wrong on purpose, and say so by their exit status.
STATUS = {"vugrad doctor --init zeros": 1}
#: What a command holds that needs the files of MNIST; without VUGRAD_DATA it would download them.
MNIST = re.compile(r"--data mnist\b|--recipe fast99|--full|fast99\.py")
BLOCK = re.compile(r"^```sh\n(.*?)^```", re.DOTALL | re.MULTILINE)


def commands(text: str) -> list[str]:
    """The commands of a page, without those of its first two blocks."""
    lines = [line for block in BLOCK.findall(text)[2:] for line in block.splitlines()]
    return [command for line in lines if (command := re.sub(r"(^|\s{2,})#.*", "", line).strip())]


def run(command: str) -> bool:
    """Run one command; print its output only if it fails. Return whether its exit status is the expected one."""
    if MNIST.search(command) and "VUGRAD_DATA" not in os.environ:
        print(f"  skipped, as VUGRAD_DATA is not set: {command}")
        return True
    path = f"{Path('.venv/bin').absolute()}{os.pathsep}{os.environ['PATH']}"
    start = time.perf_counter()
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command],
        env={**os.environ, "PATH": path},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    passed = done.returncode == STATUS.get(command, 0)
    print(f"  {time.perf_counter() - start:6.1f} s  {command}", flush=True)
    if not passed:
        print(f"{done.stdout}\n  exit status {done.returncode}: {command}")
    return passed


if __name__ == "__main__":
    found = commands(Path("README.md").read_text(encoding="utf-8"))
    if len(found) < 10:
        sys.exit(f"the README has {len(found)} commands after its first two blocks, which is too few to be all")
    passed = [run(command) for command in found]  # each of them, whatever failed before
    if not all(passed):
        sys.exit(1)
