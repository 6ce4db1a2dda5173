"""The machine: LLVM, compiled code on disk, and threads."""
