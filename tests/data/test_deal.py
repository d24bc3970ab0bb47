import numpy as np
import pytest

from pathjax.data.deal import deal
from pathjax.data.expression import fit_panel
from pathjax.data.samples import gather
from pathjax.data.study import StudyError


@pytest.mark.parametrize("seed", range(4))
def test_no_group_keeps_a_row_and_each_has_one_giver(seed):
    group = np.random.default_rng(seed).permutation(
        np.repeat(list("abcde"), [1, 2, 3, 4, 5])
    )
    source = deal(group, seed)
    givers = {}
    for row, other in enumerate(source):
        givers.setdefault(group[row], set()).add(group[other])
    assert all(len(names) == 1 for names in givers.values())
    assert {name for names in givers.values() for name in names} == set("abcde")
    assert not any(group[other] == group[row] for row, other in enumerate(source))


def test_equal_groups_only_change_places():
    source = deal(np.repeat(np.arange(6), 3), 1)
    assert sorted(source) == list(range(18))


def test_the_seed_decides():
    group = np.arange(50)
    assert (deal(group, 0) == deal(group, 0)).all()
    assert (deal(group, 0) != deal(group, 1)).any()


def test_one_group_is_reordered():
    source = deal(np.zeros(30), 0)
    assert sorted(source) == list(range(30))
    assert (source != np.arange(30)).any()


def test_shuffled_samples_keep_their_tiles_and_have_the_labels_of_another(tiny_study):
    ids = [f"P{i:02d}" for i in range(8)]
    panel = fit_panel(tiny_study.expression(), ids, 5)
    own = gather(tiny_study, "main", "train", panel=panel, counts=True)
    other = own.shuffled(0)
    assert other.tile_rows is own.tile_rows
    source = [
        int(np.flatnonzero((own.expression == row).all(axis=1))[0])
        for row in other.expression
    ]
    assert sorted(source) == list(range(8))
    assert not np.any(np.array(source) == np.arange(8))
    for name in ("counts", "library"):
        np.testing.assert_array_equal(getattr(other, name), getattr(own, name)[source])
    with pytest.raises(StudyError, match="no expression and no text"):
        gather(tiny_study, "main", "train").shuffled(0)
