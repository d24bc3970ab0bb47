"""Embeddings, texts and RNA given to `pathjax modalities` and `figure`."""

import anndata
import numpy as np
import pytest
from damage import cut, examples, refused
from hypothesis import given

from pathjax.data.text_store import TextEmbeddings, write_text
from pathjax.embeddings.embedding_file import write_embeddings
from pathjax.modalities.scatter import kind_of
from pathjax.modalities.sources import from_study


@pytest.fixture(scope="module")
def files(tiny_study, tmp_path_factory):
    """Valid ones, by the option that takes them."""
    folder = tmp_path_factory.mktemp("embeddings")
    paths = {
        "slide": folder / "slide.h5",
        "text": folder / "text.h5",
        "rna": folder / "rna.h5ad",
    }
    features = np.zeros((len(tiny_study), 5), np.float32)
    write_embeddings(paths["slide"], tiny_study, features, {"model": "m"})
    ids = tiny_study.samples["sample_id"].tolist()
    values = np.ones((len(ids), 2), np.float32)
    meta = {"backend": "b", "model": "m"}
    write_text(paths["text"], TextEmbeddings(ids, values, meta))
    expression = tiny_study.expression()
    anndata.AnnData(expression.X, expression.obs, expression.var).write_h5ad(
        paths["rna"]
    )
    return {name: path.read_bytes() for name, path in paths.items()}


@pytest.mark.parametrize("name", ["slide", "text", "rna"])
def test_bytes(tiny_study, files, tmp_path, name):
    @examples(25)
    @given(content=cut(files[name]))
    def check(content):
        path = tmp_path / f"a.{'h5ad' if name == 'rna' else 'h5'}"
        path.write_bytes(content)

        def use():
            if name != "rna":
                kind_of(str(path))
            cohort = from_study(tiny_study, **{name: path})
            assert np.isfinite(cohort.modalities[name].values).all()

        refused(use, ValueError, OSError)

    check()
