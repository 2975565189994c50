"""The decoding process: it gives what read_dicom gives, and whatever happens to it costs the service one exception."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Timer

import numpy as np
import psutil
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from models.dicom_bytes import parse
from models.dicom_frames import rendered, stored_frames
from models.errors import UnusableInput
from models.read_dicom import read_dicom
from service import decode
from service.decode import Decoder, DecoderFailed
from tests.make import dicom_bytes, mr_series, radiograph_dataset, radiograph_pixels

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def kept() -> Iterator[Decoder]:
    decoder = Decoder(timeout_s=30, memory_mib=512)
    yield decoder
    decoder.close()


@pytest.fixture
def decoder() -> Iterator[Decoder]:
    decoder = Decoder(timeout_s=30, memory_mib=256)
    yield decoder
    decoder.close()


@pytest.fixture
def endless(tmp_path: Path) -> Path:
    """A file that never ends to be read: a pipe nobody writes to."""
    os.mkfifo(tmp_path / "endless.dcm")
    return tmp_path / "endless.dcm"


def process(decoder: Decoder) -> psutil.Process:
    assert decoder._child is not None
    return psutil.Process(decoder._child.process.pid)


def gone(pid: int) -> bool:
    """Wait up to ten seconds for a process to end."""
    for _ in range(200):
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.05)
    return False


RADIOGRAPH = dicom_bytes(radiograph_dataset(WindowCenter=128, WindowWidth=200))


def test_a_volume_from_there_is_the_volume_read_here(kept: Decoder, tmp_path: Path) -> None:
    files = [dicom_bytes(dataset) for dataset in mr_series(spacing_mm=(2.0, 0.5, 0.75))]
    paths = [tmp_path / f"{place}.dcm" for place in range(len(files))]
    for path, data in zip(paths, files, strict=True):
        path.write_bytes(data)
    here = read_dicom(files)
    for sources in (files, paths, [*paths[:5], *files[5:]]):
        there = kept.read(sources)
        assert np.array_equal(there.voxels, here.voxels)
        assert there.voxels.dtype == np.float32
        assert np.array_equal(there.affine, here.affine)
        assert (there.units, there.header, there.sop_uids, there.spacing_known, there.warnings) == (
            here.units, here.header, here.sop_uids, here.spacing_known, here.warnings
        )


def test_frames_and_pictures_from_there_are_those_made_here(kept: Decoder) -> None:
    pixels = np.arange(3 * 8 * 6, dtype=np.int16).reshape(3 * 8, 6)
    data = dicom_bytes(cine(pixels))
    frames, here = kept.frames(data, [3, 1]), stored_frames(parse(data), [3, 1])
    assert np.array_equal(frames.values, pixels.reshape(3, 8, 6)[[2, 0]])
    assert frames.packed() == here.packed() == [pixels[16:].tobytes(), pixels[:8].tobytes()]
    assert (frames.photometric, frames.bits_allocated, frames.bits_stored) == ("MONOCHROME2", 16, 16)
    assert np.array_equal(kept.rendered(RADIOGRAPH), rendered(parse(RADIOGRAPH), 1))


def cine(pixels: NDArray[np.int16]) -> Dataset:
    dataset = mr_series(pixels[None])[0]
    dataset.Rows, dataset.NumberOfFrames = 8, 3
    return dataset


def test_a_refusal_arrives_with_its_code_and_words(kept: Decoder) -> None:
    with pytest.raises(UnusableInput) as here:
        read_dicom([RADIOGRAPH[:-1000]])
    with pytest.raises(UnusableInput) as there:
        kept.read([RADIOGRAPH[:-1000]])
    assert (there.value.code, str(there.value)) == (here.value.code, str(here.value))
    with pytest.raises(UnusableInput, match="numbered 1 to 1") as frame:
        kept.frames(RADIOGRAPH, [2])
    assert frame.value.code == "no_such_frame"
    for nothing, code in (([], "empty"), ([b""], "not_dicom"), ([ROOT / "absent.dcm"], "unreadable_file")):
        with pytest.raises(UnusableInput) as refused:
            kept.read(nothing)
        assert refused.value.code == code


def test_one_process_serves_many_cases_and_many_threads(kept: Decoder) -> None:
    images = [radiograph_pixels(64 + 8 * place, 64) for place in range(6)]
    files = [dicom_bytes(radiograph_dataset(image)) for image in images]
    kept.read([RADIOGRAPH])
    before = process(kept).pid
    with ThreadPoolExecutor(6) as threads:
        volumes = list(threads.map(lambda data: kept.read([data]), files * 3))
    assert [volume.shape for volume in volumes] == [(1, *image.shape) for image in images] * 3
    assert process(kept).pid == before


def test_the_process_has_given_up_what_it_does_not_need(kept: Decoder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIAPHANE_API_TOKEN", "secret")
    kept.close()
    kept.read([RADIOGRAPH])
    pid = process(kept).pid
    limits = {line[:26].strip(): line[26:].split()[0] for line in Path(f"/proc/{pid}/limits").read_text().splitlines()[1:]}
    assert (limits["Max file size"], limits["Max core file size"], limits["Max processes"]) == ("0", "0", "0")
    assert int(limits["Max address space"]) < 1024 * 1024 * 1024
    assert int(limits["Max cpu time"]) < 60
    status = Path(f"/proc/{pid}/status").read_text()
    assert "NoNewPrivs:\t1" in status
    assert "secret" not in Path(f"/proc/{pid}/environ").read_text()
    opened = {str(link.readlink()).split(":")[0] for link in Path(f"/proc/{pid}/fd").iterdir()}
    assert opened == {"pipe", "/dev/null", "socket", "/memfd"}  # the memory it shares with its parent


def test_a_case_that_takes_too_long_is_cut_and_the_next_is_read(endless: Path) -> None:
    decoder = Decoder(timeout_s=0.5, memory_mib=256)
    with pytest.raises(UnusableInput):
        decoder.read([b""])  # start it: that takes its own time
    pid = process(decoder).pid
    started = time.monotonic()
    with pytest.raises(DecoderFailed) as failed:
        decoder.read([endless])
    assert failed.value.reason == "took longer than 0.5 s"
    assert time.monotonic() - started < 5
    assert gone(pid)
    decoder.timeout_s = 30
    assert decoder.read([RADIOGRAPH]).shape == (1, 256, 256)
    decoder.close()


def test_a_crash_is_named_and_the_next_case_is_read(decoder: Decoder, endless: Path) -> None:
    decoder.read([RADIOGRAPH])
    crash = Timer(0.3, os.kill, (process(decoder).pid, signal.SIGSEGV))
    crash.start()
    with pytest.raises(DecoderFailed) as failed:
        decoder.read([endless])
    crash.join()
    assert failed.value.reason == "was killed by SIGSEGV"
    assert decoder.read([RADIOGRAPH]).shape == (1, 256, 256)


def test_a_process_that_died_in_idleness_costs_nothing(decoder: Decoder) -> None:
    decoder.read([RADIOGRAPH])
    process(decoder).kill()
    process(decoder).wait(10)
    assert decoder.read([RADIOGRAPH]).shape == (1, 256, 256)


def test_signals_to_the_whole_group_leave_a_case_to_its_end(decoder: Decoder) -> None:
    decoder.read([RADIOGRAPH])
    before = process(decoder)
    before.send_signal(signal.SIGINT)
    before.send_signal(signal.SIGTERM)
    decoder.read([RADIOGRAPH])
    assert process(decoder).pid == before.pid


def test_more_memory_than_allowed_is_named_and_never_taken(decoder: Decoder) -> None:
    large = np.zeros((60 * 1000, 1000), dtype=np.int16)  # 120 MB stored, 240 MB as float32
    dataset = mr_series(large[:1000][None])[0]
    dataset.NumberOfFrames, dataset.PixelData = 60, large.tobytes()
    data = dicom_bytes(dataset)
    decoder.read([RADIOGRAPH])
    with pytest.raises(DecoderFailed) as failed:
        decoder.read([data])
    assert failed.value.reason == "needed more than 256 MiB of memory"
    assert decoder.read([RADIOGRAPH]).shape == (1, 256, 256)


def test_it_is_replaced_after_many_cases(decoder: Decoder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode, "MAX_CASES", 2)
    pids = []
    for _ in range(4):
        decoder.read([RADIOGRAPH])
        pids.append(process(decoder).pid)
    assert [pids[0] == pids[1], pids[1] == pids[2], pids[2] == pids[3]] == [True, False, True]


PARENT = """
import sys, threading
from pathlib import Path
from service.decode import Decoder
decoder = Decoder(60, 256)
try: decoder.read([b""])
except Exception: pass
print(decoder._child.process.pid, flush=True)
decoder.read([Path(sys.argv[1])])
"""


def test_it_dies_with_its_parent_even_in_the_middle_of_a_case(endless: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT, str(endless)], cwd=ROOT, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        parent.kill()
    assert gone(child)


def test_it_outlives_the_thread_that_started_it(decoder: Decoder) -> None:
    with ThreadPoolExecutor(1) as thread:
        thread.submit(decoder.read, [RADIOGRAPH]).result()
    pid = process(decoder).pid
    decoder.read([RADIOGRAPH])
    assert process(decoder).pid == pid


SPEAK = """
import json, os, socket, struct, sys, time
parent = socket.socket(fileno=int(sys.argv[1]))
def say(answer):
    text = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
    parent.sendall(struct.pack(">I", len(text)) + text)
VOLUME = {"units": "HU", "affine": [1.0] * 16, "header": {}, "sop_uids": [], "spacing_known": True, "warnings": []}
ARRAY = {"shape": [1, 2, 2], "dtype": "f4"}
say({"ready": True})
parent.recv(100000)
"""
LIES = {
    "not JSON": "say(b'CANARI^TEST')",
    "a length of four gigabytes": "parent.sendall(b'\\xff\\xff\\xff\\xff')",
    "an array of a terabyte": "say({'volume': VOLUME, 'array': {'shape': [1, 1000000, 1000000], 'dtype': 'f4'}})",
    "an array of a negative size": "say({'volume': VOLUME, 'array': {'shape': [1, -1, 2], 'dtype': 'f4'}})",
    "an array of objects": "say({'volume': VOLUME, 'array': {'shape': [1, 2, 2], 'dtype': 'O'}})",
    "an unknown field": "say({'volume': VOLUME, 'array': ARRAY, 'CANARI^TEST': 1})",
    "an affine that is no number": "say({'volume': {**VOLUME, 'affine': [float('nan')] * 16}, 'array': ARRAY})",
    "no array": "say({'volume': VOLUME})",
    "another type of array": "say({'volume': VOLUME, 'array': {'shape': [1, 2, 2], 'dtype': 'u1'}}); parent.sendall(b'.')",
    "more slices than there are": "say({'volume': {**VOLUME, 'sop_uids': ['1', '2']}, 'array': ARRAY}); parent.sendall(b'.')",
    "a refusal of a megabyte": "say({'unusable': {'code': 'a', 'message': 'CANARI' * 200000}})",
    "nesting": "say(b'[' * 100000)",
}


@pytest.mark.parametrize("lie", LIES)
def test_an_answer_that_cannot_be_is_a_failure_and_quotes_nothing(lie: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode, "PROGRAM", (sys.executable, "-c", f"{SPEAK}{LIES[lie]}\ntime.sleep(20)"))
    decoder = Decoder(timeout_s=5, memory_mib=256)
    with pytest.raises(DecoderFailed) as failed:
        decoder.read([ROOT / "README.md"])
    assert failed.value.reason == "gave an impossible answer"
    assert failed.value.__cause__ is None
    decoder.close()


@pytest.mark.parametrize(("end", "reason"), [
    ("os._exit(3)", "ended with status 3"),
    ("os.abort()", "was killed by SIGABRT"),
    ("parent.close(); time.sleep(20)", "broke off"),
    ("say({'volume': VOLUME, 'array': ARRAY}); time.sleep(20)", "took longer than 1 s"),
    ("parent.sendall(b'\\0'); time.sleep(20)", "took longer than 1 s"),
])
def test_an_answer_that_does_not_come_is_a_failure(end: str, reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode, "PROGRAM", (sys.executable, "-c", SPEAK + end))
    decoder = Decoder(timeout_s=1, memory_mib=256)
    with pytest.raises(DecoderFailed) as failed:
        decoder.read([ROOT / "README.md"])
    assert failed.value.reason == reason
    decoder.close()
