"""The model card of an export: what the model is, its data, scores and licence.

Markdown from a model's meta and the entries of a results.json. All text that came with
a file is escaped, so that it cannot add headings, links or HTML. Numbers are copied.
"""

import json
import re
from collections.abc import Sequence
from typing import Any

from pathjax.models.model_file import Model

SIGNS = re.compile(r"([\\`*_{}\[\]<>#|~&$!])")
POOLS = {"cls": "CLS", "mean": "mean of patches", "cls_mean": "CLS, mean of patches"}
SHARING = {
    True: "It lets derived weights, such as these, be shared on its own terms: read them "
    "before you do, as they may exclude commercial use or ask for the same licence.",
    False: "It does not let derived weights, such as these, be shared: do not publish "
    "them.",
    None: "Whether it lets derived weights, such as these, be shared is not known: ask "
    "its owner before you do.",
}


def escape(value: Any) -> str:
    """Text that Markdown shows as it is, on one line."""
    return SIGNS.sub(r"\\\1", " ".join(str(value).split()))


def code(value: Any) -> str:
    """Text as inline code; backticks, which could end it, become quotes."""
    return f"`{' '.join(str(value).split()).replace('`', chr(39))}`"


def link(address: Any) -> str:
    """A web address as a link; anything else as text."""
    text = "".join(str(address).split())
    if not text.startswith(("https://", "http://")):
        return escape(address)
    return "<" + re.sub(r"[<>\"`\\]", lambda sign: f"%{ord(sign[0]):02X}", text) + ">"


def render_card(
    model: Model, format: str, entries: Sequence[dict[str, Any]] | None = None
) -> str:
    """The card of an exported model.

    Args:
      model: In plain form, as it is exported.
      format: "timm" or "npz".
      entries: Of a results.json; None without evaluation.
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
    """The YAML header that model hubs read; JSON strings are valid YAML."""
    origin = model.meta.get("foundation") or {}
    lines = ["---", "tags:", '- "pathology"', '- "pathjax"']
    if format == "timm":
        lines.append("library_name: timm")
    if origin:
        name = re.sub(r"[^a-z0-9.]+", "-", str(origin["licence"]).lower()).strip("-")
        address = json.dumps(str(origin["licence_url"]))
        lines += ["license: other", f'license_name: "{name}"']
        lines.append(f"license_link: {address}")
    return "\n".join([*lines, "---"])


def _summary(model: Model) -> str:
    vit, meta = model.vit, model.meta
    mlp = "SwiGLU" if vit.mlp == "swiglu" else "GELU"
    objective = dict(meta.get("objective") or {})
    trained = objective.pop("name", "unknown")
    if trained == "imported":
        trained = "none, these are the public weights as they are"
    options = f" {code(json.dumps(objective))}" if objective else ""
    shape = (
        f"patch {vit.patch}, width {vit.width}, {vit.depth} blocks, {vit.heads} heads"
    )
    pixels = f"RGB in [0, 1] less {list(vit.mean)} over {list(vit.std)}"
    lines = [
        f"- encoder: ViT, {shape}, {mlp}, {vit.registers} registers",
        f"- embedding: {POOLS[vit.pool]}, {vit.embed_dim} numbers",
        f"- images: {preprocessing(model)}, {pixels}",
        f"- objective: {escape(trained)}{options}",
    ]
    for label, key in (("seed", "seed"), ("steps", "step")):
        if meta.get(key) is not None:
            lines.append(f"- {label}: {escape(meta[key])}")
    return "\n".join(lines)


def preprocessing(model: Model) -> str:
    """Resize and crop in words."""
    steps = model.meta.get("preprocess")
    if not steps:
        return f"the middle {model.meta['image_px']} px of a tile, not resized"
    return (
        f"shorter side resized to {steps['resize']} px ({steps['interpolation']}, "
        f"antialiased), middle {steps['crop']} px"
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
        input_px = model.meta["image_px"]
        where = f"At {vit.image_px} px nothing is resized, and both agree"
        if input_px != vit.image_px:
            where += f". At {input_px} px, which this model is made for, they do not"
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
    inner = ", ".join(arguments)
    if len(arguments) > 2:
        inner = "\n" + "".join(f"    {argument},\n" for argument in arguments)
    body = f"```python\n{imports}\n\nmodel = timm.create_model({inner})\n```"
    return "\n\n".join(["## Use", body, *notes])


def _origin(model: Model) -> str:
    origin = model.meta.get("foundation")
    if not origin:
        return "## Base\n\nNone that is public: trained with pathjax from the start."
    seen = {True: "yes", False: "no", None: "not known"}[origin["pretrained_on_tcga"]]
    lines = [
        f"## Base\n\n- {escape(origin['title'])}, {escape(origin['pretraining'])}",
        f"- TCGA slides seen in its pre-training: {seen}",
        f"- weights: {code(origin['source'])}, SHA-256 {code(origin['weights_sha256'])}",
    ]
    if origin.get("unknown"):
        fields = ", ".join(map(code, origin["unknown"]))
        lines.append(f"- not settled by any public source: {fields}")
    return "\n".join(lines)


def _data(model: Model) -> str:
    lines = [
        f"- {escape(stage['study'])}{', synthetic' if stage.get('synthetic') else ''}: "
        f"{len(stage['patients'])} patients, "
        f"{escape(stage.get('objective', 'objective unknown'))}"
        for stage in model.meta.get("audit") or []
    ]
    heading = "## Data it was trained on with pathjax"
    return "\n".join([heading, "", *lines]) if lines else ""


def _metrics(entries: Sequence[dict[str, Any]] | None) -> str:
    if not entries:
        return ""
    columns = [
        "model",
        "seed",
        "task",
        "metric",
        "value",
        "chance",
        "n",
        "patients",
        "audit",
    ]
    lines = ["## Metrics", "", f"| {' | '.join(columns)} |", "|---" * 9 + "|"]
    more = [one | own for one in entries for own in one.get("more_metrics", ())]
    for entry in [*entries, *more]:
        cells = [
            entry["model"],
            "" if entry["seed"] is None else entry["seed"],
            entry["task"] + (" (synthetic)" if entry["synthetic"] else ""),
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
