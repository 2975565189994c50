"""UPS-RS (PS3.18, chapter 11): a worklist of procedure steps: create, retrieve, search, update, claim, complete, cancel.

Subscriptions are not offered: whoever waits for a step asks again.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from service.dicom import accept, steps
from service.dicom.matching import MAX_RESULTS, Attributes, Question, read_question
from service.dicom.qido import LITERAL, SERVICE
from service.dicom.steps import CANCELED, COMPLETED, IN_PROGRESS, SCHEDULED
from service.problem import ProblemError, problem_of, respond
from service.store.store import Store
from service.store.tables import Workitem
from service.store.workitems import add_workitem, get_workitem, put_workitem, search_workitems

SPELLINGS = ("transaction-uid", "transaction", "Transaction-uid", "transactionuid", "transactionUID")
HEADERS = {"cache-control": "no-store"}
OURS = "performer"  # a mark beside the attributes of a step that Diaphane itself has claimed; never given out
_PAGE = 500
_STATES = (SCHEDULED, IN_PROGRESS, COMPLETED, CANCELED)
_TRIES = 5
MISSING, INCORRECT = "The Transaction UID is missing.", "The Transaction UID is incorrect."
INCONSISTENT = "The submitted request is inconsistent with the state of the UPS Instance."


class Refused(Exception):
    """A request that does not fit the state of the step; ``warning`` is the standard's sentence for it."""

    def __init__(self, status: int, detail: str, warning: str) -> None:
        super().__init__(detail)
        self.status, self.detail, self.warning = status, detail, warning

    def response(self) -> Response:
        """Say so."""
        answer = respond(problem_of("workitem_state" if self.status == 409 else "bad_workitem", self.detail))
        answer.headers["warning"] = f"299 {SERVICE}: {self.warning}"
        return answer


@dataclass(frozen=True)
class Ups:
    """The worklist of a store. Methods block: call them in a thread."""

    store: Store

    def create(self, request: Request, body: bytes, root: str) -> Response:
        """Answer POST /workitems: 201 with its address."""
        sent, uid = _dataset(request, body), _uid_asked(request)
        uid = uid or steps.text(sent, "00080018") or steps.new_uid()
        _check_uid(uid)
        step, modified = steps.created(sent, uid, SERVICE)
        study = steps.study_of(step)
        if study:
            _check_uid(study)
        priority = steps.PRIORITIES[steps.text(step, steps.PRIORITY)]
        if not add_workitem(self.store, uid, state=SCHEDULED, study_uid=study, priority=priority, attributes=step):
            raise ProblemError("workitem_exists", "There is a workitem of that UID already. Choose another, or leave it out.")
        headers = HEADERS | {"location": f"{root}/workitems/{uid}", "content-location": f"{root}/workitems/{uid}"}
        if modified:
            headers["warning"] = f"299 {SERVICE}: The Workitem was created with modifications."
        return Response(None, 201, headers)

    def retrieve(self, request: Request) -> Response:
        """Answer GET /workitems/{workitem}."""
        accept.choose(request, (accept.JSON, accept.PLAIN_JSON))
        item = self._item(request)
        return Response(json.dumps([steps.shown(item.attributes, item.state)]), 200, HEADERS, accept.JSON)

    def search(self, request: Request) -> Response:
        """Answer GET /workitems: every attribute may be asked for."""
        accept.choose(request, (accept.JSON, accept.PLAIN_JSON))
        question = read_question(request.query_params.multi_items(), _EVERY)
        found = self._find(question)
        headers = dict(HEADERS)
        if question.fuzzy:
            headers["warning"] = f"299 {SERVICE}: {LITERAL}"
        if not found:
            return Response(None, 204, headers)
        return Response(json.dumps(found), 200, headers, accept.JSON)

    def update(self, request: Request, body: bytes) -> Response:
        """Answer POST /workitems/{workitem}: set attributes of a step that is scheduled, or claimed by who asks."""
        sent = _dataset(request, body)
        transaction = _transaction_asked(request) or steps.text(sent, steps.TRANSACTION)
        sent.pop(steps.TRANSACTION, None)
        for _ in range(_TRIES):
            item = self._item(request)
            if item.state in (COMPLETED, CANCELED):
                raise Refused(400, f"A workitem that is {item.state} may no longer be changed.",
                              "The submitted request is inconsistent with the current state of the Workitem.")
            if item.state == SCHEDULED and transaction:
                raise Refused(400, "A workitem that nobody has claimed is changed without a Transaction UID.",
                              "The target URI did not reference a claimed Workitem.")
            if item.state == IN_PROGRESS:
                _check_transaction(item, transaction)
            step = steps.changed(item.attributes, sent)
            priority, study = steps.PRIORITIES[steps.text(step, steps.PRIORITY)], steps.study_of(step)
            if study:
                _check_uid(study)
            if put_workitem(self.store, item, attributes=step, priority=priority, study_uid=study):
                return Response(None, 200, HEADERS)
        raise _busy()

    def change_state(self, request: Request, body: bytes) -> Response:
        """Answer PUT /workitems/{workitem}/state: claim, complete or cancel."""
        sent = _dataset(request, body)
        wanted, transaction = steps.text(sent, steps.STATE), steps.text(sent, steps.TRANSACTION)
        for _ in range(_TRIES):
            item = self._item(request)
            if wanted not in (IN_PROGRESS, COMPLETED, CANCELED):
                raise Refused(400, "ProcedureStepState must be IN PROGRESS, COMPLETED or CANCELED.", INCONSISTENT)
            if not transaction:
                raise Refused(400, "A change of state needs the Transaction UID of who claims the workitem, or has.", MISSING)
            _check_uid(transaction)
            if wanted == IN_PROGRESS:
                if item.state != SCHEDULED:
                    raise Refused(409, f"The workitem is {item.state} already.", INCONSISTENT)
                changes: dict[str, object] = {"state": IN_PROGRESS, "transaction_uid": transaction}
            elif item.state == wanted:
                _check_transaction(item, transaction)
                return Response(None, 200, HEADERS | {
                    "warning": f"299 {SERVICE}: The UPS is already in the requested state of {wanted}."})
            else:
                changes = _finish(item, wanted, transaction)
            if put_workitem(self.store, item, **changes):
                return Response(None, 200, HEADERS)
        raise _busy()

    def request_cancellation(self, request: Request, body: bytes) -> Response:
        """Answer POST /workitems/{workitem}/cancelrequest: done at once when scheduled, passed on when it is ours."""
        told = _dataset(request, body) if body.strip() else {}
        for _ in range(_TRIES):
            item = self._item(request)
            if item.state == CANCELED:
                return Response(None, 202, HEADERS | {
                    "warning": f"299 {SERVICE}: The UPS is already in the requested state of CANCELED."})
            if item.state == COMPLETED:
                raise Refused(409, "The workitem is COMPLETED already.", "The UPS is already COMPLETED.")
            if item.state == IN_PROGRESS and OURS not in item.attributes:
                raise Refused(409, "The workitem was claimed by another, who cannot be told.", "The performer cannot be contacted.")
            step = steps.cancelled(item.attributes, told)
            changes = {"state": CANCELED, "attributes": step} if item.state == SCHEDULED else {"cancel_requested": True}
            if put_workitem(self.store, item, **changes):
                return Response(None, 202, HEADERS)
        raise _busy()

    def _item(self, request: Request) -> Workitem:
        item = get_workitem(self.store, request.path_params["workitem"])
        if item is None:
            raise ProblemError("not_found", "There is no workitem of that UID. GET /dicom-web/workitems lists what there is.")
        return item

    def _find(self, question: Question) -> list[Attributes]:
        states = [one.value for one in question.conditions if one.path == (steps.STATE,) and one.value in _STATES]
        kept: list[Attributes] = []
        start, wanted = 0, min(question.limit, MAX_RESULTS)
        while len(kept) < question.offset + wanted:
            page = search_workitems(self.store, states=states, limit=_PAGE, offset=start)
            seen = (steps.shown(item.attributes, item.state) for item in page)
            kept += [one for one in seen if all(condition.holds(one) for condition in question.conditions)]
            start += _PAGE
            if len(page) < _PAGE:
                break
        return kept[question.offset : question.offset + wanted]


async def body_of(request: Request, timeout_s: float) -> bytes:
    """Wait for the whole body, whose size is the Guard's business. Raises ProblemError (408)."""
    try:
        return await asyncio.wait_for(request.body(), timeout_s)
    except TimeoutError:
        raise ProblemError("upload_too_slow", "The body did not arrive in time. Send it again.") from None


class _Every:
    """Stands for all attributes but the Transaction UID, which would be found out by asking for it."""

    def __contains__(self, tag: object) -> bool:
        return tag != steps.TRANSACTION


_EVERY = _Every()


def _finish(item: Workitem, wanted: str, transaction: str) -> dict[str, object]:
    """Return the changes that complete or cancel a step. Raises Refused."""
    if item.state != IN_PROGRESS:
        raise Refused(409, f"The workitem is {item.state}; only one IN PROGRESS can become {wanted}.", INCONSISTENT)
    _check_transaction(item, transaction)
    if wanted == CANCELED:
        return {"state": CANCELED, "attributes": steps.cancelled(item.attributes)}
    if missing := steps.lacking(item.attributes):
        raise Refused(409, f"Before it is COMPLETED, UnifiedProcedureStepPerformedProcedureSequence must hold {', '.join(missing)}.",
                      INCONSISTENT)
    return {"state": COMPLETED}


def _check_transaction(item: Workitem, transaction: str) -> None:
    if not transaction:
        raise Refused(400, "A claimed workitem is changed with the Transaction UID it was claimed by.", MISSING)
    if transaction != item.transaction_uid:
        raise Refused(400, "The Transaction UID must be the one the workitem was claimed by, found another.", INCORRECT)


def _dataset(request: Request, body: bytes) -> Attributes:
    kind = accept.media_type(request.headers.get("content-type", ""))
    if kind.name not in (accept.JSON, accept.PLAIN_JSON):
        raise ProblemError("unsupported_media_type", f"Send {accept.JSON}.")
    return steps.read_dataset(body)


def _uid_asked(request: Request) -> str:
    """Return the UID of the query: as ``workitem``, as the older AffectedSOPInstanceUID, or bare."""
    query = request.query_params
    return query.get("workitem") or query.get("AffectedSOPInstanceUID") or _bare(request)


def _transaction_asked(request: Request) -> str:
    """Return the Transaction UID of the query in any of the spellings the standard has had, or bare."""
    return next((request.query_params[name] for name in SPELLINGS if name in request.query_params), "") or _bare(request)


def _bare(request: Request) -> str:
    query = request.url.query
    return query if query and steps.is_uid(query) else ""


def _check_uid(uid: str) -> None:
    if not steps.is_uid(uid):
        raise ProblemError("bad_uid", "A UID must be digits and dots, at most 64 characters (PS3.5, 9.1).")


def _busy() -> ProblemError:
    return ProblemError("busy", "The workitem is being changed by others at this moment. Try again.", retry_after_s=1)
