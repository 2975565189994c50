"""The image page: what it shows to whom, what it writes down, and what it refuses."""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image as Picture
from pydicom.dataset import Dataset
from sqlalchemy import select

from service.access.policy import opens
from service.persons_keys import keys_of_dicom
from service.store import entries, rights
from service.store.review_tables import AuditLine
from tests.make import radiograph_dataset
from tests.service.review.image.conftest import radiograph
from tests.service.review.image.image_house import READER, Film

ELSEWHERE = replace(READER, departments=frozenset({"Cardiology"}), session="s2", grants=())
ENGINEER = replace(READER, roles=frozenset({"engineer"}), session="s3", grants=())


def data_of(text: str) -> dict[str, object]:
    found = re.search(r'<script type="application/json" id="viewer-data">(.*?)</script>', text, re.DOTALL)
    assert found
    told: dict[str, object] = json.loads(found[1])
    return told


def addresses(film: Film, key: str) -> list[str]:
    """Return every address of a study."""
    below = ("images.json", "images/1/1.png", "images/1/1.json", "layers/1/1.json", "layers/1/1/1.png")
    return [key, *(f"{key}/{one}" for one in below)]


def noted(film: Film, key: str) -> list[AuditLine]:
    with film.house.store.reading() as session:
        return list(session.scalars(select(AuditLine).where(AuditLine.item == key)))


def test_the_page_shows_the_study_and_what_was_said_of_it(film: Film) -> None:
    answer = film.get(_scored(film), accept="text/html")
    assert answer.status_code == 200
    for words in ("ESSAI CAMILLE", "3 years", "Pneumonia", "FILM-", "Must not be used for", "Be used on a patient.",
                  "It learnt nothing."):
        assert words in answer.text
    assert answer.headers["cache-control"] == "no-store"


def test_every_address_is_in_the_policy_and_needs_the_same_permission(film: Film) -> None:
    assert {opens("GET", route.path) for route in film.area.routes()} == {("study",)}


def test_who_has_another_department_finds_nothing_at_any_address(film: Film) -> None:
    key = _scored(film)
    for path in addresses(film, key):
        assert film.get(path).status_code == 200
        assert film.get(path, as_=ELSEWHERE).status_code == 404
        assert film.get(path, as_=ENGINEER).status_code == 403
    assert film.get(key, as_=ELSEWHERE).content == film.get("no-such-key", as_=ELSEWHERE).content
    assert {line.actor for line in noted(film, key)} == {READER.subject}


def test_what_a_caller_may_not_see_of_one_model_is_left_out(film: Film, ill: Dataset) -> None:
    key = film.arrive(ill, models=("tiny_chest-1.0.0", "tiny_other-1.0.0"))
    other = replace(READER, models=frozenset({"tiny_other"}), session="s4", grants=())
    assert "finding-row" in film.get(key, accept="text/html").text
    page = film.get(key, as_=other, accept="text/html")
    assert (page.status_code, "finding-row" in page.text) == (200, False)
    assert film.get(f"{key}/layers/1/1.json", as_=other).status_code == 404
    assert film.get(f"{key}/layers/1/1/1.png", as_=other).status_code == 404


def test_opening_the_page_is_written_down_once_with_the_person_and_marks_the_study_seen(film: Film, ill: Dataset) -> None:
    key = film.bring(ill)
    assert film.entry(key).state == "new"
    film.get(key, accept="text/html")
    for path in addresses(film, key)[1:]:
        film.get(path)
    (line,) = noted(film, key)
    assert (line.action, line.actor, line.outcome) == ("view", READER.subject, "success")
    assert line.persons["keys"] == list(keys_of_dicom(film.house.store, film.house.site, ill))
    assert film.entry(key).state == "seen"


def test_pictures_fetched_without_the_page_are_written_down_too(film: Film, ill: Dataset) -> None:
    key = film.bring(ill)
    for _ in range(3):
        film.get(f"{key}/images/1/1.png")
    assert [line.action for line in noted(film, key)] == ["view"]
    film.get(f"{key}/images/1/1.png", as_=replace(READER, session="another", subject="rpps:10999999992", grants=()))
    assert len(noted(film, key)) == 2


def test_a_decided_study_stays_decided_when_it_is_opened(film: Film, ill: Dataset) -> None:
    key = film.bring(ill)
    with film.house.store.session() as session:
        entries.set_state(session, kind="study", target=str(ill.StudyInstanceUID), state="validated")
    film.get(key, accept="text/html")
    assert film.entry(key).state == "validated"


def test_the_picture_is_the_window_that_is_asked_for_pixel_by_pixel(film: Film) -> None:
    pixels = np.linspace(0, 4095, 200 * 100).reshape(200, 100).astype(np.uint16)
    ill = radiograph()
    ill.Rows, ill.Columns, ill.BitsAllocated, ill.BitsStored, ill.HighBit, ill.PixelData = 200, 100, 16, 12, 11, pixels.tobytes()
    key = film.bring(ill)
    answer = film.get(f"{key}/images/1/1.png?size=0&window=1000,801")
    shown = np.asarray(Picture.open(io.BytesIO(answer.content)))
    expected = np.rint(np.clip((pixels - 999.5) / 800 + 0.5, 0, 1) * 255)
    np.testing.assert_array_equal(shown, expected)


def test_a_large_picture_comes_in_the_size_that_is_asked_for(film: Film) -> None:
    key = film.bring(radiograph(rows=1200, columns=600))
    sizes = {side: Picture.open(io.BytesIO(film.get(f"{key}/images/1/1.png?size={side}").content)).size for side in (256, 1024, 0)}
    assert sizes == {256: (128, 256), 1024: (512, 1024), 0: (600, 1200)}


def test_a_picture_is_kept_by_this_browser_alone_and_asked_for_again_by_its_tag(film: Film, ill: Dataset) -> None:
    key = film.bring(ill)
    answer = film.get(f"{key}/images/1/1.png")
    assert re.fullmatch(r"private, max-age=\d+, immutable", answer.headers["cache-control"])
    assert answer.headers["vary"] == "cookie"
    assert answer.headers["x-content-type-options"] == "nosniff"
    etag = answer.headers["etag"]
    again = film.get(f"{key}/images/1/1.png", **{"if-none-match": etag})
    assert (again.status_code, again.content) == (304, b"")
    assert film.get(f"{key}/images/1/1.png?size=256", **{"if-none-match": etag}).status_code == 200
    assert film.get(f"{key}/images/1/1.png", as_=ELSEWHERE, **{"if-none-match": etag}).status_code == 404


def test_no_identifier_stands_in_an_address_or_in_a_tag(film: Film, ill: Dataset) -> None:
    key = film.bring(ill)
    text = film.get(key, accept="text/html").text
    for address in re.findall(r'(?:src|href)="([^"]+)"', text):
        assert str(ill.StudyInstanceUID) not in address
        assert str(ill.PatientID) not in address
    tag = film.get(f"{key}/images/1/1.png").headers["etag"]
    with film.house.store.reading():
        assert film.area.pictures.study(str(ill.StudyInstanceUID))[0].geometry.slices[0].sha256[:12] not in tag


@pytest.mark.parametrize("path", [
    "images/1/2.png", "images/2/1.png", "images/0/1.png", "images/1/0.png", "images/1/-1.png", "images/1/1e3.png",
    "images/1/%D9%A1.png", "images/1/99999999999.png", "images/../1.png",
    "layers/1/9.json", "layers/1/1/9.png", "layers/1/1/0.png", "layers/x/1.json",
])
def test_what_is_not_there_answers_404(film: Film, path: str) -> None:
    assert film.get(f"{_shared(film)}/{path}").status_code == 404


@pytest.mark.parametrize("query", [
    "size=300", "size=-1", "size=0x10", "size=1e9", "window=1", "window=nan,1", "window=1,0", "window=1,1e308", "window=<b>,2",
    "other=1", "size=0&size=0", "window=1,2,linear&window=1,2", "callback=x",
])
def test_hostile_parameters_are_refused_without_being_repeated(film: Film, query: str) -> None:
    answer = film.get(f"{_shared(film)}/images/1/1.png?{query}")
    assert answer.status_code in (400, 404)
    assert "<b>" not in answer.text


def test_a_value_is_told_where_there_is_a_pixel(film: Film) -> None:
    key = _shared(film)
    told = film.get(f"{key}/images/1/1.json?x=10&y=20").json()
    assert told["value"] == pytest.approx(float(radiograph_of(film)[20, 10]))
    assert film.get(f"{key}/images/1/1.json?x=100000&y=2").status_code == 400
    assert film.get(f"{key}/images/1/1.json?x=-1&y=2").status_code == 404
    assert film.get(f"{key}/images/1/1.json?x=1").status_code == 404


def test_a_page_that_is_older_than_the_images_is_told_so(film: Film) -> None:
    assert film.get(f"{_shared(film)}/images/1/1.png?v=0123456789abcdef").status_code == 404


def test_layers_are_off_until_asked_unless_the_site_shows_them(film: Film) -> None:
    told = data_of(film.get(_scored(film), accept="text/html").text)
    assert told["hidden"] is True
    assert "outline" not in json.dumps(told)


def test_free_text_of_a_header_cannot_leave_the_script_element_or_become_markup(film: Film) -> None:
    bad = "</script><img src=x onerror=alert(1)>"
    ill = radiograph(StudyDescription=bad, PatientName=bad, WindowCenter=100, WindowWidth=200, WindowCenterWidthExplanation=bad,
                     AdditionalPatientHistory=bad)
    text = film.get(film.bring(ill), accept="text/html").text
    assert "<img src=x" not in text
    assert text.count("</script>") == text.count("<script")


def test_the_prior_of_the_same_person_is_offered_and_no_other(film: Film) -> None:
    person = {"PatientID": "FILM-PRIOR", "StudyDate": "20250101"}
    before = film.bring(radiograph(**person))
    other = film.bring(radiograph(**{**person, "IssuerOfPatientID": "AUTRE"}))
    hidden = film.bring(radiograph(**person), department="Cardiology")
    key = film.bring(radiograph(**{**person, "StudyDate": "20260101"}))
    near = replace(READER, departments=frozenset({"Radiology"}), session="s5", grants=())
    text = film.get(key, as_=near, accept="text/html").text
    assert before in text
    assert other not in text
    assert hidden not in text
    assert film.get(f"{before}/images.json").json()["day"] == "1 Jan 2025"


def test_a_study_without_a_result_is_shown_as_it_came(film: Film) -> None:
    odd = radiograph(Modality="MG")
    text = film.get(film.arrive(odd), accept="text/html").text
    assert "no model takes these images" in text
    assert "Read these images as if there were no AI." in text


def test_a_picture_that_cannot_be_decoded_is_said_not_to_be_shown(film: Film) -> None:
    broken = radiograph_dataset()
    head = radiograph()
    for name in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "PatientID"):
        setattr(broken, name, head[name].value)
    broken.file_meta.MediaStorageSOPInstanceUID = head.SOPInstanceUID
    broken.RescaleSlope, broken.RescaleIntercept = 0, 0
    key = film.bring(broken)
    answer = film.get(f"{key}/images/1/1.png")
    assert answer.status_code == 422
    assert film.get(key, accept="text/html").status_code == 200


def test_an_erased_study_answers_as_if_it_had_never_been(film: Film, ill: Dataset) -> None:
    key = film.bring(ill)
    film.get(key)
    with film.house.store.session() as session:
        entries.erase(session, kind="study", targets=[str(ill.StudyInstanceUID)])
    for path in addresses(film, key):
        assert film.get(path).status_code == 404


_SHARED: dict[int, tuple[str, np.ndarray]] = {}
_SCORED: dict[int, str] = {}


def _scored(film: Film) -> str:
    """Return the key of a study with a finding: scored once for all tests, for that takes longest."""
    if id(film) not in _SCORED:
        _SCORED[id(film)] = film.arrive(radiograph())
    return _SCORED[id(film)]


def _shared(film: Film) -> str:
    if id(film) not in _SHARED:
        ill = radiograph()
        _SHARED[id(film)] = (film.bring(ill), ill.pixel_array)
    return _SHARED[id(film)][0]


def radiograph_of(film: Film) -> np.ndarray:
    _shared(film)
    return _SHARED[id(film)][1]


def test_of_a_person_who_is_opposed_nothing_that_ai_said_is_shown_any_more(film: Film, ill: Dataset) -> None:
    key = film.arrive(ill)
    persons = keys_of_dicom(film.house.store, film.house.site, ill)
    with film.house.store.session() as session:
        rights.oppose(session, persons=persons, scope="scoring", by="test")
    text = film.get(key, accept="text/html").text
    assert "an opposition stands" in text
    assert "finding-row" not in text
    assert film.get(f"{key}/images/1/1.png").status_code == 200
    assert film.get(f"{key}/layers/1/1.json").status_code == 404
    assert film.get(f"{key}/layers/1/1/1.png").status_code == 404
