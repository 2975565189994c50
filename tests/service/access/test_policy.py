"""Who may do what: one table of roles, one of addresses, and nothing outside of them."""

from __future__ import annotations

from typing import get_args

import pytest
from starlette.applications import Starlette
from starlette.routing import Route

from service.access.caller import Caller, Grant, from_json, to_json
from service.access.policy import ADDRESSES, ANYBODY, CDS_CLIENT, FILES, OPEN, PERMISSIONS, Permission, Role, opens, shape_of
from service.dicom.routes import DicomWeb
from service.ehr import Ehr
from service.metrics import Metrics
from service.scoring import Scoring
from service.settings import Settings
from service.web import Web

PATIENTS = {"worklist", "study", "risk", "verdict_image", "verdict_risk", "report", "sign"}
API = {"api_score", "api_dicomweb", "api_fhir", "api_report"}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Starlette:
    """Every address of a house that has everything on."""
    settings = Settings(store=tmp_path_factory.mktemp("whole"), review=True, dicomweb=True)
    scoring, metrics = Scoring(settings), Metrics()
    return Web(settings, scoring, metrics, DicomWeb(settings), Ehr(settings, scoring, metrics)).app()


def told(app: Starlette) -> set[tuple[str, str]]:
    routes = [route for route in app.routes if isinstance(route, Route)]
    return {(method, route.path) for route in routes for method in (route.methods or ()) if method != "HEAD"}


def test_every_address_of_the_house_is_in_the_table(whole: Starlette) -> None:
    assert sorted(one for one in told(whole) if opens(*one) is None) == []


def test_every_line_of_the_table_is_an_address_of_the_house(whole: Starlette) -> None:
    known = {f"{method} {shape_of(path)}" for method, path in told(whole)}
    assert sorted(line for line in ADDRESSES if not line.startswith("* ") and line not in known) == []


def test_what_is_open_is_the_login_and_what_a_page_looks_like(whole: Starlette) -> None:
    found = {f"{method} {shape_of(path)}" for method, path in told(whole) if opens(method, path) in (OPEN, FILES)}
    assert found == {
        "GET /review/login", "GET /review/login/{}", "GET /review/callback", "GET /review/logout", "GET /review/static/{}",
        "POST /review/language", "OPTIONS /cds-services", "OPTIONS /cds-services/{}", "OPTIONS /cds-services/{}/feedback",
    }


def test_no_address_about_patients_is_open_to_who_merely_logged_in(whole: Starlette) -> None:
    found = {f"{method} {shape_of(path)}" for method, path in told(whole) if opens(method, path) == ANYBODY and "rest" not in path}
    assert found == {"GET /", "GET /v1/openapi.json", "POST /review/logout", "GET /review/sessions", "POST /review/sessions"}


def test_every_permission_of_the_table_exists_and_somebody_has_it() -> None:
    named = {one for rule in ADDRESSES.values() if isinstance(rule, tuple) for one in rule}
    assert named <= set(get_args(Permission))
    assert set(get_args(Permission)) == frozenset[str]().union(*PERMISSIONS.values())
    assert all(isinstance(rule, tuple) or rule in (OPEN, FILES, ANYBODY, CDS_CLIENT) for rule in ADDRESSES.values())


@pytest.mark.parametrize(("role", "never"), [
    ("engineer", PATIENTS | API | {"audit", "rights", "configure"}), ("administrator", PATIENTS | API | {"rights", "replay"}),
    ("dpo", PATIENTS | API | {"configure", "operate"}), ("system", PATIENTS | {"audit", "rights", "configure", "replay"}),
    ("clinician", {"verdict_image", "report", "sign", "audit", "rights", "configure", "operate"} | API),
    ("radiologist", {"audit", "rights", "configure", "operate"} | API),
])
def test_a_role_never_has_what_is_not_its_work(role: Role, never: set[str]) -> None:
    assert PERMISSIONS[role].isdisjoint(never)


@pytest.mark.parametrize(("method", "path"), [
    ("GET", "/review/forgotten"), ("DELETE", "/review"), ("PATCH", "/v1/models"), ("GET", ""), ("GET", "/fhirx"),
    ("GET", "/dicom-webx"),
])
def test_what_is_not_in_the_table_is_nobodys(method: str, path: str) -> None:
    assert opens(method, path) is None


CLINICIAN = frozenset({"clinician"})


@pytest.mark.parametrize(("grant", "department", "model", "may"), [
    (Grant(CLINICIAN), None, "", True),
    (Grant(CLINICIAN), "", "cxr-1.0.0", True),
    (Grant(CLINICIAN, frozenset({"ED"})), "ED", "", True),
    (Grant(CLINICIAN, frozenset({"ED"})), "ICU", "", False),
    (Grant(CLINICIAN, frozenset({"ED"})), "", "", False),
    (Grant(CLINICIAN, frozenset({"ED"})), None, "", True),
    (Grant(CLINICIAN, None, frozenset({"cxr"})), "ED", "cxr-1.0.0", True),
    (Grant(CLINICIAN, None, frozenset({"cxr"})), "ED", "cxr_bones-1.0.0", False),
    (Grant(CLINICIAN, None, frozenset({"cxr-1.0.0"})), "ED", "cxr-1.1.0", False),
    (Grant(frozenset({"engineer"})), None, "", False),
    (Grant(frozenset({"nobody"})), None, "", False),
    (Grant(frozenset()), None, "", False),
])
def test_a_grant_reaches_its_departments_and_models(grant: Grant, department: str | None, model: str, may: bool) -> None:
    assert Caller("oidc:test:1", grants=(grant,)).may("study", department=department, model=model) is may


def test_grants_do_not_lend_each_other_their_departments() -> None:
    caller = Caller("oidc:test:1", grants=(Grant(frozenset({"clinician"}), frozenset({"ED"}), frozenset({"icu"})),
                                           Grant(frozenset({"clinician"}), frozenset({"ICU"}), frozenset({"cxr"})),
                                           Grant(frozenset({"administrator"}))))
    assert not caller.may("risk", department="ED", model="cxr-1.0.0")
    assert caller.departments == {"ED", "ICU"}, "what reaches everywhere is not about patients"
    assert caller.models == {"icu", "cxr"}
    assert caller.may("audit")
    assert from_json(to_json(caller)) == caller
