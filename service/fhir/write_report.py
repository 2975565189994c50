"""An imaging result as FHIR: DiagnosticReport, an Observation a finding, ImagingStudy, Device and Provenance.

From the same Told as the DICOM objects, and referring to them as series of the study. https://hl7.org/fhir/R4/diagnosticreport.html.
The report is preliminary: no person has signed it. What was not assessed, or not given, is said so and never left out.
"""

from __future__ import annotations

from collections.abc import Sequence

from models.prediction import Finding, Prediction
from service.dicom.source import case_key
from service.dicom.told import NotAssessed, Told, Written
from service.fhir.codes import ours, question_of, reason_of
from service.fhir.datatypes import (
    LOINC,
    TERMINOLOGY,
    Json,
    bundle,
    coding,
    concept,
    id_of,
    identifier,
    instant,
    made,
    narrative,
    paragraph,
    quantity,
    reference,
    urn,
)
from service.fhir.write_contributions import PAIR
from service.fhir.write_device import write_device, write_software
from service.fhir.write_provenance import write_provenance
from service.fhir.write_study import order_of, studied_at, study_reference, subject_of, write_study
from service.flags import flag_text
from service.identity import Environment
from service.refusals import advice_text, message_in, reason_text
from service.words import Language, in_words, marked, number, of_release, percent, say, unit

NOTICE = marked("A preliminary result of artificial intelligence, to be confirmed by a physician. Not a medical device.")
IMAGING = coding(f"{TERMINOLOGY}/observation-category", "imaging", "Imaging")


def report_bundle(
    told: Told, written: Sequence[Written] = (), *, patient: str = "", accept: Environment = "production",
    presented: Sequence[Json] = (),
) -> Json:
    """Write everything there is to say of one result as a collection Bundle.

    ``patient`` is the reference to the person on the server it is for; without it the report names the person by the
    identifier of the images: an INS that ``accept`` allows, else the local one. ``presented`` are Attachments of the draft.
    """
    language, made_at = told.device.language, told.made_at
    subject = subject_of(told, patient, accept)
    study = write_study(told, written, subject)
    if told.manifest is None or isinstance(told.result, NotAssessed):
        device = write_software(language)
        observations = [_not_assessed(told, subject, study, device)]
    else:
        device = write_device(told.manifest, told.result.identity, language)
        observations = _observations(told, subject, study, device)
    report = _report(told, subject, study, observations, presented)
    identity = None if isinstance(told.result, NotAssessed) else told.result.identity
    provenance = write_provenance([report, *observations], device, identity, [study_reference(told)], made_at, language)
    resources = [report, *observations, study, device, provenance]
    return bundle("collection", id_of("Bundle", *(one["id"] for one in resources)), made_at, resources, language)


def _report(told: Told, subject: Json, study: Json, observations: Sequence[Json], presented: Sequence[Json]) -> Json:
    language = told.device.language
    name = _name(told, "DiagnosticReport")
    sentences = [_sentence(told, one) for one in told.result.findings] if isinstance(told.result, Prediction) else _whys(told)
    flags = () if isinstance(told.result, NotAssessed) else told.result.flags
    remarks = [flag_text(flag, language) for flag in flags]
    if told.manifest is not None:
        remarks += [of_release(language, one) for one in told.manifest.intended_use.must_not]
    remarks.append(say(language, NOTICE))
    title = _title(told)
    report = made(
        "DiagnosticReport", name, language,
        text=narrative(language, paragraph(title), *(paragraph(one) for one in (*sentences, *remarks))),
        identifier=[identifier(name)],
        status="preliminary",
        category=[concept(coding(f"{TERMINOLOGY}/v2-0074", "RAD", "Radiology"))],
        code=concept(coding(LOINC, "18748-4", "Diagnostic imaging study"), title),
        subject=subject,
        issued=instant(told.made_at),
        result=[reference(urn(one)) for one in observations],
        imagingStudy=[reference(urn(study))],
        conclusion=" ".join([*sentences, say(language, NOTICE)]),
    )
    when, order = studied_at(told), order_of(told)
    if when:
        report["effectiveDateTime"] = when
    if order:
        report["basedOn"] = [order]
    if presented:
        report["presentedForm"] = list(presented)
    return report


def _observations(told: Told, subject: Json, study: Json, device: Json) -> list[Json]:
    manifest, result = told.manifest, told.result
    if manifest is None or not isinstance(result, Prediction):
        return [_not_assessed(told, subject, study, device)]
    given = {finding.name: finding for finding in result.findings}
    made_here = []
    for output in manifest.outputs:
        label = in_words(told.device.language, output.label, output.label_fr)
        one = _observation(told, output.name, subject, study, device, concept(output.code, label))
        if output.name in given:
            made_here.append(_with_value(one, told, given[output.name]))
        else:
            condition = next(other for other in manifest.outputs if other.name == output.shown_only_if)
            made_here.append(_not_given(one, told.device.language, label,
                                        in_words(told.device.language, condition.label, condition.label_fr)))
    return made_here


def _observation(told: Told, part: str, subject: Json, study: Json, device: Json, code: Json) -> Json:
    name = _name(told, "Observation", part)
    one = made(
        "Observation", name, told.device.language,
        identifier=[identifier(name)],
        status="preliminary",
        category=[concept(IMAGING)],
        code=code,
        subject=subject,
        issued=instant(told.made_at),
        device=reference(urn(device)),
        derivedFrom=[reference(urn(study))],
    )
    when = studied_at(told)
    if when:
        one["effectiveDateTime"] = when
    return one


def _with_value(one: Json, told: Told, finding: Finding) -> Json:
    """Put the figure of a finding: a probability from 0 to 1 with the release's threshold, or a volume."""
    language = told.device.language
    shown = say(language, "probability") if finding.kind == "probability" else unit(language, finding.unit)
    one["text"] = narrative(language, paragraph(_sentence(told, finding)))
    one["valueQuantity"] = quantity(finding.value, finding.unit, shown)
    method = told.manifest.explains.method if told.manifest else ""
    words = {"class_activation_map": "class-activation-map", "segmentation": "segmentation"}
    if method in words:
        one["method"] = concept(ours(words[method], language))
    if finding.threshold is not None and finding.above_threshold is not None:
        side = "above-threshold" if finding.above_threshold else "below-threshold"
        one["interpretation"] = [concept(ours(side, language))]
        one["component"] = [{"code": concept(ours("threshold", language)), "valueQuantity": quantity(finding.threshold, "1")}]
    return one


def _not_given(one: Json, language: Language, label: str, condition: str) -> Json:
    why = say(language, "{finding}: not given, since {condition} is below its threshold.", finding=label, condition=condition)
    one["text"] = narrative(language, paragraph(why))
    one["dataAbsentReason"] = concept(coding(f"{TERMINOLOGY}/data-absent-reason", "not-applicable", "Not Applicable"), why)
    return one


def _not_assessed(told: Told, subject: Json, study: Json, device: Json) -> Json:
    """Write that there is no result, with the reason as a code and in words."""
    language = told.device.language
    code = concept(ours("not-assessed", language)) if told.manifest is None else question_of(told.manifest, language)
    one = _observation(told, "not-assessed", subject, study, device, code)
    whys = _whys(told)
    reason = reason_of(_reason(told), language, "")["coding"]
    one["text"] = narrative(language, *(paragraph(why) for why in whys))
    absent = coding(f"{TERMINOLOGY}/data-absent-reason", "not-performed", "Not Performed")
    one["dataAbsentReason"] = {"coding": [absent, *reason], "text": whys[0]}
    one["note"] = [{"text": why} for why in whys[1:]] or [{"text": say(language, "That is no all-clear.")}]
    return one


def _reason(told: Told) -> str:
    if isinstance(told.result, NotAssessed):
        return told.result.reasons[0].reason if told.result.reasons else "unusable"
    return "" if isinstance(told.result, Prediction) else str(told.result.reason)


def _whys(told: Told) -> list[str]:
    """Say why nothing was assessed: the main reason first, then each model's, then what can be done."""
    language, result = told.device.language, told.result
    if isinstance(result, Prediction):
        return []
    if not isinstance(result, NotAssessed):
        advice = advice_text(result, language)
        return [f"{say(language, 'Not assessed.')} {reason_text(result, language)}", *([advice] if advice else [])]
    whys = [say(language, "Not assessed.")]
    for one in result.reasons:
        named = f"{one.title} ({one.model}): " if one.model else ""
        whys.append(named + message_in(one.message, one.reason, language))
    return whys


def _sentence(told: Told, finding: Finding) -> str:
    language = told.device.language
    label = in_words(language, finding.label, finding.label_fr)
    if finding.kind != "probability":
        return say(language, PAIR, name=label, value=f"{number(language, finding.value, 2)} {unit(language, finding.unit)}.")
    share = percent(language, finding.value, 0)
    if finding.above_threshold is None or finding.threshold is None:
        return say(language, PAIR, name=label, value=f"{share}.")
    side = marked("{finding}: {share}, above the threshold of {threshold}.") if finding.above_threshold else marked(
        "{finding}: {share}, below the threshold of {threshold}.")
    told_so = say(language, side, finding=label, share=share, threshold=percent(language, finding.threshold, 0))
    if finding.above_threshold or not isinstance(told.result, Prediction) or finding is not told.result.main:
        return told_so
    return told_so + " " + say(language, "That does not mean that the image is normal.")


def _title(told: Told) -> str:
    if told.manifest is None:
        return say(told.device.language, "Images that were not assessed")
    return in_words(told.device.language, told.manifest.title, told.manifest.title_fr)


def _name(told: Told, *kind: str) -> str:
    return id_of(*kind, case_key(told), told.model, told.revision)
