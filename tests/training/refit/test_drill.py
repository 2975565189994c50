"""The drill of a refit: 300 simulated verdicts on real people improve a release or are refused; wrong ones never get through.

Needs the data sets (DIAPHANE_DATA). The rest of the people, whom nobody judged, tells what the gate could not know.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from models.check import check
from models.model import Model
from training.measures import auroc
from training.refit.anchored import loss_of
from training.refit.refit import Refitted, refit
from training.refit.scored import learnt_outputs, score
from training.refit.simulate import RADIOGRAPHS, RELEASES, SHELF, write
from training.refit.verdicts import read_verdicts

DATA = Path(os.environ.get("DIAPHANE_DATA", Path(__file__).parents[4] / "shared" / "data"))
pytestmark = [pytest.mark.slow, pytest.mark.skipif(not (DATA / "clinical").is_dir(), reason="the data sets are not on this machine")]


def drill(folder: Path, of: str, *, wrong: float = 0.0, seed: int = 1) -> tuple[Refitted, Path]:
    write(folder, of=of, verdicts=300, wrong=wrong, seed=seed, rest=1000, data=DATA)
    done = refit(SHELF / RELEASES[of], folder / "set", folder / "out", folder / "shelf")
    return done, folder


def on_the_rest(folder: Path, release: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return truths and logits of the first output on the people nobody judged."""
    model = Model(release)
    scored = score(model, read_verdicts(folder / "rest", model.manifest.name).rows, folder / f"{release.name}.npz")
    output = learnt_outputs(model)[0]
    return scored.truth(output.output.name), scored.logits[:, output.logit]


@pytest.mark.parametrize("of", ["support2", RADIOGRAPHS])
def test_true_verdicts_improve_the_release_or_are_refused(of: str, tmp_path: Path) -> None:
    done, folder = drill(tmp_path, of)
    if not done.passed:
        assert not (folder / "shelf").exists()
        return
    assert done.release is not None
    check(done.release)
    y, old = on_the_rest(folder, SHELF / RELEASES[of])
    again, new = on_the_rest(folder, done.release)
    assert np.array_equal(y, again)
    assert loss_of(new, y).mean() < loss_of(old, y).mean()
    assert auroc(y, new) > auroc(y, old) - 0.02
    history = json.loads((done.release / "evaluation.json").read_text())["history"]
    assert [(done.old, done.new, True)] == [(one["old"], one["new"], one["passed"]) for one in history]
    assert f"**{done.old} → {done.new}**" in (done.release / "CARD.md").read_text()


@pytest.mark.parametrize("of", ["support2", "eicu_demo", RADIOGRAPHS])
def test_three_wrong_verdicts_in_ten_are_refused(of: str, tmp_path: Path) -> None:
    done, folder = drill(tmp_path, of, wrong=0.3)
    assert not done.passed
    assert not (folder / "shelf").exists()
    assert {"the release does here what its card says", "verdicts that look wrong"} & {one.name for one in done.gates if not one.met}


def test_too_few_deaths_are_refused_and_the_release_stays_as_it_is(tmp_path: Path) -> None:
    done, _ = drill(tmp_path, "eicu_demo")
    if not done.passed:
        assert {one.name for one in done.gates if not one.met}
        assert done.release is None
