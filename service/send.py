"""Send files to Diaphane, or to a target of the site, for people without a PACS: look, send in batches, sum up, wait.

A batch that fails for a reason that may pass is sent again: receiving the same image twice changes nothing.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from rich.table import Table

from service.fetch import wait_for_results
from service.gather import Gathered, Image, Reader, gather
from service.links import Dimse, NotSentError, Stow, client_of, target_of
from service.settings import MIB, Settings
from service.site import Site, Target

BATCH_IMAGES, BATCH_BYTES = 500, 256 * MIB
DIMSE_BATCH_BYTES = 64 * MIB  # these are held in memory
RETRY_S = 300.0  # how long one batch is tried
LONGEST_PAUSE_S = 30.0
WAIT_S = 600.0


@dataclass
class Sum:
    """What became of the images: by SOP Instance UID why not, "" when it was accepted."""

    fates: dict[str, str] = field(default_factory=dict)

    def refused(self) -> Counter[str]:
        """Count the refused by reason."""
        return Counter(fate for fate in self.fates.values() if fate)


def run(
    paths: Sequence[Path], settings: Settings, site: Site, *, to: str, wait: bool = False, out: Path | None = None,
    console: Console | None = None, retry_s: float = RETRY_S, wait_s: float = WAIT_S,
) -> int:
    """Send what is found under ``paths`` to a DICOMweb root or a target of the site; 0 when every image was accepted.

    With ``wait``, results are waited for and printed; with ``out``, pictures and objects are saved there.
    """
    screen = console or Console()
    try:
        target = target_of(to, settings, site)
        if wait and target.kind != "stow":
            raise NotSentError("Waiting needs a DICOMweb root, such as --to http://127.0.0.1:3000/dicom-web.")
        found = _look(paths, screen)
        total = Sum()
        if found.images:
            send_all(found.images, target, total, screen, retry_s)
        _tell(found, total, screen)
        accepted = [image for image in found.images if total.fates.get(image.sop_uid) == ""]
        missing = 0
        if wait and accepted:
            with client_of(target) as client:
                missing = wait_for_results(accepted, client, screen, out=out, wait_s=wait_s)
    except NotSentError as error:
        Console(stderr=True, soft_wrap=True).print(escape(str(error)))
        return 1
    return int(not accepted or bool(missing or total.refused() or found.refused))


def batches(images: Sequence[Image], *, most_images: int, most_bytes: int) -> Iterator[list[Image]]:
    """Cut the images into batches, a series in one where it fits."""
    batch: list[Image] = []
    for series in _by_series(images):
        size = sum(image.size for image in batch)
        if batch and (len(batch) + len(series) > most_images or size + sum(one.size for one in series) > most_bytes):
            yield batch
            batch = []
        for image in series:
            if batch and (len(batch) >= most_images or sum(one.size for one in batch) + image.size > most_bytes):
                yield batch
                batch = []
            batch.append(image)
    if batch:
        yield batch


def _by_series(images: Sequence[Image]) -> list[list[Image]]:
    series: dict[tuple[str, str], list[Image]] = {}
    for image in images:
        series.setdefault((image.study_uid, image.series_uid), []).append(image)
    return list(series.values())


def _look(paths: Sequence[Path], screen: Console) -> Gathered:
    """Look through the files, saying how far it is."""
    found = Gathered()
    with screen.status("looking …") as status:
        shown = 0.0
        for found in gather(paths):
            if time.monotonic() - shown > 0.2:
                shown = time.monotonic()
                status.update(f"looking: {len(found.images):,} images")
    return found


def send_all(images: Sequence[Image], target: Target, total: Sum, screen: Console, retry_s: float) -> None:
    """Send the images and note their fates in ``total``. Raises NotSentError when it cannot go on."""
    most_bytes = BATCH_BYTES if target.kind == "stow" else DIMSE_BATCH_BYTES
    bar = Progress(TextColumn("sending"), BarColumn(), MofNCompleteColumn(), TextColumn("images"), TransferSpeedColumn(),
                   TimeRemainingColumn(), TextColumn("{task.description}"), console=screen, transient=True)
    with bar, Reader() as reader:
        done = bar.add_task("", total=len(images))
        link = Stow(target, reader) if target.kind == "stow" else Dimse(target, reader)
        with link:
            for batch in batches(images, most_images=BATCH_IMAGES, most_bytes=most_bytes):
                _send(batch, link, total, bar, done, retry_s)
                bar.update(done, completed=len(total.fates))


def _send(batch: list[Image], link: Stow | Dimse, total: Sum, bar: Progress, done: Any, retry_s: float) -> None:
    """Send one batch until every image is accepted or refused. Raises NotSentError when ``retry_s`` is over."""
    left, pause_s, until = batch, 1.0, time.monotonic() + retry_s
    while left:
        fates, why, wait_s = link.send(left)
        total.fates |= fates
        left = [image for image in left if image.sop_uid not in fates]
        if not left:
            return
        pause_s = max(wait_s, pause_s)
        if time.monotonic() + pause_s > until:
            raise NotSentError(f"{len(left)} images were not accepted: {why}. {len(total.fates)} were answered. "
                               "Run the same command again later: what is there already is not stored twice.")
        if not bar.console.is_terminal:  # nobody sees the bar
            bar.console.print(f"{escape(why)}; trying again in {pause_s:.0f} s", highlight=False, soft_wrap=True)
        bar.update(done, description=f"[yellow]{escape(why)}; trying again in {pause_s:.0f} s[/]", completed=len(total.fates))
        time.sleep(pause_s)
        pause_s = min(LONGEST_PAUSE_S, 2 * pause_s)
        bar.update(done, description="")


def _tell(found: Gathered, total: Sum, screen: Console) -> None:
    """Print the sum by study, numbered in the order of their files: no name, identifier or date of anybody."""
    table = Table("study", "modality", "series", "images", "accepted", "refused")
    for column in table.columns[2:]:
        column.justify = "right"
    studies: dict[str, list[Image]] = {}
    for image in found.images:
        studies.setdefault(image.study_uid, []).append(image)
    for number, images in enumerate(studies.values(), start=1):
        accepted = sum(total.fates.get(image.sop_uid) == "" for image in images)
        table.add_row(str(number), ", ".join(sorted({image.modality for image in images})),
                      str(len({image.series_uid for image in images})), str(len(images)), str(accepted),
                      str(len(images) - accepted))
    if studies:
        screen.print(table)
    else:
        screen.print("No image was found. Name DICOM files, folders or zips that hold some.")
    for reason, count in total.refused().most_common():
        screen.print(f"[red]{count} refused by the server:[/] {escape(reason)}", highlight=False)
    for code, count in found.refused.most_common():
        screen.print(f"[red]{count} not sent, {code}:[/] {escape(found.reasons[code])}", highlight=False, soft_wrap=True)
    for count, what in ((found.others, "files are not DICOM images and were passed over"), (found.repeated, "copies were sent once")):
        if count:
            screen.print(f"{count} {what}", highlight=False)
