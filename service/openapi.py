"""The OpenAPI 3.1 document of /v1, generated from the classes that answer. Served at /v1/openapi.json."""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from models.manifest import Manifest
from service import answers
from service.department import DepartmentAnswer, DepartmentBody, DepartmentQuery
from service.images import ImagesQuery
from service.intake import ACCEPTED
from service.problem import MEDIA_TYPE, PROBLEMS, Problem
from service.records import RecordsQuery

JSON = "application/json"
FHIR = "application/fhir+json"
_ANSWERS: tuple[type[BaseModel], ...] = (
    answers.ImagesAnswer, answers.RecordAnswer, answers.ModelsAnswer, answers.ModelLine, DepartmentAnswer, DepartmentBody, Manifest,
    Problem,
)
_OBJECT = {"schema": {"type": "object"}}
_BINARY = {"schema": {"type": "string", "format": "binary"}}


def document() -> bytes:
    """Write the document as JSON."""
    _, schemas = models_json_schema([(one, "serialization") for one in _ANSWERS],
                                    ref_template="#/components/schemas/{model}")
    return json.dumps({
        "openapi": "3.1.0",
        "info": {
            "title": "Diaphane", "version": "1",
            "description": f"{answers.NOTICE['en']} A refusal is a result (200, status refused), never an error. "
                           f"Errors are {MEDIA_TYPE} (RFC 9457); `code` is one of: {', '.join(sorted(PROBLEMS))}, "
                           "or one that names what is wrong with the input. DICOMweb is at /dicom-web, where it is switched "
                           "on: `python -m service conformance` describes it.",
        },
        "paths": _paths(),
        "components": {
            "schemas": schemas["$defs"],
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer",
                                          "description": "Asked for when the service was given api_token."}},
        },
        "security": [{}, {"token": []}],
    }, ensure_ascii=False).encode()


def _paths() -> dict[str, Any]:
    text, html = ({"schema": {"type": "string"}} for _ in range(2))
    return {
        "/v1/images": {"post": {
            "summary": "Score images: one DICOM object, a zip or several parts; instances are grouped by series.",
            "parameters": _query(ImagesQuery),
            "requestBody": {"required": True, "content": dict.fromkeys(ACCEPTED, _BINARY)},
            "responses": _responses("ImagesAnswer", "What became of every series."),
        }},
        "/v1/records": {"post": {
            "summary": "Score one stay, sent as a FHIR R4 Bundle of Patient, Encounter and Observations.",
            "parameters": _query(RecordsQuery),
            "requestBody": {"required": True, "content": {FHIR: _OBJECT, JSON: _OBJECT}},
            "responses": _responses("RecordAnswer", "What every risk model says."),
        }},
        "/v1/department": {"post": {
            "summary": "Say how many of those present will need what: everyone as a FHIR R4 Bundle or as probabilities.",
            "parameters": _query(DepartmentQuery),
            "requestBody": {"required": True,
                            "content": {JSON: {"schema": {"$ref": "#/components/schemas/DepartmentBody"}}}},
            "responses": _responses("DepartmentAnswer", "The distributions, who could not be scored, and the trend."),
        }},
        "/v1/models": {"get": {"summary": "List the releases.",
                               "responses": _responses("ModelsAnswer", "The releases.")}},
        "/v1/models/{model}": _one("Describe one release.", _responses("ModelLine", "The release.")),
        "/v1/models/{model}/manifest": _one("Give manifest.json.", _responses("Manifest", "All a person must know.")),
        "/v1/models/{model}/card": _one("Give the model card.", {
            "200": {"description": "Markdown, or a page when text/html is accepted.",
                    "content": {"text/markdown": text, "text/html": html}}, "default": _problem()}),
        "/livez": {"get": {"summary": "The process lives.", "security": [{}],
                           "responses": {"200": {"description": "It does."}}}},
        "/readyz": {"get": {"summary": "Every release reproduced its golden inputs.", "security": [{}],
                            "responses": {"200": {"description": "Ready."}, "503": {"description": "Not ready."}}}},
        "/metrics": {"get": {"summary": "Counts, labelled by route template, in the Prometheus text format.",
                             "security": [{}],
                             "responses": {"200": {"description": "Counts.", "content": {"text/plain": text}}}}},
    }


def _one(summary: str, responses: dict[str, Any]) -> dict[str, Any]:
    name = {"name": "model", "in": "path", "required": True, "schema": {"type": "string"},
            "description": "An id (name-version), or a name for its active version."}
    return {"parameters": [name], "get": {"summary": summary, "responses": responses}}


def _query(kind: type[BaseModel]) -> list[dict[str, Any]]:
    schema = kind.model_json_schema(ref_template="#/components/schemas/{model}")
    return [
        {"name": name, "in": "query", "required": False, "description": field.pop("description", ""), "schema": field}
        for name, field in schema["properties"].items()
    ]


def _responses(schema: str, meaning: str) -> dict[str, Any]:
    content = {JSON: {"schema": {"$ref": f"#/components/schemas/{schema}"}}}
    return {"200": {"description": meaning, "content": content}, "default": _problem()}


def _problem() -> dict[str, Any]:
    return {"description": "A problem, with a code to act on.",
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}}
