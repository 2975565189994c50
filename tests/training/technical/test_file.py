"""The technical file: whole, the same each time, closed to the world, and what is missing is marked and counted."""

from __future__ import annotations

import ast
import csv
import json
import re
import shutil
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from typer.testing import CliRunner

from tests.make_release import tiny_release
from training.__main__ import app
from training.technical import soup
from training.technical.checklists import NAMES, filled, law
from training.technical.facts import facts_of
from training.technical.file import write
from training.technical.logged import logged
from training.technical.requirements import requirements

ROOT = Path(__file__).parents[3]
RELEASED = ROOT / "models" / "released"
REAL = "icu_mortality-1.0.0"
PARTS = dict.fromkeys(("has_monitor", "has_refit", "has_commission", "has_releases"), True)
VOID = {"meta", "br", "link", "img", "hr", "path", "use", "rect"}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Any]]:
    """The file of one real and one tiny release, by its commands; of gaps, those of the published figures of the first."""
    folder = tmp_path_factory.mktemp("file")
    shelf = folder / "shelf"
    tiny_release(shelf, "image_classification")
    shutil.copytree(RELEASED / REAL, shelf / REAL)
    common = ["--shelf", str(shelf), "--out"]
    run = CliRunner().invoke(app, ["fairness", REAL, "--data", str(folder / "none"), *common, str(folder / "fairness")])
    assert run.exit_code in (0, 1), run.output
    run = CliRunner().invoke(app, ["technical-file", *common, str(folder / "out"), "--results", str(folder)])
    assert run.exit_code == 0, run.output
    return folder, json.loads((folder / "out" / "missing.json").read_text(encoding="utf-8"))


class Page(HTMLParser):
    """Collect ids, links and open tags of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.ids.add(found.get("id") or "")
        self.links += [value for name in ("href", "src") if (value := found.get(name))]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag


def test_every_page_is_whole_and_every_link_leads_somewhere(made: tuple[Path, list[Any]]) -> None:
    out = made[0] / "out"
    pages = {}
    for path in sorted(out.glob("*.html")):
        pages[path.name] = Page()
        pages[path.name].feed(path.read_text(encoding="utf-8"))
        assert pages[path.name].open == []
    for page in pages.values():
        for link in page.links:
            name, _, place = link.partition("#")
            if link.startswith(("https://pypi.org/", "#")):  # where a package is from, to be clicked by a person
                continue
            assert (out / name).is_file(), link
            assert not place or place in pages[name].ids, link


def test_nothing_is_fetched_and_nothing_runs(made: tuple[Path, list[Any]]) -> None:
    for path in sorted((made[0] / "out").glob("*.html")):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"<script|<link|<img|url\(\s*['\"]?http|@import|\son\w+=", text)


def test_the_same_inputs_give_the_same_bytes(made: tuple[Path, list[Any]], tmp_path: Path) -> None:
    folder, _ = made
    date = re.search(r"Generated ([0-9-]{10})", (folder / "out" / "index.html").read_text(encoding="utf-8"))
    assert date

    write(ROOT, sorted((folder / "shelf").iterdir()), folder, tmp_path, date=date[1])

    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {
        path.name: path.read_bytes() for path in (folder / "out").iterdir()}


def test_what_is_missing_is_marked_counted_and_listed(made: tuple[Path, list[Any]]) -> None:
    folder, listed = made
    index = (folder / "out" / "index.html").read_text(encoding="utf-8")
    tiny = "tiny_chest-1.0.0"

    assert f"{len(listed)} things" in index
    assert index.count("<li>") >= len(listed)
    of_tiny = [one["what"] for one in listed if one["subject"] == tiny]
    assert "no evaluation of this graph" in of_tiny
    assert any(what.startswith("fairness not examined") for what in of_tiny)
    assert any("CLAIM 2024" in what for what in of_tiny)
    assert not any("CLAIM 2024" in one["what"] for one in listed if one["subject"] == REAL)  # no image
    page = (folder / "out" / f"{tiny}.html").read_text(encoding="utf-8")
    assert 'class="missing"' in page


def test_it_says_what_it_is_not_in_both_languages(made: tuple[Path, list[Any]]) -> None:
    index = (made[0] / "out" / "index.html").read_text(encoding="utf-8")
    assert "Not a conformity assessment" in index
    assert "Ni évaluation de conformité" in index
    assert '<section lang="fr">' in index


@pytest.mark.parametrize("release", sorted(path.name for path in RELEASED.iterdir()))
def test_every_checklist_can_be_filled_for_every_release(release: str, tmp_path: Path) -> None:
    facts = facts_of(RELEASED / release, tmp_path)
    lists = {one.name: one for name in NAMES if (one := filled(name, facts, PARTS))}

    assert [len(lists[name].items) for name in ("hti1", "tripod_ai")] == [31, 52]
    assert ("claim_2024" in lists) == (facts.manifest.task in ("image_classification", "volume_segmentation"))
    for one in lists.values():
        assert len({item.id for item in one.items}) == len(one.items)
        assert {"answered", "missing"} <= {item.state for item in one.items}
        assert not [item.id for item in one.items if "{{" in item.answer or "Undefined" in item.answer]
    intended = next(item for item in lists["hti1"].items if item.id == "(2)(i)")
    assert intended.answer == " ".join(facts.manifest.intended_use.purpose.split())
    assert next(item for item in lists["hti1"].items if item.id == "(1)(ii)").state == "missing"  # nobody stated who paid


def test_figures_of_another_graph_are_not_taken_up(tmp_path: Path) -> None:
    release = tiny_release(tmp_path / "shelf", "risk")
    (tmp_path / "fairness").mkdir()
    (tmp_path / "fairness" / f"{release.name}.json").write_text('{"onnx_sha256": "00"}', encoding="utf-8")
    (release / "evaluation.json").write_text('{"onnx_sha256": "00", "rows": []}', encoding="utf-8")

    facts = facts_of(release, tmp_path)

    assert (facts.main, facts.proof) == (None, None)


def test_the_bill_of_materials_is_cyclonedx_and_names_every_pinned_package(made: tuple[Path, list[Any]]) -> None:
    bill = json.loads((made[0] / "out" / "sbom.cdx.json").read_text(encoding="utf-8"))
    pinned = [line for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines() if "==" in line and line[0] != "#"]

    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.5")
    assert re.fullmatch(r"urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", bill["serialNumber"])
    assert len(bill["components"]) == len(pinned)
    assert len({one["bom-ref"] for one in bill["components"]}) == len(pinned)
    jsonschema.validate(bill, SHAPE)


def test_what_serves_has_a_licence_and_a_purpose() -> None:
    serving = [one for one in soup.packages(ROOT) if one.role == "serving"]
    assert len(serving) > 20
    assert [one.name for one in serving if one.missing] == []


def test_a_long_licence_text_is_no_name_and_a_name_is_compared_as_pypi_does() -> None:
    assert soup.canonical("Fhir.Resources__x") == "fhir-resources-x"
    told = soup._metadata("numpy")
    assert told is not None
    assert "BSD" in soup.licence_of(told)


def test_the_trace_as_csv_has_every_requirement(made: tuple[Path, list[Any]]) -> None:
    with (made[0] / "out" / "trace.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["requirement"] for row in rows} == {one.id for one in requirements(ROOT)}


def test_what_is_logged_is_what_the_source_says() -> None:
    """The service may not be imported by training, but by this test: the words are the same."""
    from service.audit.line import ACTIONS, DETAIL, FREQUENT
    from service.store.audit import Line

    found = logged(ROOT)

    assert tuple(one.name for one in found.actions) == ACTIONS
    assert {one.name for one in found.actions if one.frequent} == set(FREQUENT)
    assert set(found.details) == set(DETAIL)
    assert found.fields == tuple(Line.__dataclass_fields__)
    assert found.has("predict", "input_sha256", "hash")
    assert not found.has("nothing_of_the_kind")
    assert [one.name for one in found.actions if not one.files] == []


def test_pointers_to_the_law_name_requirements_that_exist() -> None:
    known = {one.id for one in requirements(ROOT)}
    act = law("ai_act")
    assert {name for row in act["row"] for name in row["here"]} <= known
    assert [one["ref"] for one in act["annex"]] == [str(number) for number in range(1, 10)]
    assert law("france")["row"]


@pytest.mark.parametrize("command", ["fairness", "technical-file"])
def test_the_commands_name_a_release_that_is_none(command: str, tmp_path: Path) -> None:
    refused = CliRunner().invoke(app, [command, "nothing-1.0.0", "--out", str(tmp_path)])
    assert refused.exit_code == 2
    assert "nothing-1.0.0" in refused.output


def test_no_file_of_the_generator_imports_the_service() -> None:
    for path in Path(str(files("training.technical"))).glob("*.py"):
        for one in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            assert not (isinstance(one, ast.ImportFrom) and (one.module or "").split(".")[0] == "service")


# The parts of CycloneDX 1.5 that are written here, as its schema has them (https://cyclonedx.org/docs/1.5/json/).
SHAPE = {
    "type": "object", "required": ["bomFormat", "specVersion", "version", "components"],
    "properties": {"components": {"type": "array", "items": {
        "type": "object", "required": ["type", "name", "version", "bom-ref", "purl"], "additionalProperties": False,
        "properties": {
            "type": {"const": "library"}, "name": {"type": "string", "minLength": 1}, "version": {"type": "string"},
            "bom-ref": {"type": "string", "minLength": 1}, "purl": {"type": "string", "pattern": "^pkg:pypi/[a-z0-9-]+@."},
            "scope": {"enum": ["required", "optional", "excluded"]},
            "licenses": {"type": "array", "items": {"type": "object", "required": ["license"]}},
            "externalReferences": {"type": "array", "items": {"type": "object", "required": ["type", "url"]}},
        },
    }}},
}
