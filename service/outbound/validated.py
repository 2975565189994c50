"""What a validation sets in motion: the report as an HL7 v2 message and as an XDM archive, where the site has them on."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from service.cda.sendable import NotSendable
from service.hl7v2 import mllp, write_mdm, write_oru
from service.hl7v2.parts import Kind, control_id
from service.reporting.validated import ValidatedReport
from service.site import Mllp, Site
from service.store.messages import key_of
from service.store.reports import Outgoing
from service.xdm import folder

log = logging.getLogger("diaphane")
MESSAGES: dict[str, tuple[Callable[[ValidatedReport, Mllp], str], Kind]] = {
    "ORU_R01": (write_oru.write_oru, write_oru.KIND), "MDM_T02": (write_mdm.write_mdm, write_mdm.KIND),
}


def sends(site: Site) -> bool:
    """Tell whether the site sends validated reports anywhere."""
    return bool(site.mllp.host or site.xdm.folder)


def outgoing(site: Site, report: ValidatedReport) -> list[Outgoing]:
    """Return what a validated report sends, to be written with its validation. Nothing is sent unless the site file says so.

    A report that must not leave as a document is still validated: it stays here, and the log says why.
    """
    key = key_of("report", report.document_uid)
    found: list[Outgoing] = []
    try:
        if site.mllp.host:
            found.append(Outgoing(mllp.NAME, mllp.KIND, key, _message(site.mllp, report)))
        if site.xdm.folder:
            found.append(Outgoing(folder.NAME, folder.KIND, key, folder.content_of(report)))
    except NotSendable as error:
        log.warning("report: validated, but not sent as a document (%s)", error.reason)
        return []
    return found


def _message(to: Mllp, report: ValidatedReport) -> dict[str, Any]:
    write, kind = MESSAGES[to.message]
    return {"control_id": control_id(report, kind), "message": write(report, to)}
