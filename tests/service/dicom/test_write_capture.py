"""The capture is the picture a person sees, for viewers that show nothing else."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from models.explain import picture
from models.model import Model
from service.dicom.write import write
from tests.make import radiograph_dataset, radiograph_pixels, read_back, tiny_release
from tests.service.dicom.tell import told


@pytest.fixture(scope="module")
def chest(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return Model(tiny_release(tmp_path_factory.mktemp("chest"), "image_classification"))


@pytest.mark.parametrize("changes", [{}, {"Modality": "MG"}], ids=["scored", "refused"])
def test_the_capture_is_the_picture_of_the_result(chest: Model, changes: dict[str, str]) -> None:
    one = told(chest, [radiograph_dataset(radiograph_pixels(pneumonia=True), **changes)], writes=["capture"])
    made = read_back(write(one)[0].data)
    drawn = Image.open(io.BytesIO(picture.draw(one.result, one.volume, language="fr", dark=True))).convert("RGB")
    assert np.array_equal(np.asarray(drawn), made.pixel_array)


def test_the_capture_is_derived_and_shows_no_patient_data(chest: Model) -> None:
    one = told(chest, [radiograph_dataset()], writes=["capture"])
    made = read_back(write(one)[0].data)
    assert (["DERIVED", "SECONDARY", "OTHER"], "NO", "WSD", "OT") == (
        list(made.ImageType), made.BurnedInAnnotation, made.ConversionType, made.Modality
    )
    assert [one.sources[0].SOPInstanceUID] == [item.ReferencedSOPInstanceUID for item in made.SourceImageSequence]
