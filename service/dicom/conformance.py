"""The DICOM Conformance Statement, in the structure of PS3.2 annex N, made from the tables the service itself goes by.

What is said here of classes, syntaxes, limits, addresses and statuses is read from the code that does it; a test proposes
everything to the receiver and compares.
"""

from __future__ import annotations

from models.explain.picture import WORDS as PICTURE_WORDS
from service.dicom.arrival import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION
from service.dicom.association import STATUSES
from service.dicom.codes import OURS, WORDS
from service.dicom.conformance_web import table, web_services
from service.dicom.dimse import CANNOT_UNDERSTAND, OUT_OF_RESOURCES, PROCESSING_FAILURE, UNRECOGNISED_OPERATION
from service.dicom.routes import ROOT
from service.dicom.storage import ECHO_CLASS, IMAGE_CLASSES, TRANSFER_SYNTAXES
from service.dicom.tls import CIPHERS
from service.dicom.undelivered import DELIVERED
from service.dicom.wire import Limits
from service.settings import MIB, Settings
from service.site import Site

# What WRITERS make (service/dicom/write.py): name in a manifest → class, and the templates and context groups of PS3.16.
WRITTEN: dict[str, tuple[str, str, str]] = {
    "capture": ("1.2.840.10008.5.1.4.1.1.7", "Secondary Capture Image Storage", "the image with the explanation drawn over it"),
    "map": ("1.2.840.10008.5.1.4.1.1.30", "Parametric Map Storage", "the explanation as numbers, on the source's geometry"),
    "seg": ("1.2.840.10008.5.1.4.1.1.66.4", "Segmentation Storage", "masks of structures, on the source's slices"),
    "sr": ("1.2.840.10008.5.1.4.1.1.88.34", "Comprehensive 3D SR Storage",
           "TID 1500 with 1410 (zones, in a report of their own), 1411 (volumes) and 1501, 4019, CID 217; preliminary, unverified"),
}
TEMPLATES = (
    ("1500 Imaging Measurement Report", "root", "every report"),
    ("1204 Language of Content Item and Descendants", "1500", "English or French (RFC5646), by the site file"),
    ("1001, 1002, 1004 Observation Context", "1500", "the device: station name, manufacturer, model"),
    ("1600 Image Library", "1500", "every image of the revision"),
    ("1501 Measurement and Qualitative Evaluation Group", "1500", "a finding of the whole image"),
    ("1411 Volumetric ROI Measurements", "1500", "a volume with its segment"),
    ("1410 Planar ROI Measurements", "1500", "a zone that weighed, in the report of zones"),
    ("300 Measurement, 1419 ROI Measurements", "1501; 1410, 1411",
     "(111012, DCM, \"Certainty of Finding\") in percent; (118565006, SCT, \"Volume\")"),
    ("4019 Algorithm Identification", "1410, 1411, 1501", "model, version, threshold, calibration and SHA-256 of what computed it"),
)
CONTEXT_GROUPS = (
    ("CID 100", "(121058, DCM, \"Procedure reported\")", "by modality: CT, MR, PT, NM; else (363679005, SCT, \"Imaging procedure\")"),
    ("CID 217", "(130401, DCM, \"Visual explanation\") → method", "(130402, DCM, \"Class activation\")"),
    ("CID 244", "laterality of a finding site", "right, left, bilateral, when the source says so"),
    ("CID 5000", "language", "en, fr"),
    ("CID 7150", "category of a segment", "anatomical structure, or morphologically abnormal structure, by the manifest's code"),
    ("CID 7162", "algorithm family", "(123110, DCM, \"Artificial Intelligence\")"),
)
REJECTIONS = (
    ("application context is not the standard's", "1", "1", "2"),
    ("calling AE title or address is not one of the site's", "1", "1", "3"),
    ("called AE title is not ours", "1", "1", "7"), ("protocol version 1 is not offered", "1", "2", "2"),
    ("as many associations as allowed, or stopping", "2", "3", "2"),
)


def statement(settings: Settings, site: Site) -> str:
    """Write the statement as Markdown, for the installation these settings describe."""
    parts = (
        _overview(), _introduction(), _model(), _services(settings), _configuration(settings, site), _network(settings),
        _security(settings, site), _annexes(),
    )
    titles = [line.removeprefix("## ") for part in parts for line in part.splitlines() if line.startswith("## ")]
    contents = "\n".join(("## 2 Table of contents\n", *(f"- {title}" for title in titles)))
    return "\n\n".join(("# DICOM Conformance Statement: Diaphane", parts[0], contents, *parts[1:])) + "\n"


def _overview() -> str:
    return "\n\n".join((
        "## 1 Overview",
        "Diaphane receives images, lets models look at those that fit, and sends what was found, or why nothing was assessed, "
        "back as DICOM objects of the same study. An image is acknowledged only after it is on disk.",
        "### 1.1 Services",
        table(("Service", "User (SCU)", "Provider (SCP)"), (
            ("Verification (C-ECHO)", "yes", "yes"),
            ("Storage (C-STORE)", "yes: results", "yes: images"),
            ("Store over the web (STOW-RS)", "yes: results", "yes: images"),
            ("Query over the web (QIDO-RS)", "one search, to see whether a target answers", "yes"),
            ("Retrieve over the web (WADO-RS)", "no", "yes"),
            ("Unified worklist over the web (UPS-RS)", "no", "yes, without subscriptions"),
            ("Query/Retrieve (C-FIND, C-MOVE, C-GET), Storage Commitment, media", "no", "no"),
        )),
        "### 1.2 Objects",
        table(("Class", "UID", "Received", "Created"), (
            *((name, uid, "yes", "yes" if uid in _made() else "no") for uid, name in IMAGE_CLASSES.items()),
            *((name, uid, "no", "yes") for uid, name in _made().items() if uid not in IMAGE_CLASSES),
        )),
    ))


def _introduction() -> str:
    return (
        "## 3 Introduction\n\nFor those who connect Diaphane to a hospital's network. It says what is offered, not that two systems "
        "work together: test that before use. Terms are those of PS3.1 to PS3.18; section numbers those of PS3.2, annex N."
    )


def _model() -> str:
    return (
        "## 4 Implementation model\n\n- **Receiver** (`python -m service listen`): C-ECHO and C-STORE.\n"
        f"- **Web server** (`python -m service node`, or `start` with DIAPHANE_DICOMWEB=true): {ROOT}.\n"
        "- **Worker**: seals a series when its association was released or it was quiet, chooses models and makes objects.\n"
        "- **Deliverer**: sends objects to targets by C-STORE or STOW-RS, again and again until they are taken.\n\n"
        "A late image makes a new revision with objects of its own. The same image twice changes nothing. An object that Diaphane "
        "made and gets back is acknowledged and starts nothing."
    )


def _services(settings: Settings) -> str:
    return "\n\n".join((
        "## 5 Service and interoperability description",
        "### 5.1 Storage, provider",
        f"Every class above that is received, in every syntax of 7.2. Limits: {settings.max_instance_mib} MiB an object. Level 2 "
        "(full): all elements are kept as they were sent; only preamble and file meta information are Diaphane's.",
        table(("Status", "Meaning", "Error Comment"), _statuses()),
        "### 5.2 Storage, user",
        "A presentation context for each class and syntax of the objects, and one in Implicit VR Little Endian. Statuses "
        + ", ".join(f"{status:04X}" for status in sorted(DELIVERED))
        + " count as delivered; A9xx, Cxxx and those of PS3.7 annex C that cannot change are permanent; others are tried again.",
        *web_services(settings),
    ))


def _configuration(settings: Settings, site: Site) -> str:
    peers = "the peers named in the site file" if site.peers else "any title, from this machine only"
    return "\n\n".join((
        "## 6 Configuration",
        "Settings are read from the environment or a TOML file; peers, targets and rules from the site file.",
        table(("Parameter", "Setting", "Value here"), (
            ("AE title", "DIAPHANE_AE_TITLE", settings.ae_title),
            ("Port", "DIAPHANE_DICOM_PORT", settings.dicom_port),
            ("Who may send", "[[peers]]", peers),
            ("Called AE title must be ours", "DIAPHANE_ANY_CALLED_AE", "no" if settings.any_called_ae else "yes"),
            ("Associations at once", "DIAPHANE_MAX_ASSOCIATIONS", settings.max_associations),
            ("Largest object", "DIAPHANE_MAX_INSTANCE_MIB", f"{settings.max_instance_mib} MiB"),
            ("A series is complete when quiet for", "DIAPHANE_QUIET_S", f"{settings.quiet_s:g} s"),
            ("… after the release of its association", "DIAPHANE_RELEASE_QUIET_S", f"{settings.release_quiet_s:g} s"),
            ("Targets", "[[targets]]", ", ".join(f"{one.name} ({one.kind})" for one in site.targets) or "none"),
        )),
    ))


def _network(settings: Settings) -> str:
    limits = Limits()
    return "\n\n".join((
        "## 7 Network and media communication details",
        "### 7.1 Association policies",
        table(("Parameter", "Value"), (
            ("Application context", "1.2.840.10008.3.1.1.1"),
            ("Implementation Class UID", IMPLEMENTATION_CLASS_UID),
            ("Implementation Version Name", IMPLEMENTATION_VERSION),
            ("Maximum PDU length received", f"{limits.max_pdu_bytes:,} bytes"),
            ("Associations accepted at once", settings.max_associations),
            ("Associations opened at once", "1 a target"),
            ("Asynchronous operations", "not negotiated: 1"),
            ("Role selection, extended negotiation, user identity", "not answered"),
            ("Time to a whole A-ASSOCIATE-RQ", f"{limits.hello_s:g} s"),
            ("Longest A-ASSOCIATE-RQ", f"{limits.max_associate_bytes // MIB} MiB"),
            ("Idle time between messages", f"{limits.idle_s:g} s"),
            ("Time for one PDU, for one message", f"{limits.pdu_s:g} s, {limits.message_s:g} s"),
        )),
        table(("An association is rejected when", "Result", "Source", "Reason"), REJECTIONS),
        "### 7.2 Presentation contexts accepted",
        f"Verification ({ECHO_CLASS}) in Explicit and Implicit VR Little Endian. Every image class of 1.2 in each of these; of "
        "several in one context the first of this table is chosen:",
        table(("Transfer syntax", "UID"), ((name, uid) for uid, name in TRANSFER_SYNTAXES.items())),
        "### 7.3 Media\n\nNone.",
    ))


def _security(settings: Settings, site: Site) -> str:
    on = "on" if settings.tls_cert else "off"
    asked = "asked of every peer" if settings.tls_ca else "not asked"
    secured = sum(one.tls or one.url.startswith("https:") for one in site.targets)
    return "\n\n".join((
        "## 8 Security",
        "BCP 195 RFC 9325 TLS profile (PS3.15, B.12), for the receiver and each target: TLS 1.2 or 1.3, with TLS 1.2 only\n\n"
        + "\n".join(f"- {cipher}" for cipher in CIPHERS),
        f"Here: TLS of the receiver {on}, certificates {asked}; {secured} of {len(site.targets)} targets over TLS. The web server "
        "asks for a bearer token when one is set; TLS is the proxy's in front. Logs, metrics and messages hold no value of an image.",
    ))


def _annexes() -> str:
    kept = ", ".join((*WORDS["inherited"]["patient"], *WORDS["inherited"]["study"]))
    return "\n\n".join((
        "## Annex A Information objects created",
        table(("Object", "Class", "UID", "Content"), ((kind, name, uid, what) for kind, (uid, name, what) in WRITTEN.items())),
        "A manifest names which of them a model makes. UIDs are derived from series, model, version and revision: made again, an "
        "object is the same byte for byte.",
        "## Annex B Structured reports",
        "Comprehensive 3D SR, PRELIMINARY, COMPLETE, UNVERIFIED; the observer is a device. Findings of the image and volumes are in "
        "one report, zones drawn on the image in another of the same study. When nothing was assessed, the report has no findings: "
        f"(assessment, {OURS}) is (not-assessed, {OURS}), and for each model its reason, the reason in words and what to do.",
        table(("Template", "Where", "Used for"), TEMPLATES),
        table(("Context group", "Where", "Codes used"), CONTEXT_GROUPS),
        "Where the clinician's page is on (DIAPHANE_REVIEW), a verdict of a professional makes both reports once more: FINAL, "
        "COMPLETE, VERIFIED, with Verifying Observer Sequence (name, organisation, date and time, RPPS as (number, 99RPPS)), the one "
        "they replace in Predecessor Documents Sequence, a person as second observer (TID 1003), the same tracking UIDs, and for "
        f"each finding (reader-verdict, {OURS}) and (reader-finding, {OURS}) of CID 240. A rejected result is withdrawn by a "
        "Key Object Selection Document (1.2.840.10008.5.1.4.1.1.88.59) titled from CID 7011, (113001, "
        "DCM) or (113037, DCM), as IHE Imaging Object Change Management (RAD-66) has it; from then on "
        "QIDO-RS and WADO-RS leave its objects out here.",
        "## Annex C Security details\n\nSee 8.",
        f"## Annex D Mapping of attributes\n\nCopied unchanged from the source: {kept}.",
        "## Annex E Code sets",
        f"DCM, SCT, UCUM, LN, UMLS, RFC5646 and {OURS} (named in Coding Scheme Identification Sequence), of which the values are:",
        table((f"Code value ({OURS})", "Code meaning (en)", "Code meaning (fr)"), _private()),
        f"Also as {OURS}: the code of 5.1 of an image that cannot be read, and a manifest's code whose system has no designator.",
        "Character sets: received are all of PS3.3 C.12.1.1.2; created are the source's single-byte set where it holds our words, "
        "else ISO_IR 192.",
    ))


def _private() -> list[tuple[str, str, str]]:
    """Return the codes of our own scheme: concepts of reports, then reasons for which a model declines."""
    reasons = {name.replace("_", "-"): said for name, said in PICTURE_WORDS["reasons"].items()}
    return [(name, said["en"], said["fr"]) for name, said in (WORDS["concepts"] | reasons).items()]


def _made() -> dict[str, str]:
    return {uid: name for uid, name, _ in WRITTEN.values()}


def _statuses() -> list[tuple[str, str, str]]:
    words: dict[int, list[str]] = {}
    for code, status in STATUSES.items():
        words.setdefault(status, []).append(code)
    rows = [(f"{status:04X}", "refused", ", ".join(codes)) for status, codes in sorted(words.items())]
    return [
        ("0000", "kept, on disk", ""), (f"{PROCESSING_FAILURE:04X}", "could not be kept, our fault", "internal, store_refused"),
        (f"{UNRECOGNISED_OPERATION:04X}", "no C-STORE or C-ECHO", ""),
        (f"{OUT_OF_RESOURCES:04X}", "could not be kept now; send again", "no_room, store_full, store_unreachable, store_unwritable"),
        (f"{CANNOT_UNDERSTAND:04X}", "refused for another reason", "the code of the reason"), *rows,
    ]
