"""eva's linear probe against kaiko-eva itself: the same scores, and how much sooner.

    sets -> both contestants to their early stops -> scores compared
    the generated set, rounds of (ours, eva) -> seconds compared -> show

The scores are balanced accuracies of val rows at the best epoch, a mean over runs. Of a
set of a few hundred rows that mean moves by half a point with the random start alone.
So eva runs twice: as it is, and with the starts of our runs, run by run; what is left
then is the order of rows and how the two compute.

eva's time is extrapolated: its steps a second, from the end of its first epoch on,
validations counted, times the steps that our runs took to their own early stops. What
it needs to start up is not counted. Our time is whole: JAX's import, reading,
compilation, all runs; and again with the compiled program found in JAX's cache on disk.
"""

import dataclasses
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from pathjax.bench import eva_sets
from pathjax.bench.duel import Entry, Worker, interpreter, require_modules, spread
from pathjax.bench.eva_report import agreement, show, steps_a_second
from pathjax.bench.options import PRIVATE, BenchError, Common
from pathjax.bench.report import machine
from pathjax.progress import stage

__all__ = ["EvaOptions", "measure", "show"]

SETS = ("idc", "her2st", "generated")
PARTS = (*SETS, "time")


@dataclasses.dataclass(frozen=True)
class EvaOptions(Common):
    """Of `bench eva`; `contestants` means nothing here.

    Attributes:
      rounds: of the timed part.
      parts: of PARTS, comma-separated: sets to compare scores on, and the timed part.
      data: folder with idc_patches/ and her2st/; "" takes PATHJAX_TEST_DATA.
      rows, val_rows, width: of the generated set.
      runs: of the protocol; at least 2, for their scatter.
      real_steps, made_steps: at most so many steps a run when scores are compared, of
        real and of generated sets, on both sides; the patience is a fifth of them, as
        of the 12,500 of the protocol, which would take eva hours. 948 are 12 epochs of
        20,000 rows and a patience of 3, as PCam has it.
      timed_steps: at most so many steps of a run when time is compared: the protocol's.
      peer_steps: of eva that are timed, after its first epoch.
    """

    rounds: int = 2
    parts: str = ",".join(PARTS)
    data: str = ""
    rows: int = 20_000
    val_rows: int = 4_000
    width: int = 384
    runs: int = 5
    real_steps: int = 200
    made_steps: int = 948
    timed_steps: int = 12_500
    peer_steps: int = 500


def measure(options: EvaOptions, peer: bool) -> dict[str, Any]:
    """Compares scores, then time; without the peer, ours alone.

    Raises:
      BenchError: an unknown part, no data, or an interpreter without kaiko-eva.
    """
    parts = tuple(filter(None, options.parts.split(",")))
    unknown = [name for name in parts if name not in PARTS]
    if unknown or not parts:
        raise BenchError(f"parts={options.parts}: there are {', '.join(PARTS)}")
    if options.runs < 2:
        raise BenchError(f"runs={options.runs}: wanted 2 at least, for their scatter")
    if peer:
        require_modules(options.peer_python or sys.executable, ("eva",), "eva")
    before = machine()
    with tempfile.TemporaryDirectory(prefix="pathjax-bench-") as place:
        found = {
            "options": {
                name: value
                for name, value in dataclasses.asdict(options).items()
                if name not in (*PRIVATE, "data")
            },
            "machine": before,
            "sets": {},
        }
        for part in parts:
            folder = Path(place) / part
            eva_sets.write_set(folder, make(part, options))
            if part == "time":
                found["time"] = timed(folder, options, peer)
            else:
                found["sets"][part] = scored(folder, options, peer)
    return found | {"load_after": list(os.getloadavg())}


def make(name: str, options: EvaOptions) -> eva_sets.ProbeSet:
    """The set of one of PARTS."""
    if name in ("generated", "time"):
        return eva_sets.generated(options.rows, options.val_rows, options.width)
    data = eva_sets.find_data(options.data)
    return {"idc": eva_sets.idc_patches, "her2st": eva_sets.her2st}[name](data)


def job(folder: Path, options: EvaOptions, max_steps: int) -> dict[str, Any]:
    """What both contestants are told of a set and of the protocol."""
    from pathjax.evals.probes.eva_linear import EvaLinear

    about = eva_sets.read_about(folder)
    protocol = EvaLinear(steps=max_steps)
    recipe = protocol.recipe(about["train_rows"])
    return about | {
        "folder": str(folder),
        "threads": options.threads,
        "runs": options.runs,
        "max_steps": max_steps,
        "patience": recipe.patience,
        "steps_an_epoch": -(-about["train_rows"] // protocol.batch),
    }


def ours(folder: Path, told: dict[str, Any], compiled: Path) -> dict[str, Any]:
    """One process of ours, which keeps what it compiles in `compiled`."""
    environ = {
        "JAX_PLATFORMS": "cpu",
        "JAX_COMPILATION_CACHE_DIR": str(compiled),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    entry = Entry("pathjax", "pathjax", "pathjax.bench.eva_sweep", told, False, environ)
    return work(entry, "")


def theirs(told: dict[str, Any], options: EvaOptions, **more: Any) -> dict[str, Any]:
    """One process of eva's."""
    entry = Entry("eva", "eva", "pathjax.bench.eva_peer", told | more, True)
    return work(entry, options.peer_python)


def work(entry: Entry, peer_python: str) -> dict[str, Any]:
    """Runs a contestant that does all its work while it is made."""
    with Worker(entry, interpreter(entry, peer_python), os.environ) as worker:
        worker.start()
        return worker.info


def scored(folder: Path, options: EvaOptions, peer: bool) -> dict[str, Any]:
    """Scores of all runs on one set: ours, eva's, and eva's from our starts."""
    most = options.made_steps if folder.name == "generated" else options.real_steps
    told = job(folder, options, most)
    found = {"told": {k: v for k, v in told.items() if k != "folder"}}
    found["pathjax"] = ours(folder, told, folder / "compiled")
    if not peer:
        return found
    write_starts(folder, told)
    # Of many rows the start moves the mean by a tenth of a point, and runs are long.
    for starts in ("eva",) if folder.name == "generated" else ("eva", "ours"):
        one = theirs(told, options, workers=0, starts=starts)
        marks = one.pop("marks")
        one["epochs"] = [run[-1][0] // told["steps_an_epoch"] for run in marks]
        one["agreement"] = agreement(
            found["pathjax"]["scores"], one["scores"], paired=starts == "ours"
        )
        found["eva" if starts == "eva" else "eva from our starts"] = one
    return found


def write_starts(folder: Path, told: dict[str, Any]) -> None:
    """Writes the first parameters of our runs, for eva to start from."""
    import jax

    from pathjax.evals.probes.minibatch import run_keys, uniform_linear

    columns = 1 if told["classes"] == 2 else told["classes"]

    def start(seed):
        return uniform_linear(run_keys(seed)[0], told["width"], columns)

    starts = jax.vmap(start)(np.arange(told["runs"]))
    np.savez(folder / "starts.npz", **jax.tree.map(np.asarray, starts))


def timed(folder: Path, options: EvaOptions, peer: bool) -> dict[str, Any]:
    """Rounds of our whole sweep, cold and warm, and of a part of one run of eva's."""
    told = job(folder, options, options.timed_steps)
    an_epoch = told["steps_an_epoch"]
    part = told | {"runs": 1}
    part["max_steps"] = (1 + -(-options.peer_steps // an_epoch)) * an_epoch
    rounds = []
    with stage("rounds", options.rounds) as bar:
        for number in range(options.rounds):
            compiled = folder / f"compiled_{number}"
            one = {"cold": ours(folder, told, compiled)}
            rates = {}
            for workers in (0, 4) if peer else ():
                found = theirs(part, options, workers=workers, starts="eva")
                rates[workers] = steps_a_second(found["marks"][0])
                one["versions"] = found["versions"]
            one["warm"] = ours(folder, told, compiled)
            if peer:
                one["eva_steps_a_second"] = rates
                one["eva_seconds"] = one["cold"]["steps"] / max(rates.values())
                one["ratio"] = {
                    how: one["eva_seconds"] / one[how]["seconds"]
                    for how in ("cold", "warm")
                }
            rounds.append(one)
            bar(number + 1)
    found = {"told": {k: v for k, v in told.items() if k != "folder"}}
    if peer:
        found["ratio"] = {
            how: spread([one["ratio"][how] for one in rounds])
            for how in ("cold", "warm")
        }
    return found | {"rounds": rounds}
