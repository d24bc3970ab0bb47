"""The gene tower `pathways`: what is read of a GMT file, and its run."""

import logging

import numpy as np
import pytest

from pathjax.embeddings.shared_space import joint_embeddings


@pytest.mark.slow
def test_it_trains_says_what_is_left_out_and_is_embedded(
    check_run, tiny_study, tmp_path, caplog
):
    genes = list(tiny_study.expression().var_names)
    sets = {"first": genes[:6], "second": genes[4:9], "small": ["Q", genes[19]]}
    lines = ["\t".join([name, "", *own]) for name, own in sets.items()]
    (tmp_path / "sets.gmt").write_text("\n".join(lines))
    tower = {"name": "pathways", "gene_sets": str(tmp_path / "sets.gmt")}
    tower |= {"min_genes": 3, "width": 8, "heads": 2}
    with caplog.at_level(logging.INFO):
        model = check_run(tower, **{"objective.gene_dropout": 0.2})
    assert "2 of 3 sets; 11 of 20 genes of the panel are in none" in caplog.text
    assert "1 sets with fewer than 3 of the panel's genes are left out: small (1)" in (
        caplog.text
    )
    assert (
        "objective.widths=(16,) is not used by the gene tower pathways" in caplog.text
    )
    resources = model.meta["resources"]
    panel = model.meta["panel"]["genes"]
    members = {n: {panel[i] for i in own} for n, own in resources["gene_sets"].items()}
    assert members == {name: set(sets[name]) for name in ("first", "second")}
    assert model.params["expression"]["sets"]["kernel"].shape == (2, 6, 8)
    # The file is no longer needed.
    (tmp_path / "sets.gmt").unlink()
    image, genes = joint_embeddings(model, tiny_study)
    assert image.shape[1] == genes.shape[1] == 8 and np.isfinite(genes).all()


def test_what_cannot_be_run(problems_of):
    problems = problems_of({"name": "pathways", "width": 0, "min_genes": 0})
    for part in (
        "gene_sets is not set: name a GMT",
        "width=0",
        "min_genes=0: expected",
    ):
        assert part in problems
    tower = {"name": "pathways", "gene_sets": "a.gmt", "width": 10, "heads": 4}
    assert "heads=4: expected a divisor of 10" in problems_of(tower)
