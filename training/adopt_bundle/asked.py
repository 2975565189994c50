"""Asked: what one transform of a bundle is asked to do, taken argument by argument so that none is passed over."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from models.errors import BrokenModel

MISSING = object()
# Of every dictionary transform; none of them changes a number.
PASSED_OVER = frozenset({"keys", "allow_missing_keys", "meta_keys", "meta_key_postfix", "overwriting", "device"})
_FLOATS = re.compile(r"(?:torch\.|np\.|numpy\.)?(?:float|float32|float64|double)")


class Asked:
    """One transform: its name without the dictionary suffix, and its arguments for one key."""

    def __init__(self, name: str, arguments: Mapping[str, Any], place: int = 0) -> None:
        """``place`` is that of our key among ``keys``: an argument may be a list with one value a key."""
        self.name, self._place = name, place
        self._arguments = {key: value for key, value in arguments.items() if key not in PASSED_OVER}

    def take(self, name: str, default: Any = MISSING) -> Any:
        """Return an argument and count it as understood. Raises BrokenModel when there is none and no default."""
        value = self._arguments.pop(name, default)
        if value is MISSING:
            raise BrokenModel(f"{self.name} needs the argument {name}, found none.")
        return value

    def one(self, name: str, default: Any) -> Any:
        """Do the same for an argument that may be a list with one value a key."""
        value = self.take(name, default)
        return value[self._place] if isinstance(value, list) and len(value) > self._place else value

    def number(self, name: str, default: float | object | None = MISSING) -> float | None:
        """Do the same for a number, or a list that holds one (one channel)."""
        value = self.take(name, default)
        if isinstance(value, list) and len(value) == 1:
            value = value[0]
        if value is None or (isinstance(value, int | float) and not isinstance(value, bool)):
            return None if value is None else float(value)
        raise self.refuse(f"{name} must be one number, found {str(value)[:40]}")

    def three(self, name: str, default: Any = MISSING, *, whole: bool = True) -> list[Any]:
        """Do the same for one number an axis, given as x, y, z or as one for all; returned as z, y, x."""
        value = self.take(name, default)
        values = list(value) if isinstance(value, Sequence) and not isinstance(value, str) else [value] * 3
        kind = int if whole else (int, float)
        if len(values) == 1:
            values *= 3
        if len(values) != 3 or not all(isinstance(one, kind) and not isinstance(one, bool) for one in values):
            raise self.refuse(f"{name} must be three numbers for a volume, found {str(value)[:40]}")
        return [int(one) if whole else float(one) for one in reversed(values)]

    def only(self, name: str, *allowed: Any, why: str = "") -> None:
        """Take an argument that must have one of the allowed values, or be absent."""
        value = self.one(name, allowed[0])
        if value not in allowed:
            raise self.refuse(f"{name} must be {' or '.join(map(str, allowed))}, found {str(value)[:40]}{why and ': ' + why}")

    def floats(self, name: str = "dtype") -> None:
        """Take a type of numbers, which must be at least single precision."""
        value = self.one(name, "float32")
        if value is not None and not _FLOATS.fullmatch(str(value)):
            raise self.refuse(f"{name} must be float32 or float64, found {str(value)[:40]}")

    def done(self) -> None:
        """Raise BrokenModel when an argument was not understood."""
        if self._arguments:
            raise self.refuse(f"nothing here does what {', '.join(sorted(self._arguments))} asks for")

    def refuse(self, why: str) -> BrokenModel:
        """Return the error that names this transform."""
        return BrokenModel(f"The bundle's {self.name} has no exact counterpart here: {why}. Ask its makers for a bundle without it, "
                           "or serve it where it was made.")
