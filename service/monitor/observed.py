"""Observed: what is watched of one result, as it is written down with it: numbers and groups, nothing that names anybody."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

from models.dicom_pixels import text
from models.prediction import Prediction, Refusal, Result
from models.read_dicom import header_of
from service.age_bands import age_band
from service.dicom.told import Told
from service.monitor.tally import Seen
from service.site import Site
from service.store.observations import NewObservation
from service.store.trust_tables import Observation

LONGEST = 32  # of a group's name


def of_image(site: Site, told: Told, result_id: int, calling_ae: str) -> list[NewObservation]:
    """Return the observation of a result on images; none where no model gave it."""
    if not isinstance(told.result, Prediction | Refusal):
        return []
    first = told.sources[0]
    header, stated = header_of(first), text(first, "InstitutionalDepartmentName")
    department = next((site.review.departments[one] for one in (stated, calling_ae) if one in site.review.departments), stated)
    groups = {"sex": header.sex if header.sex in ("F", "M") else "", "age": age_band(header.age_years), "view": _code(header.view),
              "manufacturer": _code(header.manufacturer.split(" ")[0]), "department": department[:LONGEST]}
    return [_observation(told.model, "result", str(result_id), told.result, groups, time.time())]


def of_risk(key: str, release: str, result: Result, patient: Mapping[str, Any], department: str, scored_at: float) -> NewObservation:
    """Return the observation of a risk. ``patient`` is what a page shows of whom it is about: sex and age band are taken of it."""
    sex = str(patient.get("sex") or "")[:1].upper()
    groups = {"sex": sex if sex in ("F", "M") else "", "age": _band_of(str(patient.get("birth_date") or ""), scored_at),
              "department": department[:LONGEST]}
    return _observation(release, "risk", key, result, groups, scored_at)


def seen_of(row: Observation) -> Seen:
    """Return a stored observation as it is counted."""
    values = {name: value for name, (value, _) in row.said.items()}
    positive = {name: above for name, (_, above) in row.said.items() if above is not None}
    return Seen(row.status, row.reason, row.seconds, values, positive, row.statistics, row.groups)


def _observation(release: str, kind: str, target: str, result: Result, groups: dict[str, str], at: float) -> NewObservation:
    findings = result.findings if isinstance(result, Prediction) else ()
    return NewObservation(
        release, kind, target, result.status, str(result.reason) if isinstance(result, Refusal) else "",
        round(result.timings_ms.get("total", 0.0) / 1000, 6),
        {one.name: [float(f"{one.value:.6g}"), one.above_threshold] for one in findings}, dict(result.input_statistics),
        {by: group for by, group in groups.items() if group}, at,
    )


def _code(word: str) -> str:
    """Keep what is a plain word: free text could name somebody."""
    word = word.strip().upper()
    return word[:LONGEST] if word.isalnum() else ""


def _band_of(birth_date: str, at: float) -> str:
    try:
        return age_band((datetime.fromtimestamp(at).date() - date.fromisoformat(birth_date[:10])).days / 365.25)
    except ValueError:
        return ""
