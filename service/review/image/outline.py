"""The outline of a mask along the edges of its pixels: what was counted and nothing else, as closed polygons."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Polygon = list[list[int]]  # [[x, y], …] in pixels, the top left corner of the first pixel at 0; closed without repeating the first


def outlines(mask: NDArray[np.bool_]) -> list[Polygon]:
    """Return the outlines of a mask (rows, columns); holes are polygons of their own, turned the other way.

    >>> outlines(np.array([[True, True]]))
    [[[0, 0], [2, 0], [2, 1], [0, 1]]]
    """
    onward = _edges(mask)
    found = []
    while onward:
        start = min(onward)
        corner, direction, points = start, (0, 0), []
        while True:
            following = _turn(onward[corner], direction)
            onward[corner].remove(following)
            if not onward[corner]:
                del onward[corner]
            if following != direction:
                points.append([corner[1], corner[0]])
            corner, direction = (corner[0] + following[0], corner[1] + following[1]), following
            if corner == start and _turn_back(onward.get(corner), direction):
                break
        found.append(points[1:] if len(points) > 1 and _same_line(points, direction) else points)
    return found


def _edges(mask: NDArray[np.bool_]) -> dict[tuple[int, int], list[tuple[int, int]]]:
    """Return corner (row, column) → directions in which an edge leaves it, the mask on its right hand."""
    padded = np.pad(np.asarray(mask, dtype=np.int8), 1)
    across, down = np.diff(padded, axis=0), np.diff(padded, axis=1)
    onward: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for changes, sign, shift, direction in (
        (across, 1, (0, 0), (0, 1)), (across, -1, (0, 1), (0, -1)), (down, 1, (1, 0), (-1, 0)), (down, -1, (0, 0), (1, 0)),
    ):
        for row, column in np.argwhere(changes == sign).tolist():
            # across[r, c] is the edge above padded row r + 1; its corners in the unpadded image are (r, c - 1) and (r, c)
            corner = (row + shift[0], column - 1 + shift[1]) if changes is across else (row - 1 + shift[0], column + shift[1])
            onward.setdefault(corner, []).append(direction)
    return onward


def _turn(choices: list[tuple[int, int]], direction: tuple[int, int]) -> tuple[int, int]:
    """Choose where two pixels touch at a corner: turn right, so that each is outlined by itself."""
    right = (direction[1], -direction[0])
    return right if right in choices else choices[0]


def _turn_back(choices: list[tuple[int, int]] | None, direction: tuple[int, int]) -> bool:
    """Tell whether the line is closed: nothing leaves the corner, or only what belongs to another line."""
    return not choices or (direction[1], -direction[0]) not in choices


def _same_line(points: Polygon, direction: tuple[int, int]) -> bool:
    """Tell whether the first point lies on a straight line from the last to the second."""
    first, second = points[0], points[1]
    return (second[0] - first[0] != 0) == (direction[1] != 0)
