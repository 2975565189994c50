"""Plan: everything that decides what the rows of a folder are. A folder that was begun with one goes on with no other."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from models.errors import UnusableInput
from training.archive.scored import PRIVATE, write_private

PLAN = "plan.json"
TOKEN_VARIABLE = "DIAPHANE_ARCHIVE_TOKEN"  # noqa: S105  the name of a variable, no secret
# What may differ from one start to the next: it changes no row of a case that ends well.
_FREE = ("timeout_s", "memory_mib", "token_variable", "ca")


@dataclass(frozen=True)
class Plan:
    """What is scored, with what, and within which limits. Paths are whole."""

    release: str
    manifest_sha256: str
    archive: str = field(repr=False)  # a folder, a zip, https://…/dicom-web, https://…/fhir or data:NAME
    out: str = ""
    kind: str = ""  # of SOURCES
    attributes: str = ""  # a CSV with what the files do not say
    columns: tuple[tuple[str, str], ...] = ()  # our name of a column → theirs
    where: tuple[tuple[str, str], ...] = ()  # column of theirs → a value it must have, any of several
    keep: tuple[str, ...] = ()  # columns taken over as attributes
    modalities: tuple[str, ...] = ()  # of DICOM; empty: all
    since: str = ""  # first day of a study or stay, YYYY-MM-DD
    until: str = ""
    cohort: str = ""  # of a FHIR server: the search that finds the stays or the people
    data: str = ""  # where the data sets of data:NAME are
    limit: int = 0
    keep_images: bool = False
    token_variable: str = TOKEN_VARIABLE
    ca: str = ""
    timeout_s: float = 120.0
    memory_mib: int = 4096

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON."""
        return asdict(self)


def plan_of(told: dict[str, Any]) -> Plan:
    """Return the plan that was written."""
    pairs = {name: tuple(map(tuple, told[name])) for name in ("columns", "where")}
    lists = {name: tuple(told[name]) for name in ("keep", "modalities")}
    return Plan(**{**{one.name: told[one.name] for one in fields(Plan)}, **pairs, **lists})


def settle(plan: Plan, folder: Path) -> None:
    """Write the plan at the first start. Raises UnusableInput when the folder was begun with another."""
    path = folder / PRIVATE / PLAN
    if not path.exists():
        write_private(path, json.dumps(plan.to_json(), indent=1))
        return
    begun = plan_of(json.loads(path.read_text("utf-8")))
    changed = [one.name for one in fields(Plan) if one.name not in _FREE and getattr(begun, one.name) != getattr(plan, one.name)]
    if changed:
        raise UnusableInput(f"{folder.name} was begun with another {', '.join(changed)}: rows of two plans are not mixed. "
                            "Give the same options to go on, or another --out to begin anew.", code="another_plan")
