import dataclasses

import numpy as np
import pytest
from made_visium import MPP, SIZE, counts, density, picture, spots

from pathjax.datasets.spatial.image import ImageSource
from pathjax.datasets.spatial.registration import MIN_SPOTS, place
from pathjax.datasets.spatial.survey import survey

WAYS = {
    "x and y swapped": lambda x, y, w, h: (y, x),
    "mirrored left to right": lambda x, y, w, h: (w - x, y),
    "mirrored top to bottom": lambda x, y, w, h: (x, h - y),
    "turned by 180 degrees": lambda x, y, w, h: (w - x, h - y),
}
TURNS = {  # of the image, by np.rot90
    "turned by 90 degrees clockwise": -1,
    "turned by 90 degrees counter-clockwise": 1,
}


@pytest.fixture(scope="module")
def made():
    """Image, its survey, positions and library sizes that follow it."""
    field = density()
    image = picture(field)
    xy = spots()[2]
    library = counts(field, xy).sum(axis=1)
    return image, survey(ImageSource.of_array(image), MPP), xy, library


def test_what_is_stated_is_accepted(made):
    _, surveyed, xy, library = made
    found = place(surveyed, library, xy, SIZE, MPP)
    assert found.better is None and found.on_tissue > 0.6
    assert max(found.scores, key=found.scores.get) == "as stated"


@pytest.mark.parametrize("way", WAYS)
def test_moved_positions_are_noticed(made, way):
    _, surveyed, xy, library = made
    moved = np.stack(WAYS[way](*xy.T, *SIZE), axis=1)
    assert place(surveyed, library, moved, SIZE, MPP).better == way


@pytest.mark.parametrize("way", TURNS)
def test_a_turned_image_is_noticed(made, way):
    image, _, xy, library = made
    turned = np.ascontiguousarray(np.rot90(image, TURNS[way]))
    found = survey(ImageSource.of_array(turned), MPP)
    assert place(found, library, xy, SIZE[::-1], MPP).better == way


def test_a_shift_is_noticed(made):
    _, surveyed, xy, library = made
    moved = xy - [100, 0]
    assert place(surveyed, library, moved, SIZE, MPP).better == "shifted by 100, 0 px"


def test_random_counts_and_a_blank_image_say_nothing(made):
    _, surveyed, xy, library = made
    shuffled = np.random.default_rng(1).permutation(library)
    assert place(surveyed, shuffled, xy, SIZE, MPP).better is None
    blank = survey(ImageSource.of_array(np.full((850, 1150, 3), 240, np.uint8)), MPP)
    found = place(blank, library, xy, SIZE, MPP)
    assert found.better is None and found.on_tissue == 0


def test_few_spots_are_not_judged(made):
    _, surveyed, xy, library = made
    rows = slice(MIN_SPOTS - 1)
    moved = xy[rows][:, ::-1]
    assert place(surveyed, library[rows], moved, SIZE, MPP).better is None


@pytest.mark.slow
@pytest.mark.parametrize("section", ["B4", "C2", "C3", "C4", "C5"])
def test_real_sections(real_data, section):
    """Accepted as published, noticed when mirrored, turned or swapped."""
    from pathjax.datasets.her2st.section import read_section
    from pathjax.datasets.her2st.source import choose_sections

    (files,) = choose_sections(real_data / "her2st", (section,))
    read = read_section(files)
    image, xy, mpp = read.image, read.positions, read.mpp["spot pitch"]
    library = np.asarray(read.counts.X.sum(axis=1), float).ravel()
    surveyed = survey(image, mpp)
    found = place(surveyed, library, xy, image.size, mpp)
    assert found.better is None and found.on_tissue > 0.9
    for way, move in WAYS.items():
        moved = np.stack(move(*xy.T, *image.size), axis=1)
        found = place(surveyed, library, moved, image.size, mpp)
        assert found.better == way
    for way, turns in TURNS.items():
        turned = dataclasses.replace(
            surveyed,
            colour=np.rot90(surveyed.colour, turns),
            spread=np.rot90(surveyed.spread, turns),
        )
        found = place(turned, library, xy, image.size[::-1], mpp)
        assert found.better == way
