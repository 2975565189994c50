"""The images of the bench: whole DICOM files that every call gives new UIDs and nothing else."""

from __future__ import annotations

import pytest

from service.bench.images import INSTANCE, SERIES, STUDY, ct_image, radiographs, renamed, uid_of
from service.dicom.arrival import arrive_file


def test_renamed_images_are_accepted_and_differ_in_their_uids_alone() -> None:
    template = ct_image()
    first, second = (arrive_file(renamed(template, study=1, series=2, instance=n)) for n in (3, 4))
    assert (uid_of(STUDY, 1), uid_of(SERIES, 2), uid_of(INSTANCE, 3)) == (first.study_uid, first.series_uid, first.sop_uid)
    assert uid_of(INSTANCE, 4) == second.sop_uid
    assert len(first.data) == len(second.data)
    assert 2 >= sum(a != b for a, b in zip(first.data, second.data, strict=True)), "one digit, in the dataset and in the file meta"
    assert ("CT", "slices") == (first.modality, first.kind)


@pytest.mark.parametrize("side_px", [1, 1024])
def test_radiographs_are_enlarged_by_whole_pixels(side_px: int) -> None:
    files = radiographs(side_px)
    assert 5 == len(files)
    for file in files:
        arrived = arrive_file(renamed(file, study=1, series=1, instance=1))
        assert ("DX", "image") == (arrived.modality, arrived.kind)
        assert side_px <= arrived.instance_attributes["00280011"]["Value"][0] < max(2 * 528, side_px + 528)
