"""Provenance: which device made which resources, when and from what (https://hl7.org/fhir/R4/provenance.html)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from models.prediction import Identity
from service.fhir.datatypes import (
    INPUT,
    TERMINOLOGY,
    Json,
    coding,
    concept,
    id_of,
    identifier,
    instant,
    made,
    narrative,
    paragraph,
    reference,
    urn,
)
from service.words import Language, say


def write_provenance(
    targets: Sequence[Json], device: Json, identity: Identity | None, sources: Sequence[str | Json], made_at: datetime,
    language: Language,
) -> Json:
    """Write who assembled ``targets`` and from what: the resources looked at, and the hash of what the graph was given.

    ``sources`` are references, as text or as Reference; ``identity`` is None when no release was involved.
    """
    entities: list[Json] = [{"role": "source", "what": reference(one) if isinstance(one, str) else one} for one in sources]
    if identity is not None and identity.input_sha256:
        given = say(language, "What the model was given, as its hash")
        entities.append({"role": "source", "what": {"identifier": identifier(identity.input_sha256, INPUT), "display": given}})
    told = say(language, "Made by software. No person has confirmed it.") if identity is None else say(
        language, "Made by {model}, version {version}, on {backend}. No person has confirmed it.",
        model=identity.model, version=identity.version, backend=f"{identity.backend}, {identity.precision}")
    return made(
        "Provenance", id_of("Provenance", *(one["id"] for one in targets)), language,
        text=narrative(language, paragraph(told)),
        target=[reference(urn(one)) for one in targets],
        occurredDateTime=instant(made_at),
        recorded=instant(made_at),
        activity=concept(coding(f"{TERMINOLOGY}/v3-DataOperation", "CREATE", "create")),
        agent=[{
            "type": concept(coding(f"{TERMINOLOGY}/provenance-participant-type", "assembler", "Assembler")),
            "who": reference(urn(device)),
        }],
        **({"entity": entities} if entities else {}),
    )
