"""The demonstration: start the service, send it every sample, show one table and pictures, leave nothing running."""

from __future__ import annotations

import base64
import io
import json
import os
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.markup import escape
from rich.progress import track
from rich.table import Table

from service.lives import end
from service.serve import WITH_PARENT
from service.settings import PREFIX

SAMPLES = Path(__file__).resolve().parents[1] / "data-samples"
START_S = 120.0
STOP_S = 15.0
_KEPT = frozenset({"DIAPHANE_PROVIDER", "DIAPHANE_PRECISION", "DIAPHANE_RELEASED", "DIAPHANE_SESSION_THREADS"})
_TYPES = {".dcm": "application/dicom", ".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg",
          ".zip": "application/zip", ".json": "application/fhir+json"}
_UNITS = {"a": "years", "{score}": "", "1": "", "mm[Hg]": "mmHg", "Cel": "°C", "mg/wk": "mg/week"}  # UCUM as it is written by hand
_STYLES = {"scored": "green", "refused": "yellow", "error": "red"}


@dataclass(frozen=True)
class Line:
    """One line of the table. ``as_expected`` is False when the answer is not what expected.json says."""

    sample: str
    model: str
    status: str
    result: str
    why: str
    ms: float
    as_expected: bool
    picture: bytes | None = None


def run(samples: Path, out: Path, language: str, console: Console | None = None) -> int:
    """Do the whole demonstration; 0 when every sample gave what expected.json says."""
    console = console or Console()
    try:
        expected: dict[str, dict[str, Any]] = json.loads((samples / "expected.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        console.print(f"{samples} must hold expected.json. Run from a whole clone, or name the folder with --samples.")
        return 1
    out.mkdir(parents=True, exist_ok=True)
    try:
        with service(out / "service.log", console) as address, httpx.Client(base_url=address, timeout=120) as client:
            lines = [send(client, samples, name, expected[name], language)
                     for name in track(sorted(expected), "Scoring the samples", console=console, transient=True)]
    except (NotStartedError, httpx.HTTPError) as error:
        console.print(f"[red]The demonstration stopped:[/] {error or type(error).__name__}. See {out / 'service.log'}.")
        return 1
    pictures = [_write(out, line) for line in lines if line.picture]
    console.print(table(lines))
    console.print(f"{len(pictures)} pictures are in {out.resolve()}")
    wrong = [line.sample for line in lines if not line.as_expected]
    for name in wrong:
        console.print(f"[red]{escape(name)} did not give what expected.json says: {_short(expected[name])}[/]")
    console.print("Decision support: results of AI, to be confirmed by a professional. Not a medical device.")
    return 1 if wrong else 0


class NotStartedError(Exception):
    """The service did not become ready."""


@contextmanager
def service(log: Path, console: Console) -> Iterator[str]:
    """Run the service on a free loopback port and give its address; it is stopped whatever happens."""
    environ = {name: value for name, value in os.environ.items() if name in _KEPT or not name.startswith(PREFIX)}
    with log.open("w", encoding="utf-8") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "service", "start", "--port", "0"], cwd=Path(__file__).resolve().parents[1],
            env=environ | {WITH_PARENT: str(os.getpid())}, stdout=subprocess.PIPE, stderr=file, text=True,
            start_new_session=True,
        )
        try:
            with console.status("Starting the service and checking the models"):
                address = _wait(process)
            yield address
        finally:
            _stop(process)


def send(client: httpx.Client, samples: Path, name: str, wanted: dict[str, Any], language: str) -> Line:
    """Send one sample and read its answer."""
    path = samples / name
    body, media_type = (_zip(path), "application/zip") if path.is_dir() else (path.read_bytes(), _type(path))
    if "url" in wanted:
        return _department(client, name, body, wanted, language)
    record = media_type == "application/fhir+json"
    url, query = ("/v1/records", {"picture": "png"}) if record else ("/v1/images", {"heatmap": "png"})
    if record and "model" in wanted:  # every risk model reads every record: show the one the record was made for
        query |= {"model": wanted["model"]}
    answer = client.post(url, params=query | {"language": language}, content=body, headers={"content-type": media_type})
    if answer.headers["content-type"].startswith("application/problem+json"):
        problem = answer.json()
        fits = wanted["status"] == "error" and wanted.get("reason", problem["code"]) == problem["code"]
        return Line(name, "", "error", f"{problem['status']} {problem['code']}", problem["detail"], 0.0, fits)
    answered = answer.json()
    one = answered if record else answered["series"][0]
    result = next((r for r in one["results"] if _is(r, wanted.get("model", ""))), one["results"][0])
    picture = base64.b64decode(result["picture"]) if result["picture"] else None
    return Line(name, f"{result['model']} {result['version']}", result["status"], headline(result), reason(result),
                result["timings_ms"].get("total", 0.0), as_expected(result, wanted), picture)


def _department(client: httpx.Client, name: str, body: bytes, wanted: dict[str, Any], language: str) -> Line:
    """Send a whole department and say what it will need."""
    answer = client.post(wanted["url"], params={"picture": "png", "language": language}, content=body,
                         headers={"content-type": "application/json"})
    if answer.status_code != 200:
        problem = answer.json()
        return Line(name, "", "error", f"{problem['status']} {problem['code']}", problem["detail"], 0.0, as_expected=False)
    found = answer.json()
    said = "\n".join(f"{one['label']} {one['median']} ({one['bands'][-1]['low']} to {one['bands'][-1]['high']})"
                     for one in found["outlooks"])
    model, _, version = found["model"].rpartition("-")
    why = f"{found['scored']} of {found['present']} present scored; next month {found['forecast']['median']:.0f} attendances"
    return Line(name, f"{model} {version}", "scored", said, why, found["timings_ms"]["total"],
                wanted["status"] == "scored" and not found["left_out"], base64.b64decode(found["picture"]))


def as_expected(result: dict[str, Any], wanted: dict[str, Any]) -> bool:
    """Tell whether a result has the status, model, reason, side of the threshold and flag that expected.json states."""
    main = result.get("findings", [{}])[0]
    return (
        wanted["status"] == result["status"]
        and _is(result, wanted.get("model", ""))
        and wanted.get("reason", result.get("reason")) == result.get("reason")
        and wanted.get("above_threshold", main.get("above_threshold")) == main.get("above_threshold")
        and ("flag" not in wanted or any(flag.startswith(wanted["flag"]) for flag in result["flags"]))
    )


def headline(result: dict[str, Any]) -> str:
    """Say a result in a few words."""
    if result["status"] == "refused":
        return f"refused: {result['reason']}"
    return "\n".join(_said(one) for one in result["findings"])


def reason(result: dict[str, Any]) -> str:
    """Say why, in a few words: the rule that was broken, the strongest contributions, or where the map peaks."""
    if result["status"] == "refused":
        return str(result["message"])
    explanation = result["explanation"]
    if explanation["measurements"]:
        strongest = sorted(explanation["measurements"], key=lambda part: -abs(part["logit"]))[:2]
        kinds = {one["name"]: "dose" if one["kind"] == "quantity" else "odds" for one in result["findings"]}
        return "\n".join(f"{_measured(part)}: {kinds[part['finding']]} × {part['odds_multiplier']:.2f}" for part in strongest)
    if explanation["mask"]:
        return f"contours on {explanation['mask']['shape'][0]} slices"
    if explanation["heatmaps"]:
        row, column = explanation["heatmaps"][0]["peak"]
        return f"strongest {row:.0%} down, {column:.0%} across the image"
    return "below the threshold: no map is shown"


def table(lines: list[Line]) -> Table:
    """Draw the table."""
    drawn = Table("input", "model and version", "result", "main reason", "ms", show_lines=True)
    drawn.columns[4].justify = "right"
    for line in lines:
        style = _STYLES[line.status] if line.as_expected else "bold red"
        ms = f"{line.ms:.1f}" if line.ms else ""
        drawn.add_row(escape(line.sample), line.model, f"[{style}]{escape(line.result)}[/]", escape(line.why), ms)
    return drawn


def _wait(process: subprocess.Popen[str]) -> str:
    """Return the address once every model is ready. Raises NotStartedError."""
    address = process.stdout.readline().strip().rsplit(" ", 1)[-1] if process.stdout else ""
    until = time.monotonic() + START_S
    while address and process.poll() is None and time.monotonic() < until:
        try:
            if httpx.get(f"{address}/readyz", timeout=5).status_code == 200:
                return address
        except httpx.TransportError:
            pass
        time.sleep(0.05)
    raise NotStartedError("the service did not become ready")


def _stop(process: subprocess.Popen[str]) -> None:
    """Ask the service to end, and make it, with all it started."""
    end(process, STOP_S, session=True)
    if process.stdout:
        process.stdout.close()


def _zip(folder: Path) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as archive:
        for path in sorted(folder.iterdir()):
            if path.is_file():
                archive.write(path, path.name)
    return packed.getvalue()


def _type(path: Path) -> str:
    return _TYPES.get(path.suffix.lower(), "application/octet-stream")


def _is(result: dict[str, Any], model: str) -> bool:
    return model in ("", result["model"], f"{result['model']}-{result['version']}")


def _said(one: dict[str, Any]) -> str:
    if one["kind"] == "probability":
        return f"{one['label']} {one['value']:.0%}" if one["value"] >= 0.1 else f"{one['label']} {one['value']:.1%}"
    unit = _UNITS.get(one["unit"], one["unit"])
    if one["kind"] == "quantity":
        interval = "" if one["low"] is None else f" ({one['low']:.0f} to {one['high']:.0f})"
        return f"{one['label']} {one['value']:.0f} {unit}{interval}"
    return f"{one['label']} {one['value']:.2f} {unit}"


def _measured(part: dict[str, Any]) -> str:
    if part["missing"]:
        return f"{part['label']} not measured"
    if part["value_text"]:
        return f"{part['label']}: {part['value_text']}"
    unit = _UNITS.get(part["unit"], part["unit"])
    value = "" if part["value"] is None else f" {part['value']:.4g} {unit}".rstrip()
    return f"{part['label']}{value}{' (' + part['flag'] + ')' if part['flag'] in ('low', 'high') else ''}"


def _write(out: Path, line: Line) -> Path:
    path = out / f"{line.sample.strip('/').replace('/', '_').rsplit('.', 1)[0]}.png"
    path.write_bytes(line.picture or b"")
    return path


def _short(wanted: dict[str, Any]) -> str:
    return ", ".join(f"{key} {wanted[key]}" for key in ("status", "reason", "model", "above_threshold", "flag")
                     if key in wanted)
