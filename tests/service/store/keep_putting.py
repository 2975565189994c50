"""A receiver to be killed: puts images from many threads and prints each one it may acknowledge, one line a piece."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

from service.store.inbox import Inbox
from tests.make_store import slice_of, store_for

THREADS = 6


def main(folder: str, database: str, first: int, last: int, content: str) -> None:
    """Put slices ``first`` to ``last`` of one series a thread."""
    inbox = Inbox(store_for(Path(folder), database=database), quiet_s=20, release_quiet_s=3)

    def put(series: int) -> None:
        for number in range(first, last):
            arrival = slice_of(series, number, study=series % 2, content=content * 3000)
            verdict = inbox.put(arrival)
            os.write(1, f"{verdict} {arrival.sop_uid} {arrival.sha256}\n".encode())  # one write: a line is whole or absent

    threads = [threading.Thread(target=put, args=(series,)) for series in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), sys.argv[5])
