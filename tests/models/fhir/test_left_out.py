"""Whatever is left out can be explained to people, in both languages."""

import ast
from pathlib import Path

import models.fhir
from models.fhir.left_out import REASONS, why_left_out
from models.fhir.measure import NOT_YET

FOLDER = Path(models.fhir.__file__).parent


def reasons() -> set[str]:
    """Read from the code every reason that it gives: ``ignored[kind, reason]`` and ``Unused(name, reason)``."""
    found = set(NOT_YET)
    for path in (*FOLDER.glob("*.py"), FOLDER.parent / "read_fhir.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            given: ast.expr | None = None
            if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name) and node.value.id == "ignored":
                given = node.slice.elts[1] if isinstance(node.slice, ast.Tuple) else None
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Unused":
                given = node.args[1]
            branches = [given.body, given.orelse] if isinstance(given, ast.IfExp) else [given]
            found |= {one.value for one in branches if isinstance(one, ast.Constant)}
    return found


def test_every_reason_has_words_and_no_words_are_idle():
    assert reasons() | {"entered_in_error", "cancelled"} == set(REASONS)


def test_words_are_there_in_both_languages():
    assert [why for why in REASONS if not (why_left_out(why, "en") and why_left_out(why, "fr"))] == []
