"""A risk that was told to somebody, as it is kept: whom it is about, what was said, and what scores it again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from models.errors import UnusableInput
from models.fhir.bundle import listed, moment_of, table, text
from models.manifest import Manifest, Output
from models.model import Model
from models.prediction import Finding, Prediction, Refusal, Result
from models.record import Record
from models.record_json import record_of_json, record_to_json
from models.result_json import result_to_json
from service.fhir.assessed import Assessed
from service.identity import Identity
from service.monitor.observed import of_risk
from service.persons import identities_of_patient, traits_of_patient
from service.persons_keys import keys_of_fhir
from service.site import Site
from service.store import observations
from service.store.entries import CRITICAL, HIGH, ROUTINE, NewEntry
from service.store.monitoring import Standing
from service.store.rights import opposes_in
from service.store.risks import MONITORING, NewRisk, key_of, key_of_alert, save
from service.store.store import Store

ACUTE_H = 24.0  # a high risk of what comes within a day is critical; of what comes later it is high
NO_DANGER = frozenset({"multi_resource"})  # what a visit needs: it orders the board of the department, not the worklist
OVER = frozenset({"finished", "cancelled", "entered-in-error", "unknown"})  # Encounter.status of a stay that is not under way
PAGE = "/review/risks/"
LONGEST = 255
_SHOWN = ("name", "label", "label_fr", "kind", "value", "unit", "threshold", "above_threshold", "risk")  # of a finding
Json = dict[str, Any]


@dataclass(frozen=True)
class Told:
    """One risk on its way to the store. ``stay`` is the Encounter it is about; ``key`` names its page from now on."""

    key: str
    persons: tuple[str, ...]
    assessed: Assessed = field(repr=False)
    source: str
    stay: Mapping[str, Any] | None = field(default=None, repr=False)
    card: str = ""


def told(store: Store, site: Site, assessed: Assessed, source: str, *, stay: Mapping[str, Any] | None = None, card: str = "") -> Told:
    """Return an assessment as it is to be kept. ``source``: predict, or hook:<hook>."""
    persons = keys_of_fhir(store, site, assessed.reading.patient, assessed.reading.subject)
    whose = persons[0] if persons else assessed.reading.subject
    until = assessed.scored_at
    key = key_of(store, whose, assessed.reading.encounter, assessed.model, _input_of(assessed), until.isoformat() if until else "")
    return Told(key, persons, assessed, source, stay, card)


def write(store: Store, site: Site, told_now: Sequence[Told]) -> None:
    """Write risks down in one transaction. Whoever opposes being scored is left out."""
    rows = [(row_of(site, one), one) for one in told_now]
    if rows:
        with store.session() as session:
            kept = [(row, one) for row, one in rows if not opposes_in(session, persons=one.persons, purpose="scoring")]
            save(session, [row for row, _ in kept])
            observations.add(session, [
                of_risk(row.key, row.model, one.assessed.result, row.patient, row.department, row.scored_at) for row, one in kept])


def stay_in(resources: Iterable[Any], reference: str) -> Json | None:
    """Return the Encounter that a reference names among resources, or entries of a Bundle."""
    name = reference.rpartition("Encounter/")[2]
    for one in resources:
        found = table(one)
        found = table(found["resource"]) if "resource" in found else found
        if name and found.get("resourceType") == "Encounter" and found.get("id") == name:
            return dict(found)
    return None


def address(base: str, key: str) -> str:
    """Return the address of a risk's page for a browser; "" where nobody said how this service is reached."""
    return f"{base.rstrip('/')}{PAGE}{key}" if base else ""


def row_of(site: Site, one: Told) -> NewRisk:
    """Return the row of a risk, with its line of the worklist when it deserves one."""
    assessed, result = one.assessed, one.assessed.result
    patient = patient_shown(assessed.reading.patient, assessed.reading.subject)
    row = _row(one, site, result, patient)
    urgency = urgency_of(assessed.manifest, result.findings) if isinstance(result, Prediction) else None
    if urgency is None:
        return row
    detail = {"patient": patient, **_heading(assessed.manifest, result)}
    return _with_entry(row, NewEntry("risk", one.key, urgency, row.scored_at, one.key, detail))


def row_of_alert(store: Store, site: Site, alert: Standing, assessed: Assessed | None, known: Mapping[str, Any]) -> NewRisk:
    """Return the row and the line of an alert of remote monitoring. Without an assessment nothing could be scored.

    ``known``: ``patient`` and ``persons`` of whom measurements came with a Patient.
    """
    key = key_of_alert(store, alert.episode)
    persons = tuple(known.get("persons") or keys_of_fhir(store, site, None, alert.subject))
    source, patient = f"{MONITORING}:{alert.id}", known.get("patient") or patient_shown(None, alert.subject)
    if assessed is not None and alert.kind == "risk":
        row = _row(Told(key, persons, assessed, source), site, assessed.result, patient)
        headed = _heading(assessed.manifest, assessed.result)
    else:
        row = NewRisk(
            key=key, subject=_cut(alert.subject), person=_first(persons), encounter="", department="",
            model=str(alert.detail.get("model_id", "")), status="refused", reason="no_data", value=None, answer={}, record={},
            patient=patient, moment=alert.raised_at, source=source, scored_at=alert.raised_at,
        )
        headed = {"title": alert.detail.get("title", ""), "title_fr": alert.detail.get("title_fr", ""), "findings": []}
    detail = {"patient": patient, **headed, "alert": shown_of_alert(alert), "page": key}
    urgency = CRITICAL if alert.kind == "risk" else HIGH
    return _with_entry(row, NewEntry("alert", str(alert.id), urgency, alert.raised_at, key, detail))


def shown_of_alert(alert: Standing) -> Json:
    """Return what the worklist shows of an alert."""
    return {"kind": alert.kind, "raised_at": alert.raised_at, "cleared_at": alert.cleared_at, "reason": alert.reason}


def score_again(model: Model, record: Mapping[str, Any]) -> Result:
    """Score what was kept of a risk with a release. Raises UnusableInput when nothing was kept."""
    hours = record.get("moment_h")
    return model.predict(record_of_json(record), moment_h=hours)


def urgency_of(manifest: Manifest, findings: Sequence[Finding]) -> int | None:
    """Return how urgent the most urgent finding is; None when none deserves a line of the worklist."""
    grades = [_urgency(manifest.output(one.name), one) for one in findings if one.kind == "probability" and one.name not in NO_DANGER]
    return max((one for one in grades if one is not None), default=None)


def patient_shown(patient: Mapping[str, Any] | None, subject: str = "") -> Json:
    """Return what a page shows of whom a risk is about; an identifier of the hospital before a national one."""
    if not patient:
        return {"name": "", "given": "", "birth_date": "", "sex": "", "id": subject}
    traits, found = traits_of_patient(patient), identities_of_patient(patient)
    local: list[Identity] = [one for one in found if one.kind == "local"]
    return {
        "name": _cut(traits.usual_name or traits.birth_name), "given": _cut(traits.given),
        "birth_date": traits.birth_date, "sex": traits.sex,
        "id": _cut(next((one.matricule for one in (*local, *found)), subject)),
    }


def department_of(site: Site, stay: Mapping[str, Any] | None) -> str:
    """Return the department of a stay: the latest place or the provider that the site file names, else the place as it is called."""
    if not stay:
        return ""
    places = [table(table(one).get("location")) for one in reversed(listed(stay.get("location")))]
    provider = table(stay.get("serviceProvider"))
    names = [text(one.get(word)) for one in (*places, provider) for word in ("display", "reference")]
    names += [text(table(one.get("identifier")).get("value")) for one in (*places, provider)]
    known = next((site.review.departments[name] for name in names if name in site.review.departments), "")
    return known or next((text(one.get("display")) for one in (*places, provider) if text(one.get("display"))), "")[:64]


def ended_at(stay: Mapping[str, Any] | None, now: datetime) -> float | None:
    """Return when a stay ended, None while it is under way."""
    if not stay:
        return None
    end = moment_of(table(stay.get("period")).get("end"))
    if end is not None and end <= now:
        return end.timestamp()
    return now.timestamp() if stay.get("status") in OVER else None


def _row(one: Told, site: Site, result: Result, patient: Json) -> NewRisk:
    assessed = one.assessed
    until = assessed.scored_at
    return NewRisk(
        key=one.key, subject=_cut(assessed.reading.subject), person=_first(one.persons), encounter=_cut(assessed.reading.encounter),
        department=department_of(site, one.stay), model=assessed.model, status=result.status,
        reason=str(result.reason) if isinstance(result, Refusal) else "",
        value=result.main.value if isinstance(result, Prediction) else None, answer=result_to_json(result), record=_record_of(one),
        patient=patient, moment=None if until is None else until.timestamp(), source=one.source,
        scored_at=assessed.made_at.timestamp(), card=one.card,
    )


def _record_of(one: Told) -> Json:
    """Return what scores again, and what the page needs to know of the stay. A record that cannot be written is not kept."""
    assessed = one.assessed
    try:
        kept = record_to_json(assessed.reading.record)
    except UnusableInput:
        return {}
    return kept | {"moment_h": _hours(assessed.manifest, assessed.reading.record, assessed.moment),
                   "ended_at": ended_at(one.stay, assessed.made_at)}


def _hours(manifest: Manifest, record: Record, moment: datetime | None) -> float | None:
    """Return the hours that were asked for, as service.pipeline takes them; None: the release's own."""
    if moment is None or record.origin is None:
        return None
    hours = (moment - record.origin) / timedelta(hours=1)
    return hours if manifest.moment_h is None else min(hours, manifest.moment_h)


def _input_of(assessed: Assessed) -> str:
    """Return the hash of the input. What was declined before the graph has none: then that of the record stands for it."""
    found = assessed.result.identity.input_sha256
    if found:
        return found
    try:
        kept = record_to_json(assessed.reading.record)
    except UnusableInput:
        return ""
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()


def _heading(manifest: Manifest, result: Result) -> Json:
    findings = result.findings if isinstance(result, Prediction) else ()
    told = [{name: getattr(one, name) for name in _SHOWN} for one in findings]
    return {"title": manifest.title, "title_fr": manifest.title_fr, "findings": told}


def _with_entry(row: NewRisk, entry: NewEntry) -> NewRisk:
    patient = row.patient
    named = replace(
        entry, person=row.person, patient_name=f"{patient['name']} {patient['given']}".strip(), patient_id=patient["id"],
        department=row.department, models=(row.model,) if row.model else (),
    )
    return replace(row, entry=named)


def _urgency(output: Output, finding: Finding) -> int | None:
    if not finding.risk:
        return HIGH if finding.above_threshold else None
    acute = output.horizon_h is not None and output.horizon_h <= ACUTE_H
    return {"high": CRITICAL if acute else HIGH, "moderate": ROUTINE}.get(finding.risk)


def _first(persons: tuple[str, ...]) -> str:
    return persons[0] if persons else ""


def _cut(words: str) -> str:
    return words[:LONGEST]
