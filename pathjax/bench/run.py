"""One benchmark from its options to its report."""

import contextlib
import dataclasses
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pathjax.bench import report
from pathjax.bench.contestants import (
    PEER_MODULES,
    choose,
    loader_entries,
    vit_entries,
)
from pathjax.bench.duel import (
    Entry,
    Worker,
    interpreter,
    require_modules,
    take_turns,
)
from pathjax.bench.options import (
    BenchError,
    Common,
    ForwardOptions,
    LoaderOptions,
    StepOptions,
    parse_options,
)
from pathjax.files import write_json
from pathjax.progress import stage

OPTIONS = {"step": StepOptions, "forward": ForwardOptions, "loader": LoaderOptions}


def run(
    what: str, peer: bool, out: Path | None, words: Sequence[str]
) -> dict[str, Any]:
    """Runs, prints and writes it; the result, as in the JSON."""
    if what not in OPTIONS:
        raise BenchError(f"bench {what}: there are {', '.join(OPTIONS)}")
    options = parse_options(OPTIONS[what], words)
    with tempfile.TemporaryDirectory(prefix="pathjax-bench-") as name:
        folder = Path(name)
        entries = (
            loader_entries(options, folder)
            if what == "loader"
            else vit_entries(what, options)
        )
        chosen = choose(entries, what, peer, options.contestants)
        for entry in chosen.values():
            if entry.peer:
                python = interpreter(entry, options.peer_python)
                require_modules(python, PEER_MODULES[what])
        extra = build_tiles(folder, options) if what == "loader" else {}
        found = hold(what, chosen, options, extra)
    report.show(found)
    if out is not None:
        write_json(out, found)
    return found


def build_tiles(folder: Path, options: LoaderOptions) -> dict[str, Any]:
    """Makes the loader's study; what the report says about it."""
    from pathjax.bench.tissue import build

    study, made_of = build(folder, options)
    size = (folder / "tiles.npz").stat().st_size / len(study.tiles)
    return {"tiles": {"made_of": made_of, "mean_bytes": round(size)}}


def hold(
    what: str, entries: Mapping[str, Entry], options: Common, extra: Mapping[str, Any]
) -> dict[str, Any]:
    """Starts the workers one after the other, lets them take turns, ends them."""
    before = report.machine()
    with contextlib.ExitStack() as stack:
        workers: dict[str, Worker] = {}
        with stage("start and warm up", len(entries)) as bar:
            for name, entry in entries.items():
                python = interpreter(entry, options.peer_python)
                workers[name] = stack.enter_context(Worker(entry, python, os.environ))
                workers[name].start()
                bar(len(workers), name)
        # A first round that is not counted: caches, clocks, AUTOTUNE.
        take_turns(workers, 1, options.count)
        with stage("rounds", options.rounds) as bar:
            records, matrix = take_turns(workers, options.rounds, options.count, bar)
        return report.result(
            what,
            dataclasses.asdict(options),
            workers,
            records,
            matrix,
            before,
            extra,
        )
