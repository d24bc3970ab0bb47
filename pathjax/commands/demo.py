"""`pathjax demo`: the whole experiment on a synthetic study, in one call.

    study -> base (DINO) -> contrastive and regression -> probes -> table and page

Every stage resumes: run the command again after an interruption and it continues. The
stages are those of any experiment; `launch/her2st.sh` runs them on real data.
"""

import argparse
from pathlib import Path

OBJECTIVES = ("contrastive", "regression")
# Patients and tiles of each patient. `quick` takes minutes and has a real effect; `full`
# is the experiment of docs/results.md; `smoke` only shows that all stages work.
SIZES = {
    "quick": {"patients": 800, "tiles_per_patient": 4},
    "full": {"patients": 640, "tiles_per_patient": 6},
    "smoke": {"patients": 64, "tiles_per_patient": 3},
}
SEEDS = {"quick": 1, "full": 3, "smoke": 1}


def add(commands) -> None:
    """Adds `demo`."""
    demo = commands.add_parser(
        "demo",
        help="run the whole experiment on a synthetic study",
        description="Builds a synthetic study, pre-trains a small base, fine-tunes it "
        "with two objectives, scores all models with the same probes, and writes the "
        "table and a page. Takes about four minutes on two CPU cores. Run the same "
        "command again to continue after an interruption.",
    )
    demo.add_argument(
        "--out",
        type=Path,
        help="output folder (default: runs/demo, runs/demo-full or runs/demo-smoke)",
    )
    demo.add_argument(
        "--seeds",
        type=int,
        help="fine-tuning runs of each objective (default: 1; with --full 3)",
    )
    demo.add_argument(
        "--controls",
        action="store_true",
        help="also tune on shuffled pairs and by self-supervision alone, and add rows with "
        "permuted labels and hand-crafted features; the table says which deltas survive",
    )
    size = demo.add_mutually_exclusive_group()
    size.add_argument(
        "--full",
        action="store_true",
        help="the larger study and longer training of the docs; about 15 minutes",
    )
    size.add_argument(
        "--smoke",
        action="store_true",
        help="a minimal run to test the installation; its numbers mean nothing",
    )
    demo.set_defaults(run=run_demo)


def run_demo(args: argparse.Namespace) -> None:
    size = "full" if args.full else "smoke" if args.smoke else "quick"
    default = "runs/demo" if size == "quick" else f"runs/demo-{size}"
    out = args.out or Path(default)
    run(out, size=size, seeds=args.seeds, controls=args.controls)


def run(
    out: Path, *, size: str = "quick", seeds: int | None = None, controls: bool = False
) -> Path:
    """Runs or resumes the demo.

    Args:
      out: Output folder.
      size: `quick`, `full` or `smoke`.
      seeds: Fine-tuning runs of each objective; by default 1, for `full` 3.
      controls: Train and score the controls too.

    Returns:
      The folder with the table and the figures; the page is OUT/index.html.
    """
    from pathjax.config import load
    from pathjax.data.show import save_contact_sheet
    from pathjax.datasets.demo import build_demo
    from pathjax.evals.candidates import Candidate, with_controls
    from pathjax.evals.evaluate import evaluate
    from pathjax.evals.suites import load_tasks
    from pathjax.progress import console, stage
    from pathjax.report.page import write_page
    from pathjax.report.table import print_table, write_report
    from pathjax.train.trainer import train

    seeds = SEEDS[size] if seeds is None else seeds
    cohort = SIZES[size]
    with stage(
        "synthetic study", cohort["patients"] * cohort["tiles_per_patient"]
    ) as bar:
        study = build_demo(
            out / "study", **cohort, progress=lambda done, total: bar(done)
        )
    save_contact_sheet(study, out / "tiles.png")

    flag = "" if size == "full" else f",{size}"

    def train_one(mode: str, workdir: Path, title: str, **values) -> None:
        config = load(
            f"configs/demo.py:{mode}{flag}", {"study": str(study.root)} | values
        )
        with stage(title, config.optim.steps) as bar:
            train(config, workdir, bar)

    base = out / "base"
    train_one("pretrain", base, "pretrain")
    candidates = [Candidate("base", str(base))]
    for seed in range(seeds):
        for mode in OBJECTIVES:
            workdir = out / f"{mode}-{seed}"
            train_one(mode, workdir, f"{mode} {seed}", init=str(base), seed=seed)
            candidates.append(Candidate(mode, str(workdir), "base", seed))
            if controls:
                workdir = out / f"{mode}-shuffled-{seed}"
                values = {"init": str(base), "seed": seed, "data.pairing": "shuffled"}
                train_one(mode, workdir, f"{mode}, shuffled {seed}", **values)
                candidates.append(Candidate(mode, str(workdir), "base", seed))
        if controls:
            workdir = out / f"continued-{seed}"
            train_one(
                "continue", workdir, f"continue {seed}", init=str(base), seed=seed
            )
            candidates.append(Candidate("continued", str(workdir), "base", seed))
    if controls:
        candidates = with_controls(candidates, ("permuted", "handcrafted"))

    with stage("probes", len(candidates)) as bar:
        # seeds=1: one probe fitted on the whole fit fold, no subsampled ones.
        evaluate(candidates, study, load_tasks("demo"), out, progress=bar, seeds=1)
    with stage("report", 1):
        table, _ = write_report([out], out / "report")
        page = write_page([out], table, out)
    print_table(table)
    console.print(f"tables, figures and results: {out / 'report'}", highlight=False)
    print(page)
    return out / "report"
