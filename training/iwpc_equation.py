"""The published pharmacogenetic dose equation, the reference every warfarin model must be shown beside.

Square root of the weekly dose in mg = a sum over age, height, weight, VKORC1, CYP2C9, inducers, amiodarone and race
(IWPC, N Engl J Med 2009;360:753-64, doi:10.1056/NEJMoa0809329, supplement S1e). Race is not taken here: everybody gets
the equation's own term for missing or mixed race, unless a race is given to compare.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
CONSTANT = 5.6044
PER_DECADE, PER_CM, PER_KG = -0.2614, 0.0087, 0.0128
VKORC1 = (0.0, -0.8677, -1.6974, -0.4854)  # G/G, A/G, A/A, unknown
CYP2C9 = (0.0, -0.5211, -0.9357, -1.0616, -1.9206, -2.3312, -0.2188)  # *1/*1, *1/*2, *1/*3, *2/*2, *2/*3, *3/*3, unknown
INDUCER, AMIODARONE = 1.1816, -0.5503
RACE = {"White": 0.0, "Asian": -0.1092, "Black or African American": -0.2760, "Unknown": -0.1032}
USED = (
    "age_years_static", "height_cm_static", "weight_last", "male_static", "vkorc1_a_alleles_static",
    "cyp2c9_diplotype_static", "takes_enzyme_inducer_static", "takes_amiodarone_static",
)


def published_dose(
    x: NDArray[np.float32], names: Sequence[str], body: Mapping[str, float], race: Sequence[str] | None = None
) -> Array:
    """Return the equation's dose in mg a week (N,) for features (N, F) with their names.

    ``body`` stands in for what was not measured: `weight_kg`, and `height_cm_male`, `height_cm_female`, `height_cm`.
    """
    age, height, weight, male, alleles, diplotype, inducer, amiodarone = (
        x[:, list(names).index(name)].astype(np.float64) for name in USED
    )
    usual = np.where(np.isnan(male), body["height_cm"], np.where(male == 1, body["height_cm_male"], body["height_cm_female"]))
    root = (
        CONSTANT
        + PER_DECADE * np.minimum(np.floor(age / 10), 9)
        + PER_CM * np.where(np.isnan(height), usual, height)
        + PER_KG * np.where(np.isnan(weight), body["weight_kg"], weight)
        + np.array(VKORC1)[np.where(np.isnan(alleles), 3, alleles).astype(int)]
        + np.array(CYP2C9)[np.where(np.isnan(diplotype), 6, diplotype).astype(int)]
        + INDUCER * (inducer == 1)
        + AMIODARONE * (amiodarone == 1)
        + (RACE["Unknown"] if race is None else np.array([RACE[one] for one in race]))
    )
    return np.asarray(root**2, dtype=np.float64)


def body_of(x: NDArray[np.float32], names: Sequence[str]) -> dict[str, float]:
    """Return the cohort's mean height by sex, and weight, from features (N, F)."""
    height, weight, male = (x[:, list(names).index(name)].astype(np.float64) for name in USED[1:4])
    return {
        "weight_kg": float(np.nanmean(weight)),
        "height_cm": float(np.nanmean(height)),
        "height_cm_male": float(np.nanmean(height[male == 1])),
        "height_cm_female": float(np.nanmean(height[male == 0])),
    }
