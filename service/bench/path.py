"""The full path: radiographs to a node at a steady rate, its reports into Orthanc, timed from outside and counted one by one."""

from __future__ import annotations

import subprocess
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from service.bench.images import INSTANCE, radiographs, renamed, uid_of
from service.bench.machine import Others, command_of, cpu_s, family, rss_mib
from service.bench.servers import START_S, NotMeasurable, echoes, end, free_port, orthanc_pid, program, spawn
from service.dicom.finish import SERIES_NUMBERS
from service.orthanc import AE_TITLE, Orthanc
from service.settings import Settings, read_settings
from service.store.ledger import counts
from service.store.store import Store

LOOK_S = 0.1  # between two looks at what came into the PACS
MEMORY_S = 2.0  # between two looks at the memory
PATIENCE_S = 120.0  # after the last study
REPORT = str(SERIES_NUMBERS["sr"])  # the series of image-level reports; those of zones name the same images again


@dataclass
class Passage:
    """What happened. Times are seconds of one clock; memory is MiB by process, a value every MEMORY_S."""

    sent_at: dict[str, float] = field(default_factory=dict)  # image → when the sending of its study began
    study_of: dict[str, int] = field(default_factory=dict)
    reports: Counter[str] = field(default_factory=Counter)  # image → reports in the PACS that name it as evidence
    reported_at: dict[str, float] = field(default_factory=dict)
    strangers: int = 0  # reports that name no image that was sent
    objects: int = 0  # everything that came into the PACS
    unsent: int = 0  # studies whose sender did not end well
    memory: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    late_s: float = 0.0  # by how much the sending of a study began too late, at the most
    lasted_s: float = 0.0
    cpu_s: float = 0.0  # of all our processes
    others_share: float = 0.0
    unfinished: int = 0  # cases, jobs and deliveries of the store that are not done in the end

    @property
    def latencies_s(self) -> list[float]:
        """Return, study by study, the time from the start of sending to the last of its reports in the PACS."""
        ends: dict[int, float] = defaultdict(float)
        starts: dict[int, float] = {}
        for image, study in self.study_of.items():
            starts[study] = self.sent_at[image]
            ends[study] = max(ends[study], self.reported_at.get(image, float("inf")))
        return [ends[study] - starts[study] for study in sorted(starts) if ends[study] < float("inf")]

    @property
    def lost(self) -> int:
        """Count images without a report."""
        return sum(not self.reports[image] for image in self.sent_at)

    @property
    def doubled(self) -> int:
        """Count images in more than one report."""
        return sum(self.reports[image] > 1 for image in self.sent_at)


def measure(
    folder: Path, seconds: float, *, studies_per_h: float, images_per_study: int, side_px: int, workers: int,
    progress: Callable[[float], None],
) -> Passage:
    """Send studies at that rate for ``seconds``, wait until all is reported, and tell. Raises NotMeasurable."""
    found = Passage()
    templates = radiographs(side_px)
    with Orthanc(folder / "orthanc") as orthanc, _node(folder, orthanc, workers) as (pid, settings):
        pids = {"orthanc": orthanc_pid(), "node": pid}
        stop = threading.Event()
        watching = [threading.Thread(target=_watch_pacs, args=(orthanc, found, stop)),
                    threading.Thread(target=_watch_memory, args=(pids, found, stop))]
        for thread in watching:
            thread.start()
        others, began, used_s = Others(list(pids.values())), time.monotonic(), cpu_s(family(pid))
        try:
            _send(templates, settings, found, seconds, 3600 / studies_per_h, images_per_study, progress)
            until = time.monotonic() + PATIENCE_S
            while found.lost and time.monotonic() < until:
                time.sleep(LOOK_S)
            found.unfinished = _unfinished(settings, until)
            time.sleep(1.0)  # whatever is doubled may still come
        finally:
            found.lasted_s, found.others_share = time.monotonic() - began, others.share()
            found.cpu_s = cpu_s(family(pid)) - used_s
            stop.set()
            for thread in watching:
                thread.join()
    return found


def _send(
    templates: list[bytes], settings: Settings, found: Passage, seconds: float, every_s: float, images: int,
    progress: Callable[[float], None],
) -> None:
    """Send one study every so often, each by a dcmsend of its own, without waiting for the one before."""
    sending: list[_Sender] = []
    began, study = time.monotonic(), 0
    with tempfile.TemporaryDirectory() as name:
        while study * every_s < seconds:
            paths = []
            for place in range(images):
                number = study * images + place
                path = Path(name) / f"{number}.dcm"
                path.write_bytes(renamed(templates[number % len(templates)], study=study, series=number, instance=number))
                paths.append(path)
            time.sleep(max(0.0, began + study * every_s - time.monotonic()))
            now = time.monotonic()
            found.late_s = max(found.late_s, now - began - study * every_s)
            for number in range(study * images, study * images + images):
                uid = uid_of(INSTANCE, number)
                found.study_of[uid], found.sent_at[uid] = study, now
            sending.append(_Sender(paths, settings))
            found.unsent += _ended(sending)
            study += 1
            progress(min(1.0, study * every_s / seconds))
        for one in sending:
            found.unsent += one.process.wait(PATIENCE_S) != 0


class _Sender:
    """One dcmsend with its files."""

    def __init__(self, paths: list[Path], settings: Settings) -> None:
        self.paths = paths
        words = [program("dcmsend"), "-q", "-aet", "BENCH", "-aec", settings.ae_title, "127.0.0.1", str(settings.dicom_port)]
        self.process = subprocess.Popen([*words, *map(str, paths)], stdin=subprocess.DEVNULL,  # noqa: S603  found on the path
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _ended(sending: list[_Sender]) -> int:
    """Forget the senders that ended, with their files; return how many did not end well."""
    over = [one for one in sending if one.process.poll() is not None]
    for one in over:
        sending.remove(one)
        for path in one.paths:
            path.unlink()
    return sum(one.process.returncode != 0 for one in over)


def _watch_pacs(orthanc: Orthanc, found: Passage, stop: threading.Event) -> None:
    """Note every report when the PACS shows it, by the images in its evidence (PS3.3, C.17.2)."""
    since = 0
    with httpx.Client(base_url=orthanc.url, timeout=30) as client:
        while not stop.wait(LOOK_S):
            told = client.get("/changes", params={"since": since, "limit": 500}).json()
            now = time.monotonic()
            since = told["Last"]
            for change in told["Changes"]:
                if change["ChangeType"] == "NewInstance":
                    found.objects += 1
                    _note(client, change["ID"], found, now)


def _note(client: httpx.Client, instance: str, found: Passage, now: float) -> None:
    tags = client.get(f"/instances/{instance}/simplified-tags").json()
    if tags.get("Modality") != "SR" or tags.get("SeriesNumber") != REPORT:
        return
    named = {
        one["ReferencedSOPInstanceUID"]
        for study in tags["CurrentRequestedProcedureEvidenceSequence"] for series in study["ReferencedSeriesSequence"]
        for one in series["ReferencedSOPSequence"]
    } & found.sent_at.keys()
    found.strangers += not named
    for uid in named:
        found.reports[uid] += 1
        found.reported_at.setdefault(uid, now)


def _watch_memory(pids: dict[str, int], found: Passage, stop: threading.Event) -> None:
    """Note the memory of every process: those of one command together, so that one that was replaced leaves no gap."""
    looks = 0
    while True:
        now: dict[str, float] = defaultdict(float)
        for pid in [*family(pids["node"]), pids["orthanc"]]:
            now[command_of(pid)] += rss_mib(pid)
        for name in found.memory.keys() | now.keys():
            values = found.memory[name]
            values += [0.0] * (looks - len(values)) + [now[name]]
        looks += 1
        if stop.wait(MEMORY_S):
            return


@contextmanager
def _node(folder: Path, orthanc: Orthanc, workers: int) -> Iterator[tuple[int, Settings]]:
    """Run ``python -m service node`` with the released models, delivering to the PACS."""
    site = folder / "site.toml"
    site.write_text('[commissioning]\nrequired = false\n'
                    f'[[targets]]\nname = "orthanc"\nkind = "dimse"\nhost = "127.0.0.1"\nport = {orthanc.dicom_port}\n'
                    f'ae_title = "{AE_TITLE}"\n', encoding="utf-8")
    settings = read_settings({}, store=folder / "store", site=site, port=free_port(), dicom_port=free_port(), dicomweb=True,
                             log_level="info")
    log = folder / "node.log"
    process = spawn(["-m", "service", "node", "--workers", str(workers)], log, settings)
    try:
        until = time.monotonic() + START_S
        while not (log.read_text(encoding="utf-8").count("Diaphane scores with") >= workers
                   and echoes(settings.dicom_port, settings.ae_title)):
            if process.poll() is not None or time.monotonic() > until:
                raise NotMeasurable("the node does not start; see node.log")
            time.sleep(0.2)
        yield process.pid, settings
    finally:
        end(process)


def _unfinished(settings: Settings, until: float) -> int:
    """Wait until everything in the store is done; return how much is not when ``until`` has come."""
    store = Store.open(settings)
    try:
        while True:
            held = counts(store)
            states = [held["jobs"], *held["deliveries"].values()]
            left = held["cases_waiting"] + sum(number for one in states for state, number in one.items() if state != "done")
            if not left or time.monotonic() > until:
                return int(left)
            time.sleep(LOOK_S)
    finally:
        store.close()
