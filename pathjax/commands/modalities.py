"""`pathjax modalities`: which modality tells how much of which target."""

import argparse
import dataclasses
from pathlib import Path
from typing import Annotated

from pathjax.commands.options import add_fields


@dataclasses.dataclass(frozen=True)
class Flags:
    """The command's options."""

    out: Annotated[Path, None, "DIR"]
    slide: Annotated[Path | None, "file written by `pathjax embed`", "FILE.h5"] = None
    text: Annotated[Path | None, "file written by `pathjax text embed`", "FILE.h5"] = (
        None
    )
    rna: Annotated[
        Path | None,
        "in place of the study's own; with --labels, of `pathjax data tcga-rna`",
        "FILE.h5ad",
    ] = None
    labels: Annotated[
        tuple[Path, ...],
        "no study: RNA and tables of labels, as `pathjax data tcga` takes them",
        "PATH",
    ] = ()
    sequenced: Annotated[Path | None, "see `pathjax data tcga`"] = None
    mutations: Annotated[
        tuple[str, ...], "with --labels: see `pathjax data tcga`", "GENE|N"
    ] = ()
    baselines: Annotated[
        bool, "also score age and stage (clinical) and the cancer type (type)"
    ] = False
    targets: Annotated[
        tuple[str, ...] | None,
        "targets to predict, such as `expression` or `mutation:*` (default: all of the "
        "samples); @ uses only samples of a class of another target",
        "TARGET[@OTHER=CLASS]",
    ] = None
    folds: Annotated[int, "number of folds of patients"] = 5
    seed: int = 0
    min_patients: Annotated[int, "of a class that is asked for"] = 10
    genes: Annotated[int, "number of most variable genes to keep"] = 2000
    components: Annotated[
        int, "principal components of a modality at most; 0 keeps its features"
    ] = 0
    alone: Annotated[bool, "score single modalities only"] = False
    screen: Annotated[
        bool,
        "many targets of two classes, by single modalities: one compiled program with "
        "the same folds for all, p by permuted labels, q over all",
    ] = False
    strict: Annotated[bool, "score nothing if anything that was given is not used"] = (
        False
    )


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
    add_fields(parser, Flags)
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
    for note in (*cohort.notes, *left_out, *result.get("left_out", ())):
        print(f"note: {note}")
    if args.screen:
        paths = [args.out / name for name in ("screen.csv", "screen.json")]
    else:
        paths = [args.out / "results.json", *write_all(result, args.out)]
    for path in paths:
        print(path)
