"""Cards of risk models: at patient-view, encounter-start and encounter-discharge. Silent where the model has nothing to say."""

from __future__ import annotations

from datetime import datetime, timedelta

from models.fhir.bundle import moment_of, table, text
from models.manifest import Manifest
from models.prediction import Refusal
from service.cds_hooks.asked import Asked, assess, changes_of
from service.cds_hooks.hooks import Json
from service.cds_hooks.page_link import with_page
from service.cds_hooks.prefetch import Gathered
from service.cds_hooks.write_card import Made, write
from service.pipeline import NOT_MEANT
from service.problem import ProblemError

# A chart is opened for many reasons: there, only people in hospital now are spoken of (v3-ActCode, ActEncounterCode).
NOT_IN_HOSPITAL = frozenset({"AMB", "VR", "HH", "FLD", "PRENC"})
OVER = frozenset({"planned", "cancelled", "entered-in-error", "finished", "unknown"})


def risk_cards(asked: Asked) -> list[Made]:
    """Return one card, or none. Raises ProblemError."""
    gathered, manifest = asked.gather(), asked.model().manifest
    stay = stay_of(gathered, asked.place.encounter_id)
    if stay is None and asked.call.hook != "patient-view":
        raise ProblemError("data_needed", "Send the encounter of the context as prefetch, found none of its id.")
    if manifest.needs_encounter and not _speaks(asked.call.hook, stay, manifest, asked.now):
        return []
    assessed = assess(asked, gathered, encounter=f"Encounter/{stay['id']}" if stay and text(stay.get("id")) else "")
    result = assessed.result
    if isinstance(result, Refusal) and asked.call.hook == "patient-view" and result.reason in NOT_MEANT:
        return []
    made = write(assessed, asked.occasion, changes=changes_of(asked, assessed), untold=(*gathered.untold, *gathered.cut))
    return [with_page(asked, made, assessed, stay)]


def stay_of(gathered: Gathered, named: str | None) -> Json | None:
    """Return the encounter of the context; without one the only one under way. None when there is none, or several."""
    encounters = gathered.of("Encounter")
    if named:
        return next((one for one in encounters if one.get("id") == named), None)
    outer = {text(table(one.get("partOf")).get("reference")).rpartition("/")[2] for one in encounters}
    under_way = [one for one in encounters if one.get("status") not in OVER and one.get("id") not in outer]
    return under_way[0] if len(under_way) == 1 else None


def _speaks(hook: str, stay: Json | None, manifest: Manifest, now: datetime) -> bool:
    """Tell whether there is a stay to speak of, and long enough for this release."""
    if stay is None:
        return False
    if hook != "patient-view":
        return True
    start = moment_of(table(stay.get("period")).get("start"))
    early = manifest.moment_h is not None and start is not None and now < start + timedelta(hours=manifest.moment_h)
    kind = text(table(stay.get("class")).get("code"))
    return kind not in NOT_IN_HOSPITAL and stay.get("status") not in OVER and not early
