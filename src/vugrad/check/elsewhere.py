"""What is asked of an op that another process runs, beside its two directions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vugrad.graph import Op


class Elsewhere(Op):
    """An op that another process runs."""

    @staticmethod
    def forwards(all_xs: Sequence[list[Any]], constants: Mapping[str, Any]) -> list[list[Any]]:
        """The outputs of its forward at several inputs, asked for in one go."""
        raise NotImplementedError

    @staticmethod
    def record(xs: list[Any], constants: Mapping[str, Any]) -> Any:
        """Both directions as an array program, as :func:`vugrad.check.recording.record` gives it."""
        raise NotImplementedError
