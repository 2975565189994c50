"""The figures of an evaluation in words: what each is called, and a value as people write it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from service.words import Language, marked, number, percent, say

Kind = Literal["share", "ratio", "number", "area"]
# name in evaluation.json → what it is called, and how it is written. The order is that of a page.
FIGURES: dict[str, tuple[str, Kind]] = {
    "auroc": (marked("Area under the ROC curve"), "area"),
    "average_precision": (marked("Average precision"), "area"),
    "sensitivity": (marked("Sensitivity at the threshold"), "share"),
    "specificity": (marked("Specificity at the threshold"), "share"),
    "ppv": (marked("Positive predictive value"), "share"),
    "npv": (marked("Negative predictive value"), "share"),
    "observed_over_expected": (marked("Observed over expected"), "ratio"),
    "calibration_slope": (marked("Calibration slope"), "ratio"),
    "calibration_in_the_large": (marked("Calibration in the large, logit"), "ratio"),
    "ece": (marked("Expected calibration error"), "area"),
    "brier": (marked("Brier score"), "area"),
    "dice_anterior": (marked("Dice, front part"), "area"),
    "dice_posterior": (marked("Dice, back part"), "area"),
    "dice_whole": (marked("Dice, whole"), "area"),
    "hd95_mm_anterior": (marked("95 % distance of outlines, front part, mm"), "ratio"),
    "hd95_mm_posterior": (marked("95 % distance of outlines, back part, mm"), "ratio"),
    "volume_error_median_anterior": (marked("Median error of the volume, front part"), "share"),
    "volume_error_median_posterior": (marked("Median error of the volume, back part"), "share"),
    "mean_absolute_error": (marked("Mean absolute error, mg a week"), "ratio"),
    "within_20_percent": (marked("Doses within 20 %"), "share"),
    "mean_error": (marked("Mean error, mg a week"), "ratio"),
    "r_squared": (marked("Share of the variance explained (R²)"), "area"),
    "coverage": (marked("Truths inside the interval"), "share"),
    "covered_50": (marked("Truths inside the 50 % band"), "share"),
    "covered_90": (marked("Truths inside the 90 % band"), "share"),
    "mape": (marked("Mean error of the forecast"), "ratio"),
    "mape_last_value": (marked("The same, carrying last month on"), "ratio"),
}
GROUPS = {  # what a group is a group of
    "population": marked("all"), "source": marked("source"), "sex": marked("sex"), "age": marked("age"),
    "race": marked("race as stated"),
    "race as the source states it": marked("race as stated"), "admission": marked("admission"), "ambulance": marked("ambulance"),
    "nurse": marked("triage nurse"), "year": marked("year"), "unit": marked("unit"), "reference volume": marked("volume"),
    "dose": marked("dose"), "genotype": marked("genotype"), "genotype hidden from the model": marked("hidden from the model"),
    "time of day": marked("time of day"), "diabetes": marked("diabetes"),
}


def written(name: str, value: float, language: Language) -> str:
    """Write the value of a figure."""
    kind = FIGURES[name][1]
    if kind == "share":
        return percent(language, value, 1)
    return number(language, value, 3 if kind == "area" else 2)


def figure_words(name: str, figure: Mapping[str, Any], language: Language) -> str:
    """Write a figure with its 95 % interval."""
    value = written(name, figure["value"], language)
    if figure.get("low") is None or figure.get("high") is None:
        return value
    return say(language, "{value} ({low} to {high})", value=value, low=written(name, figure["low"], language),
               high=written(name, figure["high"], language))


def goal_words(bar: Mapping[str, Any], language: Language) -> tuple[str, str]:
    """Write what was wanted, and what was reached with its interval, in as many digits as the goal needs."""
    wanted = bar["bar"]
    limits = wanted if isinstance(wanted, list) else [wanted]
    digits = max((_digits(one) for one in [*limits, bar["value"]] if one), default=2)
    told = [_plain(one, digits, language) for one in limits]
    goal = say(language, "{low} to {high}", low=told[0], high=told[1]) if len(told) > 1 else f"{SIGNS[bar['rule']]} {told[0]}"
    value = _plain(bar["value"], digits, language)
    if bar.get("low") is None or bar.get("high") is None:
        return goal, value
    return goal, say(language, "{value} ({low} to {high})", value=value, low=_plain(bar["low"], digits, language),
                     high=_plain(bar["high"], digits, language))


SIGNS = {">=": "≥", "<=": "≤", "<": "<", ">": ">"}


def _digits(value: float) -> int:
    return 1 if abs(value) >= 10 else 2 if abs(value) >= 1.5 else 3 if abs(value) >= 0.001 else 0


def _plain(value: float, digits: int, language: Language) -> str:
    """Write a number; one too small for its decimals in powers of ten."""
    if value and abs(value) < 0.0005:
        return f"{value:.0e}".replace("e-0", "e-").replace(".", "," if language == "fr" else ".")
    return number(language, value, digits)
