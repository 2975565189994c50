"""What the store raises: StoreError, with a word a program can act on. No message holds a value of a row."""

from __future__ import annotations

from typing import Literal

from models.errors import DiaphaneError

Trouble = Literal["full", "unreachable", "unwritable", "damaged", "newer", "missing_extra", "closed", "refused"]


class StoreError(DiaphaneError):
    """The store could not do what was asked, and nothing of it happened: nothing was acknowledged.

    ``code``: ``full`` no room left; ``unreachable`` the database or the object server does not answer, or is busy for
    too long; ``unwritable`` the disk refuses; ``damaged`` a file is not what its hash says, or is gone; ``newer`` the
    database was made by a later version; ``missing_extra`` a package is not installed; ``closed`` the store was closed;
    ``refused`` the database refuses this row, whoever sends it.
    """

    def __init__(self, message: str, *, code: Trouble) -> None:
        super().__init__(message)
        self.code = code


class LostLease(DiaphaneError):
    """A job or delivery was taken over by another process, since its lease ran out: what was made must be dropped."""
