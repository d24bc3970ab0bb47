"""Blends: exact at both ends, linear between, and only of models that belong together."""

import dataclasses

import numpy as np
import pytest
from flax.traverse_util import flatten_dict, unflatten_dict

from pathjax.files import sha256
from pathjax.models.blend import blend, blended, interpolate, parse_alphas
from pathjax.models.model_file import FILE, Model, load_model, save_model
from pathjax.models.variants import param_shapes, vit_config
from pathjax.objectives import ObjectiveError, of_model

VIT = vit_config("Xs/8", depth=1, image_px=16)


def encoder(seed):
    random = np.random.default_rng(seed)
    leaves = {
        tuple(name.split("/")): random.normal(size=shape).astype(np.float32)
        for name, shape in param_shapes(VIT).items()
    }
    return unflatten_dict(leaves)


def meta(**more):
    return {
        "objective": {"name": "regression"},
        "panel": None,
        "image_px": 16,
        "audit": [],
        "lineage": [],
        **more,
    }


def stage(study, *patients):
    return {
        "study": study,
        "fingerprint": "f",
        "patients": list(patients),
        "slides": [],
    }


@pytest.fixture
def paths(tmp_path):
    """A base, two models tuned from it, and one of other weights."""
    base = save_model(
        tmp_path / "base",
        Model({"vit": encoder(0)}, VIT, meta(name="b", audit=[stage("pre", "P1")])),
    )
    parent = [{"name": "b", "sha256": sha256(base)}]
    for seed, name in enumerate(("one", "two"), 1):
        seen = [stage("pre", "P1"), stage("fine", f"P{seed + 1}")]
        params = {"vit": encoder(seed), "head": {"bias": np.ones(3, np.float32)}}
        about = meta(lineage=parent, audit=seen)
        save_model(tmp_path / name, Model(params, VIT, about))
    save_model(tmp_path / "other", Model({"vit": encoder(9)}, VIT, meta()))
    return {name: tmp_path / name for name in ("base", "one", "two", "other")}


def same(params, other):
    for path, leaf in flatten_dict(params).items():
        np.testing.assert_array_equal(leaf, flatten_dict(other)[path])


def test_alphas():
    assert parse_alphas("0:1:0.25") == [0, 0.25, 0.5, 0.75, 1]
    assert parse_alphas("0:1:0.1")[3] == 0.3
    assert parse_alphas("0.5,0.9") == [0.5, 0.9]
    bad = [
        "",
        "1:0:0.1",
        "0:1:0",
        "0:1:0.3",
        "0:inf:1",
        "0,2",
        "0,0",
        "a",
        "0:1",
        "nan",
    ]
    for text in bad:
        with pytest.raises(ValueError, match="expected --alpha"):
            parse_alphas(text)


def test_a_blend_is_the_base_at_0_the_tuned_model_at_1_and_their_mean_between(paths):
    out = paths["base"].parent / "out"
    blend(paths["base"], [paths["one"]], [0, 0.25, 1], out)
    got = {alpha: load_model(path) for alpha, path in blended(out).items()}
    assert list(got) == [0, 0.25, 1]
    same(got[0].params, {"vit": encoder(0)})
    same(got[1].params, {"vit": encoder(1)})
    for path, leaf in flatten_dict(got[0.25].params["vit"]).items():
        ends = [flatten_dict(encoder(seed))[path].astype(float) for seed in (0, 1)]
        expected = (0.75 * ends[0] + 0.25 * ends[1]).astype(np.float32)
        np.testing.assert_array_equal(leaf, expected)


def test_several_tuned_models_are_averaged_first():
    minus = {"kernel": np.float32([-0.0, 2.0])}
    got = interpolate(minus, [minus, {"kernel": np.float32([3.0, 4.0])}], 0.5)
    np.testing.assert_array_equal(got["kernel"], np.float32([0.75, 2.5]))
    assert np.signbit(interpolate(minus, [minus], 1.0)["kernel"][0])


def test_a_blend_has_seen_what_its_parents_have_seen(paths):
    out = paths["base"].parent / "out"
    (path,) = blend(paths["base"], [paths["one"], paths["two"]], [0.5], out)
    model = load_model(path)
    assert [one["patients"] for one in model.meta["audit"]] == [["P1"], ["P2"], ["P3"]]
    hashes = {parent["sha256"] for parent in model.meta["lineage"]}
    assert hashes == {sha256(paths[n] / FILE) for n in ("base", "one", "two")}
    with pytest.raises(
        ObjectiveError, match="a blended model, an encoder without heads"
    ):
        of_model(model)


def test_more_alphas_are_added_and_other_models_refused(paths):
    out = paths["base"].parent / "out"
    blend(paths["base"], [paths["one"]], [0.5], out)
    blend(paths["base"], [paths["one"]], [0.25], out)
    assert list(blended(out)) == [0.25, 0.5]
    with pytest.raises(ValueError, match="holds a blend of other models"):
        blend(paths["base"], [paths["two"]], [0.5], out)
    with pytest.raises(ValueError, match="is not empty and holds no"):
        blend(paths["base"], [paths["one"]], [0.5], paths["other"])
    (out / "alpha-0.5" / FILE).unlink()
    with pytest.raises(ValueError, match=r"alpha-0\.5 has no model"):
        blended(out)
    assert blended(paths["base"]) == {}


def test_models_that_do_not_belong_together(paths, tmp_path):
    out = tmp_path / "out"
    with pytest.raises(ValueError, match="was not tuned from these weights"):
        blend(paths["base"], [paths["other"]], [0.5], out)
    with pytest.raises(ValueError, match="got one of them twice"):
        blend(paths["base"], [paths["one"], paths["one"]], [0.5], out)
    one = load_model(paths["one"])
    vit = dataclasses.replace(VIT, pool="mean", drop_path=0.1)
    save_model(tmp_path / "pooled", dataclasses.replace(one, vit=vit))
    with pytest.raises(ValueError, match="has an encoder with another pool:"):
        blend(paths["base"], [tmp_path / "pooled"], [0.5], out)
    larger = dataclasses.replace(one, meta={**one.meta, "image_px": 32})
    save_model(tmp_path / "larger", larger)
    with pytest.raises(ValueError, match="sees 32 px, and the base 16"):
        blend(paths["base"], [tmp_path / "larger"], [0.5], out)
    assert not out.exists()
