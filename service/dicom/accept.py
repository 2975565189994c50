"""Media types: what a client accepts (RFC 9110, 12.5.1; PS3.18, 8.7), read from the header or the ``accept`` parameter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from email.message import Message

from starlette.requests import Request

from service.problem import ProblemError

DICOM, JSON, XML = "application/dicom", "application/dicom+json", "application/dicom+xml"
OCTETS = "application/octet-stream"
PLAIN_JSON = "application/json"
MULTIPART = "multipart/related"
_MOST_TYPES = 64


@dataclass(frozen=True)
class MediaType:
    """One media type with its parameters, names in lower case; ``quality`` is its q."""

    name: str
    parameters: dict[str, str]
    quality: float = 1.0

    @property
    def inner(self) -> str:
        """The type of the parts of a multipart/related, else the type itself."""
        return self.parameters.get("type", "*/*").lower() if self.name == MULTIPART else self.name

    @property
    def transfer_syntax(self) -> str:
        """The transfer syntax asked for: a UID, "*" for any, "" when not said."""
        return self.parameters.get("transfer-syntax", "")


def media_type(value: str) -> MediaType:
    """Read one media type; quoted and unquoted parameters alike.

    >>> media_type('multipart/related; type="application/dicom"; boundary=a1').parameters["boundary"]
    'a1'
    """
    message = Message()
    message["content-type"] = value.replace("\r", " ").replace("\n", " ")
    pairs = message.get_params(failobj=[]) or []
    name = pairs[0][0].strip().lower() if pairs else ""
    parameters = {key.strip().lower(): text.strip() for key, text in pairs[1:] if isinstance(text, str)}
    try:
        quality = float(parameters.pop("q", "1"))
    except ValueError:
        quality = 1.0
    return MediaType(name, parameters, quality)


def accepted(request: Request) -> list[MediaType]:
    """Return what the client accepts, best first; everything when it does not say."""
    asked = request.query_params.get("accept") or ",".join(request.headers.getlist("accept"))
    found = [media_type(one) for one in _split(asked)[:_MOST_TYPES] if one.strip()]
    found = [one for one in found if one.quality > 0 and "/" in one.name]
    return sorted(found, key=lambda one: -one.quality) or [MediaType("*/*", {})]


def choose(request: Request, offers: Sequence[str]) -> str:
    """Return the first of our offers that the client's best wish allows. Raises ProblemError (406) when none does."""
    for wish in accepted(request):
        for offer in offers:
            if wish.inner in ("*/*", offer) or wish.inner == f"{offer.split('/', maxsplit=1)[0]}/*":
                return offer
    raise not_acceptable(offers)


def not_acceptable(offers: Sequence[str]) -> ProblemError:
    """Build the answer to an Accept header that nothing here satisfies."""
    return ProblemError("not_acceptable", f"This address answers in {', '.join(offers)}; accept one of them.")


def _split(header: str) -> list[str]:
    """Split at commas that are not inside quotes."""
    found, quoted, start = [], False, 0
    for place, letter in enumerate(header[:8192]):
        if letter == '"':
            quoted = not quoted
        elif letter == "," and not quoted:
            found.append(header[start:place])
            start = place + 1
    return [*found, header[start:8192]]
