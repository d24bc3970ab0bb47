"""`pathjax data`: builds, checks, splits and shows studies."""

import argparse
from pathlib import Path

from pathjax.commands import tcga, text
from pathjax.commands.output import print_built
from pathjax.datasets.benchmarks.registry import BENCHMARKS


def add(commands) -> None:
    """Adds `data` and all that it builds."""
    data = commands.add_parser("data", help="build, check and show studies")
    kinds = data.add_subparsers(title="commands", metavar="COMMAND", required=True)
    check = kinds.add_parser("check", help="verify a study")
    check.add_argument("study", type=Path)
    check.set_defaults(run=run_check)
    show = kinds.add_parser("show", help="describe a study")
    show.add_argument("study", type=Path)
    show.add_argument("--sheet", type=Path, help="contact sheet (PNG) to write")
    show.set_defaults(run=run_show)
    split = kinds.add_parser(
        "split",
        help="add a split to a study; its fingerprint changes by it",
        description="Assigns a study's patients to folds and adds splits/NAME.json. The "
        "study's fingerprint changes: results made before are of another study.",
    )
    split.add_argument("study", type=Path)
    split.add_argument("--name", required=True, help="of the split")
    how = split.add_mutually_exclusive_group(required=True)
    how.add_argument("--folds", type=int, metavar="K", help="equal folds fold0, ...")
    how.add_argument(
        "--fractions",
        metavar="FOLD=SHARE,...",
        help="named folds, as train=.6,val=.1,probe_fit=.15,probe_test=.15",
    )
    split.add_argument(
        "--site-preserved", action="store_true", help="a site is in one fold only"
    )
    split.add_argument(
        "--stratify", nargs="+", default=[], metavar="TARGET", help="classes to balance"
    )
    split.add_argument("--seed", type=int, default=0)
    split.set_defaults(run=run_split)
    text.add_reports(kinds)
    add_sources(kinds)
    tcga.add(kinds)


def add_sources(kinds) -> None:
    """Adds a command for each source of a study."""

    made = kinds.add_parser("demo", help="build the synthetic study")
    made.add_argument("--out", type=Path, required=True)
    made.add_argument("--patients", type=int, default=240)
    made.add_argument("--tiles", type=int, default=8, help="per patient")
    made.add_argument("--tile-px", type=int, default=64)
    made.add_argument("--mpp", type=float, default=1.0)
    made.add_argument("--seed", type=int, default=0)
    made.set_defaults(run=run_data_demo)
    spots = kinds.add_parser("her2st", help="build a study from her2st")
    spots.add_argument("--source", type=Path, required=True, help="unpacked archive")
    spots.add_argument("--out", type=Path, required=True)
    spots.add_argument("--tile-um", type=float, default=112.0)
    spots.add_argument("--tile-px", type=int, default=224)
    spots.set_defaults(run=run_her2st)
    tissue = kinds.add_parser(
        "her2st-tissue", help="unlabelled tissue of some sections, for pre-training"
    )
    tissue.add_argument("--source", type=Path, required=True)
    tissue.add_argument("--out", type=Path, required=True)
    tissue.add_argument("--sections", nargs="+", default=["C2", "C3", "C4"])
    tissue.add_argument("--tile-px", type=int, default=128)
    tissue.set_defaults(run=run_her2st_tissue)

    for name, benchmark in BENCHMARKS.items():
        tiles = kinds.add_parser(name, help=benchmark.title)
        tiles.add_argument("--out", type=Path, required=True)
        tiles.add_argument(
            "--manual-dir",
            type=Path,
            metavar="DIR",
            help="published files, as they are or unpacked; downloaded if left",
        )
        tiles.add_argument(
            "--cache",
            type=Path,
            metavar="DIR",
            help="for downloads and unpacked archives; ~/.cache/pathjax if left",
        )
        tiles.add_argument(
            "--partial", action="store_true", help="accept other counts than published"
        )
        tiles.set_defaults(run=run_benchmark, benchmark=benchmark)


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


def run_split(args: argparse.Namespace) -> None:
    from pathjax.data.add_split import add_split, make_split
    from pathjax.data.folds import parse_fractions
    from pathjax.data.study import Study

    split, made = make_split(
        Study(args.study),
        args.name,
        args.folds if args.fractions is None else parse_fractions(args.fractions),
        site_preserved=args.site_preserved,
        stratify=args.stratify,
        seed=args.seed,
    )
    study, added = add_split(Study(args.study), split)
    print(made.counts.assign(total=made.counts.sum(axis=1)).to_string())
    for note in made.notes:
        print(f"note: {note}")
    done = "added" if added else "was there already"
    print(f"{study.root}: split {split.name} {done}")
    print(f"fingerprint: {study.fingerprint}")


def run_data_demo(args: argparse.Namespace) -> None:
    from pathjax.datasets.demo import build_demo
    from pathjax.progress import stage

    with stage("synthetic study", args.patients * args.tiles) as bar:
        study = build_demo(
            args.out,
            patients=args.patients,
            tiles_per_patient=args.tiles,
            tile_px=args.tile_px,
            mpp=args.mpp,
            seed=args.seed,
            progress=lambda done, total: bar(done),
        )
    print_built(study)


def run_her2st(args: argparse.Namespace) -> None:
    from pathjax.datasets.her2st import build_her2st
    from pathjax.progress import stage

    with stage("her2st", 1) as bar:
        study = build_her2st(
            args.source,
            args.out,
            tile_um=args.tile_um,
            tile_px=args.tile_px,
            progress=lambda done, total: bar(done, total=total),
        )
    print_built(study)


def run_her2st_tissue(args: argparse.Namespace) -> None:
    from pathjax.datasets.her2st import build_her2st_tissue
    from pathjax.progress import stage

    with stage("her2st tissue", len(args.sections)) as bar:
        study = build_her2st_tissue(
            args.source,
            args.out,
            sections=tuple(args.sections),
            tile_px=args.tile_px,
            progress=lambda done, total: bar(done),
        )
    print_built(study)


def run_benchmark(args: argparse.Namespace) -> None:
    from pathjax.datasets.benchmarks.build import build_benchmark
    from pathjax.progress import stage

    with stage(args.benchmark.name, sum(args.benchmark.counts.values())) as bar:
        study = build_benchmark(
            args.benchmark,
            args.out,
            manual_dir=args.manual_dir,
            cache=args.cache,
            partial=args.partial,
            progress=lambda done, total: bar(done, total=total),
        )
    print_built(study)
