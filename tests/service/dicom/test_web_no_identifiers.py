"""Nothing that identifies is logged, counted or said in an error by /dicom-web, whatever was sent and asked for."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from service.dicom import performer, steps
from service.dicom.steps import value
from tests.make import dicom_bytes, mr_series, radiograph_dataset
from tests.service.dicom.test_ups import workitem
from tests.service.dicom.web_house import RELATED, opened, related
from tests.service.test_no_identifiers import TAGS, leaks

UIDS = {"StudyInstanceUID": "1.2.777001", "SeriesInstanceUID": "1.2.777002", "SOPInstanceUID": "1.2.777003"}
JSON = {"content-type": "application/dicom+json"}
WRONG = ("/CANARYPATH", "/1.2.777004", "/1.2.777004/metadata", "/1.2.777004/series/CANARYPATH", "?CANARYTEXT=CANARYID",
         "?StudyDate=CANARYTEXT", "?limit=CANARYID", "?includefield=CANARYTEXT", "?PatientID=CANARYI")
WRONG_OF_ONE = ("/frames/CANARYID", "/frames/9", "/rendered?window=CANARYTEXT", "/bulkdata/CANARYTEXT", "/rendered?CANARYTEXT=1")
CLIENTS = ("httpx", "httpcore", "httpx2", "httpcore2")  # what the client of this test says of its own requests is not ours
MARKS = ("777001", "777002", "777003", "777004")


def test_nothing_that_identifies_leaves_but_to_who_may_retrieve_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    good = dicom_bytes(radiograph_dataset(**TAGS, **UIDS))
    odd = good.replace(b"1.2.777003", b"1.2.77700X")
    bodies = [good, good[:-50], good[:300], odd, dicom_bytes(mr_series(**TAGS)[0]), b"CANARYTEXT"]
    address = "/dicom-web/studies/1.2.777001/series/1.2.777002/instances/1.2.777003"
    with opened(tmp_path) as web, caplog.at_level(logging.DEBUG):
        answers = [web.client.post("/dicom-web/studies/1.2.777004", content=related(bodies), headers=RELATED)]
        web.client.post("/dicom-web/studies", content=related(bodies), headers=RELATED)
        answers += [web.client.get(f"/dicom-web/studies{wrong}") for wrong in WRONG]
        answers += [web.client.get(f"{address}{wrong}") for wrong in WRONG_OF_ONE]
        for path in ("", "/metadata", "/frames/1", "/rendered", "/thumbnail"):
            assert 200 == web.client.get(f"{address}{path}").status_code
        named = workitem(t00100020=value("LO", "CANARYID"), t00404021=value("SQ", {"0020000D": value("UI", "1.2.777001")}))
        for step in (named, {**named, steps.STATE: value("CS", "CANARYTEXT")}, {**named, "CANARYTEXT": {}}):
            answers.append(web.client.post("/dicom-web/workitems?1.2.777004", json=step, headers=JSON))
        performer.step(web.store)
        counts = web.client.get("/metrics").text
    written = capfd.readouterr()
    records = "\n".join(record.getMessage() for record in caplog.records if record.name.split(".")[0] not in CLIENTS)
    said = [answer.text for answer in answers if answer.status_code >= 400]

    assert len(said) > 10
    assert [] == leaks(records + written.out + written.err + counts)
    assert [] == [mark for mark in MARKS if mark in records + written.out + written.err + counts]
    assert [] == [text for text in said[1:] if leaks(text) or any(mark in text for mark in MARKS)]
    assert [] == [str(path) for path in tmp_path.rglob("*") if any(mark in path.name for mark in (*MARKS, "CANARY"))]
