"""Refusals in the reader's language: why a model declined and what to do, with the facts it found.

Models word their refusals in English, from few sentences with places for facts. A sentence that is known here is said
again in the reader's language with the same facts; of any other the reason is said, and the model's own words follow.
"""

from __future__ import annotations

import re
from functools import cache

from models.codes import DESCRIBED
from models.explain.picture import WORDS as PICTURE_WORDS
from models.prediction import Refusal
from service.releases.barred import ADVICE as ASK_FOR_LIVE
from service.releases.barred import MESSAGE as NOT_LIVE
from service.words import Language, listed, marked, number, of_release, say, unit

_PLACE = re.compile(r"\{(\w+)\}")
_NUMBER = re.compile(r"[0-9]+\.[0-9]+")
_PERCENT = re.compile(r"(?<=[0-9])%")  # French puts a blank before it

# What models/gate.py and models/model.py say; a test holds both to each other. A place takes what stands there in English.
MESSAGES = (
    marked("This model takes {attribute} {allowed}, found {found}."),
    marked("This model takes ages {range}, found another."),
    marked("This model takes {range} slices, found {found}."),
    marked("This model takes voxel spacings {range}, found {found} mm (z, y, x)."),
    marked("This model takes a field of view {range} on every axis, found {found} mm (z, y, x)."),
    marked("Volumes in mL need a stated voxel spacing, found none."),
    marked("This model needs {rows} x {columns} pixels, found {found_rows} x {found_columns}."),
    marked("The image must vary by {limit} grey levels, found {found}."),
    marked("At most {limit} of pixels may lie at the ends of the range, found {found}."),
    marked("Too few measurements: {codes} missing. This model cannot do without."),
    marked("Too few measurements: {code} needs {count} values in the last {minutes} min, found {found}."),
    marked("The latest {code} may be {minutes} min old, found an older one."),
    marked("This model needs {needed} of {count} core measurements, found {found}."),
    marked("This model takes {code} {range}, found another value."),
    marked("{code} must be {range}, found a value outside."),
    marked("This model takes patient records, found an image."),
    marked("This model takes images, found a patient record."),
    marked("The input must resemble what the model learnt from; {score} is {times} times its limit. {meaning}"),
    marked("The parts must sum to the score within {limit} (relative to 1 + |score|), found {found}."),
)
ADVICE = (
    marked("Send it to a model made for it; correct the header if it is wrong."),
    marked("Do not use this model for this person: it was never shown anyone of this age."),
    marked("Send one whole series of the kind the model was made for."),
    marked("Send the DICOM series or a NIfTI file, which state it."),
    marked("Send another reconstruction."),
    marked("Crop the volume as the model card describes."),
    marked("Send the original image, not a thumbnail."),
    marked("Check the exposure and that the pixels were sent."),
    marked("Send the image with its full range of grey levels, or check the exposure and the window."),
    marked("Send them, or score again when they are known."),
    marked("Score again when the sensor has sent more."),
    marked("Score again when a new value has come in."),
    marked("Not found: {codes}. Score again when more are known."),
    marked("Do not use this model here: it learnt from nobody with such a value. Judge by the value itself."),
    marked("Send the image to an imaging model."),
    marked("Send the record to a risk model."),
    marked("Correct the value or its unit at the source, then score again."),
    marked("Check orientation, inversion and content; if they are right, this model is not made for this input."),
    marked("Do not use this score. Tell the people who run Diaphane: this machine or precision computes wrongly."),
)
# English words among the facts themselves, as models/gate.py joins ranges and lists
_JOINTS = (
    ("another", "une autre valeur"), ("an unreadable one", "une valeur illisible"),
    ("of at least", "d'au moins"), ("up to", "jusqu'à"), ("from", "de"), (" to ", " à "), (" or ", " ou "), ("of ", "de "),
    ("years", "ans"),
)
# Why images could not be read: codes of models.errors.UnusableInput
UNREADABLE = {
    "bad_geometry": marked("the position of the slices is not stated as DICOM asks"),
    "bad_lut": marked("a table of grey levels is damaged"),
    "bad_pixel_description": marked("the description of the pixels contradicts itself"),
    "damaged_dicom": marked("the DICOM file is damaged"),
    "duplicate_positions": marked("two slices lie at the same place"),
    "executable_preamble": marked("the file begins like a program"),
    "gantry_tilt": marked("the slices are tilted (gantry tilt)"),
    "missing_slices": marked("slices are missing"),
    "no_pixels": marked("there are no pixels"),
    "not_live": marked("no release that takes it is live here"),
    "no_transfer_syntax": marked("the transfer syntax is not stated"),
    "not_dicom": marked("this is not a DICOM object"),
    "not_finite": marked("a value is not a finite number"),
    "slices_not_a_grid": marked("the slices are not parallel and evenly spaced"),
    "technical_failure": marked("a technical failure"),
    "too_deep": marked("the file is nested too deeply"),
    "too_large": marked("the file is too large"),
    "too_many_elements": marked("the file holds too many elements"),
    "too_many_pixels": marked("the image has too many pixels"),
    "truncated": marked("the file is cut short"),
    "undecodable_pixels": marked("the pixels cannot be decoded"),
    "unknown_transfer_syntax": marked("the transfer syntax is not one that is read here"),
    "value_too_long": marked("a value is too long"),
}


def refusal_text(refusal: Refusal, language: Language) -> str:
    """Say why a model declined and what to do: one or two sentences."""
    return " ".join(filter(None, (reason_text(refusal, language), advice_text(refusal, language))))


def reason_text(refusal: Refusal, language: Language) -> str:
    """Say why a model declined: the rule and what was found."""
    return message_in(refusal.message, str(refusal.reason), language)


def advice_text(refusal: Refusal, language: Language) -> str:
    """Say what can be done about a refusal; "" where nothing is known in ``language``."""
    return advice_in(refusal.advice, str(refusal.reason), language)


def message_in(message: str, reason: str, language: Language) -> str:
    """Say the message of a refusal. ``reason`` is the word for programs; it stands in where the sentence is not known."""
    said = _said_again(message, (*MESSAGES, NOT_LIVE), language)
    if said is not None:
        return said
    if language == "en":
        return message
    why = say(language, "Reason: {why}.", why=reason_in(reason, language))
    return why + (" " + say(language, "In the model's own words: {words}", words=message) if message else "")


def advice_in(advice: str, reason: str, language: Language) -> str:
    """Say the advice of a refusal."""
    if language == "en":
        return advice
    said = _said_again(advice, (*ADVICE, ASK_FOR_LIVE), language)
    return str(PICTURE_WORDS["what_to_do"].get(reason, {}).get(language, "")) if said is None else said


def reason_in(reason: str, language: Language) -> str:
    """Say the reason word itself: "too few measurements"; or why images could not be read."""
    known = PICTURE_WORDS["reasons"].get(reason)
    if known:
        return str(known[language])
    return say(language, UNREADABLE[reason]) if reason in UNREADABLE else reason.replace("_", " ")


def named(code: str, language: Language) -> str:
    """Return what people call one of our codes; the code itself when the tables do not know it."""
    label = DESCRIBED.get(code, {}).get("label")
    return str(label[language]) if label else code


def _said_again(message: str, sentences: tuple[str, ...], language: Language) -> str | None:
    for sentence, pattern in _patterns(sentences):
        found = pattern.fullmatch(message)
        if found:
            return say(language, sentence, **{place: _fact(place, value, language) for place, value in found.groupdict().items()})
    return None


@cache
def _patterns(sentences: tuple[str, ...]) -> list[tuple[str, re.Pattern[str]]]:
    made = []
    for sentence in sentences:
        pieces = _PLACE.split(sentence)
        pattern = "".join(f"(?P<{piece}>.+?)" if place % 2 else re.escape(piece) for place, piece in enumerate(pieces))
        made.append((sentence, re.compile(pattern, re.DOTALL)))
    # The sentence with most words of its own is tried first: "takes {range}" would take "takes ages {range}" for its own.
    return sorted(made, key=lambda one: -len(_PLACE.sub("", one[0])))


def _fact(place: str, value: str, language: Language) -> str:
    """Say a fact: codes by their names, units as people write them, numbers with a comma."""
    if place in ("code", "codes"):
        return ", ".join(named(one, language) for one in value.split(", "))
    if place == "meaning":
        return of_release(language, value)
    if place in ("attribute", "score") or (language == "en" and place != "range"):
        return value
    if place == "allowed":
        return listed(language, re.split(r", | or ", value))
    if place == "range":  # "from 10 to 300 mm[Hg]"
        limits, _, ucum = value.rpartition(" ")
        value = f"{limits} {unit(language, ucum)}".strip() if limits else value
    if language == "en":
        return value
    for english, french in _JOINTS:
        value = value.replace(english, french)
    said = _NUMBER.sub(lambda found: number(language, float(found[0]), len(found[0].partition(".")[2])), value)
    return _PERCENT.sub("\u00a0%", said)
