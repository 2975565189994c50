"""The routes: what each answers, in which language, and how errors look."""

from __future__ import annotations

import base64
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from models.model import Model
from models.prediction import Prediction
from models.read_dicom import read_dicom
from tests.make import (
    dicom_bytes,
    icu_bundle,
    mr_series,
    mr_voxels,
    radiograph_dataset,
    radiograph_pixels,
    tiny_release,
)
from tests.service.house import DICOM, FHIR, build

SICK = dicom_bytes(radiograph_dataset(radiograph_pixels(pneumonia=True)))


def images(client: TestClient, body: bytes, **query: str) -> dict[str, Any]:
    answer = client.post("/v1/images", content=body, headers=DICOM, params=query)
    assert 200 == answer.status_code, answer.text
    return dict(answer.json())


def test_a_radiograph_gets_the_same_score_as_in_the_core(client: TestClient, released: Path) -> None:
    expected = Model(released / "tiny_chest-1.0.0").predict(read_dicom([SICK]))
    assert isinstance(expected, Prediction)

    (series,) = images(client, SICK)["series"]

    assert "scored" == series["status"]
    (result,) = series["results"]
    assert ("tiny_chest", "1.0.0", "scored") == (result["model"], result["version"], result["status"])
    assert [finding.value for finding in expected.findings] == [one["value"] for one in result["findings"]]
    assert expected.identity.input_sha256 == result["identity"]["input_sha256"]


def test_the_map_in_the_answer_sums_to_the_logit(client: TestClient) -> None:
    (result,) = images(client, SICK, heatmap="array")["series"][0]["results"]

    bias = result["explanation"]["bias"]
    logits = {one["name"]: one["logit"] for one in result["findings"]}
    maps = {one["finding"]: np.mean(one["values"]) for one in result["explanation"]["heatmaps"]}
    assert maps
    for name, mean in maps.items():
        assert logits[name] == pytest.approx(bias[name] + mean, abs=1e-4 * (1 + abs(logits[name])))


def test_numbers_of_the_map_travel_only_when_asked_for(client: TestClient) -> None:
    (result,) = images(client, SICK)["series"][0]["results"]

    assert [None] == list({one["values"] for one in result["explanation"]["heatmaps"]})
    assert result["picture"] is None


def test_the_picture_is_a_png_when_asked_for(client: TestClient) -> None:
    (result,) = images(client, SICK, heatmap="png", language="fr")["series"][0]["results"]

    with Image.open(io.BytesIO(base64.b64decode(result["picture"]))) as picture:
        assert "PNG" == picture.format
        assert min(picture.size) > 100


def test_labels_come_in_the_language_asked_for(client: TestClient) -> None:
    english, french = (images(client, SICK, language=language) for language in ("en", "fr"))

    labels = [[one["label"] for one in answer["series"][0]["results"][0]["findings"]] for answer in (english, french)]
    assert labels[0] != labels[1]
    assert "Aide à la décision" in french["notice"]


def test_a_zip_of_slices_is_one_series_whose_mask_lies_on_the_slices_sent(client: TestClient) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for number, dataset in enumerate(mr_series()):
            archive.writestr(f"{number}.dcm", dicom_bytes(dataset))

    answer = client.post("/v1/images?heatmap=array", content=packed.getvalue(),
                         headers={"content-type": "application/zip"}).json()

    (series,) = answer["series"]
    assert (12, "MR", list(mr_voxels().shape)) == (series["files"], series["modality"], series["shape"])
    mask = series["results"][0]["explanation"]["mask"]
    labels = np.frombuffer(base64.b64decode(mask["data"]), np.uint8).reshape(mask["shape"])
    assert {200: 1, 120: 2, 40: 0} == {
        int(value): int(np.median(labels[mr_voxels() == value])) for value in (200, 120, 40)
    }


def test_two_series_in_one_request_each_get_their_model(client: TestClient) -> None:
    files = [("f", ("x", dicom_bytes(one), "application/dicom")) for one in (*mr_series(), radiograph_dataset())]

    answer = client.post("/v1/images", files=files).json()

    assert {("MR", "tiny_volume"), ("DX", "tiny_chest")} == {
        (series["modality"], series["results"][0]["model"]) for series in answer["series"]
    }


def test_a_damaged_file_does_not_stop_its_neighbours(client: TestClient) -> None:
    files = [("f", ("x", content, "application/dicom")) for content in (SICK, SICK[:2000])]

    answer = client.post("/v1/images", files=files).json()

    assert ["scored", "unusable"] == [series["status"] for series in answer["series"]]
    assert answer["series"][1]["problem"]["status"] in (400, 422)


def test_a_png_is_scored_and_flagged_for_what_it_does_not_state(client: TestClient) -> None:
    file = io.BytesIO()
    Image.fromarray(radiograph_pixels()).save(file, "PNG")

    answer = client.post("/v1/images", content=file.getvalue(), headers={"content-type": "image/png"}).json()

    (result,) = answer["series"][0]["results"]
    assert "tiny_chest" == result["model"]
    assert "modality_not_stated" in result["flags"]


def test_what_no_model_takes_is_refused_by_each_with_its_reason(client: TestClient) -> None:
    (series,) = images(client, dicom_bytes(radiograph_dataset(Modality="US")))["series"]

    assert "refused" == series["status"]
    assert {"tiny_chest": "wrong_modality", "tiny_volume": "wrong_modality"} == {
        result["model"]: result["reason"] for result in series["results"]
    }
    assert all(result["message"] and result["advice"] for result in series["results"])


def test_the_model_that_came_nearest_to_fitting_speaks_first(client: TestClient) -> None:
    (series,) = images(client, dicom_bytes(radiograph_dataset(BodyPartExamined="HAND")))["series"]

    assert ("tiny_chest", "wrong_body_part") == (series["results"][0]["model"], series["results"][0]["reason"])


def test_a_model_can_be_asked_for_by_id_and_by_name(client: TestClient) -> None:
    for name in ("tiny_chest", "tiny_chest-1.0.0"):
        assert "tiny_chest" == images(client, SICK, model=name)["series"][0]["results"][0]["model"]


@pytest.mark.parametrize(("query", "status", "code"), [
    ({"model": "none-9.9.9"}, 404, "unknown_model"), ({"model": "tiny_risk"}, 422, "wrong_model"),
    ({"heatmap": "jpeg"}, 400, "bad_query"), ({"heatmpa": "png"}, 400, "bad_query"),
    ({"language": "CANARY"}, 400, "bad_query"), ({"model": "x" * 90}, 400, "bad_query"),
])
def test_a_bad_query_is_told_by_code(client: TestClient, query: dict[str, str], status: int, code: str) -> None:
    answer = client.post("/v1/images", content=SICK, headers=DICOM, params=query)

    assert (status, code) == (answer.status_code, answer.json()["code"])
    assert "CANARY" not in answer.text


def test_a_query_parameter_given_twice_is_refused(client: TestClient) -> None:
    assert 400 == client.post("/v1/images?model=auto&model=auto", content=SICK, headers=DICOM).status_code


def test_a_stay_gets_its_risk_with_every_contribution(client: TestClient) -> None:
    answer = client.post("/v1/records", content=json.dumps(icu_bundle()), headers=FHIR).json()

    assert "scored" == answer["status"]
    (result,) = answer["results"]
    parts = result["explanation"]["contributions"]
    total = sum(part["logit"] for part in parts) + sum(result["explanation"]["bias"].values())
    assert result["findings"][0]["logit"] == pytest.approx(total, abs=1e-4)


def test_later_events_change_nothing_at_an_earlier_moment(client: TestClient) -> None:
    moment = "2026-03-01T20:00:00+00:00"
    answers = [
        client.post("/v1/records", params={"moment": moment}, content=json.dumps(icu_bundle(hours=hours)), headers=FHIR)
        for hours in (13, 48)
    ]

    risks = [answer.json()["results"][0]["findings"][0]["value"] for answer in answers]
    assert risks[0] == risks[1]


@pytest.mark.parametrize("moment", ["yesterday", "2026-03-01T20:00:00", ""])
def test_a_moment_without_a_zone_is_refused(client: TestClient, moment: str) -> None:
    answer = client.post("/v1/records", params={"moment": moment}, content=json.dumps(icu_bundle()), headers=FHIR)

    assert (400, "bad_query") == (answer.status_code, answer.json()["code"])


def test_too_few_measurements_is_a_refusal_not_an_error(client: TestClient) -> None:
    bundle = icu_bundle(gcs=None, creatinine_mg_dl=None, hours=0)

    answer = client.post("/v1/records", content=json.dumps(bundle), headers=FHIR)

    assert (200, "refused", "too_few_measurements") == (
        answer.status_code, answer.json()["status"], answer.json()["results"][0]["reason"])


def test_the_risk_picture_is_a_png_when_asked_for(client: TestClient) -> None:
    answer = client.post("/v1/records?picture=png", content=json.dumps(icu_bundle()), headers=FHIR).json()

    with Image.open(io.BytesIO(base64.b64decode(answer["results"][0]["picture"]))) as picture:
        assert "PNG" == picture.format


def test_models_are_listed_with_what_runs_them(client: TestClient) -> None:
    models = client.get("/v1/models").json()["models"]

    assert ["tiny_chest-1.0.0", "tiny_risk-1.0.0", "tiny_volume-1.0.0"] == [one["id"] for one in models]
    assert all(one["active"] and one["backend"].startswith("onnxruntime") for one in models)


def test_a_name_means_its_active_version(tmp_path: Path) -> None:
    tiny_release(tmp_path, "risk", version="1.0.0")
    tiny_release(tmp_path, "risk", version="1.10.0")
    house = build(tmp_path)

    assert {"1.0.0": False, "1.10.0": True} == {
        one["version"]: one["active"] for one in house.client.get("/v1/models").json()["models"]
    }
    assert "1.10.0" == house.client.get("/v1/models/tiny_risk/manifest").json()["version"]
    house.scoring.stop()


def test_the_card_is_markdown_for_programs_and_a_page_for_people(client: TestClient) -> None:
    text = client.get("/v1/models/tiny_chest/card")
    page = client.get("/v1/models/tiny_chest/card", headers={"accept": "text/html"})

    assert text.headers["content-type"].startswith("text/markdown")
    assert text.text.startswith("# ")
    assert "<h1>" in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]


def test_the_front_page_fetches_nothing_from_elsewhere(client: TestClient) -> None:
    page = client.get("/")

    assert 200 == page.status_code
    assert "tiny_chest-1.0.0" in page.text
    assert "<script" not in page.text
    assert "//" not in page.text.replace("http-equiv", "")


@pytest.mark.parametrize(("method", "path", "status", "code"), [
    ("GET", "/nope", 404, "not_found"), ("GET", "/v1", 404, "not_found"),
    ("POST", "/v1/models", 405, "method_not_allowed"), ("GET", "/v1/images", 405, "method_not_allowed"),
    ("DELETE", "/", 405, "method_not_allowed"),
    ("GET", "/v1/models/nope", 404, "unknown_model"), ("GET", "/docs.json", 404, "not_found"),
    ("GET", "/schema.json", 404, "not_found"), ("GET", "/v1/models/../../etc/passwd", 404, "not_found"),
])
def test_other_addresses_and_methods_are_problems(client: TestClient, method: str, path: str, status: int,
                                                  code: str) -> None:
    answer = client.request(method, path)

    assert (status, code) == (answer.status_code, answer.json()["code"])
    assert "application/problem+json" == answer.headers["content-type"]


def test_nothing_is_scored_before_the_releases_are_open(released: Path) -> None:
    house = build(released, ready=False)

    answer = house.client.post("/v1/images", content=SICK, headers=DICOM)

    assert (503, "not_ready", "2") == (answer.status_code, answer.json()["code"], answer.headers["retry-after"])
    assert not house.scoring.ready
    assert 200 == house.client.get("/").status_code


def test_a_release_whose_golden_inputs_do_not_reproduce_keeps_the_service_from_being_ready(tmp_path: Path) -> None:
    release = tiny_release(tmp_path, "risk")
    (release / "golden.npz").write_bytes(b"changed")
    house = build(tmp_path)

    assert not house.scoring.ready
    answer = house.client.get("/v1/models")
    assert (503, "not_ready") == (answer.status_code, answer.json()["code"])
    assert str(tmp_path) not in answer.text
