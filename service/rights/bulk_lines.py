"""Bulk files without the lines of one person: what was sent to be scored, what came of it, and what could not be read."""

from __future__ import annotations

import json
from typing import Any

from service.rights.mentions import Mentions
from service.store import erasing, persons
from service.store.errors import StoreError
from service.store.store import Store

TRIES = 20
LINE = "urn:diaphane:line"  # system of the tag that says which line of the input an answer is to


def erase_lines(store: Store, mentions: Mentions) -> int:
    """Blank every line about the person in all bulk files; return how many. Line numbers stay what they were."""
    total = 0
    for key in [one.key for one in persons.bulk_jobs(store)]:
        for _ in range(TRIES):  # a piece may be finished meanwhile: look again
            done = _one_job(store, key, mentions)
            if done is not None:
                total += done
                break
        else:
            raise StoreError("A bulk job changes faster than it can be cleaned. Cancel it, then erase again.", code="refused")
    return total


def _one_job(store: Store, key: str, mentions: Mentions) -> int | None:
    """Clean one job; None when it changed meanwhile."""
    job = next((one for one in persons.bulk_jobs(store) if one.key == key), None)
    if job is None:
        return 0
    before = json.loads(json.dumps(job.files))
    files, gone, blanked, numbers = dict(before), [], 0, set[int]()
    for kind in ("input", "output", "error"):
        kept = []
        for sha256, *rest in before[kind]:
            content, lines = _cleaned(store.objects.get(sha256), mentions, int(rest[0]) if kind == "input" else None, numbers)
            blanked += len(lines)
            if lines:
                gone.append(sha256)
                sha256 = store.objects.put(content)  # noqa: PLW2901  the file in its place
                if kind != "input":
                    rest = [int(rest[0]) - len(lines)]  # noqa: PLW2901
            kept.append([sha256, *rest])
        files[kind] = kept
    if not blanked:
        return 0
    return blanked if erasing.replace_files(store, job.id, files, before, gone) else None


def _cleaned(content: bytes, mentions: Mentions, first: int | None, numbers: set[int]) -> tuple[bytes, list[int]]:
    """Return a file without the person's lines, and their places. Of input lines the numbers are noted; answers to them go too."""
    lines, gone = content.split(b"\n"), []
    for place, line in enumerate(lines):
        if not line.strip():
            continue
        told = _read(line)
        if mentions.is_in(told) or (first is None and _line_of(told) in numbers):
            gone.append(place)
            if first is not None:
                numbers.add(first + place)
    if first is not None:  # a blank line keeps the numbers of those that follow
        return b"\n".join(b"" if place in gone else line for place, line in enumerate(lines)), gone
    return b"\n".join(line for place, line in enumerate(lines) if place not in gone), gone


def _read(line: bytes) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return line.decode("utf-8", "replace")


def _line_of(told: Any) -> int | None:
    """Return the line of the input that an answer is to: a tag of a Bundle, or the diagnostics of an OperationOutcome."""
    try:
        if told.get("resourceType") == "OperationOutcome":
            return int(str(told["issue"][0]["diagnostics"]).removeprefix("line "))
        return int(next(tag["code"] for tag in told["meta"]["tag"] if tag["system"] == LINE))
    except (AttributeError, IndexError, KeyError, StopIteration, TypeError, ValueError):
        return None
