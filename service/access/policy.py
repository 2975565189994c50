"""Policy: which role may do what, and which permission each address needs. What is not in the tables is denied."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal, get_args

Role = Literal["clinician", "radiologist", "engineer", "administrator", "dpo", "steward", "system"]
ROLES: tuple[Role, ...] = get_args(Role)
Permission = Literal[
    "worklist", "study", "risk", "verdict_image", "verdict_risk", "report", "sign", "model", "replay", "operate", "audit", "rights",
    "configure", "commission", "watch", "learn", "api_score", "api_dicomweb", "api_fhir", "api_report",
]
_CLINICIAN: frozenset[Permission] = frozenset({"worklist", "study", "risk", "verdict_risk", "model", "replay"})
_SYSTEM: frozenset[Permission] = frozenset({"api_score", "api_dicomweb", "api_fhir", "api_report", "operate"})
PERMISSIONS: Mapping[Role, frozenset[Permission]] = {
    "clinician": _CLINICIAN,
    "radiologist": _CLINICIAN | {"verdict_image", "report", "sign", "watch", "learn"},
    "engineer": frozenset({"model", "replay", "operate", "watch"}),
    "administrator": frozenset({"audit", "configure", "operate", "model", "watch"}),
    "dpo": frozenset({"audit", "rights", "model", "watch"}),
    "steward": frozenset({"model", "replay", "operate", "commission", "watch", "learn"}),  # who answers for AI here
    "system": _SYSTEM,
}
PATIENT_ROLES: frozenset[str] = frozenset({"clinician", "radiologist", "system"})  # that open what is about patients, by department
OPEN = "open"  # nobody is asked who they are, but it is known where they show it: the login itself, the language
FILES = "files"  # nobody is even looked for: what a page looks like says nothing of anybody
ANYBODY = "anybody"  # whoever is logged in, with whatever roles
CDS_CLIENT = "cds_client"  # the room checks the signed tokens of CDS clients; where none are named, api_fhir is needed
_API = ("api_score", "api_dicomweb", "api_fhir", "api_report")

# method and address → what opens it; of several permissions one is enough. {} stands for any one part, HEAD is as GET.
ADDRESSES: Mapping[str, str | tuple[Permission, ...]] = {
    # service/web.py
    "GET /": ANYBODY,
    "GET /v1/openapi.json": ANYBODY,
    "GET /metrics": ("operate",),
    "POST /v1/images": ("api_score",),
    "POST /v1/records": ("api_score",),
    "POST /v1/department": ("api_score",),
    "GET /v1/models": ("model", "api_score"),
    "GET /v1/models/{}": ("model", "api_score"),
    "GET /v1/models/{}/card": ("model", "api_score"),
    "GET /v1/models/{}/manifest": ("model", "api_score"),
    # service/reporting
    "GET /v1/studies/{}/report": ("api_report",),
    "PUT /v1/studies/{}/report": ("api_report",),
    "POST /v1/studies/{}/report/draft": ("api_report",),
    "POST /v1/studies/{}/report/validation": ("api_report",),
    "GET /v1/studies/{}/report/versions": ("api_report",),
    # service/dicom, service/fhir and service/monitoring: everything below the root
    "* /dicom-web/": ("api_dicomweb",),
    "* /fhir": ("api_fhir",),
    "* /fhir/": ("api_fhir",),
    # service/cds_hooks
    "GET /cds-services": CDS_CLIENT,
    "POST /cds-services/{}": CDS_CLIENT,
    "POST /cds-services/{}/feedback": CDS_CLIENT,
    "OPTIONS /cds-services": FILES,  # a browser asks before it calls, without credentials
    "OPTIONS /cds-services/{}": FILES,
    "OPTIONS /cds-services/{}/feedback": FILES,
    # service/access
    "GET /review/login": OPEN,
    "GET /review/login/{}": OPEN,
    "GET /review/callback": OPEN,
    "GET /review/logout": OPEN,
    "POST /review/logout": ANYBODY,
    "GET /review/sessions": ANYBODY,
    "POST /review/sessions": ANYBODY,
    "GET /review/static/{}": FILES,
    "POST /review/language": OPEN,
    # service/review
    "GET /review": ("worklist",),
    "GET /review/events": ("worklist",),
    "GET /review/rows": ("worklist",),
    "GET /review/live": ("worklist",),
    "GET /review/next": ("worklist",),
    "POST /review/search": ("worklist",),
    "GET /review/e/{}": ("worklist",),
    "GET /review/models": ("model",),
    "GET /review/models/{}": ("model",),
    "GET /review/department": ("risk",),
    # service/review/image
    "GET /review/studies/{}": ("study",),
    "GET /review/studies/{}/images.json": ("study",),
    "GET /review/studies/{}/images/{}/{}.png": ("study",),
    "GET /review/studies/{}/images/{}/{}.json": ("study",),
    "GET /review/studies/{}/layers/{}/{}.json": ("study",),
    "GET /review/studies/{}/layers/{}/{}/{}.png": ("study",),
    # service/review/risk and service/review/verdict
    "GET /review/risks/{}": ("risk",),
    "POST /review/risks/{}/what-if": ("risk",),
    "POST /review/studies/{}/verdict": ("verdict_image",),
    "POST /review/risks/{}/verdict": ("verdict_risk",),
    # service/review/audit
    "GET /fhir/AuditEvent": ("audit",),
    "GET /fhir/AuditEvent/{}": ("audit",),
    "GET /review/audit": ("audit",),
    "POST /review/audit/export": ("audit",),
    "GET /review/persons": ("audit",),
    "POST /review/persons": ("audit",),
    "POST /review/persons/export": ("audit",),
    # service/review/rights
    "GET /review/rights": ("rights",),
    "POST /review/rights": ("rights",),
    "POST /review/rights/export": ("rights",),
    "POST /review/rights/standing": ("rights",),
    "POST /review/rights/erase": ("rights",),
    # service/review/releases
    "GET /review/releases": ("model",),
    "GET /review/releases/{}": ("model",),
    "POST /review/releases/{}": ("commission",),
    "POST /review/releases/{}/sign": ("commission",),
    # service/review/learn
    "GET /review/learn": ("learn",),
    "POST /review/learn": ("learn",),
    # service/review/monitor
    "GET /review/monitor": ("watch",),
    "GET /review/monitor/{}": ("watch",),
    "POST /review/monitor/alarms/{}": ("watch",),
    # service/review/report and service/review/model
    "GET /review/studies/{}/report": ("report",),
    "POST /review/studies/{}/report": ("report",),
    "GET /review/studies/{}/report/versions/{}": ("report",),
    "GET /review/studies/{}/report/file/{}": ("report",),
    "GET /review/results/{}/about": ("study", "risk", "replay"),
    "POST /review/results/{}/replay": ("replay",),
    # elsewhere: an address that is none
    "* /{}": ANYBODY,
}
_PART = re.compile(r"\{[^}]*\}")


def shape_of(template: str) -> str:
    """Return the template of a route with the names of its parts left out: ``/a/{key}.{kind}`` → ``/a/{}.{}``."""
    return _PART.sub("{}", template)


def opens(method: str, template: str) -> str | tuple[Permission, ...] | None:
    """Return what opens an address, None when the table says nothing: then nobody may."""
    shape = shape_of(template)
    method = "GET" if method == "HEAD" else method
    told = ADDRESSES.get(f"{method} {shape}") or ADDRESSES.get(f"* {shape}")
    if told is not None:
        return told
    for root in ("/dicom-web/", "/fhir/"):
        if shape.startswith(root):
            return ADDRESSES[f"* {root}"]
    return ADDRESSES["* /fhir"] if shape == "/fhir{}" else None
