"""Bulk jobs: many records to score, taken in pieces; what is finished of a piece and its count are one transaction.

``files`` of a job: ``input`` [sha256, number of its first line, lines], ``output`` and ``error`` [sha256, lines], each list
in the order of the input; ``next`` the piece to do; ``seconds`` spent so far. A process that dies loses one piece of work.
"""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import CursorResult, delete, select, update
from sqlalchemy.orm import Session

from service.store import queue
from service.store.ehr_tables import BulkJob
from service.store.errors import LostLease
from service.store.filing import add_new
from service.store.store import Store
from service.store.tables import Leftover

Json = dict[str, Any]
_UNSYNCHRONISED = {"synchronize_session": False}


@dataclass(frozen=True)
class Piece:
    """Some lines of the input: NDJSON under its SHA-256."""

    sha256: str
    first: int  # number of its first line, from 1
    lines: int  # that are not blank


@dataclass(frozen=True)
class Done:
    """What became of one piece; files that hold nothing are "" ."""

    output: str
    outputs: int
    error: str
    errors: int
    scored: int
    refused: int
    seconds: float


@dataclass(frozen=True)
class Progress:
    """How far a job is. ``state``: queued, running, done or quarantined."""

    key: str
    state: str
    done: int
    total: int
    scored: int
    refused: int
    unusable: int
    seconds: float
    created_at: float
    finished_at: float | None
    request: Json = field(repr=False)
    output: tuple[tuple[str, int], ...] = ()
    error: tuple[tuple[str, int], ...] = ()


def create(store: Store, *, request: Json, input_sha256: str, pieces: list[Piece]) -> str:
    """Queue a job whose pieces are on disk; return the random name it is asked for by."""
    key = str(uuid.uuid4())
    files = {"input": [[one.sha256, one.first, one.lines] for one in pieces], "output": [], "error": [], "next": 0, "seconds": 0.0,
             "tries": 0}
    with store.session() as session:
        session.add(BulkJob(
            key=key, request=request, input_sha256=input_sha256, total=sum(one.lines for one in pieces), files=files, priority=0,
            state="queued", created_at=time.time(), done=0, scored=0, refused=0, unusable=0,
        ))
    return key


def progress_of(store: Store, key: str) -> Progress | None:
    """Return how far a job is, None when there is none of that name."""
    with store.reading() as session:
        row = session.scalar(select(BulkJob).where(BulkJob.key == key))
    if row is None:
        return None
    output, error = (tuple((str(sha256), int(lines)) for sha256, lines in row.files[kind]) for kind in ("output", "error"))
    return Progress(row.key, row.state, row.done, row.total, row.scored, row.refused, row.unusable, float(row.files["seconds"]),
                    row.created_at, row.finished_at, row.request, output, error)


def claim_job(store: Store, *, worker: str, lease_s: float) -> BulkJob | None:
    """Take the oldest job that waits, or whose holder went silent."""
    return queue.claim(store, BulkJob, worker=worker, lease_s=lease_s)


def next_piece(job: BulkJob) -> Piece | None:
    """Return the piece to do, None when all are done."""
    pieces, place = job.files["input"], int(job.files["next"])
    return Piece(*pieces[place]) if place < len(pieces) else None


def tries(job: BulkJob) -> int:
    """Count how often the job was claimed since a piece was last finished."""
    return job.attempts - int(job.files["tries"])


def save_piece(store: Store, job: BulkJob, piece: Piece, done: Done) -> None:
    """Note what became of a piece. Raises LostLease when another process took over, or the job was cancelled."""
    files = {**job.files, "next": int(job.files["next"]) + 1, "seconds": float(job.files["seconds"]) + done.seconds,
             "tries": job.attempts}
    for kind, sha256, lines in (("output", done.output, done.outputs), ("error", done.error, done.errors)):
        if sha256:
            files[kind] = [*files[kind], [sha256, lines]]
    values = {"files": files, "done": job.done + piece.lines, "scored": job.scored + done.scored,
              "refused": job.refused + done.refused, "unusable": job.unusable + done.errors}
    held = (BulkJob.id == job.id, BulkJob.state == "running", BulkJob.claimed_by == job.claimed_by, BulkJob.attempts == job.attempts)
    with store.session() as session:
        changed: Any = session.execute(update(BulkJob).where(*held).values(**values), execution_options=_UNSYNCHRONISED)
        if not isinstance(changed, CursorResult) or changed.rowcount != 1:
            raise LostLease("The job was cancelled or taken over. What was made here is dropped; nothing is to be done.")
    for name, value in values.items():
        setattr(job, name, value)


def end(store: Store, job: BulkJob) -> None:
    """Finish a job whose pieces are all done. Raises LostLease."""
    with store.session() as session:
        queue.finish(session, BulkJob, queue.claim_of(job))


def cancel(store: Store, key: str) -> bool:
    """Remove a job and what it made; False when there is none of that name. Whoever works on it notices at the next piece."""
    with store.session() as session:
        row = session.scalar(select(BulkJob).where(BulkJob.key == key))
        if row is None:
            return False
        _remove(session, [row])
    return True


def discard(store: Store, done: Done) -> None:
    """List for removal the results of a piece that nobody waits for any more. What was refused tells of nobody, and may stay."""
    with store.session() as session:
        add_new(session.connection(), Leftover, [{"sha256": done.output}] if done.output else [])


def prune_bulk(store: Store, older_than_s: float) -> int:
    """Remove jobs that ended longer ago than that, with what they made; return how many."""
    with store.session() as session:
        rows = list(session.scalars(select(BulkJob).where(BulkJob.finished_at < time.time() - older_than_s)))
        _remove(session, rows)
    return len(rows)


def files_named(session: Session) -> set[str]:
    """Return every file a job names: they are no orphans."""
    return {name for files in session.scalars(select(BulkJob.files)) for name in _names(files)}


def _remove(session: Session, rows: list[BulkJob]) -> None:
    """Remove rows, and list their files for removal: another row may name one of them too."""
    files = sorted({name for row in rows for name in _names(row.files)})
    add_new(session.connection(), Leftover, [{"sha256": name} for name in files])
    session.execute(delete(BulkJob).where(BulkJob.id.in_([row.id for row in rows])), execution_options=_UNSYNCHRONISED)


def _names(files: Json) -> list[str]:
    return [str(one[0]) for kind in ("input", "output", "error") for one in files[kind]]
