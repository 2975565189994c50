"""Lines of the audit in the reader's words: what was done, to what, with which outcome."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo

from service.audit.line import NOBODY, SERVICE
from service.store.audit import Line
from service.words import Language, marked, say

ACTION_WORDS = {
    "login": marked("Signed in"), "logout": marked("Signed out"), "denied": marked("Denied"), "view": marked("Looked at"),
    "predict": marked("Scored"), "verdict": marked("Verdict"), "validate": marked("Validated a report"), "export": marked("Exported"),
    "print": marked("Printed"), "search": marked("Searched"), "configure": marked("Configuration changed"), "erase": marked("Erased"),
    "oppose": marked("Opposition"), "hold": marked("Legal hold"), "replay": marked("Scored again"), "deliver": marked("Delivered"),
    "deidentify": marked("De-identified"), "receive": marked("Received"), "prune": marked("Deleted by age"),
    "sign_off": marked("Signed off a release"), "release": marked("Changed which release serves"),
}
KIND_WORDS = {
    "study": marked("study"), "result": marked("imaging result"), "risk": marked("risk"), "alert": marked("alert"),
    "report": marked("report"), "entry": marked("line of the worklist"), "worklist": marked("worklist"), "model": marked("model"),
    "settings": marked("settings"), "audit": marked("audit"), "person": marked("patient"), "session": marked("session"),
    "department": marked("department"), "address": marked("address"), "api": marked("programming interface"),
    "release": marked("release"),
}
OUTCOME_WORDS = {"success": marked("Succeeded"), "denied": marked("Denied"), "failed": marked("Failed")}
OUTCOME_TONES = {"success": "good", "denied": "stop", "failed": "high"}
DETAIL_WORDS = {
    "address": marked("from"), "code": marked("code"), "count": marked("how many"), "decision": marked("decision"),
    "format": marked("format"), "keys": marked("changed"), "method": marked("method"), "model": marked("model"),
    "models": marked("models"), "number": marked("number"), "permission": marked("permission"), "provider": marked("signed in with"),
    "reader": marked("reader"), "reason": marked("reason"), "route": marked("address"), "same": marked("same number"),
    "scope": marked("scope"), "source": marked("source"), "status": marked("status"), "target": marked("to"),
    "advice": marked("commissioning said"), "against_advice": marked("against advice"), "does": marked("from now on"),
    "report": marked("report"), "targets": marked("to"), "version": marked("version"), "way": marked("way"),
}


@dataclass(frozen=True)
class Spoken:
    """A line as a row shows it."""

    number: int
    at: datetime
    who: str
    subject: str  # the identifier of who it was, "" where ``who`` is that already
    roles: tuple[str, ...]
    action: str
    outcome: str
    outcome_words: str
    tone: str
    thing: str
    item: str
    detail: tuple[tuple[str, str], ...]
    hash: str


def spoken(line: Line, language: Language, zone: tzinfo | None) -> Spoken:
    """Say a line. Times are those of the site."""
    detail = ((DETAIL_WORDS[name], value) for name, value in sorted(line.detail.items()) if name in DETAIL_WORDS and value != [])
    who = line.actor_name or actor_words(line.actor, language)
    return Spoken(
        line.id, datetime.fromtimestamp(line.at, UTC).astimezone(zone), who, line.actor if line.actor_name else "",
        tuple(line.roles.split()), say(language, ACTION_WORDS.get(line.action, line.action)), line.outcome,
        say(language, OUTCOME_WORDS.get(line.outcome, line.outcome)), OUTCOME_TONES.get(line.outcome, ""),
        say(language, KIND_WORDS[line.kind]) if line.kind in KIND_WORDS else line.kind, line.item,
        tuple((say(language, name), _written(value)) for name, value in detail), line.hash,
    )


def actor_words(actor: str, language: Language) -> str:
    """Say who did it where they have no name of their own."""
    if actor == NOBODY:
        return say(language, "Not signed in")
    return say(language, "Diaphane itself") if actor == SERVICE else actor


def _written(value: object) -> str:
    return ", ".join(str(one) for one in value) if isinstance(value, list) else str(value)
