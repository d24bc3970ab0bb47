import numpy as np
import pytest

from pathjax.data.images import encode_jpeg
from pathjax.data.study_writer import StudyWriter
from pathjax.datasets.her2st import shards

SOURCES = {"C2.jpg": "aa", "C2.tsv": "bb"}


@pytest.fixture
def writer(tmp_path):
    return StudyWriter(
        tmp_path,
        name="made",
        tile_px=8,
        mpp=0.5,
        gene_id_type=None,
        synthetic=True,
        provenance={},
        build={},
    )


def add_shard(writer):
    with writer.shard("C2") as shard:
        shard.add(
            encode_jpeg(np.zeros((8, 8, 3), np.uint8)),
            tile_id="a",
            sample_id="a",
            patient_id="C",
            site="made",
            x=0,
            y=0,
            mpp=0.5,
        )


def test_a_whole_shard_of_the_same_sources_is_kept(writer):
    assert shards.kept(writer, "C2", SOURCES) is None
    add_shard(writer)
    shards.keep(writer, "C2", SOURCES, {"tiles": 1})
    assert shards.kept(writer, "C2", SOURCES) == {"tiles": 1}


def test_changed_sources_are_not(writer):
    add_shard(writer)
    shards.keep(writer, "C2", SOURCES, {"tiles": 1})
    assert shards.kept(writer, "C2", SOURCES | {"C2.jpg": "cc"}) is None


def test_a_shard_without_its_note_is_not(writer):
    add_shard(writer)  # killed before the note
    assert shards.kept(writer, "C2", SOURCES) is None


def test_a_note_without_its_shard_is_not(writer):
    shards.keep(writer, "C2", SOURCES, {"tiles": 1})
    assert shards.kept(writer, "C2", SOURCES) is None
