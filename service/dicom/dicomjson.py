"""A whole dataset as DICOM JSON (PS3.18, annex F), with large values left behind a BulkDataURI, and found again by it."""

from __future__ import annotations

import math
from collections.abc import Container
from typing import Any

from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

from service.problem import ProblemError

BULK_BYTES = 1024  # a longer binary value is left behind an address
_BINARY = frozenset(("OB", "OD", "OF", "OL", "OV", "OW", "UN"))
_MOST_STEPS = 33
Json = dict[str, Any]


def json_of(dataset: Dataset, bulk: str, path: str = "", *, only: Container[str] | None = None) -> Json:
    """Return the attributes of a dataset, or ``only`` some; what cannot be converted keeps its VR alone.

    ``bulk`` starts every BulkDataURI; where it is "" long values are left out.
    """
    found: Json = {}
    for tag in sorted(dataset.keys()):
        name = f"{int(tag):08X}"
        if only is not None and name not in only:
            continue
        try:
            element = dataset[tag]
            found[name] = _element(element, bulk, f"{path}{name}")
        except Exception:  # pydicom converts now, and raises many unrelated classes on damaged values
            found[name] = {"vr": "UN"}
    if not path and "00080005" in found:
        found["00080005"] = {"vr": "CS", "Value": ["ISO_IR 192"]}
    return found


def bulk_value(dataset: Dataset, path: str) -> bytes:
    """Return the value a BulkDataURI stands for: tags and item numbers with dots between. Raises ProblemError (404)."""
    steps = path.split(".")
    try:
        if len(steps) > _MOST_STEPS or len(steps) % 2 == 0:
            raise KeyError
        for tag, item in zip(steps[:-1:2], steps[1::2], strict=True):
            dataset = dataset[int(tag, 16)].value[int(item)]
        value = dataset[int(steps[-1], 16)].value
    except Exception:
        value = None
    if not isinstance(value, bytes):
        raise ProblemError("not_found", "There is no such bulk data. Take its address from the metadata.")
    return value


def _element(element: DataElement, bulk: str, path: str) -> Json:
    if element.VR == "SQ":
        items = [json_of(item, bulk, f"{path}.{place}.") for place, item in enumerate(element.value or ())]
        return {"vr": "SQ", "Value": items} if items else {"vr": "SQ"}
    if element.VR in _BINARY and isinstance(element.value, bytes) and len(element.value) > BULK_BYTES:
        return {"vr": element.VR, "BulkDataURI": f"{bulk}/{path}"} if bulk else {"vr": element.VR}
    found: Json = element.to_json_dict(None, BULK_BYTES)
    if element.VR in ("FD", "FL", "DS") and any(not math.isfinite(float(one)) for one in _several(element.value)):
        return {"vr": element.VR}
    return found


def _several(value: Any) -> list[Any]:
    if isinstance(value, MultiValue | list):
        return list(value)
    return [] if value is None or value == "" else [value]
