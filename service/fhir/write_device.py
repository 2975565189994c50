"""Device: the release that computed a result, so exactly that it can be found again (https://hl7.org/fhir/R4/device.html)."""

from __future__ import annotations

from models.manifest import Manifest
from models.model import SOFTWARE
from models.prediction import Identity
from service.fhir.codes import ours
from service.fhir.datatypes import RELEASE, SNOMED, Json, coding, concept, id_of, identifier, made, narrative, paragraph
from service.words import Language, in_words

MANUFACTURER = "Diaphane"


def device_id(identity: Identity) -> str:
    """Return the id of a release's Device: another version, graph or program is another device."""
    return id_of("Device", identity.model, identity.version, identity.manifest_sha256, identity.software)


def write_device(manifest: Manifest, identity: Identity, language: Language) -> Json:
    """Write the release as a Device. It has no UDI: it is not a medical device."""
    title = in_words(language, manifest.title, manifest.title_fr)
    made_by = device_id(identity)
    versions = {
        "release": identity.version, "onnx-sha256": identity.onnx_sha256, "manifest-sha256": identity.manifest_sha256,
        "software": identity.software,
    }
    return made(
        "Device", made_by, language,
        text=narrative(language, paragraph(f"{title} ({manifest.id})"), paragraph(manifest.intended_use.regulatory)),
        identifier=[identifier(made_by), identifier(manifest.id, RELEASE)],
        status="active",
        manufacturer=MANUFACTURER,
        deviceName=[{"name": title, "type": "user-friendly-name"}, {"name": identity.model, "type": "model-name"}],
        modelNumber=manifest.id,
        type=concept(coding(SNOMED, "706687001", "Software"), "Software"),
        version=[{"type": concept(ours(name, language)), "value": value} for name, value in versions.items() if value],
        note=[{"text": f"{manifest.intended_use.purpose} {manifest.intended_use.regulatory}"}],
    )


def write_software(language: Language) -> Json:
    """Write this program as a Device, for what it says without any release."""
    name = id_of("Device", SOFTWARE)
    return made(
        "Device", name, language,
        text=narrative(language, paragraph(SOFTWARE)),
        identifier=[identifier(name)],
        status="active",
        manufacturer=MANUFACTURER,
        deviceName=[{"name": MANUFACTURER, "type": "model-name"}],
        type=concept(coding(SNOMED, "706687001", "Software"), "Software"),
        version=[{"type": concept(ours("software", language)), "value": SOFTWARE}],
    )
