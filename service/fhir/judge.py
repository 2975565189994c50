"""Judge R4 resources, incoming or outgoing: structure, JSON types, bindings, references, invariants, FR Core.

Structure comes from the metadata of fhir.resources (`shapes.py`), so that a fault names its element exactly; rules
across elements are in `rules.py` and `fr_core.py`. Not judged: other profiles, codes of open value sets, slicing.
Messages never repeat what was found. https://hl7.org/fhir/R4/validation.html.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from service.fhir.outcome import Fault, error, warning
from service.fhir.primitives import PRIMITIVES
from service.fhir.rules import RULES
from service.fhir.shapes import RESOURCE, Element, Shape, is_resource_type, shape_of

MAX_FAULTS = 100
MAX_DEPTH = 60
MAX_CODES_TOLD = 12
_NAME = re.compile(r"_?[a-z][A-Za-z0-9]{0,59}")
_LITERAL = re.compile(r"(?:^|/)([A-Z][A-Za-z]+)/[A-Za-z0-9\-.]{1,64}(?:/_history/[A-Za-z0-9\-.]{1,64})?$")
_SEARCH = re.compile(r"^([A-Z][A-Za-z]+)\?")
Json = Mapping[str, Any]


def judge(resource: object) -> list[Fault]:
    """Return what is wrong with one resource, all that a Bundle holds included; at most MAX_FAULTS, in order."""
    faults = list(islice(_resource(resource, "", _NOTHING, 0), MAX_FAULTS + 1))
    if len(faults) > MAX_FAULTS:
        more = Fault("information", "too-costly", "", f"Only the first {MAX_FAULTS} faults are listed.")
        return [*faults[:MAX_FAULTS], more]
    return faults


@dataclass(frozen=True)
class _Around:
    """What a reference may point at nearby: types of a Bundle's entries by fullUrl, ids and types of contained."""

    entries: Mapping[str, str]
    contained: Mapping[str, str]
    inside: bool = False


_NOTHING = _Around({}, {})


def _resource(value: object, path: str, around: _Around, depth: int) -> Iterator[Fault]:
    kind = value.get("resourceType") if isinstance(value, dict) else None
    if not isinstance(value, dict) or not isinstance(kind, str):
        yield error("structure", path or "Resource", "A resource must be a JSON object with its resourceType.")
        return
    if not is_resource_type(kind):
        yield error("structure", f"{path or 'Resource'}.resourceType", "resourceType must name a resource type of R4.")
        return
    path = path or kind
    if kind == "Bundle":
        around = _Around(_types(value.get("entry"), "fullUrl", "resource"), {})
    if around.inside:
        if "contained" in value:
            yield error("invariant", f"{path}.contained", "dom-2: a contained resource must not contain another.")
    else:
        around = replace(around, contained=_types(value.get("contained"), "id", ""))
    yield from _object(value, shape_of(kind), path, around, depth)


def _types(rows: object, key: str, inner: str) -> dict[str, str]:
    """Return resource types by the key of each row: fullUrl of an entry, id of a contained resource."""
    found: dict[str, str] = {}
    for row in rows if isinstance(rows, list) else ():
        resource = row.get(inner) if inner and isinstance(row, dict) else row
        if isinstance(row, dict) and isinstance(resource, dict):
            name, kind = row.get(key), resource.get("resourceType")
            if isinstance(name, str) and isinstance(kind, str):
                found[name] = kind
    return found


def _object(value: Json, shape: Shape, path: str, around: _Around, depth: int) -> Iterator[Fault]:
    if depth > MAX_DEPTH:
        yield error("too-costly", path, f"Elements must nest at most {MAX_DEPTH} deep.")
        return
    chosen: dict[str, set[str]] = {}
    resource = is_resource_type(shape.name)
    empty = not resource
    for key, found in value.items():
        if resource and key == "resourceType":
            continue
        bare = key.removeprefix("_")
        element = shape.elements.get(bare)
        if element is None or (bare != key and not element.primitive):
            shown = f"{path}.{key}" if _NAME.fullmatch(key) else path
            yield error("structure", shown, f"{shape.name} has no such element in R4.")
            continue
        if element.choice:
            chosen.setdefault(element.choice, set()).add(bare)
        if found is None:
            yield warning("structure", f"{path}.{element.choice or bare}", "null is no value in FHIR. Leave it out.")
            continue
        empty = False
        where = f"{path}.{element.choice or bare}"
        if bare != key:
            yield from _annotated(found, element, where, around, depth)
        else:
            yield from _values(found, element, where, around, depth, value.get(f"_{key}"))
    if empty:
        yield error("invariant", path, "ele-1: an element must have a value or children.")
    for name in shape.needed:
        if value.get(name) is None and value.get(f"_{name}") is None:
            yield error("required", f"{path}.{name}", f"{shape.name}.{name} must be there.")
    yield from _choices(shape, chosen, path)
    for rule in RULES.get(shape.name, ()):
        yield from rule(value, path)


def _choices(shape: Shape, chosen: Mapping[str, set[str]], path: str) -> Iterator[Fault]:
    for stem, names in chosen.items():
        if len(names) > 1:
            yield error("structure", f"{path}.{stem}", f"{shape.name}.{stem}[x] must come in one type.")
    for stem in shape.choices:
        if stem not in chosen:
            yield error("required", f"{path}.{stem}", f"{shape.name}.{stem}[x] must be there.")


def _annotated(found: object, element: Element, path: str, around: _Around, depth: int) -> Iterator[Fault]:
    """Judge the extensions of a primitive, which JSON carries beside it under the name with _."""
    if element.many != isinstance(found, list):
        yield error("structure", path, "The extensions of a primitive must be an array as the primitive is.")
        return
    shape = shape_of("FHIRPrimitiveExtension")
    for one in found if isinstance(found, list) else [found]:
        if isinstance(one, dict):
            yield from _object(one, shape, path, around, depth + 1)
        elif one is not None:
            yield error("structure", path, "The extensions of a primitive must be a JSON object.")


def _values(found: object, element: Element, path: str, around: _Around, depth: int, beside: object) -> Iterator[Fault]:
    if not element.many:
        if isinstance(found, list):
            yield error("structure", path, "This element must not be an array.")
        else:
            yield from _value(found, element, path, around, depth)
        return
    if not isinstance(found, list):
        yield error("structure", path, "This element may repeat, so it must be an array.")
        return
    if not found:
        yield error("structure", path, "An array must not be empty. Leave it out.")
    for i, one in enumerate(found):
        if one is not None or not isinstance(beside, list):
            yield from _value(one, element, f"{path}[{i}]", around, depth)


def _value(found: object, element: Element, path: str, around: _Around, depth: int) -> Iterator[Fault]:
    if element.primitive:
        good, rule = PRIMITIVES[element.kind]
        if not good(found):
            yield error("value", path, f"This {element.kind} must be {rule}.")
        elif element.codes and found not in element.codes:
            listed = sorted(element.codes) if len(element.codes) <= MAX_CODES_TOLD else ["those of its value set"]
            yield error("code-invalid", path, f"This code must be one of {', '.join(listed)}.")
    elif element.kind == RESOURCE:
        inside = path.rpartition(".")[2].startswith("contained[")
        yield from _resource(found, path, replace(around, inside=inside), depth + 1)
    elif isinstance(found, dict):
        yield from _object(found, shape_of(element.kind), path, around, depth + 1)
        if element.kind == "Reference":
            yield from _reference(found, element, path, around)
    else:
        yield error("structure", path, f"This element must be a JSON object ({element.kind}).")


def _reference(found: Json, element: Element, path: str, around: _Around) -> Iterator[Fault]:
    """Judge ref-1 and the type of what is referred to, as far as it can be told."""
    literal = found.get("reference")
    if not isinstance(literal, str):
        return
    kind: str | None
    if literal.startswith("#"):
        kind = around.contained.get(literal[1:])
        if kind is None and literal != "#":
            yield error("invariant", f"{path}.reference", "ref-1: a local reference must name a contained resource.")
    else:
        named = _LITERAL.search(literal) or _SEARCH.search(literal)
        kind = around.entries.get(literal) or (named.group(1) if named else None)
    if kind is not None and element.targets and kind not in element.targets:
        listed = ", ".join(sorted(element.targets))
        yield error("value", f"{path}.reference", f"This reference must be to one of {listed}.")
