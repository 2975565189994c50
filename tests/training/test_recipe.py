"""Recipes are data: each parses, and its hash says what decides the weights and nothing else."""

from __future__ import annotations

import pytest

from models.steps import STEPS
from training import recipe
from training.recipe import Recipe


@pytest.mark.parametrize("name", recipe.names())
def test_recipe_names_itself_and_known_steps(name: str) -> None:
    read = recipe.read(name)
    assert read.raw["name"] == name
    assert {step for step, _ in read.steps} <= set(STEPS)


def test_unknown_recipe_says_which_there_are() -> None:
    with pytest.raises(FileNotFoundError, match="hippocampus_mr"):
        recipe.read("no_such_recipe")


def test_wording_changes_no_hash_and_a_rate_does() -> None:
    base = {"version": "1.0.0", "fit": {"rate": 0.1}, "manifest": {"title": "a"}}
    reworded = {**base, "manifest": {"title": "b"}}
    refitted = {**base, "fit": {"rate": 0.2}}
    assert Recipe("x", base).sha256 == Recipe("x", reworded).sha256
    assert Recipe("x", base).sha256 != Recipe("x", refitted).sha256
