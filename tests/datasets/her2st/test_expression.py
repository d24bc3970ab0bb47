import numpy as np
import pandas as pd
import pytest
import scipy.sparse

from pathjax.datasets.her2st.expression import expression_table
from pathjax.datasets.her2st.section import read_section
from pathjax.datasets.her2st.source import find_sections


@pytest.fixture
def read(tmp_path, made):
    def sections(*genes, counts=None):
        found = []
        for name, symbols in zip(("C2", "C3"), genes, strict=False):
            content = made(name)
            content.counts[0] = ["", *symbols]
            if counts:
                content.counts[1][1:] = counts
            content.write(tmp_path)
        for files in find_sections(tmp_path).values():
            found.append(read_section(files))
        return found

    return sections


def test_union_of_genes_with_zeros(read):
    sections = read(["A", "B", "C", "D"], ["B", "E", "A", "F"])
    table = expression_table(sections)
    assert list(table.var_names) == ["A", "B", "C", "D", "E", "F"]
    assert list(table.var["sections"]) == [2, 2, 1, 1, 1, 1]
    assert list(table.obs_names) == sections[0].sample_ids + sections[1].sample_ids
    frames = [
        pd.DataFrame(s.counts.toarray(), index=s.sample_ids, columns=s.genes)
        for s in sections
    ]
    expected = pd.concat(frames).fillna(0)[list(table.var_names)]
    np.testing.assert_array_equal(table.layers["counts"].toarray(), expected)


def test_x_is_log1p_of_counts_per_10000_of_the_spots_own_total(read):
    table = expression_table(read(["A", "B", "C", "D"]))
    counts = table.layers["counts"].toarray().astype(np.float64)
    expected = np.log1p(counts / counts.sum(axis=1, keepdims=True) * 10_000)
    np.testing.assert_allclose(table.X.toarray(), expected, rtol=1e-6)
    assert scipy.sparse.issparse(table.X) and table.X.dtype == np.float32
    assert table.layers["counts"].dtype == np.float32
    assert table.uns["pathjax"]["x"] == "log1p(counts per 10,000)"


def test_repeated_symbols_are_summed_whether_renamed_or_not(read):
    sections = read(["MATR3", "MATR3.1", "AC2.1", "MATR3"], counts=["1", "2", "4", "8"])
    table = expression_table(sections)
    assert list(table.var_names) == ["AC2.1", "MATR3"]
    row = sections[0].sample_ids.index(sections[0].sample_ids[0])
    np.testing.assert_array_equal(table.layers["counts"][row].toarray(), [[4, 11]])
    assert table.uns["pathjax"]["summed_symbols"] == ["MATR3 x 3"]


def test_real_section_keeps_every_count(real_data):
    section = read_section(find_sections(real_data / "her2st")["C4"])
    table = expression_table([section])
    assert table.layers["counts"].sum() == section.counts.sum()
    assert table.uns["pathjax"]["summed_symbols"] == [
        "COG8 x 2",
        "MATR3 x 2",
        "ZNF385C x 2",
    ]
    assert table.n_vars == 15842 - 3 and "AC243756.1" in table.var_names
