"""The folder reports are put into for the hospital's secure mail: one of its own for each, there as a whole or not at all.

Its name is a hash; the patient stands in the files alone: IHE_XDM.zip, the pages as PDF, and the subject the mail must have.
"""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import uuid
from functools import partial
from pathlib import Path
from typing import Any

from service.dicom.undelivered import Undelivered
from service.outbound.outlet import Outlet
from service.reporting.validated import ValidatedReport
from service.site import Site
from service.xdm.write_zip import mail_subject, write_zip

KIND = NAME = "xdm"


def xdm_outlets(site: Site) -> list[Outlet]:
    """Return the outlet of the site's folder, when it names one."""
    folder = site.xdm.folder
    return [Outlet(NAME, partial(put, folder), partial(is_there, folder))] if folder else []


def content_of(report: ValidatedReport) -> dict[str, Any]:
    """Return what is put into the folder, as the outbox holds it. Raises NotValidated, NotSendable."""
    return {
        "name": hashlib.sha256(report.document_uid.encode()).hexdigest()[:32],
        "files": {
            "IHE_XDM.zip": base64.b64encode(write_zip(report)).decode("ascii"),
            "report.pdf": base64.b64encode(report.pdf).decode("ascii"),
            "subject.txt": base64.b64encode(mail_subject(report).encode()).decode("ascii"),
        },
    }


def put(folder: Path, content: dict[str, Any]) -> None:
    """Write the files of one report under a name nobody reads yet, then give them theirs. Raises Undelivered."""
    place = folder / content["name"]
    try:
        if place.is_dir():
            return
        making = folder / f".{content['name']}-{uuid.uuid4().hex}"
        making.mkdir(mode=0o770)
        try:
            for name, data in content["files"].items():
                with (making / name).open("wb") as file:
                    file.write(base64.b64decode(data))
                    file.flush()
                    os.fsync(file.fileno())
            making.rename(place)
        finally:
            shutil.rmtree(making, ignore_errors=True)
    except OSError as error:
        if place.is_dir():  # another process was faster
            return
        raise Undelivered("folder", permanent=False) from error


def is_there(folder: Path) -> bool:
    """Tell whether the folder can be written to."""
    return folder.is_dir() and os.access(folder, os.W_OK)
