"""Answer POST /v1/records: a FHIR R4 Bundle of one stay → Record → risk models → results with every contribution."""

from __future__ import annotations

import time
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from models.errors import UnusableInput
from models.model import Model
from models.prediction import Prediction, Refusal
from models.read_fhir import parse, read_bundle, record_of
from models.shelf import Shelf
from service import answers
from service.asked import Asked
from service.pipeline import AUTO, Outcome, Wanted, meant_for, named, run, worth_telling
from service.problem import ProblemError
from service.releases.barred import not_live, waiting_for_record
from service.scoring import Stop

ACCEPTED = ("application/fhir+json", "application/json")


class RecordsQuery(BaseModel):
    """The query of POST /v1/records."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    model: Annotated[str, Field(max_length=80, description="auto: every risk model; or an id or a name of "
                                                           "GET /v1/models.")] = "auto"
    moment: Annotated[AwareDatetime | None, Field(
        description="Look only at what was known at this moment (ISO 8601 with offset; write + as %2B). "
                    "Never more than the model's own hours from admission.")] = None
    picture: Annotated[Literal["none", "png"], Field(
        description="png: each result carries its explanation drawn.")] = "none"
    language: Annotated[answers.Language, Field(description="Language of labels, notes and pictures.")] = "en"


def answer_record(asked: Asked[RecordsQuery], shelf: Shelf, stop: Stop) -> bytes:
    """Do everything one request asks for; JSON of a RecordAnswer. Raises ProblemError or UnusableInput."""
    began, query = time.perf_counter(), asked.query
    if asked.content_type.partition(";")[0].strip().lower() not in ACCEPTED:
        raise ProblemError("unsupported_media_type", f"Send one of {', '.join(ACCEPTED)}.")
    if not asked.body:
        raise ProblemError("empty_body", "Send a FHIR R4 Bundle as the body.")
    models = shelf.for_record() if query.model == AUTO else [named(shelf, query.model)]
    if not models:
        if waiting_for_record(shelf):
            raise not_live()
        raise ProblemError("nothing_to_score", "No risk model is released here; GET /v1/models lists what is.")
    outcomes = worth_telling(_outcomes(parse(asked.body), models, shelf, query, stop))
    for outcome in outcomes:
        asked.metrics.count(outcome.model.id, outcome.result.status, outcome.reason, outcome.seconds)
    scored = any(isinstance(outcome.result, Prediction) for outcome in outcomes)
    answer = answers.RecordAnswer(
        request_id=asked.request_id, notice=answers.NOTICE[query.language], status="scored" if scored else "refused",
        results=[answers.result_answer(outcome, query.language, arrays=False) for outcome in outcomes],
        timings_ms={"total": round((time.perf_counter() - began) * 1000, 3)},
    )
    return answer.model_dump_json().encode()


def _outcomes(content: object, models: list[Model], shelf: Shelf, query: RecordsQuery, stop: Stop) -> list[Outcome]:
    """Score with each model what it looks at: the stay, or for one that follows people at home everything.

    Raises UnusableInput when none of the models can be given what it looks at.
    """
    outcomes: list[Outcome] = []
    unusable: UnusableInput | None = None
    for needs_stay in (True, False):
        asked = [model for model in models if model.manifest.needs_encounter is needs_stay]
        if not asked:
            continue
        try:
            record = record_of(content) if needs_stay else read_bundle(content, encounter=None, strict=True).record
        except UnusableInput as error:
            unusable = unusable or error
            continue
        for model in asked:
            if query.model == AUTO and len(asked) > 1 and not meant_for(model.manifest, record):
                continue
            stop.check()
            outcomes += run(record, shelf, Wanted(model=model.id, moment=query.moment, picture=query.picture == "png",
                                                  language=query.language))
    if unusable and (not outcomes or all(isinstance(one.result, Refusal) for one in outcomes)):
        raise unusable
    return outcomes
