"""A model card: what an exported model is, what it saw, how good it is, on what terms.

Markdown from a model's meta and the entries of a results.json. All text that came with
a file is escaped, so that a name cannot draw headings, links or HTML. Numbers are
copied, not computed.
"""

import json
import re
from collections.abc import Sequence
from typing import Any

from pathjax.models.model_file import Model

SIGNS = re.compile(r"([\\`*_{}\[\]<>#|~&$!])")
SHARING = {
    True: "It lets derived weights, such as these, be shared on its own terms: read them "
    "before you do, as they may exclude commercial use or ask for the same licence.",
    False: "It does not let derived weights, such as these, be shared: keep them to "
    "yourself.",
    None: "Whether it lets derived weights, such as these, be shared is not known: ask "
    "its owner before you do.",
}


def escape(value: Any) -> str:
    """Text that Markdown shows as it is, on one line."""
    return SIGNS.sub(r"\\\1", " ".join(str(value).split()))


def code(value: Any) -> str:
    """Text as inline code; backticks, which could end it, become quotes."""
    return f"`{' '.join(str(value).split()).replace('`', chr(39))}`"


def render_card(
    model: Model, format: str, entries: Sequence[dict[str, Any]] | None = None
) -> str:
    """The card of an exported model.

    Args:
      model: plain, as it is exported.
      format: "timm" or "npz".
      entries: of a results.json; None if it was not probed.
    """
    sections = [
        _front(model, format),
        f"# {escape(model.meta.get('name') or 'A model of pathjax')}",
        _summary(model),
        _usage(model, format),
        _origin(model),
        _data(model),
        _metrics(entries),
        _licence(model),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _front(model: Model, format: str) -> str:
    """What model hubs read; JSON strings are YAML."""
    origin = model.meta.get("foundation") or {}
    lines = ["---", "tags:", '- "pathology"', '- "pathjax"']
    if format == "timm":
        lines.append("library_name: timm")
    if origin:
        name = re.sub(r"[^a-z0-9.]+", "-", str(origin["licence"]).lower()).strip("-")
        link = json.dumps(str(origin["licence_url"]))
        lines += ["license: other", f'license_name: "{name}"', f"license_link: {link}"]
    return "\n".join([*lines, "---"])


def _summary(model: Model) -> str:
    vit, meta = model.vit, model.meta
    kind = "SwiGLU" if vit.mlp == "swiglu" else "GELU"
    pool = {"cls": "CLS", "mean": "mean of patches", "cls_mean": "CLS, mean of patches"}
    objective = meta.get("objective") or {}
    options = {k: v for k, v in objective.items() if k != "name"}
    trained = objective.get("name", "unknown")
    if trained == "imported":
        trained = "none, these are the public weights as they are"
    found = preprocessing(model)
    shape = (
        f"patch {vit.patch}, width {vit.width}, {vit.depth} blocks, {vit.heads} heads, "
        f"{kind}, {vit.registers} registers"
    )
    lines = [
        f"- encoder: ViT, {shape}",
        f"- embedding: {pool[vit.pool]}, {vit.embed_dim} numbers",
        f"- images: {found}, RGB in [0, 1] less {list(vit.mean)} over {list(vit.std)}",
        f"- objective: {escape(trained)}"
        + (f" {code(json.dumps(options))}" if options else ""),
    ]
    if meta.get("seed") is not None:
        lines.append(f"- seed: {escape(meta['seed'])}")
    if meta.get("step") is not None:
        lines.append(f"- steps: {escape(meta['step'])}")
    return "\n".join(lines)


def preprocessing(model: Model) -> str:
    """Resize and crop in words."""
    found = model.meta.get("preprocess")
    if not found:
        return f"the middle {model.meta['image_px']} px of a tile, not resized"
    return (
        f"shorter side resized to {found['resize']} px ({found['interpolation']}, "
        f"antialiased), middle {found['crop']} px"
    )


def _usage(model: Model, format: str) -> str:
    vit = model.vit
    if format == "npz":
        return (
            "## Use\n\n`model.npz` holds the encoder's arrays under the names of "
            "pathjax's ViT, float32, linears as [in, out]; `config.json` its shape."
        )
    imports, notes = "import timm", []
    arguments = ['"local-dir:FOLDER"', "pretrained=True"]
    if vit.norm_eps != 1e-6:
        imports = "import functools\n\nimport timm"
        norm = f"functools.partial(timm.layers.LayerNorm, eps={vit.norm_eps:g})"
        arguments.append(f"norm_layer={norm}")
        notes.append(
            "`norm_layer` has to be passed: this model's LayerNorm has an epsilon of "
            f"{vit.norm_eps:g}, timm's default is 1e-6, and config.json cannot hold it."
        )
    if vit.positions != "timm":
        fed = model.meta["image_px"]
        where = f"At {vit.image_px} px nothing is resized, and both agree"
        if fed != vit.image_px:
            where += f". At {fed} px, which this model is made for, they do not"
        notes.append(
            "timm resizes position embeddings by its own rule, this model by that of "
            f'"{vit.positions}". {where}; for another size export again with '
            "`--image-px`, which resizes them by this model's rule."
        )
    if vit.pool == "cls_mean":
        notes.append(
            "It gives all tokens; the embedding is the first, followed by the mean of "
            f"those from number {1 + vit.registers} on."
        )
    call = "model = timm.create_model(" + ", ".join(arguments) + ")"
    if len(arguments) > 2:
        lines = "".join(f"    {argument},\n" for argument in arguments)
        call = f"model = timm.create_model(\n{lines})"
    body = f"## Use\n\n```python\n{imports}\n\n{call}\n```"
    return "\n\n".join([body, *notes])


def _origin(model: Model) -> str:
    origin = model.meta.get("foundation")
    if not origin:
        return "## Base\n\nNone that is public: trained with pathjax from the start."
    seen = {True: "yes", False: "no", None: "not known"}[origin["pretrained_on_tcga"]]
    lines = [
        "## Base",
        "",
        f"- {escape(origin['title'])}, {escape(origin['pretraining'])}",
        f"- TCGA slides seen in its pre-training: {seen}",
        f"- weights: {code(origin['source'])}, SHA-256 {code(origin['weights_sha256'])}",
    ]
    if origin.get("unknown"):
        fields = ", ".join(code(one) for one in origin["unknown"])
        lines.append(f"- not settled by any public source: {fields}")
    return "\n".join(lines)


def _data(model: Model) -> str:
    stages = model.meta.get("audit") or []
    if not stages:
        return ""
    lines = ["## Data it was trained on with pathjax", ""]
    for stage in stages:
        synthetic = ", synthetic" if stage.get("synthetic") else ""
        lines.append(
            f"- {escape(stage['study'])}{synthetic}: {len(stage['patients'])} patients, "
            f"{escape(stage.get('objective', 'objective unknown'))}"
        )
    return "\n".join(lines)


def _metrics(entries: Sequence[dict[str, Any]] | None) -> str:
    if not entries:
        return ""
    lines = [
        "## Metrics",
        "",
        "| model | seed | task | metric | value | chance | n | patients | audit |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for entry in entries:
        task = entry["task"] + (" (synthetic)" if entry["synthetic"] else "")
        cells = [
            entry["model"],
            "" if entry["seed"] is None else entry["seed"],
            task,
            entry["metric"],
            f"{entry['value']:.4f}",
            f"{entry['chance']:.4f}",
            entry["n"],
            entry["n_patients"],
            entry["audit"].get("status", "unknown"),
        ]
        lines.append("| " + " | ".join(map(escape, cells)) + " |")
    return "\n".join(lines)


def _licence(model: Model) -> str:
    origin = model.meta.get("foundation")
    if not origin:
        return "## Licence\n\nYours to choose: no public weights are in it."
    return (
        f"## Licence\n\nInherited from {escape(origin['title'])}: "
        f"{escape(origin['licence'])}, {link(origin['licence_url'])}. "
        f"{SHARING[origin['share_derivatives']]}"
    )


def link(address: Any) -> str:
    """A web address as a link; anything else as text."""
    text = "".join(str(address).split())
    if not text.startswith(("https://", "http://")):
        return escape(address)
    return "<" + re.sub(r"[<>\"`\\]", lambda sign: f"%{ord(sign[0]):02X}", text) + ">"
