"""The primitive types of R4 in JSON: which JSON type carries each, and what its text must look like.

https://hl7.org/fhir/R4/datatypes.html#primitive. Calendar days are checked, not only their digits: 2026-02-30 is none.
"""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Callable, Mapping
from math import isfinite

MAX_TEXT = 2**20  # characters of a string, by the standard
_YEAR = r"([0-9]([0-9]([0-9][1-9]|[1-9]0)|[1-9]00)|[1-9]000)"
_CLOCK = r"([01][0-9]|2[0-3]):[0-5][0-9]:([0-5][0-9]|60)(\.[0-9]{1,9})?"
_ZONE = r"(Z|[+-]((0[0-9]|1[0-3]):[0-5][0-9]|14:00))"
_DAY = r"(0[1-9]|[12][0-9]|3[01])"
_DATE = re.compile(rf"{_YEAR}(-(0[1-9]|1[0-2])(-{_DAY})?)?")
_DATE_TIME = re.compile(rf"{_YEAR}(-(0[1-9]|1[0-2])(-{_DAY}(T{_CLOCK}{_ZONE})?)?)?")
_INSTANT = re.compile(rf"{_YEAR}-(0[1-9]|1[0-2])-{_DAY}T{_CLOCK}{_ZONE}")
_TIME = re.compile(_CLOCK)
_BASE64 = re.compile(r"[0-9a-zA-Z+/]*={0,2}")
_TEXT = re.compile(r"[ \r\n\t\S]+", re.ASCII)  # ASCII: a no-break space, frequent in French, is text
_URI = re.compile(r"\S+")
_CODE = re.compile(r"[^\s]+(\s[^\s]+)*")
_ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")
_OID = re.compile(r"urn:oid:[0-2](\.(0|[1-9][0-9]*))+")
_UUID = re.compile(r"urn:uuid:[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_SCRIPT = re.compile(r"<!|<\?|<\s*(script|iframe|object|embed|form|base|link|head|body|frame)\b|\son\w+\s*=|javascript:",
                     re.IGNORECASE)


def is_oid(text: str) -> bool:
    """Tell whether a text is an object identifier written as urn:oid:…"""
    return _OID.fullmatch(text) is not None


def is_uuid(text: str) -> bool:
    """Tell whether a text is a UUID written as urn:uuid:…"""
    return _UUID.fullmatch(text) is not None


def _text(pattern: re.Pattern[str]) -> Callable[[object], bool]:
    return lambda value: isinstance(value, str) and len(value) <= MAX_TEXT and pattern.fullmatch(value) is not None


def _dated(pattern: re.Pattern[str]) -> Callable[[object], bool]:
    def good(value: object) -> bool:
        if not isinstance(value, str) or pattern.fullmatch(value) is None:
            return False
        return len(value) < 10 or int(value[8:10]) <= monthrange(int(value[:4]), int(value[5:7]))[1]

    return good


def _whole(low: int) -> Callable[[object], bool]:
    return lambda value: isinstance(value, int) and not isinstance(value, bool) and low <= value < 2**31


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and (isinstance(value, int) or isfinite(value))


def _base64(value: object) -> bool:
    text = "".join(value.split()) if isinstance(value, str) else "="
    return len(text) % 4 == 0 and _BASE64.fullmatch(text) is not None


def _xhtml(value: object) -> bool:
    """Accept one div of text (txt-1, txt-2): with its namespace, without anything that could run or load."""
    if not isinstance(value, str) or len(value) > MAX_TEXT:
        return False
    inner = value.strip()
    return (inner.startswith("<div") and inner.endswith(("</div>", "/>")) and "http://www.w3.org/1999/xhtml" in inner
            and _SCRIPT.search(inner) is None)


PRIMITIVES: Mapping[str, tuple[Callable[[object], bool], str]] = {
    "boolean": (lambda value: isinstance(value, bool), "true or false, without quotes"),
    "integer": (_whole(-(2**31)), "a whole number without quotes"),
    "unsignedInt": (_whole(0), "a whole number of 0 or more, without quotes"),
    "positiveInt": (_whole(1), "a whole number of 1 or more, without quotes"),
    "decimal": (_number, "a number without quotes"),
    "string": (_text(_TEXT), "a text that is not empty"),
    "markdown": (_text(_TEXT), "a text that is not empty"),
    "code": (_text(_CODE), "a code: a text without blanks around it"),
    "id": (_text(_ID), "an id of 1 to 64 letters, digits, - and ."),
    "uri": (_text(_URI), "a URI: a text without blanks"),
    "url": (_text(_URI), "a URL: a text without blanks"),
    "canonical": (_text(_URI), "a canonical URL: a text without blanks"),
    "oid": (_text(_OID), "urn:oid: and an object identifier"),
    "uuid": (_text(_UUID), "urn:uuid: and a UUID"),
    "date": (_dated(_DATE), "YYYY, YYYY-MM or YYYY-MM-DD, a day that exists"),
    "dateTime": (_dated(_DATE_TIME), "YYYY, YYYY-MM, YYYY-MM-DD or YYYY-MM-DDThh:mm:ss with its zone, a day that exists"),
    "instant": (_dated(_INSTANT), "YYYY-MM-DDThh:mm:ss with its zone, a day that exists"),
    "time": (_text(_TIME), "hh:mm:ss"),
    "base64Binary": (_base64, "base64 text"),
    "xhtml": (_xhtml, "one xhtml div with its namespace, without scripts"),
}
