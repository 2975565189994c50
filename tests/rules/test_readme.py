"""The README says what the releases and the bench say, and its commands exist."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from typer.main import get_command

from service.bench import hooks, report, worklist
from training import readme

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")


def part(name: str) -> str:
    found = re.search(rf"<!-- {name}: begin -->\n(.*?)<!-- {name}: end -->", TEXT, flags=re.DOTALL)
    assert found is not None, name
    return found[1]


def test_figures_are_those_of_the_releases() -> None:
    assert readme.figures() == part("figures")


def test_speed_is_that_of_the_committed_bench() -> None:
    assert readme.speed() == part("speed")


def test_load_is_that_of_the_committed_bench() -> None:
    assert report.bars() == part("load")


def test_cards_are_those_of_the_committed_bench() -> None:
    assert report.bars(hooks.RESULTS) == part("cards")


def test_worklist_is_that_of_the_committed_bench() -> None:
    assert report.bars(worklist.RESULTS) == part("worklist")


def test_every_picture_and_page_it_points_to_is_here() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", TEXT)
    missing = [link for link in links if not link.startswith("http") and not (ROOT / link).exists()]
    assert links
    assert missing == []


def test_every_make_target_it_names_exists() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    named = set(re.findall(r"(?:`|^    )make ([a-z-]+)", TEXT, flags=re.MULTILINE))
    assert {"demo", "test", "serve"} <= named
    assert [target for target in named if not re.search(rf"^{target}:", makefile, flags=re.MULTILINE)] == []


def test_commands_explain_themselves() -> None:
    for room in ("models", "training", "service"):
        done = subprocess.run([sys.executable, "-m", room, "--help"], cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert "Usage" in done.stdout


def test_every_line_to_type_names_commands_and_options_that_exist_and_gives_all_that_are_needed() -> None:
    apps = {room: get_command(import_module(f"{room}.__main__").app) for room in ("models", "training", "service")}
    lines = re.findall(r"^    python -m (models|training|service) (.+)$", TEXT, flags=re.MULTILINE)
    wrong = [f"{room} {line}: {fault}" for room, line in lines if (fault := _fault(apps[room], shlex.split(line, comments=True)))]
    assert len(lines) > 20
    assert wrong == []


def _fault(command: Any, words: list[str]) -> str:
    while words and hasattr(command, "commands"):
        if words[0] not in command.commands:
            return "" if words[0] == "--help" else f"no command {words[0]}"
        command, words = command.commands[words[0]], words[1:]
    if "--help" in words:
        return ""
    given = {word.partition("=")[0] for word in words if word.startswith("--")}
    known = {name for one in command.params for name in (*one.opts, *one.secondary_opts)}
    needed = [one.opts[0] for one in command.params if one.required and one.param_type_name == "option" and not given & set(one.opts)]
    return ", ".join([*(f"no option {name}" for name in sorted(given - known - {"--help"})), *(f"needs {name}" for name in needed)])
