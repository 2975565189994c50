"""The patient of the record is asked for by the identifiers of the images alone, and taken only when there is one."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs

from service.identity import Identity, Person, Traits
from service.review.report.record_patient import record_patient
from service.site import FhirServer, Site
from tests.service.fhir.site_server import Asked, Said, searchset, site_server

OID = "1.2.250.1.999.1"
LOCAL = Person(Traits(), (Identity("12345", OID, False, "local"), Identity("7", "", False, "local", "SOMEBODY")))


def ask(person: Person, *patients: dict[str, Any], status: int = 200) -> tuple[Any, list[str]]:
    def answers(_: Asked) -> Said:
        return Said(searchset(*patients) if status == 200 else {"resourceType": "OperationOutcome"}, status)

    with site_server(answers) as server:
        found = record_patient(Site(fhir_server=FhirServer(url=server.url)), person)
        return found, server.targets


def test_the_one_patient_of_an_identifier_is_returned() -> None:
    patient = {"resourceType": "Patient", "id": "p1"}
    found, asked = ask(LOCAL, patient)
    assert (patient, "found") == found
    assert [[f"urn:oid:{OID}|12345"]] == [parse_qs(one.partition("?")[2])["identifier"] for one in asked]


def test_two_patients_are_none() -> None:
    found, _ = ask(LOCAL, {"resourceType": "Patient", "id": "p1"}, {"resourceType": "Patient", "id": "p2"})
    assert (None, "several") == found


def test_nobody_is_asked_for_without_an_identifier_whose_issuer_is_known() -> None:
    found, asked = ask(Person(Traits(birth_name="ESSAI"), (Identity("7", "", False, "local", "SOMEBODY"),)))
    assert ((None, "none"), []) == (found, asked)


def test_a_server_that_fails_and_no_server_are_told_apart() -> None:
    found, _ = ask(LOCAL, status=500)
    assert (None, "no_answer") == found
    assert (None, "no_server") == record_patient(Site(), LOCAL)
