"""Shadows on records: what was told of a risk is scored once more by the candidates, from the record that was kept, in a thread of
its own and some time after the answer."""

from __future__ import annotations

import logging
import time
from functools import partial

from models.prediction import Result
from service.ehr_house import House
from service.lives import Background
from service.logs import where
from service.releases.shadow import Candidate, said_of_kept, score
from service.store import shadows
from service.store.review_tables import Risk
from service.store.rights import opposes
from service.told_risks import score_again

log = logging.getLogger("diaphane")
EVERY_S = 2.0
AT_ONCE = 20
BETWEEN_S = 0.02  # others score and write too


class RiskShadow:
    """Works in a thread of its own; several processes may do it at once."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._background = Background(self._work, "shadow-risks", daemon=True)
        self._looked: dict[tuple[str, float], int] = {}

    def open(self) -> None:
        """Begin."""
        self._background.open()

    def close(self) -> None:
        """End; what was not scored yet comes with the next start."""
        self._background.close()

    def step(self) -> int:
        """Score some of what is due with every candidate; return how many cases."""
        house, done = self._house, 0
        if not house.scoring.ready:
            return 0
        for candidate in house.standings.candidates(house.scoring.installed):
            if candidate.model.manifest.task != "risk":
                continue
            looked = candidate.model.id, candidate.since
            due = shadows.next_risks(house.store, candidate.model.id, beside=candidate.beside, since=candidate.since,
                                     after=self._looked.get(looked, 0), most=AT_ONCE)
            for risk in due:
                self._looked[looked] = risk.id
                self._score(candidate, risk)
                done += 1
                if self._background.stop.wait(BETWEEN_S):
                    return done
        return done

    def _score(self, candidate: Candidate, risk: Risk) -> None:
        store = self._house.store
        if not risk.record or (risk.person and opposes(store, persons=[risk.person], purpose="scoring")):
            return  # no record was kept of it, or the person opposes it since
        again: partial[Result] = partial(score_again, candidate.model, risk.record)
        score(store, candidate, "risk", risk.key, said_of_kept(risk.answer) if candidate.beside else {}, now=time.time(), work=again)

    def _work(self) -> None:
        while not self._background.stop.wait(EVERY_S):
            try:
                self.step()
            except Exception as error:  # nobody waits for it
                log.warning("shadow: %s", where(error))
