"""Routing: which released models may take a case, and what becomes of its results. Site rules narrow; releases decide.

A model takes a case when no rule withholds it and its manifest accepts what the headers state (and, once the volume was
read, its grid). Pixels may still lead it to decline: that is a refusal, not routing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from models import gate
from models.manifest import Manifest
from models.shelf import Shelf
from models.volume import Header, Volume
from service.facts import Facts, facts_of
from service.releases import barred
from service.rules import Decision, Tried, decide, name_of
from service.site import Site

__all__ = ["SITE_RULE", "Choice", "Facts", "Route", "check_rules", "explain", "facts_of", "route"]

SITE_RULE = "site_rule"  # the reason of a choice that a rule of the site made


@dataclass(frozen=True)
class Choice:
    """Whether one model may take the case. ``reason`` is a word for programs; the rest is for people, as in a Refusal."""

    model: str  # release id
    title: str
    takes: bool
    reason: str = ""
    message: str = ""
    advice: str = ""
    flags: tuple[str, ...] = ()


@dataclass(frozen=True)
class Route:
    """Where a case goes. ``priority`` None leaves the sender's; ``targets`` are names of the site's targets."""

    models: tuple[Choice, ...]  # every active imaging model, and those that would take it were they live
    priority: int | None
    targets: tuple[str, ...]
    report_unfit: bool  # what the rules say; the setting of that name may forbid it for all
    decision: Decision

    @property
    def takers(self) -> tuple[str, ...]:
        """The ids of the models that may take the case."""
        return tuple(choice.model for choice in self.models if choice.takes)

    @property
    def trace(self) -> tuple[Tried, ...]:
        """The rules that were read, in order."""
        return self.decision.trace


def route(facts: Facts, header: Header, shelf: Shelf, site: Site, *, volume: Volume | None = None) -> Route:
    """Decide by the rules, then by each manifest. With the ``volume``, its grid is judged too."""
    decision = decide(facts, site.rules)
    choices = []
    for model, refusal in shelf.for_series(header):
        declined = refusal or (gate.decline_geometry(model.manifest, volume) if volume else None)
        flags = tuple(gate.header_flags(model.manifest.accepts, header))
        if declined:  # what the release says comes first: it would hold at any site
            choices.append(Choice(model.id, model.manifest.title, False, str(declined.reason), declined.message,
                                  declined.advice, flags))
        else:
            withheld = _withheld(model.manifest, decision)
            choices.append(withheld or Choice(model.id, model.manifest.title, True, flags=flags))
    choices += [_withheld(one, decision) or Choice(one.id, one.title, False, barred.REASON, barred.MESSAGE, barred.ADVICE)
                for one in barred.waiting_for_series(shelf, header)]
    return Route(
        tuple(choices),
        decision.priority,
        tuple(target.name for target in site.targets) if decision.targets is None else decision.targets,
        decision.report_unfit is not False,
        decision,
    )


def explain(found: Route) -> str:
    """Say a route in plain sentences, one a line."""
    lines = []
    for choice in found.models:
        remark = f" Remarks: {', '.join(choice.flags)}." if choice.flags and choice.takes else ""
        lines.append(f"{choice.model} takes it.{remark}" if choice.takes else f"{choice.model} does not: {choice.message}")
    if not found.takers:
        lines.append("No model takes it; " + ("a result saying so is sent." if found.report_unfit else "nothing is sent."))
    for tried in found.trace:
        lines.append(f"Rule {tried.rule!r} {'is met' if tried.met else 'is not met'}: {tried.why}.")
    return "\n".join(lines)


def check_rules(site: Site, shelf: Shelf) -> list[str]:
    """Return what is wrong with the rules though they can be read: unknown models, rules never reached."""
    faults = []
    models = {*shelf.models, *(name for name, model in shelf.active.items() if model.manifest.task != "risk")}
    final = ""
    for place, rule in enumerate(site.rules, start=1):
        name = name_of(rule, place)
        if final:
            faults.append(f"Rule {name!r} is never reached: {final!r} above it is met by everything and does not "
                          "continue. Move it up.")
        faults += _unknown(name, rule.models or (), models)
        if not final and not rule.continues and not rule.when.model_fields_set:
            final = name
    return faults


def _withheld(manifest: Manifest, decision: Decision) -> Choice | None:
    """Return the choice of a model that a rule withholds from the case, or None."""
    if decision.never:
        return Choice(manifest.id, manifest.title, False, SITE_RULE,
                      f"A rule of this site gives such images to no model ({decision.said_by('never')}).",
                      "Ask those who keep the site's rules if this is not meant.")
    if decision.models is not None and not {manifest.id, manifest.name} & set(decision.models):
        return Choice(manifest.id, manifest.title, False, SITE_RULE,
                      f"A rule of this site gives such images to {' and '.join(decision.models)} only "
                      f"({decision.said_by('models')}).",
                      "Ask those who keep the site's rules if this is not meant.")
    return None


def _unknown(rule: str, named: Sequence[str], known: Iterable[str]) -> list[str]:
    faults = []
    for name in named:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            hint = f"Did you mean {near[0]!r}?" if near else f"There may be: {', '.join(sorted(known)) or 'none'}."
            faults.append(f"Rule {rule!r} names model {name!r}, which is not on the shelf. {hint}")
    return faults

