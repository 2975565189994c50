"""Refusals in French: all that a model can say when it declines is known, with its facts; flags are said in words."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

from models.prediction import Identity, Reason, Refusal
from service.flags import FLAGS, flag_text
from service.refusals import ADVICE, MESSAGES, _patterns, message_in, reason_in, reason_text, refusal_text
from service.words import unbroken
from tests.make import ROOT

IDENTITY = Identity("m", "1.0.0", "", "", "", "", "", "")
FACT = "12"


def _spoken() -> Iterator[tuple[str, str]]:
    """Yield message and advice of every Decline that models/ can make, with 12 for each fact."""
    for name in ("gate", "model"):
        for node in ast.walk(ast.parse((ROOT / f"models/{name}.py").read_text("utf-8"))):
            called = node.func if isinstance(node, ast.Call) else None
            called_name = called.id if isinstance(called, ast.Name) else called.attr if isinstance(called, ast.Attribute) else ""
            if isinstance(node, ast.Call) and called_name == "Decline" and len(node.args) == 3:
                yield _words(node.args[1]), _words(node.args[2])


def _words(node: ast.expr) -> str:
    if isinstance(node, ast.JoinedStr):
        return "".join(map(_words, node.values))
    if isinstance(node, ast.FormattedValue):  # _range(limits, "slices") says the unit too
        told = node.value.args if isinstance(node.value, ast.Call) else []
        unit = next((one.value for one in told if isinstance(one, ast.Constant) and isinstance(one.value, str)), "")
        return f"{FACT} {unit}".strip()
    if isinstance(node, ast.BinOp):
        return _words(node.left) + _words(node.right)
    assert isinstance(node, ast.Constant), ast.dump(node)
    return str(node.value)


def _known(words: str, sentences: tuple[str, ...]) -> bool:
    return any(pattern.fullmatch(words) for _, pattern in _patterns(sentences))


def test_every_sentence_a_model_declines_with_is_known_here() -> None:
    spoken = list(_spoken())
    assert len(spoken) >= 14
    assert [] == [words for words, _ in spoken if not _known(words, MESSAGES)]
    assert [] == [words for _, words in spoken if not _known(words, ADVICE)]


@pytest.mark.parametrize(("message", "expected"), [
    ("This model takes Modality CR, DX or DR, found MR.", "Ce modèle accepte Modality CR, DX ou DR ; valeur trouvée : MR."),
    ("This model takes ages from 0.5 to 10 years, found another.",
     "Ce modèle accepte un âge de 0,5 à 10 ans ; l'âge indiqué est autre."),
    ("This model takes of at least 8 slices, found 3.", "Ce modèle accepte une série d'au moins 8 coupes ; celle-ci en a 3."),
    ("Too few measurements: GCS, HR missing. This model cannot do without.",
     "Trop peu de mesures ; il manque : Score de Glasgow, Fréquence cardiaque. Ce modèle ne peut s'en passer."),
    ("The input must resemble what the model learnt from; unsure is 2.31 times its limit. "
     "The outline is unsure in most of its voxels.",
     "Les données doivent ressembler à celles sur lesquelles le modèle a appris ; unsure vaut 2,31 fois sa limite. "
     "Le tracé est incertain dans la plupart de ses voxels."),
])
def test_the_facts_are_said_again_in_french(message: str, expected: str) -> None:
    assert unbroken(expected) == message_in(message, "wrong_modality", "fr")


def test_codes_have_their_names_in_english_too() -> None:
    told = message_in("This model takes DangerZoneSigns up to 0 {count}, found another value.", "out_of_distribution", "en")
    assert told == "This model takes Vital signs in the danger zone (ESI) up to 0, found another value."
    assert message_in("HR must be from 0 to 350 /min, found a value outside.", "impossible_value", "en").startswith("Heart rate ")
    assert message_in("Something of its own.", "blank", "en") == "Something of its own."


def test_a_message_nobody_knows_gives_the_reason_and_the_models_own_words() -> None:
    refusal = Refusal(IDENTITY, Reason.BLANK, "Something new.", "Do this.")
    assert "Motif\u00a0: image vide. Message du modèle (en anglais)\u00a0: Something new." == reason_text(refusal, "fr")
    assert refusal_text(refusal, "fr").endswith("Vérifiez l'exposition et l'envoi des pixels.")
    assert "Something new. Do this." == refusal_text(refusal, "en")


@pytest.mark.parametrize("reason", list(Reason))
def test_every_reason_has_its_words(reason: Reason) -> None:
    assert "_" not in reason_in(str(reason), "fr")
    assert reason_in(str(reason), "fr") != reason_in(str(reason), "en")


def test_flags_are_said_in_words_with_the_name_of_the_code() -> None:
    assert "Une valeur impossible a été écartée\u00a0: Fréquence cardiaque." == flag_text("impossible_value_left_out:HR", "fr")
    assert "An unusual value was used, worth a second look: nonsense." == flag_text("implausible_value:nonsense", "en")
    assert "something new" == flag_text("something_new", "fr")
    assert all(flag_text(flag, "fr") != flag_text(flag, "en") for flag in FLAGS)
