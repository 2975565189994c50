"""What was sent of a result, once more after a professional's verdict: the same resources with another status, and who said so.

Each is updated where its identifier is found, so that a server that never got the first has the last all the same. The
device stays who made them; a Provenance names the verifier (https://hl7.org/fhir/R4/provenance.html). Statuses are those of
https://hl7.org/fhir/R4/valueset-diagnostic-report-status.html and valueset-observation-status.html; no signature is given.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from service.assessment import RPPS_OID, Assessment, FindingAssessment, Reader
from service.corrected import said_instead
from service.fhir.codes import ours
from service.fhir.datatypes import (
    RESULT,
    SNOMED,
    TERMINOLOGY,
    Json,
    coding,
    concept,
    id_of,
    instant,
    narrative,
    paragraph,
    plain,
    quantity,
    reference,
    urn,
)
from service.words import Language, in_words, marked, say, unit

STATUS = {"agree": "final", "correct": "corrected", "reject": "entered-in-error"}
PRESENCE = {True: coding(SNOMED, "52101004", "Present"), False: coding(SNOMED, "272519000", "Absent")}
CHANGED = frozenset(("DiagnosticReport", "Observation", "RiskAssessment"))
SENTENCES = {
    "agree": marked("Result of artificial intelligence, confirmed by {name}."),
    "correct": marked("Result of artificial intelligence, corrected by {name}."),
    "reject": marked("Withdrawn by {name}: do not use this result of artificial intelligence."),
}


@dataclass(frozen=True)
class Verdict:
    """All that is written of a verdict. ``findings`` are those of the result as JSON, with their codes and labels."""

    assessment: Assessment
    key: str
    findings: Sequence[Mapping[str, Any]]
    reason: Json | None  # a Coding
    reason_words: str
    made_at: datetime
    language: Language


def revised(sent: Json, verdict: Verdict) -> Json | None:
    """Return a collection Bundle of everything that was sent, as it stands after the verdict; None when nothing of it changes."""
    entries = [copy.deepcopy(entry) for entry in sent.get("entry", ())]
    changed = [entry["resource"] for entry in entries if _changes_with(entry["resource"], verdict)]
    if not changed:
        return None
    for resource in changed:
        _revise(resource, verdict)
    provenance = write_verification(changed, _device_of(entries), verdict)
    told = [_updated(entry) if entry["resource"] in changed else entry for entry in entries]
    told.append({"fullUrl": urn(provenance), "resource": provenance})
    return {"resourceType": "Bundle", "type": "collection", "entry": plain(told)}


def write_verification(targets: Sequence[Json], device: Json | None, verdict: Verdict) -> Json:
    """Write who verified resources, when, and on whose behalf."""
    said, language = verdict.assessment, verdict.language
    nullified = said.decision == "reject"
    activity = ("NULLIFY", "nullify") if nullified else ("UPDATE", "revise")
    agents: list[Json] = [_verifier(reader) for reader in said.readers]
    if device is not None:
        agents.append(device)
    provenance: Json = {
        "resourceType": "Provenance", "id": id_of("Provenance", "verdict", verdict.key), "language": language,
        "text": narrative(language, paragraph(_sentence(verdict))),
        "target": [reference(urn(one)) for one in targets],
        "occurredDateTime": instant(verdict.made_at), "recorded": instant(verdict.made_at),
        "activity": concept(coding(f"{TERMINOLOGY}/v3-DataOperation", *activity)),
        "agent": agents,
    }
    if verdict.reason is not None:
        provenance["reason"] = [concept(verdict.reason, verdict.reason_words)]
    return provenance


def _changes_with(resource: Json, verdict: Verdict) -> bool:
    """Tell whether a resource has another status now. A Flag that was agreed with may have ended since: it is left alone."""
    kind = resource["resourceType"]
    return "id" in resource and (kind in CHANGED or (kind == "Flag" and verdict.assessment.decision == "reject"))


def _revise(resource: Json, verdict: Verdict) -> None:
    said, kind = verdict.assessment, resource["resourceType"]
    resource["status"] = STATUS[said.decision]
    if kind == "Flag":
        return
    finding = _finding_of(resource, verdict)
    if finding is not None and kind == "Observation":
        _revise_finding(resource, finding, verdict)
    elif kind == "RiskAssessment" and said.decision == "correct":
        _revise_predictions(resource, verdict)
    elif kind == "Observation" and said.decision == "correct":
        resource["status"] = "final"  # why the model said so: nobody corrected that
    _explain(resource, verdict)


def _revise_finding(resource: Json, finding: FindingAssessment, verdict: Verdict) -> None:
    """Put the reader's word where AI's figure stood, which is kept beside it under its own name."""
    if verdict.assessment.decision != "correct":
        return
    resource["status"] = {"accepted": "final", "modified": "corrected", "rejected": "corrected"}[finding.taken]
    if not finding.contradicts:
        return
    language, given = verdict.language, resource.pop("valueQuantity", None)
    resource.pop("interpretation", None)
    resource.pop("dataAbsentReason", None)
    components = [{"code": concept(ours("given-by-ai", language)), "valueQuantity": given}] if given else []
    if finding.value is not None:
        resource["valueQuantity"] = quantity(finding.value, finding.unit, unit(language, finding.unit))
    elif finding.present is not None and finding.kind == "probability":
        resource["valueCodeableConcept"] = concept(PRESENCE[finding.present])
    else:
        resource["status"] = "entered-in-error"
        if given:
            resource["valueQuantity"] = given
        components = []
    resource.pop("component", None)
    if components:
        resource["component"] = components


def _revise_predictions(resource: Json, verdict: Verdict) -> None:
    """Take out the figures a reader contradicts, and say in words what they expect: no figure of AI is one they stand for."""
    labels = _labels(verdict)
    for told in resource.get("prediction", ()):
        finding = _finding_of({"code": told.get("outcome", {})}, verdict)
        if finding is not None and finding.contradicts:
            told.pop("probabilityDecimal", None)
            told.pop("qualitativeRisk", None)
            told["rationale"] = said_instead(finding, labels.get(finding.name, finding.name), verdict.language)


def _explain(resource: Json, verdict: Verdict) -> None:
    """Say in words, first of all, what the verdict was; a person reads those."""
    language, said = verdict.language, verdict.assessment
    told = [_sentence(verdict), *_changes(verdict)]
    if said.decision == "reject" or resource["resourceType"] != "Observation" or resource["status"] == "corrected":
        resource["text"] = narrative(language, *(paragraph(one) for one in told))
    author = reference_of(said.reader)
    if resource["resourceType"] == "DiagnosticReport":
        resource["conclusion"] = " ".join(told) if said.decision != "agree" else f"{told[0]} {resource.get('conclusion', '')}".strip()
        resource["issued"] = instant(verdict.made_at)
        resource["resultsInterpreter"] = [reference_of(reader) for reader in said.readers]
        if said.decision != "agree":
            resource.pop("presentedForm", None)  # the draft it was, which says what does not hold any more
    else:
        note = {"time": instant(verdict.made_at), "authorString": author["display"], "text": said.comment or told[0]}
        resource["note"] = [note, *resource.get("note", ())]


def _changes(verdict: Verdict) -> list[str]:
    """Say what was corrected, finding by finding."""
    if verdict.assessment.decision != "correct":
        return []
    language, labels = verdict.language, _labels(verdict)
    told = []
    for one in verdict.assessment.findings:
        label = labels.get(one.name, one.name)
        told.append(said_instead(one, label, language))
    return [one for one in told if one]


def _labels(verdict: Verdict) -> dict[str, str]:
    return {str(one["name"]): in_words(verdict.language, str(one.get("label", "")), str(one.get("label_fr", "")))
            for one in verdict.findings}


def _sentence(verdict: Verdict) -> str:
    names = ", ".join(reader.name for reader in verdict.assessment.readers)
    told = say(verdict.language, SENTENCES[verdict.assessment.decision], name=names)
    return f"{told} {verdict.reason_words}." if verdict.reason_words else told


def _finding_of(resource: Json, verdict: Verdict) -> FindingAssessment | None:
    codes = {(one.get("system"), one.get("code")) for one in resource.get("code", {}).get("coding", ())}
    named = next((one for one in verdict.findings if _code_of(one) in codes), None)
    return None if named is None else verdict.assessment.of(str(named["name"]))


def _code_of(finding: Mapping[str, Any]) -> tuple[Any, Any]:
    code = finding.get("code") or {}
    return code.get("system"), code.get("code")


def reference_of(reader: Reader) -> Json:
    """Refer to a professional by the national number, where there is one."""
    told: Json = {"type": "Practitioner", "display": reader.name}
    if reader.rpps:
        told["identifier"] = {"system": f"urn:oid:{RPPS_OID}", "value": reader.rpps}
    return told


def _verifier(reader: Reader) -> Json:
    kind = coding(f"{TERMINOLOGY}/provenance-participant-type", "verifier", "Verifier")
    agent: Json = {"type": concept(kind), "who": reference_of(reader)}
    if reader.structure:
        agent["onBehalfOf"] = {"type": "Organization", "display": reader.structure}
    return agent


def _device_of(entries: Sequence[Json]) -> Json | None:
    """Return the agent that made the resources, as the Provenance beside them names it."""
    made = next((entry["resource"] for entry in entries if entry["resource"]["resourceType"] == "Provenance"), None)
    return None if made is None else copy.deepcopy(made["agent"][0])


def _updated(entry: Json) -> Json:
    resource = {name: value for name, value in entry["resource"].items() if name != "id"}
    own = next(one for one in resource["identifier"] if one["system"] == RESULT)
    url = f"{resource['resourceType']}?identifier={RESULT}|{own['value']}"
    return {"fullUrl": entry["fullUrl"], "resource": resource, "request": {"method": "PUT", "url": url}}
