"""Replay: the stored input once more through the release that scored it, and whether the same number comes out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from models.errors import UnusableInput
from models.golden import FP32_TOLERANCE
from models.model import Model
from models.prediction import Refusal, Result
from models.shelf import Shelf
from service.reading import Reading
from service.review.risk.shown import kept_record
from service.store.errors import StoreError
from service.store.review_tables import Risk
from service.store.store import Store
from service.told_risks import score_again

Why = Literal["", "gone", "no_input", "unreadable", "opposed"]
Json = dict[str, Any]


@dataclass(frozen=True)
class Compared:
    """One figure then and now. Two figures are the same within ``tolerance``: between two machines they may differ by 1e-6."""

    name: str
    then: float
    now: float | None
    tolerance: float

    @property
    def difference(self) -> float:
        """How far they are apart; infinite where there is no figure now."""
        return abs(self.now - self.then) if self.now is not None else math.inf

    @property
    def same(self) -> bool:
        """Whether they are one number."""
        return self.difference <= self.tolerance


@dataclass(frozen=True)
class Replayed:
    """What came out. ``why_not`` says why nothing was scored: release or input are not here any more, or the person opposes it."""

    why_not: Why = ""
    figures: tuple[Compared, ...] = ()
    reason_then: str = ""
    reason_now: str = ""
    same_input: bool = False  # its hash is the one the result states
    same_release: bool = False  # the hashes of manifest and graph are
    backend: str = ""
    precision: str = ""

    @property
    def same(self) -> bool:
        """Whether the result is the same: every figure, or the same refusal, from the same input."""
        return not self.why_not and self.reason_then == self.reason_now and all(one.same for one in self.figures)


def replay_result(shelf: Shelf, reading: Reading, store: Store, release: str, summary: Json, images: Sequence[str]) -> Replayed:
    """Read the images of a result again, as the worker did, and score them."""
    model = shelf.models.get(release)
    if model is None:
        return Replayed("gone")
    try:
        files = [store.objects.get(sha256) for sha256 in images]
    except StoreError as error:
        if error.code != "damaged":
            raise
        return Replayed("no_input")
    if not files:
        return Replayed("no_input")
    try:
        return _compared(model, summary, model.predict(reading.read(files)))
    except UnusableInput:
        return Replayed("unreadable")


def replay_risk(shelf: Shelf, risk: Risk) -> Replayed:
    """Score the measurements of a risk again, up to the same moment."""
    model = shelf.models.get(risk.model)
    if model is None:
        return Replayed("gone")
    if kept_record(risk) is None:
        return Replayed("no_input")
    try:
        return _compared(model, risk.answer, score_again(model, risk.record))
    except UnusableInput:
        return Replayed("unreadable")


def _compared(model: Model, then: Json, now: Result) -> Replayed:
    found = {} if isinstance(now, Refusal) else {one.name: one.value for one in now.findings}
    figures = tuple(
        Compared(one["name"], one["value"], found.get(one["name"]), FP32_TOLERANCE * (1 + abs(one["value"])))
        for one in then.get("findings", ())
    )
    identity = then.get("identity", {})
    return Replayed(
        "", figures, str(then.get("reason", "")), str(now.reason) if isinstance(now, Refusal) else "",
        now.identity.input_sha256 == identity.get("input_sha256"),
        (now.identity.manifest_sha256, now.identity.onnx_sha256) == (identity.get("manifest_sha256"), identity.get("onnx_sha256")),
        model.session.backend, model.session.precision,
    )
