"""EXTRAS: recipe → what only its evaluation has, from the scored test cases."""

from __future__ import annotations

from collections.abc import Callable

from training.evaluated import Evaluated, Extra
from training.extras.ed_triage import nurse
from training.extras.hypoglycaemia_60min import alerts
from training.extras.icu_mortality import saps

EXTRAS: dict[str, Callable[[Evaluated], Extra]] = {
    "ed_triage": nurse,
    "hypoglycaemia_60min": alerts,
    "icu_mortality": saps,
}
