"""Answer POST /v1/images: body → files → series → models → results. What cannot be read does not stop the rest."""

from __future__ import annotations

import time
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from models.errors import UnusableInput
from models.read_dicom import group_instances, read_header
from models.read_image import read_raster
from models.shelf import Shelf
from service import answers
from service.asked import Asked
from service.intake import Kind, Part, take_apart
from service.pipeline import AUTO, Wanted, named, run
from service.problem import ProblemError, from_exception
from service.scoring import Stop


class ImagesQuery(BaseModel):
    """The query of POST /v1/images."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    model: Annotated[str, Field(max_length=80, description="auto: every model the series fits; or an id or a name "
                                                           "of GET /v1/models.")] = "auto"
    heatmap: Annotated[Literal["none", "png", "array"], Field(
        description="png: each result carries a picture with its heat map or contours; array: the numbers.")] = "none"
    language: Annotated[answers.Language, Field(description="Language of labels, notes and pictures.")] = "en"


def answer_images(asked: Asked[ImagesQuery], shelf: Shelf, stop: Stop) -> bytes:
    """Do everything one request asks for; JSON of an ImagesAnswer. Raises ProblemError when nothing could be read."""
    began, query = time.perf_counter(), asked.query
    if query.model != AUTO:
        named(shelf, query.model)
    parts = take_apart(asked.body, asked.content_type, asked.settings)
    series = []
    for kind, files in _cases(parts.files):
        stop.check()
        series.append(_answer(kind, files, shelf, asked))
    if len(series) == 1 and series[0].problem is not None:
        raise ProblemError(series[0].problem.code, series[0].problem.detail)
    answer = answers.ImagesAnswer(
        request_id=asked.request_id, notice=answers.NOTICE[query.language], series=series, ignored_files=parts.ignored,
        timings_ms={"total": round((time.perf_counter() - began) * 1000, 3)},
    )
    return answer.model_dump_json().encode()


def _cases(files: tuple[Part, ...]) -> list[tuple[Kind, list[bytes]]]:
    """Group files into cases: DICOM slices by series, every radiograph and picture alone."""
    series = _series([part.data for part in files if part.kind == "dicom"])
    return [*(("dicom", one) for one in series), *(("image", [part.data]) for part in files if part.kind == "image")]


def _series(files: list[bytes]) -> list[list[bytes]]:
    """Group DICOM files by series. One that cannot be read is a case of its own, and does not stop the others."""
    if len(files) < 2:
        return [files] if files else []
    try:
        return _grouped(files)
    except UnusableInput:
        readable, damaged = [], []
        for file in files:
            try:
                read_header(file)
                readable.append(file)
            except UnusableInput:
                damaged.append(file)
        return [*_grouped(readable), *([file] for file in damaged)]


def _grouped(files: list[bytes]) -> list[list[bytes]]:
    return [[file for file in group if isinstance(file, bytes)] for group in group_instances(files)]


def _answer(kind: Kind, files: list[bytes], shelf: Shelf, asked: Asked[ImagesQuery]) -> answers.SeriesAnswer:
    """Read one series and score it. What is wrong with it becomes its answer."""
    query, metrics = asked.query, asked.metrics
    wanted = Wanted(model=query.model, picture=query.heatmap == "png", language=query.language)
    try:
        volume = asked.reading.read(files) if kind == "dicom" else read_raster(files[0])
        outcomes = run(volume, shelf, wanted)
    except UnusableInput as error:
        return answers.unusable_answer(len(files), from_exception(error))
    for outcome in outcomes:
        metrics.count(outcome.model.id, outcome.result.status, outcome.reason, outcome.seconds)
    return answers.series_answer(volume, len(files), outcomes, query.language, arrays=query.heatmap == "array")
