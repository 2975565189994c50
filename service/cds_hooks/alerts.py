"""Cards of remote monitoring at patient-view: an alert that stands, and data that stopped coming, which is no all-clear."""

from __future__ import annotations

from datetime import UTC, datetime
from math import exp
from typing import Any

from models.manifest import Manifest
from models.prediction import Contribution
from service.cds_hooks.asked import Asked
from service.cds_hooks.markdown import joined, plain
from service.cds_hooks.page_link import alert_links
from service.cds_hooks.write_card import Made, card, limits, reasons_table
from service.monitoring.alerts import sentence
from service.store.monitoring import Standing, open_alerts
from service.words import moment, percent, say


def alert_cards(asked: Asked) -> list[Made]:
    """Return a card for everything that stands about the patient whose chart is open, the latest first.

    Whoever measures may name the patient by the whole address on the FHIR server that the call names.
    """
    subjects = [f"Patient/{asked.place.patient_id}"]
    if asked.call.fhir_server:
        subjects.append(f"{asked.call.fhir_server.rstrip('/')}/{subjects[0]}")
    found = sorted((one for subject in subjects for one in open_alerts(asked.house.store, subject)), key=lambda one: -one.raised_at)
    return [_card(asked, one, _manifest(asked, one.model)) for one in found]


def _manifest(asked: Asked, name: str) -> Manifest | None:
    try:
        return asked.shelf.known(name).manifest
    except KeyError:  # withdrawn since
        return None


def _card(asked: Asked, one: Standing, manifest: Manifest | None) -> Made:
    language, told = asked.language, one.detail
    raised = datetime.fromtimestamp(one.raised_at, UTC).astimezone(asked.house.site.device.zone)
    lines = [sentence(one, language), say(language, "Since {moment}.", moment=moment(language, raised))]
    value = told.get("value")
    if isinstance(value, float):
        lines.append(say(language, "Probability when the alert was raised: {percent}.", percent=percent(language, value)))
    if one.kind != "risk":
        lines.append(say(language, "Readings have stopped coming, so nothing is scored. That is no all-clear: check the sensor."))
    detail = joined([*(plain(line) for line in lines), reasons_table([_part(part) for part in told.get("reasons") or ()], language),
                     limits(manifest, language) if manifest else ""])
    return card(asked.occasion, summary=sentence(one, language), indicator="critical" if one.kind == "risk" else "warning",
                detail=detail, manifest=manifest, label=asked.service.title, part=one.episode, status="alert",
                value=value if isinstance(value, float) else None, links=alert_links(asked, one.episode))


def _part(told: dict[str, Any]) -> Contribution:
    """Return a reason as it was kept with the alert."""
    return Contribution("", told["label"], told["label_fr"], told["value"], told["unit"], told["logit"], exp(told["logit"]),
                        told["value"] is None, reference_low=told["reference_low"], reference_high=told["reference_high"])
