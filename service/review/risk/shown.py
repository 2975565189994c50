"""What the page of one risk shows, worked out from what was kept and, where its release is still here, from the release."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from math import isfinite

from models.errors import UnusableInput
from models.manifest import BANDS, Manifest
from models.model import Model
from models.prediction import Contribution, Finding, Prediction, Refusal, Result
from models.record import Record, View
from models.record_json import record_of_json
from models.result_json import result_of_json
from models.shelf import Shelf
from service.review.risk.change import Input, inputs_of
from service.review.risk.course import Measured, measured_course
from service.review.risk.curve import Curve, Given, curve
from service.review.risk.measured import RangeBar, When, range_bar, view_of, when
from service.review.risk.missing import Missing, missing
from service.review.risk.population import Position, position
from service.review.risk.waterfall import Step, Waterfall, waterfall
from service.store.review_tables import Risk
from service.store.risks import Point

ICONS = 100
NEAR = (0.7, 1.4)  # times the threshold
FAR_APART = 0.1  # of two ways of computing one quantity: worth a remark


@dataclass(frozen=True)
class Row:
    """One line of the waterfall: the step, when its value was measured and how that lies to the usual range."""

    step: Step
    when: When | None = None
    range: RangeBar | None = None


@dataclass(frozen=True)
class FindingView:
    """One figure with its meaning and its reasons. ``icons``: so many of 100 people; ``bands``: word → where it begins."""

    finding: Finding
    icons: int
    bands: tuple[tuple[str, float, float], ...]  # word, from, to
    horizon_h: float | None
    waterfall: Waterfall | None = None
    rows: tuple[Row, ...] = ()
    others: tuple[Contribution, ...] = ()  # what "all others" holds, by weight
    position: Position | None = None
    missing: tuple[Missing, ...] = ()

    @property
    def is_share(self) -> bool:
        """Tell whether it is a probability."""
        return self.finding.kind == "probability"

    @property
    def is_flagged(self) -> bool:
        """Tell whether a value that is shown lies outside its usual range."""
        return any(row.step.part is not None and row.step.part.flag in ("low", "high") for row in self.rows)

    @property
    def is_near(self) -> bool:
        """Tell whether it lies so near the threshold that a little would turn it over."""
        one = self.finding
        return bool(self.is_share and one.threshold and NEAR[0] < one.value / one.threshold < NEAR[1])


@dataclass(frozen=True)
class RiskView:
    """One risk as its page shows it. ``manifest`` None: its release is not here any more, and only what was kept is shown."""

    result: Result | None
    manifest: Manifest | None
    model_id: str
    findings: tuple[FindingView, ...] = ()
    inputs: tuple[Input, ...] = ()
    origin: datetime | None = None
    looked_until: datetime | None = None
    record: Record | None = field(default=None, repr=False)
    course: tuple[Measured, ...] = ()  # what a sensor measured, of a release that looks at its last hours

    @property
    def prediction(self) -> Prediction | None:
        """The score, None for a refusal."""
        return self.result if isinstance(self.result, Prediction) else None

    @property
    def refusal(self) -> Refusal | None:
        """The refusal, None for a score."""
        return self.result if isinstance(self.result, Refusal) else None


def kept_result(risk: Risk) -> Result | None:
    """Return what was said; None for an alert that nothing could be scored."""
    return result_of_json(risk.answer) if risk.answer else None


def kept_record(risk: Risk) -> Record | None:
    """Return what it was said from; None when that could not be kept."""
    try:
        return record_of_json(risk.record)
    except UnusableInput:
        return None


def model_of(shelf: Shelf | None, risk: Risk) -> Model | None:
    """Return exactly the release that scored; None when it is not here, or another bears its name."""
    model = None if shelf is None else shelf.models.get(risk.model)
    made_by = risk.answer.get("identity", {}).get("manifest_sha256")
    return model if model is not None and made_by in (None, model.identity.manifest_sha256) else None


def risk_view(risk: Risk, shelf: Shelf | None, zone: tzinfo | None) -> RiskView:
    """Work out everything the page shows of a risk."""
    result, record, model = kept_result(risk), kept_record(risk), model_of(shelf, risk)
    zone = zone_of(record, zone)
    manifest = model.manifest if model else None
    hours = risk.record.get("moment_h")
    seen = view_of(manifest, record, hours) if manifest and record else None
    origin = record.origin.astimezone(zone) if record and record.origin else None
    findings = tuple(
        _finding(result, one, model, record, hours, seen, origin) for one in result.findings
    ) if isinstance(result, Prediction) else ()
    wide = {lack.part.term: lack.reach for one in findings for lack in one.missing}
    inputs = inputs_of(manifest, record, hours, result, wide) if manifest and record and isinstance(result, Prediction) else ()
    until = None if risk.moment is None else datetime.fromtimestamp(min(risk.moment, risk.scored_at), zone).astimezone(zone)
    course = measured_course(manifest, seen, origin) if manifest and seen and origin else ()
    return RiskView(result, manifest, risk.model, findings, inputs, origin, until, record, course)


def _finding(result: Prediction, finding: Finding, model: Model | None, record: Record | None, hours: float | None,
             seen: View | None, origin: datetime | None) -> FindingView:
    manifest = model.manifest if model else None
    output = manifest.output(finding.name) if manifest else None
    first = result.findings[0].name
    told = result.explanation.contributions or result.explanation.measurements  # terms are kept where one measurement is all
    parts = tuple(part for part in told if (part.finding or first) == finding.name)
    bias = result.explanation.bias.get(finding.name)
    drawn = waterfall(finding, bias, parts) if bias is not None else None
    rows = tuple(_row(step, seen, origin) for step in drawn.steps) if drawn else ()
    return FindingView(
        finding, icons=round(ICONS * finding.value) if finding.kind == "probability" else 0, bands=bands_of(manifest, finding.name),
        horizon_h=output.horizon_h if output else None, waterfall=drawn, rows=rows,
        others=tuple(sorted((part for part in drawn.rest if part.logit), key=lambda part: -abs(part.logit))) if drawn else (),
        position=position(model.folder, model.manifest, finding) if model else None,
        missing=missing(model, record, hours, result, finding.name) if model and record and finding.kind != "volume" else (),
    )  # fmt: skip


def bands_of(manifest: Manifest | None, name: str) -> tuple[tuple[str, float, float], ...]:
    """Return the words for a risk with their ranges, the lowest first; nothing where the release states none."""
    if manifest is None:
        return ()
    limits = manifest.output(name).bands
    if not limits:
        return ()
    words = ["negligible", *(word for word in BANDS if word in limits)]
    edges = [0.0, *(limits[word] for word in BANDS if word in limits), 1.0]
    return tuple(zip(words, edges, edges[1:], strict=False))


def equation_gap(view: RiskView) -> float | None:
    """Return by which share a quantity differs from the equation that stands beside it, where it is worth a remark."""
    told = [one.finding for one in view.findings if one.finding.kind == "quantity"]
    if len(told) < 2 or not told[1].value or not isfinite(told[1].value):
        return None
    gap = told[0].value / told[1].value - 1
    return gap if abs(gap) >= FAR_APART else None


def zone_of(record: Record | None, zone: tzinfo | None) -> tzinfo | None:
    """Return the zone of times on the page: the site's, else the one the record came in."""
    return zone or (record.origin.tzinfo if record and record.origin else None)


def trend_curve(points: Sequence[Point], risk: Risk, view: RiskView, zone: tzinfo | None) -> Curve | None:
    """Draw the risks of a stay over time; a line joins only those of one version, for two versions are two scales."""
    given = []
    before = ""
    for one in points:
        if one.value is None or one.status != "scored":
            continue
        at = datetime.fromtimestamp(one.at, zone).astimezone(zone)
        given.append(Given(at, one.value, one.key, here=one.key == risk.key, joined=one.model == before))
        before = one.model
    if len(given) < 2 or not view.findings:
        return None
    main = view.findings[0]
    share = main.is_share
    return curve(given, bands=main.bands, limit=main.finding.threshold, low=0.0 if share else None)


def _row(step: Step, seen: View | None, origin: datetime | None) -> Row:
    if step.part is None:
        return Row(step)
    return Row(step, when(step.part, seen, origin) if seen else None, range_bar(step.part))
