"""A change of the configuration is a line that says which settings, and never what they were set to."""

from __future__ import annotations

from pathlib import Path

from service.audit.audit import Audit
from service.audit.configured import note_configuration
from service.settings import Settings
from service.site import Site
from service.store.audit import lines
from tests.make_store import store_for


def test_start_after_a_change_says_which_keys(tmp_path: Path) -> None:
    store = store_for(tmp_path)
    told = {"store": tmp_path / "store"}
    site = {"fhir_server": {"url": "https://fhir.example/r4", "auth": "token", "token": "CANARYSECRET"}}

    def start(settings: Settings, site: Site) -> tuple[str, ...]:
        return note_configuration(Audit(store, site, settings))

    assert () == start(Settings(**told), Site())
    assert () == start(Settings(**told), Site())
    assert ("settings.max_requests", "settings.review") == tuple(
        one for one in start(Settings(**told, max_requests=7, review=True), Site()) if one != "settings.ehr")
    changed = start(Settings(**told, api_token="CANARYTOKEN"), Site.model_validate(site))
    assert {"settings.api_token", "settings.max_requests", "site.fhir_server.token"} <= set(changed)
    site["fhir_server"]["token"] = "CANARYOTHER"
    assert ("site.fhir_server.token",) == start(Settings(**told, api_token="CANARYTOKEN"), Site.model_validate(site))
    with store.reading() as session:
        found = lines(session)
    assert 4 == len(found), "a start without a change is no line"
    assert list(changed) == found[2].detail["keys"]
    assert "CANARY" not in str(found)
    store.close()
