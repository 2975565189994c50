"""What a provider says of a person becomes a caller, with the grants of the site file and no others."""

from __future__ import annotations

from typing import Any

import pytest

from service.access.claims import person_of, values_at
from service.site_review import Access, Grant
from tests.peers.oidc import KEYCLOAK_PERSON, PSC_PERSON

DOCTORS = Grant(claim="SubjectRefPro.exercices.codeProfession", values=["10"], roles=["clinician"])
RADIOLOGISTS = Grant(provider="psc", claim="SubjectRefPro.exercices.codeSavoirFaire", values=["SM44"], roles=["radiologist"],
                     departments=["Radiology"])
KEEPERS = Grant(provider="hospital", claim="realm_access.roles", values=["diaphane-dpo"], roles=["dpo"])
RULES = [DOCTORS, RADIOLOGISTS, KEEPERS]


def claims(person: dict[str, Any] = PSC_PERSON, **changed: Any) -> dict[str, Any]:
    return {"sub": "f:0:1", **person, **changed}


def test_a_professional_of_pro_sante_connect_is_known_by_their_national_number() -> None:
    caller = person_of(claims(), "psc", RULES)
    assert (caller.subject, caller.rpps, caller.family, caller.given) == ("rpps:99700000001", "99700000001", "ESSAI", "CAMILLE")
    assert (caller.profession, caller.structure, caller.provider) == ("Médecin", "HOPITAL ESSAI", "psc")


@pytest.mark.parametrize("number", [
    "", " ", "99700000001", "8997000000011", "8 99700000001", "899700000001'--", "0123456789", None, 899700000001.5,
])
def test_what_is_no_national_number_makes_nobody_a_professional(number: Any) -> None:
    caller = person_of(claims(SubjectNameID=number), "psc", RULES)
    assert (caller.subject, caller.rpps) == ("oidc:psc:f:0:1", "")


def test_grants_add_up_and_each_holds_where_it_says() -> None:
    caller = person_of(claims(), "psc", RULES)
    assert caller.roles == {"clinician", "radiologist"}
    assert caller.may("study", department="Emergency")
    assert not caller.may("sign", department="Emergency"), "a clinician everywhere, a radiologist in radiology alone"
    assert caller.may("sign", department="Radiology")


def test_a_profession_counts_only_with_the_structure_that_the_grant_also_names() -> None:
    of_here = DOCTORS.model_copy(update={"also": {"SubjectRefPro.exercices.activities.raisonSocialeSite": ["HOPITAL ESSAI"]}})
    elsewhere = DOCTORS.model_copy(update={"also": {"SubjectRefPro.exercices.activities.raisonSocialeSite": ["HOPITAL EXEMPLE"]}})
    assert person_of(claims(), "psc", [of_here]).roles == {"clinician"}
    assert person_of(claims(), "psc", [elsewhere]).roles == frozenset()


@pytest.mark.parametrize("provider", ["", "psc"])
def test_pro_sante_connect_lets_nobody_in_by_a_profession_alone(provider: str) -> None:
    issuer = "https://auth.bas.psc.esante.gouv.fr/auth/realms/esante-wallet"
    access = {"providers": [{"name": "psc", "issuer": issuer, "client_id": "x"}]}
    doctors = {"provider": provider, "claim": "SubjectRefPro.exercices.codeProfession", "values": ["10"], "roles": ["clinician"]}
    with pytest.raises(ValueError, match="every professional of the country"):
        Access.model_validate({**access, "grants": [doctors]})
    assert Access.model_validate({**access, "grants": [{**doctors, "also": {"SubjectOrganizationID": ["1"]}}]}).grants
    assert Access.model_validate({**access, "grants": [{**doctors, "claim": "SubjectNameID", "values": ["899700000001"]}]}).grants


def test_a_grant_of_one_provider_does_not_serve_another() -> None:
    both = {**PSC_PERSON, **KEYCLOAK_PERSON}
    assert person_of(claims(both), "psc", RULES).roles == {"clinician", "radiologist"}
    assert person_of(claims(both), "hospital", RULES).roles == {"clinician", "dpo"}


@pytest.mark.parametrize("person", [
    {}, {"realm_access": {"roles": []}}, {"realm_access": {"roles": ["DIAPHANE-DPO", "diaphane", "diaphane-dpo-2"]}},
    {"realm_access": "diaphane-dpo"}, {"realm_access.roles.diaphane-dpo": True}, {"roles": ["diaphane-dpo"]},
    {"realm_access": {"roles": {"diaphane-dpo": True}}}, {"realm_access": {"roles": "a diaphane-dpo b"}},
    {"realm_access": None}, {"realm_access": {"roles": [None, 1, ["x"]]}},
])
def test_whoever_has_not_exactly_the_value_has_not_the_role(person: dict[str, Any]) -> None:
    assert person_of(claims(person), "hospital", RULES).roles == frozenset()


@pytest.mark.parametrize(("told", "path", "found"), [
    ({"a": {"b": ["x", "", " ", "y"]}}, "a.b", ["x", "y"]), ({"a": [{"b": "x"}, {"b": "y"}, {}]}, "a.b", ["x", "y"]),
    ({"https://hospital.example/roles": ["x"]}, "https://hospital.example/roles", ["x"]), ({"a.b": {"c": "x"}}, "a.b.c", ["x"]),
    ({"a": True}, "a", ["true"]), ({"a": 10}, "a", ["10"]), ({"a": {"b": "x"}}, "a", []), ({"a": "x"}, "a.b", []), ({}, "a", []),
])
def test_a_path_leads_through_objects_lists_and_names_with_points(told: dict[str, Any], path: str, found: list[str]) -> None:
    assert list(values_at(told, path)) == found


def test_a_name_that_cannot_be_shown_is_not_shown() -> None:
    caller = person_of(claims(given_name="\u202eEISSA\n", family_name="x" * 500), "psc", RULES)
    assert caller.given == ""
    assert len(caller.family) == 120


def test_a_subject_is_of_its_provider_and_fits_its_column() -> None:
    one, other = (person_of({"sub": "admin"}, name, RULES).subject for name in ("psc", "hospital"))
    assert one != other
    assert len(person_of({"sub": "x" * 255}, "psc", RULES).subject) <= 255
