"""$predict: what is asked, in Parameters or as a Bundle with a query, and the Bundle that answers it. Knows nothing of HTTP."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from models.errors import UnusableInput
from models.fhir.mapping import NO_CODES, SiteCodes
from models.gate import Decline
from models.model import Model
from models.prediction import Reason, Refusal, Result
from models.read_fhir import Reading, read_bundle
from models.shelf import Shelf
from service.fhir.assessed import Assessed
from service.fhir.client import FhirServerError
from service.fhir.datatypes import Json
from service.fhir.exchange import Refused
from service.fhir.judge import judge
from service.fhir.outcome import Fault, error, sound
from service.fhir.write_risk import risk_bundle
from service.metrics import Metrics
from service.pipeline import AUTO, Wanted, meant_for, named, run
from service.problem import ProblemError
from service.releases.barred import not_live, waiting_for_record
from service.site import Site
from service.words import LANGUAGES, Language, as_language

OPERATIONS: dict[str, Any] = json.loads(Path(__file__).with_name("operations.json").read_text("utf-8"))
KNOWN = {one["name"]: one for one in OPERATIONS["predict"]["parameters"] if one["use"] == "in"}
VALUES = {  # type of a parameter → the value[x] it may come in
    "string": ("valueString", "valueCode", "valueId", "valueUri", "valueCanonical"),
    "Reference": ("valueReference", "valueString", "valueUri", "valueId"),
    "dateTime": ("valueDateTime", "valueInstant"),
    "code": ("valueCode", "valueString"),
}
MAX_MODELS = 20
NO_STAY = Decline(
    Reason.TOO_FEW_MEASUREMENTS,
    "Too few measurements: the stay is missing. This model needs an Encounter with its start.",
    "Send the Encounter that the stay is, with its period.",
)
_OF_SERVER = {  # code of FhirServerError → code of a problem; any other: the server failed
    "not_found": "not_found", "not_ours": "bad_query", "slow": "timeout", "too_large": "too_large", "not_configured": "not_supported",
}
_WORD = re.compile(r"[A-Za-z0-9_.\-]{1,80}")
Fetch = Callable[[str, str], Json]  # patient, encounter → Bundle, from the FHIR server of the site


@dataclass(frozen=True)
class Wish:
    """One call of $predict. ``models`` empty: every risk release. Exactly one of ``record`` and ``patient`` is there."""

    models: tuple[str, ...] = ()
    record: Json | None = field(default=None, repr=False)
    patient: str = field(default="", repr=False)
    encounter: str = field(default="", repr=False)
    moment: datetime | None = field(default=None, repr=False)
    language: Language | None = None


@dataclass(frozen=True)
class Predictor:
    """What it takes to answer a wish."""

    shelf: Shelf
    site: Site
    metrics: Metrics
    codes: SiteCodes = NO_CODES  # what this hospital calls things
    fetch: Fetch | None = None  # None: no FHIR server is configured
    check: Callable[[], None] = lambda: None  # raises when nobody waits for the answer any more
    push: Callable[[list[Json]], None] | None = None  # None: results do not go to the FHIR server of the site
    keep: Callable[[list[Assessed], Json], None] | None = None  # the results and their record; None: risks are not kept
    opposed: Callable[[Json], bool] = lambda _: False  # whether whom a record is about must not be scored

    def answer(self, wish: Wish, language: Language) -> tuple[Json, list[Assessed]]:
        """Return the Bundle and what it was written from. Raises UnusableInput, ProblemError or Refused."""
        record = wish.record
        if record is None:
            if self.fetch is None:
                raise ProblemError("not_supported", "There is no [fhir_server] in the site file, so patient cannot be read. "
                                                    "Send the record as subject.")
            try:
                record = self.fetch(wish.patient, wish.encounter)
            except FhirServerError as failed:
                raise ProblemError(_OF_SERVER.get(failed.code, "fhir_server_failed"), str(failed)) from failed
        else:
            _refuse_unsound(judge(record))
        if self.opposed(record):
            raise ProblemError("opposed", "Nothing is scored of this person: an opposition stands. Go on without the score.")
        self.check()
        models = [risk_model(self.shelf, name) for name in wish.models] or self.shelf.for_record()
        if not models:
            if waiting_for_record(self.shelf):
                raise not_live()
            raise ProblemError("nothing_to_score", "No risk model is released here; GET /v1/models lists what is.")
        readings: dict[bool, Reading] = {}
        told: list[Assessed] = []
        for model in models:
            self.check()
            needs_stay = model.manifest.needs_encounter
            if needs_stay not in readings:
                readings[needs_stay] = read_bundle(record, moment=wish.moment, encounter=wish.encounter if needs_stay else None,
                                                   codes=self.codes)
            reading = readings[needs_stay]
            if not wish.models and len(models) > 1 and not meant_for(model.manifest, reading.record):
                continue
            told.append(self._assess(model, reading, wish, language))
        told.sort(key=lambda one: isinstance(one.result, Refusal))  # scores first, each kind in the order asked for
        if self.keep is not None:
            self.keep(told, record)
        if self.pushes(wish) and self.push is not None:
            self.push([risk_bundle(one) for one in told])
        return risk_bundle(*told), told

    def _assess(self, model: Model, reading: Reading, wish: Wish, language: Language) -> Assessed:
        if model.manifest.needs_encounter and not reading.stay:
            result: Result = model.refusal(NO_STAY)
        else:
            outcome = run(reading.record, self.shelf, Wanted(model=model.id, moment=wish.moment))[0]
            result = outcome.result
        reason = str(result.reason) if isinstance(result, Refusal) else ""
        self.metrics.count(model.id, result.status, reason, result.timings_ms.get("total", 0.0) / 1000)
        made_at = datetime.now(UTC).astimezone(self.site.device.zone)
        return Assessed(model.manifest, result, reading, made_at, wish.language or language, self.site.device, wish.moment)

    def pushes(self, wish: Wish) -> bool:
        """Tell whether results go to the FHIR server of the site: when it is pushed to, and the record was read from there."""
        return self.push is not None and bool(wish.patient)


def read_wish(body: Json, query: Mapping[str, str] | None = None) -> Wish:
    """Read what is asked: Parameters, or the record itself as a Bundle with the other parameters in the query.

    Raises Refused naming the parameter that is wrong and the rule, never its value.
    """
    kind = body.get("resourceType")
    if kind == "Parameters":
        if set(query or ()) & set(KNOWN):
            raise Refused([error("invalid", "Parameters", "Give the parameters in the body or in the query, not in both.")])
        _refuse_unsound(_shape(body))
        return _wish(_of_parameters(body))
    if kind == "Bundle":
        given: dict[str, list[Any]] = {"subject": [body]}
        for name, value in (query or {}).items():
            if name in KNOWN and name not in ("subject", "patient"):
                given[name] = [value]
        return _wish(given)
    raise Refused([error("invalid", "Resource", "The body of $predict must be a Parameters or a Bundle resource.")])


def risk_model(shelf: Shelf, name: str) -> Model:
    """Return the release of an id or name that scores records. Raises UnusableInput."""
    model = named(shelf, name)
    if model.manifest.task != "risk":
        raise UnusableInput(f"{model.manifest.id} does not score a patient's record. Send its kind of input where it is taken.",
                            code="wrong_model")
    return model


def scored(told: Iterable[Assessed]) -> int:
    """Count the scores among results."""
    return sum(not isinstance(one.result, Refusal) for one in told)


def _of_parameters(body: Json) -> dict[str, list[Any]]:
    given: dict[str, list[Any]] = {}
    for place, one in enumerate(body.get("parameter", [])):
        where = f"Parameters.parameter[{place}]"
        known = KNOWN.get(one["name"])
        if known is None:
            raise Refused([error("invalid", f"{where}.name", f"Parameters of $predict are {', '.join(KNOWN)}; found another.")])
        if known["type"] == "Bundle":
            resource = one.get("resource")
            if not isinstance(resource, dict) or resource.get("resourceType") != "Bundle":
                raise Refused([error("invalid", f"{where}.resource", f"{known['name']} must be a Bundle resource.")])
            given.setdefault(known["name"], []).append(resource)
            continue
        found = [one[name] for name in VALUES[known["type"]] if name in one]
        if len(found) != 1:
            kinds = ", ".join(VALUES[known["type"]][:2])
            raise Refused([error("invalid", where, f"{known['name']} must come as one of {kinds}.")])
        value = found[0].get("reference") if isinstance(found[0], dict) else found[0]
        given.setdefault(known["name"], []).append(value)
    return given


def _wish(given: Mapping[str, list[Any]]) -> Wish:
    for name, values in given.items():
        if KNOWN[name]["max"] == "1" and len(values) > 1:
            raise _wrong(name, "it may be given once")
        if len(values) > MAX_MODELS:
            raise _wrong(name, f"it may be given {MAX_MODELS} times at most")
        if name != "subject" and not all(isinstance(value, str) and value for value in values):
            raise _wrong(name, "it must be text")
    models = tuple(dict.fromkeys(given.get("model", [])))
    if not all(_WORD.fullmatch(model) for model in models):
        raise _wrong("model", "it must be the name or id of a release")
    record, patient = (given.get(name, [None])[0] for name in ("subject", "patient"))
    if (record is None) == (patient is None):
        raise Refused([error("required" if record is None else "invalid", "Parameters.parameter",
                             "Send the record as subject or its patient as patient, one of the two.")])
    language = given.get("language", [None])[0]
    if language is not None and language.lower().partition("-")[0] not in LANGUAGES:
        raise _wrong("language", f"it must be one of {', '.join(LANGUAGES)}")
    return Wish(
        models=() if AUTO in models else models, record=record, patient=patient or "",
        encounter=given.get("encounter", [""])[0], moment=_moment(given.get("moment", [None])[0]),
        language=None if language is None else as_language(language.lower().partition("-")[0], "en"),
    )


def _moment(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is not None and "T" in text:
            moment.astimezone(UTC)  # a year that a time zone pushes out of range fails here
            return moment
    except (ValueError, OverflowError):
        pass
    raise _wrong("moment", "it must be a dateTime with its time zone, such as 2026-01-31T08:00:00+01:00")


def _wrong(name: str, rule: str) -> Refused:
    return Refused([error("invalid", f"Parameters.parameter.where(name='{name}')", f"{name}: {rule}.")])


def _shape(body: Json) -> list[Fault]:
    """Judge the Parameters themselves; the record in them is judged when it is read."""
    rows = body.get("parameter", [])
    if not isinstance(rows, list) or not all(isinstance(one, dict) and isinstance(one.get("name"), str) for one in rows):
        return [error("structure", "Parameters.parameter", "parameter must be a list of objects, each with its name.")]
    bare = [{key: value for key, value in one.items() if key != "resource"} | ({"resource": {"resourceType": "Bundle",
            "type": "collection"}} if "resource" in one else {}) for one in rows]
    return judge({**body, "parameter": bare} if "parameter" in body else body)


def _refuse_unsound(faults: list[Fault]) -> None:
    if not sound(faults):
        raise Refused(faults)
