"""The web services of the conformance statement (PS3.2, annex N): addresses, parameters, statuses, from the code that answers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pydicom.datadict import keyword_for_tag
from starlette.routing import Route

from service.dicom.matching import MAX_RESULTS
from service.dicom.performer import KINDS
from service.dicom.qido import KEYWORDS, MOST_READ
from service.dicom.rendered import FUNCTIONS, MAX_SIDE, THUMBNAIL, TYPES
from service.dicom.routes import DicomWeb
from service.dicom.steps import EMPTY, FINAL, FIXED, NEEDED, OUTPUT, PRIORITIES
from service.dicom.storage import TRANSFER_SYNTAXES
from service.dicom.stow import NOT_UNDERSTOOD, REASONS
from service.dicom.ups import SPELLINGS
from service.dicom.wado import FRAME_TYPES, MAX_FRAMES
from service.settings import Settings

MEANINGS = {  # of REASONS
    0x0110: "processing failure, ours", 0x0122: "class not supported: only images with pixels are taken",
    0xA700: "out of resources: too large, or send again later", 0xA900: "dataset does not match its SOP class or file meta",
    NOT_UNDERSTOOD: "cannot be understood", 0xC122: "transfer syntax not supported",
    0xC409: "of another study than the address (ours)",
}


def web_services(settings: Settings) -> list[str]:
    """Write section 5.3 as paragraphs of Markdown."""
    return [
        "### 5.3 Web services",
        table(("Method", "Resource"), _resources(settings)),
        "Statuses that any may give: 400 address or query, 401 token, 404 not here, 406 Accept, 408 body too slow, 413 too large, "
        "415 Content-Type, 429 and 503 busy (Retry-After), as `application/problem+json` (RFC 9457).",
        *_stow(settings), *_qido(), *_wado(), *_ups(),
    ]


def table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Write a table of Markdown."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)


def _resources(settings: Settings) -> list[tuple[str, str]]:
    routes = (route for route in DicomWeb(settings).routes() if isinstance(route, Route))
    return [(method, f"`{route.path}`") for route in routes for method in sorted((route.methods or set()) - {"HEAD"})]


def _stow(settings: Settings) -> list[str]:
    codes: dict[int, list[str]] = {}
    for code, reason in REASONS.items():
        codes.setdefault(reason, []).append(code)
    rows = [(f"{reason:04X}", MEANINGS[reason], ", ".join(words)) for reason, words in sorted(codes.items())]
    rows.append((f"{NOT_UNDERSTOOD:04X}", MEANINGS[NOT_UNDERSTOOD], "every other code of 5.1"))
    return [
        "#### STOW-RS",
        "`multipart/related; type=\"application/dicom\"`, chunked or not, or one object as `application/dicom`; no Content-Encoding; "
        f"{settings.max_instance_mib} MiB an object. 200 all stored (or held already), 202 some, 409 none; the body is the Store "
        "Instances Response Module as `application/dicom+json`. A request counts as one association. Each item of Failed SOP "
        "Sequence, and of Other Failures Sequence where the object could not be named, holds Failure Reason and, in Error Comment, "
        "a word for programs:",
        table(("Failure Reason", "Meaning", "Error Comment (0000,0902)"), rows),
    ]


def _qido() -> list[str]:
    return [
        "#### QIDO-RS",
        "`application/dicom+json`. 200; 204 when nothing matches; 400 for an attribute that cannot be matched: a condition is "
        f"never passed over. Single value, UID list, wildcard and range matching; `limit` up to {MAX_RESULTS:,} (a Warning says that "
        "there is more), `offset`, `includefield` by keyword, tag or `all` (attributes not held for queries are read from the file, "
        f"for the first {MOST_READ} results); `fuzzymatching=true` is answered literally, with a Warning.",
        table(("Level", "Attributes that can be matched"), ((level, ", ".join(names)) for level, names in KEYWORDS.items())),
    ]


def _wado() -> list[str]:
    return [
        "#### WADO-RS",
        "Objects as `multipart/related; type=\"application/dicom\"`, one by itself as `application/dicom`; without a transfer syntax "
        "in Accept they are given in Explicit VR Little Endian, with `transfer-syntax=*` as stored. What cannot be decoded is given "
        "as stored, as its Content-Type says. Metadata as `application/dicom+json`, bulk data as `application/octet-stream`.",
        f"Frames, up to {MAX_FRAMES:,} in a request, as `application/octet-stream` in Explicit VR Little Endian, or as stored:",
        table(("Stored transfer syntax", "Media type of frames"),
              ((TRANSFER_SYNTAXES.get(uid, uid), kind) for uid, kind in FRAME_TYPES.items())),
        f"Rendered as {' or '.join(TYPES)}: `window=centre,width,{'|'.join(FUNCTIONS)}`, `viewport=width,height` or "
        f"`width,height,left,top,width,height` up to {MAX_SIDE:,}, `quality=1–100` (JPEG). `annotation`, `iccprofile` and `charset` "
        "are accepted and change nothing: no name is ever drawn on an image. Thumbnails of a study, series, instance or frame are "
        f"{THUMBNAIL} pixels on the longer side unless `viewport` says otherwise.",
    ]


def _ups() -> list[str]:
    return [
        "#### UPS-RS",
        "`application/dicom+json`. Every attribute but Transaction UID can be searched. Subscriptions are answered 501.",
        table(("Rule", "Attributes"), (
            ("must be in a new step (else 400)", _names(NEEDED)),
            ("made empty in a new step when left out (201 with a Warning)", _names(EMPTY)),
            ("cannot be changed by an update", _names(FIXED)),
            ("must be in Performed Procedure Sequence to complete", _names((*FINAL, OUTPUT))),
            ("Scheduled Procedure Step Priority", ", ".join(PRIORITIES)),
        )),
        f"Transaction UID of an update: in the dataset, bare in the query, or as {', '.join(f'`{one}`' for one in SPELLINGS)}; "
        "missing or another than the claim's is 400 with the standard's Warning. What does not follow from the state is 409; "
        "to the state it is in already, 200 with a Warning.",
        "Cancel request: a step that is SCHEDULED is CANCELED at once (202); one that Diaphane performs is canceled at its next look "
        "(202); one claimed by another is refused, who cannot be told (409); CANCELED already is 202 with a Warning, COMPLETED 409.",
        "**Diaphane as performer** (IHE AIW-I) claims a step whose Input Readiness State is READY and whose start has come, whose "
        "Scheduled Station Name Code Sequence names its station; or which names no station and has no Scheduled Workitem Code, or "
        f"one of {', '.join(sorted(KINDS))} (DCM). It does so once every input (study, series or instances) is here, puts their "
        "scoring forward by the step's priority, and completes the step with Output Information Sequence naming each series it made.",
    ]


def _names(tags: Iterable[str]) -> str:
    return ", ".join(keyword_for_tag(int(tag, 16)) for tag in sorted(tags))
