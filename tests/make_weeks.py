"""Weeks of observations and verdicts in a store, drawn from a reference: what the monitor finds after months of use."""

from __future__ import annotations

import secrets
from datetime import date, datetime, timedelta, tzinfo

import numpy as np

from models.manifest import Manifest
from models.reference import Reference
from service.monitor.simulated import WARDS, Ordinary, cases_drawn
from service.store import observations
from service.store.observations import NewObservation
from service.store.review_tables import Verdict
from service.store.store import Store


def monday_before(today: date, weeks: int) -> date:
    """Return the Monday so many whole weeks before the running one."""
    return today - timedelta(days=today.weekday(), weeks=weeks)


def add_weeks(store: Store, manifest: Manifest, reference: Reference, week: Ordinary, *, first: date, weeks: int, zone: tzinfo | None,
              rng: np.random.Generator, offset: int = 0) -> int:
    """Write weeks of observations, spread over working days, and of verdicts; return how many results there are by now."""
    number = offset
    for place in range(weeks):
        cases = cases_drawn(manifest, reference, week, week.per_week, rng)
        rows, verdicts = [], []
        for case in cases:
            number += 1
            day = first + timedelta(weeks=place, days=number % 5)
            at = datetime(day.year, day.month, day.day, 10, number % 60, tzinfo=zone).timestamp()
            said = {name: [value, case.positive.get(name)] for name, value in case.values.items()}
            ward = number % len(WARDS)
            groups = {"sex": "FM"[number % 2], "age": ("2-17", "18-44", "65-79")[number % 3], "department": WARDS[ward]}
            rows.append(NewObservation(manifest.id, "result", str(number), case.status, case.reason, case.seconds, said,
                                       dict(case.statistics), groups, at))
            if case.status == "scored" and number % max(1, week.per_week // max(1, week.verdicts)) == 0:
                verdicts.append(_verdict(manifest, number, groups, at, agree=rng.random() >= week.against[ward],
                                         raised=any(case.positive.values())))
        with store.session() as session:
            observations.add(session, rows)
            session.add_all(verdicts)
    return number


def _verdict(manifest: Manifest, number: int, groups: dict[str, str], at: float, *, agree: bool, raised: bool) -> Verdict:
    finding = {"name": manifest.outputs[0].name, "ai_present": raised, "present": raised if agree else not raised}
    return Verdict(
        key=secrets.token_urlsafe(16), token=secrets.token_urlsafe(16), target_kind="result", target_id=number, number=1,
        model=manifest.id, decision="agree" if agree else "reject", reason_code="", comment="",
        content={"findings": [finding], "effect": "validated" if agree else "withdrawn"}, reader="first", reviewer={},
        reviewer_subject="test:1", counted_by=groups, made_at=at,
    )
