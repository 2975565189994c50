"""A validated report of nobody, and how to change it."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

from models.manifest import Code
from service.identity import Person, Traits, ins_identity, local_identity
from service.reporting.report import Section, Sentence, sha256_of_text
from service.reporting.validated import Number, Professional, ValidatedReport
from service.site import Organisation

TEST_OID, NIR_OID = "1.2.250.1.213.1.4.10", "1.2.250.1.213.1.4.8"
INS = "279035121518989"  # a fictitious identity of the public test set
PARIS = timezone(timedelta(hours=1))
TRAITS = Traits("PAT-TROIS", "DOMINIQUE", "DOMINIQUE MARIE-LOUISE", "DURAND", "19790328", "F", "51215")
PERSON = Person(TRAITS, (ins_identity(INS, TEST_OID, status="VALI"), local_identity("0042", "1.2.250.1.999.2")))
SITE = Organisation(name="CHU Exemple", finess="010000024", address="1 rue de l'Exemple, 01000 Exemple", telecom="04 00 00 00 00",
                    oid="1.2.250.1.999.1")
SECTIONS = (
    Section("indication", (Sentence("Toux fébrile depuis 3 jours.", "image"),)),
    Section("technique", (Sentence("Radiographie du thorax de face.", "image"),)),
    Section("results", (Sentence("Opacité de la base droite.", "ai", "chest-1.0.0/pneumonia", 1, 0.9),)),
    Section("conclusion", (
        Sentence("Pneumonie basale droite.", "person"), Sentence("À contrôler si fièvre > 38,5 °C & toux.", "person"))),
)


def report(**changes: Any) -> ValidatedReport:
    """Make a validated report; a change of the sections is validated anew."""
    sections = changes.get("sections", SECTIONS)
    made = ValidatedReport(
        document_uid="2.25.101", set_uid="2.25.100", version=2, replaces="", language="fr", title="Compte rendu d'imagerie",
        sections=sections, text_sha256=sha256_of_text(sections), professional=Professional("99700000001", "DOCTEUR-TEST", "CAMILLE"),
        validated_at=datetime(2026, 3, 1, 11, 30, tzinfo=PARIS), made_at=datetime(2026, 3, 1, 11, 0, tzinfo=PARIS), person=PERSON,
        accept="test", organisation=SITE, study_uid="1.2.826.0.1.3680043.8.498.7",
        studied_at=datetime(2026, 3, 1, 10, 15, tzinfo=PARIS), modality="DX", accession=Number("ACC0001", issuer="RIS"),
        placer_order=Number("PLACER1", "1.2.250.1.999.3"), procedures=(Code(system="http://loinc.org", code="36643-5",
                                                                            display="RX thorax 2 incidences"),),
        body_part="CHEST", referrer="MÉDECIN Référent", pdf=b"%PDF-1.7 pages of nobody",
    )
    return replace(made, **changes)
