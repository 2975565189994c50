"""Shadows on images: one case at a time, in a worker that has nothing else to do, after the live result was saved and sent off.

A job that arrives meanwhile waits for no more than the one case under way, and shadows rest three times as long as they worked.
"""

from __future__ import annotations

import io
import logging
import time
from collections.abc import Callable, Sequence

import pydicom

from models import gate
from models.errors import UnusableInput
from models.prediction import Result
from models.read_dicom import header_of
from models.volume import Header
from service.decode import Decoder
from service.logs import where
from service.releases.shadow import Candidate, said_of_kept, score
from service.rights.opposed import image_opposed
from service.site import Site
from service.store import shadows
from service.store.shadows import DueImages
from service.store.store import Store

log = logging.getLogger("diaphane")
SHARE = 4  # shadows take no more than one part in so many of the time a worker has left over
LOOK_S = 1.0  # after nothing was due
AGAIN_S = 30.0  # after something went wrong here
CRASHES, CRASHES_S = 3, 3600.0  # so many processes lost within an hour, and this one leaves the candidate alone until it is over
UNDER_WAY_S = 60.0  # a case that others began so lately may still end


class ImageShadow:
    """Scores with the candidates what the live release has scored."""

    def __init__(self, store: Store, site: Site, decoder: Decoder, candidates: Callable[[], Sequence[Candidate]]) -> None:
        self.store, self.site, self.decoder = store, site, decoder
        self._candidates = candidates
        self._rest_until = 0.0
        self._looked: dict[tuple[str, float], int] = {}  # candidate and since when → the last result that was looked at
        self._left_until: dict[str, float] = {}  # candidate → until when it is left alone; known of each from its first case on

    def step(self) -> bool:
        """Score one case with one candidate. False when there is none, or it is time to rest. It raises nothing."""
        began = time.monotonic()
        if began < self._rest_until:
            return False
        try:
            done = self._one()
        except Exception as error:  # the store is away, or a file: the live path says so where it matters
            log.warning("shadow: %s; trying again in %.0f s", where(error), AGAIN_S)
            self._rest_until = time.monotonic() + AGAIN_S
            return False
        ended = time.monotonic()
        self._rest_until = ended + max((SHARE - 1) * (ended - began), 0.0 if done else LOOK_S)
        return done

    def _one(self) -> bool:
        for candidate in self._candidates():
            if candidate.model.manifest.task in ("risk", "department"):
                continue
            if time.monotonic() < self._left_alone(candidate):
                continue
            looked = candidate.model.id, candidate.since
            due = shadows.next_images(self.store, candidate.model.id, beside=candidate.beside, since=candidate.since,
                                      after=self._looked.get(looked, 0))
            if due is not None:
                self._looked[looked] = due.id
                self._score(candidate, due)
                return True
        return False

    def _left_alone(self, candidate: Candidate) -> float:
        """Return until when a candidate is left alone: one that kills the workers it runs in must not keep them from live work."""
        release, now = candidate.model.id, time.time()
        if release not in self._left_until:  # whoever crashed began anew: asking once a process is enough
            lost = shadows.crashes(self.store, release, since=now - CRASHES_S, before=now - UNDER_WAY_S)
            self._left_until[release] = time.monotonic() + CRASHES_S if lost >= CRASHES else 0.0
            if lost >= CRASHES:
                log.error("ALARM shadow: %s took its worker with it %d times within an hour; it is left alone for an hour. Switch it "
                          "off: python -m service release off", release, lost)
        return self._left_until[release]

    def _score(self, candidate: Candidate, due: DueImages) -> None:
        first = pydicom.dcmread(io.BytesIO(self.store.objects.get(due.images[0])), stop_before_pixels=True)
        if image_opposed(self.store, self.site, first, due.study_uid):
            return  # since it was scored: nothing more is made of it
        live_said = said_of_kept(due.summary) if candidate.beside else {}
        score(self.store, candidate, "result", str(due.id), live_said, now=time.time(),
              work=lambda: self._predict(candidate, due, header_of(first)))

    def _predict(self, candidate: Candidate, due: DueImages, header: Header) -> Result:
        model = candidate.model
        if (declined := gate.decline_header(model.manifest.accepts, header)) is not None:
            return model.refusal(declined)
        if not due.images:
            raise UnusableInput("The images of the case are not here any more.", code="no_input")
        return model.predict(self.decoder.read([self.store.objects.path(one) or self.store.objects.get(one) for one in due.images]))
