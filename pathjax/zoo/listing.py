"""What `pathjax models` shows: a table of all models, or lines about one."""

from collections.abc import Iterable
from urllib.parse import urlsplit

from rich.table import Table
from rich.text import Text

from pathjax.zoo.entry import HALF, IMAGENET, Entry

UNVERIFIED = "unverified"
COLUMNS = ("name", "architecture", "parameters", "embedding", "pixels", "licence")


def models_table(entries: Iterable[Entry]) -> Table:
    """One row for each model, in the order given."""
    table = Table(title="Public models")
    for column in (*COLUMNS, "gated", "weights", UNVERIFIED):
        table.add_column(column, justify="right" if column == "parameters" else "left")
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
        table.add_row(*map(Text, cells))
    return table


def details(entry: Entry) -> str:
    """All that is known of one model, a fact on each line."""
    vit, (resize, crop, interpolation) = entry.vit, entry.preprocess
    scale = "none" if vit.layerscale is None else f"{vit.layerscale:g}"
    positions = "only" if vit.no_embed_class else "and on tokens before them"
    sharing = {True: "may be shared on its terms", False: "no sharing", None: "unknown"}
    yes = {True: "yes", False: "no", None: "unknown"}
    mean, std = (" ".join(f"{x:g}" for x in one) for one in (vit.mean, vit.std))
    facts = (
        ("name", entry.name, "name"),
        ("architecture", entry.architecture, "vit"),
        ("parameters", f"{amount(entry.parameters)} ({entry.parameters})", "vit"),
        (
            "blocks",
            f"{vit.depth} of width {vit.width}, MLP {vit.mlp_dim}, {vit.heads} heads",
            "vit",
        ),
        ("LayerNorm", f"eps {vit.norm_eps:g}", "vit.norm_eps"),
        ("LayerScale", scale, "vit.layerscale"),
        (
            "registers",
            f"{vit.registers}, positions on patches {positions}",
            "vit.no_embed_class",
        ),
        (
            "positions",
            f"{vit.grid} x {vit.grid} ({vit.image_px} px), {vit.positions} resizing",
            "vit.positions",
        ),
        ("embedding", embedding(entry), "vit.pool"),
        ("pixels", f"mean {mean}, std {std}", "vit.mean"),
        (
            "preprocess",
            f"resize to {resize} px ({interpolation}), crop {crop} px",
            "preprocess",
        ),
        ("weights", f"{entry.source}, in the {entry.layout} layout", "source"),
        ("checksums", ", ".join(entry.sha256) or "none known", "sha256"),
        ("gated", yes[entry.gated], "gated"),
        ("licence", f"{entry.licence}, {entry.licence_url}", "licence"),
        ("derived weights", sharing[entry.share_derivatives], "share_derivatives"),
        ("pre-training", entry.pretraining, "pretraining"),
        ("saw TCGA", yes[entry.pretrained_on_tcga], "pretrained_on_tcga"),
    )
    lines = [entry.title]
    for label, fact, field in facts:
        doubt = f" ({UNVERIFIED})" if field in entry.unknown else ""
        lines.append(f"  {label:<16}{fact}{doubt}")
    lines += ["  checked against", *(f"    {source}" for source in entry.sources)]
    return "\n".join(lines)


def amount(number: int) -> str:
    """As in "85.8 M" and "1.13 G"."""
    return f"{number / 1e9:.2f} G" if number >= 1e9 else f"{number / 1e6:.1f} M"


def embedding(entry: Entry) -> str:
    """Pooling and width."""
    words = {"cls": "CLS", "mean": "mean of patches", "cls_mean": "CLS + mean"}
    return f"{words[entry.vit.pool]}, {entry.vit.embed_dim}"


def pixels(entry: Entry) -> str:
    """Name of the mean and std, as most models share two pairs of them."""
    pair = {"mean": entry.vit.mean, "std": entry.vit.std}
    return "ImageNet" if pair == IMAGENET else "0.5" if pair == HALF else "own"


def weights(entry: Entry) -> str:
    """Where the weights come from, short enough for a column."""
    kind, _, place = entry.source.partition(":")
    if kind == "hf":
        return place.rpartition("/")[0]
    return "timm" if kind == "timm" else urlsplit(place).netloc
