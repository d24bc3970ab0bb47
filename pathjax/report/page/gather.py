"""Collects what a page shows: the table, and further data from the run folders.

Files are recognised by their content, not by their names (`files.kind_of`). They are
looked for in the run folders, up to two folders below, and can be named by flags.
"""

import dataclasses
import datetime
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pathjax
from pathjax.buckets import local
from pathjax.data.study import listing
from pathjax.evals.results import read_results
from pathjax.report.compare import load_runs
from pathjax.report.page.files import kind_of, read_grids, read_maps, read_points
from pathjax.report.page.sections import (
    audit_records,
    describe_origin,
    gene_tables,
    read_audit,
    read_curves,
    training_runs,
)
from pathjax.report.table_data import ReportError, Table, table_json
from pathjax.stats.metrics import METRICS, metric_label

# Section -> how to get its data, shown where there are none.
HOW_TO_GET = {
    "genes": "an expression task with saved predictions, among the run folders",
    "curves": "training runs (metrics.jsonl) in the run folders, or as checkpoints",
    "points": "`pathjax figure tsne`, or --points FILE.csv (x, y, label, id)",
    "grids": "`pathjax modalities` (grid.json), or --grids FILE.json (rows, columns, cells)",
    "maps": "`pathjax predict --measured` (spots.json), or --maps FILE.json",
    "audit": "`pathjax audit --out FILE.json` into the run folder, or --audit FILE",
    "origin": "run folders instead of a finished CSV",
}


@dataclasses.dataclass(frozen=True)
class Inputs:
    """Files for the page, by kind."""

    points: Sequence[Path] = ()
    grids: Sequence[Path] = ()
    maps: Sequence[Path] = ()
    audit: Sequence[Path] = ()


def gather(
    sources: Sequence[str | Path],
    table: Table,
    *,
    inputs: Inputs | None = None,
    title: str = "",
) -> dict[str, Any]:
    """The page's data as JSON values, NaN as null.

    Args:
      sources: Run folders, or the one CSV that `table` was read from.
      table: Of `write_report`, so that the tests are not repeated.
      inputs: Further files; those in the run folders are found automatically.
      title: Of the page; the table's or the first source's name by default.

    Returns:
      `title`, `made`, `pathjax`, `table`, `labels` of metrics, and the sections that
      there are data for, by the names in `HOW_TO_GET`; `absent` says how to get the
      others.

    Raises:
      ReportError: Files cannot be read (all of them listed).
      EvalError: A run folder cannot be read.
    """
    paths = [local(source) for source in sources]
    folders = [path for path in paths if path.suffix.lower() != ".csv"]
    results = [read_results(folder) for folder in folders]
    roots = [result.root for result in results]
    files = _find(roots, inputs or Inputs())
    scored = load_runs(folders) if folders else []
    runs = training_runs(roots, [entry for r in results for entry in r.entries])
    problems: list[str] = []

    def read(reader: Callable, items: Sequence) -> list:
        """All that the reader, which returns a list, makes of the items."""
        made = []
        for item in items:
            try:
                made += reader(item)
            except (ValueError, OSError) as error:
                problems.append(str(error))
        return made

    sections = {
        "genes": gene_tables(scored, table),
        "curves": read(read_curves, [runs]),
        "points": read(lambda path: [read_points(path)], files.points),
        "grids": read(read_grids, files.grids),
        "maps": read(read_maps, files.maps),
        "audit": audit_records(results, read(read_audit, files.audit)),
        "origin": describe_origin(results, runs) if results else None,
    }
    if problems:
        raise ReportError(listing(problems))
    metrics = dict.fromkeys([*METRICS, *(c.metric for c in table.columns)])
    now = datetime.datetime.now(datetime.UTC)
    return {
        "title": title or table.title or paths[0].resolve().stem,
        "made": now.isoformat(timespec="minutes"),
        "pathjax": pathjax.__version__,
        "table": {
            **table_json(table),
            "tasks": [column.task for column in table.columns],
            "errors": [c.task for c in table.columns if not c.percent],
        },
        "labels": {name: metric_label(name) for name in metrics},
        **{name: content for name, content in sections.items() if content},
        "absent": [
            [name, how] for name, how in HOW_TO_GET.items() if not sections[name]
        ],
    }


def _find(folders: Sequence[Path], named: Inputs) -> Inputs:
    """Files of each kind, those named first, each once."""
    kinds = {kind: [Path(p) for p in paths] for kind, paths in vars(named).items()}
    for folder in folders:
        for depth in ("*", "*/*", "*/*/*"):
            for path in sorted(folder.glob(depth)):
                if kind := kind_of(path):
                    kinds[kind].append(path)
    seen: set[Path] = set()
    for name, paths in kinds.items():
        kinds[name] = [p for p in dict.fromkeys(paths) if p.resolve() not in seen]
        seen |= {path.resolve() for path in kinds[name]}
    return Inputs(**kinds)
