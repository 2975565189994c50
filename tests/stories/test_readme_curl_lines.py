"""As somebody who was handed the README I paste its curl lines of "Connect your EHR", and every one of them answers as it says."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from models.shelf import RELEASED
from tests.make import ROOT, needs_peer
from tests.service.test_serve import started

README = (ROOT / "README.md").read_text(encoding="utf-8")
SECTION = README.partition("\n## Connect your EHR\n")[2].partition("\n## ")[0]
LINES = re.findall(r"^    (curl .+)$", SECTION, flags=re.MULTILINE)
PRINTED_AT = "localhost:3000"
ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")

pytestmark = needs_peer("curl")


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A service with the EHR side and the releases, as ``DIAPHANE_EHR=true make serve`` starts it."""
    folder = tmp_path_factory.mktemp("served")
    with started(RELEASED, folder / "log", DIAPHANE_EHR="true", DIAPHANE_STORE=str(folder / "store")) as (_, address):
        yield address.removeprefix("http://")


def pasted(line: str, service: str, home: Path) -> Any:
    """Run a line as it is printed, but for host and port; curl's own settings make it fail where a status says error."""
    assert PRINTED_AT in line
    (home / ".curlrc").write_text("fail-with-body\n")
    done = subprocess.run(
        ["bash", "-c", line.replace(PRINTED_AT, service)], cwd=ROOT, env={**os.environ, "CURL_HOME": str(home)}, timeout=120,
        capture_output=True, text=True, check=False,
    )
    assert 0 == done.returncode, done.stdout + done.stderr
    return json.loads(done.stdout)


def resources(answer: Any) -> list[str]:
    """Return the types of the resources of a FHIR answer."""
    return [entry["resource"]["resourceType"] for entry in answer["entry"]]


def test_the_section_has_lines_to_paste() -> None:
    assert len(LINES) >= 8
    assert "DIAPHANE_EHR=true make serve" in SECTION


@pytest.mark.parametrize("line", LINES)
def test_the_line_answers(line: str, service: str, tmp_path: Path) -> None:
    answer = pasted(line, service, tmp_path)
    if "/fhir/metadata" in line:
        assert "CapabilityStatement" == answer["resourceType"]
    elif "$predict" in line:
        assert {"RiskAssessment", "Observation", "GuidanceResponse"} & set(resources(answer))
    elif "/cds-services/" in line:
        assert answer["cards"]
    elif "/cds-services" in line:
        assert {"patient-view", "order-sign"} <= {one["hook"] for one in answer["services"]}
    else:
        assert answer["scored"]
        assert answer["outlooks"]


def test_the_line_that_is_said_to_be_refused_is_the_one_that_is(service: str, tmp_path: Path) -> None:
    told = re.search(rf"The ({'|'.join(ORDINALS)}) of these is refused: the body weight is missing", SECTION)
    assert told is not None
    answers = [pasted(line, service, tmp_path) for line in LINES if "$predict" in line]
    refused = [line for line, answer in zip((one for one in LINES if "$predict" in one), answers, strict=True)
               if "GuidanceResponse" in resources(answer)]
    assert [LINES[ORDINALS.index(told[1])]] == refused


def test_a_ward_that_asks_in_french_reads_french(service: str, tmp_path: Path) -> None:
    [line] = [one for one in LINES if "accept-language: fr" in one]
    assert "Décès à l'hôpital" in pasted(line, service, tmp_path)["cards"][0]["summary"]
