"""`pathjax modalities`: which modality tells how much of which target."""

import argparse
from pathlib import Path


def add(commands) -> None:
    """Adds the command."""
    parser = commands.add_parser(
        "modalities",
        help="score how well slide, RNA and report text, alone and together, predict "
        "each target; resumes after an interruption",
    )
    parser.add_argument(
        "study", nargs="?", type=Path, help="study folder; omit with --labels"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument(
        "--slide", type=Path, metavar="FILE.h5", help="file written by `pathjax embed`"
    )
    parser.add_argument(
        "--text",
        type=Path,
        metavar="FILE.h5",
        help="file written by `pathjax text embed`",
    )
    parser.add_argument(
        "--rna",
        type=Path,
        metavar="FILE.h5ad",
        help="in place of the study's own; with --labels, of `pathjax data tcga-rna`",
    )
    parser.add_argument(
        "--labels",
        type=Path,
        nargs="+",
        default=[],
        metavar="PATH",
        help="no study: RNA and tables of labels, as `pathjax data tcga` takes them",
    )
    parser.add_argument("--sequenced", type=Path, help="see `pathjax data tcga`")
    parser.add_argument(
        "--mutations",
        nargs="+",
        default=[],
        metavar="GENE|N",
        help="with --labels: see `pathjax data tcga`",
    )
    parser.add_argument(
        "--baselines",
        action="store_true",
        help="also score age and stage (clinical) and the cancer type (type)",
    )
    parser.add_argument(
        "--targets",
        nargs="+",
        metavar="TARGET[@OTHER=CLASS]",
        help="targets to predict, such as `expression` or `mutation:*` (default: all of "
        "the samples); @ uses only samples of a class of another target",
    )
    parser.add_argument(
        "--folds", type=int, default=5, help="number of folds of patients"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--min-patients", type=int, default=10, help="of a class that is asked for"
    )
    parser.add_argument(
        "--genes", type=int, default=2000, help="number of most variable genes to keep"
    )
    parser.add_argument(
        "--components",
        type=int,
        default=0,
        help="principal components of a modality at most; 0 keeps its features",
    )
    parser.add_argument(
        "--alone", action="store_true", help="score single modalities only"
    )
    parser.add_argument(
        "--screen",
        action="store_true",
        help="many targets of two classes, by single modalities: one compiled program "
        "with the same folds for all, p by permuted labels, q over all",
    )
    parser.add_argument(
        "--strict",
        action="store_true",
        help="score nothing if anything that was given is not used",
    )
    parser.set_defaults(run=run_modalities)


def run_modalities(args: argparse.Namespace) -> None:
    from pathjax.data.study import Study, listing
    from pathjax.modalities.cohort import EXPRESSION, ModalityError
    from pathjax.modalities.features import Preparation
    from pathjax.modalities.figures import write_all
    from pathjax.modalities.run import Options, asked_of, run
    from pathjax.modalities.screen import screen
    from pathjax.modalities.sources import from_study, from_tables
    from pathjax.progress import stage

    if args.labels:
        if args.study or args.slide or args.text or not args.rna:
            raise ModalityError(
                "--labels goes with --rna alone, without a study: to use slides and "
                "text too, build a study with `pathjax data tcga`"
            )
        cohort = from_tables(
            args.rna, args.labels, sequenced=args.sequenced, mutations=args.mutations
        )
    elif args.study:
        for name in ("sequenced", "mutations"):
            if getattr(args, name):
                raise ModalityError(
                    f"--{name} would not be used: it goes with --labels"
                )
        cohort = from_study(
            Study(args.study), slide=args.slide, text=args.text, rna=args.rna
        )
    else:
        raise ModalityError("expected a STUDY, or --rna with --labels")
    if args.strict and cohort.notes:
        raise ModalityError(f"--strict: {listing(cohort.notes)}")
    if args.baselines:
        cohort = cohort.with_baselines()
    names = list(dict.fromkeys(args.targets or cohort.targets))
    if not args.targets and "rna" in cohort.modalities and len(cohort.modalities) > 1:
        names.append(EXPRESSION)
    options = Options(
        folds=args.folds,
        seed=args.seed,
        least=args.min_patients,
        combinations=not args.alone,
        prepare=Preparation(args.genes, args.components),
    )
    questions, left_out = asked_of(cohort, names, options)
    do = screen if args.screen else run
    with stage("modalities", 1) as bar:
        result = do(cohort, questions, args.out, options, progress=bar)
    for note in (*cohort.notes, *left_out):
        print(f"note: {note}")
    if args.screen:
        paths = [args.out / name for name in ("screen.csv", "screen.json")]
    else:
        paths = [args.out / "results.json", *write_all(result, args.out)]
    for path in paths:
        print(path)
