"""The draft: a report in four sections from the results of a study. The same results give the same words.

A model's sentence says no more than its result: the finding, its calibrated probability and on which side of the threshold
it lies, or why there is none. What a professional corrected is said as they left it. Nothing is inferred; what was not
looked for is said not to have been.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from models.manifest import Manifest
from service.corrected import said_instead
from service.flags import flag_text
from service.refusals import advice_in, message_in, reason_in
from service.reporting.report import Section, Sentence, one_line
from service.reporting.study import TERMS, Acquisition, Study, StudyResult, term
from service.words import Language, in_words, likely, marked, number, percent, say, unit

Manifests = Mapping[str, Manifest]


def draft(study: Study, results: Sequence[StudyResult], language: Language, manifests: Manifests) -> tuple[Section, ...]:
    """Write the four sections of a report, in their order."""
    writer = _Writer(study, results, language, manifests)
    return (
        Section("indication", tuple(writer.indication())),
        Section("technique", tuple(writer.technique())),
        Section("results", tuple(writer.results())),
        Section("conclusion", tuple(writer.conclusion())),
    )


class _Writer:
    """The sentences of one report."""

    def __init__(self, study: Study, results: Sequence[StudyResult], language: Language, manifests: Manifests) -> None:
        self.study, self.all, self.language, self.manifests = study, results, language, manifests

    # What the images state ------------------------------------------------------------------------------------------

    def indication(self) -> list[Sentence]:
        """Repeat what was asked for; what is not there is said so, and left to the physician."""
        study, found = self.study, []
        if study.description:
            found.append(self._stated(
                marked("Examination requested: {words}"), "StudyDescription", words=_sentence(study.description)))
        if study.reason:
            found.append(self._stated(
                marked("Reason given: {words}"), "ReasonForTheRequestedProcedure", words=_sentence(study.reason)))
        else:
            found.append(self._stated(marked("No clinical indication came with the images."), "ReasonForTheRequestedProcedure"))
        if study.history:
            found.append(self._stated(
                marked("History given: {words}"), "AdditionalPatientHistory", words=_sentence(study.history)))
        return found

    def technique(self) -> list[Sentence]:
        """Describe each set of images by its header."""
        found = []
        for place, case in enumerate(self.study.cases, start=1):
            where = self._where(place)
            found.append(Sentence(where + self._made(case), "image", "Modality"))
            if case.modality in ("CT", "MR"):
                contrast = (say(self.language, "Contrast medium is stated.") if case.contrast
                            else say(self.language, "No contrast medium is stated."))
                found.append(Sentence(where + contrast, "image", "ContrastBolusAgent"))
        return found

    def _made(self, case: Acquisition) -> str:
        parts = [term("modalities", case.modality, self.language) or say(self.language, "Image")]
        if case.body_part:
            parts.append(term("body_parts", case.body_part, self.language))
        if case.side in TERMS["sides"]:
            parts.append(term("sides", case.side, self.language))
        if case.view:
            parts.append(term("views", case.view, self.language))
        if case.images == 1:
            parts.append(say(self.language, "one image"))
        elif case.spacing_mm:
            thick = number(self.language, case.spacing_mm, 1)
            parts.append(say(self.language, "{count} slices {thick} mm apart", count=case.images, thick=thick))
        else:
            parts.append(say(self.language, "{count} images", count=case.images))
        return ", ".join(filter(None, parts)) + "."

    # What the models say --------------------------------------------------------------------------------------------

    def results(self) -> list[Sentence]:
        """Give each result of each case, the scored ones first within a case."""
        found: list[Sentence] = []
        for one in sorted(self.all, key=lambda one: (one.case, one.status != "scored", one.id or 0)):
            where = self._where(one.case)
            if one.status == "scored":
                found += self._scored(one, where)
            elif one.status == "refused":
                found.append(self._refused(one, where))
            elif one.status == "pending":
                found.append(Sentence(where + say(self.language, "The analysis by AI is not finished."), "ai"))
            else:
                found += self._not_assessed(one, where)
        if not self.all:
            found.append(Sentence(say(self.language, "No image of this study was given to AI."), "ai"))
        looked_for = list(dict.fromkeys(
            _inside(self._label(finding))
            for one in self.all if one.status == "scored" for finding in one.summary.get("findings", [])
        ))
        if looked_for:
            found.append(Sentence(say(
                self.language, "AI looked for nothing else than: {findings}. The rest of the images is for the reader.",
                findings=", ".join(looked_for),
            ), "ai"))
        return found

    def _scored(self, one: StudyResult, where: str) -> list[Sentence]:
        findings = one.summary.get("findings", [])
        found = [self._instead(one, finding, where) or self._finding(one, finding, where) for finding in findings]
        given = {finding["name"] for finding in findings}
        manifest = self.manifests.get(one.model)
        for output in manifest.outputs if manifest else ():
            if output.name not in given:
                needed = next((other for other in manifest.outputs if other.name == output.shown_only_if), None) if manifest else None
                label = in_words(self.language, output.label, output.label_fr)
                if needed is None:
                    words = say(self.language, "{finding}: not given.", finding=label)
                else:
                    words = say(self.language, "{finding}: not given, for {first} does not reach its threshold.", finding=label,
                                first=_inside(in_words(self.language, needed.label, needed.label_fr)))
                found.append(self._said(one, where + words, output.name))
        mapped = {heatmap["finding"] for heatmap in one.summary.get("explanation", {}).get("heatmaps", [])}
        for finding in findings:
            if finding["name"] in mapped and self._instead(one, finding, where) is None:
                words = say(self.language, "The zone that weighed most for {finding} is shown on the AI picture; it does not outline "
                            "the lesion.", finding=_inside(self._label(finding)))
                found.append(self._said(one, where + words, finding["name"]))
        for flag in one.summary.get("flags", []):
            words = say(self.language, "Reservation: {remark}", remark=flag_text(str(flag), self.language))
            found.append(self._said(one, where + words, ""))
        return found

    def _instead(self, one: StudyResult, finding: Mapping[str, Any], where: str) -> Sentence | None:
        """Return what a professional said of a finding instead of AI; None where AI's word stands."""
        said = next((each for each in one.corrected if each.name == finding["name"]), None)
        words = said_instead(said, self._label(finding), self.language) if said is not None and said.contradicts else ""
        return Sentence(where + words, "person") if words else None

    def _finding(self, one: StudyResult, finding: dict[str, Any], where: str) -> Sentence:
        label, value, threshold = self._label(finding), float(finding["value"]), finding.get("threshold")
        if finding.get("kind") != "probability":
            amount = number(self.language, value, 2)
            words = say(self.language, "{finding}: {amount} {unit}, from an outline drawn by AI.", finding=label, amount=amount,
                        unit=unit(self.language, str(finding.get("unit", ""))))
            return self._said(one, where + words, finding["name"])
        digits = _digits(value, threshold)
        probability = likely(self.language, value, digits)
        limit = "" if threshold is None else percent(self.language, float(threshold), digits)
        if threshold is None:
            words = say(self.language, "{finding}: estimated probability {probability}.", finding=label, probability=probability)
        elif finding.get("above_threshold"):
            words = say(self.language, "{finding}: estimated probability {probability}, above the threshold of {threshold}.",
                        finding=label, probability=probability, threshold=limit)
        else:
            words = say(self.language, "{finding}: estimated probability {probability}, below the threshold of {threshold}; "
                        "this does not rule it out.", finding=label, probability=probability, threshold=limit)
        return self._said(one, where + words, finding["name"], certainty=value)

    def _refused(self, one: StudyResult, where: str) -> Sentence:
        reason = str(one.summary.get("reason", ""))
        why = message_in(str(one.summary.get("message", "")), reason, self.language)
        words = say(self.language, "Not assessed by {model}. {why} {advice}", model=self._title(one.model), why=why,
                    advice=advice_in(str(one.summary.get("advice", "")), reason, self.language))
        return self._said(one, (where + words).strip(), "")

    def _not_assessed(self, one: StudyResult, where: str) -> list[Sentence]:
        first = {
            "unfit": say(self.language, "No model takes these images."),
            "unusable": say(self.language, "These images could not be read."),
            "opposed": say(self.language, "These images are not assessed: an opposition stands."),
            "not_live": say(self.language, "These images are not assessed: no release that takes them is live here."),
        }.get(one.status, say(self.language, "The analysis by AI failed."))
        found = [self._said(one, where + first, "")]
        for reason in one.summary.get("reasons", []):
            word = str(reason.get("reason", ""))
            if one.status == "unfit":
                why = message_in(str(reason.get("message", "")), word, self.language)
                words = say(self.language, "{model}: {why}", model=self._title(str(reason.get("model", ""))), why=why)
            else:
                words = say(self.language, "Reason: {why}.", why=reason_in(word, self.language))
            found.append(self._said(one, where + words, ""))
        return found

    # The sum --------------------------------------------------------------------------------------------------------

    def conclusion(self) -> list[Sentence]:
        """Say what is above its threshold, what was measured, and what could not be assessed."""
        found: list[Sentence] = []
        below = False
        for one in self.all:
            where = self._where(one.case)
            findings = self._leading(one) if one.status == "scored" else []
            for finding in findings:
                label, value = self._label(finding), float(finding["value"])
                instead = self._instead(one, finding, where)
                if instead is not None:
                    found.append(instead)
                elif finding.get("kind") != "probability":
                    words = say(self.language, "{finding}: {amount} {unit}.", finding=label, amount=number(self.language, value, 2),
                                unit=unit(self.language, str(finding.get("unit", ""))))
                    found.append(self._said(one, where + words, finding["name"]))
                elif finding.get("above_threshold"):
                    words = say(self.language, "In favour of: {finding} (estimated probability {probability}).",
                                finding=_inside(label), probability=likely(self.language, value))
                    found.append(self._said(one, where + words, finding["name"], certainty=value))
                else:
                    below = True
        if not found and below:
            found.append(Sentence(say(self.language, "No finding that AI looked for reaches its threshold. This does not mean that "
                                      "the examination is normal."), "ai"))
        without = ("refused", "unfit", "unusable", "failed", "opposed", "not_live")
        unassessed = sorted({one.case for one in self.all if one.status in without}
                            - {one.case for one in self.all if one.status == "scored"})
        if unassessed and len(self.study.cases) > 1:
            cases = ", ".join(map(str, unassessed))
            found.append(Sentence(say(self.language, "AI could not assess these sets of images: {cases}.", cases=cases), "ai"))
        elif unassessed:
            found.append(Sentence(say(self.language, "AI could not assess this examination."), "ai"))
        if not self.all or any(one.status == "pending" for one in self.all):
            found.append(Sentence(say(self.language, "There is no complete result of AI for this examination yet."), "ai"))
        return found

    def _leading(self, one: StudyResult) -> list[dict[str, Any]]:
        """Return the findings that stand for themselves: one that only refines another belongs to the results."""
        manifest = self.manifests.get(one.model)
        refining = {output.name for output in manifest.outputs if output.shown_only_if} if manifest else set()
        return [finding for finding in one.summary.get("findings", []) if finding["name"] not in refining]

    # Parts ----------------------------------------------------------------------------------------------------------

    def _stated(self, sentence: str, attribute: str, **values: str) -> Sentence:
        return Sentence(say(self.language, sentence, **values), "image", attribute)

    def _said(self, one: StudyResult, words: str, finding: str, *, certainty: float | None = None) -> Sentence:
        source = f"{one.model}/{finding}" if finding else one.model
        return Sentence(words, "ai", source, one.id, certainty)

    def _where(self, case: int) -> str:
        """Name a set of images when the study has several."""
        return say(self.language, "Images {number}: ", number=case) if len(self.study.cases) > 1 else ""

    def _label(self, finding: Mapping[str, Any]) -> str:
        return in_words(self.language, str(finding["label"]), str(finding.get("label_fr", "")))

    def _title(self, model: str) -> str:
        manifest = self.manifests.get(model)
        return in_words(self.language, manifest.title, manifest.title_fr) + f" ({model})" if manifest else model


def _sentence(words: str) -> str:
    """Write free text of a header on one line, ended like a sentence."""
    line = one_line(words).rstrip(".")
    return line if line.endswith(("?", "!", "…")) else line + "."


def _digits(value: float, threshold: float | None) -> int:
    """Return how many decimals of a percentage tell a probability from its threshold: none, unless both round to the same."""
    if threshold is None:
        return 0
    return next((digits for digits in (0, 1, 2) if f"{100 * value:.{digits}f}" != f"{100 * threshold:.{digits}f}"), 0)


def _inside(label: str) -> str:
    """Write a label inside a sentence: with a small first letter, unless it is an abbreviation."""
    return label if label[:2].isupper() else label[:1].lower() + label[1:]
