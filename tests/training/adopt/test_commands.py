"""The two steps of the command line: write a description, take over; errors are one line."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from models.__main__ import app as models_app
from tests.training.adopt.make_classifiers import plain_graph, saved
from training.adopt.commands import app

RUNNER = CliRunner()


def run(*words: object) -> tuple[int, str]:
    done = RUNNER.invoke(app, [str(word) for word in words], env={"COLUMNS": "300"})
    return done.exit_code, re.sub(r"\x1b\[[0-9;]*m", "", done.output)


def test_help_says_that_nothing_is_downloaded() -> None:
    code, output = run("--help")
    assert code == 0
    assert "Nothing is downloaded" in output
    for command in ("xrv", "torchvision", "timm", "onnx"):
        assert command in output


def test_a_graph_is_described_then_taken_over_and_serves(tmp_path: Path) -> None:
    graph, text, shelf = saved(plain_graph(), tmp_path), tmp_path / "d.toml", tmp_path / "shelf"
    code, output = run("onnx", graph, "--classes", "Normal,Nodule,Mass", "--write-describe", text)
    assert code == 0, output
    assert "Fill it in" in output
    assert 'rows = 64' in text.read_text()
    code, output = run("onnx", graph, "--describe", text, "--shelf", shelf)
    assert code == 0, output
    assert "Nothing was evaluated here" in output
    for words in (["list"], ["describe", "brought"], ["check", "brought"]):
        assert RUNNER.invoke(models_app, [*words, "--folder", str(shelf)]).exit_code == 0
    code, output = run("onnx", graph, "--describe", text, "--shelf", shelf)
    assert code == 2
    assert "releases never change" in output


def test_what_cannot_be_taken_over_is_one_line_and_exit_3(tmp_path: Path) -> None:
    code, output = run("onnx", saved(plain_graph(opset=99), tmp_path), "--classes", "a", "--write-describe", tmp_path / "d.toml")
    assert code == 3
    assert "found 99" in output
    assert "Traceback" not in output


@pytest.mark.parametrize("words", [("xrv", "densenet121-res224-all", "--describe", "none.toml"), ("torchvision", "resnet18"),
                                   ("onnx", "missing.onnx", "--classes", "a")])
def test_what_is_missing_is_asked_for(words: tuple[str, ...]) -> None:
    code, output = run(*words)
    assert code in (2, 3)
    assert "Traceback" not in output


def test_the_description_of_torchxrayvision_needs_no_weights(tmp_path: Path) -> None:
    code, output = run("xrv", "densenet121-res224-nih", "--write-describe", tmp_path / "d.toml")
    assert code == 0, output
    assert (tmp_path / "d.toml").read_text().count("[[outputs]]") == 14
