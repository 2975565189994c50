"""The demonstration of the clinician's page: a node with the page, samples waiting in its list, and a link to log in with.

Everything runs on free ports of loopback. The store stays in its folder until the next demonstration, which begins anew.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from pydantic import SecretStr
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from service.access.caller import Caller
from service.access.links import new_link
from service.access.policy import ROLES
from service.demo_ward import CARDIOLOGY, HOSPITAL, NEUROLOGY, PAEDIATRICS, WARDS, ZONE, arrivals, askings, now, sensors
from service.dicom import stow_client
from service.lives import end
from service.orthanc import free_ports
from service.serve import WITH_PARENT
from service.settings import PREFIX, Settings, read_settings, to_environ
from service.site import Target, read_site
from service.store import entries
from service.store.store import Store

START_S, STOP_S, PATIENCE_S = 300.0, 40.0, 300.0  # a machine that is busy with other things takes its time
OWNER = Caller("local:owner", name="Dr Camille Essai", family="Essai", given="Camille", rpps="10999999999", profession="Médecin",
               structure="Hôpital Essai", roles=frozenset(ROLES))  # nobody: the number is of no register
SITE = """# The site of the demonstration.
[device]
institution = "{hospital}"
language = "fr"
time_zone = "{zone}"
[identity]
accept = "test"
[organisation]
name = "{hospital}"
finess = "010000001"
oid = "1.2.3.4"
[commissioning]
required = false  # nobody is treated by what a demonstration says
[review.departments]
{departments}
"""
MARK = "demo-review"  # the file that says a store is of a demonstration, and may be deleted
_KEPT = frozenset({"DIAPHANE_PROVIDER", "DIAPHANE_PRECISION", "DIAPHANE_RELEASED", "DIAPHANE_SESSION_THREADS"})


@dataclass(frozen=True)
class Sent:
    """What was sent: study UID by sample, how many risks and how many people with sensors."""

    studies: dict[str, str] = field(default_factory=dict)
    risks: int = 0
    sensors: int = 0


class NotShownError(Exception):
    """The demonstration cannot go on."""


def run(samples: Path, folder: Path, console: Console | None = None, *, port: int = 0) -> int:
    """Start everything, send the samples, print the link, and stay up until Ctrl-C."""
    console = console or Console()
    if folder.exists() and any(folder.iterdir()) and not (folder / MARK).exists():
        console.print(f"{folder} must be empty or of an earlier demonstration, found something else. Name another with --store.")
        return 1
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / MARK).touch()
    (folder / "site.toml").write_text(site_toml(), encoding="utf-8")
    settings = settings_for(folder, port=port)
    try:
        with node(settings, folder / "node.log") as process, Progress(
            SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn(), console=console, transient=True,
        ) as progress:
            step = progress.add_task("Starting, and checking the models")
            wait_ready(settings, process)
            progress.update(step, description="Sending studies, records and readings")
            sent = send(settings, samples)
            progress.update(step, description="Waiting until they are scored")
            store = Store.open(settings)
            try:
                wait_listed(store, sent)
                link = new_link(store, settings, read_site(settings.site), who=OWNER)
            finally:
                store.close()
            progress.stop()
            console.print(f"{len(sent.studies)} studies, {sent.risks} risks and {sent.sensors} glucose sensors wait in the list.")
            console.print("Log in, once and within ten minutes, with")
            console.print(link, style="bold", soft_wrap=True, highlight=False)
            console.print("Ctrl-C ends it. Decision support: results of AI, to be confirmed by a professional. Not a medical device.")
            process.wait()
            console.print(f"The service ended by itself. See {folder / 'node.log'}.")
            return 1
    except KeyboardInterrupt:
        console.print("Stopped.")
        return 0
    except (NotShownError, httpx.HTTPError) as error:
        console.print(f"[red]The demonstration stopped:[/] {error or type(error).__name__}. See {folder / 'node.log'}.")
        return 1


def site_toml() -> str:
    """Write the site file: departments bear the names that images and records give them."""
    names = dict.fromkeys((PAEDIATRICS, NEUROLOGY, CARDIOLOGY, *WARDS))
    return SITE.format(zone=ZONE, hospital=HOSPITAL, departments="\n".join(f'"{name}" = "{name}"' for name in names))


def settings_for(folder: Path, *, port: int = 0) -> Settings:
    """Return the settings of the demonstration: loopback, free ports, a store of its own, a token nobody knows."""
    http, dicom = free_ports(2)
    kept = {name: value for name, value in os.environ.items() if name in _KEPT}
    return read_settings(
        kept, store=folder / "store", site=folder / "site.toml", port=port or http, dicom_port=dicom, dicomweb=True, review=True,
        api_token=SecretStr(secrets.token_urlsafe(32)), quiet_s=2.0, release_quiet_s=0.5,
    )


@contextmanager
def node(settings: Settings, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run every process of an installation; they are stopped whatever happens."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "service", "node"], cwd=Path(__file__).resolve().parents[1], stdin=subprocess.DEVNULL,
            env=kept | to_environ(settings) | {WITH_PARENT: str(os.getpid())}, stdout=file, stderr=file, start_new_session=True,
        )
        try:
            yield process
        finally:
            end(process, STOP_S, session=True)


def wait_ready(settings: Settings, process: subprocess.Popen[bytes]) -> None:
    """Wait until every model reproduced its golden inputs. Raises NotShownError."""
    until = time.monotonic() + START_S
    while process.poll() is None and time.monotonic() < until:
        try:
            if httpx.get(f"{_root(settings)}/readyz", timeout=5, trust_env=False).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise NotShownError("the service did not become ready")


def send(settings: Settings, samples: Path) -> Sent:
    """Send the studies by STOW-RS, the records to $predict and the readings of sensors. Raises NotShownError."""
    root, token, at = _root(settings), settings.api_token, now()
    pacs = Target.model_validate({"name": "demo", "kind": "stow", "url": f"{root}/dicom-web", "token": token})
    studies: dict[str, str] = {}
    for study in arrivals(samples, at):
        stow_client.store(pacs, study.files)
        studies[study.sample] = study.uid
    risks = 0
    headers = {"authorization": f"Bearer {token.get_secret_value()}", "content-type": "application/fhir+json"}
    with httpx.Client(base_url=root, headers=headers, timeout=120, trust_env=False) as client:
        for asking in askings(samples, at):
            told: list[dict[str, object]] = [{"name": "model", "valueString": asking.model}]
            if asking.moment:
                told.append({"name": "moment", "valueDateTime": asking.moment.isoformat()})
            told.append({"name": "subject", "resource": asking.record})
            _post(client, "/fhir/$predict", {"resourceType": "Parameters", "parameter": told})
            risks += 1
        people = list(sensors(at))
        for bundle in people:
            _post(client, "/fhir", bundle)
    return Sent(studies, risks, len(people))


def wait_listed(store: Store, sent: Sent) -> None:
    """Wait until every study that was sent is in the list with its results. Raises NotShownError."""
    until = time.monotonic() + PATIENCE_S
    missing = set(sent.studies.values())
    while missing:
        missing = {uid for uid in missing if not _is_scored(store, uid)}
        if time.monotonic() > until:
            raise NotShownError(f"{len(missing)} of {len(sent.studies)} studies are not in the list")
        time.sleep(0.2)


def _is_scored(store: Store, uid: str) -> bool:
    entry = entries.by_target(store, "study", uid)
    return entry is not None and bool(entry.model or entry.reason)


def _post(client: httpx.Client, address: str, body: dict[str, object]) -> None:
    answer = client.post(address, json=body)
    if answer.status_code >= 300:
        raise NotShownError(f"{address} answered {answer.status_code}")


def _root(settings: Settings) -> str:
    return f"http://127.0.0.1:{settings.port}"
