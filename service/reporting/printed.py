"""What a report's pages show, whichever page it is: banner, who and what, sections with their marks, sources, footer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from models.manifest import Manifest
from service.identity import Environment
from service.reporting.report import SECTIONS, Draft, Sentence, one_line
from service.reporting.study import Study
from service.reporting.validated import Professional
from service.words import Language, day, marked, moment, of_release, percent, say, unbroken

DRAFT_MARK = marked("DRAFT – not validated")
AI_MARK = marked("AI, to be validated")


@dataclass(frozen=True)
class Line:
    """One sentence: ``mark`` stands behind it while nobody has validated it; ``note`` is the number of its source, or 0."""

    text: str
    mark: str
    note: int


@dataclass(frozen=True)
class Part:
    """One section with its title; ``empty`` is what stands there when it has no sentence."""

    name: str
    title: str
    lines: tuple[Line, ...]
    empty: str


@dataclass(frozen=True)
class Printed:
    """All words of the pages, in one language."""

    language: Language
    title: str
    status: str  # the banner: draft, or validated by whom and when
    is_draft: bool
    facts: tuple[tuple[str, str], ...]  # label, value
    parts: tuple[Part, ...]
    sources_title: str
    sources: tuple[tuple[int, str], ...]
    limits_title: str
    limits: tuple[str, ...]  # what the results of the models must not be used for
    notice: str
    footer: str
    page: str  # "Page {page} of {pages}", to be filled


def printed(
    draft: Draft, study: Study, *, institution: str = "", professional: Professional | None = None,
    validated_at: datetime | None = None, accept: Environment = "production", manifests: Mapping[str, Manifest] | None = None,
    stale: bool = False,
) -> Printed:
    """Lay out one version of a report. With ``professional`` it is a validated one, and carries no mark of a draft.

    ``stale``: results have come that it does not rest on, which it then says.
    """
    language = draft.language
    notes: dict[str, int] = {}
    certain = {one.source: one.certainty for part in draft.sections for one in part.sentences if one.certainty is not None}
    parts = []
    for name, (title, _) in SECTIONS.items():
        is_draft = professional is None
        lines = tuple(_line(one, notes, certain, language, marked_as_ai=is_draft) for one in draft.section(name).sentences)
        parts.append(Part(name, say(language, title), lines, say(language, "Nothing is written here.")))
    if professional is None:
        status = say(language, DRAFT_MARK)
        notice = say(language, "Draft made from results of artificial intelligence. Every sentence must be read, corrected and "
                     "validated by a physician before any use. Not a medical device.")
    else:
        when = moment(language, validated_at) if validated_at else ""
        status = say(language, "Validated by {given} {family} (RPPS {rpps}) on {when}", given=professional.given,
                     family=professional.family, rpps=professional.rpps, when=when)
        notice = say(language, "Sentences with a number were proposed by artificial intelligence and taken over by the physician who "
                     "validated this report.") if notes else ""
    if stale:
        newer = say(language, "Results have come that this text does not rest on: look at them, or ask for a new draft.")
        notice = f"{newer} {notice}".rstrip()
    return Printed(
        language, say(language, "Imaging report"), status, professional is None, _facts(study, language, institution, accept),
        tuple(parts), say(language, "Sources"), tuple((number, text) for text, number in notes.items()),
        say(language, "What these results must not be used for"),
        _limits(draft, manifests or {}) if professional is None else (), notice,
        _footer(draft),
        say(language, "Page {page} of {pages}", page="{page}", pages="{pages}"),
    )


def plain(draft: Draft) -> str:
    """Return the text alone, marked sentence by sentence while it is a draft; "" for what has no words."""
    language, lines = draft.language, []
    for name, (title, _) in SECTIONS.items():
        sentences = draft.section(name).sentences
        if sentences:
            lines.append(say(language, title).upper())
            mark = "" if draft.state == "validated" else f" [{say(language, AI_MARK)}]"
            lines += [one.text + (mark if one.origin == "ai" else "") for one in sentences]
    return "\n".join(lines)


def _footer(draft: Draft) -> str:
    """Name the version; a draft that nobody has touched has none."""
    when = moment(draft.language, draft.made_at)
    if not draft.number:
        return say(draft.language, "Draft of {when}", when=when)
    return say(draft.language, "Version {number} of {when}", number=draft.number, when=when)


def _limits(draft: Draft, manifests: Mapping[str, Manifest]) -> tuple[str, ...]:
    """Return what the manifests of the models behind the sentences forbid."""
    models = dict.fromkeys(one.source.partition("/")[0] for part in draft.sections for one in part.sentences if one.origin == "ai")
    known = [manifests[model] for model in models if model in manifests]
    return tuple(dict.fromkeys(of_release(draft.language, words) for one in known for words in one.intended_use.must_not))


def _line(
    one: Sentence, notes: dict[str, int], certain: Mapping[str, float | None], language: Language, *, marked_as_ai: bool
) -> Line:
    if one.origin != "ai":
        return Line(_unbroken(one.text, language), "", 0)
    source = _source(one, certain.get(one.source), language)
    note = notes.setdefault(source, len(notes) + 1) if source else 0
    return Line(_unbroken(one.text, language), say(language, AI_MARK) if marked_as_ai else "", note)


def _source(one: Sentence, certainty: float | None, language: Language) -> str:
    model, _, finding = one.source.partition("/")
    if not model or model == "none":
        return ""
    if finding and certainty is not None and one.result is None:
        return say(language, "Model {model}, finding {finding}, calibrated probability {certainty}", model=model, finding=finding,
                   certainty=percent(language, min(0.99, max(0.01, certainty))))
    if one.result is None:
        return say(language, "Model {model}", model=model)
    if finding and certainty is not None:
        return say(language, "Model {model}, finding {finding}, result {result}, calibrated probability {certainty}", model=model,
                   finding=finding, result=one.result, certainty=percent(language, min(0.99, max(0.01, certainty))))
    if finding:
        return say(language, "Model {model}, finding {finding}, result {result}", model=model, finding=finding, result=one.result)
    return say(language, "Model {model}, result {result}", model=model, result=one.result)


def _unbroken(text: str, language: Language) -> str:
    """Keep French signs on the line of the word they follow, whoever wrote them."""
    return unbroken(text) if language == "fr" else text


def _facts(study: Study, language: Language, institution: str, accept: Environment) -> tuple[tuple[str, str], ...]:
    traits, ins = study.person.traits, study.person.ins(accept)
    local = next((one for one in study.person.identities if one.kind == "local"), None)
    sexes = {"M": say(language, "male"), "F": say(language, "female"), "O": say(language, "other")}
    name = " ".join(filter(None, (traits.birth_name, traits.given)))
    if traits.usual_name and traits.usual_name != traits.birth_name:
        name += f" ({traits.usual_name})"
    rows = [
        (say(language, "Patient"), name),
        (say(language, "Born on"), _birth(traits.birth_date, language)),
        (say(language, "Sex"), sexes.get(traits.sex, "")),
        (say(language, "Identifier"), f"{local.matricule} ({local.authority})" if local and local.authority else
         local.matricule if local else ""),
        (say(language, "National health identity (INS)"), f"{ins.matricule} ({ins.kind})" if ins else say(language, "none usable")),
        (say(language, "Examination"), study.description),
        (say(language, "Examined on"), moment(language, study.studied_at) if study.studied_at else ""),
        (say(language, "Accession number"), study.accession.value if study.accession else ""),
        (say(language, "Requested by"), study.referrer),
        (say(language, "Institution"), institution),
    ]
    return tuple((label, shown) for label, value in rows if (shown := one_line(value)))


def _birth(written: str, language: Language) -> str:
    if len(written) == 8:
        return day(language, datetime.strptime(written, "%Y%m%d").date())
    return "/".join(filter(None, (written[4:6], written[:4])))
