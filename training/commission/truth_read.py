"""The four kinds of truth, each read as lines (identifier, output → 1, 0 or None): a table, codes, reports, verdicts."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from math import isnan
from pathlib import Path
from typing import Any

from models.errors import UnusableInput
from training.archive.scored import Names, Row
from training.commission.report_rules import read_report
from training.commission.tables import lines_of
from training.commission.truth import OutputRule, Truth, TruthRule, joined, read_rule

Labels = Mapping[str, int | None]
Line = tuple[str, Labels]
YES = frozenset({"1", "1.0", "yes", "true", "positive", "present", "oui", "vrai", "positif"})
NO = frozenset({"0", "0.0", "no", "false", "negative", "absent", "non", "faux", "négatif"})
UNKNOWN = frozenset({"", "na", "nan", "?", "unknown", "inconnu", "uncertain"})
# Codings that hold a diagnosis: ICD-10 as FHIR names it, internationally and in France, Germany and the United States
ICD_10 = ("http://hl7.org/fhir/sid/icd-10", "https://smt.esante.gouv.fr/terminologie-cim-10",
          "http://fhir.de/CodeSystem/bfarm/icd-10-gm",
          "http://hl7.org/fhir/sid/icd-10-cm")


def read_truth(where: str, rows: Sequence[Row], names: Names, outputs: Sequence[str], data: Path | None = None) -> Truth:
    """Read truth of any kind and join it to the rows. ``where``: a file, or data:NAME for a data set below ``data``.

    Raises UnusableInput naming what is wrong, never who.
    """
    if where.startswith("data:"):
        rule = TruthRule(kind="data", file=where, id="file", outputs={name: OutputRule() for name in outputs})
        return joined(data_set(where.removeprefix("data:"), outputs, data or Path()), rows, rule, names)
    path = Path(where)
    rule = read_rule(path, outputs)
    file = Path(rule.file)
    if not file.exists():
        raise UnusableInput(f"{file.name}: the truth must be a file or folder that can be read, found none. Name another.",
                            code="unreadable")
    return joined(KINDS[rule.kind](file, rule), rows, rule, names)


def table(path: Path, rule: TruthRule) -> Iterator[Line]:
    """Read a table: one line a case, one column a label."""
    for line in _chosen(path, rule, [one.column or name for name, one in rule.outputs.items()]):
        yield line[rule.column or rule.id], {name: _label(line, name, one) for name, one in rule.outputs.items()}


def codes(path: Path, rule: TruthRule) -> Iterator[Line]:
    """Read diagnoses: a table of one code a line, or a folder or file of FHIR Conditions and Encounters (Bundle or NDJSON).

    A case with any code and none of the list is 0: coding says what was treated, not what the image shows.
    """
    if path.is_dir() or path.suffix in (".json", ".ndjson"):
        told = _fhir_codes(path, rule)
    else:
        told = ((line[rule.column or rule.id], line[rule.code_column]) for line in _chosen(path, rule, [rule.code_column]))
    gathered: dict[str, list[str]] = {}
    for who, code in told:
        gathered.setdefault(who, []).append(_bare(code))
    for who, had in gathered.items():
        yield who, {name: _coded(had, one) for name, one in rule.outputs.items()}


def reports(path: Path, rule: TruthRule) -> Iterator[Line]:
    """Read reports by simple rules (report_rules.py). The text is judged and forgotten."""
    for line in _chosen(path, rule, [rule.text_column]):
        yield line[rule.column or rule.id], {
            name: read_report(line[rule.text_column], one.finding or name) for name, one in rule.outputs.items()}


def verdicts(path: Path, rule: TruthRule) -> Iterator[Line]:
    """Read labels.jsonl of ``python -m service rights dataset``: what a professional agreed with or corrected.

    The archive is then that set, whose files the lines name. A rejection says that the result is wrong and not what is right:
    it leaves the case unknown.
    """
    try:
        told = [json.loads(line) for line in path.read_text("utf-8").splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        raise UnusableInput(f"{path.name}: must hold one JSON object a line, found something else. Make the set again.",
                            code="bad_truth") from error
    for one in told:
        for file in one.get("files", ()):
            yield str(file), {name: _judged(one, name) for name in rule.outputs}


def data_set(name: str, outputs: Sequence[str], root: Path) -> Iterator[Line]:
    """Read the outcomes of a data set that was scored as data:NAME, in the order of the release's outputs."""
    from training.sources import SOURCES  # noqa: PLC0415  brings every reader of data along

    if name not in SOURCES:
        raise UnusableInput(f"data:NAME must be one of {', '.join(SOURCES)}, found {name!r}.", code="no_such_data")
    for split in ("train", "val", "test"):
        for place, case in enumerate(SOURCES[name].records(split, root)):
            labels = zip(outputs, case.labels, strict=False)
            yield f"{split}/{place}", {output: None if isnan(label) else int(label > 0.5) for output, label in labels}


KINDS: dict[str, Callable[[Path, TruthRule], Iterator[Line]]] = {
    "table": table, "codes": codes, "reports": reports, "verdicts": verdicts,
}


def _chosen(path: Path, rule: TruthRule, needed: Sequence[str]) -> Iterator[dict[str, str]]:
    """Return the lines that ``where`` chooses, once it is known that every column is there."""
    for place, line in enumerate(lines_of(path)):
        absent = [one for one in (rule.column or rule.id, *needed, *rule.where) if one not in line]
        if place == 0 and absent:
            raise UnusableInput(f"{path.name}: needs the columns {', '.join(absent)}, found others. Say in the .toml what they are "
                                "called.", code="bad_truth")
        if all(line[column] == word for column, word in rule.where.items()):
            yield line


def _label(line: dict[str, str], name: str, rule: OutputRule) -> int | None:
    text = (line[rule.column or name] or "").strip()
    words = {one.strip().casefold() for one in (text.split(rule.separator) if rule.separator else [text])}
    if words <= UNKNOWN:
        return None
    yes = {one.casefold() for one in rule.positive} or YES
    no = {one.casefold() for one in rule.negative} or (NO if not rule.positive else None)
    if words & yes:
        return 1
    return 0 if no is None or words & no else None


def _coded(had: list[str], rule: OutputRule) -> int | None:
    if any(code.startswith(tuple(map(_bare, rule.codes))) for code in had):
        return 1
    return None if rule.excluded and any(code.startswith(tuple(map(_bare, rule.excluded))) for code in had) else 0


def _bare(code: str) -> str:
    return code.replace(".", "").replace("+", "").strip().upper()


def _fhir_codes(path: Path, rule: TruthRule) -> Iterator[tuple[str, str]]:
    """Return (patient or encounter id, code) of every coded Condition, and of reasons that an Encounter states itself."""
    for one in _resources(path):
        reference = one.get("encounter" if rule.id in ("study", "accession") else "subject") or {}
        who = str(reference.get("reference", "")).rpartition("/")[2]
        concepts = [one.get("code") or {}] if one.get("resourceType") == "Condition" else []
        if one.get("resourceType") == "Encounter":
            concepts = list(one.get("reasonCode") or [])
            who = str(one.get("id", "")) if rule.id in ("study", "accession") else who
        status = {code.get("code") for code in (one.get("verificationStatus") or {}).get("coding", [])}
        if not who or status & {"entered-in-error", "refuted"}:
            continue
        for concept in concepts:
            for coding in concept.get("coding", []):
                if coding.get("system") in ICD_10 and coding.get("code"):
                    yield who, str(coding["code"])


def _resources(path: Path) -> Iterator[dict[str, Any]]:
    files = sorted(one for one in path.rglob("*") if one.suffix in (".json", ".ndjson")) if path.is_dir() else [path]
    for file in files:
        try:
            text = file.read_text("utf-8")
            parts = text.splitlines() if file.suffix == ".ndjson" else [text]
            told = [json.loads(part) for part in parts if part.strip()]
        except (OSError, ValueError) as error:
            raise UnusableInput(f"A file of FHIR resources must be JSON or NDJSON, {len(files)} were found and one cannot be read. "
                                "Export again.", code="bad_truth") from error
        for one in told:
            if isinstance(one, dict):
                entries = one.get("entry") if one.get("resourceType") == "Bundle" else None
                yield from (entry.get("resource") or {} for entry in entries) if entries is not None else (one,)


def _judged(one: dict[str, Any], name: str) -> int | None:
    """Return what a reader left of one finding: present or not; None where nobody said."""
    if one.get("decision") not in ("agree", "correct"):
        return None
    left = next((each for each in one.get("assessed", ()) if each.get("name") == name), {})
    present = left.get("present")
    if present is None and one["decision"] == "agree":
        model = next((each for each in one.get("findings", ()) if each.get("name") == name), {})
        present = model.get("above_threshold")
    return None if present is None else int(bool(present))
