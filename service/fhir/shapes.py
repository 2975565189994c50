"""What an R4 resource or data type may hold, read from the metadata of fhir.resources and corrected to R4 by table.

fhir.resources has R4B (4.3.0); where that differs from R4 (4.0.1), or where it shortens a list of codes with "+",
`r4.json` says what R4 says. Classes are loaded when first asked for. https://hl7.org/fhir/R4/datatypes.html.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

_TABLE: Mapping[str, Any] = json.loads((Path(__file__).parent / "r4.json").read_text("utf-8"))
_CODES: Mapping[str, list[str]] = _TABLE["codes"]
_REFERENCES: Mapping[str, list[str]] = _TABLE["references"]
_UNBOUND, _ABSENT = frozenset(_TABLE["unbound"]), frozenset(_TABLE["absent"])
_NOT_ELEMENTS = frozenset({"resource_type", "fhir_comments"})
RESOURCE = "Resource"


@dataclass(frozen=True)
class Element:
    """One element: `kind` names a primitive (`dateTime`) or a data type (`Quantity`); "Resource" is any resource.

    `codes` are those of a required binding, `targets` the resource types a Reference may name; empty where open.
    `choice` is the stem of a choice of types (`value` of value[x]), "" where the element stands alone.
    """

    kind: str
    primitive: bool
    many: bool
    codes: frozenset[str]
    targets: frozenset[str]
    choice: str


@dataclass(frozen=True)
class Shape:
    """A resource or data type. `needed` are elements that must be there, `choices` stems of which one must be."""

    name: str
    elements: Mapping[str, Element]
    needed: tuple[str, ...]
    choices: tuple[str, ...]


def is_resource_type(name: str) -> bool:
    """Tell whether R4 has a resource of this name (and not only a data type). Only known names are remembered."""
    return name not in ("", RESOURCE, "DomainResource") and _path(name) is not None and _is_resource(name)


@cache
def shape_of(name: str) -> Shape:
    """Return the shape of one resource type, data type or backbone element. Raises KeyError for an unknown name."""
    model = _model(name)
    elements: dict[str, Element] = {}
    needed: list[str] = []
    choices: set[str] = set()
    for field_name, field in model.model_fields.items():
        alias = field.alias or field_name
        if field_name in _NOT_ELEMENTS or field_name.endswith("__ext") or f"{name}.{alias}" in _ABSENT:
            continue
        told = field.json_schema_extra or {}
        elements[alias] = _element(f"{name}.{alias}", field, told)
        if field.is_required() or told.get("element_required"):
            needed.append(alias)
        if told.get("one_of_many_required"):
            choices.add(told["one_of_many"])
    return Shape(name, elements, tuple(needed), tuple(sorted(choices)))


def load(kinds: Iterable[str]) -> None:
    """Load these types and all that they are made of, so that the first resource of a service takes no longer than others."""
    waiting, known = list(kinds), set[str]()
    while waiting:
        kind = waiting.pop()
        if kind not in known and kind != RESOURCE:
            known.add(kind)
            waiting += [element.kind for element in shape_of(kind).elements.values() if not element.primitive]


def _element(path: str, field: Any, told: Mapping[str, Any]) -> Element:
    kind, primitive, many = _kind(field)
    listed = _CODES.get(path) or ([] if path in _UNBOUND else told.get("enum_values") or [])
    targets = _REFERENCES.get(path) or told.get("enum_reference_types") or []
    return Element(
        kind, primitive, many,
        codes=frozenset(listed) if kind == "code" and "+" not in listed else frozenset(),
        targets=frozenset() if RESOURCE in targets or "Any" in targets else frozenset(targets),
        choice=told.get("one_of_many") or "",
    )


def _kind(field: Any) -> tuple[str, bool, bool]:
    """Return the name of a field's type, whether it is a primitive, and whether it repeats."""
    kind, marks, many = field.annotation, tuple(field.metadata), False
    while get_origin(kind) is not None:
        inner = [one for one in get_args(kind) if one is not type(None)]
        many = many or get_origin(kind) is list
        if get_origin(kind) is Annotated:
            marks = tuple(inner[1:])
        elif len(inner) > 1:  # Union of two forms of one primitive, such as the id of an extension's element
            marks = marks or tuple(mark for one in inner for mark in get_args(one)[1:])
            break
        kind = inner[0]
    if hasattr(kind, "get_model_klass"):
        return str(kind.get_model_klass().__name__), False, many
    names = [mark.__visit_name__ for mark in marks if hasattr(mark, "__visit_name__")]
    return (names[-1] if names else "boolean" if kind is bool else "uuid"), True, many


@cache
def _is_resource(name: str) -> bool:
    return bool(_model(name).has_resource_base())


def _model(name: str) -> Any:
    path = _path(name)
    if path is None:
        raise KeyError(name)
    module, _, symbol = path.rpartition(".")
    return getattr(import_module(module), symbol)


def _path(name: str) -> str | None:
    import_module("fhir.resources.R4B.fhirtypes")
    found = import_module("fhir_core.constraints").FHIR_TYPES_MAPS.get(f"R4.{name}Type")
    return found if isinstance(found, str) and ".R4B." in found else None
