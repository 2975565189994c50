"""A fit around a released model: it moves when verdicts ask for it, stays when they do not, and notices wrong ones."""

from __future__ import annotations

import numpy as np
import pytest

from training.refit.anchored import AS_IT_IS, CHOICES, LINE, WEIGHTS, Cases, Choice, chosen_fit, fit, loss_of, noise_of


def cases(n: int = 240, *, shift: float = 0.0, slope: float = 1.0, extra: float = 0.0, wrong: float = 0.0, seed: int = 0) -> Cases:
    """People whose truth follows ``shift + slope * old + extra * z0``; a share of verdicts is turned round."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(n, 6))
    old = 2.2 * rng.normal(size=n)
    y = (rng.random(n) < 1 / (1 + np.exp(-(shift + slope * old + extra * z[:, 0])))).astype(float)
    y = np.where(rng.random(n) < wrong, 1 - y, y)
    return Cases(z, old, y, np.array([f"g{i // 2}" for i in range(n)]))


def test_verdicts_that_confirm_a_model_leave_it_as_it_is() -> None:
    found = chosen_fit(cases(seed=3), seed=1)
    assert AS_IT_IS == found.choice.shape
    old = np.linspace(-3, 3, 7)
    assert (old == found.logits(np.ones((7, 6)), old)).all()


def test_a_level_that_is_off_is_mended() -> None:
    told = cases(shift=2.0, seed=1)
    found = chosen_fit(told, seed=1)
    rest = cases(2000, shift=2.0, seed=9)
    new = found.logits(rest.z, rest.old)
    assert found.choice.shape != AS_IT_IS
    assert loss_of(new, rest.y).mean() < loss_of(rest.old, rest.y).mean() - 0.1


def test_what_the_old_model_did_not_use_is_learnt() -> None:
    found = chosen_fit(cases(extra=2.0, seed=1), seed=1)
    assert WEIGHTS == found.choice.shape
    assert abs(found.weights[0]) > 4 * np.abs(found.weights[1:]).max()
    rest = cases(2000, extra=2.0, seed=9)
    assert loss_of(found.logits(rest.z, rest.old), rest.y).mean() < loss_of(rest.old, rest.y).mean() - 0.05


def test_with_few_of_one_kind_nothing_moves() -> None:
    told = cases(shift=-5.0, seed=1)
    assert told.y.sum() < 20
    assert AS_IT_IS == chosen_fit(told, seed=1).choice.shape


@pytest.mark.parametrize(("wrong", "least", "most"), [(0.0, 0.0, 0.05), (0.3, 0.2, 0.3)])
def test_verdicts_that_are_wrong_at_random_are_noticed(wrong: float, least: float, most: float) -> None:
    found = noise_of(cases(300, wrong=wrong, slope=2.5, seed=5), seed=1)
    assert least <= found <= most


def test_a_stronger_ridge_stays_nearer_to_the_release() -> None:
    told = cases(extra=2.0, seed=1)
    sizes = [np.abs(fit(told, Choice(WEIGHTS, strength)).weights).sum() for strength in (1000.0, 100.0, 10.0)]
    assert sizes == sorted(sizes)


def test_the_gradient_is_that_of_the_loss() -> None:
    """At the fit no small step is better: the line by itself, and every weight."""
    told = cases(shift=1.0, extra=1.0, seed=2)
    found = fit(told, Choice(WEIGHTS, 30.0))

    def objective(weights: np.ndarray) -> float:
        spread = told.z.std(axis=0)
        centred = (told.z - told.z.mean(axis=0)) @ weights
        base = found.intercept + found.weights @ told.z.mean(axis=0) + found.slope * told.old
        return float(loss_of(base + centred, told.y).sum() + 15.0 * ((weights * spread) ** 2).sum())

    least = objective(found.weights)
    for place in range(6):
        for step in (-1e-2, 1e-2):
            moved = found.weights.copy()
            moved[place] += step
            assert objective(moved) >= least - 1e-6


def test_a_bound_keeps_the_slope_of_every_part_positive() -> None:
    """Parts that sum to the old logit: the verdicts ask to turn one of them round, and it fades to nothing instead."""
    rng = np.random.default_rng(4)
    parts = rng.normal(size=(400, 3))
    y = (rng.random(400) < 1 / (1 + np.exp(-(parts[:, 0] + parts[:, 1] - 3 * parts[:, 2])))).astype(float)
    told = Cases(parts, parts.sum(axis=1), y, np.array([str(i) for i in range(400)]))
    found = fit(told, Choice(WEIGHTS, 10.0), lowest=-np.ones(3))
    slopes = found.slope + found.weights
    assert (slopes >= -1e-9).all()
    assert slopes[2] == pytest.approx(0, abs=1e-6)


def test_the_simplest_choice_comes_first() -> None:
    assert AS_IT_IS == CHOICES[0].shape
    assert [one.shape for one in CHOICES].index(LINE) < [one.shape for one in CHOICES].index(WEIGHTS)
