"""Sessions: begun anew at every login, ended by time, by logging out and by others who may, the same in every process."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.access.caller import Caller, Grant
from service.access.sessions import Sessions, hash_of, id_token_of
from service.ehr_house import House
from service.site_review import Access
from service.store.store import Store
from tests.service.access.gated import Gated, gated
from tests.service.access.make_login import ORIGIN, login_for


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gated]:
    with gated(tmp_path_factory.mktemp("sessions"), {"session_idle_minutes": 20, "session_hours": 10}) as house:
        yield house


SOMEONE = Caller("oidc:test:clock", name="Camille Essai", provider="psc", grants=(
    Grant(frozenset({"clinician"}), frozenset({"Emergency"}), None), Grant(frozenset({"engineer"}), None, frozenset({"cxr"}))))


def test_a_session_gives_back_who_logged_in_with_every_grant(gate: Gated) -> None:
    sessions = Sessions(gate.house)
    found = sessions.find(sessions.begin(SOMEONE))
    assert found is not None
    assert (found.caller.subject, found.caller.grants, found.caller.provider) == (SOMEONE.subject, SOMEONE.grants, "psc")


def test_the_store_holds_nothing_that_opens_a_session(gate: Gated) -> None:
    token = Sessions(gate.house).begin(SOMEONE, id_token="the.id.token")
    gate.house.store.engine.dispose()
    files = [path.read_bytes() for path in Path(gate.house.settings.store).glob("diaphane.sqlite*")]
    assert files
    assert not any(token.encode() in content or b"the.id.token" in content for content in files)
    assert any(hash_of(token).encode() in content for content in files)


def test_the_id_token_opens_with_the_cookie_alone(gate: Gated) -> None:
    sessions = Sessions(gate.house)
    token = sessions.begin(SOMEONE, id_token="the.id.token")
    found = sessions.find(token)
    assert found is not None
    assert id_token_of(found, token) == "the.id.token"
    assert id_token_of(found, sessions.begin(SOMEONE)) == ""


def test_a_session_ends_when_it_is_idle_and_when_it_is_old(gate: Gated) -> None:
    clock = Clock()
    sessions = Sessions(gate.house, clock)
    idle, used = sessions.begin(SOMEONE), sessions.begin(SOMEONE)
    for _ in range(5):
        clock.now += 5 * 60
        assert sessions.find(used) is not None
    assert sessions.find(idle) is None
    for _ in range(38):
        clock.now += 15 * 60
        assert sessions.find(used) is not None
    clock.now += 15 * 60
    assert sessions.find(used) is None, "ten hours are over, however much it was used"


def test_what_a_page_asks_by_itself_keeps_no_session_alive(gate: Gated) -> None:
    clock = Clock()
    sessions = Sessions(gate.house, clock)
    token = sessions.begin(SOMEONE)
    for _ in range(3):
        clock.now += 5 * 60
        assert sessions.find(token, used=False) is not None
    clock.now += 6 * 60
    assert sessions.find(token, used=False) is None


def test_everybody_ends_their_own_sessions_alone(gate: Gated) -> None:
    sessions = Sessions(gate.house)
    mine, theirs = login_for(gate.house, subject="oidc:test:mine"), login_for(gate.house, subject="oidc:test:theirs")
    browser = gate.browser(mine.cookies)
    for which in (theirs.caller.session, "", "' OR 1=1 --"):
        browser.post("/review/sessions", data={"csrf": mine.csrf, "which": which}, headers={"origin": ORIGIN})
    assert sessions.find(theirs.token) is not None
    another = login_for(gate.house, subject="oidc:test:mine")
    browser.post("/review/sessions", data={"csrf": mine.csrf, "which": another.caller.session}, headers={"origin": ORIGIN})
    assert (sessions.find(another.token), sessions.find(mine.token) is None) == (None, False)


def test_all_sessions_of_somebody_end_at_once(gate: Gated) -> None:
    sessions = Sessions(gate.house)
    tokens = [sessions.begin(Caller("oidc:test:gone", roles=frozenset({"dpo"}))) for _ in range(3)]
    kept = sessions.find(tokens[0])
    assert kept is not None
    assert sessions.end_all("oidc:test:gone", but=kept.caller.session) == 2
    assert [sessions.find(token) is not None for token in tokens] == [True, False, False]
    assert sessions.end_all("oidc:test:gone") == 1


def test_a_session_holds_in_another_process_and_ends_there_too(gate: Gated) -> None:
    other = Store.open(gate.house.settings)
    try:
        house = House(gate.house.settings, gate.house.site, gate.house.scoring, gate.house.metrics)
        house._store = other
        token = Sessions(gate.house).begin(SOMEONE)
        found = Sessions(house).find(token)
        assert found is not None
        Sessions(house).end([found.caller.session], SOMEONE.subject)
        assert Sessions(gate.house).find(token) is None
    finally:
        other.close()


def test_a_changed_grant_of_the_site_file_ends_the_sessions_it_gave_roles_to(gate: Gated) -> None:
    grant = {"claim": "groups", "values": ["doctors"], "roles": ["clinician"]}
    site = gate.house.site.model_copy(update={"access": Access.model_validate({"grants": [grant]})})
    changed = House(gate.house.settings, site, gate.house.scoring, gate.house.metrics)
    changed._store = gate.house.store
    token = Sessions(gate.house).begin(SOMEONE)
    assert Sessions(gate.house).find(token) is not None
    assert Sessions(changed).find(token) is None


def test_the_list_shows_ones_own_sessions_and_no_hash_of_another(gate: Gated) -> None:
    mine, theirs = login_for(gate.house, subject="oidc:test:list"), login_for(gate.house, subject="oidc:test:not-listed")
    page = gate.browser(mine.cookies).get("/review/sessions", headers={"accept": "text/html"}).text
    assert "This one" in page
    assert theirs.caller.session not in page
    assert mine.token not in page


def test_an_event_stream_ends_with_its_session(gate: Gated, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.access.standing.AGAIN_S", 0.05)
    monkeypatch.setattr("service.access.standing.Standing.__init__.__defaults__", (0.05,))
    someone = login_for(gate.house, ["clinician"], subject="oidc:test:stream")
    seen = []
    with gate.listener(someone.cookies).stream("GET", "/review/events") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        for line in answer.iter_lines():
            seen.append(line)
            if len(seen) == 20:
                Sessions(gate.house).end_all("oidc:test:stream")
    assert 20 <= len(seen) < 500


def test_tables_know_no_plain_address(gate: Gated) -> None:
    gate.browser().get("/review/login?link=nothing")
    with sqlite3.connect(Path(gate.house.settings.store) / "diaphane.sqlite") as connection:
        whats = [row[0] for row in connection.execute("SELECT what FROM attempts")]
    connection.close()
    assert whats
    assert not any("127.0.0.1" in what for what in whats)


def test_who_logged_in_before_there_was_a_provider_logs_in_again(gate: Gated) -> None:
    mine = login_for(gate.house, ["administrator"])
    provider = {"name": "psc", "issuer": "https://login.example.org", "client_id": "diaphane"}
    site = gate.house.site.model_copy(update={"access": Access.model_validate({"providers": [provider]})})
    after = House(gate.house.settings, site, gate.house.scoring, gate.house.metrics)
    after.open()
    try:
        assert Sessions(after).find(mine.token) is None
    finally:
        after.close()
