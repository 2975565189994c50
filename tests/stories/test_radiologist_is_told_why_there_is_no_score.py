"""As a radiologist I am told, in words, why an image was not scored and what I can do; that is no error."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from tests.make import dicom_bytes, radiograph_dataset

BLANK = np.full((256, 256), 120, np.uint8)
TINY = np.tile(np.arange(16, dtype=np.uint8) * 16, (16, 1))


@pytest.mark.parametrize(("reason", "changes", "pixels"), [
    ("wrong_modality", {"Modality": "US"}, None),
    ("wrong_body_part", {"BodyPartExamined": "HAND"}, None),
    ("wrong_view", {"ViewPosition": "LL"}, None),
    ("wrong_age", {"PatientAge": "045Y"}, None),
    ("too_small", {}, TINY),
    ("blank", {}, BLANK),
])
def test_a_radiologist_is_told_why_there_is_no_score(client: TestClient, reason: str, changes: dict[str, Any],
                                                     pixels: Any) -> None:
    answer = client.post("/v1/images?model=tiny_chest", content=dicom_bytes(radiograph_dataset(pixels, **changes)),
                         headers={"content-type": "application/dicom"})

    assert 200 == answer.status_code
    (series,) = answer.json()["series"]
    (result,) = series["results"]
    assert ("refused", reason) == (result["status"], result["reason"])
    assert result["message"].endswith(".")
    assert result["advice"].endswith(".")
    assert "findings" not in result
