"""Whatever holds resources → one flat list of them, newest versions only, with what each is referred to by.

A Bundle of any type, one resource, or the prefetch of a CDS Hooks call ({key: resource, Bundle or null}). Contained
Observations become rows of their own and inherit subject, time and status; what was deleted, entered in error or asserted by
an AI system is gone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC

from models.errors import UnusableInput
from models.fhir.bundle import Json, codings, listed, own_reference, plain_reference, table, text
from models.fhir.times import span_of

MAX_RESOURCES = 50_000
MAX_NESTED = 4
WITHDRAWN = frozenset({"entered-in-error", "cancelled"})
AI_ASSERTED = "AIAST"  # of v3-ObservationValue: what a model said, ours too, is no measurement for the next
_INHERITED = ("subject", "encounter", "status", "issued", "effectiveDateTime", "effectiveInstant", "effectivePeriod")
_KINDS = frozenset({
    "AllergyIntolerance", "CarePlan", "Condition", "Device", "DiagnosticReport", "DocumentReference", "Encounter", "Flag",
    "FamilyMemberHistory", "Goal", "ImagingStudy", "Immunization", "Medication", "MedicationAdministration", "Observation",
    "MedicationDispense", "MedicationRequest", "MedicationStatement", "Patient", "Procedure", "QuestionnaireResponse",
    "RiskAssessment", "ServiceRequest", "Specimen",
})
_RANK = {"entered-in-error": 3, "cancelled": 3, "corrected": 2, "amended": 2, "final": 1}


@dataclass(frozen=True)
class Held:
    """One resource. ``key`` names it within what was sent, ``source`` is what an answer may refer to it by, or ""."""

    resource: Json
    key: str
    source: str
    kind: str

    @property
    def told(self) -> str:
        """The kind as it may be told: a sender's own word is not repeated."""
        return self.kind if self.kind in _KINDS else "Resource"


@dataclass(frozen=True)
class Collected:
    """Everything that was sent: resources in their order, and fullUrl → key, through which references are followed."""

    held: tuple[Held, ...]
    keys: Mapping[str, str]
    ignored: Counter[tuple[str, str]] = field(default_factory=Counter)

    def of(self, kind: str) -> list[Held]:
        """Return the resources of one type."""
        return [one for one in self.held if one.kind == kind]

    def key_of(self, literal: str) -> str:
        """Return the key that a literal reference leads to; itself in short form when it leads out of what was sent."""
        return self.keys.get(literal) or plain_reference(literal)


def collect(content: object) -> Collected:
    """Flatten what was sent. Raises UnusableInput when it is none of these, or holds more than MAX_RESOURCES."""
    ignored: Counter[tuple[str, str]] = Counter()
    deleted: set[str] = set()
    keys: dict[str, str] = {}
    homes: dict[str, str] = {}
    held: list[Held] = []
    for resource, url in _resources(content, ignored, deleted, 0):
        one = _held(resource, url, len(held), homes)
        held.append(one)
        if url:
            keys[url] = one.key
        held.extend(_contained(one))
        if len(held) > MAX_RESOURCES:
            raise _too_many()
    kept = [one for one in _newest(held, ignored) if one.key not in deleted]
    return Collected(tuple(kept), keys, ignored)


def _too_many() -> UnusableInput:
    return UnusableInput(
        f"A Bundle must hold at most {MAX_RESOURCES} resources, found more. Send one stay alone.", code="too_large"
    )


def _resources(
    content: object, ignored: Counter[tuple[str, str]], deleted: set[str], depth: int
) -> Iterator[tuple[Json, str]]:
    """Yield every resource with its fullUrl, Bundles within Bundles and the parts of a prefetch included."""
    if isinstance(content, dict) and "resourceType" not in content and content and depth == 0 and _is_prefetch(content):
        for part in content.values():
            if part is None:
                ignored["prefetch", "null"] += 1
            else:
                yield from _resources(part, ignored, deleted, 1)
        return
    sent = table(content)
    kind = text(sent.get("resourceType"))
    if not kind or (kind == "Bundle" and not isinstance(sent.get("entry", []), list)):
        raise UnusableInput(
            "A record must be a FHIR Bundle with a list of entries, a resource, or a prefetch of these, found another.",
            code="no_bundle",
        )
    if kind != "Bundle":
        yield sent, ""
        return
    if depth >= MAX_NESTED:
        raise UnusableInput(f"Bundles must nest at most {MAX_NESTED} deep, found more.", code="too_large")
    entries = sent.get("entry", [])
    if len(entries) > MAX_RESOURCES:
        raise _too_many()
    for entry in (table(one) for one in entries):
        yield from _entry(entry, ignored, deleted, depth)


def _entry(entry: Json, ignored: Counter[tuple[str, str]], deleted: set[str], depth: int) -> Iterator[tuple[Json, str]]:
    resource, request = table(entry.get("resource")), table(entry.get("request"))
    url = text(entry.get("fullUrl"))
    if request.get("method") == "DELETE":
        deleted.add(plain_reference(text(request.get("url"))))
        ignored["entry", "deleted"] += 1
    elif text(table(entry.get("response")).get("status"))[:1] in ("4", "5"):
        ignored["entry", "failed"] += 1
    elif not text(resource.get("resourceType")):
        ignored["entry", "no_resource"] += 1
    elif resource["resourceType"] == "Bundle":
        yield from _resources(resource, ignored, deleted, depth + 1)
    else:
        yield resource, url


def _is_prefetch(content: Json) -> bool:
    return all(part is None or text(table(part).get("resourceType")) for part in content.values())


def _held(resource: Json, url: str, place: int, homes: dict[str, str]) -> Held:
    """Name a resource by type and id; where two servers use one id, the second by its address: it is another resource."""
    own = own_reference(resource)
    home = url.partition("/_history/")[0] if url.startswith(("http://", "https://")) else ""
    elsewhere = bool(own and home) and homes.setdefault(own, home) != home
    return Held(resource, home if elsewhere else own or url or f"#{place}", own or url, text(resource.get("resourceType")))


def _contained(parent: Held) -> Iterator[Held]:
    """Yield contained Observations (members of a panel, results of a report) with what they inherit."""
    for i, one in enumerate(listed(parent.resource.get("contained"))):
        inner = table(one)
        if inner.get("resourceType") != "Observation":
            continue
        given = {name: parent.resource[name] for name in _INHERITED if name in parent.resource}
        if any(name.startswith("effective") for name in inner):
            given = {name: value for name, value in given.items() if not name.startswith("effective")}
        yield Held({**given, **inner}, f"{parent.key}#{text(inner.get('id')) or i}", parent.source, "Observation")


def _newest(held: list[Held], ignored: Counter[tuple[str, str]]) -> Iterator[Held]:
    """Yield each resource once, in its latest version, and none that the latest version takes back or a model asserted."""
    latest: dict[tuple[str, ...], tuple[tuple[float, ...], Held]] = {}
    also: dict[tuple[str, ...], tuple[str, ...]] = {}
    for place, one in enumerate(held):
        names = [("key", one.key), *_business_names(one)]
        main = next((also[name] for name in names if name in also), names[0])
        for name in names:
            also.setdefault(name, main)
        rank = (*_version(one.resource), place)
        if main in latest:
            ignored[one.told, "replaced" if latest[main][1].resource != one.resource else "sent_twice"] += 1
        if main not in latest or rank > latest[main][0]:
            latest[main] = (rank, one)
    chosen = {id(one): True for _, one in latest.values()}
    for one in held:
        if not chosen.pop(id(one), False):
            continue
        status = _status(one.resource)
        if any(table(label).get("code") == AI_ASSERTED for label in listed(table(one.resource.get("meta")).get("security"))):
            ignored[one.told, "ai_asserted"] += 1
        elif status in WITHDRAWN and (one.kind != "Encounter" or status == "entered-in-error"):
            ignored[one.told, status.replace("-", "_")] += 1
        else:
            yield one


def _business_names(one: Held) -> list[tuple[str, ...]]:
    """Name an Observation by its identifiers too: some senders give each correction another id.

    An identifier alone may be the order's: only with the same code and time is it the same measurement.
    """
    resource = one.resource
    rows = [row for row in (table(each) for each in listed(resource.get("identifier"))) if row.get("value")]
    if one.kind != "Observation" or not rows:
        return []
    codes = ",".join(sorted(f"{system}|{code}" for system, code in codings(resource.get("code"))))
    spoken = text(resource.get("effectiveDateTime")) or text(resource.get("effectiveInstant"))
    span = span_of(spoken)
    at = span[0].astimezone(UTC).isoformat() if span else spoken
    return [("identifier", text(row.get("system")), text(row.get("value")), codes, at) for row in rows]


def _version(resource: Json) -> tuple[float, ...]:
    """Return what orders two versions of one resource: versionId, lastUpdated, then issued, then the status."""
    meta = table(resource.get("meta"))
    number = text(meta.get("versionId"))
    updated, issued = span_of(meta.get("lastUpdated")), span_of(resource.get("issued"))
    return (
        float(number) if number.isascii() and number.isdecimal() and len(number) < 16 else -1.0,
        updated[0].timestamp() if updated else 0.0,
        issued[0].timestamp() if issued else 0.0,
        float(_RANK.get(_status(resource), 0)),
    )


def _status(resource: Json) -> str:
    verified = [code for _, code in codings(resource.get("verificationStatus"))]
    return "entered-in-error" if "entered-in-error" in verified else text(resource.get("status"))
