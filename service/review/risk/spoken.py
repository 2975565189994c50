"""The words of the risk pages: figures, ranges, times and directions as a clinician reads them, in one language."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from models.manifest import Range
from models.prediction import Contribution, Finding, Refusal
from service.cds_hooks.write_card import RISKS, about, amount
from service.fhir.write_contributions import range_words, value_words
from service.flags import flag_text
from service.refusals import advice_text, reason_in, reason_text
from service.review.risk.change import bare
from service.review.risk.measured import When
from service.review.risk.waterfall import Waterfall
from service.review.worklist.shown import age
from service.words import Language, day, in_words, marked, moment, number, percent, say, unit

NO_BREAK = "\u00a0"
SEXES = {"M": marked("male"), "F": marked("female"), "O": marked("other")}
SOURCES = {
    "predict": marked("asked for by the record system"), "monitoring": marked("remote monitoring"),
    "hook:patient-view": marked("when the chart was opened"), "hook:encounter-start": marked("at the beginning of the stay"),
    "hook:encounter-discharge": marked("at discharge"), "hook:order-select": marked("while ordering"),
    "hook:order-sign": marked("while ordering"),
}


@dataclass(frozen=True)
class Spoken:
    """Says things in one language; given to the templates as ``said``."""

    language: Language

    def label(self, part: Any) -> str:
        """Return the label of a part, a finding or an input."""
        return in_words(self.language, part.label, part.label_fr)

    def value(self, part: Contribution) -> str:
        """Return the value of a part with its unit."""
        return value_words(part, self.language)

    def range(self, part: Contribution) -> str:
        """Return its usual range."""
        return range_words(part, self.language)

    def limits(self, limits: Range) -> str:
        """Return a range."""
        if limits.low is None or limits.high is None:
            return ""
        ends = (self.plain(limits.low), self.plain(limits.high))
        return ends[0] if limits.low == limits.high else say(self.language, "{low} to {high}", low=ends[0], high=ends[1])

    def plain(self, value: float) -> str:
        """Return a number with as many digits as it needs, four at most."""
        text = f"{value:.4g}"
        digits = 0 if "e" in text else len(text.partition(".")[2])
        return number(self.language, value, digits)

    def bare(self, value: float) -> str:
        """Return a number as a field of a form takes it."""
        return bare(value)

    def input_value(self, one: Any) -> str:
        """Return the value of an input with its unit, or its word."""
        if one.value is None:
            return say(self.language, "not known")
        for value, english, french in one.choices:
            if float(value) == one.value:
                return in_words(self.language, english, french)
        return f"{self.plain(one.value)} {unit(self.language, one.unit)}".strip()

    def figure(self, finding: Finding) -> str:
        """Return the figure itself: 12%, below 1%, 35 mg/week."""
        return self.share(finding.value) if finding.kind == "probability" else amount_alone(finding, self.language)

    def finely(self, finding: Finding) -> str:
        """Return the figure with a digit more, so that a small change shows."""
        if finding.kind == "probability" and 0.1 <= finding.value <= 0.99:
            return percent(self.language, finding.value, 1)
        return self.figure(finding)

    def reached(self, drawn: Waterfall, value: float) -> str:
        """Return what a score stands for: a probability or a quantity with its unit."""
        if drawn.is_share:
            return self.share(value)
        return f"{number(self.language, value, 0 if value >= 10 else 1)} {unit(self.language, drawn.finding.unit)}".strip()

    def tick(self, drawn: Waterfall, value: float) -> str:
        """Return the label of an axis of the waterfall."""
        return self.round_share(value) if drawn.is_share else self.plain(value)

    def share(self, value: float) -> str:
        """Return a probability, with decimals below ten percent, and never as certainty."""
        if value < 0.001:
            return f"<{NO_BREAK}{percent(self.language, 0.001, 1)}"
        if value > 0.99:
            return f">{NO_BREAK}{percent(self.language, 0.99)}"
        return percent(self.language, value, 2 if value < 0.01 else 1 if value < 0.1 else 0)

    def round_share(self, value: float) -> str:
        """Return a round probability as an axis shows it."""
        return f"{self.plain(100 * value)}{NO_BREAK}%" if self.language == "fr" else f"{self.plain(100 * value)}%"

    def people(self, value: float) -> str:
        """Return a probability as a number of people."""
        return about(value, self.language)

    def interval(self, finding: Finding) -> str:
        """Return a quantity with its interval."""
        return amount(finding, self.language)

    def risk(self, word: str) -> str:
        """Return the word for a risk."""
        return say(self.language, RISKS[word]) if word in RISKS else ""

    def way(self, change: float) -> str:
        """Say which way a part moves the score."""
        words = marked("raises") if change > 0 else marked("lowers") if change < 0 else marked("no change")
        return say(self.language, words)

    def factor(self, value: float) -> str:
        """Return what the odds or the quantity are multiplied by."""
        return f"× {number(self.language, value, 2)}"

    def when(self, told: When | None) -> str:
        """Say when something was measured; of several values, how many and when the latest."""
        if told is None or told.at is None:
            return ""
        at = self.clock(told.at)
        if told.is_value:
            return at
        return say(self.language, "{count} values, the latest {when}", count=told.count, when=at)

    def clock(self, at: datetime) -> str:
        """Return a day and time without the zone: 3 Mar 2026, 09:30."""
        return moment(self.language, at.replace(tzinfo=None))

    def hour(self, at: datetime, days: bool) -> str:
        """Return a time for an axis, with its day where the axis spans several."""
        clock = f"{at.hour} h {at.minute:02d}" if self.language == "fr" else f"{at.hour:02d}:{at.minute:02d}"
        return f"{at.day:02d}/{at.month:02d} {clock}" if days else clock

    def flag(self, word: str) -> str:
        """Say a flag."""
        return flag_text(word, self.language)

    def reason(self, refusal: Refusal) -> tuple[str, str, str]:
        """Say why a model declined, what it found, and what to do."""
        return reason_in(str(refusal.reason), self.language), reason_text(refusal, self.language), advice_text(refusal, self.language)

    def reason_word(self, reason: str) -> str:
        """Say a reason of which only the word was kept."""
        return reason_in(reason, self.language)

    def source(self, word: str) -> str:
        """Say on what occasion a risk was told."""
        known = SOURCES.get(word) or SOURCES.get(word.partition(":")[0])
        return say(self.language, known) if known else ""

    def has_number(self, finding: Finding) -> bool:
        """Tell whether a label states its time already."""
        return any(letter.isdigit() for letter in self.label(finding))

    def horizon(self, hours: float | None) -> str:
        """Say how far ahead an output looks."""
        if hours is None:
            return ""
        if hours < 48:
            return say(self.language, "within {hours} h", hours=self.plain(hours))
        return say(self.language, "within {days} days", days=self.plain(hours / 24))

    def person(self, patient: dict[str, Any], today: date) -> dict[str, str]:
        """Return what is shown of whom a risk is about: name, sex, birth date with age, identifier."""
        name = f"{patient.get('name', '')} {patient.get('given', '')}".strip()
        born = _born(str(patient.get("birth_date", "")))
        written = ""
        if born:
            old = age(born.isoformat(), today, self.language)
            written = f"{day(self.language, born)} ({old})" if old else day(self.language, born)
        sex = SEXES.get(str(patient.get("sex", "")), "")
        return {"name": name, "born": written, "sex": say(self.language, sex) if sex else "", "id": str(patient.get("id", ""))}


def amount_alone(finding: Finding, language: Language) -> str:
    """Return a quantity with its unit, without the interval."""
    return f"{number(language, finding.value, 0 if finding.value >= 10 else 1)} {unit(language, finding.unit)}".strip()


def _born(digits: str) -> date | None:
    try:
        return datetime.strptime(digits, "%Y%m%d").date()
    except ValueError:
        return None
