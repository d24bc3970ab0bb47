"""The made sample of Visium HD, and what our contestant makes of it."""

from extras import need

from pathjax.bench import spatial
from pathjax.data.study import Study


def test_a_small_sample_is_built_without_a_warning(tmp_path):
    need("tifffile")
    options = spatial.Options(bins=100)
    assert spatial.prepare(options, tmp_path) == {"bins": 100}
    ours, peer = spatial.entries(options, tmp_path)
    assert peer.peer and not ours.peer
    contestant = spatial.Builder(dict(ours.options))
    contestant.prepare()
    assert contestant.run(1) == 100
    study = Study(tmp_path / "study" / "0")
    about = study.meta["provenance"]["samples"]["sample"]
    assert about["mpp_evidence"] == dict.fromkeys(
        ("scale factors", "bin size", "bin pitch", "image tags"), spatial.MPP
    )
    assert study.tile_px == spatial.TILE_PX
