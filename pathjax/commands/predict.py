"""`pathjax predict`: expression from images alone."""

import argparse
from pathlib import Path

from pathjax.buckets import shown
from pathjax.commands.options import add_fields, read_fields
from pathjax.commands.output import (
    add_allow_code,
    add_shard,
    refuse_unused,
    remember_defaults,
)
from pathjax.predict.options import Options

RETRIEVAL = (
    *("reference_part", "reference_text", "reference_vectors"),
    *("neighbours", "nearest", "own_patient"),
)
OF_SLIDES = ("slide_mpp", "min_tissue")


def add(commands) -> None:
    """Adds `predict`."""
    predict = commands.add_parser(
        "predict",
        help="predict expression of tiles from their images, as AnnData and maps",
    )
    predict.add_argument("checkpoint", type=Path, help="run folder or model file")
    predict.add_argument(
        "input", type=Path, help="a study, a folder of tiles or a whole-slide file"
    )
    predict.add_argument("--out", type=Path, required=True, metavar="DIR")
    add_fields(predict, Options)
    add_shard(predict, "tiles")
    add_allow_code(predict)
    remember_defaults(predict, (*RETRIEVAL, *OF_SLIDES))
    predict.set_defaults(run=run_predict)


def run_predict(args: argparse.Namespace) -> None:
    import sys

    from pathjax.embeddings.embed import Embedded
    from pathjax.parallel.shard import Shard
    from pathjax.predict.run import predict
    from pathjax.progress import stage

    if args.reference is None:
        refuse_unused(args, RETRIEVAL, "retrieval needs a study, --reference")
    if args.input.is_dir():
        refuse_unused(args, OF_SLIDES, f"{args.input} is no slide")
    options = read_fields(args, Options)
    with stage("tiles", 1) as bar:
        done = predict(
            args.checkpoint,
            args.input,
            args.out,
            options,
            progress=lambda now, total: bar(now, "", total),
            shard=Shard.parse(args.shard),
        )
    if isinstance(done, Embedded):
        print(f"{args.out}, shard {args.shard}: {done.rows} tiles embedded")
        return
    for path in done.files:
        print(shown(path))
    print(f"{done.tiles} tiles, {done.genes} genes")
    for note in done.notes:
        print(f"note: {note}")
    if not done.audit.startswith("clean"):
        print(f"AUDIT: {done.audit}", file=sys.stderr)
    print("Predicted from images: research only, not for clinical use")
