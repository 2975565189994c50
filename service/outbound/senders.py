"""SENDERS: every way out that is not DICOM, kind → the outlets a site file turns on. None is on unless it says so."""

from __future__ import annotations

from collections.abc import Callable

from service.fhir.push import fhir_outlets
from service.hl7v2.mllp import mllp_outlets
from service.outbound.outlet import Outlet
from service.site import Site
from service.xdm.folder import xdm_outlets

SENDERS: dict[str, Callable[[Site], list[Outlet]]] = {
    "fhir": fhir_outlets,
    "mllp": mllp_outlets,
    "xdm": xdm_outlets,
}


def outlets_of(site: Site) -> list[Outlet]:
    """Return where messages may go from this site."""
    return [outlet for outlets in SENDERS.values() for outlet in outlets(site)]
