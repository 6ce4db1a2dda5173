"""The interface of an op that another process runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vugrad.graph import Op


class Elsewhere(Op):
    """An op whose forward and backward run in another process."""

    @staticmethod
    def forwards(all_xs: Sequence[list[Any]], constants: Mapping[str, Any]) -> list[list[Any]]:
        """The outputs of its forward at several inputs, with one request to the process."""
        raise NotImplementedError

    @staticmethod
    def record(xs: list[Any], constants: Mapping[str, Any]) -> Any:
        """Both directions as an array program, as :func:`vugrad.check.recording.record` gives it."""
        raise NotImplementedError
