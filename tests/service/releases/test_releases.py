"""Which release serves: nothing without a signature where the site asks for one, one of a name, one step back, all of it audited."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from models.commissioned import read_commissioning
from models.errors import UnusableInput
from service.releases.errors import ReleaseError
from service.releases.promote import judge, promote
from service.releases.releases import Releases
from service.store import signoffs, standings
from service.store.audit_search import Query, search
from service.store.signoffs import NewSignoff
from service.store.standings import StandingConflict
from tests.make import tiny_release
from tests.make_commissioning import commissioning_of
from tests.service.releases.conftest import NEW, OLD, STEWARD, Bench, bench_of


def test_where_nobody_is_asked_the_highest_version_serves_as_before(free: Bench) -> None:
    assert free.does() == {OLD: "off", NEW: "live"}
    assert not any(one.barred for one in free.releases.states().values())  # the older one still answers who names it


def test_where_a_signature_is_asked_for_nothing_serves_before_it(bench: Bench) -> None:
    assert bench.does() == {OLD: "unsigned", NEW: "unsigned"}
    with pytest.raises(ReleaseError, match="nobody accepted this one"):
        bench.releases.live(STEWARD, NEW)
    assert all(one.barred for one in bench.releases.states().values())


def test_a_signed_release_goes_live_and_replaces_the_one_of_its_name(bench: Bench) -> None:
    bench.sign(OLD)
    bench.releases.live(STEWARD, OLD)
    bench.sign(NEW)
    bench.releases.live(STEWARD, NEW)
    assert bench.does() == {OLD: "off", NEW: "live"}


def test_a_report_of_another_folder_cannot_be_signed(bench: Bench, tmp_path: Path) -> None:
    other = tiny_release(tmp_path, "image_classification", version="1.1.0", summary="Another release of the same id.")
    with pytest.raises(ReleaseError, match="exactly this release folder"):
        bench.releases.sign(STEWARD, NEW, commissioning_of(other), decision="accepted", statement="Looked.", known_by="a test")


def test_a_report_that_says_go_beside_what_is_not_met_is_not_read(bench: Bench, tmp_path: Path) -> None:
    found = commissioning_of(bench.folder / NEW, "no_go")
    (tmp_path / "commissioning.json").write_text(found.model_dump_json().replace('"no_go"', '"go"'), encoding="utf-8")
    with pytest.raises(UnusableInput, match="must not be go"):
        read_commissioning(tmp_path / "commissioning.json")


@pytest.mark.parametrize(("name", "statement"), [("", "Looked."), ("Test STEWARD", "  ")])
def test_a_sign_off_needs_a_name_and_a_statement(bench: Bench, name: str, statement: str) -> None:
    with pytest.raises(ReleaseError, match="a name and a statement"):
        bench.releases.sign(replace(STEWARD, name=name), NEW, commissioning_of(bench.folder / NEW), decision="accepted",
                            statement=statement, known_by="a test")


def test_no_go_goes_live_against_the_advice_alone_and_the_reason_is_kept(bench: Bench) -> None:
    bench.sign(NEW, "no_go")
    with pytest.raises(ReleaseError, match="do not go live here"):
        bench.releases.live(STEWARD, NEW)
    row = bench.releases.live(STEWARD, NEW, against_advice="Nothing else reads at night.")
    assert (row.against_advice, row.reason) == (True, "Nothing else reads at night.")
    assert bench.releases.states()[NEW].against_advice


def test_declining_a_live_release_takes_it_off_at_once(bench: Bench) -> None:
    bench.sign(NEW)
    bench.releases.live(STEWARD, NEW)
    bench.sign(NEW, decline=True)
    assert bench.does()[NEW] == "off"
    with pytest.raises(ReleaseError, match="last word"):
        bench.releases.live(STEWARD, NEW)


def test_a_folder_that_changed_after_signing_is_unsigned_again(tmp_path: Path) -> None:
    folder = tmp_path / "released"
    tiny_release(folder, "image_classification", version="1.1.0")
    for bench in bench_of(tmp_path, folder, required=True):
        bench.sign(NEW)
        bench.releases.live(STEWARD, NEW)
        manifest = folder / NEW / "manifest.json"
        manifest.write_text(manifest.read_text() + "\n")
        state = bench.releases.states()[NEW]
        assert (state.state, state.changed, state.barred) == ("unsigned", True, True)


def test_rollback_steps_back_and_never_forth(free: Bench) -> None:
    free.releases.live(STEWARD, OLD)
    free.releases.live(STEWARD, NEW)
    assert free.releases.rollback(STEWARD, "tiny_chest").release == OLD
    assert free.does() == {OLD: "live", NEW: "off"}
    assert free.releases.rollback(STEWARD, "tiny_chest").release == NEW  # which the rule of one machine had let serve before
    with pytest.raises(ReleaseError, match="was live here before"):
        free.releases.rollback(STEWARD, "tiny_chest")


def test_confirming_what_already_serves_is_no_step(free: Bench) -> None:
    free.releases.live(STEWARD, NEW)
    with pytest.raises(ReleaseError, match="was live here before"):
        free.releases.rollback(STEWARD, "tiny_chest")


def test_rollback_needs_the_signature_of_what_it_returns_to(bench: Bench) -> None:
    for release in (OLD, NEW):
        bench.sign(release)
        bench.releases.live(STEWARD, release)
    bench.sign(OLD, decline=True)
    with pytest.raises(ReleaseError, match="last word"):
        bench.releases.rollback(STEWARD, "tiny_chest")


def test_shadow_of_the_newest_leaves_the_older_one_serving(free: Bench) -> None:
    free.releases.shadow(STEWARD, NEW)
    assert free.does() == {OLD: "live", NEW: "shadow"}


def test_off_leaves_the_place_empty_no_older_one_speaks_unasked(free: Bench) -> None:
    free.releases.off(STEWARD, NEW)
    assert free.does() == {OLD: "off", NEW: "off"}


def test_a_live_release_is_not_put_in_shadow(bench: Bench) -> None:
    bench.sign(NEW)
    bench.releases.live(STEWARD, NEW)
    with pytest.raises(ReleaseError, match="It is live"):
        bench.releases.shadow(STEWARD, NEW)


def test_two_changes_at_once_are_one_change_and_one_conflict(free: Bench) -> None:
    releases, one = free.releases, free.releases.installed[OLD]
    new = releases._new(STEWARD, one, "shadow", 1.0, reason="", detail={"action": "shadow"})
    with free.store.session() as session:
        standings.change(session, [new], seen=0)
    with pytest.raises(StandingConflict), free.store.session() as session:
        standings.change(session, [new], seen=0)
    assert len(standings.history(free.store)) == 1


def test_a_no_that_is_said_while_it_goes_live_keeps_it_out(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.sign(NEW)
    releases, write = bench.releases, Releases._write

    def meanwhile(*told: Any, **more: Any) -> Any:
        monkeypatch.setattr(Releases, "_write", write)
        declined = dict(vars(signoffs.of_release(bench.store, NEW)[0]), decision="declined")
        signoffs.add(told[1], NewSignoff(**{one.name: declined[one.name] for one in fields(NewSignoff)}))
        return write(*told, **more)

    monkeypatch.setattr(Releases, "_write", meanwhile)
    with pytest.raises(ReleaseError, match="Somebody else"):
        releases.live(STEWARD, NEW)
    assert bench.does()[NEW] == "unsigned"


def test_a_promotion_rests_on_what_served_when_it_was_judged(free: Bench) -> None:
    free.releases.live(STEWARD, OLD)
    free.releases.shadow(STEWARD, NEW)
    judged = judge(free.releases, "tiny_chest")
    free.releases.off(STEWARD, OLD)  # what it was compared with was switched off meanwhile
    with pytest.raises(ReleaseError, match="Somebody else"):
        promote(free.releases, STEWARD, judged, against_advice="Tested.")
    assert free.does() == {OLD: "off", NEW: "shadow"}


def test_every_sign_off_and_change_is_in_the_audit_with_who_did_it(bench: Bench) -> None:
    for release in (OLD, NEW):
        bench.sign(release)
        bench.releases.live(STEWARD, release)
    bench.releases.rollback(STEWARD, "tiny_chest")
    with bench.store.reading() as session:
        lines = search(session, Query(), limit=50).lines
    told = [(one.action, one.item, one.detail.get("does") or one.detail.get("decision")) for one in reversed(lines)]
    assert told == [
        ("sign_off", OLD, "accepted"), ("release", OLD, "live"), ("sign_off", NEW, "accepted"), ("release", OLD, "off"),
        ("release", NEW, "live"), ("release", NEW, "off"), ("release", OLD, "live"),
    ]
    assert {one.actor for one in lines} == {STEWARD.subject}
