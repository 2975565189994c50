"""Problem: what goes wrong as RFC 9457 problem+json, with a code a program can act on. Never who it is about."""

from __future__ import annotations

from pydantic import BaseModel
from starlette.responses import Response

from models.errors import BrokenModel, UnusableInput
from service.store.errors import StoreError

MEDIA_TYPE = "application/problem+json"

# code → (HTTP status, title). A code of models.errors.UnusableInput that is not here is 422.
PROBLEMS: dict[str, tuple[int, str]] = {
    "bad_uid": (400, "Not a UID"),
    "bad_workitem": (400, "The workitem cannot be read or changed so"),
    "bad_hook": (400, "The call of a CDS hook cannot be read"),
    "bad_query": (400, "A query parameter cannot be used"),
    "bad_multipart": (400, "The multipart body cannot be read"),
    "bad_zip": (400, "The zip archive cannot be read"),
    "empty_body": (400, "The body is empty"),
    "not_dicom": (400, "Not a DICOM object"),
    "not_an_image": (400, "Not a PNG or JPEG image"),
    "not_json": (400, "Not JSON"),
    "no_bundle": (400, "Not a FHIR Bundle"),
    "truncated": (400, "The file is cut short"),
    "damaged_dicom": (400, "The DICOM file is damaged"),
    "no_transfer_syntax": (400, "The DICOM file is damaged"),
    "no_token": (401, "A token is needed"),
    "forbidden": (403, "Not allowed"),
    "login_too_old": (403, "A fresh login is needed"),
    "opposed": (403, "An opposition stands"),
    "not_live": (403, "The release is not live here"),
    "cross_site": (403, "Asked by another site"),
    "unknown_service": (404, "No such CDS service"),
    "unknown_model": (404, "No such model"),
    "not_found": (404, "No such address"),
    "method_not_allowed": (405, "The method is not allowed here"),
    "not_acceptable": (406, "Not available as the type that is accepted"),
    "upload_too_slow": (408, "The body took too long to arrive"),
    "workitem_exists": (409, "There is such a workitem already"),
    "workitem_state": (409, "The workitem is not in a state for this"),
    "other_person": (409, "Image and record are not known to be of one person"),
    "report_not_validated": (409, "The report is not validated"),
    "report_not_sendable": (409, "The report must not leave as a document"),
    "verdict_changed": (409, "Somebody else gave a verdict meanwhile"),
    "report_changed": (412, "The report was changed meanwhile"),
    "data_needed": (412, "Data are missing"),
    "body_too_large": (413, "The body is too large"),
    "too_many_pixels": (413, "The image is too large"),
    "too_large": (413, "The input is too large"),
    "too_many_files": (413, "Too many files"),
    "too_many_elements": (413, "The file holds too many elements"),
    "too_deep": (413, "The file is nested too deeply"),
    "too_many_parts": (413, "Too many parts"),
    "unpacked_too_large": (413, "The archive is too large once unpacked"),
    "unsupported_media_type": (415, "The content type is not accepted"),
    "unknown_format": (415, "The content is in no format that is read here"),
    "wrong_host": (421, "Asked under another name"),
    "unusable_input": (422, "The input cannot be used"),
    "nothing_to_score": (422, "Nothing in the body can be scored"),
    "wrong_model": (422, "The model does not take this kind of input"),
    "bad_verdict": (422, "The verdict cannot be taken so"),
    "bad_report": (422, "The report cannot be changed or validated so"),
    "report_unconditional": (428, "Say which version is changed"),
    "too_many_requests": (429, "Too many requests at once"),
    "locked_out": (429, "Too many failed logins"),
    "unexpected": (500, "Something went wrong here"),
    "not_supported": (501, "Not offered here"),
    "fhir_server_failed": (502, "The FHIR server of this site could not be read"),
    "broken_model": (503, "A model cannot be used"),
    "not_ready": (503, "The service is not ready"),
    "busy": (503, "The service is busy"),
    "store_unavailable": (503, "The store does not answer"),
    "timeout": (504, "The answer took too long"),
    "store_full": (507, "The store is full"),
}


class Problem(BaseModel):
    """RFC 9457 problem details. ``code`` is stable; ``detail`` says rule, what was found and what to do."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    code: str


class ProblemError(Exception):
    """Ends a request with a problem."""

    def __init__(self, code: str, detail: str, *, retry_after_s: int | None = None) -> None:
        super().__init__(code)
        self.problem = problem_of(code, detail)
        self.retry_after_s = retry_after_s


def problem_of(code: str, detail: str) -> Problem:
    """Build the problem of a code."""
    status, title = PROBLEMS.get(code, PROBLEMS["unusable_input"])
    return Problem(title=title, status=status, detail=detail, code=code)


def from_exception(error: Exception) -> Problem:
    """Say what the caller may know of an exception. Only messages written to be read leave this house."""
    if isinstance(error, ProblemError):
        return error.problem
    if isinstance(error, UnusableInput) and error.code == "not_live":
        return problem_of("not_live", "No release that takes this is live here: it was not commissioned and signed for, or it was "
                                      "switched off. Go on without the score. Who answers for AI here decides which release is live.")
    if isinstance(error, UnusableInput):
        return problem_of(error.code, str(error))
    if isinstance(error, StoreError):
        if error.code == "full":
            return problem_of("store_full", "There is no room left on the disk of the store. Ask the people who run this service.")
        return problem_of("store_unavailable", "The store could not do it, and nothing of it happened. Try again.")
    if isinstance(error, BrokenModel):
        return problem_of("broken_model", "A release did not pass its checks. Ask the people who run this service.")
    return problem_of("unexpected", "The request could not be answered; the reason is in the service's log.")


def respond(problem: Problem, *, retry_after_s: int | None = None, close: bool = False) -> Response:
    """Turn a problem into an HTTP response."""
    headers = {"cache-control": "no-store", **headers_of(problem, retry_after_s, close=close)}
    return Response(problem.model_dump_json(), problem.status, headers, MEDIA_TYPE)


def headers_of(problem: Problem, retry_after_s: int | None, *, close: bool) -> dict[str, str]:
    """Return the headers a problem has, whatever its body is written in."""
    headers = {}
    if retry_after_s is not None:
        headers["retry-after"] = str(retry_after_s)
    if problem.status == 401:
        headers["www-authenticate"] = "Bearer"
    if close:
        headers["connection"] = "close"
    return headers
