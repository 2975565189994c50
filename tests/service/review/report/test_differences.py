"""What changed between two versions is shown word by word where a sentence was changed, and whole where it came or went."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from service.reporting.report import Section, Sentence
from service.review.report.differences import Piece, differences


def sections(*sentences: str) -> tuple[Section, ...]:
    return (Section("results", tuple(Sentence(one, "person") for one in sentences)),)


def results(before: Sequence[str], after: Sequence[str]) -> tuple[tuple[Piece, ...], ...]:
    return next(one for one in differences(sections(*before), sections(*after)) if one.name == "results").sentences


def test_a_changed_word_is_shown_within_its_sentence() -> None:
    [pieces] = results(["Opacity of the right lower lobe."], ["Opacity of the left lower lobe."])
    assert [("same", "Opacity of the "), ("removed", "right"), ("added", "left"), ("same", " lower lobe.")] == [
        (one.kind, one.text) for one in pieces]


def test_another_sentence_is_shown_as_one_that_went_and_one_that_came() -> None:
    assert (("removed", "No effusion."), ("added", "Cardiomegaly, to be followed up.")) == tuple(
        (one.kind, one.text) for (one,) in results(["No effusion."], ["Cardiomegaly, to be followed up."]))


def test_the_same_words_are_no_change() -> None:
    assert not any(one.changed for one in differences(sections("A.", "B."), sections("A.", "B.")))


WORDS = st.lists(st.text("ab. ", min_size=1, max_size=12).filter(lambda text: text == text.strip()), max_size=5)


@given(WORDS, WORDS)
def test_without_what_went_the_new_text_is_left_and_without_what_came_the_old(before: list[str], after: list[str]) -> None:
    def left(without: str) -> list[str]:
        whole = ["".join(one.text for one in pieces if one.kind != without) for pieces in results(before, after)]
        return [one for one in whole if one]

    assert [one for one in after if one] == left("removed")
    assert sorted(one for one in before if one) == sorted(left("added"))
