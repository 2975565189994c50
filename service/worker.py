"""Worker: seal what is complete, claim a job, read, route, score, write the DICOM objects, save all of it at once.

A worker that is killed at any point has saved nothing or everything of a job; another takes the job when its lease ends.
What it makes is derived from the series, the model, its version and the revision, so a repeat is the same bytes.
"""

from __future__ import annotations

import io
import logging
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pydicom
from pydicom.dataset import Dataset

from models.errors import UnusableInput
from models.prediction import Refusal, to_json
from models.read_dicom import header_of
from models.shelf import Shelf
from models.volume import Volume
from service.audit.audit import Audit
from service.audit.predicted import append_study
from service.decode import Decoder, DecoderFailed
from service.dicom import performer
from service.dicom.told import Decline, NotAssessed, Told, Written
from service.dicom.write import write
from service.fhir.write_report import report_bundle
from service.leash import Leash
from service.logs import where
from service.monitor.observed import of_image
from service.pipeline import NOT_MEANT, Outcome, worth_telling
from service.releases.barred import REASON as NOT_LIVE
from service.releases.shadow_images import ImageShadow
from service.releases.standing import Standings
from service.reporting.of_told import presented_of
from service.rights import opposed as opposition
from service.rights.opposed import image_opposed
from service.routing import Route, facts_of, route
from service.serve import return_memory
from service.settings import Settings
from service.site import Site
from service.store import desk, messages, observations, queue
from service.store.cases import seal_due
from service.store.desk import Sealed
from service.store.errors import LostLease, StoreError
from service.store.ledger import save_result
from service.store.store import Store
from service.store.tables import Job
from service.told_studies import put_line

log = logging.getLogger("diaphane")
IDLE_S = 0.2
PASSING = frozenset(("full", "unreachable", "unwritable", "closed"))  # of StoreError: the trouble is not this job's
LONGEST_JOB_S = 3600.0  # the decoder has a limit of its own; a graph that runs for so long hangs
WATCHED_SHARE = 10  # the worklist takes no more than one part in so many of a worker's time, however long it is


class Worker:
    """One scoring process. ``step`` does one job."""

    def __init__(
        self, store: Store, shelf: Shelf, site: Site, settings: Settings, name: str, *, decoder: Decoder | None = None
    ) -> None:
        self.store, self.site, self.settings, self.name = store, site, settings, name
        self.decoder = decoder or Decoder(timeout_s=settings.decode_timeout_s, memory_mib=settings.decode_memory_mib)
        self.standings, self._installed = Standings(store, site), shelf
        self.shadow = ImageShadow(store, site, self.decoder, lambda: self.standings.candidates(shelf))
        self.audit = Audit(store, site, settings)
        self._perform_at = 0.0

    @property
    def shelf(self) -> Shelf:
        """The releases, of which those are active that are live now."""
        return self.standings.view(self._installed)

    def close(self) -> None:
        """End the decoding process."""
        self.decoder.close()

    def step(self) -> bool:
        """Seal, triage, and do the most urgent job; when none waits, what is in shadow. False when there was nothing to do."""
        sealed = seal_due(self.store)
        self.triage()
        performed = self._perform()
        row = queue.claim(self.store, Job, worker=self.name, lease_s=self.settings.lease_s)
        if row is None:
            return bool(sealed or performed) or self.shadow.step()
        claim = queue.claim_of(row)
        with Leash(self.store, Job, claim, self.settings.lease_s, longest_s=LONGEST_JOB_S):
            self._do(claim)
        return_memory()  # 0.4 GiB of a worker's memory otherwise, growing for minutes
        return True

    def _perform(self) -> bool:
        began = time.monotonic()
        if began < self._perform_at:
            return False
        performed = performer.step(self.store, station=self.settings.ae_title)
        ended = time.monotonic()
        self._perform_at = ended + (WATCHED_SHARE - 1) * (ended - began)
        return performed

    def triage(self) -> None:
        """Give every new job the priority the site rules say, before the most urgent is claimed."""
        for job in desk.untriaged(self.store, limit=50):
            try:
                priority = self._route(job, self._headers(job)).priority
            except Exception as error:  # the job itself will say what is wrong
                if _passes(error):
                    raise  # its priority is asked for again once the store answers
                log.warning("triage: %s", where(error))
                priority = None
            desk.triage(self.store, job.job_id, priority)

    def _do(self, claim: queue.Claim) -> None:
        job = desk.load(self.store, claim.id)
        began = time.perf_counter()
        try:
            if claim.attempts > self.settings.max_attempts:  # it was killed with its worker, again and again
                raise DecoderFailed("the worker died at every try")
            told, decided = self._assess(job)
            self._save(claim, job, told, decided)
        except LostLease:
            log.warning("a job was taken over by another worker; nothing was saved here")
        except Exception as error:
            self._failed(claim, job, error)
        else:
            log.info("job of %d images done in %.0f ms: %s", len(job.instances), 1000 * (time.perf_counter() - began),
                     ", ".join(_status(one) for one in told))

    def _assess(self, job: Sealed) -> tuple[list[Told], Route | None]:
        """Return what there is to tell of a sealed case: one thing a model, or that nothing could be assessed."""
        headers = self._headers(job)
        if image_opposed(self.store, self.site, headers[0], job.study_uid):
            opposed = Decline("", "", opposition.REASON, opposition.MESSAGE, opposition.ADVICE)
            return [self._told(job, headers, None, NotAssessed("opposed", (opposed,)))], None
        try:
            decided = self._route(job, headers)
        except UnusableInput as error:
            return [self._told(job, headers, None, _unusable(error))], None
        takers = [self._installed.models[one.model] for one in decided.models if one.takes]
        off = tuple(Decline(one.model, one.title, one.reason, one.message, one.advice) for one in decided.models
                    if one.reason == NOT_LIVE)
        if off and not takers:
            return [self._told(job, headers, None, NotAssessed("not_live", off))], decided
        if not takers:
            reasons = tuple(Decline(one.model, one.title, one.reason, one.message, one.advice) for one in decided.models)
            return [self._told(job, headers, None, NotAssessed("unfit", reasons))], decided
        try:
            volume = self.decoder.read([self._sound(one.sha256) for one in job.instances])
            outcomes = worth_telling([Outcome(model.manifest, model.predict(volume)) for model in takers])
        except UnusableInput as error:
            return [self._told(job, headers, None, _unusable(error))], decided
        if all(isinstance(one.result, Refusal) and one.result.reason in NOT_MEANT for one in outcomes):
            reasons = tuple(_decline(one) for one in outcomes)
            return [self._told(job, headers, volume, NotAssessed("unfit", reasons))], decided
        return [self._told(job, headers, volume, one.result, one) for one in outcomes], decided

    def _save(self, claim: queue.Claim, job: Sealed, told: Sequence[Told], decided: Route | None, *, state: str = "done",
              reason: str = "") -> None:
        """Write the objects and save them with the result, the deliveries and the end of the job in one transaction."""
        written = [(one, write(one) if self._sent(one, decided) else []) for one in told]
        self.store.objects.put_many([each.data for _, objects in written for each in objects])
        targets = list(decided.targets) if decided else [target.name for target in self.site.targets]
        records = [target.name for target in self.site.targets if target.kind == "fhir" and target.name in targets]
        images = [name for name in targets if name not in records]
        bundles = [self._bundle(one, objects) if records and objects else {} for one, objects in written]
        with self.store.session() as session:
            for (one, objects), bundle in zip(written, bundles, strict=True):
                row = save_result(
                    session, job.revision_id, model=one.model, status=_status(one), reason=_reason(one),
                    summary=_summary(one), objects=objects, targets=images if objects else [], priority=job.priority,
                )
                observations.add(session, of_image(self.site, one, row.id, job.calling_ae))
                for name in records if bundle else ():
                    key = messages.key_of("imaging", str(job.revision_id), one.model)
                    messages.add(session, target=name, kind="fhir", key=key, content=bundle, priority=job.priority)
            if self.settings.review:
                put_line(session, self.store, self.site, job.study_uid, told[0].sources[0])
                append_study(self.audit, session, job.study_uid, told[0].sources[0], [(one.model, _status(one)) for one in told])
            queue.finish(session, Job, claim, state=state, reason=reason)

    def _failed(self, claim: queue.Claim, job: Sealed, error: Exception) -> None:
        """Put the job back for later; at its last try, tell that it could not be assessed and quarantine it.

        What ails the store is no try of the job: a disk that is full for an hour quarantines nothing. It is raised again.
        """
        if _passes(error):
            self._put_back(claim, error)
            raise error
        reason = error.reason if isinstance(error, DecoderFailed) else where(error)
        log.warning("try %d of a job failed: %s", claim.attempts, reason)
        if claim.attempts < self.settings.max_attempts:
            queue.fail(self.store, Job, claim, reason, max_attempts=self.settings.max_attempts)
            return
        failed = NotAssessed("failed", (Decline("", "", "technical_failure", "The image could not be processed.", ""),))
        try:
            self._save(claim, job, [self._told(job, self._headers(job), None, failed)], None, state="quarantined", reason=reason)
        except LostLease:
            log.warning("a job was taken over by another worker; nothing was saved here")
        except Exception as second:  # not even that can be written: it stays visible in `status`
            if _passes(second):
                self._put_back(claim, second)
                raise
            queue.fail(self.store, Job, claim, f"{reason}; {where(second)}", max_attempts=1)

    def _put_back(self, claim: queue.Claim, error: Exception) -> None:
        with suppress(LostLease):
            queue.put_back(self.store, Job, claim, f"store_{getattr(error, 'code', '')}")

    def _sound(self, sha256: str) -> Path | bytes:
        """Return a file whose hash was checked: a pixel that a disk spoilt is not scored."""
        data = self.store.objects.get(sha256)
        return self.store.objects.path(sha256) or data

    def _headers(self, job: Sealed) -> list[Dataset]:
        """Read the headers of a sealed case. They were parsed within limits before they were acknowledged."""
        return [
            pydicom.dcmread(self.store.objects.path(i.sha256) or io.BytesIO(self.store.objects.get(i.sha256)),
                            stop_before_pixels=True)
            for i in job.instances
        ]

    def _route(self, job: Sealed, headers: list[Dataset]) -> Route:
        facts = facts_of(headers, calling_ae=job.calling_ae, called_ae=job.called_ae)
        if job.count > len(headers):  # triage looks at one image of the series, and knows how many there are
            facts = replace(facts, numbers={**facts.numbers, "slices": (float(job.count),)})
        return route(facts, header_of(headers[0]), self.shelf, self.site)

    def _told(self, job: Sealed, headers: list[Dataset], volume: Volume | None, result: Any,
              outcome: Outcome | None = None) -> Told:
        return Told(
            sources=_in_order(headers, volume), volume=volume, manifest=outcome.model if outcome else None, result=result,
            revision=job.revision, made_at=datetime.fromtimestamp(job.sealed_at, UTC).astimezone(self.site.device.zone),
            device=self.site.device,
        )

    def _bundle(self, told: Told, objects: Sequence[Written]) -> dict[str, Any]:
        """Return the result as FHIR, with the draft of its report."""
        accept = self.site.identity.accept
        pages = presented_of(told, accept=accept, institution=self.site.organisation.name)
        return report_bundle(told, objects, accept=accept, presented=pages)

    def _sent(self, told: Told, decided: Route | None) -> bool:
        if isinstance(told.result, NotAssessed) and told.result.status in ("opposed", "not_live"):
            return False
        unfit = isinstance(told.result, NotAssessed) and told.result.status == "unfit"
        return not unfit or (self.settings.report_unfit and (decided is None or decided.report_unfit))


def _in_order(headers: list[Dataset], volume: Volume | None) -> tuple[Dataset, ...]:
    """Return the headers in the order of the volume's slices, where it has one a slice."""
    if volume is None or len(headers) == 1 or len(volume.sop_uids) != len(headers):
        return tuple(headers)
    by_uid = {str(header.SOPInstanceUID): header for header in headers}
    return tuple(by_uid[uid] for uid in volume.sop_uids)


def _passes(error: Exception) -> bool:
    return isinstance(error, StoreError) and error.code in PASSING


def _unusable(error: UnusableInput) -> NotAssessed:
    return NotAssessed("unusable", (Decline("", "", error.code, str(error), ""),))


def _decline(outcome: Outcome) -> Decline:
    refusal = outcome.result
    assert isinstance(refusal, Refusal)  # the caller looked
    return Decline(outcome.model.id, outcome.model.title, str(refusal.reason), refusal.message, refusal.advice)


def _status(told: Told) -> str:
    return str(told.result.status)


def _reason(told: Told) -> str:
    result = told.result
    if isinstance(result, Refusal):
        return str(result.reason)
    return result.reasons[0].reason if isinstance(result, NotAssessed) and result.reasons else ""


def _summary(told: Told) -> dict[str, Any]:
    summary: dict[str, Any] = to_json(told.result)
    return summary
