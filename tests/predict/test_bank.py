"""Retrieval against brute force, and never from the query's own patient."""

import numpy as np
import pytest

from pathjax.data.text_store import TextEmbeddings
from pathjax.predict import PredictError
from pathjax.predict.bank import Bank, person, reference_rows

FEATURES = np.random.default_rng(0).normal(0, 1, (4, 24)).astype(np.float32)


@pytest.fixture(scope="module")
def bank(make_model, tiny_study):
    return Bank(make_model("contrastive"), tiny_study, neighbours=3)


def test_expression_is_the_weighted_mean_of_the_nearest(bank, make_model, tiny_study):
    assert bank.samples == [f"P{i:02d}" for i in range(8)]  # those trained on
    expression = tiny_study.expression()
    genes = make_model("contrastive").meta["panel"]["genes"]
    profiles = np.asarray(expression[bank.samples, genes].X)
    z = bank.image(FEATURES)
    people = ["", "P03", "P01", "stranger"]
    similarity = z @ bank._z["expression"].T
    expected = np.empty((4, 2))
    for i, one in enumerate(people):
        allowed = [j for j, name in enumerate(bank.samples) if name != one]
        best = sorted(allowed, key=lambda j: -similarity[i, j])[:3]
        weight = np.exp(similarity[i, best] / 0.07)  # the temperature it starts with
        expected[i] = weight @ profiles[best][:, [5, 1]] / weight.sum()
    np.testing.assert_allclose(bank(FEATURES, [5, 1], people), expected, rtol=1e-4)
    got = bank.nearest(z, people, 99)
    assert got.row.shape == (4, 8)
    assert got.row[1, -1] == -1 and 3 not in got.row[1]
    assert np.isnan(got.similarity[1, -1])
    assert (np.diff(got.similarity[0]) <= 0).all()
    assert "left out" in bank.means and bank.means.startswith("retrieval")


def test_a_joint_model_retrieves_too(make_model, tiny_study):
    bank = Bank(make_model("joint"), tiny_study, neighbours=3)
    assert bank(FEATURES, [5, 1], [""] * 4).shape == (4, 2)


def test_more_neighbours_than_samples_are_said(make_model, tiny_study, caplog):
    bank = Bank(make_model("contrastive"), tiny_study, neighbours=9)
    assert caplog.messages == [
        "--neighbours 9: the reference has only 8 samples; all are averaged"
    ]
    assert "mean of the 8 reference samples" in bank.means


def test_towers_are_those_of_the_model(bank, make_model, tiny_study):
    """Row by row through the objective itself, with real tiles of no meaning."""
    import jax.numpy as jnp

    from pathjax import objectives
    from pathjax.data.expression import GenePanel, select

    model = make_model("contrastive")
    panel = GenePanel.from_json(model.meta["panel"])
    objective = objectives.of_model(model, cached=True)
    values = select(tiny_study.expression(), bank.samples, panel.genes)
    batch = {
        "embedding": jnp.asarray(FEATURES[None, :]),
        "expression": jnp.asarray(panel.normalise(values[:1])),
        "mask": jnp.ones(1, bool),
    }
    got = objective.predict(model.params, batch)
    np.testing.assert_allclose(
        bank.pooled(FEATURES), got["z_image"], rtol=1e-4, atol=1e-6
    )
    np.testing.assert_allclose(
        bank._z["expression"][:1], got["z_expression"], rtol=1e-4, atol=1e-6
    )


def test_nobody_left_is_an_error(make_model, tiny_study, monkeypatch):
    model = make_model("contrastive")
    model.meta["audit"][0]["slides"] = ["P02a"]
    bank = Bank(model, tiny_study)
    with pytest.raises(PredictError, match="are of patient P02, as the query is"):
        bank(FEATURES, [0], ["P02"] * 4)
    own = Bank(model, tiny_study, own_patient=True)
    assert own(FEATURES, [0], ["P02"] * 4).shape == (4, 1)
    assert "included" in own.means


def test_which_part_of_the_reference(make_model, tiny_study):
    model = make_model("contrastive")
    assert reference_rows(tiny_study, model, "main:test")[0] == ["P10", "P11"]
    assert len(reference_rows(tiny_study, model, "all")[0]) == 12
    with pytest.raises(PredictError, match="expected SPLIT:FOLD"):
        reference_rows(tiny_study, model, "main")
    model.meta["audit"][0] |= {"study": "other", "fingerprint": "0"}
    with pytest.raises(PredictError, match="was not trained on study tiny"):
        reference_rows(tiny_study, model, None)


def test_a_person_is_one_across_studies():
    slide = "TCGA-AB-1234-01Z-00-DX1"
    assert person("p7", slide) == person("TCGA-AB-1234") == "TCGA-AB-1234"
    assert person("p7", "slide") == "p7" and person("") == ""


@pytest.mark.slow
def test_reports_are_found_by_their_text(make_model, tiny_study):
    model = make_model("contrastive", text_dim=5)
    vectors = np.random.default_rng(1).normal(0, 1, (3, 5)).astype(np.float32)
    text = TextEmbeddings(
        ["P01", "P05", "P06"], vectors, {"backend": "b", "model": "m"}
    )
    bank = Bank(model, tiny_study, text=text)
    assert bank.modalities == ("expression", "text")
    z = bank.image(FEATURES)
    got = bank.nearest(z, ["P05", "", "", ""], 3, by="text")
    assert {bank.samples[row] for row in got.row[1]} == {"P01", "P05", "P06"}
    assert {bank.samples[row] for row in got.row[0, :2]} == {"P01", "P06"}
    assert got.row[0, 2] == -1
    expected = np.sort(z[1] @ bank._z["text"][[1, 5, 6]].T)[::-1]
    np.testing.assert_allclose(got.similarity[1], expected, rtol=1e-5)
    short = TextEmbeddings(["P01"], vectors[:1, :4], text.meta)
    with pytest.raises(PredictError, match="has 4 dimensions, and the model takes 5"):
        Bank(model, tiny_study, text=short)
    with pytest.raises(PredictError, match="has no text tower"):
        Bank(make_model("contrastive"), tiny_study, text=text)
