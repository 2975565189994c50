"""Our own codes (codes.json): concepts, why nothing was scored, and one question for every release; served as a CodeSystem."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from models.codes import DESCRIBED
from models.explain.picture import WORDS as PICTURE_WORDS
from models.manifest import Manifest
from service.fhir.datatypes import OURS, Json, coding, concept, narrative, paragraph
from service.problem import PROBLEMS
from service.words import Language, in_words

CODES: dict[str, Any] = json.loads(Path(__file__).with_name("codes.json").read_text("utf-8"))
REASONS: dict[str, Any] = {**PICTURE_WORDS["reasons"], **CODES["reasons"]}


def ours(name: str, language: Language) -> Json:
    """Return a concept of codes.json as a Coding."""
    return coding(OURS, name, CODES["concepts"][name][language])


def question_of(manifest: Manifest, language: Language) -> Json:
    """Return what a release answers as a CodeableConcept."""
    title = in_words(language, manifest.title, manifest.title_fr)
    return concept(coding(OURS, manifest.name, title), title)


def reason_of(reason: str, language: Language, text: str) -> Json:
    """Return why nothing was scored as a CodeableConcept; ``text`` says it with the facts."""
    known = REASONS.get(reason)
    return concept(coding(OURS, reason, known[language] if known else ""), text)


def code_system(manifests: Iterable[Manifest], url: str = OURS) -> Json:
    """Write the CodeSystem: the table, the reasons, and the question and outcomes of every release."""
    listed: dict[str, Json] = {}
    for name, row in CODES["concepts"].items():
        listed[name] = _listed(name, row["en"], row["fr"], row["definition"])
    for name, row in REASONS.items():
        listed.setdefault(name, _listed(name, row["en"], row["fr"], "Why a release gave no score."))
    for name, row in DESCRIBED.items():
        listed.setdefault(name, _listed(name, row["label"]["en"], row["label"]["fr"], f"A measurement or fact, in {row['unit']}."))
    for name, (_, title) in PROBLEMS.items():
        listed.setdefault(name, _listed(name, title, "", "Why a request was not answered."))
    for manifest in manifests:
        listed.setdefault(manifest.name, _listed(manifest.name, manifest.title, manifest.title_fr, manifest.summary))
        for output in manifest.outputs:
            if output.code.system == url:
                listed.setdefault(output.code.code, _listed(output.code.code, output.label, output.label_fr,
                                                            f"An outcome of {manifest.name}."))
    return {
        "resourceType": "CodeSystem", "id": "diaphane", "language": "en",
        "text": narrative("en", paragraph(CODES["title"]["en"]), paragraph(CODES["description"])),
        "url": url, "version": CODES["version"], "name": "Diaphane", "title": CODES["title"]["en"], "status": "active",
        "experimental": True, "publisher": "Diaphane", "description": CODES["description"], "caseSensitive": True,
        "content": "complete", "count": len(listed), "concept": list(listed.values()),
    }


def _listed(code: str, english: str, french: str, definition: str) -> Json:
    told: Json = {"code": code, "display": english, "definition": definition}
    if french:
        told["designation"] = [{"language": "fr", "value": french}]
    return told
