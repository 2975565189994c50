"""What is held of a person, as a zip archive for them: their images, what was measured and told, verdicts, and who looked.

Data as they are held (data.json), as FHIR R4 (fhir.json) and as DICOM files; README.txt says in plain French and English what
is what. Who looked is told by time, role and what was done: a professional's name is given only where the site decides so.
"""

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import IO, Any

from models.codes import DESCRIBED, coded
from service.fhir.datatypes import OURS, bundle, coding, concept, id_of, instant, made, quantity, reference
from service.rights.person import Person
from service.store.audit import Line
from service.store.disclosure import audit_of, images_of, rows_of
from service.store.monitoring import COUNTED
from service.store.store import Store

Json = dict[str, Any]
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
README = """\
CE QUE DIAPHANE CONSERVE À VOTRE SUJET
======================================
Cette archive a été préparée le {day} à votre demande (article 15 du RGPD : droit d'accès).

  images/       vos images médicales, au format DICOM : {images} fichiers. « reçu » : envoyé par un appareil de l'hôpital ;
                « fait » : produit par le logiciel à partir de vos images.
  fhir.json     vos mesures et les risques calculés, dans un format que lisent les logiciels de santé (HL7 FHIR R4).
  data.json     tout ce qui est conservé, tel quel : résultats, comptes rendus, avis des professionnels, envois.
  access.csv    qui a consulté ou utilisé ces données : date, fonction, ce qui a été fait.

Les résultats sont ceux d'une intelligence artificielle, donnés à un professionnel pour l'aider. Ils ne sont pas un
diagnostic, et ce logiciel n'est pas un dispositif médical. Parlez-en avec votre médecin.
Vous pouvez demander une rectification, l'effacement, ou que vos données ne soient plus évaluées ni utilisées pour
l'apprentissage, auprès du délégué à la protection des données de l'établissement ; et saisir la CNIL (www.cnil.fr).


WHAT DIAPHANE HOLDS ABOUT YOU
=============================
This archive was made on {day} at your request (article 15 of the GDPR: right of access).

  images/       your medical images as DICOM files: {images}. "received": sent by a device of the hospital; "made": made
                by the software from your images.
  fhir.json     your measurements and the risks that were computed, in a format that health software reads (HL7 FHIR R4).
  data.json     everything that is held, as it is: results, reports, what professionals said of them, what was sent.
  access.csv    who looked at these data or used them: when, in which role, what was done.

The results were made by artificial intelligence to support a professional. They are no diagnosis, and this software is no
medical device. Talk to your doctor about them.
You may ask for a correction, for erasure, or that your data be no longer assessed or used for training: the hospital's
data-protection officer is who to ask.
"""


def write_archive(store: Store, person: Person, out: IO[bytes], *, now: datetime, names: bool = False) -> int:
    """Write the archive; return how many files are in it. ``names``: professionals are named in access.csv."""
    rows = rows_of(store, persons=person.keys, studies=person.studies, subjects=person.subjects, risks=person.risks)
    images = images_of(store, person.studies)
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        _add(archive, "README.txt", README.format(day=f"{now:%d/%m/%Y}", images=len(images)), now)
        _add(archive, "data.json", _json(rows), now)
        _add(archive, "fhir.json", _json(fhir_of(rows, now)), now)
        _add(archive, "access.csv", "".join(access_lines(audit_of(store, person.keys), names=names)), now)
        order = {uid: place for place, uid in enumerate(person.studies, start=1)}
        for number, image in enumerate(images, start=1):
            origin = "received" if image.origin == "received" else "made"
            name = f"images/study-{order[image.study_uid]:03}/{number:06}-{origin}.dcm"
            _add(archive, name, store.objects.get(image.sha256), now)
    return 4 + len(images)


def fhir_of(rows: dict[str, list[Json]], now: datetime) -> Json:
    """Return measurements and risks as a collection Bundle."""
    resources = [_observation(one) for one in rows["measurements"] if one["status"] in COUNTED]
    resources += [_assessment(one) for one in rows["risks"] if one["status"] == "scored" and one["value"] is not None]
    return bundle("collection", id_of("Bundle", "access", *(one["id"] for one in resources)), now, resources, "en")


def access_lines(lines: Iterable[Line], *, names: bool) -> Iterator[str]:
    """Yield a table of who did what; nothing in it is a formula to a spreadsheet."""
    yield "\ufeff" + _row(["time", "role", "action", "outcome", "of", *(["name"] if names else [])])
    for line in lines:
        who = "program" if line.actor.startswith("machine:") or not line.roles else line.roles
        yield _row([datetime.fromtimestamp(line.at, UTC).isoformat(timespec="seconds"), who, line.action, line.outcome, line.kind,
                    *([line.actor_name] if names else [])])


def _observation(row: Json) -> Json:
    known = DESCRIBED.get(row["code"])
    code, label = coded(row["code"]), known["label"]["en"] if known else row["code"]
    told = made("Observation", id_of("Observation", "access", row["id"]), "en", status="final",
                code=concept(code if code is not None else coding(OURS, row["code"]), label), subject=reference(row["subject"]),
                effectiveDateTime=_instant(row["at"]), valueQuantity=quantity(row["value"], known["unit"] if known else "1"))
    del told["meta"]  # it was measured, not made here
    return told


def _assessment(row: Json) -> Json:
    told = made("RiskAssessment", id_of("RiskAssessment", "access", row["id"]), "en", status="final",
                method=concept(None, row["model"]), subject=reference(row["subject"]), occurrenceDateTime=_instant(row["scored_at"]))
    findings = [one for one in row["answer"].get("findings", []) if isinstance(one, dict)]
    told["prediction"] = [
        {"outcome": concept(None, str(one.get("label") or one.get("name") or row["model"])), "probabilityDecimal": one["value"]}
        for one in findings if one.get("kind") == "probability" and isinstance(one.get("value"), int | float)
    ] or [{"outcome": concept(None, row["model"]), "probabilityDecimal": row["value"]}]
    return told


def _instant(seconds: float) -> str:
    return instant(datetime.fromtimestamp(seconds, UTC))


def _row(cells: list[str]) -> str:
    written = io.StringIO()
    csv.writer(written).writerow([f"'{cell}" if cell.startswith(_FORMULA) else cell for cell in cells])
    return written.getvalue()


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=1, sort_keys=True)


def _add(archive: zipfile.ZipFile, name: str, content: str | bytes, now: datetime) -> None:
    info = zipfile.ZipInfo(name, now.timetuple()[:6])
    info.compress_type, info.external_attr = zipfile.ZIP_DEFLATED, 0o600 << 16
    archive.writestr(info, content)
