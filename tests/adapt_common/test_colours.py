"""Colours of tasks can be told apart, on light and on dark paper."""

from __future__ import annotations

import itertools
import re

import numpy as np

from adapt_common.colours import colour

# From linear sRGB to cone responses, and from their cube roots to Oklab (Ottosson 2020).
CONES = [
    [0.4122214708, 0.5363325363, 0.0514459929],
    [0.2119034982, 0.6806995451, 0.1073969566],
    [0.0883024619, 0.2817188376, 0.6299787005],
]
OKLAB = [
    [0.2104542553, 0.7936177850, -0.0040720468],
    [1.9779984951, -2.4285922050, 0.4505937099],
    [0.0259040371, 0.7827717662, -0.8086757660],
]


def linear(text: str) -> np.ndarray:
    channels = np.array([int(text[place : place + 2], 16) for place in (1, 3, 5)]) / 255
    return np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)


def contrast(one: str, other: str) -> float:
    """As the Web Content Accessibility Guidelines define it."""
    light, dark = sorted(linear(text) @ [0.2126, 0.7152, 0.0722] for text in (one, other))[::-1]
    return (light + 0.05) / (dark + 0.05)


def test_two_dozen_tasks_differ_and_neighbours_differ_much() -> None:
    places = [np.array(OKLAB) @ np.cbrt(np.array(CONES) @ linear(colour(n))) for n in range(24)]
    distances = {
        (i, j): np.linalg.norm(places[i] - places[j])
        for i, j in itertools.combinations(range(24), 2)
    }
    # Two greys a tenth of the way from black to white apart are 0.1 apart.
    assert min(distances.values()) > 0.05
    assert min(distances[n, n + 1] for n in range(23)) > 0.15


def test_all_can_be_seen_on_white_and_on_nearly_black() -> None:
    for number in range(300):
        assert contrast(colour(number), "#ffffff") > 2.2
        assert contrast(colour(number), "#16181c") > 2.2


def test_hundreds_of_tasks_have_colours_of_their_own() -> None:
    colours = [colour(number) for number in range(500)]
    assert len(set(colours)) == 500
    assert all(re.fullmatch("#[0-9a-f]{6}", one) for one in colours)
