"""Ingest: CT images over eight associations into our receiver, Orthanc and a plain receiver, in turns on one disk."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from service.bench.images import ct_image, renamed
from service.bench.machine import Others, cpu_s, family
from service.bench.servers import Server, diaphane_receiver, orthanc_receiver, program, storescp_receiver

ASSOCIATIONS = 8
RECEIVERS: dict[str, Callable[[Path], Server]] = {
    "Diaphane": diaphane_receiver, "Orthanc": orthanc_receiver, "pynetdicom storescp": storescp_receiver,
}
SEND_S = 300.0


@dataclass
class Rates:
    """What one receiver did: a value a round."""

    name: str
    syncs: str
    images_per_s: list[float] = field(default_factory=list)
    cpu_ms_per_image: list[float] = field(default_factory=list)
    sent: int = 0
    held: int = 0  # that it has in the end


def measure(folder: Path, seconds: float, *, images: int, progress: Callable[[float], None]) -> tuple[list[Rates], float]:
    """Send ``images`` over each association to each receiver in turns until ``seconds`` are over; two rounds at least.

    Each round has its own order and begins on a quiet disk. The first, which warms up, is not counted. Also return the
    share of the cores that other programs used.
    """
    servers: list[Server] = []
    try:
        servers += [start(folder / f"receiver-{place}") for place, start in enumerate(RECEIVERS.values())]
        rates = {server.name: Rates(server.name, server.syncs) for server in servers}
        template, number = ct_image(), 0
        began, others = time.monotonic(), Others([])
        rounds = 0
        while rounds < 3 or time.monotonic() - began < seconds:
            if rounds == 1:
                others = Others([server.pid for server in servers])
            for place in range(len(servers)):
                server = servers[(place + rounds) % len(servers)]
                number = _round(server, template, images, number, rates[server.name])
                progress(min(1.0, (time.monotonic() - began) / seconds))
            if rounds == 0:
                for one in rates.values():
                    one.images_per_s.clear()
                    one.cpu_ms_per_image.clear()
            rounds += 1
        for server in servers:
            rates[server.name].held = server.held()
        return list(rates.values()), others.share()
    finally:
        for server in servers:
            server.stop()


def _round(server: Server, template: bytes, images: int, number: int, rates: Rates) -> int:
    """Send to one server, over all associations at once; return the next number for a UID."""
    memory = Path("/dev/shm")  # noqa: S108  so that reading the images costs no disk
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as name:
        folders = []
        for association in range(ASSOCIATIONS):
            folder = Path(name) / str(association)
            folder.mkdir()
            for instance in range(number, number + images):
                (folder / f"{instance}.dcm").write_bytes(renamed(template, study=number, series=number, instance=instance))
            number += images
            folders.append(folder)
        os.sync()  # what another receiver left to be written is not to be paid for here
        before, began = cpu_s(family(server.pid)), time.perf_counter()
        send_all(server.port, server.ae_title, folders)
        lasted = time.perf_counter() - began
        rates.images_per_s.append(ASSOCIATIONS * images / lasted)
        rates.cpu_ms_per_image.append(1000 * (cpu_s(family(server.pid)) - before) / (ASSOCIATIONS * images))
        rates.sent += ASSOCIATIONS * images
    return number


def send_all(port: int, ae_title: str, folders: Sequence[Path]) -> None:
    """Send folders with one dcmsend each, all at once, and wait for them."""
    sending = [
        subprocess.Popen(  # noqa: S603  a program found on the path
            [program("dcmsend"), "-q", "-aet", "BENCH", "-aec", ae_title, "+sd", "127.0.0.1", str(port), str(folder)],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )
        for folder in folders
    ]
    for one in sending:
        one.wait(SEND_S)
