"""What the filters of the worklist offer: models on the shelf, their modalities, and departments, as far as one may see them."""

from __future__ import annotations

from dataclasses import dataclass

from service.access.caller import Caller
from service.ehr_house import House
from service.problem import ProblemError
from service.store import entries_page
from service.words import Language, in_words

Choice = tuple[str, str]  # what an address says, and what people read


@dataclass(frozen=True)
class Choices:
    """Pairs of value and words, by their words."""

    models: tuple[Choice, ...]
    modalities: tuple[Choice, ...]
    departments: tuple[Choice, ...]


def choices_of(house: House, caller: Caller, language: Language) -> Choices:
    """Return what there is to choose from."""
    try:
        manifests = [model.manifest for model in house.scoring.shelf.models.values()]
    except ProblemError:  # the models are still being opened: their names come later
        manifests = []
    allowed = [one for one in manifests if caller.may("worklist", model=one.id)]
    names = {one.name: in_words(language, one.title, one.title_fr) for one in allowed}
    stated = {value for one in allowed if one.accepts for value in one.accepts.modalities}
    places = entries_page.departments(house.store) if caller.departments is None else sorted(caller.departments)
    return Choices(
        tuple(sorted(names.items(), key=lambda pair: pair[1])), tuple((one, one) for one in sorted(stated)),
        tuple((one, one) for one in places),
    )

