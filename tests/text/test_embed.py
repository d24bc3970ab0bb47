"""Reports of a study or a table to a file of vectors."""

import dataclasses
import json

import numpy as np
import pytest
import text_server as bad
from extras import need

from pathjax.data.text_store import TextError, hash_texts
from pathjax.text.cache import VectorCache
from pathjax.text.cost import stop_over
from pathjax.text.embed import embed_pieces, embed_tfidf, load_texts, make_plan
from pathjax.text.openai import OpenAIBackend


@pytest.fixture
def table(tmp_path):
    kinds = ("clear cell carcinoma", "papillary tumour", "benign lymph node")
    texts = [f"report number {i} shows {kinds[i % 3]}" for i in range(12)]
    lines = "\n".join(f"P{i:02d},{text}" for i, text in enumerate(texts))
    (tmp_path / "r.csv").write_text(f"patient_id,text\n{lines}\n")
    return tmp_path / "r.csv"


def test_texts_of_a_study_and_of_a_table(tiny_study, table):
    found = load_texts(tiny_study.root)
    assert found.sample_ids == ["P00", "P01", "P02"] and found.texts == ["a", "b", "c"]
    about = found.about()
    assert about["fingerprint"] == tiny_study.fingerprint and about["synthetic"]
    pairs = [("P02", "c"), ("P00", "a"), ("P01", "b")]
    assert about["texts"] == hash_texts(pairs)
    found = load_texts(table)
    assert len(found.texts) == 12 and found.about()["fingerprint"] is None
    assert found.source["ids"] == "patient_id"


def test_a_study_without_reports_says_how_to_add_them(broken_copy):
    path = broken_copy.root / "study.json"
    meta = json.loads(path.read_text())
    del meta["files"]["reports.parquet"]
    path.write_text(json.dumps(meta))
    with pytest.raises(TextError, match="has no reports: add them with `pathjax data"):
        load_texts(broken_copy.root)


def test_over_http(server, table, tmp_path):
    backend = OpenAIBackend("m", base_url=server.url, batch=5)
    steps = []
    with VectorCache(tmp_path / "c.sqlite") as cache:
        found = embed_pieces(
            load_texts(table), backend, cache, progress=lambda *at: steps.append(at)
        )
    assert steps == [(5, 12), (10, 12), (12, 12)]
    assert found.sample_ids[0] == "P00"
    expected = [bad.vector_of(text) for text in load_texts(table).texts]
    np.testing.assert_allclose(found.values, expected, rtol=1e-6)
    assert found.meta["model"] == "m" and found.meta["base_url"] == server.url
    assert bad.KEY not in str(found.meta)


def test_it_stops_when_the_server_counts_more_than_was_agreed(server, table, tmp_path):
    backend = OpenAIBackend("m", base_url=server.url, batch=4)
    texts = load_texts(table)
    with VectorCache(tmp_path / "c.sqlite") as cache:
        stop = stop_over(backend, price=1.0, max_cost=1e-4)
        with pytest.raises(TextError, match=r"is paid, over .* after 8 of 12 pieces"):
            embed_pieces(texts, backend, cache, progress=stop)
        assert len(make_plan(texts.texts, backend, cache).missing) == 4


def test_tfidf_is_fitted_to_a_fold(tiny_study, table):
    need("sklearn")
    texts = load_texts(table)
    everything = embed_tfidf(texts, dimensions=4)
    assert everything.meta["fitted_on"] == "all texts"
    assert everything.meta["fitted_texts"] == 12
    with pytest.raises(TextError, match="folds are a study's"):
        embed_tfidf(texts, fit_on=("main", "train"))
    of_study = dataclasses.replace(texts, study=tiny_study)
    found = embed_tfidf(of_study, fit_on=("main", "train"), dimensions=4)
    assert found.meta["fitted_on"] == "main:train" and found.meta["fitted_texts"] == 8
    assert found.values.shape == (12, 4)
