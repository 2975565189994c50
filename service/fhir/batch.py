"""A batch Bundle of $predict entries: each is answered by itself, and one that fails does not stop the others.

https://hl7.org/fhir/R4/http.html#transaction.
"""

from __future__ import annotations

import logging
from typing import Any

from service.fhir.datatypes import Json
from service.fhir.exchange import Refused, problem_from
from service.fhir.outcome import error
from service.fhir.predict import Predictor, read_wish
from service.logs import where
from service.problem import ProblemError, from_exception
from service.words import Language

log = logging.getLogger("diaphane")
MAX_ENTRIES = 200  # of a batch that is answered at once; more go as NDJSON with Prefer: respond-async


def is_batch(body: Json) -> bool:
    """Tell whether a Bundle asks for $predict, entry by entry."""
    if body.get("resourceType") != "Bundle" or body.get("type") != "batch":
        return False
    return any(asks_predict(entry) for entry in entries_of(body))


def answer_batch(body: Json, predictor: Predictor, language: Language) -> Json:
    """Answer every entry with its status. Raises ProblemError when there are too many."""
    entries = entries_of(body)
    if len(entries) > MAX_ENTRIES:
        raise ProblemError("too_large", f"A batch must hold at most {MAX_ENTRIES} entries, found {len(entries)}. "
                                        "Send them as NDJSON with Prefer: respond-async.")
    return {"resourceType": "Bundle", "type": "batch-response",
            "entry": [answer_entry(entry, predictor, language) for entry in entries]}


def answer_entry(entry: Any, predictor: Predictor, language: Language) -> Json:
    """Answer one entry: the Bundle, or an OperationOutcome that says why not."""
    try:
        if not asks_predict(entry):
            raise Refused([error("not-supported", "Bundle.entry.request", "Entries of this batch must be POST $predict.")])
        resource = entry.get("resource")
        if not isinstance(resource, dict):
            raise Refused([error("required", "Bundle.entry.resource", "An entry must hold Parameters, or the record as a Bundle.")])
        told, _ = predictor.answer(read_wish(resource), language)
    except Exception as failed:
        if isinstance(failed, ProblemError) and failed.problem.code == "timeout":
            raise  # nobody waits for the rest
        status = failed.status if isinstance(failed, Refused) else from_exception(failed).status
        if status == 500:
            log.error("unexpected %s", where(failed))
        return {"response": {"status": str(status), "outcome": problem_from(failed)}}
    return {"resource": told, "response": {"status": "200 OK"}}


def entries_of(body: Json) -> list[Any]:
    """Return the entries of a batch."""
    found = body.get("entry")
    return found if isinstance(found, list) else []


def asks_predict(entry: Any) -> bool:
    """Tell whether an entry is POST $predict."""
    request = entry.get("request") if isinstance(entry, dict) else None
    if not isinstance(request, dict) or request.get("method") != "POST":
        return False
    return str(request.get("url", "")).removeprefix("/") == "$predict"
