"""`pathjax figure tsne`: embeddings in the plane, coloured by a target."""

import argparse
from pathlib import Path


def add(commands) -> None:
    """Adds the command."""
    parser = commands.add_parser("figure", help="plot embeddings")
    kinds = parser.add_subparsers(title="kinds", metavar="KIND", required=True)
    tsne = kinds.add_parser(
        "tsne",
        help="t-SNE or UMAP of slides, RNA or report texts, coloured by a target, with "
        "the purity of neighbourhoods",
    )
    tsne.add_argument("study", nargs="?", type=Path, help="omit with --labels")
    tsne.add_argument(
        "--of",
        required=True,
        metavar="rna|FILE",
        help="the study's RNA, or FILE.h5 of `pathjax embed` or `pathjax text embed`, "
        "or FILE.h5ad",
    )
    tsne.add_argument(
        "--by",
        required=True,
        metavar="TARGET[@OTHER=CLASS]",
        help="colours; @ shows only samples of a class of another target",
    )
    tsne.add_argument("--out", type=Path, required=True, metavar="FILE.png")
    tsne.add_argument("--method", choices=("tsne", "umap"), default="tsne")
    tsne.add_argument("--labels", type=Path, nargs="+", default=[], metavar="PATH")
    tsne.add_argument("--most", type=int, default=20_000, help="maximum number of rows")
    tsne.add_argument("--seed", type=int, default=0)
    tsne.set_defaults(run=run_tsne)


def run_tsne(args: argparse.Namespace) -> None:
    from pathjax.modalities.scatter import describe, make_picture, read_subject, write

    subject = read_subject(
        args.study, args.of, args.by, labels=args.labels, most=args.most, seed=args.seed
    )
    picture = make_picture(subject, args.by, method=args.method, seed=args.seed)
    for path in write(picture, args.out):
        print(path)
    print(describe(picture) or f"fewer than two classes of {args.by} are known")
