"""`pathjax models`, `import` and `export`: public models in and out."""

import argparse
import sys
from pathlib import Path

from pathjax.buckets import shown


def add(commands) -> None:
    """Adds all three."""
    models = commands.add_parser(
        "models", help="list public models that can be imported"
    )
    models.add_argument("name", nargs="?", help="show details of this model")
    models.set_defaults(run=run_models)

    imports = commands.add_parser("import", help="import the weights of a public model")
    imports.add_argument(
        "model", help="name listed by `pathjax models`, or module:NAME"
    )
    imports.add_argument(
        "--weights",
        type=Path,
        metavar="PATH",
        help="safetensors or PyTorch file, its index, or the folder of a download "
        "(default: download)",
    )
    imports.add_argument(
        "--image-px",
        type=int,
        metavar="N",
        help="side of the images that the model will see (default: as published)",
    )
    imports.add_argument(
        "--prefix",
        help="prefix of the encoder's tensors, in a file that holds several encoders",
    )
    imports.add_argument("--out", type=Path, required=True, metavar="DIR")
    imports.set_defaults(run=run_import)

    export = commands.add_parser(
        "export", help="export a model for timm or NumPy, with a model card"
    )
    export.add_argument("model", type=Path, help="run folder or model.safetensors")
    export.add_argument("--format", choices=("timm", "npz"), required=True)
    export.add_argument("--out", type=Path, required=True, metavar="DIR")
    export.add_argument(
        "--results", type=Path, help="results.json with scores for the model card"
    )
    export.add_argument(
        "--image-px", type=int, help="resize position embeddings to this image size"
    )
    export.set_defaults(run=run_export)


def run_models(args: argparse.Namespace) -> None:
    from rich.console import Console

    from pathjax.zoo import MODELS, get
    from pathjax.zoo.listing import details, models_table

    if args.name:
        print(details(get(args.name)))
    else:
        # A file has no width, and a table cut to that of a terminal is of no use there.
        width = None if sys.stdout.isatty() else 200
        Console(width=width).print(models_table(MODELS.values()))


def run_import(args: argparse.Namespace) -> None:
    from pathjax.zoo.importing import import_model
    from pathjax.zoo.matching import compress

    done = import_model(args.model, args.weights, args.out, args.image_px, args.prefix)
    origin, vit, converted = (
        done.model.meta["foundation"],
        done.model.vit,
        done.converted,
    )
    print(
        f"{done.path}: {origin['title']}, images of {done.model.meta['image_px']} px, "
        f"positions {vit.grid} x {vit.grid}, tensor names of {converted.dialect}"
    )
    print(f"checksum: {done.checksum} (SHA-256 {origin['weights_sha256'][:12]}...)")
    if done.model.meta["image_px"] != vit.image_px:
        rule = {"torch": "transformers does", "timm": "timm does"}
        how = rule.get(vit.positions, "the DINO repositories do")
        print(f"positions are resized as {how}")
    if converted.others:
        print(
            f"the file holds several encoders: used {converted.prefix!r}, not "
            f"{compress(map(repr, converted.others))}"
        )
    if converted.dropped:
        print(
            f"left out {len(converted.dropped)} tensors that are not part of the "
            f"encoder: {compress(converted.dropped)}"
        )
    print(f"licence: {origin['licence']}, {origin['licence_url']}")


def run_export(args: argparse.Namespace) -> None:
    from pathjax.zoo.export import export

    for path in export(args.model, args.format, args.out, args.results, args.image_px):
        print(shown(path))
