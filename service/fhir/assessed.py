"""Assessed: one model's word on one record, with all that a writer of FHIR resources or of cards may look at."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from models.manifest import Manifest
from models.prediction import Result
from models.raw_codes import raw_codes
from models.read_fhir import Reading
from models.record import View
from service.site import Device
from service.words import Language, in_words


@dataclass(frozen=True)
class Assessed:
    """Everything a writer may look at: the same Assessed gives the same bytes.

    ``moment`` is up to when the record was looked at, when the caller asked for one; None: the release's own.
    """

    manifest: Manifest
    result: Result
    reading: Reading
    made_at: datetime  # with its time zone
    language: Language
    device: Device
    moment: datetime | None = None

    @property
    def model(self) -> str:
        """The release's id."""
        return self.manifest.id

    @property
    def title(self) -> str:
        """The release's title in the language of the answer."""
        return in_words(self.language, self.manifest.title, self.manifest.title_fr)

    @property
    def view(self) -> View:
        """What the model saw of the record."""
        window_h = self.manifest.window_h
        return self.reading.record.up_to(self._minute, float("inf") if window_h is None else 60 * window_h)

    @property
    def scored_at(self) -> datetime | None:
        """The moment the release scores, which may lie ahead of a stay that is still short; None without a clock."""
        origin = self.reading.record.origin
        return None if origin is None else origin + timedelta(minutes=self._minute)

    @property
    def looked_until(self) -> datetime | None:
        """Up to when the record can have been looked at: never after the result was made."""
        return None if self.scored_at is None else min(self.scored_at, self.made_at)

    @property
    def basis(self) -> tuple[str, ...]:
        """References to everything the model's features were computed from, in the order of the features, each once."""
        view = self.view
        found: dict[str, None] = {}
        named = [str(one.params["code"]) for one in self.manifest.features if "code" in one.params]
        for code in dict.fromkeys(raw for one in named for raw in raw_codes(one)):
            for minute, target in self.reading.references.get(code, ()):
                if code in view.static or view.moment - view.window <= minute <= view.moment:
                    found[target] = None
        return tuple(found)

    @property
    def _minute(self) -> float:
        record, own = self.reading.record, self.manifest.moment_h
        last = record.latest_minute if own is None else 60 * own
        if self.moment is None or record.origin is None:
            return last
        asked = (self.moment - record.origin).total_seconds() / 60
        return asked if own is None else min(asked, last)
