"""Run the service until it is told to stop: one process by default, several under uvicorn's supervisor."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import socket
import sys
import tempfile

import typer
import uvicorn
from starlette.types import ASGIApp
from uvicorn.supervisors import Multiprocess

from service import logs
from service.front import Front
from service.settings import MIB, Settings, read_settings, to_environ

_PR_SET_PDEATHSIG = 1  # prctl(2)
_MALLOC = {-8: 1, -1: 256 * MIB, -3: 32 * MIB}  # M_ARENA_MAX, M_TRIM_THRESHOLD, M_MMAP_THRESHOLD of malloc.h
WITH_PARENT = "DIAPHANE_WITH_PARENT"


def serve(settings: Settings) -> None:
    """Listen, print the address on stdout, serve. Returns after SIGTERM or SIGINT, once running requests are done."""
    os.environ.update(to_environ(settings))
    logs.set_up(settings.log_level)
    listening = _listen(settings.host, settings.port)
    host, port = listening.getsockname()[:2]
    address = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    typer.echo(f"Diaphane listens on {address}")
    if settings.review:
        _show_login(settings, address)
    if settings.workers == 1:
        uvicorn.Server(_config(settings, application())).run(sockets=[listening])
        return
    counts = tempfile.mkdtemp(prefix="diaphane-counts-")
    die_with_parent()
    os.environ |= {"PROMETHEUS_MULTIPROC_DIR": counts, WITH_PARENT: str(os.getpid())}
    try:
        Multiprocess(_config(settings, "service.serve:application"), [listening]).run()
    finally:
        shutil.rmtree(counts, ignore_errors=True)


def _show_login(settings: Settings, address: str) -> None:
    """Print how to log in: where, or with which link where nobody but this machine's user can."""
    from service.access.links import new_link  # noqa: PLC0415  only where there is a page
    from service.site import read_site  # noqa: PLC0415
    from service.store.store import Store  # noqa: PLC0415

    site = read_site(settings.site)
    if site.access.providers:
        typer.echo(f"Log in at {settings.public_url or address}/review")
        return
    store = Store.open(settings)
    try:
        typer.echo(f"Log in, once and within ten minutes, with {new_link(store, settings, site, address)}")
    finally:
        store.close()


def application() -> ASGIApp:
    """Build the application of this process. The import is here because it reads the settings of the environment."""
    logs.set_up(read_settings().log_level)
    die_with_parent()
    keep_memory()
    from service.app import asgi  # noqa: PLC0415  see above

    return asgi()


def die_with_parent() -> None:
    """Ask Linux to send SIGTERM to this process when the parent that named itself in the environment dies.

    So a killed supervisor or demonstration leaves no orphan that keeps the port.
    """
    parent = os.environ.get(WITH_PARENT)
    if parent and sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        if str(os.getppid()) != parent:  # it died before we asked
            raise SystemExit(1)


def keep_memory() -> None:
    """Ask glibc to keep the memory of one image for the next, in one heap for all threads.

    By default each scoring thread gives its megabytes back to Linux after every image and faults them in again: 20 % of
    the service's CPU on 512 x 512 radiographs. Elsewhere than on glibc nothing is done. See mallopt(3).
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt and sys.platform == "linux":
        for parameter, value in _MALLOC.items():
            mallopt(parameter, value)


def return_memory() -> None:
    """Ask glibc to give Linux back what is free, where a job a second leaves it scattered. See malloc_trim(3)."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim and sys.platform == "linux":
        trim(0)


def _config(settings: Settings, app: ASGIApp | str) -> uvicorn.Config:
    return uvicorn.Config(
        app, factory=isinstance(app, str), workers=settings.workers, log_config=None, access_log=False,
        server_header=False, date_header=True, timeout_keep_alive=30, timeout_graceful_shutdown=settings.drain_s,
        lifespan="on", backlog=2048, http=Front, ws="none", timeout_worker_healthcheck=60,
    )


def _listen(host: str, port: int) -> socket.socket:
    """Bind and listen. Raises OSError when the address is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError:
        listening.close()
        raise
    listening.set_inheritable(True)
    return listening
