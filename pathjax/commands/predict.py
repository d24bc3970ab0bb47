"""`pathjax predict`: expression from images alone."""

import argparse
from pathlib import Path

from pathjax.buckets import shown
from pathjax.commands.output import (
    add_allow_code,
    add_shard,
    refuse_unused,
    remember_defaults,
)

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
    predict.add_argument(
        "--genes",
        metavar="A,B|FILE",
        help="genes to predict and map (default: the whole panel, without maps)",
    )
    predict.add_argument("--split", help="predict a fold of a study only, with --fold")
    predict.add_argument("--fold")
    predict.add_argument(
        "--mpp",
        type=float,
        help="um/px the model was trained at, if its file does not say",
    )
    predict.add_argument(
        "--slide-mpp", type=float, help="um/px of the slide, if its file does not say"
    )
    predict.add_argument(
        "--min-tissue",
        type=float,
        default=0.35,
        help="minimum share of tissue in a tile, 0 to 1",
    )
    predict.add_argument(
        "--pictures",
        type=Path,
        metavar="DIR",
        help="folder of pictures, one per slide and of its name, that x and y refer to",
    )
    predict.add_argument(
        "--max-maps", type=int, default=20, help="maximum number of maps"
    )
    predict.add_argument(
        "--validation",
        type=Path,
        metavar="GENES.csv",
        help="scores of each gene, from an earlier run with --measured",
    )
    predict.add_argument(
        "--measured",
        action="store_true",
        help="compare with measured expression, for a study that has it",
    )
    retrieval = predict.add_argument_group("contrastive checkpoints")
    retrieval.add_argument(
        "--reference",
        type=Path,
        metavar="STUDY",
        help="study whose expression is retrieved",
    )
    retrieval.add_argument(
        "--reference-part",
        metavar="SPLIT:FOLD|all",
        help="part of that study (default: what the model was trained on)",
    )
    retrieval.add_argument(
        "--reference-text",
        type=Path,
        metavar="FILE.h5",
        help="of `pathjax text embed`: retrieve reports by the text tower too",
    )
    retrieval.add_argument(
        "--reference-vectors",
        type=Path,
        metavar="FILE",
        help="for the gene tower `external`: vectors of its samples (default: the file "
        "that the model was trained on)",
    )
    retrieval.add_argument(
        "--neighbours", type=int, default=50, help="number of samples averaged per tile"
    )
    retrieval.add_argument(
        "--nearest",
        type=int,
        default=5,
        help="number of neighbours listed per tile and slide",
    )
    retrieval.add_argument(
        "--own-patient",
        action="store_true",
        help="let a tile retrieve samples of its own patient",
    )
    predict.add_argument("--batch", type=int, default=64)
    predict.add_argument("--threads", type=int, default=2)
    predict.add_argument(
        "--overwrite", action="store_true", help="replace another model's or input's"
    )
    add_shard(predict, "tiles")
    add_allow_code(predict)
    remember_defaults(predict, (*RETRIEVAL, *OF_SLIDES))
    predict.set_defaults(run=run_predict)


def run_predict(args: argparse.Namespace) -> None:
    import dataclasses
    import sys

    from pathjax.embeddings.embed import Embedded
    from pathjax.parallel.shard import Shard
    from pathjax.predict.outputs import Options
    from pathjax.predict.run import predict
    from pathjax.progress import stage

    if args.reference is None:
        refuse_unused(args, RETRIEVAL, "retrieval needs a study, --reference")
    if args.input.is_dir():
        refuse_unused(args, OF_SLIDES, f"{args.input} is no slide")
    names = [field.name for field in dataclasses.fields(Options)]
    options = Options(**{name: getattr(args, name) for name in names})
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
