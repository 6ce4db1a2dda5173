"""Proofs that a backward is the derivative of its forward: on symbols, in numbers, and if it is not, why."""
