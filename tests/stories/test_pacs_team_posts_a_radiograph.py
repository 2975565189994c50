"""As the PACS team I post a child's chest radiograph and get a score, the reason for it, and a picture I can show."""

from __future__ import annotations

import base64
import io

import pytest
from PIL import Image
from starlette.testclient import TestClient

from tests.make import dicom_bytes, radiograph_dataset, radiograph_pixels


def test_pacs_team_posts_a_radiograph(client: TestClient) -> None:
    radiograph = dicom_bytes(radiograph_dataset(radiograph_pixels(pneumonia=True)))

    answer = client.post("/v1/images?heatmap=png&language=fr", content=radiograph,
                         headers={"content-type": "application/dicom"})

    assert 200 == answer.status_code
    assert answer.json()["notice"].startswith("Aide à la décision")
    (series,) = answer.json()["series"]
    (result,) = series["results"]
    pneumonia = result["findings"][0]
    assert ("scored", "pneumonia", True) == (result["status"], pneumonia["name"], pneumonia["above_threshold"])
    assert result["explanation"]["completeness_error"] <= result["explanation"]["completeness_tolerance"]
    with Image.open(io.BytesIO(base64.b64decode(result["picture"]))) as picture:
        assert picture.width > 300
    row, column = result["explanation"]["heatmaps"][0]["peak"]
    assert (row, column) == (pytest.approx(0.6, abs=0.1), pytest.approx(0.3, abs=0.1))  # where the patch was drawn


def test_what_made_the_score_can_be_read_back_from_the_same_address(client: TestClient) -> None:
    radiograph = dicom_bytes(radiograph_dataset())
    posted = client.post("/v1/images", content=radiograph, headers={"content-type": "application/dicom"}).json()
    (result,) = posted["series"][0]["results"]

    manifest = client.get(f"/v1/models/{result['model']}-{result['version']}/manifest").json()

    assert manifest["files"]["model.onnx"] == result["identity"]["onnx_sha256"]
    assert manifest["intended_use"]["must_not"]
