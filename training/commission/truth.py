"""Truth: what is known of each case of a scored archive, from where, with what is missing and what contradicts itself.

A truth file is joined by keyed hashes alone: the identifiers in it are hashed as they are read and never kept or told.
"""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from models.errors import UnusableInput
from training.archive.scored import Names, Row
from training.commission.tables import lines_of

Id = Literal["sop", "study", "accession", "patient", "file"]
IDS: tuple[Id, ...] = ("sop", "study", "accession", "patient", "file")
Kind = Literal["table", "codes", "reports", "verdicts", "data"]


class OutputRule(BaseModel):
    """How one output's truth is read. Which keys count depends on the kind: see training/commission/truth_read.py."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    column: str = ""  # table: where its label stands; empty: the column with the output's name
    positive: tuple[str, ...] = ()  # table: these words are 1; none: 1, yes, true, positive, present
    negative: tuple[str, ...] = ()  # table: these are 0; none: where positive is given, every other word is 0
    separator: str = ""  # table: a label may hold several words, parted by this
    codes: tuple[str, ...] = ()  # codes: prefixes of ICD-10 codes that mean the outcome
    excluded: tuple[str, ...] = ()  # codes: prefixes that leave the case unknown
    finding: str = ""  # reports: a finding of report_rules.toml
    prevalence: float | None = Field(default=None, gt=0, lt=1)  # in practice here, where the truth set was enriched with cases


class TruthRule(BaseModel):
    """A truth file and how to read it: what ``--truth FILE.toml`` holds."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    kind: Kind = "table"
    file: str
    id: Id = "study"  # what its lines are named by, and the archive's cases too
    column: str = ""  # where that stands; empty: the column named as id
    where: dict[str, str] = {}  # only lines whose columns hold these words
    code_column: str = "code"
    text_column: str = "report"
    absent: Literal["negative", "unknown"] = "unknown"  # codes: what a case without any line of codes counts as
    said: str = ""  # its limits, in words, for the report
    outputs: dict[str, OutputRule] = Field(min_length=1)


@dataclass(frozen=True)
class Truth:
    """``known``: output → case → 1 or 0. ``missing`` and ``conflicting`` count cases by output."""

    kind: Kind
    id: Id
    known: Mapping[str, Mapping[str, int]]
    missing: Mapping[str, int]
    conflicting: Mapping[str, int]
    prevalences: Mapping[str, float] = field(default_factory=dict)  # stated, in practice
    said: str = ""
    lines: int = 0
    joined: int = 0  # cases that some line is about


def read_rule(path: Path, outputs: Sequence[str]) -> TruthRule:
    """Return how to read ``path``: a .toml says itself; a .csv has a column for each output; a .jsonl holds verdicts.

    Raises UnusableInput naming what is wrong.
    """
    if path.suffix == ".toml":
        try:
            rule = TruthRule.model_validate(tomllib.loads(path.read_text("utf-8")))
        except OSError as error:
            raise UnusableInput(f"{path.name}: the truth must be a file that can be read, found none. Name another.",
                                code="unreadable") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise UnusableInput(f"{path.name}: must be TOML, it cannot be read. Correct it.", code="bad_truth") from error
        except ValidationError as error:
            first = error.errors(include_input=False)[0]
            place = ".".join(map(str, first["loc"])) or "the file"
            raise UnusableInput(f"{path.name} is not valid at {place}: {first['msg']}.", code="bad_truth") from error
        unknown = set(rule.outputs) - set(outputs)
        if unknown:
            raise UnusableInput(f"{path.name}: truth must be of outputs of the release ({', '.join(outputs)}), found others "
                                f"({len(unknown)}). Correct the names.", code="bad_truth")
        return rule.model_copy(update={"file": str((path.parent / rule.file).resolve())})
    if path.suffix == ".jsonl":
        return TruthRule(kind="verdicts", file=str(path), id="file", outputs={name: OutputRule() for name in outputs})
    return TruthRule(kind="table", file=str(path), id=_id_of(path), outputs={name: OutputRule() for name in _columns(path, outputs)})


def joined(
    said: Iterable[tuple[str, Mapping[str, int | None]]], rows: Sequence[Row], rule: TruthRule, names: Names,
    *, hashed: bool = False,
) -> Truth:
    """Join lines (identifier, output → 1, 0 or None for unknown) to rows.

    Two lines that say the same of one case count once; two that contradict leave it unknown and are counted. ``hashed``: the
    identifiers are hashes already.
    """
    lines: dict[str, dict[str, set[int]]] = {}
    total = 0
    for identifier, labels in said:
        total += 1
        found = lines.setdefault(identifier if hashed else names.hash(rule.id, identifier), {})
        for output, label in labels.items():
            found.setdefault(output, set())
            if label is not None:
                found[output].add(label)
    known: dict[str, dict[str, int]] = {output: {} for output in rule.outputs}
    conflicting: Counter[str] = Counter()
    hit = 0
    for row in rows:
        labels = lines.get(row.ids.get(rule.id, ""))
        hit += labels is not None
        if labels is None and rule.kind == "codes" and rule.absent == "negative":
            labels = {output: {0} for output in rule.outputs}
        for output, values in (labels or {}).items():
            if len(values) == 1:
                known[output][row.case] = next(iter(values))
            conflicting[output] += len(values) > 1
    if total and not hit:
        raise UnusableInput(
            f"Truth must name cases of the archive by their {rule.id}: {total} lines were read, none is of a case that was scored. "
            f"Say with id and column what the lines are named by; a file is named by its path below the archive.",
            code="truth_of_other_cases")
    return Truth(
        rule.kind, rule.id, known, {output: len(rows) - len(found) for output, found in known.items()}, dict(conflicting),
        {name: one.prevalence for name, one in rule.outputs.items() if one.prevalence is not None}, rule.said, total, hit)


def _id_of(path: Path) -> Id:
    header = _header(path)
    found = next((one for one in IDS if one in header), None)
    if found is None:
        raise UnusableInput(f"{path.name}: a table of truth needs a column named {', '.join(IDS[:-1])} or {IDS[-1]}, found none. "
                            "Name one so, or say it in a .toml.", code="bad_truth")
    return found


def _columns(path: Path, outputs: Sequence[str]) -> list[str]:
    header = _header(path)
    found = [name for name in outputs if name in header]
    if not found:
        raise UnusableInput(f"{path.name}: a table of truth needs a column named as an output ({', '.join(outputs)}), found none. "
                            "Name one so, or say it in a .toml.", code="bad_truth")
    return found


def _header(path: Path) -> list[str]:
    return list(next(iter(lines_of(path)), {}))
