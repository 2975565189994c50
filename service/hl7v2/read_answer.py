"""What comes back by HL7 v2: the acknowledgement of a message, and later what became of the document (ZAM).

Nothing of an answer is passed on but codes: its texts may quote what was sent.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from service.hl7v2.encoding import unescaped

_WORD = re.compile(r"[A-Za-z0-9_.-]{1,40}")
_OF_DOCUMENT: dict[str, Literal["stored", "delivered", "read"]] = {
    "ACK_RECEPTION_DMP": "stored", "ACK_RECEPTION_MSS": "delivered", "ACK_LECTURE_MSS": "read",
}


class NotAnAnswer(ValueError):
    """What came is no acknowledgement."""


@dataclass(frozen=True)
class Acknowledgement:
    """MSA: the code (AA, AE, AR or their C twins), the control id it answers, and the error codes of ERR-3."""

    code: str
    control_id: str
    errors: tuple[str, ...]

    @property
    def is_taken(self) -> bool:
        """Tell whether the receiver has taken responsibility."""
        return self.code in ("AA", "CA")

    @property
    def is_final(self) -> bool:
        """Tell whether the same message would end the same: AR is a matter of circumstances (CI-SIS)."""
        return self.code in ("AE", "CE")


@dataclass(frozen=True)
class Receipt:
    """ZAM: what became of a document that was sent with ``control_id``."""

    of: Literal["stored", "delivered", "read"]
    control_id: str
    succeeded: bool
    errors: tuple[str, ...]


def read_acknowledgement(message: str) -> Acknowledgement:
    """Read an ACK. Raises NotAnAnswer."""
    segments = _segments(message)
    found = [one for one in segments if one[0] == "MSA"]
    code = _at(found[0], 1) if found else ""
    if len(found) != 1 or code not in ("AA", "AE", "AR", "CA", "CE", "CR"):
        raise NotAnAnswer("An answer must have one MSA segment with a code of table 0008.")
    return Acknowledgement(code, unescaped(_at(found[0], 2)), _errors(segments, 3))


def read_receipt(message: str) -> Receipt:
    """Read a ZAM of event Z01, Z02 or Z03. Raises NotAnAnswer."""
    segments = _segments(message)
    if not _at(segments[0], 9).startswith("ZAM^"):
        raise NotAnAnswer("A receipt must be a ZAM message.")
    for one in segments:
        about = _at(one, 3).partition("^")[0] if one[0] == "OBX" else ""
        if about in _OF_DOCUMENT:
            return Receipt(_OF_DOCUMENT[about], unescaped(_at(one, 4)), _at(one, 5).partition("^")[0] == "Y", _errors(segments, 5))
    raise NotAnAnswer("A receipt must say what it is about (table AckMetierZAM).")


def _segments(message: str) -> list[list[str]]:
    """Split a message; MSH-1 is put in, so that a field's place is its number."""
    segments = [line.split("|") for line in message.replace("\n", "\r").split("\r") if line]
    if not segments or segments[0][0] != "MSH" or not message.startswith("MSH|"):
        raise NotAnAnswer("An answer must start with MSH and separate fields by |.")
    segments[0].insert(1, "|")
    return segments


def _at(segment: list[str], place: int) -> str:
    return segment[place] if place < len(segment) else ""


def _errors(segments: list[list[str]], place: int) -> tuple[str, ...]:
    codes = [_at(one, place).partition("^")[0] for one in segments if one[0] == "ERR"]
    return tuple(code for code in codes if _WORD.fullmatch(code))[:4]
