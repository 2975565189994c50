"""Alerts as others see them: what a card shows, a Flag on the patient's record, and a message to the site's FHIR server.

A raised alert is sent as RiskAssessment with its reasons, Flag (active) and Communication; its end as the Flag (inactive)
and a Communication. That nothing comes any more is a Flag of its own: it is never told as an all-clear.
https://hl7.org/fhir/R4/flag.html and communication.html
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from models.explain.additive import strongest
from models.prediction import Prediction
from service.fhir.assessed import Assessed
from service.fhir.datatypes import (
    OURS,
    RESULT,
    TERMINOLOGY,
    Json,
    coding,
    concept,
    id_of,
    identifier,
    instant,
    made,
    narrative,
    paragraph,
    reference,
    urn,
)
from service.fhir.push import NAME
from service.fhir.write_risk import NOTICE, risk_resources
from service.site import Site
from service.store.messages import key_of
from service.store.monitoring import Standing
from service.words import Language, as_language, in_words, marked, percent, say

URGENT = 2
REASONS_TOLD = 5
SENTENCES = {
    "raised": marked("Alert: {label}, {risk}. See to the patient, and confirm with a measurement of your own."),
    "reached": marked("Alert: the latest measurement is already beyond the limit. {label}. See to the patient now."),
    "no_data": marked("No assessment is possible any more: no usable measurements since {since}. This is no all-clear."),
    "below": marked("The alert ends: the risk has stayed low. {label}."),
    "corrected": marked("The alert ends: the measurements it rested on were corrected or taken back. {label}."),
    "gone": marked("Monitoring has ended without data. The alert is closed, not cleared. {label}."),
    "data": marked("Measurements can be assessed again. {label}."),
    "ended": marked("Monitoring has ended: nothing was heard for a day. {label}."),
}


def told_of(assessed: Assessed) -> dict[str, Any]:
    """Return what a card shows of an alert, in both languages and without the person."""
    result, manifest = assessed.result, assessed.manifest
    if not isinstance(result, Prediction):  # the model declined, since what it is about has happened
        output = manifest.outputs[0]
        return {"model_id": manifest.id, "title": manifest.title, "title_fr": manifest.title_fr, "label": output.label,
                "label_fr": output.label_fr, "value": None, "threshold": output.threshold, "risk": "certain",
                "code": output.code.model_dump(), "reasons": []}
    main = result.main
    parts = tuple(part for part in result.explanation.measurements if part.finding in ("", main.name))
    shown, _ = strongest(parts, up=REASONS_TOLD - 1, down=1)
    return {
        "model_id": manifest.id, "title": manifest.title, "title_fr": manifest.title_fr, "label": main.label,
        "label_fr": main.label_fr, "value": main.value, "threshold": main.threshold, "risk": main.risk,
        "code": main.code.model_dump(), "reasons": [
            {"label": part.label, "label_fr": part.label_fr, "value": part.value, "unit": part.unit, "logit": part.logit,
             "reference_low": part.reference_low, "reference_high": part.reference_high, "flag": part.flag}
            for part in shown
        ],
    }  # fmt: skip


def message_of(site: Site, alert: Standing, assessed: Assessed | None) -> dict[str, Any] | None:
    """Return what the outbox sends to the site's FHIR server of an alert that began or ended; None when nothing is pushed."""
    if site.fhir_server is None or not site.fhir_server.push:
        return None
    language = as_language(site.device.language, "en")
    ended = alert.cleared_at is not None
    scored = assessed is not None and isinstance(assessed.result, Prediction)
    resources = risk_resources(assessed) if assessed and scored and not ended and alert.kind == "risk" else []
    flag, note = write_flag(alert, language), write_communication(alert, language, resources)
    entries: list[Json] = [{"fullUrl": urn(one), "resource": one} for one in resources]
    put = {"request": {"method": "PUT", "url": f"Flag?identifier={RESULT}|{flag['id']}"}} if ended else {}
    entries.append({"fullUrl": urn(flag), "resource": _without_id(flag) if ended else flag, **put})
    entries.append({"fullUrl": urn(note), "resource": note})
    content = {"resourceType": "Bundle", "type": "collection", "entry": entries}
    return {"target": NAME, "kind": "fhir", "key": key_of(alert.episode, "ended" if ended else "raised"), "content": content,
            "priority": URGENT}


def write_flag(alert: Standing, language: Language) -> Json:
    """Write an alert as a Flag: active while it stands."""
    told = sentence(alert, language)
    flag = made(
        "Flag", id_of("Flag", alert.episode), language,
        text=narrative(language, paragraph(told), paragraph(say(language, NOTICE))),
        identifier=[identifier(id_of("Flag", alert.episode))],
        status="inactive" if alert.cleared_at is not None else "active",
        category=[concept(coding(f"{TERMINOLOGY}/flag-category", "clinical", "Clinical"))],
        code=concept(_code(alert, language), _label(alert, language)),
        subject=reference(alert.subject),
        period={"start": _moment(alert.raised_at)},
    )
    if alert.cleared_at is not None:
        flag["period"]["end"] = _moment(alert.cleared_at)
    return flag


def write_communication(alert: Standing, language: Language, resources: list[Json]) -> Json:
    """Write what people are told when an alert begins or ends."""
    ended = alert.cleared_at is not None
    name = id_of("Communication", alert.episode, "ended" if ended else "raised")
    told = made(
        "Communication", name, language,
        identifier=[identifier(name)],
        status="completed",
        category=[concept(coding(f"{TERMINOLOGY}/communication-category", "alert", "Alert"))],
        priority="routine" if ended else "urgent",
        subject=reference(alert.subject),
        sent=_moment(alert.cleared_at if alert.cleared_at is not None else alert.raised_at),
        payload=[{"contentString": sentence(alert, language)}, {"contentString": say(language, NOTICE)}],
    )
    about = [reference(urn(one)) for one in resources if one["resourceType"] == "RiskAssessment"]
    if about:
        told["about"] = about
    return told


def sentence(alert: Standing, language: Language) -> str:
    """Say what an alert is, or why it ended."""
    label = _label(alert, language)
    if alert.cleared_at is not None:
        key = "gone" if alert.reason == "no_data" else alert.reason
        return say(language, SENTENCES[key], label=label)
    if alert.kind == "no_data":
        return say(language, SENTENCES["no_data"], since=_moment(float(alert.detail.get("opened_at", alert.raised_at))))
    if alert.detail.get("value") is None:
        return say(language, SENTENCES["reached"], label=label)
    return say(language, SENTENCES["raised"], label=label, risk=percent(language, float(alert.detail["value"])))


def _label(alert: Standing, language: Language) -> str:
    told = alert.detail
    if alert.kind == "no_data":
        return say(language, "No data: {title}", title=in_words(language, str(told.get("title", "")), str(told.get("title_fr", ""))))
    return in_words(language, str(told.get("label", "")), str(told.get("label_fr", "")))


def _code(alert: Standing, language: Language) -> Json:
    if alert.kind == "no_data" or not alert.detail.get("code"):
        return coding(OURS, "no-data", say(language, "No data to assess"))
    code = alert.detail["code"]
    return coding(code["system"], code["code"], code["display"])


def _moment(seconds: float) -> str:
    return instant(datetime.fromtimestamp(seconds, UTC))


def _without_id(resource: Json) -> Json:
    return {key: value for key, value in resource.items() if key != "id"}
