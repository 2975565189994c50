"""FHIR R4 → Record: codes to our names, units to ours by table, times to minutes since the encounter's start.

Reads a Bundle of any type, one resource, or the prefetch of a CDS Hooks call: Patient (birthDate, gender), Encounter,
Observation, and through `models.fhir.facts` whatever else a release needs. What is not in `tables/codes_*.json` is no
business of ours; of what is, everything not used is reported with its reason. https://hl7.org/fhir/R4/bundle.html.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, tzinfo
from math import isnan, nan

from models.codes import MEASURED_ONCE, unit_of
from models.errors import UnusableInput
from models.fhir.bundle import Fact, Json, table
from models.fhir.collect import Collected, collect
from models.fhir.facts import facts_of
from models.fhir.known import known_at, latest
from models.fhir.mapping import NO_CODES, SiteCodes
from models.fhir.measure import Measured, Unused, instant_of, measured_by
from models.fhir.stay import Stay, choose_stay
from models.fhir.subject import one_subject, subject_of, traits
from models.fhir.times import span_of, zone_of
from models.record import Event, Record

MAX_BYTES = 32 * 2**20
References = dict[str, list[tuple[float, str]]]
_ALWAYS_STATED = ("age_years", "male", "height_cm", "icu_type")
_NO_TIME = datetime(1, 1, 3, tzinfo=UTC)  # of a record in which nothing says when


@dataclass(frozen=True)
class Ignored:
    """What was not used: ``what`` kind of resource or code, ``why`` in a word a program can act on, how often.

    One reason is a remark: *comparator* counts values used as their limit, because < or > stood before them.
    """

    what: str
    why: str
    count: int


@dataclass(frozen=True)
class Reading:
    """A record, and where it came from. ``references``: our code → (minute, "Observation/1") of every value used, by time.

    What does not change with time is at minute 0. ``subject`` and ``encounter`` are references ("Patient/1"), "" when there
    is none; ``stay`` says whether an encounter was found: without one, minute 0 is the first value.
    """

    record: Record
    references: Mapping[str, tuple[tuple[float, str], ...]] = field(default_factory=dict, repr=False)
    ignored: tuple[Ignored, ...] = ()
    subject: str = field(default="", repr=False)
    encounter: str = field(default="", repr=False)
    patient: Json | None = field(default=None, repr=False)
    stay: bool = False


@dataclass(frozen=True)
class _Value:
    """One measurement with its wall-clock time and the resource it came from."""

    measured: Measured
    at: datetime
    issued: datetime | None
    source: str


def read_fhir(content: bytes | str) -> Record:
    """Read one Bundle about one subject and one stay, strictly: what is known to the tables must be readable.

    Raises UnusableInput when the text is not a Bundle, is too large, speaks of several subjects or stays, has no
    Encounter with a start, or measures a known code in an unknown unit. Messages never say who it is about.
    """
    return record_of(parse(content))


def parse(content: bytes | str) -> object:
    """Parse JSON text of at most MAX_BYTES. Raises UnusableInput when it is none."""
    if len(content) > MAX_BYTES:
        raise UnusableInput(
            f"A Bundle must be at most {MAX_BYTES // 2**20} MiB, found {len(content) // 2**20}. Send one stay alone.",
            code="too_large",
        )
    try:
        return json.loads(content, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise UnusableInput("A Bundle must be JSON text in UTF-8, found something else.", code="not_json") from None


def record_of(bundle: object) -> Record:
    """Turn a parsed Bundle into a Record. Raises UnusableInput as `read_fhir` does."""
    reading = read_bundle(bundle, strict=True)
    stays = 1 + sum(one.count for one in reading.ignored if (one.what, one.why) == ("Encounter", "other_encounter"))
    if not reading.stay or stays > 1:
        raise UnusableInput(
            f"A Bundle must hold one Encounter with its start, the stay in the unit, found {stays if reading.stay else 0}. "
            "Send that stay alone.",
            code="no_single_stay",
        )
    return reading.record


def read_bundle(
    bundle: object, *, moment: datetime | None = None, encounter: str | None = "", codes: SiteCodes = NO_CODES,
    strict: bool = False,
) -> Reading:
    """Read resources about one subject as they were known at a moment.

    ``moment``: when asked for, what was measured, recorded or issued later is not known; nothing after the end of the
    encounter is; else everything up to the latest time sent is. ``encounter``: a reference to one of them; None: none is
    looked at, for what is measured at home. ``codes``: the hospital's own. ``strict``: what a sender can mend (an unknown
    unit, a time without zone) raises.

    Raises UnusableInput when the content holds no resources or too many, speaks of several subjects, lacks the encounter
    asked for, or says that a person was born after the record began.
    """
    if moment is not None and moment.tzinfo is None:
        raise UnusableInput("The moment asked for must be a date and time with its zone.", code="bad_time")
    sent = collect(bundle)
    if codes.codes:
        sent = replace(sent, held=tuple(replace(one, resource=codes.translate(one.resource)) for one in sent.held))
    ignored = sent.ignored
    sent, patient = one_subject(sent, ignored)
    zone = _zone(sent, moment)
    stay = None if encounter is None else choose_stay(sent, encounter, moment, zone, ignored)
    values = list(_values(sent, codes, zone, strict, ignored))
    last = _last(sent, values, moment, stay, zone)
    known = [one for one in values if last is not None and _known(one, last, moment is not None, ignored)]
    origin = stay.start if stay else min((one.at for one in known), default=last)
    # Without a stay the first value may be years old: age and height are then those of the latest moment.
    anchor = stay.start if stay else last
    found = _Found(origin or _NO_TIME, anchor or _NO_TIME, defaultdict(list), dict.fromkeys(_ALWAYS_STATED, nan))
    for name, fact in traits(patient, stay, anchor):
        found.state(name, fact)
    events = list(found.events(known, ignored))
    subject = patient.source if patient and patient.source else subject_of(sent)
    view = known_at(sent, last or _NO_TIME, zone, found.origin, patient, stay, ignored)
    for name, fact in facts_of(view).items():
        if not isnan(fact.value):
            found.state(name, fact)
    return Reading(
        Record.of(events, found.static, origin),
        {code: tuple(sorted(rows)) for code, rows in found.references.items()},
        tuple(Ignored(what, why, count) for (what, why), count in sorted(ignored.items())),
        subject, stay.held.source if stay else "", patient.resource if patient else None, stay is not None,
    )


@dataclass(frozen=True)
class _Found:
    """What becomes the record: static values, taken nearest to the anchor, and our code → what it was taken from."""

    origin: datetime
    anchor: datetime
    references: References
    static: dict[str, float]

    def state(self, name: str, fact: Fact) -> None:
        """Set a value that does not change with time."""
        self.static[name] = fact.value
        if not isnan(fact.value):
            self.references[name] = [(0.0, source) for source in dict.fromkeys(fact.sources) if source]

    def events(self, values: Iterable[_Value], ignored: Counter[tuple[str, str]]) -> Iterable[Event]:
        """Yield what was measured since the origin, each value once; of what hardly changes the one nearest to the anchor."""
        seen: set[tuple[str, float, str]] = set()
        nearest: dict[str, tuple[float, float, _Value]] = {}  # by distance, then value: the order of sending changes nothing
        for one in values:
            code, minute = one.measured.code, (one.at - self.origin).total_seconds() / 60
            if one.measured.beyond:
                ignored[code, "comparator"] += 1
            if code in MEASURED_ONCE:
                away = abs((one.at - self.anchor).total_seconds())
                if code not in nearest or (away, one.measured.value) < nearest[code][:2]:
                    nearest[code] = (away, one.measured.value, one)
                continue
            if minute < 0:
                ignored[code, "before_start"] += 1
                continue
            mark = (code, round(minute * 60), f"{one.measured.value:.6g}")
            if mark in seen:
                ignored[code, "duplicate"] += 1
                continue
            seen.add(mark)
            if one.source:
                self.references[code].append((minute, one.source))
            yield Event(minute, code, one.measured.value, unit_of(code))
        for code, (_, _, one) in nearest.items():
            self.state(code, Fact(one.measured.value, (one.source,)))


def _refuse_constant(word: str) -> float:
    raise ValueError(f"{word} is not JSON (RFC 8259)")


def _zone(sent: Collected, moment: datetime | None) -> tzinfo:
    """Return the zone of days without a clock time: that of the moment asked for, else the first one stated."""
    if moment is not None and moment.tzinfo is not None:
        return moment.tzinfo
    spoken = [table(one.resource.get("period")).get("start") for one in sent.of("Encounter")]
    spoken += [one.resource.get("effectiveDateTime") for one in sent.of("Observation")]
    return zone_of(*spoken)


def _values(
    sent: Collected, codes: SiteCodes, zone: tzinfo, strict: bool, ignored: Counter[tuple[str, str]]
) -> Iterable[_Value]:
    for one in sent.of("Observation"):
        for part in measured_by(one.resource, codes):
            if isinstance(part, Unused):
                if strict and part.error is not None:
                    raise part.error
                ignored[part.code, part.why] += 1
                continue
            at = instant_of(one.resource, zone)
            if at is None:
                if strict:
                    raise UnusableInput(
                        f"The time of {part.code} must be a date and time with its zone, such as 2026-01-31T08:00:00+01:00.",
                        code="bad_time",
                    )
                ignored[part.code, "bad_time"] += 1
                continue
            issued = span_of(one.resource.get("issued"), zone)
            yield _Value(part, at, issued[0] if issued else None, one.source)


def _last(sent: Collected, values: list[_Value], moment: datetime | None, stay: Stay | None, zone: tzinfo) -> datetime | None:
    """Return the latest time that may be known: the moment asked for or the stay's end, the earlier; else the latest sent."""
    stated = [one for one in (moment, stay.end if stay else None) if one is not None]
    if stated:
        return min(stated)
    return latest([one.at for one in values] + ([stay.start] if stay else []), sent, zone)


def _known(one: _Value, last: datetime, asked: bool, ignored: Counter[tuple[str, str]]) -> bool:
    """Tell whether a value was known at the last moment; what was issued later only when that moment was asked for."""
    if one.at > last or (asked and one.issued is not None and one.issued > last):
        ignored[one.measured.code, "after_moment"] += 1
        return False
    return True
