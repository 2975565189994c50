"""Hostile files at both doors, arrival and the decoding process: each has its verdict, in bounded time and memory."""

from __future__ import annotations

import random
import struct
import subprocess
import sys
import time
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import numpy as np
import psutil
import pytest

from models.errors import UnusableInput
from models.volume import Volume
from service.decode import Decoder, DecoderFailed
from service.dicom.arrival import arrive_file
from tests.hostile import CASES, KEPT, READ, image, lut, palette, us
from tests.make import dicom_bytes, mr_series, radiograph_dataset, radiograph_pixels
from tests.syntaxes import LOSSLESS, in_syntax

MEMORY_MIB = 512
CPU_S = 5.0
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def decoder() -> Iterator[Decoder]:
    decoder = Decoder(timeout_s=60, memory_mib=MEMORY_MIB)  # of the clock: what is bounded below is the processor's time
    yield decoder
    decoder.close()


def arrived(data: bytes) -> str:
    try:
        arrive_file(data)
    except UnusableInput as error:
        return error.code
    return KEPT


def looked_at(decoder: Decoder, data: bytes) -> str:
    try:
        assert isinstance(decoder.read([data]), Volume)
    except UnusableInput as error:
        return error.code
    return READ


def process(decoder: Decoder) -> psutil.Process:
    if decoder._child is None:
        assert looked_at(decoder, b"") == "not_dicom"
    assert decoder._child is not None
    return psutil.Process(decoder._child.process.pid)


def peak_mib(pid: int | str = "self") -> float:
    status = Path(f"/proc/{pid}/status").read_text("ascii")
    return next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmHWM"))


def cpu_s(pid: psutil.Process) -> float:
    times = pid.cpu_times()
    return times.user + times.system


@pytest.mark.parametrize("name", CASES)
def test_every_hostile_file_gets_its_verdict(name: str, decoder: Decoder) -> None:
    data, child = CASES[name].build(), process(decoder)
    Path("/proc/self/clear_refs").write_text("5", "ascii")  # the peak of memory starts again
    before, started = peak_mib(), time.process_time()
    verdict = arrived(data)
    assert time.process_time() - started < CPU_S
    assert peak_mib() - before < 200
    used = cpu_s(child)
    assert (verdict, looked_at(decoder, data)) == (CASES[name].arrival, CASES[name].reading)
    assert process(decoder).pid == child.pid  # it lives
    assert cpu_s(child) - used < CPU_S
    assert peak_mib(child.pid) <= MEMORY_MIB


def test_a_few_hundred_bytes_of_rle_that_claim_four_gigabytes_cost_next_to_nothing() -> None:
    data = CASES["an RLE bomb: 65,535 x 65,535 in a few hundred bytes"].build()
    arrived(image())  # imports and caches are not what is measured
    tracemalloc.start()
    started = time.process_time()
    verdict = arrived(data)
    seconds, peak = time.process_time() - started, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert verdict == "too_many_pixels"
    assert len(data) < 838
    assert seconds < 0.1
    assert peak < 1_000_000


def test_the_corpus_is_written_out_for_other_programs(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "tests.hostile", str(tmp_path)], cwd=ROOT, check=True)
    assert len(list(tmp_path.glob("*.dcm"))) == len(CASES)


def test_what_is_told_of_a_hostile_file_quotes_nothing_of_it(decoder: Decoder) -> None:
    said = []
    for case in CASES.values():
        data = case.build()
        if len(data) > 100_000:
            continue
        for look in (arrive_file, lambda data: decoder.read([data])):
            try:
                look(data)
            except UnusableInput as error:
                said.append(str(error))
    assert len(said) > 100
    assert [text for text in said if "CANARI" in text or "evil" in text or "2.25" in text] == []


# Mutations ----------------------------------------------------------------------------------------------------------


@cache
def seeds() -> tuple[bytes, ...]:
    """Small sound files of every kind there is a parser or a decoder for."""
    grey = radiograph_dataset(radiograph_pixels(48, 48))
    ramp = np.arange(2304, dtype=np.uint16).reshape(48, 48)
    deep = radiograph_dataset(ramp, BitsStored=12, HighBit=11, WindowCenter=1000, WindowWidth=900)
    slices = mr_series(np.arange(96, dtype=np.int16).reshape(1, 8, 12), RescaleSlope=2, RescaleIntercept=-5)
    cine = mr_series(np.arange(192, dtype=np.int16).reshape(1, 16, 12), NumberOfFrames=2, Rows=8)
    table = lut(0x00283010, us(256) + us(0) + us(8), bytes(range(256)) * 2)
    return (
        *(in_syntax(grey, syntax) for syntax in LOSSLESS.values()),
        *(in_syntax(deep, syntax) for syntax in LOSSLESS.values()),
        in_syntax(grey, "1.2.840.10008.1.2.4.50"), dicom_bytes(slices[0]), dicom_bytes(cine[0]),
        image(more=table), palette(us(256) + us(0) + us(16), bytes(range(256)) * 2),
    )


def flip(data: bytearray, chance: random.Random) -> None:
    for _ in range(chance.randint(1, 6)):
        data[chance.randrange(len(data))] = chance.choice((0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)))


def cut(data: bytearray, chance: random.Random) -> None:
    del data[chance.randrange(len(data)) :]


def drop(data: bytearray, chance: random.Random) -> None:
    at = chance.randrange(len(data))
    del data[at : at + chance.randint(1, 64)]


def repeat(data: bytearray, chance: random.Random) -> None:
    at = chance.randrange(len(data))
    data[at:at] = data[at : at + chance.randint(1, 64)] * chance.randint(1, 9)


def heads(data: bytes) -> list[int]:
    """Find where elements with a short, explicit head begin."""
    return [at for at in range(132, min(len(data) - 8, 2500)) if data[at + 4 : at + 6].isalpha() and data[at + 4 : at + 6].isupper()]


def lengthen(data: bytearray, chance: random.Random) -> None:
    found = heads(data)
    if found:
        struct.pack_into("<H", data, chance.choice(found) + 6, chance.choice((0, 1, 2, 7, 255, 0x7FFF, 0xFFFE, 0xFFFF)))


def rename(data: bytearray, chance: random.Random) -> None:
    found = heads(data)
    if found:
        at = chance.choice(found)
        data[at + 4 : at + 6] = chance.choice((b"SQ", b"UN", b"OB", b"OW", b"US", b"DS", b"IS", b"PN", b"UT", b"FD", b"AT"))


def revalue(data: bytearray, chance: random.Random) -> None:
    found = heads(data)
    if found:
        at = chance.choice(found) + 8
        size = min(struct.unpack_from("<H", data, at - 2)[0], len(data) - at, 64)
        value = chance.choice((b"-1", b"1e999", b"nan", b"9" * 64, b"\\" * 64, b"\0" * 64, b"\xff" * 64, b"\x1b$B\xff", b"../evil"))
        data[at : at + size] = value[:size].ljust(size)


def exchange(data: bytearray, chance: random.Random) -> None:
    found = heads(data)
    if len(found) > 1:
        one, other = chance.choice(found), chance.choice(found)
        data[one : one + 4], data[other : other + 4] = data[other : other + 4], data[one : one + 4]


MUTATIONS: tuple[Callable[[bytearray, random.Random], None], ...] = (
    flip, flip, cut, drop, repeat, lengthen, rename, revalue, exchange,
)


def mutant(number: int) -> bytes:
    chance = random.Random(number)
    data = bytearray(chance.choice(seeds()))
    for _ in range(chance.randint(1, 3)):
        if len(data) > 200:
            chance.choice(MUTATIONS)(data, chance)
    return bytes(data)


def verdicts(numbers: range, decoder: Decoder) -> Counter[str]:
    """Count what is said of mutants. Anything but a verdict is raised: that is what fails."""
    counts: Counter[str] = Counter()
    for number in numbers:
        data = mutant(number)
        counts[f"arrival: {arrived(data)}"] += 1
        try:
            counts[f"reading: {looked_at(decoder, data)}"] += 1
        except DecoderFailed as error:
            counts[f"the decoding process {error.reason}, mutant {number}"] += 1
    return counts


def test_two_thousand_mutants_get_a_verdict(decoder: Decoder) -> None:
    before = peak_mib()
    counts = verdicts(range(2000), decoder)
    print(dict(sorted(counts.items())))  # noqa: T201  shown with -s
    assert sum(counts.values()) == 4000
    assert counts["reading: read"] > 200  # mutated too little to be refused, and too much for a test of soundness alone
    assert counts["reading: undecodable_pixels"] > 50
    assert len(counts) > 15
    assert sum(number for verdict, number in counts.items() if "the decoding process" in verdict) <= 2
    assert peak_mib() - before < 200


@pytest.mark.slow
def test_a_hundred_thousand_mutants_get_a_verdict(decoder: Decoder) -> None:
    counts = verdicts(range(2000, 102_000), decoder)
    print(dict(sorted(counts.items())))  # noqa: T201  shown with -s
    assert sum(counts.values()) == 200_000
    assert sum(number for verdict, number in counts.items() if "the decoding process" in verdict) <= 100
