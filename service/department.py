"""Answer POST /v1/department: everyone present → how many will need what, with bands and each one's part; and the trend.

Whoever is present comes as a FHIR R4 Bundle, which the triage release scores, or as probabilities that it gave before. As
FHIR the answer is one Observation an outcome, about the department as a Location.
"""

from __future__ import annotations

import base64
import re
import time
from calendar import monthrange
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from models.department import MAX_PRESENT, TREND, Department, Forecast, Outlook, Person, forecast, score_department
from models.errors import UnusableInput
from models.explain.department_picture import department_png
from models.manifest import Code
from models.model import Model
from models.prediction import Refusal
from models.read_fhir import parse, read_bundle
from models.shelf import Shelf
from service import answers
from service.asked import Asked
from service.fhir import datatypes as fhir
from service.problem import ProblemError
from service.records import ACCEPTED
from service.releases.barred import is_barred, not_live
from service.scoring import Stop
from service.words import marked, say

MAX_MONTHS = 240
LEFT_OUT = marked("Not scored and in no figure: {count}. Add them yourself.")
_MONTH = re.compile(r"\d{4}-(0[1-9]|1[0-2])")
Json = dict[str, Any]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class DepartmentQuery(_Part):
    """The query of POST /v1/department."""

    model: Annotated[str, Field(max_length=80, description="The release for departments.")] = "ed_demand"
    triage: Annotated[str, Field(max_length=80, description="The release that scores Bundles.")] = "ed_triage"
    picture: Annotated[Literal["none", "png"], Field(description="png: the distributions drawn.")] = "none"
    fhir: Annotated[bool, Field(description="true: the answer carries a FHIR Bundle of Observations too.")] = False
    language: Annotated[answers.Language, Field(description="Language of labels, notes and pictures.")] = "en"


class Month(_Part):
    """One month of attendances that is over."""

    month: str = Field(pattern=_MONTH.pattern)
    attendances: float = Field(gt=0)


class DepartmentBody(_Part):
    """Everyone present, as FHIR Bundles or {output: probability}; ``history``: whole months without a gap, oldest first."""

    present: list[dict[str, Any]] = Field(max_length=MAX_PRESENT)
    history: list[Month] = Field([], max_length=MAX_MONTHS)


class LeftOut(_Part):
    """Somebody who is in no distribution: ``place`` in the order sent, and why."""

    place: int
    reason: str
    message: str


class BandAnswer(_Part):
    """Whole numbers from low to high hold the probability ``mass``, the nearest there is to ``level``."""

    level: float
    low: int
    high: int
    mass: float


class ShareAnswer(_Part):
    """One person's part of the expected number (p) and of its variance (p (1 - p))."""

    place: int
    of_mean: float
    of_variance: float


class OutlookAnswer(_Part):
    """How many of those scored will have one outcome: ``probabilities[k]`` is that of exactly k."""

    name: str
    label: str
    code: Code
    unit: str
    expected: float
    median: int
    bands: list[BandAnswer]
    probabilities: list[float]
    shares: list[ShareAnswer]


class ForecastAnswer(_Part):
    """Attendances of the month after the last one sent. ``steps`` are natural logarithms that sum to that of the median."""

    month: str
    label: str
    median: float
    bands: list[tuple[float, float, float]]  # level, low, high
    steps: dict[str, float]


class DepartmentAnswer(_Part):
    """Answer of POST /v1/department."""

    request_id: str
    notice: str
    model: str
    triage: str
    present: int
    scored: int
    left_out: list[LeftOut]
    outlooks: list[OutlookAnswer]
    forecast: ForecastAnswer | None
    note: str
    completeness_error: float
    completeness_tolerance: float
    picture: str | None
    fhir: dict[str, Any] | None
    timings_ms: dict[str, float]


def answer_department(asked: Asked[DepartmentQuery], shelf: Shelf, stop: Stop) -> bytes:
    """Do everything one request asks for; JSON of a DepartmentAnswer. Raises ProblemError or UnusableInput."""
    began, query = time.perf_counter(), asked.query
    if asked.content_type.partition(";")[0].strip().lower() not in ACCEPTED:
        raise ProblemError("unsupported_media_type", f"Send one of {', '.join(ACCEPTED)}.")
    body = body_of(asked.body)
    model, triage = _release(shelf, query.model, "department"), _release(shelf, query.triage, "risk")
    people, left_out = _scored(body.present, triage, stop)
    department = score_department(model, people)
    if department.completeness_error > department.completeness_tolerance:
        raise ProblemError("broken_model", "The parts do not sum to the result; it is not given. Tell the people who run this.")
    asked.metrics.count(model.id, "scored", "", time.perf_counter() - began)
    made_at, french = datetime.now(UTC), query.language == "fr"
    answer = DepartmentAnswer(
        request_id=asked.request_id, notice=answers.NOTICE[query.language], model=model.id, triage=triage.id,
        present=department.present, scored=department.present - len(left_out), left_out=left_out,
        outlooks=[_outlook(one, french=french) for one in department.outlooks],
        forecast=_forecast(model, body.history, french=french) if body.history else None,
        note=department.note_fr if french else department.note, completeness_error=department.completeness_error,
        completeness_tolerance=department.completeness_tolerance,
        picture=_png(department, query.language) if query.picture == "png" else None,
        fhir=observations(department, asked.request_id, made_at, query.language) if query.fhir else None,
        timings_ms={"total": round((time.perf_counter() - began) * 1000, 3)},
    )
    return answer.model_dump_json().encode()


def body_of(content: bytes) -> DepartmentBody:
    """Read the body. Raises UnusableInput naming the first field that is wrong, never what it holds."""
    if not content:
        raise ProblemError("empty_body", 'Send {"present": [...]} as the body.')
    try:
        return DepartmentBody.model_validate(parse(content))
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        place = ".".join(str(part) for part in first["loc"] if isinstance(part, int) or part in _FIELDS) or "the body"
        raise UnusableInput(f"The body must be {{present, history}}; {place} is wrong: {first['msg']}.", code="bad_body") from None


_FIELDS = frozenset({"present", "history", "month", "attendances"})


def _release(shelf: Shelf, name: str, task: str) -> Model:
    try:
        model = shelf.get(name)
    except KeyError:
        if is_barred(shelf, name):
            raise not_live() from None
        raise ProblemError("unknown_model", "There is no model of that name; GET /v1/models lists them.") from None
    if model.manifest.task != task:
        raise ProblemError("wrong_model", f"A release of the task {task} is needed, found {model.manifest.task}.")
    return model


def _scored(present: list[Json], triage: Model, stop: Stop) -> tuple[list[Person], list[LeftOut]]:
    """Score every Bundle; what cannot be read or is refused is left out, and said so."""
    people: list[Person] = []
    left_out = []
    for place, one in enumerate(present):
        stop.check()
        if "resourceType" not in one:
            people.append(one)
            continue
        try:
            found = triage.predict(read_bundle(one).record)
        except UnusableInput as error:
            people.append(None)
            left_out.append(LeftOut(place=place, reason=error.code, message=str(error)))
            continue
        people.append(found)
        if isinstance(found, Refusal):
            left_out.append(LeftOut(place=place, reason=found.reason.value, message=found.message))
    return people, left_out


def _outlook(one: Outlook, *, french: bool) -> OutlookAnswer:
    return OutlookAnswer(
        name=one.name, label=one.label_fr if french else one.label, code=one.code, unit=one.unit,
        expected=one.expected, median=one.median,
        bands=[BandAnswer(level=band.level, low=band.low, high=band.high, mass=band.mass) for band in one.bands],
        probabilities=list(one.probabilities),
        shares=[ShareAnswer(place=s.place, of_mean=s.of_mean, of_variance=s.of_variance) for s in one.shares],
    )


def _forecast(model: Model, history: list[Month], *, french: bool) -> ForecastAnswer:
    """Forecast the month after the last. Raises UnusableInput when months are missing between the first and the last."""
    numbers = [12 * int(one.month[:4]) + int(one.month[5:]) - 1 for one in history]
    if numbers != list(range(numbers[0], numbers[0] + len(numbers))):
        raise UnusableInput("The history must hold every month from the first to the last, in order.", code="bad_history")
    days = [monthrange(number // 12, number % 12 + 1)[1] for number in [*numbers, numbers[-1] + 1]]
    following = numbers[-1] + 1
    made: Forecast = forecast(model, [one.attendances for one in history], days, following % 12 + 1)
    output = model.manifest.output(TREND)
    return ForecastAnswer(
        month=f"{following // 12:04d}-{following % 12 + 1:02d}", label=output.label_fr if french else output.label,
        median=made.median, bands=list(made.bands), steps=dict(made.steps),
    )


def _png(department: Department, language: answers.Language) -> str:
    return base64.b64encode(department_png(department, language=language)).decode("ascii")


def observations(department: Department, number: str, made_at: datetime, language: answers.Language) -> Json:
    """Write the department as a FHIR Bundle: one Observation an outcome, whose subject is a contained Location.

    valueQuantity is the expected number; the components are the median and the bands, each with the level it was asked for
    in its code and the probability it holds in its text.
    """
    made = list(_observations(department, number, made_at, language))
    return fhir.bundle("collection", fhir.id_of("department", number), made_at, made, language)


def _observations(department: Department, number: str, made_at: datetime, language: answers.Language) -> Iterator[Json]:
    identity = department.identity
    for one in department.outlooks:
        label = one.label_fr if language == "fr" else one.label
        components: list[Json] = [{
            "code": fhir.concept(fhir.coding(fhir.OURS, "median", "Median")),
            "valueQuantity": fhir.quantity(one.median, one.unit),
        }]
        for band in one.bands:
            code = fhir.coding(fhir.OURS, f"band-{band.level * 100:.0f}", f"Band nearest to {band.level:.0%} of probability")
            components.append({
                "code": fhir.concept(code, f"{band.mass:.3f}"),
                "valueRange": fhir.limits(band.low, band.high, one.unit),
            })
        told = fhir.made(
            "Observation", fhir.id_of("department", number, one.name), language,
            contained=[{"resourceType": "Location", "id": "department", "status": "active", "mode": "instance",
                        "name": say(language, "Emergency department")}],
            status="preliminary", code=fhir.concept(one.code, label), subject=fhir.reference("#department"),
            effectiveDateTime=fhir.instant(made_at), issued=fhir.instant(made_at),
            device={"identifier": fhir.identifier(f"{identity.model}-{identity.version}", fhir.RELEASE)},
            valueQuantity=fhir.quantity(one.expected, one.unit), component=components,
        )
        missing = say(language, LEFT_OUT, count=len(department.left_out)) if department.left_out else ""
        told["text"] = fhir.narrative(language, fhir.paragraph(f"{label}: {one.expected:.1f}"), fhir.paragraph(missing))
        if missing:
            told["note"] = [{"text": missing}]
        yield told

