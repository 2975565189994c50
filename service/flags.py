"""Flags in words: what lowers trust in a score without forbidding it, said to a reader."""

from __future__ import annotations

from models.codes import DESCRIBED
from service.words import Language, marked, say

# Flag → sentence. A flag of one code has it after a colon: implausible_value:HR.
FLAGS = {
    "modality_not_stated": marked("The modality is not stated."),
    "body_part_not_stated": marked("The body part is not stated."),
    "view_not_stated": marked("The view is not stated."),
    "age_not_stated": marked("The age is not stated."),
    "burned_in_annotation": marked("Text is burned into the pixels."),
    "lossy_compression": marked("The image was compressed with loss."),
    "ct_without_rescale": marked("The CT states no Hounsfield scale."),
    "not_for_presentation": marked("The image was not made for reading (FOR PROCESSING)."),
    "other_moment_than_trained": marked("Scored at another moment than the model was made for."),
    "impossible_value_left_out": marked("An impossible value was left out: {code}."),
    "implausible_value": marked("An unusual value was used, worth a second look: {code}."),
}


def flag_text(flag: str, language: Language) -> str:
    """Say one flag; the word itself, readable, when it is not known here."""
    name, _, code = flag.partition(":")
    sentence = FLAGS.get(name)
    if sentence is None:
        return flag.replace("_", " ")
    label = DESCRIBED.get(code, {}).get("label")
    return say(language, sentence, code=str(label[language]) if label else code)
