"""Case: one input on its way through a model: what was sent, and what the graph gets."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.steps import Taken
from models.volume import Volume


@dataclass(frozen=True)
class Case:
    """``graph_input`` has the batch axis: (1, 1, rows, columns), (1, 1, z, y, x) or (1, features).

    ``source`` is the image as sent, ``prepared`` the same after the steps; both None for a record. ``taken`` are the steps
    that changed the grid, for what is put back onto the source's.
    """

    graph_input: NDArray[np.float32]
    source: Volume | None = None
    prepared: Volume | None = None
    flags: tuple[str, ...] = ()
    input_sha256: str = ""
    prepare_ms: float = 0.0
    taken: tuple[Taken, ...] = ()
