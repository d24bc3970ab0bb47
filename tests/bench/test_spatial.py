"""The made sample of Visium HD, and what our contestant makes of it."""

import pytest
from extras import need

from pathjax.bench import spatial
from pathjax.bench.options import BenchError
from pathjax.data.study import Study


def test_a_small_sample_is_built_without_a_warning(tmp_path):
    need("tifffile")
    from large_visium_hd import write_sample

    write_sample(tmp_path / "sample", 10)
    options = spatial.Options(sample=str(tmp_path / "sample"))
    spatial.prepare(options, tmp_path)
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


def test_a_sample_must_be_named(tmp_path):
    with pytest.raises(BenchError, match="give --config.sample=FOLDER"):
        spatial.prepare(spatial.Options(), tmp_path)
