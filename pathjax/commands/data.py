"""`pathjax data`: builds, checks, splits and shows studies."""

import argparse
from pathlib import Path

from pathjax.commands import datasets, derived, spatial, tcga, text


def add(commands) -> None:
    """Adds `data` and its subcommands."""
    data = commands.add_parser("data", help="build, check, split and show studies")
    kinds = data.add_subparsers(title="commands", metavar="COMMAND", required=True)
    check = kinds.add_parser("check", help="check that a study is valid")
    check.add_argument("study", type=Path, help="study folder")
    check.set_defaults(run=run_check)
    show = kinds.add_parser("show", help="print a summary of a study")
    show.add_argument("study", type=Path, help="study folder")
    show.add_argument(
        "--sheet", type=Path, metavar="FILE.png", help="also write sample tiles here"
    )
    show.add_argument(
        "--overlay",
        type=Path,
        metavar="FILE.png",
        help="also draw the spots on their slides here",
    )
    show.add_argument(
        "--gene", metavar="NAME", help="colour the spots by a gene, not by counts"
    )
    show.add_argument("--slide", metavar="NAME", help="draw only this slide")
    show.set_defaults(run=run_show)
    split = kinds.add_parser(
        "split",
        help="add a split to a study",
        description="Assigns the patients of a study to folds and writes "
        "splits/NAME.json. This changes the study's fingerprint, so results computed "
        "before are not reused.",
    )
    split.add_argument("study", type=Path, help="study folder")
    split.add_argument("--name", required=True, help="name of the split")
    folds = split.add_mutually_exclusive_group(required=True)
    folds.add_argument(
        "--folds", type=int, metavar="K", help="number of equal folds fold0, fold1, ..."
    )
    folds.add_argument(
        "--fractions",
        metavar="FOLD=SHARE,...",
        help="named folds, such as train=.6,val=.1,probe_fit=.15,probe_test=.15",
    )
    folds.add_argument(
        "--from",
        dest="source",
        type=Path,
        metavar="PATH",
        help="the folds of a benchmark as published: a k=all.tsv of Patho-Bench, or a "
        "folder of HEST-bench with train_0.csv, test_0.csv, ...",
    )
    split.add_argument(
        "--site-preserved",
        action="store_true",
        help="keep all patients of a site in the same fold",
    )
    split.add_argument(
        "--stratify",
        nargs="+",
        default=[],
        metavar="TARGET",
        help="class targets to balance across folds",
    )
    split.add_argument("--seed", type=int, help="random seed (default: 0)")
    split.set_defaults(run=run_split)
    derived.add(kinds)
    text.add_reports(kinds)
    datasets.add(kinds)
    spatial.add(kinds)
    tcga.add(kinds)


def run_check(args: argparse.Namespace) -> int:
    from pathjax.data.check import check_study
    from pathjax.data.study import Study
    from pathjax.progress import stage

    study = Study(args.study)
    with stage("check", len(study)) as bar:
        findings = check_study(study, lambda done, total: bar(done))
    for note in findings.notes:
        print(f"note: {note}")
    for problem in findings.problems:
        print(f"problem: {problem}")
    print(f"{len(findings.problems)} problems, {len(findings.notes)} notes")
    return 1 if findings.problems else 0


def run_show(args: argparse.Namespace) -> None:
    from pathjax.data.show import describe, save_contact_sheet
    from pathjax.data.study import Study

    study = Study(args.study)
    for line in describe(study):
        print(line)
    if args.sheet:
        print(f"contact sheet: {save_contact_sheet(study, args.sheet)}")
    if args.overlay:
        from pathjax.data.overlay import save_overlay

        path = save_overlay(study, args.overlay, gene=args.gene, slide=args.slide)
        print(f"overlay: {path}")
    elif args.gene or args.slide:
        raise ValueError("--gene and --slide need --overlay FILE.png")


def run_split(args: argparse.Namespace) -> None:
    from pathjax.data.add_split import add_split, make_split
    from pathjax.data.folds import parse_fractions
    from pathjax.data.study import Study

    if args.source:
        add_published(args)
        return
    split, made = make_split(
        Study(args.study),
        args.name,
        args.folds if args.fractions is None else parse_fractions(args.fractions),
        site_preserved=args.site_preserved,
        stratify=args.stratify,
        seed=args.seed or 0,
    )
    study, added = add_split(Study(args.study), split)
    print(made.counts.assign(total=made.counts.sum(axis=1)).to_string())
    for note in made.notes:
        print(f"note: {note}")
    done = "added" if added else "was there already"
    print(f"{study.root}: split {split.name} {done}")
    print(f"fingerprint: {study.fingerprint}")


def add_published(args: argparse.Namespace) -> None:
    """Adds the folds of a benchmark's files."""
    from pathjax.data.add_split import add_split
    from pathjax.data.fold_files import read_folds, splits_of
    from pathjax.data.study import Study

    if args.site_preserved or args.stratify or args.seed is not None:
        raise ValueError(
            "--site-preserved, --stratify and --seed are for folds that are made here; "
            "those of --from are as they are"
        )
    study = Study(args.study)
    rounds = read_folds(args.source)
    splits, notes = splits_of(study, args.name, rounds, args.source.name)
    for split in splits:
        study, added = add_split(study, split)
        sizes = ", ".join(f"{fold} {len(ids)}" for fold, ids in split.folds.items())
        done = "added" if added else "was there already"
        print(f"split {split.name} {done}: {split.unit} {sizes}")
    for note in notes:
        print(f"note: {note}")
    ask = '"fit": "train", "test": "test"' if "train" in splits[0].folds else (
        '"fit": null, "test": "*"'
    )  # fmt: skip
    print(f"for tasks: {ask}")
    print(f"fingerprint: {study.fingerprint}")
