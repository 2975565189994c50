"""Write the technical file: an index, a page a subject, a page a release, and the tables as CSV and JSON for other tools.

The same inputs give the same bytes but for the date. Nothing is fetched, and no page needs a script or another server.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from models.describe import describe
from training.report import interval, label, number
from training.technical import soup
from training.technical.checklists import NAMES, Checklist, filled, law
from training.technical.facts import Facts, facts_of
from training.technical.fairness_page import drawn
from training.technical.logged import logged
from training.technical.requirements import Requirement, all_tests, requirements, risks

TEMPLATES = Path(__file__).parent / "templates"
PARTS = {"has_monitor": "service/monitor", "has_refit": "training/refit", "has_commission": "training/commission",
         "has_releases": "service/releases"}


@dataclass(frozen=True)
class Missing:
    """Something a reader will look for and not find; ``page`` is where it is marked."""

    subject: str
    what: str
    page: str

    @property
    def file(self) -> str:
        """The page without the place on it."""
        return self.page.partition("#")[0]


def write(root: Path, releases: Sequence[Path], results: Path, target: Path, *, date: str = "") -> list[Missing]:
    """Write the file into ``target`` and return what is missing.

    ``root`` is the source tree, ``releases`` are release folders, ``results`` the folder with fairness/ and commission/.
    """
    target.mkdir(parents=True, exist_ok=True)
    environment = _environment()
    told = {"made": date or datetime.now(UTC).date().isoformat(), "software": f"diaphane {_version()}", "pages": PAGES}
    parts = {name: (root / path).is_dir() for name, path in PARTS.items()}
    known = requirements(root)
    hazards, packages, log = risks(known), soup.packages(root), logged(root)
    act, france = law("ai_act"), law("france")
    every = [facts_of(folder, results) for folder in releases]
    filled_in = {one.manifest.id: [found for name in NAMES if (found := filled(name, one, parts))] for one in every}
    missing = [*_of_requirements(known), *_of_risks(hazards), *_of_packages(packages), *_of_law(act, log)]
    for one in every:
        missing += _of_release(one, filled_in[one.manifest.id])

    def page(name: str, template: str, **words: Any) -> None:
        text = environment.get_template(template).render(here=name, **told, **words)
        (target / name).write_text(text, encoding="utf-8")

    for one in every:
        page(f"{one.manifest.id}.html", "release.html.j2", f=one, m=one.manifest, e=one.evaluation, p=one.proof, main=one.main,
             described=describe(one.manifest).strip(), checklists=filled_in[one.manifest.id],
             drawings=[(name, Markup(text)) for name, text in drawn(one.proof)] if one.proof else [])  # noqa: S704  our own SVG
    page("risks.html", "risks.html.j2", risks=hazards)
    sections = [(name, [one for one in known if one.section == name]) for name in dict.fromkeys(one.section for one in known)]
    page("requirements.html", "requirements.html.j2", requirements=known, sections=sections, tests=all_tests(root),
         named=len({test for one in known for test in one.tests}))
    page("soup.html", "soup.html.j2", packages=packages)
    page("ai_act.html", "ai_act.html.j2", act=act, log=log, requirements={one.id: one for one in known})
    page("france.html", "france.html.j2", law=france)
    page("index.html", "index.html.j2", releases=every, checklists=filled_in, missing=missing, requirements=known, risks=hazards,
         packages=packages, log=log, act=act)
    (target / "sbom.cdx.json").write_text(_json(soup.bill(packages, "diaphane", _version())), encoding="utf-8")
    (target / "trace.csv").write_text(_trace(known), encoding="utf-8")
    (target / "missing.json").write_text(_json([vars(one) for one in missing]), encoding="utf-8")
    (target / "checklists.json").write_text(_json(_plain(filled_in)), encoding="utf-8")
    return missing


PAGES = (("index.html", "Index"), ("risks.html", "Failure modes"), ("requirements.html", "Requirements"), ("soup.html", "Packages"),
         ("ai_act.html", "EU AI Act"), ("france.html", "France"))


def _of_requirements(known: Sequence[Requirement]) -> list[Missing]:
    found = []
    for one in known:
        found += [Missing(one.id, f"file {name} is not there", "requirements.html") for name in one.missing_files]
        found += [Missing(one.id, f"test {name} is not there", "requirements.html") for name in one.missing_tests]
        if not one.tests:
            found.append(Missing(one.id, "no test is named", "requirements.html"))
    return found


def _of_risks(hazards: Sequence[Any]) -> list[Missing]:
    found = [Missing(one.id, f"not estimated: {', '.join(one.missing)}", "risks.html") for one in hazards if one.missing]
    return found + [Missing(one.id, "no control", "risks.html") for one in hazards if not one.controls]


def _of_packages(packages: Sequence[soup.Package]) -> list[Missing]:
    return [Missing(one.name, f"{' and '.join(one.missing)} not known", "soup.html") for one in packages if one.missing]


def _of_law(act: dict[str, Any], log: Any) -> list[Missing]:
    found = [Missing(f"AI Act {one['ref']}", "nothing here answers it", "ai_act.html") for one in act["row"] if not one["gives"]]
    found += [Missing(f"Annex IV, {one['ref']}", one["lacks"], "ai_act.html#annex-iv") for one in act["annex"] if one["lacks"]]
    return found + [Missing("AI Act Art. 12", f"not recorded: {one['asks']}", "ai_act.html#logging") for one in act["event"]
                    if not log.has(*one["needs"])]


def _of_release(one: Facts, checklists: Sequence[Checklist]) -> list[Missing]:
    name, page = one.manifest.id, f"{one.manifest.id}.html"
    found = []
    if one.main is None:
        found.append(Missing(name, "no evaluation of this graph", page))
    if one.proof is None:
        found.append(Missing(name, f"fairness not examined: python -m training fairness {name}", page))
    else:
        found += [Missing(name, what, f"{page}#fairness") for what in one.proof["missing"]]
    if one.commissioning is None:
        found.append(Missing(name, "not commissioned at any site, as far as is known here", page))
    return found + [Missing(name, f"{each.title.split(':')[0]}, {item.id}: {item.asks}", f"{page}#{each.name}")
                    for each in checklists for item in each.items if item.state == "missing"]


def _environment() -> Environment:
    environment = Environment(loader=FileSystemLoader(TEMPLATES), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
                              autoescape=select_autoescape(["html", "j2"]))
    environment.filters.update(number=number, interval=interval, label=label)
    return environment


def _trace(known: Sequence[Requirement]) -> str:
    """Return the trace as CSV, one row a requirement and test, for a tool that manages requirements."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["requirement", "section", "text", "code", "test", "test is there", "risks"])
    for one in known:
        for test in one.tests or ("",):
            writer.writerow([one.id, one.section, one.text, " ".join(one.files), test, bool(test) and test not in one.missing_tests,
                             " ".join(one.risks)])
    return buffer.getvalue()


def _plain(filled_in: dict[str, list[Checklist]]) -> dict[str, Any]:
    return {release: {one.name: [{**vars(item), "state": item.state} for item in one.items] for one in lists}
            for release, lists in filled_in.items()}


def _json(value: Any) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"


def _version() -> str:
    try:
        return version("diaphane")
    except PackageNotFoundError:
        return "not installed"
