"""The BentoML service: builds Settings, Scoring and Metrics, mounts the web. The only file that imports bentoml.

BentoML is a thin host here. Its tracing, access log, metrics and index page are off or replaced: they print paths.
"""

from __future__ import annotations

import os
from typing import Any

os.environ.setdefault("BENTOML_DO_NOT_TRACK", "True")  # before the import, which reads it

import bentoml
from starlette.types import ASGIApp

from service.guard import Guard
from service.metrics import Metrics
from service.scoring import Scoring
from service.settings import read_settings
from service.trust import Trust
from service.web import Web

SETTINGS = read_settings()
METRICS = Metrics()
SCORING = Scoring(SETTINGS)
DICOMWEB = None
if SETTINGS.dicomweb:  # else the store and its libraries are not even imported
    from service.dicom.routes import DicomWeb

    DICOMWEB = DicomWeb(SETTINGS)
EHR = None
if SETTINGS.ehr:
    from service.ehr import Ehr

    EHR = Ehr(SETTINGS, SCORING, METRICS)
TRUST = Trust(SETTINGS, SCORING, DICOMWEB)
WEB = Web(SETTINGS, SCORING, METRICS, DICOMWEB, EHR).app()
# Our own limits answer first, as problem+json; this one only ends what hangs. A study, a population as NDJSON and what was
# made of it may take an hour on their way.
LONGEST_S = 3600.0 if SETTINGS.dicomweb or SETTINGS.ehr else SETTINGS.upload_timeout_s + SETTINGS.timeout_s + 5


@bentoml.service(
    name="diaphane",
    workers=SETTINGS.workers,
    threads=SETTINGS.concurrent_scorings,
    metrics={"enabled": False},
    logging={"access": {"enabled": False}},
    tracing={"excluded_urls": ".*"},
    traffic={"timeout": LONGEST_S},
)
@bentoml.asgi_app(WEB, path="/")
class Diaphane:
    """One process: open the releases at the start, answer until told to stop."""

    @bentoml.on_startup  # type: ignore[untyped-decorator]
    def begin(self) -> None:
        """Open the store, and the releases in the background; /readyz says when they are ready."""
        for room in (DICOMWEB, EHR):
            if room:
                room.open()
        if not EHR:  # else the house does it
            TRUST.open()
        SCORING.start()

    @bentoml.on_shutdown  # type: ignore[untyped-decorator]
    def end(self) -> None:
        """Let running work finish."""
        TRUST.close()
        for room in (EHR, DICOMWEB):
            if room:
                room.close()
        SCORING.stop()

    def __is_ready__(self) -> bool:
        return SCORING.ready


SERVICE: Any = Diaphane  # the decorator made a bentoml.Service of it
SERVICE.add_asgi_middleware(Guard, settings=SETTINGS, metrics=METRICS)


def asgi() -> ASGIApp:
    """Build the ASGI application of one worker process, as BentoML's own worker does."""
    app: ASGIApp = SERVICE.to_asgi(is_main=True)
    return app
