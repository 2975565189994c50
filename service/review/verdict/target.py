"""Target: what a verdict is given on, the same for a result on images, a risk and an alert of monitoring."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

import pydicom
from pydicom.dataset import Dataset

from models.dicom_pixels import text
from service.age_bands import age_band
from service.assessment import Assessment, TargetKind, from_json, reader_of
from service.persons_keys import keys_of_dicom
from service.review.page import ReviewDesk
from service.review.targets import key_of
from service.review.verdict.standing import Standing, standing_of
from service.store import risks, verdicts
from service.store.review_tables import Risk, Verdict
from service.store.store import Store
from service.store.verdicts import Judged, Line

Json = dict[str, Any]
MODEL_OF_ALL = "none"  # of a result that no model made


@dataclass(frozen=True)
class Target:
    """``summary`` is the result as JSON; ``page`` is the address of the page it is shown on, ``line`` its line in the worklist."""

    kind: TargetKind
    id: int
    key: str
    model: str
    status: str
    summary: Json = field(repr=False)
    page: str
    line: Line | None
    department: str
    persons: tuple[str, ...]
    rows: tuple[Verdict, ...] = field(repr=False)
    needs_two: bool
    follows: Mapping[str, str] = field(default_factory=dict)  # finding → the finding without which there is none
    judged: Judged | None = field(default=None, repr=False)
    risk: Risk | None = field(default=None, repr=False)
    header: Dataset | None = field(default=None, repr=False)

    @property
    def given(self) -> list[Assessment]:
        """The verdicts so far."""
        return [assessment_of(row) for row in self.rows]

    @property
    def effective(self) -> list[bool]:
        """Whether each verdict so far took effect when it was given."""
        return [bool(row.content.get("effect")) for row in self.rows]

    def open_to(self, subject: str) -> tuple[Verdict, ...]:
        """The verdicts this reader may know of: of a reading that is blind for them, none since the last that took effect."""
        if not self.standing.hides_from(subject):
            return self.rows
        in_force = next((row.number for row in reversed(self.rows) if row.content.get("effect")), 0)
        return tuple(row for row in self.rows if row.number <= in_force)

    @property
    def two(self) -> bool:
        """Whether two readers are needed: the site says so of the model, or somebody asked for it."""
        return self.needs_two or any(row.content.get("second_asked") for row in self.rows)

    @property
    def standing(self) -> Standing:
        """Where the verdicts leave it."""
        return standing_of(self.given, two=self.two, effective=self.effective)

    @property
    def last(self) -> int:
        """The number of the last verdict, 0 for none."""
        return self.rows[-1].number if self.rows else 0

    @property
    def reachable(self) -> bool:
        """Whether there is a page of it: that of a study is named by its line in the worklist, a risk has its own."""
        return self.kind == "risk" or self.line is not None

    @property
    def permission(self) -> str:
        """What a verdict on it needs."""
        return "verdict_image" if self.kind == "result" else "verdict_risk"


def find_target(desk: ReviewDesk, kind: TargetKind, number: int) -> Target | None:
    """Return what a verdict may be given on; None when there is nothing of that number, or no model's word."""
    if kind == "result":
        judged = verdicts.judged(desk.house.store, number)
        return None if judged is None or judged.model == MODEL_OF_ALL else _of_result(desk, judged)
    if kind == "risk":
        risk = verdicts.risk(desk.house.store, number)
        return None if risk is None else _of_risk(desk, risk)
    return None


def assessment_of(row: Verdict) -> Assessment:
    """Return a stored verdict as what was said."""
    return from_json(
        row.content, decision=row.decision, reason_code=row.reason_code, comment=row.comment,  # type: ignore[arg-type]  # as written
        reviewer=row.reviewer, reading=row.reader, made_at=row.made_at,  # type: ignore[arg-type]
        joint=[reader_of(one) for one in row.content.get("joint", ())],
    )


def counted_by(target: Target) -> Json:
    """Return what agreement is counted by besides the model and the month: sex, age band and department, never a date of birth."""
    if target.header is not None:
        sex, age = text(target.header, "PatientSex").upper(), _age_of(target.header)
    else:
        patient: Mapping[str, Any] = target.risk.patient if target.risk else {}
        sex = str(patient.get("sex") or patient.get("gender") or "")[:1].upper()
        age = _years(str(patient.get("birth_date") or patient.get("birthDate") or ""), target.risk.scored_at if target.risk else 0.0)
    return {"sex": sex if sex in ("F", "M") else "", "age": age_band(age), "department": target.department}


def _of_result(desk: ReviewDesk, judged: Judged) -> Target:
    store = desk.house.store
    header = _header(store, judged.first)
    line = verdicts.line_of(store, "study", judged.study_uid)
    persons = keys_of_dicom(store, desk.house.site, header) if header is not None else ()
    return Target(
        "result", judged.id, key_of(store, "result", judged.id), judged.model, judged.status, judged.summary,
        f"/review/studies/{line.key}" if line else "/review", line, line.department if line else "", persons,
        tuple(verdicts.of_targets(store, "result", [judged.id])[judged.id]), _needs_two(desk, judged.model),
        _follows(desk, judged.model), judged=judged, header=header,
    )


def _of_risk(desk: ReviewDesk, risk: Risk) -> Target:
    store = desk.house.store
    alert = risks.alert_of(store, risk)
    line = verdicts.line_of(store, "risk", risk.key) if alert is None else verdicts.line_of(store, "alert", str(alert.id))
    return Target(
        "risk", risk.id, key_of(store, "risk", risk.id), risk.model, risk.status, risk.answer, f"/review/risks/{risk.key}", line,
        risk.department, (risk.person,) if risk.person else (), tuple(verdicts.of_targets(store, "risk", [risk.id])[risk.id]),
        _needs_two(desk, risk.model), _follows(desk, risk.model), risk=risk,
    )


def _needs_two(desk: ReviewDesk, model: str) -> bool:
    named = desk.house.site.review.second_reader
    return model in named or (model.rpartition("-")[0] or model) in named


def _follows(desk: ReviewDesk, release: str) -> dict[str, str]:
    """Return which findings of a release depend on others; nothing is known of one that is gone."""
    found = desk.house.scoring.shelf.models.get(release) if desk.house.scoring.ready else None
    return {one.name: one.shown_only_if for one in found.manifest.outputs if one.shown_only_if} if found else {}


def _header(store: Store, sha256: str) -> Dataset | None:
    if not sha256:
        return None
    path = store.objects.path(sha256)
    try:
        return pydicom.dcmread(path or io.BytesIO(store.objects.get(sha256)), stop_before_pixels=True, force=True)
    except FileNotFoundError:  # the file is gone, what was said of it is not
        return None


def _age_of(header: Dataset) -> float | None:
    stated = text(header, "PatientAge").upper()
    years = {"Y": 1.0, "M": 1 / 12, "W": 7 / 365.25, "D": 1 / 365.25}
    if len(stated) == 4 and stated[:3].isdigit() and stated[3] in years:
        return int(stated[:3]) * years[stated[3]]
    try:
        return (datetime.strptime(text(header, "StudyDate"), "%Y%m%d") - datetime.strptime(text(header, "PatientBirthDate"), "%Y%m%d")
                ).days / 365.25  # fmt: skip
    except ValueError:
        return None


def _years(birth_date: str, at: float) -> float | None:
    try:
        return (datetime.fromtimestamp(at).date() - date.fromisoformat(birth_date[:10])).days / 365.25
    except ValueError:
        return None
