"""Where a result stands after its verdicts: what is in force, whether a second reader is waited for, whether two disagree.

With one reader each verdict is in force at once. With two, the second reads without knowing the first; when both say the
same it is in force, otherwise a third verdict decides, given by whoever has read both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from service.assessment import Assessment, Reading

State = Literal["open", "waiting", "differing", "settled"]
EFFECTS = {"agree": "validated", "correct": "corrected", "reject": "withdrawn"}


@dataclass(frozen=True)
class Standing:
    """``in_force`` is the last verdict that took effect; ``round`` are those given since that still wait for one another."""

    state: State
    in_force: Assessment | None = None
    round: tuple[Assessment, ...] = ()

    @property
    def effect(self) -> str:
        """What stands: validated, corrected, withdrawn, or nothing yet."""
        return "" if self.in_force is None else EFFECTS[self.in_force.decision]

    def hides_from(self, subject: str) -> bool:
        """Tell whether this reader may not see yet what the first one said."""
        return self.state == "waiting" and self.round[0].reader.subject != subject


def standing_of(given: Sequence[Assessment], *, two: bool, effective: Sequence[bool] = ()) -> Standing:
    """Return where the verdicts, in their order, leave a result. ``two``: it needs two readers.

    ``effective`` says of those that are written down whether each took effect when it was given: what was sent then stands,
    whatever is asked for later.
    """
    in_force: Assessment | None = None
    waiting: tuple[Assessment, ...] = ()
    for place, one in enumerate(given):
        if one.reading == "first":
            waits = not effective[place] if place < len(effective) else two
            in_force, waiting = (in_force, (one,)) if waits else (one, ())
        elif one.reading == "second" and waiting and one.same_as(waiting[0]):
            in_force, waiting = _joined(one, waiting[0]), ()
        elif one.reading == "second":
            waiting = (*waiting, one)
        else:
            in_force, waiting = one, ()
    if not given:
        return Standing("open")
    state: State = "settled" if not waiting else "waiting" if len(waiting) == 1 else "differing"
    return Standing(state, in_force, waiting)


def reading_of(standing: Standing, subject: str) -> Reading:
    """Return as what a verdict of this reader would count now. Who gives the first again changes it."""
    if standing.state == "differing":
        return "third"
    return "second" if standing.hides_from(subject) else "first"


def _joined(second: Assessment, first: Assessment) -> Assessment:
    """Return the second verdict with both readers behind it."""
    return Assessment(second.decision, second.reason_code or first.reason_code, second.comment or first.comment, second.findings,
                      second.reader, second.reading, second.made_at, (first.reader,))
