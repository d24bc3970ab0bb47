import pytest

from pathjax.datasets.spatial.formats import FORMATS, recognise
from pathjax.datasets.spatial.sample import SpatialError


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("spatial_formats/visium_v1", "Visium"),
        ("spatial_formats/visium_scanpy/1.0.0", "Visium"),
        ("spatial_formats/visium_cytassist_mouse", "Visium"),
        ("spatial_formats/visium_hd", "Visium HD"),
        ("spatial_formats/visium_hd/binned_outputs/square_008um", "Visium HD"),
        ("spatial_formats/hest_xenium_lung", "HEST-1k"),
        ("her2st", "her2st"),
        ("mob_mouse", "ST"),
    ],
)
def test_real_samples_are_recognised_by_one_format(real_data, path, name):
    assert recognise(real_data / path).name == name


def test_what_is_unknown_is_listed_with_what_is_expected(tmp_path):
    (tmp_path / "notes.txt").write_text("nothing")
    with pytest.raises(
        SpatialError, match="no known format: it has notes.txt"
    ) as caught:
        recognise(tmp_path)
    assert all(known.name in str(caught.value) for known in FORMATS)
    with pytest.raises(SpatialError, match="does not exist"):
        recognise(tmp_path / "elsewhere")
