"""Outlet: one place that messages of the outbox go to, and how it is told whether it is there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True)
class Outlet:
    """``name`` is the target of its messages. ``send`` raises service.dicom.undelivered.Undelivered."""

    name: str
    send: Callable[[Json], None]
    answers: Callable[[], bool]
