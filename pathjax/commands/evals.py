"""`pathjax evaluate`, `audit` and `report`: what tuning did to a model."""

import argparse
import sys
from pathlib import Path

from pathjax.buckets import shown
from pathjax.commands.output import add_allow_code, add_shard


def add(commands) -> None:
    """Adds all three."""
    evaluation = commands.add_parser(
        "evaluate",
        aliases=["probe"],
        help="probe models (NAME=PATH, the base first; PATH may be `handcrafted`, `pixels` "
        "or a folder of `pathjax blend`) on tasks; resumes after an interruption",
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
    evaluation.add_argument(
        "--control",
        nargs="+",
        default=[],
        choices=("permuted", "handcrafted"),
        help="rows that a claim is compared with: each base with the labels of other "
        "patients (must come out at chance), and hand-crafted features. Models tuned with "
        "data.pairing=shuffled, or further by self-supervision, are known as controls",
    )
    evaluation.add_argument(
        "--site",
        action="store_true",
        help="a column more: how well a probe can tell the site (lower is better)",
    )
    evaluation.add_argument(
        "--vectors",
        type=Path,
        metavar="FILE",
        help="for the gene tower `external`: the samples' vectors (default: the file that "
        "the model was trained on)",
    )
    evaluation.add_argument(
        "--seeds",
        type=int,
        metavar="N",
        help="probes per task, in place of the protocol's; 1 is a single one on the whole "
        "fit fold, as in `pathjax demo`. The protocol's name tells it",
    )
    add_shard(evaluation, "pairs of a model and a study")
    add_allow_code(evaluation)
    evaluation.set_defaults(run=run_evaluate)

    audits = commands.add_parser(
        "audit", help="compare training patients with the test patients of tasks"
    )
    audits.add_argument(
        "--train",
        nargs="+",
        default=[],
        metavar="STUDY:SPLIT[:FOLD]",
        help="what will be trained on (default fold: train)",
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
        "--site-preserved", action="store_true", help="also keep sites separate"
    )
    audits.add_argument(
        "--pictures",
        action="store_true",
        help="also compare tiles, and slides made of them, as pictures, with --train and "
        "the tasks' fit folds: the same tissue under another name",
    )
    audits.add_argument("--out", type=Path, metavar="FILE.json")
    audits.set_defaults(run=run_audit)

    report = commands.add_parser("report", help="write tables and figures from results")
    report.add_argument("results", nargs="+", type=Path, help="run folders or CSV")
    report.add_argument(
        "--out",
        type=Path,
        help="output folder (default: report/ in the first input's folder)",
    )
    report.add_argument(
        "--format",
        nargs="+",
        default=[],
        choices=("hest", "patho-bench", "eva"),
        help="also write the results as these benchmarks do, into folders of the output "
        "folder",
    )
    report.add_argument(
        "--q-values",
        action="store_true",
        help="also give Benjamini-Hochberg q-values of deltas; tables of more than 20 "
        "tasks have them anyway",
    )
    add_page(report)
    add_allow_code(report)
    report.set_defaults(run=run_report)


def add_page(parser: argparse.ArgumentParser) -> None:
    """Whether to write the page, and what else to show in it."""
    parser.add_argument(
        "--html",
        action="store_true",
        help="also write a self-contained page, index.html",
    )
    for name, what in (
        ("points", "CSV of embeddings in the plane: x, y, label, id"),
        ("grids", "JSON of heat maps: rows, columns, cells"),
        ("maps", "spots.json of `pathjax predict`"),
        ("audit", "JSON of `pathjax audit --out`"),
    ):
        parser.add_argument(
            f"--{name}",
            nargs="+",
            type=Path,
            default=[],
            metavar="FILE",
            help=f"for --html, what is not in the run folders: {what}",
        )


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


def run_evaluate(args: argparse.Namespace) -> int:
    from pathjax.evals.candidates import expand_blend, parse_candidate, with_controls
    from pathjax.evals.evaluate import evaluate, open_studies
    from pathjax.evals.results import read_results, rows_left_out
    from pathjax.evals.suites import load_tasks, site_tasks
    from pathjax.parallel.shard import Shard
    from pathjax.progress import stage

    shard = Shard.parse(args.shard)
    given = [parse_candidate(text) for text in args.models]
    blended = [one for model in given for one in expand_blend(model)]
    candidates = with_controls(blended, args.control)
    tasks = [task for name in args.tasks for task in load_tasks(name)]
    tasks += site_tasks(tasks) if args.site else []
    with stage("probes", len(candidates)) as bar:
        path = evaluate(
            candidates,
            open_studies(args.study),
            tasks,
            args.out,
            allow_overlap=args.allow_overlap,
            progress=bar,
            vectors=args.vectors,
            shard=shard,
            **({} if args.seeds is None else {"seeds": args.seeds}),
        )
    if shard:  # the join says what was left out and not scored
        print(f"{path.parent}, shard {shard}: done")
        return 0
    print(shown(path))
    names, columns = {one.name for one in candidates}, {task.name for task in tasks}
    results = read_results(path)
    entries, failed = (
        [e for e in part if e["model"] in names and e["task"] in columns]
        for part in (results.entries, results.unscored)
    )
    left_out = {(e["task"], "; ".join(rows_left_out(e))): None for e in entries}
    for task, rows in left_out:
        if rows:
            print(f"left out of {task}: {rows}")
    for entry in failed:
        print(f"not scored: {entry['model']}: {entry['reason']}", file=sys.stderr)
    return 1 if failed else 0


def run_audit(args: argparse.Namespace) -> int:
    from pathjax.evals.alike import picture_records
    from pathjax.evals.audit import audit_tasks, describe, refused
    from pathjax.evals.evaluate import open_studies
    from pathjax.evals.suites import load_tasks
    from pathjax.files import write_json
    from pathjax.zoo import MODELS

    tasks = [task for name in args.tasks for task in load_tasks(name)]
    studies = open_studies(args.study)
    records = audit_tasks(
        tasks,
        studies,
        trains=args.train,
        models=args.models,
        registry={name: spec.pretrained_on_tcga for name, spec in MODELS.items()},
        site_preserved=args.site_preserved,
    )
    if args.pictures:
        records += picture_records(tasks, studies, args.train)
    if args.out:
        write_json(args.out, records)
    for line in describe(records):
        print(line)
    return 1 if refused(records) else 0


def run_report(args: argparse.Namespace) -> None:
    from pathjax.report.compare import load_runs
    from pathjax.report.leaderboards import write_layout
    from pathjax.report.table import print_table, write_report

    first = args.results[0]
    out = args.out or (first if first.is_dir() else first.parent) / "report"
    extra = {name: getattr(args, name) for name in ("points", "grids", "maps", "audit")}
    if any(extra.values()) and not args.html:
        named = ", ".join(f"--{name}" for name, files in extra.items() if files)
        raise ValueError(f"{named} is for the page: add --html")
    if args.format and first.suffix.lower() == ".csv":
        raise ValueError("--format needs run folders: a CSV has no rows and runs")
    table, written = write_report(args.results, out, q_values=args.q_values)
    notes = []
    for layout in args.format:
        files, more = write_layout(load_runs(args.results), layout, out / layout)
        written[layout], notes = files[-1], [*notes, *more]
    if args.html:
        from pathjax.report.page import Inputs, write_page

        written["page"] = write_page(args.results, table, out, inputs=Inputs(**extra))
    print_table(table)
    for note in notes:
        print(f"note: {note}")
    for path in written.values():
        print(shown(path))
