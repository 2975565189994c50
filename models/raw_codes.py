"""Which measured codes stand behind one of ours: itself, or those that a derived code is computed from."""

from __future__ import annotations

from functools import cache
from typing import Any

from models.codes import MEASURED
from models.features import DERIVED, clean
from models.manifest import Manifest
from models.record import View


class _Asked(dict[str, Any]):
    """Holds nothing, and remembers what it was asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def get(self, key: str, default: Any = None) -> Any:
        self.names.add(key)
        return default


@cache
def raw_codes(code: str) -> tuple[str, ...]:
    """Return the measured codes that a code is computed from, in alphabetical order; itself when it is not derived."""
    if code not in DERIVED:
        return (code,)
    asked = _Asked()
    clean(View(0.0, float("inf"), {}, asked), code)
    return tuple(sorted(asked.names))


def measured_codes(manifest: Manifest) -> frozenset[str]:
    """Return the codes measured over time that a release rests on."""
    named = {str(feature.params["code"]) for feature in manifest.features if "code" in feature.params}
    return frozenset(raw for code in named for raw in raw_codes(code) if raw in MEASURED)
