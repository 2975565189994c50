"""Watch: score the people whose measurements changed, raise and clear their alerts, and notice when nothing comes any more.

What happens is decided from the rows alone, and written with its messages in one transaction that fails when anything was
heard meanwhile: killed anywhere, asked twice or in two processes, it comes to the same, and each episode to one alert.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta, timezone

from models.codes import unit_of
from models.features import clean
from models.manifest import Manifest
from models.model import Model
from models.prediction import Prediction, Result
from models.raw_codes import measured_codes
from models.read_fhir import Reading
from models.record import Event, Record
from models.shelf import Shelf
from service.fhir.assessed import Assessed
from service.logs import where
from service.monitoring.alerts import message_of, told_of
from service.monitoring.episode import CALM, Rule, Score, State, ever_open, follow, rule_of
from service.monitoring.observations import OUR_ID
from service.rights.opposed import subject_opposed
from service.site import Site
from service.store import entries, messages, risks
from service.store import monitoring as rows
from service.store.ehr_tables import Measurement, Watched
from service.store.errors import StoreError
from service.store.monitoring import Change
from service.store.store import Store
from service.told_risks import row_of_alert, shown_of_alert
from service.words import as_language

log = logging.getLogger("diaphane")
MEMORY_S = 2 * 3600.0  # a late or corrected measurement changes what was said of the last two hours, not before
USUAL_WINDOW_S = 24 * 3600.0
MOST_MOMENTS = 300  # scored at once, after a gap in the connection
SILENT_S = 3600.0  # where a release does not say how old its newest measurement may be
SILENCES = 2  # of such times without a score: nothing is known any more
ENDS_S = 24 * 3600.0  # nothing was heard for so long: monitoring has ended
TRIES = 5
AGAIN_S = 60.0  # after what was not foreseen


def monitors(manifest: Manifest) -> bool:
    """Tell whether a release scores people at home, from measurements that must be fresh."""
    output = manifest.outputs[0]
    fresh = bool(manifest.refuses.newest_min or manifest.refuses.recent)
    return manifest.task == "risk" and not manifest.needs_encounter and fresh and output.threshold is not None


def window_s(manifest: Manifest) -> float:
    """Return how far back a release looks."""
    return USUAL_WINDOW_S if manifest.window_h is None else 3600.0 * manifest.window_h


def silent_s(manifest: Manifest) -> float:
    """Return after how long without a score nothing is known any more."""
    return SILENCES * 60.0 * max(manifest.refuses.newest_min.values(), default=SILENT_S / 60 / SILENCES)


class Watch:
    """Follows everybody who is monitored. ``clock`` gives seconds since 1970."""

    def __init__(self, store: Store, site: Site, clock: Callable[[], float], *, listed: bool = False) -> None:
        """Follow by the rows of a store. ``listed``: alerts stand in the worklist of the clinician's page."""
        self.store, self.site, self.clock, self.listed = store, site, clock, listed

    def step(self, shelf: Shelf, limit: int = 50) -> bool:
        """Follow some of those who are due. False when nobody is."""
        found = rows.due(self.store, self.clock(), limit)
        for subject, name in found:
            try:
                self.follow(shelf, subject, name)
            except StoreError:
                raise
            except Exception as error:  # whatever one person's values do, the others are followed
                log.error("one person could not be followed; again in %.0f s: %s", AGAIN_S, where(error))
                now = self.clock()
                rows.postpone(self.store, subject, name, now + AGAIN_S, now=now)
        return bool(found)

    def follow(self, shelf: Shelf, subject: str, name: str) -> None:
        """Bring one model's word on one person up to date."""
        try:
            model = shelf.get(name)
        except KeyError:
            model = None
        for _ in range(TRIES):
            if self._follow(model, subject, name):
                return
        log.warning("what is heard of one person changes faster than it is scored; it is tried again")

    def _follow(self, model: Model | None, subject: str, name: str) -> bool:
        """Do one try; False when something was heard meanwhile."""
        now = self.clock()
        codes = measured_codes(model.manifest) if model else frozenset()
        window = window_s(model.manifest) if model else 0.0
        watched, measured = rows.look(self.store, subject, name, codes, now - window - ENDS_S)
        if watched is None or watched.due_at is None or watched.due_at > now:
            return True
        if model is None or not monitors(model.manifest) or subject_opposed(self.store, self.site, subject):
            # the release was taken away, or the person is opposed
            change = _ended(watched)
            assessed: Assessed | None = None
        else:
            change, assessed = self._change(model, watched, measured, now)
        with self.store.session() as session:
            touched = rows.settle(session, watched, change, now)
            if touched is None:
                return False
            for alert in touched:
                told = message_of(self.site, rows.standing(alert), assessed)
                if told is not None:
                    messages.add(session, **told)
                if self.listed and alert.cleared_at is None:
                    risks.save(session, [row_of_alert(self.store, self.site, rows.standing(alert), assessed, watched.detail)])
                elif self.listed:
                    entries.end(session, kind="alert", target=str(alert.id), detail={"alert": shown_of_alert(rows.standing(alert))})
        return True

    def _change(self, model: Model, watched: Watched, measured: Sequence[Measurement], now: float) -> tuple[Change, Assessed | None]:
        manifest, detail = model.manifest, dict(watched.detail)
        rule, patience = rule_of(manifest), silent_s(manifest)
        anchor_at, anchor = _anchor(detail)
        moments = sorted({one.at for one in measured if one.at > anchor_at})[-MOST_MOMENTS:]
        known = _known(detail)  # of moments before the first measurement that changed
        results = {at: self._score(model, watched, measured, at) for at in moments if at not in known}
        scores = [Score(at, known[at] if at in known else _value(manifest, *results[at])) for at in moments]
        state = follow(anchor, scores, rule)
        scored = [one for one in scores if one.value is not None]
        scored_until = max([watched.scored_until, *(one.at for one in scored)])
        known_since = max(scored_until, float(detail.get("since", now)))
        stale = now - scored_until > patience  # nothing is known now
        silent = now - known_since > patience  # and somebody must be told so
        ended = now - known_since > ENDS_S
        if moments and moments[-1] in results:
            detail["refusal"] = str(getattr(results[moments[-1]][0], "reason", ""))
        detail |= {"model_id": manifest.id, **_anchored(anchor, anchor_at, scores, rule, (moments or [anchor_at])[-1] - MEMORY_S)}
        assessed = None
        if scored and not stale:
            last = results.get(scored[-1].at) or self._score(model, watched, measured, scored[-1].at)
            assessed = self._assessed(manifest, *last, now)
        said = assessed.result if assessed else None
        standing, quiet = watched.alert_id is not None, detail.get("silence_id") is not None
        raised = None
        if state.opened_at is not None and not standing and not stale and assessed is not None:
            raised = {**told_of(assessed), "opened_at": state.opened_at}
        cleared = ""
        if standing and ended:
            cleared = "no_data"
        elif standing and not stale and state.opened_at is None and scored:
            cleared = "below" if ever_open(anchor, scores, rule) else "corrected"
        alert = raised is not None or (standing and not cleared)
        heard_again = "ended" if quiet and ended else "data" if quiet and not stale else ""
        begins = silent and not quiet and not ended
        return Change(
            state="no_data" if stale else "alert" if alert else "calm",
            value=said.main.value if isinstance(said, Prediction) else None, scored_until=scored_until, below_since=state.below_since,
            due_at=None if ended else known_since + (ENDS_S if silent else patience) + 1.0,
            detail=detail, raised=raised, cleared=cleared,
            silent=_silence(manifest, detail, known_since) if begins else None, heard_again=heard_again,
        ), assessed

    def _assessed(self, manifest: Manifest, result: Result, reading: Reading, now: float) -> Assessed:
        device = self.site.device
        made_at = datetime.fromtimestamp(now, UTC).astimezone(device.zone)
        return Assessed(manifest, result, reading, made_at, as_language(device.language, "en"), device)

    def _score(self, model: Model, watched: Watched, measured: Sequence[Measurement], at: float) -> tuple[Result, Reading]:
        """Score what was known at one moment."""
        begin = at - window_s(model.manifest)
        seen = [one for one in measured if begin <= one.at <= at]
        zone = timezone(timedelta(minutes=int(watched.detail.get("zone_min", 0))))
        origin = datetime.fromtimestamp(begin, zone)
        static: Mapping[str, float] = watched.detail.get("static", {})
        record = Record.of([Event((one.at - begin) / 60, one.code, one.value, unit_of(one.code)) for one in seen], static, origin)
        references: dict[str, tuple[tuple[float, str], ...]] = {}
        for one in seen:
            if not one.source.startswith(f"Observation/{OUR_ID}"):  # the hospital has no such resource
                references[one.code] = (*references.get(one.code, ()), ((one.at - begin) / 60, one.source))
        return model.predict(record), Reading(record, references, subject=watched.subject)


def _value(manifest: Manifest, result: Result, reading: Reading) -> float | None:
    """Return the probability; 1 where what it is about has happened already, None where the model declined otherwise.

    A release that watches for a limit takes only values on this side of it: beyond, there is nothing left to predict, and
    to be silent then would be the worst of answers.
    """
    if isinstance(result, Prediction):
        return result.main.value
    view = reading.record.up_to(reading.record.latest_minute)
    for code, limits in manifest.refuses.within.items():
        values = clean(view, code).values
        if len(values) and not limits.holds(float(values[-1])):
            return 1.0
    return None


def _known(detail: Mapping[str, object]) -> dict[float, float | None]:
    """Return the scores that were written and still hold."""
    told, since = detail.get("scores"), detail.get("changed_from")
    until = float(since) if isinstance(since, int | float) else float("inf")
    return {at: value for at, value in told if at < until} if isinstance(told, list) else {}


def _anchor(detail: Mapping[str, object]) -> tuple[float, State]:
    told = detail.get("anchor")
    return (float(told["at"]), State(**told["state"])) if isinstance(told, dict) else (0.0, CALM)


def _anchored(anchor: State, anchor_at: float, scores: Sequence[Score], rule: Rule, until: float) -> dict[str, object]:
    """Return the state that later measurements cannot change any more, moved on to ``until``."""
    until = max(until, anchor_at)
    state = follow(anchor, [one for one in scores if one.at <= until], rule)
    later = [[one.at, one.value] for one in scores if one.at > until]
    return {"anchor": {"at": until, "state": asdict(state)}, "scores": later, "changed_from": None}


def _silence(manifest: Manifest, detail: Mapping[str, object], since: float) -> dict[str, object]:
    return {"model_id": manifest.id, "title": manifest.title, "title_fr": manifest.title_fr, "opened_at": since,
            "refusal": detail.get("refusal", "")}


def _ended(watched: Watched) -> Change:
    """Return the end of monitoring by a release that is not here any more: nothing is known."""
    quiet = watched.detail.get("silence_id") is not None
    return Change(state="no_data", value=None, scored_until=watched.scored_until, below_since=None, due_at=None,
                  detail=watched.detail, cleared="no_data" if watched.alert_id is not None else "",
                  heard_again="ended" if quiet else "")
