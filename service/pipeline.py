"""The order of work, written once: choose models → predict → picture. Knows nothing of HTTP."""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from models.errors import UnusableInput
from models.explain import picture
from models.manifest import Manifest
from models.model import Model
from models.prediction import Reason, Refusal, Result
from models.record import Record
from models.shelf import Shelf
from models.volume import Volume
from service.releases.barred import is_barred, not_live, waiting_for_record, waiting_for_series

AUTO = "auto"
# Refusals that only say that the case is for another model.
NOT_MEANT = frozenset({
    Reason.WRONG_MODALITY, Reason.WRONG_BODY_PART, Reason.WRONG_VIEW, Reason.WRONG_AGE, Reason.WRONG_GEOMETRY,
})
_ORDER = list(Reason)
_DRAWING = threading.Lock()  # matplotlib's font cache is shared by all figures


@dataclass(frozen=True)
class Wanted:
    """What the caller asked for: a release id, a model name or ``auto``; whether a picture is drawn, in which language.

    ``moment`` hides what a record learnt later; a model never looks further than its own hours from admission.
    """

    model: str = AUTO
    moment: datetime | None = None
    picture: bool = False
    language: Literal["en", "fr"] = "en"


@dataclass(frozen=True)
class Outcome:
    """One model's word on one case; ``picture`` is a PNG."""

    model: Manifest
    result: Result
    picture: bytes | None = None

    @property
    def reason(self) -> str:
        """Why the model declined, or nothing."""
        return str(self.result.reason) if isinstance(self.result, Refusal) else ""

    @property
    def seconds(self) -> float:
        """Time the model took, without reading and drawing."""
        return self.result.timings_ms.get("total", 0.0) / 1000


def run(case: Volume | Record, shelf: Shelf, wanted: Wanted) -> list[Outcome]:
    """Score one case with every model it fits, or with the model asked for.

    When no model fits, each says why, the one that came furthest first. Raises UnusableInput when the model asked for
    does not exist or takes another kind of input.
    """
    outcomes: list[Outcome] = []
    unusable: UnusableInput | None = None
    for model, refusal in choose(case, shelf, wanted.model):
        try:
            outcomes.append(Outcome(model.manifest, refusal or _predict(model, case, wanted)))
        except UnusableInput as error:  # one model cannot read it; another may
            unusable = unusable or error
    if unusable and not outcomes:
        raise unusable
    outcomes = worth_telling(outcomes)
    if wanted.picture:
        outcomes = [replace(outcome, picture=_draw(case, outcome.result, wanted)) for outcome in outcomes]
    return outcomes


def choose(case: Volume | Record, shelf: Shelf, name: str = AUTO) -> list[tuple[Model, Refusal | None]]:
    """Choose models: those whose header gate the case passes; when none, all of them with their refusals.

    Raises UnusableInput (not_live) when only releases that are not live here take it.
    """
    if name != AUTO:
        return [(_asked_for(case, shelf, name), None)]
    if isinstance(case, Record):
        models = shelf.for_record()
        if not models and waiting_for_record(shelf):
            raise not_live()
        return [(model, None) for model in models]
    looked = shelf.for_series(case.header)
    fit = [(model, refusal) for model, refusal in looked if refusal is None]
    if not fit and waiting_for_series(shelf, case.header):
        raise not_live()
    return [*fit] or looked


def meant_for(manifest: Manifest, record: Record) -> bool:
    """Tell whether a release that was not named may speak of a record.

    One that counts the kind of intensive care unit was made for stays there: of another stay, such as an emergency visit, it
    could compute a score that means nothing.
    """
    counts_unit = any(feature.params.get("code") == "icu_type" for feature in manifest.features)
    return not counts_unit or not math.isnan(record.static.get("icu_type", math.nan))


def worth_telling(outcomes: list[Outcome]) -> list[Outcome]:
    """Put scores first, then refusals, the furthest first; leave out models the case was not meant for."""
    ordered = sorted(outcomes, key=lambda outcome: -_ORDER.index(outcome.result.reason)
                     if isinstance(outcome.result, Refusal) else -len(_ORDER))
    meant = [one for one in ordered if not (isinstance(one.result, Refusal) and one.result.reason in NOT_MEANT)]
    return meant or ordered


def _predict(model: Model, case: Volume | Record, wanted: Wanted) -> Result:
    if wanted.moment is None or not isinstance(case, Record):
        return model.predict(case)
    if case.origin is None or case.origin.tzinfo is None:
        raise UnusableInput("moment needs an admission time with its zone, found none. Leave moment out.",
                            code="no_admission_time")
    hours = (wanted.moment - case.origin).total_seconds() / 3600
    own = model.manifest.moment_h
    return model.predict(case, moment_h=hours if own is None else min(hours, own))


def named(shelf: Shelf, name: str) -> Model:
    """Return the model of an id or name. Raises UnusableInput."""
    try:
        return shelf.get(name)
    except KeyError:
        if is_barred(shelf, name):
            raise not_live() from None
        known = ", ".join(sorted(shelf.models)) or "none"
        raise UnusableInput(f"There is no model of that name; known: {known}.", code="unknown_model") from None


def _asked_for(case: Volume | Record, shelf: Shelf, name: str) -> Model:
    model = named(shelf, name)
    if (model.manifest.task == "risk") != isinstance(case, Record):
        kind = "records (POST /v1/records)" if model.manifest.task == "risk" else "images (POST /v1/images)"
        raise UnusableInput(f"{model.manifest.id} takes {kind}. Send it there.", code="wrong_model")
    return model


def _draw(case: Volume | Record, result: Result, wanted: Wanted) -> bytes:
    with _DRAWING:
        return picture.draw(result, case if isinstance(case, Volume) else None, language=wanted.language)
