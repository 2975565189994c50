"""Queries of QIDO-RS and WADO-RS over the rows: matching as PS3.4 C.2.2.2 has it, on both databases alike."""

from __future__ import annotations

import pytest

from service.store.cases import seal_due
from service.store.inbox import receive
from service.store.ledger import save_result
from service.store.query import find_instances, find_series, find_studies, get_instances
from service.store.store import Store
from tests.make_store import MR_STORAGE, ROOT_UID, image_of, object_of, slice_of


@pytest.fixture
def filled(store: Store) -> Store:
    """Three studies: a series of two slices and our result, a radiograph, and a slice without name or date."""
    receive(store, [slice_of(1, 1), slice_of(1, 2)], quiet_s=0)
    other = image_of(2, patient_name="ÉTIENNE^100%_A", patient_id="B_2", study_date="20251224", accession_number="a1")
    nameless = slice_of(1, 1, study=3, patient_name="", patient_id="", study_date="", accession_number="")
    receive(store, [other, nameless], quiet_s=0)
    seal_due(store)
    with store.session() as session:
        save_result(session, 1, model="m", status="scored", reason="", summary={}, objects=[object_of(1, 1)], targets=[],
                    priority=0)
    return store


MATCHES: list[tuple[dict[str, str], set[int]]] = [
    ({}, {1, 2, 3}),
    ({"PatientID": ""}, {1, 2, 3}),
    ({"PatientID": "CANARI-0001"}, {1}),
    ({"PatientID": "canari-0001"}, set()),
    ({"PatientID": "B?2"}, {2}),
    ({"PatientID": "B_*"}, {2}),
    ({"PatientID": "?_*"}, {2}),
    ({"PatientName": "canari*"}, {1}),
    ({"PatientName": "étienne^*"}, {2}),
    ({"PatientName": "*100%*"}, {2}),
    ({"PatientName": "*1%0*"}, set()),
    ({"AccessionNumber": "A1"}, {1}),
    ({"StudyDate": "20260301"}, {1}),
    ({"StudyDate": "20260101-"}, {1}),
    ({"StudyDate": "-20260101"}, {2}),
    ({"StudyDate": "20251224-20260301"}, {1, 2}),
    ({"ModalitiesInStudy": "SR"}, {1}),
    ({"ModalitiesInStudy": "DX"}, {2}),
    ({"ModalitiesInStudy": "MR", "PatientID": "CANARI-0001"}, {1}),
    ({"StudyInstanceUID": f"{ROOT_UID}.1,{ROOT_UID}.2"}, {1, 2}),
    ({"StudyInstanceUID": f"{ROOT_UID}.1\\{ROOT_UID}.3"}, {1, 3}),
    ({"StudyInstanceUID": "'; DROP TABLE studies; --"}, set()),
]


def test_studies_are_matched(filled: Store) -> None:
    found = [{int(study["0020000D"]["Value"][0].rpartition(".")[2]) for study in find_studies(filled, match)} for match, _ in MATCHES]
    assert MATCHES == [(match, numbers) for (match, _), numbers in zip(MATCHES, found, strict=True)]


def test_study_says_its_modalities_and_numbers(filled: Store) -> None:
    (study,) = find_studies(filled, {"PatientID": "CANARI-0001"})
    assert (["MR", "SR"], [2], [3]) == tuple(study[tag]["Value"] for tag in ("00080061", "00201206", "00201208"))


def test_series_and_instances_carry_the_attributes_above_them(filled: Store) -> None:
    (series,) = find_series(filled, {"StudyInstanceUID": f"{ROOT_UID}.1", "Modality": "MR"})
    tags = ("0020000D", "0020000E", "00201209")
    assert ([f"{ROOT_UID}.1"], [f"{ROOT_UID}.1.1"], [2]) == tuple(series[tag]["Value"] for tag in tags)
    found = find_instances(filled, {"SeriesInstanceUID": f"{ROOT_UID}.1.1", "SOPClassUID": MR_STORAGE})
    assert [[f"{ROOT_UID}.1.1.1"], [f"{ROOT_UID}.1.1.2"]] == [one["00080018"]["Value"] for one in found]
    assert [f"{ROOT_UID}.1"] == found[0]["0020000D"]["Value"]


def test_pages_follow_each_other_without_gap_or_repeat(filled: Store) -> None:
    pages = [find_studies(filled, limit=1, offset=offset) for offset in range(4)]
    assert [1, 1, 1, 0] == [len(page) for page in pages]
    assert find_studies(filled) == [page[0] for page in pages[:3]]


def test_replaced_content_is_not_found_any_more(filled: Store) -> None:
    receive(filled, [slice_of(1, 1, content="corrected")], quiet_s=0)
    (one,) = get_instances(filled, f"{ROOT_UID}.1", f"{ROOT_UID}.1.1", f"{ROOT_UID}.1.1.1")
    assert slice_of(1, 1, content="corrected").sha256 == one.sha256
    assert 2 == len(find_instances(filled, {"SeriesInstanceUID": f"{ROOT_UID}.1.1"}))


def test_study_whose_only_image_went_elsewhere_is_not_found(filled: Store) -> None:
    moved = slice_of(1, 1, study=4, sop_uid=slice_of(1, 1, study=3).sop_uid)
    assert ["replaced"] == receive(filled, [moved], quiet_s=0)
    assert [] == find_studies(filled, {"StudyInstanceUID": f"{ROOT_UID}.3"})


def test_unknown_key_is_an_error_of_the_caller(filled: Store) -> None:
    with pytest.raises(KeyError):
        find_studies(filled, {"PatientBirthDate": "19700101"})


def test_get_instances_gives_a_whole_study(filled: Store) -> None:
    assert [3, 0] == [len(get_instances(filled, f"{ROOT_UID}.{study}")) for study in (1, 99)]
