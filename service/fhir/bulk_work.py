"""The thread that works off bulk jobs: claim a job, score a piece of it, save what became of the piece, take the next.

It runs in the process that answers HTTP and holds the open releases. Every process may have one: a job is held by a
lease, and is taken over where it stood when the process that held it is gone.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Iterator

from models.errors import DiaphaneError
from models.shelf import Shelf
from service.ehr_house import House
from service.fhir.datatypes import Json
from service.fhir.exchange import Refused, parse, problem_from
from service.fhir.predict import Predictor, read_wish, scored
from service.leash import Leash
from service.lives import name_of_process
from service.logs import where
from service.problem import ProblemError
from service.store import bulk, queue
from service.store.bulk import Done, Piece
from service.store.ehr_tables import BulkJob
from service.store.errors import LostLease, StoreError
from service.store.retention import drop_leftovers
from service.words import Language, as_language

log = logging.getLogger("diaphane")
IDLE_S = 1.0
LINE = "urn:diaphane:line"  # system of the tag that says which line of the input a Bundle answers
PATIENCE_S = 2.0


class BulkWork:
    """One thread. ``step`` does one job, or what is left of it."""

    def __init__(self, house: House, predictor: Callable[[Shelf], Predictor]) -> None:
        self.house, self.predictor = house, predictor
        self._name = name_of_process("bulk")
        self._stopping, self._called = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="bulk", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End after the piece in hand."""
        self._stopping.set()
        self._called.set()
        if self._thread.is_alive():
            self._thread.join()

    def wake(self) -> None:
        """Say that there is a new job."""
        self._called.set()

    def step(self) -> bool:
        """Do the oldest job. False when there was none."""
        settings, store = self.house.settings, self.house.store
        job = bulk.claim_job(store, worker=self._name, lease_s=settings.lease_s)
        if job is None:
            return False
        try:
            self._try(job, queue.claim_of(job))
        except LostLease:
            log.info("a bulk job was cancelled or taken over")
        return True

    def _try(self, job: BulkJob, claim: queue.Claim) -> None:
        """Do a job once, and say what became of it. Raises LostLease."""
        settings, store = self.house.settings, self.house.store
        try:
            if bulk.tries(job) > settings.max_attempts:  # it died with its process, again and again at the same piece
                queue.fail(store, BulkJob, claim, "the process died at every try", max_attempts=1)
                return
            with Leash(store, BulkJob, claim, settings.lease_s):
                self._work_off(job)
        except LostLease:
            raise
        except StoreError as error:
            if error.code == "damaged":  # a file of the job is gone or changed: that does not pass
                log.error("a bulk job was given up: %s", where(error))
                queue.fail(store, BulkJob, claim, "store_damaged", max_attempts=1)
            else:
                queue.put_back(store, BulkJob, claim, f"store_{error.code}", pause_s=queue.FIRST_PAUSE_S)
        except Exception as error:
            log.warning("try %d of a bulk job failed: %s", claim.attempts, where(error))
            queue.fail(store, BulkJob, claim, where(error), max_attempts=0)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                busy = self.house.scoring.ready and self.step()
            except Exception as error:  # the store is away, or worse: it is asked again
                log.warning("bulk: %s", where(error))
                self._stopping.wait(PATIENCE_S)
                busy = False
            if not busy:
                self._called.wait(IDLE_S)
                self._called.clear()

    def _work_off(self, job: BulkJob) -> None:
        store = self.house.store
        predictor = self.predictor(self.house.scoring.shelf)
        language = as_language(job.request["language"], "en")
        while (piece := bulk.next_piece(job)) is not None:
            if self._stopping.is_set():
                queue.put_back(store, BulkJob, queue.claim_of(job), "the process was told to stop")
                return
            done = self._score(piece, predictor, job.request["query"], language)
            try:
                bulk.save_piece(store, job, piece, done)
            except LostLease:  # of a job that was cancelled, nothing stays
                bulk.discard(store, done)
                drop_leftovers(store)
                raise
        bulk.end(store, job)
        log.info("a bulk job of %d records is done: %d scored, %d refused, %d unusable, %.1f a second",
                 job.total, job.scored, job.refused, job.unusable, job.total / max(job.files["seconds"], 1e-9))

    def _score(self, piece: Piece, predictor: Predictor, query: dict[str, str], language: Language) -> Done:
        began, objects = time.perf_counter(), self.house.store.objects
        bundles: list[str] = []
        errors: list[str] = []
        hits = 0
        for number, line in _lines(piece, objects.get(piece.sha256)):
            try:
                body = parse(line)
                told, results = predictor.answer(read_wish(body, query if body.get("resourceType") == "Bundle" else None), language)
                told["meta"] = {**told.get("meta", {}), "tag": [{"system": LINE, "code": str(number)}]}
                bundles.append(_written(told))
                hits += scored(results) > 0
            except StoreError:
                raise
            except Exception as error:
                if not isinstance(error, DiaphaneError | ProblemError | Refused):
                    log.error("unexpected %s", where(error))
                errors.append(_written(_with_line(problem_from(error), number)))
        files = ["".join(one) for one in (bundles, errors)]
        output, error_file = (objects.put(text.encode()) if text else "" for text in files)
        return Done(output, len(bundles), error_file, len(errors), hits, len(bundles) - hits, time.perf_counter() - began)


def _lines(piece: Piece, content: bytes) -> Iterator[tuple[int, bytes]]:
    for number, line in enumerate(content.split(b"\n"), start=piece.first):
        if line.strip():
            yield number, line


def _with_line(told: Json, number: int) -> Json:
    """Say which line of the input an OperationOutcome is about."""
    for issue in told["issue"]:
        issue["diagnostics"] = f"line {number}"
    return told


def _written(resource: Json) -> str:
    return json.dumps(resource, ensure_ascii=False, allow_nan=False, separators=(",", ":")) + "\n"
