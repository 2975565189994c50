"""Asked: one scoring request once it has arrived whole, on its way to a thread."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Generic, TypeVar

from service.metrics import Metrics
from service.reading import Reading
from service.settings import Settings

Q = TypeVar("Q")


@dataclass(frozen=True)
class Asked(Generic[Q]):
    """The body and how to read it; ``repr`` shows neither."""

    body: bytes = field(repr=False)
    content_type: str = field(repr=False)
    query: Q = field(repr=False)
    request_id: str
    settings: Settings = field(repr=False)
    metrics: Metrics = field(repr=False)
    reading: Reading = field(repr=False)
