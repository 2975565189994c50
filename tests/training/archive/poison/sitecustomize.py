"""Python starts with this where a test puts its folder first: files of certain names then do to their reader what bad files do."""

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

if sys.argv[:1] == ["-m"]:  # of a module that is run, before it is known which: only then may it be a scoring process
    from training.archive import dicom

    opened = dicom.open_case

    def open_case(parts: Any, naming: Any) -> Any:
        """Read a case, or die, hang or take all memory by the name of its file."""
        name = Path(parts[0]).stem
        if name.startswith("kills"):
            os.kill(os.getpid(), signal.SIGKILL)
        if name.startswith("hangs"):
            time.sleep(600)
        if name.startswith("fills"):
            bytearray(1 << 42)
        return opened(parts, naming)

    dicom.open_case = open_case
