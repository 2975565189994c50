"""Requirements and the trace of each to code and tests (IEC 62304, 5.1.1 c and 5.7.4), checked against what is there."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
_TEST = re.compile(r"^\s*(?:async )?def (test\w*)\(", re.MULTILINE)  # parsing 300 files takes ten times as long


@dataclass(frozen=True)
class Requirement:
    """One requirement. ``missing_files`` and ``missing_tests`` are named in the table but are not there."""

    id: str
    section: str
    text: str
    files: tuple[str, ...]
    tests: tuple[str, ...]
    risks: tuple[str, ...]
    missing_files: tuple[str, ...] = ()
    missing_tests: tuple[str, ...] = ()

    @property
    def traced(self) -> bool:
        """Whether its code is there and at least one test that is there shows it."""
        return bool(self.files) and not self.missing_files and len(self.tests) > len(self.missing_tests)


@dataclass(frozen=True)
class Risk:
    """One failure mode (ISO 14971). What nobody has estimated is ""; ``controls`` are the requirements that lower it."""

    id: str
    hazard: str
    sequence: str
    harm: str
    severity: str
    probability: str
    residual: str
    by: str
    note: str
    controls: tuple[Requirement, ...]

    @property
    def missing(self) -> tuple[str, ...]:
        """What a risk management file asks for and nobody has stated."""
        return tuple(name for name in ("severity", "probability", "residual") if not getattr(self, name))


def requirements(root: Path, path: Path = HERE / "requirements.toml") -> list[Requirement]:
    """Read the table and check every path and test under ``root``, the folder of the source tree.

    Raises ValueError for an id that is there twice.
    """
    found = []
    seen: set[str] = set()
    for one in tomllib.loads(path.read_text(encoding="utf-8"))["requirement"]:
        if one["id"] in seen:
            raise ValueError(f"A requirement has one id of its own, found {one['id']} twice in {path.name}.")
        seen.add(one["id"])
        files, tests = tuple(one["files"]), tuple(one["tests"])
        found.append(Requirement(one["id"], one["section"], one["text"], files, tests, tuple(one["risks"]),
                                 tuple(name for name in files if not (root / name).exists()),
                                 tuple(name for name in tests if not test_exists(root, name))))
    return found


def risks(known: Iterable[Requirement], path: Path = HERE / "risks.toml") -> list[Risk]:
    """Read the failure modes and join each with the requirements that control it.

    Raises ValueError where a requirement controls a risk that is not in the table.
    """
    rows: list[Mapping[str, Any]] = tomllib.loads(path.read_text(encoding="utf-8"))["risk"]
    every = list(known)
    unknown = {risk for one in every for risk in one.risks} - {row["id"] for row in rows}
    if unknown:
        raise ValueError(f"A requirement may name risks of {path.name} alone, found {', '.join(sorted(unknown))}. Add them there.")
    return [Risk(row["id"], row["hazard"], row["sequence"], row["harm"], row.get("severity", ""), row.get("probability", ""),
                 row.get("residual", ""), row.get("by", ""), row.get("controls_note", ""),
                 tuple(one for one in every if row["id"] in one.risks)) for row in rows]


def test_exists(root: Path, node: str) -> bool:
    """Tell whether ``tests/….py::test_name`` names a function that pytest would find."""
    file, _, name = node.partition("::")
    return name in _tests_of(root / file)


def all_tests(root: Path) -> int:
    """Count the test functions of the tree: what the trace is a part of."""
    return sum(len(_tests_of(path)) for path in sorted((root / "tests").rglob("test_*.py")))


@cache
def _tests_of(path: Path) -> frozenset[str]:
    if not path.is_file():
        return frozenset()
    return frozenset(_TEST.findall(path.read_text(encoding="utf-8")))


test_exists.__test__ = False  # type: ignore[attr-defined]  pytest takes the name for a test's
