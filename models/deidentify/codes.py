"""Codes: which items of code sequences may leave. A code of a published scheme stays, in the scheme's own words."""

from __future__ import annotations

import re
from functools import cache

from pydicom.dataset import Dataset
from pydicom.sr._concepts_dict import concepts
from pydicom.sr._snomed_dict import mapping

from models.dicom_pixels import text

SHAPES = {  # scheme → what its codes look like
    "SCT": r"[0-9]{6,18}", "SRT": r"[A-Z]-[0-9A-F]{4,6}", "SNM3": r"[A-Z]-[0-9A-F]{4,6}", "99SDM": r"[A-Z]-[0-9A-F]{4,6}",
    "DCM": r"[0-9]{6}", "UCUM": r"[A-Za-z0-9%\[\]\{\}./*^'\"()_+-]{1,16}", "LN": r"[0-9]{1,7}-[0-9]", "RADLEX": r"RID[0-9]{1,7}",
    "FMA": r"[0-9]{1,7}", "NCIt": r"C[0-9]{1,8}", "UMLS": r"C[0-9]{7}", "MDC": r"[0-9]{1,8}",
    "I10": r"[A-Z][0-9]{2}(\.[0-9A-Z]{1,4})?",
}


def cleaned(item: Dataset) -> Dataset | None:
    """Return the code of an item with its meaning by the scheme, "" where that is not known; None for any other code."""
    scheme, code = text(item, "CodingSchemeDesignator"), text(item, "CodeValue")
    shape = SHAPES.get(scheme)
    if shape is None or re.fullmatch(shape, code) is None:
        return None
    known = _meanings().get((scheme, code))
    if known is None and scheme in ("UCUM", "DCM"):  # short lists: what is not on them is not theirs
        return None
    made = Dataset()
    made.CodeValue, made.CodingSchemeDesignator, made.CodeMeaning = code, scheme, known or code
    return made


@cache
def _meanings() -> dict[tuple[str, str], str]:
    found = {
        (scheme, code): str(meaning)[:64]
        for scheme, words in concepts.items() for codes in words.values() for code, (meaning, *_) in codes.items()
    }
    for old, new in mapping["SRT"].items():
        if ("SCT", new) in found:
            found["SRT", old] = found["SCT", new]
    return found
