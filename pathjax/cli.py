"""The command line: parses words, calls one function each, prints errors in one line.

The only module that reads arguments. Everything heavy is imported inside a command, so
that `pathjax --help` answers at once.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import pathjax
from pathjax import allocator
from pathjax.data.sources.benchmarks.registry import BENCHMARKS


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit status."""
    argv = list(sys.argv[1:] if argv is None else argv)
    parser = build_parser()
    args, rest = parser.parse_known_args(argv)
    if rest and not getattr(args, "takes_overrides", False):
        parser.error(f"unknown arguments: {' '.join(rest)}")
    args.rest = rest
    prepare_environment()
    if not hasattr(args, "run"):
        parser.print_help()
        return 2
    try:
        return args.run(args) or 0
    except (ValueError, OSError, RuntimeError, FloatingPointError) as error:
        if os.environ.get("PATHJAX_TRACEBACK"):
            raise
        print(f"pathjax: {error}", file=sys.stderr)
        print("(PATHJAX_TRACEBACK=1 shows where)", file=sys.stderr)
        return 1


def prepare_environment() -> None:
    """Settings that have to stand before NumPy and JAX are imported.

    Through the environment, so that worker processes inherit them; what the user has
    set already is left alone.
    """
    home = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    for name, value in (
        # Compiled programs are kept: a second run of the same step starts in a second.
        ("JAX_COMPILATION_CACHE_DIR", str(home / "pathjax" / "jax")),
        ("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.5"),
        # OpenBLAS's spinning threads fight XLA's for the cores (ridge sweep: 0.7 s
        # with one, up to 21 s with two on two cores).
        ("OPENBLAS_NUM_THREADS", "1"),
    ):
        os.environ.setdefault(name, value)
    allocator.tune()


def build_parser() -> argparse.ArgumentParser:
    """All commands and their arguments."""
    parser = argparse.ArgumentParser(
        prog="pathjax",
        description="Fine-tune pathology foundation models with transcriptomics, and "
        "measure what it did to them.",
    )
    parser.add_argument("--version", action="version", version=pathjax.__version__)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")

    demo = commands.add_parser("demo", help="everything, on a synthetic study")
    demo.add_argument("--out", type=Path, default=Path("runs/demo"))
    demo.add_argument("--seeds", type=int, default=3, help="fine-tuning seeds")
    demo.add_argument("--smoke", action="store_true", help="tiny, for a test")
    demo.set_defaults(run=run_demo)

    data = commands.add_parser("data", help="build, check and show studies")
    kinds = data.add_subparsers(title="commands", metavar="COMMAND", required=True)
    check = kinds.add_parser("check", help="verify a study")
    check.add_argument("study", type=Path)
    check.set_defaults(run=run_check)
    show = kinds.add_parser("show", help="describe a study")
    show.add_argument("study", type=Path)
    show.add_argument("--sheet", type=Path, help="contact sheet (PNG) to write")
    show.set_defaults(run=run_show)
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
    rna = kinds.add_parser("tcga-rna", help="bulk RNA of TCGA as one AnnData")
    rna.add_argument(
        "--source",
        type=Path,
        required=True,
        help="folder of GDC STAR counts, Xena matrix, PORPOISE table, or a folder of "
        "either of these",
    )
    rna.add_argument(
        "--sample-sheet",
        type=Path,
        nargs="+",
        default=[],
        metavar="FILE",
        help="GDC's sample sheets or cart metadata; those in --source if left",
    )
    rna.add_argument(
        "--gene-map",
        type=Path,
        metavar="FILE",
        help="symbols and types of Ensembl ids: Xena's probe map or any GDC STAR file",
    )
    rna.add_argument("--out", type=Path, required=True, metavar="FILE.h5ad")
    rna.add_argument(
        "--keep-all-genes",
        action="store_true",
        help="also genes that code for no protein",
    )
    rna.add_argument("--units", help="of a matrix, where they cannot be told")
    rna.add_argument(
        "--strict", action="store_true", help="fail when anything has to be left out"
    )
    rna.set_defaults(run=run_tcga_rna)
    tcga = kinds.add_parser("tcga", help="pair slides, RNA and labels of TCGA")
    tcga.add_argument(
        "--slides",
        type=Path,
        required=True,
        help="study of `pathjax tile`, or slides to tile: a folder or a manifest",
    )
    tcga.add_argument(
        "--rna", type=Path, required=True, help="of `pathjax data tcga-rna`"
    )
    tcga.add_argument(
        "--labels",
        type=Path,
        nargs="+",
        required=True,
        metavar="PATH",
        help="tables by patient, sample or slide, and MAFs (for TP53)",
    )
    tcga.add_argument(
        "--sequenced",
        type=Path,
        metavar="FILE",
        help="samples that were sequenced, one a line: wild type if a MAF lacks them",
    )
    tcga.add_argument("--out", type=Path, required=True, metavar="STUDY")
    tcga.add_argument(
        "--frozen", action="store_true", help="frozen sections (TS, MS, BS) too"
    )
    tcga.add_argument(
        "--aliquots",
        choices=("first", "mean"),
        default="first",
        help="which of several of a patient's",
    )
    tcga.add_argument(
        "--keep-unpaired",
        action="store_true",
        help="keep patients without RNA, for labels alone",
    )
    tcga.add_argument(
        "--no-site-preserved",
        action="store_true",
        help="split by patient; else whole sites where that can be done",
    )
    tcga.add_argument("--seed", type=int, default=0, help="of the splits")
    tcga.set_defaults(run=run_tcga)

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

    tile = commands.add_parser("tile", help="tiles of whole slides, as a study")
    tile.add_argument(
        "--slides", type=Path, required=True, help="folder, or CSV with column path"
    )
    tile.add_argument("--out", type=Path, required=True, metavar="STUDY")
    tile.add_argument("--name", default="tiles", help="the study's name")
    tile.add_argument("--mpp", type=float, default=0.5, help="um/px of tiles")
    tile.add_argument("--tile-px", type=int, default=224)
    tile.add_argument("--overlap", type=int, default=0, metavar="PX")
    tile.add_argument(
        "--min-tissue", type=float, default=0.35, help="share of a tile, 0 to 1"
    )
    tile.add_argument("--max-tiles", type=int, help="of a slide, drawn at random")
    tile.add_argument("--seed", type=int, default=0, help="of that draw")
    tile.add_argument("--tissue", choices=("otsu", "saturation"), default="otsu")
    tile.add_argument("--quality", type=int, default=90, help="of the JPEG")
    tile.add_argument(
        "--coordinates",
        type=Path,
        metavar="DIR",
        help="TRIDENT's or CLAM's h5 files, used instead of finding tissue",
    )
    tile.add_argument(
        "--mpp-csv", type=Path, metavar="FILE", help="columns wsi,mpp; goes first"
    )
    tile.add_argument("--workers", type=int, help="processes; all cores if left")
    tile.add_argument(
        "--scheduler", metavar="ADDRESS", help="of a running Dask cluster"
    )
    tile.add_argument(
        "--retry-skipped", action="store_true", help="try skipped slides again"
    )
    tile.add_argument(
        "--strict", action="store_true", help="exit with 1 if a slide was skipped"
    )
    tile.set_defaults(run=run_tile)

    models = commands.add_parser("models", help="public models that can be imported")
    models.add_argument("name", nargs="?", help="everything known of this one")
    models.set_defaults(run=run_models)

    imports = commands.add_parser("import", help="a public model's weights")
    imports.add_argument("model", help="a name of `pathjax models`")
    imports.add_argument(
        "--weights",
        type=Path,
        metavar="FILE",
        help="safetensors, .pth, .pt, .bin or .torch; downloaded if left",
    )
    imports.add_argument("--out", type=Path, required=True, metavar="DIR")
    imports.set_defaults(run=run_import)

    export = commands.add_parser("export", help="a model for timm or NumPy, with card")
    export.add_argument("model", type=Path, help="run folder or model.safetensors")
    export.add_argument("--format", choices=("timm", "npz"), required=True)
    export.add_argument("--out", type=Path, required=True, metavar="DIR")
    export.add_argument(
        "--results", type=Path, help="results.json whose numbers go into the card"
    )
    export.add_argument(
        "--image-px",
        type=int,
        help="resize position embeddings to this size by the model's own rule",
    )
    export.set_defaults(run=run_export)

    train = commands.add_parser(
        "train",
        help="one training run",
        epilog="--config.KEY=VALUE overrides a value of the config.",
    )
    train.add_argument("--config", required=True, metavar="FILE.py:ARG")
    train.add_argument("--workdir", type=Path, required=True)
    train.set_defaults(run=run_train, takes_overrides=True)

    embed = commands.add_parser(
        "embed", help="embeddings of a study's tiles or a folder's images"
    )
    embed.add_argument("model", type=Path, help="run folder or model.safetensors")
    embed.add_argument("input", type=Path, help="study or folder of images")
    embed.add_argument("--out", type=Path, required=True, metavar="FILE.h5")
    embed.add_argument(
        "--pool",
        choices=("cls", "mean", "cls_mean"),
        help="what of the tokens to keep; the model's own if left",
    )
    embed.add_argument("--batch", type=int, default=64, help="tiles per step")
    embed.add_argument(
        "--overwrite",
        action="store_true",
        help="replace FILE.h5, or begin it anew, where it is of something else",
    )
    embed.set_defaults(run=run_embed)

    evaluation = commands.add_parser(
        "evaluate",
        aliases=["probe"],
        help="probe models (NAME=PATH, the base first) on tasks; goes on where it "
        "stopped",
    )
    evaluation.add_argument("models", nargs="+", metavar="NAME[:BASE][@SEED]=PATH")
    add_tasks(evaluation)
    evaluation.add_argument("--out", type=Path, required=True)
    evaluation.add_argument(
        "--allow-overlap",
        nargs="+",
        default=[],
        metavar="TASK",
        help="accept that these tasks test on patients seen in training",
    )
    evaluation.set_defaults(run=run_evaluate)

    audits = commands.add_parser(
        "audit", help="training patients against the test patients of tasks"
    )
    audits.add_argument(
        "--train",
        nargs="+",
        default=[],
        metavar="STUDY:SPLIT[:FOLD]",
        help="what is to be trained on; the fold is train if left",
    )
    audits.add_argument(
        "--models",
        nargs="+",
        default=[],
        metavar="PATH",
        help="run folders, model files, or names of `pathjax models`",
    )
    add_tasks(audits)
    audits.add_argument(
        "--site-preserved", action="store_true", help="hold sites apart too"
    )
    audits.add_argument("--out", type=Path, metavar="FILE.json")
    audits.set_defaults(run=run_audit)

    report = commands.add_parser("report", help="tables and figures from results")
    report.add_argument("results", nargs="+", type=Path, help="run folders or CSV")
    report.add_argument("--out", type=Path, help="folder; the first input's if left")
    report.set_defaults(run=run_report)

    bench = commands.add_parser("bench", help="ratios against named peers")
    bench.add_argument(
        "what", choices=("step", "forward", "loader", "probe", "eva", "memory", "index")
    )
    bench.add_argument("--peer", action="store_true", help="run the peer too")
    bench.add_argument("--out", type=Path, help="JSON file to write")
    bench.set_defaults(run=run_bench, takes_overrides=True)
    return parser


def add_tasks(parser: argparse.ArgumentParser) -> None:
    """Which tasks, and where the studies are that they are of."""
    parser.add_argument(
        "--tasks",
        nargs="+",
        required=True,
        metavar="NAME|FILE.json",
        help="shipped lists (ten, eva, tcga, her2st, demo, bach, ...) or your own",
    )
    parser.add_argument(
        "--study",
        nargs="+",
        type=Path,
        required=True,
        metavar="DIR",
        help="the studies of the tasks, or folders that hold them",
    )


def overrides(rest: Sequence[str]) -> dict[str, str]:
    """`--config.optim.lr=3e-5` or `--config.optim.lr 3e-5` to `{"optim.lr": "3e-5"}`.

    Raises:
      ValueError: anything else.
    """
    found: dict[str, str] = {}
    words = iter(rest)
    for word in words:
        key, equals, value = word.partition("=")
        if not key.startswith("--config."):
            raise ValueError(
                f"unknown argument {word}: values of the config are set by "
                "--config.KEY=VALUE"
            )
        if not equals:
            value = next(words, None)
            if value is None:
                raise ValueError(f"{key} has no value: write {key}=VALUE")
        found[key.removeprefix("--config.")] = value
    return found


def run_demo(args: argparse.Namespace) -> None:
    from pathjax.demo import run

    run(args.out, seeds=args.seeds, smoke=args.smoke)


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


def run_data_demo(args: argparse.Namespace) -> None:
    from pathjax.data.sources.demo import build_demo
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
    from pathjax.data.sources.her2st import build_her2st
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
    from pathjax.data.sources.her2st import build_her2st_tissue
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


def run_tcga(args: argparse.Namespace) -> None:
    from pathjax.data.sources.tcga.build import build_tcga
    from pathjax.progress import stage

    with stage("tcga", 1) as bar:
        study = build_tcga(
            args.slides,
            args.rna,
            args.labels,
            args.out,
            sequenced=args.sequenced,
            frozen=args.frozen,
            keep_unpaired=args.keep_unpaired,
            aliquots=args.aliquots,
            site_preserved=not args.no_site_preserved,
            seed=args.seed,
            progress=lambda done, total: bar(done, total=total),
        )
    print_built(study)
    for name in study.split_names:
        split = study.split(name)
        sizes = ", ".join(f"{fold} {len(ids)}" for fold, ids in split.folds.items())
        print(f"split {name}: {sizes} patients; {split.note}")


def run_tcga_rna(args: argparse.Namespace) -> None:
    from pathjax.data.sources.tcga.rna import read_rna, skipped_of, write_rna
    from pathjax.progress import stage

    with stage("tcga rna", 1) as bar:
        rna = read_rna(
            args.source,
            sample_sheet=args.sample_sheet,
            gene_map=args.gene_map,
            units=args.units,
            keep_all_genes=args.keep_all_genes,
            strict=args.strict,
            progress=lambda done, total: bar(done, total=total),
        )
    write_rna(rna, args.out)
    history = rna.uns["pathjax"]
    print(f"{args.out}: {rna.n_obs} samples, {rna.n_vars} genes, {history['x']}")
    print(f"read as {history['units']}: {'; '.join(history['evidence'][:2])}")
    for note in history["notes"]:
        print(f"note: {note}")
    print_skipped(skipped_of(rna), args.out)


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


def run_benchmark(args: argparse.Namespace) -> None:
    from pathjax.data.sources.benchmarks.build import build_benchmark
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


def run_tile(args: argparse.Namespace) -> int:
    from pathjax.data.slides.build import tile_study
    from pathjax.data.slides.tile import TileOptions
    from pathjax.progress import stage

    options = TileOptions(
        mpp=args.mpp,
        tile_px=args.tile_px,
        overlap=args.overlap,
        min_tissue=args.min_tissue,
        max_tiles=args.max_tiles,
        seed=args.seed,
        tissue=args.tissue,
        quality=args.quality,
        coordinates=args.coordinates and str(args.coordinates.absolute()),
    )
    with stage("tile", 1) as bar:
        study = tile_study(
            args.slides,
            args.out,
            options,
            name=args.name,
            mpp_csv=args.mpp_csv,
            workers=args.workers,
            scheduler=args.scheduler,
            retry_skipped=args.retry_skipped,
            progress=lambda done, total, note: bar(done, note, total),
        )
    print_built(study)
    skipped = int((study.slides["status"] == "skipped").sum())
    print(f"{len(study.slides) - skipped} slides tiled, {skipped} skipped")
    return 1 if args.strict and skipped else 0


def print_built(study) -> None:
    """What was built and what was skipped, with reasons."""
    print(
        f"{study.root}: {len(study)} tiles, {len(study.samples)} samples"
        + (", synthetic" if study.synthetic else "")
    )
    print_skipped(study.meta["skipped"], study.root / "study.json")


def print_skipped(skipped, where: Path) -> None:
    """What was passed over, the first ten with their reasons."""
    for entry in skipped[:10]:
        print(f"skipped {entry['what']}: {entry['reason']}")
    if len(skipped) > 10:
        print(f"... and {len(skipped) - 10} more, in {where}")


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

    done = import_model(args.model, args.weights, args.out)
    origin, vit = done.model.meta["foundation"], done.model.vit
    print(f"{done.path}: {origin['title']}, positions {vit.grid} x {vit.grid}")
    if done.dropped:
        print(f"left out, as no part of the encoder: {', '.join(done.dropped)}")
    print(f"licence: {origin['licence']}, {origin['licence_url']}")


def run_export(args: argparse.Namespace) -> None:
    from pathjax.zoo.export import export

    for path in export(args.model, args.format, args.out, args.results, args.image_px):
        print(path)


def run_train(args: argparse.Namespace) -> None:
    from pathjax.config import load
    from pathjax.progress import stage
    from pathjax.train import train

    config = load(args.config, overrides(args.rest))
    with stage(config.name or "train", config.optim.steps) as bar:
        result = train(config, args.workdir, bar)
    best = "" if result.best is None else f", best {result.best:.4g}"
    print(f"{result.model}: {result.step} steps{best}")


def run_embed(args: argparse.Namespace) -> None:
    from pathjax.data.study import sha256
    from pathjax.data.tile_source import open_source
    from pathjax.evals.embed import embed_to_file
    from pathjax.model_file import FILE, load_model
    from pathjax.progress import stage

    model, source = load_model(args.model), open_source(args.input)
    file = args.model / FILE if args.model.is_dir() else args.model
    with stage("embed", len(source)) as bar:
        made = embed_to_file(
            model,
            source,
            args.out,
            model_id=f"sha256:{sha256(file)}",
            meta={"model": str(args.model), "audit": model.meta["audit"]},
            pool=args.pool,
            batch=args.batch,
            overwrite=args.overwrite,
            progress=lambda done, total: bar(done),
        )
    print_skipped(made.skipped, args.out)
    kept = (
        f", {made.kept} of {len(source)} tiles by an earlier run" if made.kept else ""
    )
    print(f"{args.out}: {made.rows} x {made.width}{kept}")


def run_audit(args: argparse.Namespace) -> int:
    from pathjax.atomic import write_json
    from pathjax.evals.audit_report import audit_tasks, describe, refused
    from pathjax.evals.evaluate import open_studies
    from pathjax.evals.suites import load_tasks

    records = audit_tasks(
        [task for name in args.tasks for task in load_tasks(name)],
        open_studies(args.study),
        trains=args.train,
        models=args.models,
        site_preserved=args.site_preserved,
    )
    if args.out:
        write_json(args.out, records)
    for line in describe(records):
        print(line)
    return 1 if refused(records) else 0


def run_evaluate(args: argparse.Namespace) -> None:
    from pathjax.evals.evaluate import evaluate, open_studies, parse_candidate
    from pathjax.evals.suites import load_tasks
    from pathjax.progress import stage

    candidates = [parse_candidate(text) for text in args.models]
    with stage("probes", len(candidates)) as bar:
        path = evaluate(
            candidates,
            open_studies(args.study),
            [task for name in args.tasks for task in load_tasks(name)],
            args.out,
            allow_overlap=args.allow_overlap,
            progress=bar,
        )
    print(path)


def run_report(args: argparse.Namespace) -> None:
    from pathjax.report.table import load_table, print_table, write_report

    first = args.results[0]
    out = args.out or (first if first.is_dir() else first.parent) / "report"
    print_table(load_table(args.results))
    for path in write_report(args.results, out).values():
        print(path)


def run_bench(args: argparse.Namespace) -> int:
    from pathjax.bench import run_bench as bench

    return bench(args.what, args.peer, args.out, args.rest)
