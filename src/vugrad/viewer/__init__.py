"""Pictures of graphs: in a notebook, in a browser, as files; and ``vg.debug``."""

from vugrad.viewer.debug import (
    NotFiniteError as NotFiniteError,
    OverwrittenError as OverwrittenError,
    debug as debug,
)
