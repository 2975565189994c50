"""About one result: every hash, version and step that made it, what became of it since, and the same number once more."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from models.shelf import Shelf
from service.access.caller import Caller, caller_of
from service.problem import ProblemError
from service.review.banners import banners_of
from service.review.model.replay import Replayed, replay_result, replay_risk
from service.review.page import ReviewDesk
from service.review.targets import target_of
from service.review.verdict.target import Target, find_target
from service.store.history import History, Look, Told, history_of, looks_at, told_by_card
from service.store.rights import opposes
from service.words import Language, in_words, marked, say

ROOT = "/review/results/{key}"
KINDS = {"sr": marked("report (SR)"), "sr-roi": marked("report with regions (SR)"), "seg": marked("contours (SEG)"),
         "map": marked("heat map (parametric map)"), "capture": marked("picture (secondary capture)")}
DONE = {"view": marked("opened it"), "validate": marked("signed the report"),
        "export": marked("took a copy"), "replay": marked("replayed it")}
DONE_OFTEN = {"view": marked("opened it {count} times"), "validate": marked("signed the report {count} times"),
              "export": marked("took {count} copies"), "replay": marked("replayed it {count} times")}
DECIDED = {"agree": marked("agreed"), "correct": marked("corrected"), "reject": marked("rejected")}
SENT = {"done": marked("delivered to {target}"), "queued": marked("waits to go to {target}"),
        "running": marked("is going to {target}"), "quarantined": marked("could not be delivered to {target}")}


@dataclass(frozen=True)
class Moment:
    """Something that happened, and who did it."""

    at: datetime
    words: str
    who: str = ""


class About:
    """The pages of one result."""

    def __init__(self, desk: ReviewDesk) -> None:
        self.desk, self.house = desk, desk.house

    def routes(self) -> list[Route]:
        """List the addresses."""
        return [Route(f"{ROOT}/about", self.show, methods=["GET"]), Route(f"{ROOT}/replay", self.replay, methods=["POST"])]

    async def show(self, request: Request) -> Response:
        """Show what made a result and what became of it."""
        caller, target = await self._target(request)
        self.house.audit.note(caller, "view", kind=target.kind, item=target.key, persons=target.persons)
        return await self._page(request, caller, target, None)

    async def replay(self, request: Request) -> Response:
        """Score the stored input again. Nothing is kept of it but the line in the audit."""
        caller, target = await self._target(request, "replay")
        again = await self._replayed(target)
        self.house.audit.note(caller, "replay", kind=target.kind, item=target.key, persons=target.persons,
                              outcome="failed" if again.why_not else "success", detail={"same": again.same, "model": target.model})
        return await self._page(request, caller, target, again)

    async def _replayed(self, target: Target) -> Replayed:
        study = target.judged.study_uid if target.judged else ""
        opposed = partial(opposes, self.house.store, persons=target.persons, study_uid=study, purpose="scoring")
        if await self.desk.look(opposed):
            return Replayed("opposed")
        if target.risk is not None:
            return await self.desk.run(partial(_risk_again, target))
        history = await self.desk.look(history_of, self.house.store, target.id)
        images = history.images if history else ()
        reading, store = self.house.scoring.reading, self.house.store

        def again(shelf: Shelf) -> Replayed:
            return replay_result(shelf, reading, store, target.model, target.summary, images)

        return await self.desk.run(again)

    async def _page(self, request: Request, caller: Caller, target: Target, again: Replayed | None) -> Response:
        language, store = self.desk.language(request), self.house.store
        near = _is_near(caller, target)  # may know of the person, so of who looked
        shelf = self.house.scoring.shelf
        model = shelf.models.get(target.model)
        history = await self.desk.look(history_of, store, target.id) if target.risk is None else None
        card = await self.desk.look(told_by_card, store, target.risk.card) if target.risk is not None else None
        items = {target.key, *((target.line.key,) if target.line else ()), *((target.risk.key,) if target.risk else ())}
        looks = await self.desk.look(looks_at, store, target.persons, items) if near else []
        manifest = model.manifest if model else None
        return self.desk.page(
            request, "model/about.html", title=say(language, "About this result"), target=target, again=again, near=near,
            identity=target.summary.get("identity", {}), manifest=manifest, installed=model.identity if model else None,
            model_title=in_words(language, manifest.title, manifest.title_fr) if manifest else target.model,
            banners=banners_of(shelf, target.model, language, self.desk.states()), history=history,
            steps=_steps(target, model, language),
            kinds={name: say(language, words) for name, words in KINDS.items()}, findings=_findings(target, language),
            moments=self._moments(target, history, card, looks, language, caller.subject, near=near),
            may_replay=caller.may("replay", model=target.model),
            labels={one["name"]: in_words(language, one["label"], one["label_fr"]) for one in target.summary.get("findings", [])},
        )

    def _moments(self, target: Target, history: History | None, card: Told | None, looks: list[Look], language: Language,
                 subject: str, *, near: bool) -> list[Moment]:
        """Return what happened, in its order."""
        told: list[tuple[float, str, str]] = []
        if history is not None:
            count = len(history.images)
            came = say(language, "the first of {count} images came", count=count) if count > 1 else say(language, "the image came")
            told.append((history.received_at, came, ""))
            complete = say(language, "the images were complete (revision {number})", number=history.revision)
            told.append((history.sealed_at, complete, ""))
            told.append((history.scored_at, say(language, "scored"), ""))
            told += [(one.at, say(language, SENT[one.state], target=one.target), "") for one in history.sent if one.state in SENT]
        if target.risk is not None:
            told.append((target.risk.scored_at, say(language, "scored"), ""))
        if card is not None:
            told.append((card.shown_at, say(language, "told by a card ({hook})", hook=card.hook), ""))
            told += [(at, say(language, "the card was {outcome}", outcome=say(language, OUTCOMES.get(outcome, outcome))), "")
                     for at, outcome in card.outcomes]
        for row in target.open_to(subject):
            who = " ".join(filter(None, (row.reviewer.get("given", ""), row.reviewer.get("family", "")))) if near else ""
            told.append((row.made_at, say(language, DECIDED[row.decision]), who))
        told += [(at, say(language, DONE[action]) if times == 1 else say(language, DONE_OFTEN[action], count=times), who)
                 for who, action, at, times in _gathered(looks)]
        zone = self.house.site.device.zone
        return [Moment(datetime.fromtimestamp(at, UTC).astimezone(zone), words, who) for at, words, who in sorted(told)]

    async def _target(self, request: Request, permission: str = "") -> tuple[Caller, Target]:
        """Return what a key names. Raises ProblemError (404) where there is nothing, or nothing this caller may know of."""
        caller, store = caller_of(request), self.house.store
        named = target_of(store, request.path_params["key"])
        found = await self.desk.look(find_target, self.desk, *named) if named else None
        if found is None or not (_is_near(caller, found) or caller.may("replay", department=found.department, model=found.model)):
            raise ProblemError("not_found", "There is no such result here.")
        if permission and not caller.may(permission, department=found.department, model=found.model):
            raise ProblemError("forbidden", "Your roles do not allow this. Ask the people who run this service.")
        return caller, found


OUTCOMES = {"accepted": marked("accepted"), "overridden": marked("overridden")}


def _risk_again(target: Target, shelf: Shelf) -> Replayed:
    assert target.risk is not None
    return replay_risk(shelf, target.risk)


def _gathered(looks: Iterable[Look]) -> Iterator[tuple[str, str, float, int]]:
    """Gather what one person did again and again on one day: who, what, when first, how often. Verdicts stand by themselves."""
    found: dict[tuple[str, str, int], list[float]] = {}
    for one in looks:
        if one.action in DONE:
            found.setdefault((one.who, one.action, int(one.at // 86_400)), []).append(one.at)
    return ((who, action, min(times), len(times)) for (who, action, _), times in found.items())


def _is_near(caller: Caller, target: Target) -> bool:
    """Tell whether a caller may open the page of what a result is about."""
    permission = "study" if target.kind == "result" else "risk"
    return caller.may(permission, department=target.department, model=target.model)


def _findings(target: Target, language: Language) -> list[dict[str, Any]]:
    """Return the figures as they were said."""
    return [{"label": in_words(language, one["label"], one["label_fr"]), **one} for one in target.summary.get("findings", [])]


def _steps(target: Target, model: Any, language: Language) -> list[tuple[str, str]]:
    """Return the steps between the input and the figure, as the release states them."""
    if model is None:
        return []
    manifest = model.manifest
    found = [(say(language, "Checked"), say(language, "what the release accepts, and that its input is of the kind it learnt from"))]
    if manifest.features:
        found.append((say(language, "Read"), say(language, "{count} inputs of the record", count=len(manifest.features))))
    found += [(one.name, _parameters(one.params)) for one in manifest.steps]
    found.append((say(language, "Scored"), f"ONNX opset {manifest.graph.opset}, {model.session.backend}, {model.session.precision}"))
    for one in manifest.outputs:
        if one.calibration:
            found.append((say(language, "Calibrated"), f"{one.name}: {_parameters(one.calibration)}"))
    error = target.summary.get("explanation", {}).get("completeness_error")
    if error is not None:
        found.append((say(language, "Explained"), f"{manifest.explains.method.replace('_', ' ')}; "
                      + say(language, "the parts sum to the score within {error}", error=f"{error:.1e}")))
    return found


def _parameters(parameters: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value:.6g}" if isinstance(value, float) else f"{name} {value}" for name, value in parameters.items())
