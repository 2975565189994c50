"""Cards at order-select and order-sign: the expected dose of warfarin beside the draft, and a suggestion that edits the draft.

Nothing is applied by itself and nothing is recommended: the suggestion is there to be judged. At order-sign a dose within the
interval brings no card, one outside it a warning.
"""

from __future__ import annotations

from collections.abc import Sequence

from models.explain.what_if import WhatIf
from models.fhir.bundle import listed, table, text
from models.prediction import Finding, Prediction
from service.cds_hooks.asked import Asked, assess, changes_of
from service.cds_hooks.dose import DAYS_A_WEEK, Draft, drafts_of, rounded_daily_mg, with_dose
from service.cds_hooks.hooks import Json, OrderSelect, OrderSign
from service.cds_hooks.markdown import joined, plain, section
from service.cds_hooks.page_link import with_page
from service.cds_hooks.write_card import Made, Occasion, amount, card, details, name_of, write
from service.fhir.assessed import Assessed
from service.problem import ProblemError
from service.words import Language, in_words, number, say
from service.words import listed as words_listed

MOST_ABOVE = 1.1  # times the dose that was computed: too much warfarin bleeds


def order_cards(asked: Asked) -> list[Made]:
    """Return one card for each draft of warfarin that there is something to say of. Raises ProblemError."""
    place = asked.place
    if not isinstance(place, OrderSign):
        raise ProblemError("bad_hook", "This service answers order-select and order-sign.")
    drafts = drafts_of(place.draft_orders, place.selections if isinstance(place, OrderSelect) else None)
    if not drafts:
        return []
    gathered = asked.gather()
    assessed = assess(asked, gathered, moment=asked.now, more=_others(place, {draft.id for draft in drafts}))
    untold = (*gathered.untold, *gathered.cut)
    if not isinstance(assessed.result, Prediction):
        return [with_page(asked, write(assessed, asked.occasion, untold=untold), assessed)]
    changes = changes_of(asked, assessed)
    made = (dose_card(asked.occasion, assessed, assessed.result, draft, changes, untold) for draft in drafts)
    return [with_page(asked, one, assessed) for one in made if one is not None]


def dose_card(
    occasion: Occasion, assessed: Assessed, result: Prediction, draft: Draft, changes: Sequence[WhatIf] = (),
    untold: Sequence[str] = (),
) -> Made | None:
    """Write the card of one draft; None at order-sign when its dose lies within the interval."""
    language, dose = occasion.language, result.main
    outside = draft.weekly_mg is not None and not _within(draft.weekly_mg, dose)
    if occasion.hook == "order-sign" and draft.weekly_mg is not None and not outside:
        return None
    suggestion = _suggestion(occasion, draft, dose)
    detail = joined([
        _doses(result, draft, suggestion is not None, language), details(assessed, result, changes, untold),
    ])
    return card(
        occasion, summary=_summary(dose, draft, outside, language), indicator="warning" if outside else "info", detail=detail,
        manifest=assessed.manifest, part=draft.id, status="scored", input_sha256=result.identity.input_sha256, value=dose.value,
        suggestions=[suggestion] if suggestion else [],
    )


def _summary(dose: Finding, draft: Draft, outside: bool, language: Language) -> str:
    expected = amount(dose, language)
    if draft.weekly_mg is None:
        return say(language, "Warfarin: expected stable dose {dose}; the dose of the draft could not be read", dose=expected)
    drafted = _whole(language, draft.weekly_mg)
    if outside:
        return say(language, "Warfarin: the draft of {drafted} mg/week lies outside what is expected, {dose}", drafted=drafted,
                   dose=expected)
    return say(language, "Warfarin: expected stable dose {dose}; draft {drafted} mg/week", dose=expected, drafted=drafted)


def _doses(result: Prediction, draft: Draft, suggested: bool, language: Language) -> str:
    """Say the doses: expected, by the published equation, and drafted; and how a suggestion was rounded."""
    lines = [say(language, "Expected dose once the INR is stable, no loading dose: {dose}.", dose=amount(result.main, language))]
    lines += [say(language, "{label}: {value}", label=in_words(language, one.label, one.label_fr), value=amount(one, language)) + "."
              for one in result.findings[1:]]
    if draft.weekly_mg is not None:
        lines.append(say(language, "The draft adds up to {drafted} mg/week.", drafted=_whole(language, draft.weekly_mg)))
    strengths = words_listed(language, [number(language, one, int(one % 1 != 0)) for one in draft.strengths_mg])
    lines.append(say(language, "A suggestion is the nearest dose, the same every day, of whole and half tablets of {strengths} mg.",
                     strengths=strengths) if suggested else
                 say(language, "No other dose is suggested: tablets give none near enough, or the draft states it already "
                               "or could not be read."))
    return section(say(language, "Dose"), "\n".join(f"- {plain(line)}" for line in lines))


def _suggestion(occasion: Occasion, draft: Draft, dose: Finding) -> Json | None:
    """Return the draft with the nearest dose that tablets give.

    None when that lies outside the interval or well above the dose that was computed, when it is the draft's own, and when
    the draft gives instructions that could not be read: a suggestion would strike them out unseen.
    """
    daily = rounded_daily_mg(dose.value, draft.strengths_mg)
    weekly = DAYS_A_WEEK * daily
    unread = draft.weekly_mg is None and bool(listed(draft.resource.get("dosageInstruction")))
    if not draft.id or unread or not _within(weekly, dose) or weekly > MOST_ABOVE * dose.value or draft.weekly_mg == weekly:
        return None
    language = occasion.language
    told = {"daily": _whole(language, daily), "weekly": _whole(language, weekly)}
    words = say(language, "Warfarin {daily} mg by mouth once a day ({weekly} mg a week). Check the INR.", **told)
    what = say(language, "Change the draft to {daily} mg once a day; check the quantity to dispense", **told)
    action = {"type": "update", "description": what, "resource": with_dose(draft.resource, daily, words)}
    return {
        "label": say(language, "Change the draft to {daily} mg a day ({weekly} mg a week)", **told),
        "uuid": name_of(occasion, "dose", draft.id), "isRecommended": False, "actions": [action],
    }


def _whole(language: Language, mg: float) -> str:
    """Write a dose, with one decimal only where it has one."""
    return number(language, mg, int(round(mg, 1) % 1 != 0))


def _within(weekly: float, dose: Finding) -> bool:
    return dose.low is None or dose.high is None or dose.low <= weekly <= dose.high


def _others(place: OrderSign, warfarin: set[str]) -> list[Json]:
    """Return the other drafts of the session for this patient: a drug ordered with warfarin counts."""
    found = (dict(table(table(entry).get("resource"))) for entry in listed(place.draft_orders.get("entry")))
    return [
        one for one in found
        if one.get("resourceType") == "MedicationRequest" and text(one.get("id")) not in warfarin
        and text(table(one.get("subject")).get("reference")).rpartition("/")[2] in ("", place.patient_id)
    ]
