"""What the page of a report shows: every sentence with who stands behind it, its versions, and where it goes once signed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo

from service.cda.sendable import NotSendable, require_sendable
from service.outbound.validated import sends
from service.reporting.desk import Held
from service.reporting.printed import AI_MARK
from service.reporting.report import SECTIONS, Draft, Sentence
from service.reporting.validated import ValidatedReport
from service.review.targets import key_of
from service.site import Site
from service.store.reports import Version
from service.store.store import Store
from service.words import Language, in_words, marked, say

ATTRIBUTES = {  # of an image's header → how people call it
    "StudyDescription": marked("study description"),
    "ReasonForTheRequestedProcedure": marked("reason for the examination"),
    "AdditionalPatientHistory": marked("patient history"),
    "Modality": marked("modality and projection"),
    "ContrastBolusAgent": marked("contrast medium"),
}


@dataclass(frozen=True)
class Line:
    """One sentence as the editor shows it. ``about`` leads to the page of the result it was made from."""

    text: str
    origin: str  # ai | image | person
    mark: str  # who stands behind it, in a word or two
    source: str  # what it was made from
    certainty: float | None
    about: str


@dataclass(frozen=True)
class Part:
    """One section."""

    name: str
    title: str
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class Told:
    """One version in the list of versions."""

    number: int
    state: str
    who: str
    when: datetime


def parts_of(report: Draft, held: Held, store: Store, language: Language) -> tuple[Part, ...]:
    """Return the sections of a report, empty ones too."""
    signed = report.state == "validated"
    return tuple(
        Part(name, say(language, title),
             tuple(_line(one, held, store, language, signed=signed) for one in report.section(name).sentences))
        for name, (title, _) in SECTIONS.items()
    )


def versions_of(versions: Sequence[Version], zone: tzinfo | None, language: Language) -> tuple[Told, ...]:
    """Return the versions, the last first."""
    return tuple(
        Told(one.number, one.state, who(one.author, language), datetime.fromtimestamp(one.made_at, zone))
        for one in reversed(versions)
    )


def who(author: Mapping[str, str], language: Language) -> str:
    """Name who made a version; a draft made here has no author."""
    return " ".join(filter(None, (author.get("given", ""), author.get("family", "")))) or say(language, "Diaphane, from the results")


def goes_to(site: Site, language: Language) -> tuple[str, ...]:
    """Say where a report goes once it is signed."""
    found = []
    if site.mllp.host:
        found.append(say(language, "the hospital's integration platform (HL7 v2)"))
    if site.xdm.folder:
        found.append(say(language, "the folder of the secure mail (IHE XDM)"))
    return tuple(found)


def why_not_sent(site: Site, validated: ValidatedReport, language: Language) -> str:
    """Say why a signed report could not leave as a document, "" when nothing is in its way."""
    try:
        require_sendable(validated)
    except NotSendable as error:
        why = say(language, str(error))
        return why if sends(site) else say(language, "It cannot be had as a CDA document: {why}", why=why)
    return ""


def _line(one: Sentence, held: Held, store: Store, language: Language, *, signed: bool) -> Line:
    if one.origin == "person":
        return Line(one.text, "person", say(language, "Written by hand"), "", None, "")
    if one.origin == "image":
        known = ATTRIBUTES.get(one.source)
        source = say(language, "image header: {attribute}", attribute=say(language, known) if known else one.source)
        return Line(one.text, "image", say(language, "From the images"), source, None, "")
    model, _, finding = one.source.partition("/")
    manifest = held.manifests.get(model)
    parts = [in_words(language, manifest.title, manifest.title_fr) if manifest else model if model != "none" else ""]
    output = next((each for each in manifest.outputs if each.name == finding), None) if manifest else None
    if output is not None:
        parts.append(in_words(language, output.label, output.label_fr))
    about = f"/review/results/{key_of(store, 'result', one.result)}/about" if one.result is not None else ""
    mark = say(language, "Proposed by AI, signed by a physician") if signed else say(language, AI_MARK)
    return Line(one.text, "ai", mark, " · ".join(filter(None, parts)), one.certainty, about)
