"""Why a delivery failed: a word of ours, whether trying again can help, and what the statuses of DIMSE and STOW-RS mean for it."""

from __future__ import annotations


class Undelivered(Exception):
    """A target did not take everything. ``permanent``: the same again would end the same."""

    def __init__(self, reason: str, *, permanent: bool) -> None:
        super().__init__(reason)
        self.reason = reason
        self.permanent = permanent


# Success, the warnings of PS3.4 table B.2-1, and two ways of saying that it is there already.
DELIVERED = frozenset((0x0000, 0xB000, 0xB006, 0xB007, 0x0111, 0xB00E))
_PERMANENT = frozenset((
    0x0106, 0x0115, 0x0116, 0x0117, 0x0119, 0x0120, 0x0121, 0x0122, 0x0124, 0x0210, 0x0211, 0x0212,
))  # PS3.7, annex C: invalid, not supported, not allowed
_PERMANENT_RANGES = (range(0xA900, 0xAA00), range(0xC000, 0xD000))  # does not match its class; cannot be understood


def is_permanent(status: int) -> bool:
    """Tell whether the same object would be refused again."""
    return status in _PERMANENT or any(status in one for one in _PERMANENT_RANGES)
