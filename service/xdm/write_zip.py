"""IHE_XDM.zip of one validated report: readable page, metadata and document (IHE ITI TF-2, 3.32). The same report, the same bytes."""

from __future__ import annotations

import io
import zipfile
from html import escape

from service.cda.sendable import require_sendable
from service.cda.write_report import write_report
from service.reporting.report import one_line
from service.reporting.validated import ValidatedReport
from service.xdm.metadata import metadata

FOLDER = "IHE_XDM/SUBSET01"
DOCUMENT = "DOC0001.XML"
README = (
    "IHE XDM (Cross-enterprise Document Media Interchange)\r\n\r\n"
    "INDEX.HTM names the document of this archive. IHE_XDM/SUBSET01 holds it (DOC0001.XML, CDA R2) and its metadata\r\n"
    "(METADATA.XML). Written by Diaphane for {institution}.\r\n"
)
INDEX = (
    '<!DOCTYPE html>\n<html lang="fr"><head><meta charset="utf-8"><title>{title}</title></head><body>\n<h1>{title}</h1>\n'
    '<p>{institution}</p>\n<ul><li><a href="{folder}/{document}">{title}</a> (CDA R2)</li></ul>\n'
    '<p><a href="README.TXT">README.TXT</a></p>\n</body></html>\n'
)


def write_zip(report: ValidatedReport) -> bytes:
    """Write the archive. Raises NotValidated, NotSendable."""
    known, named = require_sendable(report)
    cda = write_report(known)
    words = {"title": escape(known.title), "institution": escape(known.organisation.name), "folder": FOLDER, "document": DOCUMENT}
    files = {
        "README.TXT": README.format(institution=known.organisation.name).encode(),
        "INDEX.HTM": INDEX.format(**words).encode(),
        f"{FOLDER}/METADATA.XML": metadata(known, named, cda, DOCUMENT),
        f"{FOLDER}/{DOCUMENT}": cda,
    }
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:  # stored: no version of a packer changes a byte
        for name, data in files.items():
            entry = zipfile.ZipInfo(name, known.validated_at.timetuple()[:6])
            entry.create_system, entry.external_attr = 0, 0
            archive.writestr(entry, data)
    return buffer.getvalue()


def mail_subject(report: ValidatedReport) -> str:
    """Return the subject the mail with the archive must have: XDM/1.0/DDM+, what it is, and whose. Raises like ``write_zip``."""
    known, _ = require_sendable(report)
    traits = known.person.traits
    born = traits.birth_date
    date = f"{born[6:8]}/{born[4:6]}/{born[:4]}" if len(born) == 8 else born
    return one_line(f"XDM/1.0/DDM+{known.title} {traits.birth_name} {traits.given} {date}")
