"""What the service records, read out of its source: actions of the audit, words of a line, and what a result keeps.

Training imports nothing of the service; the tables are read as data, so this says what the code says.
"""

from __future__ import annotations

import ast
import json
from dataclasses import dataclass
from pathlib import Path

AUDIT = Path("service/audit")
LINES = Path("service/store/audit.py")
RESULT = Path("models/prediction.py")


@dataclass(frozen=True)
class Action:
    """One kind of line of the audit: its word, DICOM's event, C R U D or E, and whether a killed process may lose the latest.

    ``files``: where in the service the word stands, beside the tables; an action that stands nowhere is never written.
    """

    name: str
    event: str
    does: str
    frequent: bool
    files: tuple[str, ...]


@dataclass(frozen=True)
class Logged:
    """``fields`` of every line, ``details`` a line may have, ``identity`` of every result, and the actions."""

    actions: tuple[Action, ...]
    fields: tuple[str, ...]
    details: tuple[str, ...]
    identity: tuple[str, ...]

    def has(self, *names: str) -> bool:
        """Tell whether all these are recorded: actions that stand somewhere in the code, fields, details, parts of a result."""
        return set(names) <= {one.name for one in self.actions if one.files} | {*self.fields, *self.details, *self.identity}


def logged(root: Path) -> Logged:
    """Read the tables of the source tree. Raises ValueError where a table is no longer where it was."""
    line = ast.parse((root / AUDIT / "line.py").read_text(encoding="utf-8"))
    codes = json.loads((root / AUDIT / "codes.json").read_text(encoding="utf-8"))
    frequent = _words(_assigned(line, "FREQUENT"))
    names = _words(_assigned(line, "Action"))
    standing = _standing(root, names)
    actions = tuple(Action(name, codes["events"][codes["actions"][name]["event"]], codes["actions"][name]["does"], name in frequent,
                           standing[name]) for name in names)
    details = tuple(key.value for key in _keys(_assigned(line, "DETAIL")) if isinstance(key, ast.Constant))
    return Logged(actions, _class_fields(root / LINES, "Line"), details, _class_fields(root / RESULT, "Identity"))


def _standing(root: Path, names: list[str]) -> dict[str, tuple[str, ...]]:
    """Return for each action the files of the service in which it stands as a text of its own."""
    found: dict[str, list[str]] = {name: [] for name in names}
    for path in sorted((root / "service").rglob("*.py")):
        if path == root / AUDIT / "line.py":
            continue
        text = path.read_text(encoding="utf-8")
        for name in names:
            if f'"{name}"' in text and ("audit" in text or "note(" in text):
                found[name].append(path.relative_to(root).as_posix())
    return {name: tuple(files) for name, files in found.items()}


def _assigned(tree: ast.Module, name: str) -> ast.expr:
    for one in tree.body:
        targets = one.targets if isinstance(one, ast.Assign) else [one.target] if isinstance(one, ast.AnnAssign) else []
        value = getattr(one, "value", None)
        if value is not None and any(isinstance(target, ast.Name) and target.id == name for target in targets):
            return value
    raise ValueError(f"service/audit/line.py must have a table {name}, found none. Mend training/technical/logged.py.")


def _words(value: ast.expr) -> list[str]:
    """Return the texts of an expression, in order."""
    return [one.value for one in ast.walk(value) if isinstance(one, ast.Constant) and isinstance(one.value, str)]


def _keys(value: ast.expr) -> list[ast.expr | None]:
    return list(value.keys) if isinstance(value, ast.Dict) else []


def _class_fields(path: Path, name: str) -> tuple[str, ...]:
    for one in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(one, ast.ClassDef) and one.name == name:
            return tuple(part.target.id for part in one.body if isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name))
    raise ValueError(f"{path.name} must have a class {name}, found none. Mend training/technical/logged.py.")
