"""Problems: stable codes with a status, and nothing in them that was not written to be read."""

from __future__ import annotations

import json
import re
from pathlib import Path

import models
from models.errors import BrokenModel, UnusableInput
from service.problem import MEDIA_TYPE, PROBLEMS, ProblemError, from_exception, problem_of, respond
from service.store.errors import StoreError


def test_every_code_of_the_models_room_is_the_senders_to_act_on() -> None:
    sources = (path.read_text(encoding="utf-8") for path in Path(models.__file__).parent.rglob("*.py"))
    codes = {code for source in sources for code in re.findall(r'code="(\w+)"', source)}

    assert len(codes) > 10
    assert {} == {code: status for code in codes if (status := problem_of(code, "").status) not in (400, 413, 415, 422)}


def test_an_unusable_input_keeps_its_code_and_message() -> None:
    problem = from_exception(UnusableInput("Slices must be a grid.", code="slices_not_a_grid"))

    assert (422, "slices_not_a_grid", "Slices must be a grid.") == (problem.status, problem.code, problem.detail)


def test_a_broken_model_is_ours_to_repair_and_its_path_stays_here() -> None:
    problem = from_exception(BrokenModel("/srv/secret/x-1.0.0: bad"))

    assert (503, "broken_model") == (problem.status, problem.code)
    assert "secret" not in problem.detail


def test_an_unexpected_exception_keeps_its_text_to_itself() -> None:
    problem = from_exception(ValueError("CANARY^NAME"))

    assert (500, "unexpected") == (problem.status, problem.code)
    assert "CANARY" not in problem.model_dump_json()


def test_the_response_is_problem_json_and_says_when_to_try_again() -> None:
    response = respond(ProblemError("busy", "Try again.").problem, retry_after_s=1)

    assert (503, MEDIA_TYPE, "1") == (response.status_code, response.media_type, response.headers["retry-after"])
    assert {"type", "title", "status", "detail", "code"} == set(json.loads(response.body))


def test_every_problem_is_an_error_status_with_a_title() -> None:
    assert [] == [code for code, (status, title) in PROBLEMS.items() if not (400 <= status <= 599 and title)]


def test_a_store_that_is_full_or_silent_is_told_apart_and_keeps_its_disk_to_itself() -> None:
    full, silent = (from_exception(StoreError("/srv/secret has 3 MiB", code=code)) for code in ("full", "unreachable"))

    assert [(507, "store_full"), (503, "store_unavailable")] == [(one.status, one.code) for one in (full, silent)]
    assert "secret" not in full.detail + silent.detail
