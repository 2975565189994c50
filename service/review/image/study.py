"""One study for the page: who and what it is about, each case with what was said of it, and what the script is handed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from pydicom.dataset import Dataset

from models.manifest import Manifest
from models.shelf import Shelf
from service.identity import Environment
from service.releases.state import State
from service.reporting.study import TERMS, Acquisition, study_of, term
from service.review.banners import Banner, banners_of
from service.review.image.findings import Said, said_by
from service.review.image.geometry import Sides
from service.review.image.layers import has_layers
from service.review.image.pictures import Pictures, Shown
from service.review.targets import key_of
from service.review.worklist.shown import age
from service.words import Language, day, marked, moment, number, say

_SEXES = {"M": marked("male"), "F": marked("female"), "O": marked("other")}
_SIDE_WORDS = {"L": marked("left"), "R": marked("right"), "A": marked("front"), "P": marked("back"), "H": marked("head"),
               "F": marked("feet")}
FIRST_SIDE = 1024  # pixels of the longer side of the picture that stands in the page itself


@dataclass(frozen=True)
class ResultView:
    """One result on the page. ``place`` is its number in the case, from 1; ``key`` names it in addresses."""

    case: int
    place: int
    id: int
    key: str
    said: Said
    banners: tuple[Banner, ...]
    has_layers: bool
    verdict: Any = None  # the panel of service/review/verdict


@dataclass(frozen=True)
class CaseView:
    """One case on the page."""

    number: int
    title: str
    facts: tuple[tuple[str, str], ...]
    shown: Shown
    pending: bool
    first: int  # the slice that is shown first, from 1
    modality: str
    results: tuple[ResultView, ...]
    alternative: str  # what stands for the picture where it is not seen


@dataclass(frozen=True)
class StudyView:
    """A study on the page."""

    uid: str
    head: Dataset
    heading: str
    person: tuple[str, ...]
    facts: tuple[tuple[str, str], ...]
    made_on: date | None
    cases: tuple[CaseView, ...]
    is_opposed: bool = False  # the patient is opposed to being scored: what was scored before is not shown any more


def study_view(
    pictures: Pictures, shown: Sequence[Shown], uid: str, heads: Sequence[Dataset], *, language: Language, accept: Environment,
    shelf: Shelf | None, may_see: Mapping[str, bool], states: Mapping[str, State] | None = None,
) -> StudyView:
    """Say a study in one language. ``heads`` is the header of the first image of each case; ``may_see``: release → whether."""
    manifests = {name: model.manifest for name, model in shelf.models.items()} if shelf else {}
    study = study_of(uid, heads, [len(one.geometry.slices) for one in shown])
    cases = tuple(
        _case(pictures, number_, one, made, language, manifests, shelf, may_see, states)
        for number_, (one, made) in enumerate(zip(shown, study.cases, strict=True), start=1)
    )
    traits, ins = study.person.traits, study.person.ins(accept)
    local = next((one for one in study.person.identities if one.kind == "local"), None)
    born = _born(traits.birth_date)
    aged = _age(born, study.studied_at.date() if study.studied_at else None, language)
    name = " ".join(filter(None, (traits.birth_name, traits.given)))
    if traits.usual_name and traits.usual_name != traits.birth_name:
        name += f" ({traits.usual_name})"
    person = (
        name or say(language, "No name stated"), say(language, _SEXES[traits.sex]) if traits.sex else "", aged,
        say(language, "born {day}", day=day(language, born)) if born else "",
    )
    identifier = f"{local.matricule} ({local.authority})" if local and local.authority else local.matricule if local else ""
    facts = (
        (say(language, "Identifier"), identifier),
        (say(language, "National health identity (INS)"), f"{ins.matricule} ({ins.kind})" if ins else ""),
        (say(language, "Examined on"), moment(language, study.studied_at) if study.studied_at else ""),
        (say(language, "Accession number"), study.accession.value if study.accession else ""),
        (say(language, "Requested by"), study.referrer),
        (say(language, "Reason given"), study.reason),
        (say(language, "History given"), study.history),
    )
    return StudyView(
        uid, heads[0], study.description or (cases[0].title if cases else ""), tuple(filter(None, person)),
        tuple((label, value) for label, value in facts if value), study.studied_at.date() if study.studied_at else None, cases,
    )


def script_data(view: StudyView, pictures: Pictures, root: str, *, hidden: bool, language: Language) -> dict[str, Any]:
    """Return what the script needs to know, ready for JSON."""
    when = view.made_on
    return {
        "root": root, "hidden": hidden, "day": day(language, when) if when else "",
        "cases": [{
            "number": case.number, "title": case.title, "modality": case.modality, "alternative": case.alternative,
            "rows": case.shown.geometry.slices[0].rows, "columns": case.shown.geometry.slices[0].columns, "first": case.first,
            "spacing": case.shown.geometry.spacing_mm, "detector": case.shown.geometry.at_detector,
            "sides": sides_data(case.shown.geometry.sides, language),
            "slices": [{
                "tag": pictures.tag(one), "sop": one.sop_uid, "frame": one.frame, "rows": one.rows, "columns": one.columns,
            } for one in case.shown.geometry.slices],
            "layers": [one.place for one in case.results if one.has_layers],
        } for case in view.cases],
    }


def sides_data(sides: Sides, language: Language) -> dict[str, dict[str, str]]:
    """Return the letters at the edges of a picture with what they mean."""
    return {
        edge: {"letters": letters, "words": "-".join(say(language, _SIDE_WORDS[one]) for one in letters)}
        for edge, letters in (("left", sides.left), ("right", sides.right), ("top", sides.top), ("bottom", sides.bottom)) if letters
    }


def _case(
    pictures: Pictures, number_: int, shown: Shown, made: Acquisition, language: Language, manifests: Mapping[str, Manifest],
    shelf: Shelf | None, may_see: Mapping[str, bool], states: Mapping[str, State] | None,
) -> CaseView:
    title = _title(made, language)
    results = tuple(
        ResultView(
            number_, place, one.id, key_of(pictures.store, "result", one.id), said_by(one, manifests, language),
            banners_of(shelf, one.model, language, states) if one.model != "none" else (), has_layers(one),
        )
        for place, one in enumerate(shown.held.results, start=1) if may_see.get(one.model, True)
    )
    count = len(shown.geometry.slices)
    first = (count + 1) // 2
    alternative = title if count == 1 else say(language, "{title}, slice {first} of {count}", title=title, first=first, count=count)
    return CaseView(
        number_, title, _facts(made, shown, language), shown, shown.held.pending, first, made.modality_code, results, alternative,
    )


def _title(made: Acquisition, language: Language) -> str:
    parts = [term("modalities", made.modality, language) or say(language, "Image")]
    if made.body_part:
        parts.append(term("body_parts", made.body_part, language))
    if made.side in TERMS["sides"]:
        parts.append(term("sides", made.side, language))
    if made.view:
        parts.append(term("views", made.view, language))
    return ", ".join(filter(None, parts))


def _facts(made: Acquisition, shown: Shown, language: Language) -> tuple[tuple[str, str], ...]:
    place, geometry = shown.geometry.slices[0], shown.geometry
    size = say(language, "{columns} × {rows} pixels", columns=place.columns, rows=place.rows)
    spacing = ""
    if geometry.spacing_mm:
        row, column = (number(language, one, 2) for one in geometry.spacing_mm)
        spacing = f"{row} mm" if row == column else f"{row} × {column} mm"
        if geometry.at_detector:
            spacing = say(language, "{spacing} at the detector", spacing=spacing)
    step = f"{number(language, geometry.step_mm, 1)} mm" if geometry.step_mm else ""
    facts = (
        (say(language, "Matrix"), size), (say(language, "Pixel spacing"), spacing),
        (say(language, "Between slices"), step),
        (say(language, "Side"), term("sides", made.side, language) if made.side in TERMS["sides"] else ""),
    )
    return tuple((label, value) for label, value in facts if value)


def _born(written: str) -> date | None:
    try:
        return datetime.strptime(written, "%Y%m%d").date() if len(written) == 8 else None
    except ValueError:
        return None


def _age(born: date | None, when: date | None, language: Language) -> str:
    """Say an age in years, of small children in months, of the newborn in days."""
    return "" if born is None or when is None else age(born.isoformat(), when, language)
