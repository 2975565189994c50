"""What stops a validated report from leaving: an INS nobody may use, a patient without an identifier, a hospital without a name."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from service.cda.sendable import REASONS, NotSendable, number_id, require_sendable
from service.cda.write_report import write_report
from service.hl7v2.write_mdm import write_mdm
from service.hl7v2.write_oru import write_oru
from service.identity import Identity, Person, ins_identity, local_identity
from service.reporting.validated import Number
from service.site import Mllp, Organisation
from service.xdm.write_zip import mail_subject, write_zip
from tests.service.cda.made import INS, NIR_OID, PERSON, SITE, TEST_OID, TRAITS, report

IPP = local_identity("0042", "1.2.250.1.999.2")
OTHER = "277076322082910"


def person(*identities: Identity) -> Person:
    return Person(TRAITS, identities)


REFUSED: list[tuple[str, dict[str, Any]]] = [
    ("wrong_key", {"person": person(ins_identity(INS[:13] + "88", TEST_OID, status="VALI"), IPP)}),
    ("wrong_key", {"person": person(ins_identity("123", TEST_OID, status="VALI"), IPP)}),
    ("not_qualified", {"person": person(ins_identity(INS, TEST_OID, status="PROV"), IPP)}),
    ("not_qualified", {"person": person(ins_identity(INS, TEST_OID, status=None), IPP)}),
    ("wrong_environment", {"person": person(ins_identity(INS, NIR_OID, status="VALI"), IPP)}),
    ("wrong_environment", {"accept": "production"}),
    ("several_ins", {"person": person(*(ins_identity(one, TEST_OID, status="VALI") for one in (INS, OTHER)))}),
    *(("traits", {"person": Person(replace(TRAITS, **{name: ""}), PERSON.identities)})  # type: ignore[arg-type]
      for name in ("birth_name", "given", "given_names", "sex", "birth_date", "birth_place")),
    ("no_identifier", {"person": person()}),
    ("no_identifier", {"person": person(local_identity("0042", "another hospital"))}),
    ("no_identifier", {"person": person(ins_identity(INS, "1.2.250.1.213.1.4.2", status="VALI"))}),
    ("organisation", {"organisation": Organisation(name="CHU Exemple", finess="010000024")}),
    ("organisation", {"organisation": Organisation(name="CHU Exemple", oid="1.2.3")}),
    ("organisation", {"organisation": Organisation(finess="010000024", oid="1.2.3")}),
    ("language", {"language": "en"}),
]


@pytest.mark.parametrize(("reason", "changes"), REFUSED)
def test_a_report_that_must_not_leave_is_refused_with_the_reason(reason: str, changes: dict[str, Any]) -> None:
    with pytest.raises(NotSendable) as caught:
        require_sendable(report(**changes))
    assert reason == caught.value.reason
    assert REASONS[caught.value.reason] == str(caught.value)
    assert all(one not in str(caught.value) for one in (INS, OTHER, "0042", "PAT-TROIS"))


@pytest.mark.parametrize("write", [
    write_report, lambda one: write_mdm(one, Mllp()), lambda one: write_oru(one, Mllp()), write_zip, mail_subject,
])
def test_no_way_out_takes_what_must_not_leave(write: Any) -> None:
    with pytest.raises(NotSendable):
        write(report(**REFUSED[0][1]))


def test_every_reason_is_tried() -> None:
    assert set(REASONS) == {reason for reason, _ in REFUSED}


def test_an_identifier_whose_issuer_is_nobody_or_this_hospital_by_name_is_this_hospitals() -> None:
    for issuer in ("", SITE.name):
        _, named = require_sendable(report(person=person(local_identity("0042", issuer))))
        assert ((SITE.oid, "0042"),) == named.ids


def test_a_patient_without_an_ins_is_named_by_the_hospitals_identifier() -> None:
    _, named = require_sendable(report(person=person(IPP)))
    assert (None, (("1.2.250.1.999.2", "0042"),)) == (named.ins, named.ids)


def test_a_calculated_ins_is_left_out() -> None:
    old = ins_identity(INS, "1.2.250.1.213.1.4.2", status="VALI")
    _, named = require_sendable(report(person=person(old, IPP)))
    assert (("1.2.250.1.999.2", "0042"),) == named.ids


def test_a_number_without_an_oid_is_the_hospitals_own() -> None:
    assert (SITE.oid, "A") == number_id(Number("A", issuer="RIS"), report())
    assert ("1.2.3", "A") == number_id(Number("A", "1.2.3"), report())
