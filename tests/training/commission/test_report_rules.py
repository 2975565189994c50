"""Reports by simple rules: negation, doubt, history and headings; and the figures of the rules are those that are told."""

from __future__ import annotations

import pytest

from models.errors import UnusableInput
from training.commission.report_rules import examples, measure, read_report


@pytest.mark.parametrize(("text", "label"), [
    ("Right lower lobe pneumonia.", 1),
    ("Pas de foyer. Pas d'épanchement pleural.", 0),
    ("No consolidation on the right; consolidation on the left.", 1),  # one statement outweighs a denial
    ("No effusion, but consolidation.", 1),  # a denial ends at "but"
    ("Une pneumopathie ne peut être exclue.", None),
    ("Indication : suspicion de pneumopathie. Résultat : poumons clairs.", 0),
    ("Indication: cough. Findings: right middle lobe consolidation.", 1),
    ("Antécédent de pneumopathie.", 0),
    ("No change in the right lower lobe consolidation.", 1),  # denies the change
    ("", None),
    ("Pneumonia cannot be ruled out.", None),  # neither a denial nor a statement
    ("On ne peut formellement exclure un foyer.", None),
    ("Pneumopathie ?", None),
    ("?pneumonia", None),
    ("Pneumopathie ? Non : pas de foyer.", None),
    ("Nettoyage complet du foyer.", 0),
    ("Neither consolidation nor effusion.", 0),
])
def test_sentences_are_read_as_they_are_meant(text: str, label: int | None) -> None:
    assert read_report(text, "pneumonia") is label if label is None else read_report(text, "pneumonia") == label


def test_the_rules_do_on_the_written_sentences_as_well_as_the_report_says() -> None:
    """Some are wrong (words that are not in the table, a denial far behind, "or"): these are the honest figures."""
    found = measure(examples())
    assert len(examples()) == 137
    assert found.sensitivity == pytest.approx(43 / 51)
    assert found.specificity == pytest.approx(54 / 57)
    assert (found.open_positive, found.open_negative, found.decided_unknown) == (0, 1, 1)


def test_a_finding_without_words_is_refused() -> None:
    with pytest.raises(UnusableInput, match="Add its words"):
        read_report("x", "scoliosis")
