"""Facts that dose warfarin: genotypes, interacting drugs, diagnoses and smoking, from FHIR resources.

That something is absent is concluded only from a list that can be read as a whole: diagnoses all in ICD-10, drugs all in
ATC. One entry in another system, and what was not found stays unknown; so does a drug that acts on for weeks once it was
stopped. Genotypes follow the Genotype profile of HL7 Genomics Reporting (LOINC 84413-4, the gene in component 48018-6).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from models.fhir.bundle import Bundle, Fact, Json, codings, listed, own_reference, reference, table, text, when

_TABLE: Mapping[str, Any] = json.loads(
    (Path(__file__).parents[1] / "tables/facts_warfarin.json").read_text(encoding="utf-8")
)
_SYSTEMS: Mapping[str, str] = {uri: name for name, uris in _TABLE["systems"].items() for uri in uris}
_UNSURE = frozenset({"unconfirmed", "provisional", "differential"})
_TAKEN = frozenset({"active", "intended", "draft", "on-hold", "in-progress"})
_OVER = frozenset({"completed", "stopped"})
_ENDED = -1.0  # of a drug: neither taken nor denied
_DRUGS = ("MedicationStatement", "MedicationRequest", "MedicationAdministration")
_VARIANT_ALLELES = {"A": 1, "T": 1, "G": 0, "C": 0}  # of -1639G>A, 1173C>T and 2255C>T, on either strand
_ON_ONE_STRAND = ({"A"}, {"G"}, {"A", "G"}, {"C"}, {"T"}, {"C", "T"})
_EARLIEST = datetime.min.replace(tzinfo=UTC)
Found = list[tuple[set[tuple[str, str]], float | None, str]]  # codes of one entry, 1, 0 or None for unknown, its reference


def facts(bundle: Bundle) -> dict[str, Fact]:
    """Return what the bundle says; what it does not say is left out."""
    return {**genotypes(bundle), **_stated(_TABLE["conditions"], list(_diagnoses(bundle)), "icd10"),
            **_stated(_TABLE["medications"], list(_drugs(bundle)), "atc"), **_smoking(bundle)}


def genotypes(bundle: Bundle) -> dict[str, Fact]:
    """Return the CYP2C9 diplotype and the number of VKORC1 -1639 A alleles, each from the latest result that can be read.

    VKORC1 1173C>T, then 2255C>T, stand in for -1639G>A, with which they are inherited (IWPC 2009, supplement S4). Other
    CYP2C9 alleles than *1, *2 and *3 were hardly seen in the cohort and are taken for unknown.
    """
    diplotypes: list[tuple[int, float, str]] = []
    alleles: list[tuple[int, float, str]] = []
    for observation in sorted(bundle.of("Observation"), key=lambda one: when(one) or _EARLIEST):
        gene, said = _gene(observation), " ".join(_words(observation))
        stars = _one_pair(r"\*(\d+)[A-Z]?\s*/\s*\*(\d+)", observation)
        if gene == "CYP2C9" and stars:
            number = _TABLE["genotype"]["diplotypes"].get("/".join(sorted(stars, key=int)))
            if number is not None:
                diplotypes.append((0, float(number), own_reference(observation)))
        pair = _one_pair(r"(?<![A-Z])([ACGT])\s*/\s*([ACGT])(?![A-Z])", observation)
        if gene == "VKORC1" and pair and set(pair) in _ON_ONE_STRAND:
            count = float(sum(_VARIANT_ALLELES[letter] for letter in pair))
            alleles += [(-place, count, own_reference(observation))
                        for place, names in enumerate(_TABLE["genotype"]["variants"]) if any(one in said for one in names)]
    found = {"cyp2c9_diplotype": diplotypes, "vkorc1_a_alleles": alleles}
    best = {code: max(enumerate(rows), key=lambda row: (row[1][0], row[0]))[1] for code, rows in found.items() if rows}
    return {code: Fact(value, (source,) if source else ()) for code, (_, value, source) in best.items()}


def _gene(observation: Json) -> str:
    genotype = _TABLE["genotype"]
    for component in map(table, listed(observation.get("component"))):
        if (genotype["system"], genotype["gene"]) in set(codings(component.get("code"))):
            for _, code in codings(component.get("valueCodeableConcept")):
                if code in genotype["genes"]:
                    return str(genotype["genes"][code])
    said = " ".join(_words(observation))
    return next((gene for gene in ("CYP2C9", "VKORC1") if gene in said), "")


def _one_pair(pattern: str, observation: Json) -> tuple[str, ...]:
    """Return the two alleles that an Observation's value names; nothing when it names none, or several.

    Its code is not looked at: "CYP2C9 *2/*3" there is the name of the test.
    """
    found = {tuple(sorted(pair)) for pair in re.findall(pattern, " ".join(_words(observation, ("valueCodeableConcept",))))}
    return found.pop() if len(found) == 1 else ()


def _words(observation: Json, concepts: Iterable[str] = ("code", "valueCodeableConcept")) -> Iterator[str]:
    """Yield the words of an Observation's code and value, where laboratories write a genotype."""
    for concept in (table(observation.get(name)) for name in concepts):
        yield text(concept.get("text"))
        for coding in map(table, listed(concept.get("coding"))):
            yield from (text(coding.get("display")), text(coding.get("code")))
    yield text(observation.get("valueString"))


def _stated(rules: Mapping[str, Any], entries: Found, whole: str) -> dict[str, Fact]:
    """Judge each of our codes against the entries. ``whole``: the system in which absence can be concluded."""
    listing = [codes for codes, said, _ in entries if said != _ENDED]
    complete = bool(listing) and all(any(system == whole for system, _ in codes) for codes in listing)
    found = {}
    for name, rule in rules.items():
        named = [(said, source) for codes, said, source in entries if any(_matches(rule, *code) for code in codes)]
        mine = [(None if said == _ENDED else said, source) for said, source in named if said != _ENDED or rule.get("lingers")]
        sure = sorted({source for said, source in mine if said == 1.0 and source})
        if any(said == 1.0 for said, _ in mine):
            found[name] = Fact(1.0, tuple(sure))
        elif not any(said is None for said, _ in mine) and (mine or complete):
            found[name] = Fact(0.0, tuple(sorted({source for _, source in mine if source})))
    return found


def _matches(rule: Mapping[str, Any], system: str, code: str) -> bool:
    """Tell whether a code means it: ICD-10 and ATC by the start of the code, the others exactly."""
    stated = rule.get(system, [])
    return any(code.startswith(one) for one in stated) if system in ("icd10", "atc") else code in stated


def _known(concepts: Iterable[object]) -> set[tuple[str, str]]:
    return {
        (_SYSTEMS[system], code.replace(".", "").upper() if _SYSTEMS[system] == "icd10" else code)
        for concept in concepts for system, code in codings(concept) if system in _SYSTEMS
    }


def _diagnoses(bundle: Bundle) -> Iterator[tuple[set[tuple[str, str]], float | None, str]]:
    for condition in bundle.of("Condition"):
        verified = {code for _, code in codings(condition.get("verificationStatus"))}
        said = 0.0 if "refuted" in verified else None if verified & _UNSURE else 1.0
        yield _known([condition.get("code")]), said, own_reference(condition)


def _drugs(bundle: Bundle) -> Iterator[tuple[set[tuple[str, str]], float | None, str]]:
    """Yield every drug but the one that is being ordered. What was given by a nurse may be taken still: nobody says."""
    named = {own_reference(one): one.get("code") for one in bundle.of("Medication")}
    for kind in _DRUGS:
        for resource in bundle.of(kind):
            status = "" if resource.get("doNotPerform") is True else text(resource.get("status"))
            referred = named.get(reference(resource.get("medicationReference")))
            codes = _known([resource.get("medicationCodeableConcept"), referred])
            ended = status in _OVER and (kind, status) != ("MedicationAdministration", "completed")
            if status in ("unknown", "not-taken") or status in _TAKEN or status in _OVER:
                said = 1.0 if status in _TAKEN else 0.0 if status == "not-taken" else _ENDED if ended else None
                if not any(_matches(_TABLE["ordered"], *code) for code in codes):
                    yield codes, said, own_reference(resource)


def _smoking(bundle: Bundle) -> dict[str, Fact]:
    rule = _TABLE["smoking"]
    for observation in sorted(bundle.of("Observation"), key=lambda one: when(one) or _EARLIEST, reverse=True):
        if (rule["system"], rule["code"]) in set(codings(observation.get("code"))):
            said = {code for _, code in codings(observation.get("valueCodeableConcept"))}
            for answer, value in (("yes", 1.0), ("no", 0.0)):
                if said & set(rule[answer]):
                    source = own_reference(observation)
                    return {"smokes": Fact(value, (source,) if source else ())}
    return {}
