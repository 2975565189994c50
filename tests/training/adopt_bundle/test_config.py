"""A bundle's config is data: references and arithmetic have a value, a program is named and never run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from monai.bundle import ConfigParser

from models.errors import BrokenModel
from training.adopt_bundle.config import Config, read_config


def config(**entries: Any) -> Config:
    return Config(entries, "inference.json")


ENTRIES = {
    "spacing": [1.5, 1.5, 2.0], "size": 96, "half": "$@size // 2", "roi": "$[@half, @size, int(@size / 3)]", "share": "$1 - 0.75",
    "deep": {"list": [{"value": 7}]}, "chosen": "@deep::list::0::value", "old": "@deep#list#0#value", "many": "$[@size] * 3",
    "which": "$'a' if @size > 100 else 'b'", "not": "$not @size == 96", "text": "$'models' + '/model.pt'", "last": "$@spacing[-1]",
    "longest": "$max(@roi)", "count": "$len(@spacing)",
}


@pytest.mark.parametrize("name", ENTRIES)
def test_values_are_those_of_monai_where_they_are_only_values(name: str) -> None:
    parser = ConfigParser(ENTRIES)
    theirs = parser.get_parsed_content(name)
    assert config(**ENTRIES).at(name) == (list(theirs) if isinstance(theirs, tuple) else theirs)


@pytest.mark.parametrize("program", [
    "$__import__('os').system('touch /tmp/never')", "$import os", "$open('/etc/passwd').read()", "$[x for x in ().__class__.__mro__]",
    "$torch.load('x')", "$monai.networks.nets.UNet()", "$@spacing.__class__", "$(lambda: 1)()", "$eval('1')", "$f'{1}'",
    "$lambda x: x < 3", "$getattr(1, 'real')", "$1 +", "$9 ** 9 ** 9", "$[0] * 100000", "$'x' * 99999999", "$'%99999999d' % 1",
    "$1 / 0",
])
def test_a_program_is_refused_by_its_name_and_not_run(program: str) -> None:
    with pytest.raises(BrokenModel, match=r"inference.json: thing::0 is a program .* not run"):
        config(thing=[program], spacing=[1]).at("thing")


def test_what_is_not_asked_for_is_not_looked_at() -> None:
    assert config(imports=["$import os"], size=3).at("size") == 3


def test_circles_and_unknown_references_are_named() -> None:
    with pytest.raises(BrokenModel, match="one refers to itself"):
        config(one="@two", two="$@one + 1").at("one")
    with pytest.raises(BrokenModel, match="nothing::here must be an entry"):
        config(one="@nothing::here").at("one")
    with pytest.raises(BrokenModel, match=r"one takes '%other\.json::spacing' from another file"):
        config(one="%other.json::spacing").at("one")


def test_aliases_that_multiply_are_stopped(tmp_path: Path) -> None:
    lines = ["a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"{new}: &{new} [{', '.join([f'*{old}'] * 10)}]" for old, new in zip("abcdef", "bcdefg", strict=True)]
    (tmp_path / "inference.yaml").write_text("\n".join(lines))
    with pytest.raises(BrokenModel, match="may hold 100,000 values"):
        read_config(tmp_path / "inference.yaml").at("g")


def test_a_disabled_component_is_left_out() -> None:
    one = {"_target_": "Orientationd", "_disabled_": "$@size == 3"}
    assert config(one=one, size=3).at("one") is None
    assert config(one=one, size=4).at("one") == {"_target_": "Orientationd", "_disabled_": False}


def test_yaml_and_json_say_the_same_and_python_in_yaml_is_refused(tmp_path: Path) -> None:
    (tmp_path / "inference.json").write_text(json.dumps({"roi": [1, 2], "twice": "$@roi[1] * 2"}))
    (tmp_path / "inference.yaml").write_text("roi: [1, 2]\ntwice: $@roi[1] * 2\n")
    assert read_config(tmp_path / "inference.json").at("twice") == read_config(tmp_path / "inference.yaml").at("twice") == 4
    (tmp_path / "inference.yaml").write_text("roi: !!python/object/apply:os.system ['true']\n")
    with pytest.raises(BrokenModel, match="plain YAML"):
        read_config(tmp_path / "inference.yaml")


@given(st.text(max_size=60))
def test_no_text_after_a_dollar_does_anything_but_have_a_value_or_be_refused(text: str) -> None:
    try:
        found = config(thing=f"${text}").at("thing")
    except BrokenModel:
        return
    assert isinstance(found, int | float | complex | str | bytes | list | dict | type(None) | type(...))
