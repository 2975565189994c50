"""Asked: one call of one service, with everything it takes to answer; and one model asked on the patient's record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from models.errors import UnusableInput
from models.explain.what_if import WhatIf, what_if
from models.fhir.mapping import NO_CODES, SiteCodes
from models.model import Model
from models.prediction import Prediction, Refusal
from models.read_fhir import read_bundle
from models.shelf import Shelf
from service.cds_hooks.hooks import Call, Json, PatientView
from service.cds_hooks.prefetch import Gathered, gather
from service.cds_hooks.services import Service
from service.cds_hooks.write_card import Occasion
from service.ehr_house import House
from service.fhir.assessed import Assessed
from service.problem import ProblemError
from service.words import Language


@dataclass(frozen=True)
class Asked:
    """One call. ``now`` has its time zone."""

    house: House
    shelf: Shelf
    service: Service
    call: Call = field(repr=False)
    place: PatientView = field(repr=False)
    language: Language
    now: datetime
    base: str = ""
    codes: SiteCodes = NO_CODES

    @property
    def occasion(self) -> Occasion:
        """When and where a card is shown."""
        return Occasion(self.call.hook, self.call.hook_instance, self.service.id, self.language, self.base)

    def gather(self) -> Gathered:
        """Return what is known of the patient. Raises ProblemError."""
        return gather(self.call, self.place, self.service.prefetch, self.house.site)

    def model(self) -> Model:
        """Return the release that speaks here."""
        return self.shelf.get(self.service.release)


def assess(
    asked: Asked, gathered: Gathered, *, encounter: str = "", moment: datetime | None = None, more: Sequence[Json] = ()
) -> Assessed:
    """Ask the release about the patient, as known at ``moment`` where one is meant. ``more`` resources are read too.

    Raises ProblemError.
    """
    model, house = asked.model(), asked.house
    stay = encounter if model.manifest.needs_encounter else None
    bundle = gathered.bundle
    bundle["entry"] = [*bundle["entry"], *({"resource": one} for one in more)]
    try:
        reading = read_bundle(bundle, moment=moment, encounter=stay, codes=asked.codes)
        result = model.predict(reading.record)
    except UnusableInput as error:
        raise ProblemError(error.code, str(error)) from None
    reason = str(result.reason) if isinstance(result, Refusal) else ""
    house.metrics.count(model.id, result.status, reason, result.timings_ms.get("total", 0.0) / 1000)
    return Assessed(model.manifest, result, reading, asked.now, asked.language, house.site.device)


def changes_of(asked: Asked, assessed: Assessed) -> tuple[WhatIf, ...]:
    """Return what would change the figure; nothing for a refusal."""
    result = assessed.result
    return what_if(asked.model(), assessed.view, result) if isinstance(result, Prediction) else ()
