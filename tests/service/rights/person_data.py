"""A person in every table and file of a store, under names that stand nowhere else, and a neighbour who must stay."""

from __future__ import annotations

import base64
import io
import json
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from service.access.caller import Caller
from service.audit.audit import Audit
from service.rights.rights import Rights
from service.site import Site
from service.store import bulk, entries, hooks, messages, monitoring, queue, reports, verdicts
from service.store.bulk import Piece
from service.store.cases import seal_due
from service.store.entries import NewEntry
from service.store.inbox import receive
from service.store.ledger import save_result
from service.store.monitoring import Heard
from service.store.review_tables import Risk
from service.store.store import Store
from service.store.tables import Delivery, Job, Result, Workitem
from service.store.trust_tables import GoldenStudy, Observation, Pick, ShadowResult
from tests.make_store import ROOT_UID, image_of, object_of, settings_for
from tests.service.audit.audit_house import lay

CANARY = "CANARI"
DPO = Caller("local:owner", name="Déléguée d'essai", roles=frozenset({"dpo"}))


def rights_of(folder: Path) -> Rights:
    """Open rights over an empty store."""
    settings = settings_for(lay(folder))
    store, site = Store.open(settings), Site()
    return Rights(store, site, Audit(store, site, settings))


def fill(store: Store, number: int, *, deliver: bool = True) -> None:
    """Put one person into every table: ``number`` tells them from others."""
    name, mark = f"{CANARY}{number}^PRENOM{number}", f"{CANARY}{number}"
    study(store, number, patient_id=f"{mark}-0001", name=name, deliver=deliver)
    subject = f"Patient/{mark}-12"
    watch(store, subject)
    told(store, number, subject)
    send(store, number, subject)
    population(store, number)


def study(store: Store, number: int, *, patient_id: str, name: str, deliver: bool = True) -> None:
    """Take a radiograph to a result, a verdict, a report and a line of the worklist."""
    attributes = {
        "0020000D": {"vr": "UI", "Value": [f"{ROOT_UID}.{number}"]}, "00100020": {"vr": "LO", "Value": [patient_id]},
        "00100010": {"vr": "PN", "Value": [{"Alphabetic": name}]}, "00100030": {"vr": "DA", "Value": ["19640217"]},
    }
    receive(store, [image_of(number, content=name, patient_id=patient_id, patient_name=name.lower(), study_attributes=attributes,
                             accession_number=patient_id[:16])], quiet_s=0)
    seal_due(store)
    row = queue.claim(store, Job, worker="w", lease_s=60)
    assert row is not None
    with store.session() as session:
        result = save_result(session, row.revision_id, model="m-1.0.0", status="scored", reason="", summary={"note": name},
                             objects=[object_of(number, 1, content=name)], targets=["pacs"], priority=0)
        queue.finish(session, Job, queue.claim_of(row))
        entries.put(session, NewEntry("study", f"{ROOT_UID}.{number}", 1, time.time(), "1", {"patient": {"name": name}},
                                      patient_name=name, patient_id=patient_id))
        judge(store, session, "result", result.id, name)
        trust(session, "result", str(result.id), name)
        session.add(Workitem(uid=f"{ROOT_UID}.{number}.5", state="SCHEDULED", study_uid="", priority=0, attributes=attributes,
                             created_at=1.0, changed_at=1.0))
    reports.add(store, f"{ROOT_UID}.{number}", [reports.Version("draft", "fr", {"text": name}, {}, 1.0, (result.id,))], after=0)
    if deliver:
        delivery = queue.claim(store, Delivery, worker="d", lease_s=60)
        assert delivery is not None
        with store.session() as session:
            queue.finish(session, Delivery, queue.claim_of(delivery))


def judge(store: Store, session: object, kind: str, target: int, words: str) -> None:
    """Give a verdict with a comment."""
    verdicts.add(session, verdicts.NewVerdict(  # type: ignore[arg-type]
        f"t{kind}{target}", kind, target, 0, "m-1.0.0", "reject", "other", words, {"seen": words}, "first",  # type: ignore[arg-type]
        {"subject": "local:owner"}, {}, 1.0))


def trust(session: Session, kind: str, target: str, words: str) -> None:
    """Score it in shadow, watch it, have it scored again every night and pick it to be judged."""
    same: dict[str, Any] = {"release": "m-1.0.0", "kind": kind, "target": target}
    seen: dict[str, Any] = {"status": "scored", "said": {"note": words}, "seconds": 0.1}
    session.add_all([
        ShadowResult(**same, **seen, live="m-0.9.0", live_said={"note": words}, scored_at=1.0),
        Observation(**same, **seen, statistics={}, groups={"department": words}, observed_at=1.0),
        GoldenStudy(**same, added_by="local:test", added_at=1.0),
        Pick(**same, entry_key="", place=0, why="control", uncertainty=0.5, distance=0.0, picked_at=1.0),
    ])


def watch(store: Store, subject: str) -> None:
    """Hear measurements of a person, watch them and raise an alert."""
    now = time.time()
    monitoring.hear(store, [Heard(subject, f"Observation/{subject[8:]}", subject[8:], "glucose", 5.0, now, "final", now)],
                    {"hypo": ["glucose"]}, now=now, traits={subject: {"note": subject}})
    with store.session() as session:
        row = session.get(monitoring.Watched, (subject, "hypo"))
        assert row is not None
        session.expunge(row)
        change = monitoring.Change("alert", 0.9, now, None, None, {"who": subject}, raised={"who": subject})
        monitoring.settle(session, row, change, now)


def told(store: Store, number: int, subject: str) -> None:
    """Tell a risk with its card, what became of the card, a verdict and a line of the worklist."""
    mark = f"{CANARY}{number}"
    with store.session() as session:
        risk = Risk(key=f"risk{number}", same=f"same{number}", subject=subject, person=store.pseudonym(f"whoever {number}"),
                    model="icu-1.0.0", status="scored", value=0.1, answer={"who": mark}, record={"who": mark},
                    patient={"name": f"{mark} PRENOM{number}", "id": f"{mark}-12"}, moment=None, source="predict",
                    card=f"card{number}", scored_at=time.time())
        session.add(risk)
        session.flush()
        entries.put(session, NewEntry("risk", risk.key, 1, time.time(), "1", {"patient": {"name": mark}}, person=risk.person,
                                      patient_name=mark))
        judge(store, session, "risk", risk.id, mark)
        trust(session, "risk", risk.key, mark)
        hooks.show_cards(session, [hooks.Shown(f"card{number}", "icu", "patient-view", "icu-1.0.0", "scored")], time.time())
        hooks.add_feedback(session, "icu", "ehr", [
            hooks.Outcome(f"card{number}", "overridden", 1.0, comment=f"voir {mark}"),
            hooks.Outcome(f"lost{number}", "overridden", 2.0, comment=f"Mme Canari{number}, Prenom{number} : revue"),
        ], time.time())


def send(store: Store, number: int, subject: str) -> None:
    """Put messages of every kind into the outbox."""
    mark, packed = f"{CANARY}{number}", io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("DOC0001.XML", f'<id extension="{mark}-0001"/>')
    contents = {
        "fhir": {"resourceType": "Bundle", "entry": [{"resource": {"resourceType": "Flag", "subject": {"reference": subject}}}]},
        "mllp": {"message": f"MSH|^~\\&|D\rPID|||{mark}-0001^^^^PI||{mark}^PRENOM"},
        "xdm": {"name": "x", "files": {"IHE_XDM.zip": base64.b64encode(packed.getvalue()).decode()}},
        "dicom": {"study": f"{ROOT_UID}.{number}"},
    }
    with store.session() as session:
        for kind, content in contents.items():
            messages.add(session, target="fhir_server", kind=kind, key=f"{kind}{number}", content={**content, "n": number})


def population(store: Store, number: int) -> None:
    """Score a population of two by bulk: this person, and somebody else who stays."""
    lines = [json.dumps({"resourceType": "Bundle", "entry": [{"resource": {"resourceType": "Patient", "id": one}}]})
             for one in (f"{CANARY}{number}-12", f"other-{number}")]
    answers = [json.dumps({"resourceType": "Bundle", "meta": {"tag": [{"system": "urn:diaphane:line", "code": str(place)}]},
                           "entry": [{"resource": {"resourceType": "RiskAssessment", "subject": {"reference": f"Patient/{one}"}}}]})
               for place, one in enumerate((f"{CANARY}{number}-12", f"other-{number}"), start=1)]
    objects = store.objects
    bulk.create(store, request={"query": {}, "language": "en"}, input_sha256="0" * 64,
                pieces=[Piece(objects.put("\n".join(lines).encode()), 1, 2)])
    job = bulk.claim_job(store, worker="b", lease_s=60)
    assert job is not None
    output = objects.put(("\n".join(answers) + "\n").encode())
    bulk.save_piece(store, job, Piece(job.files["input"][0][0], 1, 2), bulk.Done(output, 2, "", 0, 2, 0, 0.1))
    bulk.end(store, job)


def traces(folder: Path, words: list[bytes]) -> list[str]:
    """Return where, in all files of a store, one of some words stands, however it is spelt."""
    return [str(path.relative_to(folder)) for path in _files(folder) if any(word in path.read_bytes().lower() for word in words)]


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file())


__all__ = ["CANARY", "DPO", "Result", "fill", "rights_of", "study", "traces"]
