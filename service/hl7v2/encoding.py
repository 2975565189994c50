r"""The encoding of HL7 v2: fields, components and the escapes that keep text from being read as structure (2.5, 2.7; |^~\&).

No text can end a segment or a message: controls, those of MLLP frames among them, are written as blanks.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from service.reporting.report import one_line

_ESCAPES = {"\\": "\\E\\", "|": "\\F\\", "^": "\\S\\", "&": "\\T\\", "~": "\\R\\"}
_PLAIN = {escape[1]: plain for plain, escape in _ESCAPES.items()}
_ESCAPE = re.compile(r"\\([EFSTR])\\")


class Encoded(str):
    """A value whose structure is already written."""

    __slots__ = ()


def escaped(text: str) -> Encoded:
    """Write text: on one line, its structure characters escaped."""
    return Encoded("".join(_ESCAPES.get(one, one) for one in one_line(text)))


def unescaped(value: str) -> str:
    """Read what ``escaped`` wrote; escapes of other kinds are left as they stand."""
    return _ESCAPE.sub(lambda found: _PLAIN[found[1]], value)


def components(*values: str) -> Encoded:
    """Join components; text is escaped, empty ones at the end are left out."""
    return _joined("^", values)


def subcomponents(*values: str) -> Encoded:
    """Join subcomponents."""
    return _joined("&", values)


def repetitions(*values: str) -> Encoded:
    """Join repetitions of a field."""
    return _joined("~", values)


def segment(name: str, fields: Mapping[int, str]) -> str:
    """Write a segment; ``fields`` by their number in the standard. MSH-1 and MSH-2 are written here."""
    written = [_written(fields.get(place, "")) for place in range(1, max(fields, default=0) + 1)]
    if name == "MSH":
        return "|".join(["MSH", "^~\\&", *written[2:]])
    return "|".join([name, *written])


def message(segments: list[str]) -> str:
    """Join segments; each ends with a carriage return (2.5, 2.5.2)."""
    return "".join(one + "\r" for one in segments)


def _joined(separator: str, values: tuple[str, ...]) -> Encoded:
    return Encoded(separator.join(_written(one) for one in values).rstrip(separator))


def _written(value: str) -> str:
    return value if isinstance(value, Encoded) else escaped(value)
