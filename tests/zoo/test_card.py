"""The card: what it says of licence and use, and that nothing in a file can draw on it."""

import pytest
from tiny_zoo import shrink

from pathjax.models.model_file import Model
from pathjax.zoo import get
from pathjax.zoo.card import code, escape, link, render_card

NASTY = "a|b\n# Big <img src=x> [x](http://y) `z` *w* \\"
ENTRY = {
    "model": NASTY,
    "seed": 0,
    "task": "t",
    "metric": "balanced accuracy",
    "value": 0.51239,
    "chance": 0.5,
    "n": 10,
    "n_patients": 3,
    "audit": {"status": "clean"},
    "synthetic": True,
}


def model(entry_name, **meta):
    entry = get(entry_name)
    origin = {
        "title": entry.title,
        "licence": entry.licence,
        "licence_url": entry.licence_url,
        "share_derivatives": entry.share_derivatives,
        "pretraining": entry.pretraining,
        "pretrained_on_tcga": entry.pretrained_on_tcga,
        "source": entry.source,
        "weights_sha256": "0" * 64,
        "unknown": list(entry.unknown),
    }
    base = {
        "name": "tuned",
        "objective": {"name": "contrastive", "temperature": 0.1},
        "image_px": 224,
        "foundation": origin,
        "audit": [],
        "seed": 3,
    }
    return Model({}, shrink(entry.vit), {**base, **meta})


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("uni", "does not let derived weights"),
        ("kaiko-vits16", "It lets derived weights"),
        ("gpfm", "is not known: ask its owner"),
    ],
)
def test_the_licence_is_the_bases(name, words):
    text = render_card(model(name), "timm")
    assert words in text and get(name).licence_url in text
    assert text.startswith("---\n") and "license: other" in text


def test_what_timm_has_to_be_told():
    text = render_card(model("phikon"), "timm")
    assert "norm_layer=functools.partial(timm.layers.LayerNorm, eps=1e-12)" in text
    assert "--image-px" in text
    assert "At 224 px, which this model is made for, they do not" in text
    plain = render_card(model("uni"), "timm")
    assert "norm_layer" not in plain and "--image-px" not in plain
    call = 'model = timm.create_model("local-dir:FOLDER", pretrained=True)'
    assert call in plain
    assert "number 5 on" in render_card(model("virchow2"), "timm")


def test_text_is_escaped():
    stage = {"study": NASTY, "patients": ["P1"], "objective": NASTY}
    text = render_card(model("uni"), "timm", [ENTRY])
    text += render_card(model("uni", name=NASTY, audit=[stage]), "npz")
    assert "\n# Big" not in text and "<img" not in text.replace("\\<", "")
    assert "](http" not in text.replace("\\](http", "")
    row = next(line for line in text.splitlines() if "balanced accuracy" in line)
    assert row.replace("\\|", "").count("|") == 10
    assert "0.5124" in row and "(synthetic)" in row


def test_pieces():
    assert escape("a_b\n c") == "a\\_b c"
    assert code("a`b\nc") == "`a'b c`"
    assert link("https://x.y/z>)") == "<https://x.y/z%3E)>"
    assert link("javascript:alert(1)") == "javascript:alert(1)"
