"""Assessment: what a professional said of one result of AI, finding by finding, as IHE's assessment of AI results has it.

One assessment names the result, the observer and the time; for each finding whether it was accepted, modified or rejected,
by its tracking UID; and why. The verdicts of the page are stored as this, and all that leaves is written from it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

Decision = Literal["agree", "correct", "reject"]
TargetKind = Literal["result", "risk", "alert"]
Taken = Literal["accepted", "modified", "rejected"]
Reading = Literal["first", "second", "third"]
Json = dict[str, Any]
DECISIONS: tuple[Decision, ...] = ("agree", "correct", "reject")
POINT_DIGITS = 2  # of a pixel: a pointer is no finer
RPPS_OID = "1.2.250.1.71.4.2.1"  # of the national numbers of health professionals (ANS, NOS)


@dataclass(frozen=True)
class Reader:
    """Who gave the verdict: a person who was logged in, with what the provider said of them."""

    subject: str
    family: str
    given: str
    rpps: str = ""
    profession: str = ""
    structure: str = ""

    @property
    def name(self) -> str:
        """Given name and family name, or the subject when the provider named nobody."""
        return f"{self.given} {self.family}".strip() or self.subject


@dataclass(frozen=True)
class Region:
    """One closed outline drawn on an image: (column, row) in its pixels, edges at 0 (PS3.3 C.10.5.1.2)."""

    sop_uid: str
    frame: int | None  # of a multi-frame image, from 1
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class FindingAssessment:
    """One finding as AI gave it and as the reader left it.

    ``present`` and ``value`` are the reader's: None where the reader said nothing of it. ``regions`` replace what was drawn.
    """

    name: str
    taken: Taken
    kind: str = "probability"  # as in models.prediction.Finding
    unit: str = "1"
    ai_value: float | None = None
    ai_present: bool | None = None
    present: bool | None = None
    value: float | None = None
    regions: tuple[Region, ...] = ()

    @property
    def contradicts(self) -> bool:
        """Tell whether the figure of AI does not stand: another region alone takes nothing from it."""
        other = self.present is not None and self.ai_present is not None and self.present != self.ai_present
        return other or self.taken == "rejected" or self.value is not None


@dataclass(frozen=True)
class Assessment:
    """The whole of it."""

    decision: Decision
    reason_code: str
    comment: str
    findings: tuple[FindingAssessment, ...]
    reader: Reader
    reading: Reading
    made_at: float  # seconds since 1970
    joint: tuple[Reader, ...] = ()  # earlier readers who said the same: both verified it

    @property
    def readers(self) -> tuple[Reader, ...]:
        """Everybody who stands for it, the first reader first."""
        return (*self.joint, self.reader)

    def of(self, name: str) -> FindingAssessment | None:
        """What was said of one finding."""
        return next((one for one in self.findings if one.name == name), None)

    def same_as(self, other: Assessment) -> bool:
        """Tell whether two readers said the same, wherever exactly they drew it."""
        def said(one: Assessment) -> tuple[object, ...]:
            return one.decision, *((f.name, f.taken, f.present, f.value) for f in one.findings)

        return said(self) == said(other) or (self.decision == other.decision == "reject")


def to_json(one: Assessment) -> Json:
    """Write what the column ``content`` of a verdict holds: all but who and when, which have columns of their own."""
    told = asdict(replace(one, joint=()))
    return {"findings": [{**finding, "regions": [_drawn(region) for region in finding["regions"]]} for finding in told["findings"]]}


def from_json(
    content: Mapping[str, Any], *, decision: Decision, reason_code: str, comment: str, reviewer: Mapping[str, Any],
    reading: Reading, made_at: float, joint: Iterable[Reader] = (),
) -> Assessment:
    """Read a stored verdict back."""
    return Assessment(
        decision, reason_code, comment, tuple(finding_of_json(one) for one in content.get("findings", ())),
        reader_of(reviewer), reading, made_at, tuple(joint),
    )


def reader_of(reviewer: Mapping[str, Any]) -> Reader:
    """Return who gave a stored verdict."""
    return Reader(**{name: str(reviewer.get(name, "")) for name in Reader.__dataclass_fields__})


def _drawn(region: Mapping[str, Any]) -> Json:
    return {**region, "points": [[round(x, POINT_DIGITS), round(y, POINT_DIGITS)] for x, y in region["points"]]}


def finding_of_json(one: Mapping[str, Any]) -> FindingAssessment:
    """Read what was said of one finding back."""
    regions = tuple(
        Region(str(region["sop_uid"]), region["frame"], tuple((float(x), float(y)) for x, y in region["points"]))
        for region in one.get("regions", ())
    )
    return FindingAssessment(**{**one, "regions": regions})
