"""What `pathjax models` shows: a table of all models, or lines about one.

Text only; printing is the caller's.
"""

from collections.abc import Iterable
from urllib.parse import urlsplit

from rich.table import Table
from rich.text import Text

from pathjax.zoo.entry import IMAGENET, Entry

UNVERIFIED = "unverified"


def models_table(entries: Iterable[Entry]) -> Table:
    """One row for each model, in the order given."""
    table = Table(title="Public models")
    for column in ("name", "architecture"):
        table.add_column(column)
    table.add_column("parameters", justify="right")
    for column in ("embedding", "pixels", "licence", "gated", "weights", UNVERIFIED):
        table.add_column(column)
    for entry in entries:
        cells = (
            entry.name,
            entry.architecture,
            amount(entry.parameters),
            embedding(entry),
            pixels(entry),
            entry.licence,
            "yes" if entry.gated else "no",
            weights(entry),
            ", ".join(entry.unknown),
        )
        # Text, so that nothing in a cell is read as markup
        table.add_row(*(Text(cell) for cell in cells))
    return table


def details(entry: Entry) -> str:
    """All that is known of one model, a fact on each line."""
    vit, (resize, crop, interpolation) = entry.vit, entry.preprocess
    facts = {
        "name": (entry.name, "name"),
        "architecture": (entry.architecture, "vit"),
        "parameters": (f"{amount(entry.parameters)} ({entry.parameters})", "vit"),
        "blocks": (
            f"{vit.depth} of width {vit.width}, MLP {vit.mlp_dim}, {vit.heads} heads",
            "vit",
        ),
        "LayerNorm": (
            f"eps {vit.norm_eps:g}",
            "vit.norm_eps",
        ),
        "LayerScale": (
            "none" if vit.layerscale is None else f"{vit.layerscale:g}",
            "vit.layerscale",
        ),
        "registers": (
            f"{vit.registers}, positions on patches {_only(vit.no_embed_class)}",
            "vit.no_embed_class",
        ),
        "positions": (
            f"{vit.grid} x {vit.grid} ({vit.image_px} px), {vit.positions} resizing",
            "vit.positions",
        ),
        "embedding": (embedding(entry), "vit.pool"),
        "pixels": (f"mean {_numbers(vit.mean)}, std {_numbers(vit.std)}", "vit.mean"),
        "preprocess": (
            f"resize to {resize} px ({interpolation}), crop {crop} px",
            "preprocess",
        ),
        "weights": (f"{entry.source}, in the {entry.layout} layout", "source"),
        "gated": ("yes" if entry.gated else "no", "gated"),
        "licence": (f"{entry.licence}, {entry.licence_url}", "licence"),
        "derived weights": (
            _known(entry.share_derivatives, "may be shared on its terms", "no sharing"),
            "share_derivatives",
        ),
        "pre-training": (entry.pretraining, "pretraining"),
        "saw TCGA": (
            _known(entry.pretrained_on_tcga, "yes", "no"),
            "pretrained_on_tcga",
        ),
    }
    lines = [entry.title]
    for label, (fact, field) in facts.items():
        doubt = f" ({UNVERIFIED})" if field in entry.unknown else ""
        lines.append(f"  {label:<16}{fact}{doubt}")
    lines += ["  checked against", *(f"    {source}" for source in entry.sources)]
    return "\n".join(lines)


def amount(number: int) -> str:
    """As in "85.8 M" and "1.13 G"."""
    return f"{number / 1e9:.2f} G" if number >= 1e9 else f"{number / 1e6:.1f} M"


def embedding(entry: Entry) -> str:
    """Width and pooling of an entry's embedding, for the list."""
    words = {"cls": "CLS", "mean": "mean of patches", "cls_mean": "CLS + mean"}
    return f"{words[entry.vit.pool]}, {entry.vit.embed_dim}"


def pixels(entry: Entry) -> str:
    """Whose mean and std, as most models share two pairs of them."""
    if (entry.vit.mean, entry.vit.std) == (IMAGENET["mean"], IMAGENET["std"]):
        return "ImageNet"
    return "0.5" if entry.vit.mean == entry.vit.std == (0.5, 0.5, 0.5) else "own"


def weights(entry: Entry) -> str:
    """Where the weights come from, short enough for a column."""
    kind, _, place = entry.source.partition(":")
    if kind == "hf":
        return place.rpartition("/")[0]
    return "timm" if kind == "timm" else urlsplit(place).netloc


def _known(value: bool | None, yes: str, no: str) -> str:
    return "unknown" if value is None else yes if value else no


def _only(no_embed_class: bool) -> str:
    return "only" if no_embed_class else "and on tokens before them"


def _numbers(values: tuple[float, ...]) -> str:
    return " ".join(f"{value:g}" for value in values)
