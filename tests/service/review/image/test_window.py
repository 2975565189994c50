"""Windows follow PS3.3 C.11.2.1.2 to the letter, and what is asked for in an address is one or is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.pixels import apply_windowing

from service.problem import ProblemError
from service.review.image.window import Window, grey, own_range, read_window, stated_presets


def linear_of_the_standard(x: float, centre: float, width: float) -> float:
    """C.11.2.1.2.1, the pseudo-code as it is printed, for an output of 0 to 255."""
    if x <= centre - 0.5 - (width - 1) / 2:
        return 0.0
    if x > centre - 0.5 + (width - 1) / 2:
        return 255.0
    return ((x - (centre - 0.5)) / (width - 1) + 0.5) * 255


@pytest.mark.parametrize(("centre", "width"), [(2048, 4096), (40, 400), (127.5, 255), (0, 100), (0, 2), (-600.25, 1500.5), (5, 1)])
def test_linear_is_the_pseudo_code_of_the_standard(centre: float, width: float) -> None:
    values = np.arange(-1200, 4200, 1.0)
    expected = [linear_of_the_standard(x, centre, width) for x in values]
    np.testing.assert_allclose(grey(values, Window(centre, width)), expected, atol=1e-9)


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
def test_every_function_agrees_with_pydicom(function: str) -> None:
    values = np.linspace(-1000, 3000, 801)
    told = Dataset()
    told.WindowCenter, told.WindowWidth, told.VOILUTFunction = 300.0, 1200.0, function
    told.BitsStored, told.PixelRepresentation, told.PhotometricInterpretation = 8, 0, "MONOCHROME2"
    window = Window(300, 1200, function)  # type: ignore[arg-type]
    np.testing.assert_allclose(grey(values, window), apply_windowing(values, told), atol=1e-6)


def test_an_address_asks_for_a_window_and_gets_it() -> None:
    assert Window(40, 400) == read_window("40,400")
    assert Window(-1.5, 0.5, "LINEAR_EXACT") == read_window("-1.5,0.5,linear_exact")
    assert read_window("") is None
    assert read_window(Window(1000, 2000, "SIGMOID").written) == Window(1000, 2000, "SIGMOID")


@pytest.mark.parametrize("written", ["40", "40,", "a,b", "nan,3", "1,inf", "1,0", "1,0.5", "1,2,cubic", "1,2,linear,4", "1e300,5",
                                     "1,1e300", "1,2,linear,", "<script>,1", "1,2,"])
def test_any_other_window_is_refused_without_being_repeated(written: str) -> None:
    with pytest.raises(ProblemError) as raised:
        read_window(written)
    assert raised.value.problem.code == "bad_query"
    assert "script" not in str(raised.value)


def test_a_header_states_several_windows_with_their_names() -> None:
    header = Dataset()
    header.WindowCenter, header.WindowWidth = [40, -600, 5], [400, 1500, 0]
    header.WindowCenterWidthExplanation = ["MEDIASTINUM", "LUNG", "BROKEN"]
    stated = [(one.name, one.window) for one in stated_presets(header)]
    assert stated == [("MEDIASTINUM", Window(40, 400)), ("LUNG", Window(-600, 1500))]


def test_a_picture_without_a_window_is_shown_by_its_own_range_without_its_ends() -> None:
    values = np.concatenate([np.linspace(100, 200, 1000), [1e6]])
    window = own_range(values)
    assert math.isclose(window.centre, 150, abs_tol=1)
    assert math.isclose(window.width, 99, abs_tol=1)
