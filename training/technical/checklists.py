"""Checklists filled from what is known of a release: an answer made of data, or "missing"; no sentence is made up here."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from jinja2 import Environment, StrictUndefined, TemplateError

from training.report import interval, label, number
from training.technical.facts import Facts

HERE = Path(__file__).parent / "checklists"
NAMES = ("chai", "hti1", "tripod_ai", "claim_2024")
State = Literal["answered", "partly", "missing"]


@dataclass(frozen=True)
class Item:
    """One item: what it asks, the answer, what the answer lacks, and the state that follows from both."""

    id: str
    section: str
    asks: str
    answer: str
    lacks: str

    @property
    def state(self) -> State:
        return "missing" if not self.answer else "partly" if self.lacks else "answered"


@dataclass(frozen=True)
class Checklist:
    """One checklist for one release."""

    name: str
    title: str
    source: str
    note: str
    items: tuple[Item, ...]

    def count(self, state: State) -> int:
        return sum(one.state == state for one in self.items)


def filled(name: str, facts: Facts, parts: dict[str, bool]) -> Checklist | None:
    """Fill a checklist; None where it is not meant for this kind of model.

    Raises ValueError naming the item whose answer cannot be made: a fault of the table.
    """
    table = tomllib.loads((HERE / f"{name}.toml").read_text(encoding="utf-8"))
    if "tasks" in table and facts.manifest.task not in table["tasks"]:
        return None
    environment = Environment(undefined=StrictUndefined, autoescape=False)  # noqa: S701  text; the page escapes it
    environment.filters.update(number=number, interval=interval, label=label)
    words = facts.words(parts)
    items = []
    for row in table["item"]:
        try:
            answer, lacks = (" ".join(environment.from_string(row.get(key, "")).render(words).split()) for key in ("answer", "lacks"))
        except TemplateError as error:
            raise ValueError(f"{name}.toml, item {row['id']}: the answer must be made of what is known, found: {error}.") from error
        items.append(Item(row["id"], row["section"], row["asks"], answer.strip("; "), lacks))
    return Checklist(name, table["title"], table["source"], table["note"], tuple(items))


def law(name: str) -> dict[str, Any]:
    """Return a table of pointers to a law (ai_act, france) as it stands."""
    return tomllib.loads((HERE / f"{name}.toml").read_text(encoding="utf-8"))
