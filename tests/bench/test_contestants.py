"""Who takes part, and who may."""

import pytest

from pathjax.bench.contestants import DEFAULT, choose, loader_entries, vit_entries
from pathjax.bench.options import (
    BenchError,
    ForwardOptions,
    LoaderOptions,
    StepOptions,
)


def test_ours_comes_first_and_defaults_exist(tmp_path):
    entries = {
        "step": vit_entries("step", StepOptions()),
        "forward": vit_entries("forward", ForwardOptions()),
        "loader": loader_entries(LoaderOptions(), tmp_path),
    }
    for (what, peer), names in DEFAULT.items():
        chosen = choose(entries[what], what, peer, "")
        assert next(iter(chosen)) == "pathjax"
        assert tuple(chosen) == names
        assert any(entry.peer for entry in chosen.values()) == peer


def test_contestants_differ_in_what_their_names_say():
    entries = vit_entries("step", StepOptions())
    assert entries["pathjax"].options["dtype"] == "float32"
    assert entries["pathjax-bf16"].options["dtype"] == "bfloat16"
    assert entries["untuned"].environ["GLIBC_TUNABLES"] == ""
    assert entries["torch-bf16"].options["autocast"]
    assert not entries["torch"].options["autocast"]
    assert entries["torch"].options["vit"]["width"] == 384
    assert "hugetlb=1" in entries["torch-malloc"].environ["GLIBC_TUNABLES"]


def test_refuses_unknown_ones_and_uninvited_peers():
    entries = vit_entries("step", StepOptions())
    with pytest.raises(BenchError, match="tensorrt: no such; there are pathjax"):
        choose(entries, "step", True, "pathjax,tensorrt")
    with pytest.raises(BenchError, match="torch are peers: add --peer"):
        choose(entries, "step", False, "pathjax,torch")
