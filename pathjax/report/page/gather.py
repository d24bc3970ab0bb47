"""Collects what a page shows: the table, and whatever lies in the run folders.

Files are known by what is in them, not by their names: a CSV with the columns x, y and
label or id is an embedding, one with x, y and gene a spot map, as is JSON with slides;
JSON with cells is a heat map, a list of records with task, against
and status an audit. They are looked for in the run folders, up to two folders below,
and named by flags.
"""

import csv
import dataclasses
import datetime
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pathjax
from pathjax.evals.results import Results, read_results
from pathjax.report.compare import load_runs
from pathjax.report.json_table import table_json
from pathjax.report.page.curves import read_curves, training_runs
from pathjax.report.page.genes import gene_tables
from pathjax.report.page.grids import is_grid, read_grids
from pathjax.report.page.maps import is_spots, read_maps
from pathjax.report.page.origin import describe_origin
from pathjax.report.page.points import read_points
from pathjax.report.table_data import Table

Section = dict[str, Any]
# A section and how its data come about, told where there are none.
WANTING = {
    "genes": "an expression task with saved predictions, among the run folders",
    "curves": "training runs (metrics.jsonl) in the run folders, or as checkpoints",
    "points": "`pathjax figure tsne`, or --points FILE.csv (x, y, label, id)",
    "grids": "`pathjax modalities`, or --grid FILE.json (rows, columns, cells)",
    "maps": "`pathjax predict --measured` (spots.json), or --maps FILE",
    "audit": "`pathjax audit --out FILE.json` into the run folder, or --audit FILE",
    "origin": "run folders instead of a finished CSV",
}
LARGEST_JSON = 20 * 2**20  # larger ones are no table of a page and are not opened


class PageError(ValueError):
    """Files of a page cannot be read; the message lists all of them."""


@dataclasses.dataclass(frozen=True)
class Inputs:
    """Files for the page that do not lie in the run folders."""

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
) -> Section:
    """The page's data: values that JSON has words for, NaN as null.

    Returns:
      `title`, `made`, `pathjax`, `table` and the sections that there are data for:
      `genes`, `curves`, `points`, `grids`, `maps`, `audit`, `origin`; `absent` says how
      to get the others.

    Raises:
      PageError: files cannot be read.
      ResultsError: a run folder cannot be read.
    """
    paths = [Path(one) for one in sources]
    folders = [path for path in paths if path.suffix.lower() != ".csv"]
    results = [read_results(folder) for folder in folders]
    found = _find([one.root for one in results], inputs or Inputs())
    scored = load_runs(folders) if folders else []
    runs = training_runs(
        [one.root for one in results], [e for one in results for e in one.entries]
    )
    problems: list[str] = []
    sections = {
        "genes": gene_tables(scored, table),
        "curves": _tried(read_curves, runs, problems) or [],
        "points": _each(read_points, found.points, problems),
        "grids": _all(read_grids, found.grids, problems),
        "maps": _all(read_maps, found.maps, problems),
        "audit": _audit(results, found.audit, problems),
        "origin": describe_origin(results, runs) if results else None,
    }
    if problems:
        raise PageError("; ".join(problems))
    now = datetime.datetime.now(datetime.UTC)
    first = paths[0].resolve()
    return {
        "title": title or table.title or first.stem,
        "made": now.isoformat(timespec="minutes"),
        "pathjax": pathjax.__version__,
        "table": {**table_json(table), "tasks": [c.task for c in table.columns]},
        **{name: content for name, content in sections.items() if content},
        "absent": [[n, how] for n, how in WANTING.items() if not sections[n]],
    }


def _tried(read: Callable, what: Any, problems: list[str]) -> Any:
    try:
        return read(what)
    except (ValueError, OSError) as error:
        problems.append(str(error))


def _each(read: Callable, paths: Sequence[Path], problems: list[str]) -> list:
    made = [_tried(read, path, problems) for path in paths]
    return [one for one in made if one is not None]


def _all(read: Callable, paths: Sequence[Path], problems: list[str]) -> list[Section]:
    """What a reader of several has made of each file, one after the other."""
    return [one for made in _each(read, paths, problems) for one in made]


def _find(folders: Sequence[Path], named: Inputs) -> Inputs:
    """Files of each kind, those named first, each once."""
    kinds = {f.name: [Path(p) for p in getattr(named, f.name)] for f in
             dataclasses.fields(Inputs)}  # fmt: skip
    for folder in folders:
        for depth in ("*", "*/*", "*/*/*"):
            for path in sorted(folder.glob(depth)):
                kind = _kind(path)
                if kind:
                    kinds[kind].append(path)
    seen: set[Path] = set()
    for name, paths in kinds.items():
        kinds[name] = [p for p in dict.fromkeys(paths) if p.resolve() not in seen]
        seen |= {path.resolve() for path in kinds[name]}
    return Inputs(**kinds)


def _kind(path: Path) -> str | None:
    """What a file in a run folder is to the page; None for any other."""
    if not path.is_file() or path.name.startswith("."):
        return None
    if path.suffix == ".csv":
        with open(path, encoding="utf-8-sig", errors="replace", newline="") as file:
            lines = (line for line in file if not line.startswith("#"))
            columns = set(next(csv.reader(lines), ()))
        if not columns >= {"x", "y"}:
            return None
        if "gene" in columns and columns & {"measured", "predicted"}:
            return "maps"
        return "points" if columns & {"label", "id"} else None
    if path.suffix == ".json" and path.stat().st_size <= LARGEST_JSON:
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            return None  # somebody else's file, and none of the page's business
        if is_grid(content):
            return "grids"
        if is_spots(content):
            return "maps"
        return "audit" if _is_audit(content) else None
    return None


def _is_audit(content: Any) -> bool:
    wanted = {"task", "against", "status", "beyond"}
    return (
        isinstance(content, list)
        and bool(content)
        and all(isinstance(one, dict) and wanted <= set(one) for one in content)
    )


def _audit(
    results: Sequence[Results], files: Sequence[Path], problems: list[str]
) -> list[Section]:
    """What probing recorded of each model and task, then the records of audit files."""
    records = [
        {**entry["audit"], "task": entry["task"], "against": entry["model"]}
        for one in results
        for entry in one.entries
    ]
    for path in files:
        content = _tried(lambda p: json.loads(p.read_text("utf-8")), path, problems)
        if _is_audit(content):
            records += content
        elif content is not None:
            problems.append(f"{path} is no list of `pathjax audit`'s records")
    shown = {}
    for record in records:
        line = {
            "task": record["task"],
            "against": record["against"],
            "status": record.get("status", "not audited"),
            "overlap": bool(record.get("beyond")),
            "shared": {
                what: list(record[what])
                for what in ("patients", "barcodes", "slides")
                if record.get(what)
            },
            "pretrained_on": record.get("pretrained_on") or {},
        }
        shown.setdefault(json.dumps(line, sort_keys=True), line)
    return list(shown.values())
