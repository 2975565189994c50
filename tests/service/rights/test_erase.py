"""Erasure: of a person nothing stays but lines of the audit: no row, no file, no byte; and of everybody else everything."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from sqlalchemy import select, text, update

from service.rights.errors import RightsError
from service.rights.person import find
from service.rights.rights import Rights
from service.store import bulk, persons, queue, rights, signoffs
from service.store.ehr_tables import BulkJob
from service.store.engine import SQLITE_FILE
from service.store.erasing import settle
from service.store.inbox import receive
from service.store.query import find_studies
from service.store.review_tables import Hold, Verdict
from service.store.signoffs import NewSignoff
from service.store.standings import NewStanding, change
from service.store.tables import Base, Job, Result
from service.store.trust_tables import Signoff, Standing
from tests.make_store import ROOT_UID, image_of
from tests.service.rights.person_data import CANARY, DPO, fill, rights_of, study, traces

ONE, TWO = [f"{CANARY}1".lower().encode(), b"prenom1"], [f"{CANARY}2".lower().encode()]


@pytest.fixture
def here(tmp_path: Path) -> Rights:
    return rights_of(tmp_path)


def counts(here: Rights) -> dict[str, int]:
    with here.store.reading() as session:
        return {table: session.scalar(text(f"SELECT count(*) FROM {table}")) or 0 for table in Base.metadata.tables}


def everything(here: Rights, number: int) -> None:
    """Erase a person by both identifiers they are known by: nothing says that these are one person's."""
    for identifier in (f"{CANARY}{number}-0001", f"Patient/{CANARY}{number}-12"):
        here.erase(DPO, here.find(DPO, identifier))


def test_no_byte_of_the_person_is_left_and_every_byte_of_the_other_is(here: Rights, tmp_path: Path) -> None:
    fill(here.store, 1)
    settle(here.store, pack=False)  # into the file; what follows is in its write-ahead log
    fill(here.store, 2)
    folder = tmp_path / "store"
    assert {SQLITE_FILE} <= {Path(one).name for one in traces(folder, ONE)}
    before = {two for two in traces(folder, TWO) if "objects" in two}
    everything(here, 1)
    assert [] == traces(folder, ONE)
    assert before == {two for two in traces(folder, TWO) if "objects" in two}
    assert [f"{ROOT_UID}.2"] == [one["0020000D"]["Value"][0] for one in find_studies(here.store)]


def test_what_was_typed_about_others_forgets_the_person(here: Rights) -> None:
    fill(here.store, 1)
    fill(here.store, 2)
    with here.store.session() as session:
        session.execute(update(Verdict).where(Verdict.comment == f"{CANARY}2").values(comment="like Canari1, Prenom1"))
        rights.hold(session, persons=["0" * 32], reason=f"with {CANARY}1-0001", by="test")
        change(session, [NewStanding("tiny", "tiny-1.0.0", "off", {}, "test", 1.0, reason="It missed Prenom1 Canari1.")], seen=0)
        signoffs.add(session, NewSignoff("tiny-1.0.0", "0" * 64, "declined", "go", "0" * 64, {}, {}, "test",
                                         "As with Canari1, Prenom1.", 1.0))
    everything(here, 1)
    with here.store.reading() as session:
        columns = Verdict.comment, Hold.reason, Standing.reason, Signoff.statement
        said = [one for column in columns for one in session.scalars(select(column))]
    assert len(said) == 5
    assert "canari1" not in " ".join(said).lower()


def test_the_tables_hold_of_the_other_what_they_held_before(here: Rights) -> None:
    fill(here.store, 2)
    alone = counts(here)
    fill(here.store, 1)
    everything(here, 1)
    left = {name: count for name, count in counts(here).items() if not name.startswith("audit")}
    assert left == {**{name: alone[name] for name in left}, "own_objects": 2, "leftovers": 0, "feedback": alone["feedback"] + 1,
                    "bulk_jobs": 2}


def test_the_line_of_the_other_in_a_bulk_job_stays_with_its_number(here: Rights) -> None:
    fill(here.store, 1)
    everything(here, 1)
    with here.store.reading() as session:
        job = session.scalars(select(BulkJob)).one()
    told = bulk.progress_of(here.store, job.key)
    assert told is not None
    assert b"" == here.store.objects.get(job.files["input"][0][0]).split(b"\n")[0]
    assert b"other-1" in here.store.objects.get(job.files["input"][0][0]).split(b"\n")[1]
    assert [(1)] == [lines for _, lines in told.output]
    assert b'"code": "2"' in here.store.objects.get(told.output[0][0])


def test_who_got_results_is_told(here: Rights) -> None:
    fill(here.store, 1)
    assert {"pacs": 1} == here.erase(DPO, here.find(DPO, f"{CANARY}1-0001")).copies


def test_erasing_again_is_no_error(here: Rights) -> None:
    fill(here.store, 1)
    person = here.find(DPO, f"{CANARY}1-0001")
    here.erase(DPO, person)
    assert 0 == here.erase(DPO, person).total
    assert not here.find(DPO, f"{CANARY}1-0001").is_held_here


def test_an_identifier_of_another_issuer_erases_nobody(here: Rights) -> None:
    fill(here.store, 1)
    assert not here.find(DPO, f"{CANARY}1-0001", "urn:oid:1.2.3.4").is_held_here


def test_under_a_legal_hold_nothing_goes(here: Rights) -> None:
    fill(here.store, 1)
    person = here.find(DPO, f"{CANARY}1-0001")
    here.hold(DPO, person, "RG 26/00123")
    before = counts(here)
    with pytest.raises(RightsError) as raised:
        here.erase(DPO, person)
    assert "held" == raised.value.code
    assert {**before, "audit": before["audit"] + 1, "audit_persons": before["audit_persons"] + len(person.keys)} == counts(here)
    here.release(DPO, person)
    assert 1 == here.erase(DPO, person).studies


def test_a_hold_on_the_person_keeps_a_study_that_is_named_by_its_uid(here: Rights) -> None:
    fill(here.store, 1)
    here.hold(DPO, here.find(DPO, f"{CANARY}1-0001"), "RG 26/00123")
    with pytest.raises(RightsError, match="legal hold"):
        here.erase(DPO, here.find(DPO, f"{ROOT_UID}.1", study=True))


def test_one_study_is_erased_alone(here: Rights) -> None:
    study(here.store, 1, patient_id="CANARI1-0001", name="CANARI1^PRENOM1")
    study(here.store, 2, patient_id="CANARI1-0001", name="CANARI1^PRENOM1")
    here.erase(DPO, here.find(DPO, f"{ROOT_UID}.1", study=True))
    assert (f"{ROOT_UID}.2",) == find(here.store, here.site, "CANARI1-0001").studies


def test_what_comes_again_after_an_erasure_is_opposed_to_when_that_was_asked(here: Rights) -> None:
    fill(here.store, 1)
    person = here.find(DPO, f"{CANARY}1-0001")
    here.erase(DPO, person, oppose="both")
    receive(here.store, [image_of(1, patient_id=f"{CANARY}1-0001")], quiet_s=0)  # kept like any other image …
    assert rights.opposes(here.store, persons=person.keys, purpose="scoring")  # … and never scored
    assert rights.opposes(here.store, persons=person.keys, purpose="training")


def test_our_own_object_coming_back_after_an_erasure_starts_no_loop(here: Rights) -> None:
    fill(here.store, 1)
    here.erase(DPO, here.find(DPO, f"{CANARY}1-0001"))
    assert ["own"] == receive(here.store, [image_of(1, sop_uid=f"{ROOT_UID}.1.77.1")], quiet_s=0)


def test_what_waits_to_be_scored_goes_and_what_is_being_scored_is_waited_for(here: Rights, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.rights.rights.PATIENCE_S", 0.3)
    fill(here.store, 1)
    person = here.find(DPO, f"{CANARY}1-0001")
    with here.store.session() as session:
        session.execute(update(Job).values(state="running", lease_until=time.time() + 60))
    with pytest.raises(RightsError) as raised:
        here.erase(DPO, person)
    assert "busy" == raised.value.code
    with here.store.session() as session:
        session.execute(update(Job).values(state="queued", lease_until=0.0))
    here.erase(DPO, person)
    assert queue.claim(here.store, Job, worker="w", lease_s=1) is None


def test_the_audit_tells_of_the_erasure_and_names_nobody(here: Rights) -> None:
    fill(here.store, 1)
    person = here.find(DPO, f"{CANARY}1-0001")
    here.erase(DPO, person)
    with here.store.reading() as session:
        rows = session.execute(text("SELECT action, actor, persons, detail FROM audit ORDER BY id")).all()
    assert ["search", "erase"] == [row[0] for row in rows]
    assert person.keys[0] in rows[1][2]
    assert CANARY not in repr(rows)


def test_an_identifier_that_two_national_identities_share_erases_nobody(tmp_path: Path, here: Rights) -> None:
    for number, ins in ((1, "269054958815780"), (2, "277076322082910")):
        study(here.store, number, patient_id="SHARED-01", name=f"CANARI{number}^X")
        other = {"00100020": {"vr": "LO", "Value": [ins]}, "00100024": {"vr": "SQ", "Value": [{
            "00400032": {"vr": "UT", "Value": ["1.2.250.1.213.1.4.10"]}, "00400033": {"vr": "CS", "Value": ["ISO"]}}]}}
        with here.store.session() as session:
            row = session.get(persons.Study, f"{ROOT_UID}.{number}")
            assert row is not None
            row.attributes = {**row.attributes, "00101002": {"vr": "SQ", "Value": [other]}}
    with pytest.raises(RightsError) as raised:
        here.find(DPO, "SHARED-01")
    assert "ambiguous" == raised.value.code
    assert (f"{ROOT_UID}.1",) == here.find(DPO, "269054958815780").studies


def test_results_of_erased_studies_are_gone_with_their_verdicts(here: Rights) -> None:
    fill(here.store, 1)
    here.erase(DPO, here.find(DPO, f"{CANARY}1-0001"))
    with here.store.reading() as session:
        assert [] == session.scalars(select(Result.id)).all()
        assert ["risk"] == list(session.scalars(text("SELECT target_kind FROM verdicts")))
