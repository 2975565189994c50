"""Studies that were assessed before the page was switched on can be found and judged, and do not wait in the list."""

from __future__ import annotations

from pydicom.dataset import Dataset

from service.store import entries
from service.told_before import CatchUp
from tests.service.review.verdict.verdict_house import Place


def test_what_was_assessed_before_the_page_is_listed_once_among_what_is_done(place: Place, ill: Dataset) -> None:
    number, study, store = place.arrive(ill)[0], str(ill.StudyInstanceUID), place.house.store
    with store.session() as session:
        entries.erase(session, kind="study", targets=[study])
    assert not place.view(number).may
    catch_up = CatchUp(lambda: store, place.house.site)
    assert [1, 0] == [catch_up.run(), catch_up.run()]
    line = entries.by_target(store, "study", study)
    assert line is not None
    assert ("seen", False) == (line.state, line.open)
    assert 303 == place.give(number, "agree").status_code
