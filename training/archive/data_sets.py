"""data:NAME: the stays and visits of a data set that recipes read, as an archive, so that a release can be tried on it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from math import isnan
from pathlib import Path

from models.errors import UnusableInput
from training.archive.cases import Found, Json, Opened
from training.archive.plan import Plan
from training.archive.scored import Names
from training.archive.table import sex_of, told_age
from training.data.cohort import Case
from training.sources import SOURCES

SPLITS = ("val", "test")  # what no recipe fits to, unless --where split=train asks for more


class DataSet:
    """The source of data:NAME. The file of a case is SPLIT/PLACE, its place among ``records(split)``, from 0."""

    def __init__(self, plan: Plan, naming: Names) -> None:
        self.plan, self.naming = plan, naming
        self.name = plan.archive.removeprefix("data:")
        self.left_out: Counter[str] = Counter()
        if self.name not in SOURCES:
            raise UnusableInput(f"data:NAME must be one of {', '.join(SOURCES)}, found {self.name!r}.", code="no_such_archive")

    def find(self, told: Callable[[int], None]) -> Iterator[Found]:
        """Yield the cases of the splits asked for whose subgroups are those asked for."""
        wanted: dict[str, set[str]] = {}
        for column, value in self.plan.where:
            wanted.setdefault(column, set()).add(value)
        number = 0
        for split in sorted(wanted.pop("split", set(SPLITS))):
            for place, case in enumerate(_records(self.name, split, self.plan.data)):
                number += 1
                told(number)
                if all(case.subgroups.get(one) in values for one, values in wanted.items()):
                    yield Found(f"{self.name}/{split}/{place}", {"split": split, "place": place},
                                {"file": f"{split}/{place}", "patient": case.group}, _attributes(case, split))
                else:
                    self.left_out["not_asked_for"] += 1

    def close(self) -> None:
        """Nothing is held but what was read."""

    def open(self, where: Json) -> Opened:
        """Return one record."""
        return Opened(_records(self.name, where["split"], self.plan.data)[where["place"]].record)


@cache
def _records(name: str, split: str, root: str) -> list[Case]:
    found: list[Case] = SOURCES[name].records(split, Path(root))
    return found


def _attributes(case: Case, split: str) -> Json:
    age = case.record.static.get("age_years", float("nan"))
    stated: Json = {name: value for name, value in case.subgroups.items() if name not in ("age", "sex")}
    own = {"sex": sex_of(case.subgroups.get("sex", "")), "age_years": None if isnan(age) else told_age(age), "split": split}
    if str(stated.get("year", "")).isdecimal():
        stated["year"] = int(stated["year"])
    return stated | {name: value for name, value in own.items() if value not in ("", None)}
