"""Proofs: that a backward is the derivative of its forward, shown on symbols, checked in numbers, or where it is not."""
