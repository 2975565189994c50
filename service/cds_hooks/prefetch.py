"""What a service needs of a patient: prefetch templates for the client, and one Bundle from what the client sent.

Templates use reads, searches by patient and code, _count and _sort, and nothing else, as the specification recommends. A value
of null says that there is nothing; a key that is missing, or an OperationOutcome, says that it was not told: then it is read
from the site's own FHIR server when the call names that server, and otherwise the call is answered 412.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from models.codes import DESCRIBED, MEASURED, MEASURED_ONCE
from models.features import FEATURES
from models.fhir.bundle import reference
from models.manifest import Manifest
from models.record import EMPTY, View
from service.cds_hooks.hooks import Call, Json, PatientView
from service.fhir.client import FhirServerError, fetch_record, is_ours
from service.problem import ProblemError
from service.site import Site

PATIENT: Mapping[str, str] = {"patient": "Patient/{{context.patientId}}"}
ENCOUNTER = "Encounter/{{context.encounterId}}"
ENCOUNTERS = "Encounter?patient={{context.patientId}}&_sort=-date&_count=100"
MOST_OBSERVATIONS = 5000
# What is known of a patient beside measurements, when a release counts such facts: key → search.
FACTS: Mapping[str, str] = {
    "conditions": "Condition?patient={{context.patientId}}&_count=500",
    "medicationRequests": "MedicationRequest?patient={{context.patientId}}&_count=500",
    "medicationStatements": "MedicationStatement?patient={{context.patientId}}&_count=500",
    "procedures": "Procedure?patient={{context.patientId}}&_count=500",
}
# What a release counts of them, so that no more is asked for than is read; one that is not here may count all.
FACTS_OF: Mapping[str, tuple[str, ...]] = {
    "warfarin_dose": ("conditions", "medicationRequests", "medicationStatements"),
    "ed_triage": ("conditions",),
}
# Panels whose components are measurements: a search by code finds the panel only (https://hl7.org/fhir/R4/observation.html).
PANELS: Mapping[str, tuple[str, ...]] = {"8480-6": ("85354-9", "55284-4", "35094-2"), "9269-2": ("35088-4",)}
OF_PATIENT_OR_STAY = frozenset({"age_years", "male", "icu_type"})
# What is read from an Observation though it is no measurement: fact → codes to ask for.
FACT_CODES: Mapping[str, tuple[str, ...]] = {
    "cyp2c9_diplotype": ("http://loinc.org|84413-4", "http://loinc.org|79716-7", "http://loinc.org|46724-3"),
    "vkorc1_a_alleles": ("http://loinc.org|84413-4", "http://loinc.org|50722-8"),
    "smokes": ("http://loinc.org|72166-2",),
}
NEEDED = ("patient", "encounter", "encounters", "observations")  # without these nothing can be said


@dataclass(frozen=True)
class Gathered:
    """What is known of the patient: ``resources`` of all keys; ``untold`` keys that were not sent, ``cut`` those sent in part."""

    resources: tuple[Json, ...] = field(repr=False)
    untold: tuple[str, ...] = ()
    cut: tuple[str, ...] = ()

    @property
    def bundle(self) -> Json:
        """One Bundle of everything."""
        return {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": one} for one in self.resources]}

    def of(self, kind: str) -> tuple[Json, ...]:
        """Return the resources of one type."""
        return tuple(one for one in self.resources if one.get("resourceType") == kind)


def templates(manifest: Manifest, *, in_encounter: bool = False, local_codes: bool = False) -> dict[str, str]:
    """Return the prefetch templates of a release.

    ``in_encounter``: the hook's context always names one. ``local_codes``: the site maps codes of its own, so that all are
    asked for.
    """
    codes = codes_read(manifest)
    told = dict(PATIENT)
    if in_encounter:
        told["encounter"] = ENCOUNTER
    if manifest.needs_encounter or "icu_type" in codes:
        told["encounters"] = ENCOUNTERS
    public = _public_codes(codes)
    if public:
        wanted = "" if local_codes else f"&code={','.join(public)}"
        told["observations"] = (f"Observation?patient={{{{context.patientId}}}}{wanted}&_sort=-date"
                                f"&_count={MOST_OBSERVATIONS}")
    if _counts_facts(codes):
        told |= {key: FACTS[key] for key in FACTS_OF.get(manifest.name, tuple(FACTS))}
    return told


def gather(call: Call, place: PatientView, wanted: Mapping[str, str], site: Site) -> Gathered:
    """Bring together what was prefetched, or read it. Raises ProblemError: 412 when data are missing, 400 on mixed patients."""
    sent = _sent(call, wanted)
    if (sent.untold or sent.cut) and call.fhir_server and is_ours(site, call.fhir_server):
        sent = _read(site, place, call)
    elif missing := [key for key in NEEDED if key in sent.untold and not (key == "encounters" and "encounter" in wanted)]:
        raise ProblemError("data_needed", f"Send the prefetch {_listed(missing)} as the discovery asks, or let the site's FHIR "
                                          "server be read: name it in fhirServer exactly as in the site file.")
    _about(sent.resources, place.patient_id)
    return sent


@lru_cache(maxsize=32)
def _read_by(names: tuple[tuple[str, tuple[tuple[str, Any], ...]], ...]) -> frozenset[str]:
    looked = _Looked()
    view = View(0.0, float("inf"), looked, looked)
    for function, params in names:
        FEATURES[function](view, **dict(params))
    return frozenset(looked.names)


def codes_read(manifest: Manifest) -> frozenset[str]:
    """Return our codes that a release looks at, those behind a derived one included."""
    named = {*manifest.refuses.core_codes, *manifest.refuses.required, *manifest.refuses.recent, *manifest.refuses.newest_min}
    features = tuple((feature.function, tuple(feature.params.items())) for feature in manifest.features)
    return _read_by(features) | {code for code in named if code in MEASURED or code not in DESCRIBED or "meaning" in DESCRIBED[code]}


class _Looked(dict[str, Any]):
    """An empty record that notes what it is asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def get(self, name: str, default: Any = None) -> Any:
        self.names.add(name)
        return EMPTY if default is EMPTY else default


def _public_codes(codes: frozenset[str]) -> list[str]:
    rows = [{**MEASURED, **MEASURED_ONCE}[code] for code in sorted(codes) if code in MEASURED or code in MEASURED_ONCE]
    told = [f"{row['system']}|{one}" for row in rows for code in row["meaning"] for one in (code, *PANELS.get(code, ()))]
    return list(dict.fromkeys([*told, *(one for code in sorted(codes) for one in FACT_CODES.get(code, ()))]))


def _counts_facts(codes: frozenset[str]) -> bool:
    return any(code not in MEASURED and code not in MEASURED_ONCE and code not in OF_PATIENT_OR_STAY for code in codes)


def _sent(call: Call, wanted: Mapping[str, str]) -> Gathered:
    """Return what was prefetched under the keys that were asked for; other keys are not looked at."""
    prefetch, resources, untold, cut = call.prefetch or {}, list[Json](), list[str](), list[str]()
    for key in wanted:
        value = prefetch.get(key)
        if key not in prefetch or not isinstance(value, dict | None) or _kind(value) == "OperationOutcome":
            untold.append(key)
        elif value is not None:
            inside = list(_unpacked(value))
            resources += [one for one in inside if _kind(one) != "OperationOutcome"]
            cut += [key] * (_has_next(value) or any(_kind(one) == "OperationOutcome" for one in inside))
    return Gathered(tuple(_each_once(resources)), tuple(untold), tuple(cut))


def _read(site: Site, place: PatientView, call: Call) -> Gathered:
    stay = f"Encounter/{place.encounter_id}" if place.encounter_id else ""
    try:
        read = fetch_record(site, f"Patient/{place.patient_id}", stay)
    except FhirServerError as error:
        raise ProblemError("data_needed", f"What was not prefetched could not be read from the site's FHIR server ({error.code}). "
                                          "Send it as prefetch, or see to that server.") from None
    told = [one for one in _unpacked(read) if _kind(one) != "OperationOutcome"]
    return Gathered(tuple(_each_once([*told, *_sent(call, PATIENT).resources])))


def _about(resources: tuple[Json, ...], patient: str) -> None:
    """Check that everything is about the patient whose chart is open. Raises ProblemError."""
    for one in resources:
        about = one.get("id") if _kind(one) == "Patient" else reference(one.get("subject") or one.get("patient")).rpartition("/")[2]
        if about and about != patient:
            raise ProblemError("bad_hook", "The prefetch must be about the patient of the context, found another. "
                                           "Nothing of it is used.")


def _unpacked(value: Json) -> Iterator[Json]:
    if _kind(value) != "Bundle":
        yield value
        return
    for entry in value.get("entry") or ():
        resource = entry.get("resource") if isinstance(entry, dict) else None
        if isinstance(resource, dict):
            yield resource


def _each_once(resources: list[Json]) -> Iterator[Json]:
    """Yield every resource once: an encounter may come by its own key and in a list."""
    seen: set[tuple[str, str]] = set()
    for one in resources:
        name = (_kind(one), str(one.get("id", "")))
        if not name[1] or name not in seen:
            yield one
        seen.add(name)


def _has_next(value: Json) -> bool:
    links = value.get("link")
    return isinstance(links, list) and any(isinstance(link, dict) and link.get("relation") == "next" for link in links)


def _kind(value: object) -> str:
    return str(value.get("resourceType", "")) if isinstance(value, dict) else ""


def _listed(names: list[str]) -> str:
    return ", ".join(names)
