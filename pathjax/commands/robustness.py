"""`pathjax robustness`: does a model group by class or by site, and did tuning change it?

The same tasks can be named in a file of `pathjax evaluate --tasks`.
"""

import argparse
import dataclasses
from pathlib import Path

from pathjax.buckets import shown
from pathjax.commands.output import add_allow_code


def add(commands) -> None:
    """Adds `robustness`."""
    parser = commands.add_parser(
        "robustness",
        help="does a model group by class or by site: robustness index, performance drop, "
        "clustering score and site accuracy of base and tuned models",
    )
    parser.add_argument("models", nargs="+", metavar="NAME[:BASE][@SEED]=PATH")
    parser.add_argument("--study", type=Path, required=True, metavar="DIR")
    parser.add_argument(
        "--split",
        required=True,
        metavar="SPLIT[:FOLD]",
        help="whose rows; without FOLD those of all folds",
    )
    parser.add_argument("--target", required=True, help="the class, a target")
    parser.add_argument(
        "--classes", nargs="+", default=[], help="only these (default: all)"
    )
    parser.add_argument(
        "--site", default="site", help="the column of sites (default: site)"
    )
    parser.add_argument(
        "--k",
        type=int,
        help="neighbours of the index (default: the median over models of the k that "
        "predicts the class best)",
    )
    parser.add_argument(
        "--blocks-um",
        type=float,
        help="for sections of one patient: blocks of this side stand for patients",
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument(
        "--allow-overlap",
        action="store_true",
        help="accept that rows are of patients seen in training",
    )
    add_allow_code(parser)
    parser.set_defaults(run=run_robustness)


def run_robustness(args: argparse.Namespace) -> int:
    from pathjax.evals.candidates import expand_blend, parse_candidate, with_controls
    from pathjax.evals.evaluate import evaluate, features_of, open_studies
    from pathjax.evals.results import read_results
    from pathjax.evals.robustness import best_k, common_k
    from pathjax.evals.tasks import EACH, Task
    from pathjax.models.model_file import load_model
    from pathjax.progress import stage
    from pathjax.report.table import print_table, write_report

    given = [parse_candidate(text) for text in args.models]
    models = with_controls([one for model in given for one in expand_blend(model)])
    (study,) = open_studies([args.study])
    split, _, fold = args.split.partition(":")
    target = study.targets.get(args.target)
    index = Task(
        *("robustness index", study.name, args.target, "robustness", split, None),
        fold or EACH,
        level=target.level if target else "sample",
        classes=tuple(args.classes),
        blocks_um=args.blocks_um,
        site=args.site,
    )
    index.validate(study)
    if args.k is None:
        probe, chosen = index.find_protocol().probe, []
        with stage("choice of k", len(models)) as bar:
            for place, one in enumerate(models):
                bar(place, one.label)
                model = None if one.baseline else load_model(one.path)
                features = features_of(one, model, study, args.out)
                chosen.append(best_k(index, study, features, probe))
            bar(len(models), "")
        args.k = common_k(chosen)
        print(f"k = {args.k}, the median of {', '.join(map(str, chosen))}")
    measures = {
        "robustness index": f"robustness_index@{args.k}",
        "performance drop": "performance_drop",
        "clustering score": "clustering_score",
    }
    tasks = [
        dataclasses.replace(index, name=name, metric=metric)
        for name, metric in measures.items()
    ]
    if args.site == "site" and not fold and len(study.split(split).folds) > 1:
        site = Task("site", study.name, "site", "classification", split, None, EACH,
                    level=index.level, metric="site_accuracy")  # fmt: skip
        tasks.append(site)
    names = [task.name for task in tasks]
    with stage("robustness", len(models)) as bar:
        path = evaluate(
            models,
            study,
            tasks,
            args.out,
            allow_overlap=names if args.allow_overlap else (),
            progress=bar,
        )
    table, written = write_report([args.out], args.out / "report")
    print_table(table)
    print(shown("\n".join(map(str, [path, *written.values()]))))
    return 1 if read_results(path).unscored else 0
