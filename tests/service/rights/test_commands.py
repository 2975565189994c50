"""The commands: an identifier comes by standard input and stands in no output, and what cannot be undone asks first."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import select
from typer.testing import CliRunner

from service.rights.commands import app
from service.store.tables import Study
from tests.service.rights.person_data import CANARY, fill, rights_of, study


@pytest.fixture
def store(tmp_path: Path) -> Path:
    here = rights_of(tmp_path)
    fill(here.store, 1)
    here.store.close()
    return tmp_path / "store"


def run(store: Path, *words: str, typed: str = f"{CANARY}1-0001\n") -> tuple[int, str]:
    done = CliRunner().invoke(app, [*words, "--store", str(store)], input=typed)
    assert CANARY not in done.output
    return done.exit_code, done.output


def test_a_person_is_held_released_opposed_and_erased(store: Path, tmp_path: Path) -> None:
    assert 1 == run(store, "hold")[0]  # without a reason
    assert (0, "It stands from now on.\n") == run(store, "hold", "--reason", "RG 26/1")
    assert "legal hold stands" in run(store, "erase", "--yes")[1]
    assert "1 holds have ended" in run(store, "hold", "--release")[1]
    assert 0 == run(store, "oppose", "training")[0]
    assert "opposition" in run(store, "list")[1]
    assert 0 == run(store, "export", str(tmp_path / "out.zip"))[0]
    assert 0o600 == (tmp_path / "out.zip").stat().st_mode & 0o777
    code, said = run(store, "erase", "--yes")
    assert (0, True) == (code, "Erased: 1 studies with 2 images" in said)
    assert "pacs got 1 results" in said


def test_erasing_asks_first(store: Path) -> None:
    assert 1 == run(store, "erase", typed=f"{CANARY}1-0001\nn\n")[0]
    assert "Held: 1 studies" in run(store, "erase", typed=f"{CANARY}1-0001\nn\n")[1]


def test_a_scope_that_is_none_is_refused(store: Path) -> None:
    assert "must be one of scoring, training, both" in run(store, "oppose", "everything")[1]


def test_an_identifier_that_is_held_under_an_issuer_alone_says_which_to_name(store: Path, tmp_path: Path) -> None:
    folder = tmp_path / "other"
    folder.mkdir()
    here = rights_of(folder)
    study(here.store, 7, patient_id=f"{CANARY}7-0001", name="ESSAI^SEPT")
    with here.store.session() as session:
        row = session.scalars(select(Study)).one()
        row.attributes = {**row.attributes, "00100021": {"vr": "LO", "Value": ["HOPITAL ESSAI"]}}
    here.store.close()
    code, said = run(folder / "store", "export", str(tmp_path / "out.zip"), typed=f"{CANARY}7-0001\n")
    assert (code, "--issuer 'HOPITAL ESSAI'" in said) == (1, True)
    assert 0 == run(folder / "store", "export", str(tmp_path / "out.zip"), "--issuer", "HOPITAL ESSAI", typed=f"{CANARY}7-0001\n")[0]
