"""The exceptions of Diaphane, and who can act on each.

    DiaphaneError
    ├── UnusableInput   what was sent cannot be read: the sender can act            → HTTP 400, 413, 415 or 422
    └── BrokenModel     a release is not sound: the people who run Diaphane must act → HTTP 503

A Refusal (models/prediction.py) is not here: declining to score is a result, not an error.
"""

from __future__ import annotations


class DiaphaneError(Exception):
    """Everything Diaphane raises on purpose."""


class UnusableInput(DiaphaneError):
    """What was sent cannot be read. The message says thing, rule, what was found, what to do; never who it is about.

    ``code`` is a stable word a program can act on, for example ``not_dicom`` or ``slices_not_a_grid``.
    """

    def __init__(self, message: str, *, code: str = "unusable_input") -> None:
        super().__init__(message)
        self.code = code


class BrokenModel(DiaphaneError):
    """A release folder breaks the contract. The message names the folder, the rule and what was found."""
