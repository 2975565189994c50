"""Made-up lines of a worklist for measuring: a hospital's two years, most of it done, with invented names alone."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

from service.store.entries import CRITICAL, HIGH, LOW, ROUTINE, folded, place_of

OPEN_SHARE = 0.05  # of all lines; a list that long is a bad week
DEPARTMENTS = {"Urgences": 30, "Pédiatrie": 12, "Réanimation": 8, "Radiologie": 25, "Neurologie": 10, "Médecine interne": 14.98,
               "Gériatrie": 0.02}  # the last has hardly any lines: what is rare is far apart
SYLLABLES = ("ba", "ce", "di", "fo", "gu", "ha", "je", "ki", "lo", "mu", "na", "pe", "ri", "so", "tu", "va", "xe", "zi")
GIVEN = ("Alix", "Camille", "Claude", "Dominique", "Eden", "Lou", "Maxime", "Noa", "Sacha", "Zoé")
STUDIES = {
    "chest_xray_pediatric-1.0.0": ("DX", "Thorax de face", (
        ("pneumonia", "Pneumonia", "Pneumonie", 0.232), ("viral", "Viral pneumonia", "Pneumonie virale", 0.5))),
    "hippocampus_mr-1.0.0": ("MR", "IRM cérébrale", ()),
}
RISKS = {
    "readmission_30d-1.0.0": ("Risk of another stay in hospital within 30 days", "Another stay in hospital within 30 days", 0.197),
    "icu_mortality-1.0.0": ("Risk of death in hospital after 48 h in intensive care", "Death in hospital", 0.338),
    "ed_triage-1.0.0": ("Needs at triage: two resources or more, and critical outcome", "Critical outcome", 0.011),
}
_STATES, _WEIGHTS = ("validated", "corrected", "rejected", "refused", "seen"), (80, 8, 4, 5, 3)


def lines(count: int, now: float, seed: int = 1) -> Iterator[dict[str, Any]]:
    """Make ``count`` lines, the oldest first, as rows of the table; ``changed`` counts from 1."""
    draw = random.Random(seed)  # noqa: S311  made-up lines are no secret
    span_s = 2 * 365 * 86_400.0
    for number in range(1, count + 1):
        since = now - span_s * (1 - number / count) - draw.random() * 600
        is_open = number > count * (1 - 1.1 * OPEN_SHARE) and draw.random() < 0.9
        kind = draw.choices(("study", "risk", "alert"), (70, 27, 3))[0]
        made = _study(draw) if kind == "study" else _risk(draw, kind)
        declined = made["detail"]["declined"]
        states, weights = (("new", "seen"), (70, 30)) if is_open else (_STATES, _WEIGHTS)
        state = "refused" if declined else draw.choices(states, weights)[0]
        family = "".join(draw.choice(SYLLABLES) for _ in range(draw.randrange(2, 5))).upper()
        given, born = draw.choice(GIVEN), f"{draw.randrange(1930, 2024)}{draw.randrange(1, 13):02d}{draw.randrange(1, 29):02d}"
        patient = {"name": family, "given": given, "birth_date": born, "sex": draw.choice("FM"),
                   "id": f"T{draw.randrange(400_000):07d}"}
        urgency = made.pop("urgency")
        yield {
            "key": f"{number:022d}", "kind": kind, "target": f"2.25.{number}", "person": f"{draw.getrandbits(128):032x}",
            "patient_name": folded(f"{family}^{given}"), "patient_id": patient["id"].casefold(),
            "accession_number": f"a{number:09d}" if kind == "study" else "", "urgency": urgency, "waiting_since": since,
            "place": place_of(urgency, since), "open": is_open, "state": state, "created_at": since, "changed_at": since,
            "reason": declined[0]["reason"] if declined else "", "changed": number,
            "actor": "" if state == "new" else f"rpps:{draw.randrange(400)}",
            "department": draw.choices(tuple(DEPARTMENTS), tuple(DEPARTMENTS.values()))[0],
            **{**made, "detail": {"patient": patient, "version": str(number), **made["detail"]}},
        }  # fmt: skip


def _study(draw: random.Random) -> dict[str, Any]:
    model = draw.choices(tuple(STUDIES), (85, 15))[0]
    modality, procedure, outputs = STUDIES[model]
    findings = [{"model": model, "name": name, "label": label, "label_fr": french, "kind": "probability", "value": share, "unit": "1",
                 "threshold": threshold, "above_threshold": share >= threshold, "risk": ""}
                for name, label, french, threshold in outputs for share in (round(draw.betavariate(0.5, 2.2), 4),)]
    if not findings:
        findings = [{"model": model, "name": side, "label": f"{side.title()} hippocampus volume", "label_fr": "", "kind": "volume",
                     "value": round(draw.gauss(1.6, 0.2), 2), "unit": "mL", "threshold": None, "above_threshold": None, "risk": ""}
                    for side in ("anterior", "posterior")]
    above, urgent = bool(findings[0]["above_threshold"]), draw.random() < 0.06
    declined = [] if draw.random() > 0.04 else [{
        "model": model, "status": "refused", "reason": "clipped", "advice": "",
        "message": "At most 0.35 of pixels may lie at the ends of the range, found 0.61."}]
    return {
        "model": model, "modality": modality, "urgency": CRITICAL if above and urgent else HIGH if above or urgent else ROUTINE,
        "detail": {"procedure": procedure, "images": 1, "findings": [] if declined else findings, "declined": declined},
    }  # fmt: skip


def _risk(draw: random.Random, kind: str) -> dict[str, Any]:
    model = draw.choice(tuple(RISKS))
    title, label, threshold = RISKS[model]
    share = round(min(0.98, threshold * (1 + draw.expovariate(1.5))), 4)
    finding = {"name": "risk", "label": label, "label_fr": "", "kind": "probability", "value": share, "unit": "1",
               "threshold": threshold, "above_threshold": share >= threshold, "risk": "high" if share > 2 * threshold else "moderate"}
    urgency = CRITICAL if kind == "alert" else HIGH if finding["risk"] == "high" else draw.choice((ROUTINE, LOW))
    return {"model": model, "modality": "", "urgency": urgency,
            "detail": {"title": title, "title_fr": "", "findings": [finding], "declined": []}}
