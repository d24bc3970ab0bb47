"""`pathjax demo`: the whole experiment on a synthetic study, with one call.

    study -> base (DINO) -> contrastive and regression, several seeds -> probes -> table

Every stage resumes: run it again after an interruption and it goes on. The stages are
those of any experiment; `launch/her2st.sh` runs them on real data.
"""

from pathlib import Path

from pathjax.config import load
from pathjax.data.show import save_contact_sheet
from pathjax.datasets.demo import build_demo
from pathjax.evals.evaluate import Candidate, evaluate
from pathjax.evals.suites import load_tasks
from pathjax.progress import console, stage
from pathjax.report.table import print_table, write_report
from pathjax.train.trainer import train

OBJECTIVES = ("contrastive", "regression")
# Patients and tiles of each; the smoke size only shows that all stages work.
SIZE = {"patients": 640, "tiles_per_patient": 6}
SMOKE_SIZE = {"patients": 64, "tiles_per_patient": 3}


def run(out: Path, *, seeds: int = 3, smoke: bool = False) -> Path:
    """Runs or resumes the demo.

    Args:
      out: the run folder.
      seeds: fine-tuning runs of each objective.
      smoke: a cohort and models too small to learn from, for tests.

    Returns:
      The folder with the table and the figures.
    """
    suffix = ",smoke" if smoke else ""
    size = SMOKE_SIZE if smoke else SIZE
    with stage("synthetic study", size["patients"] * size["tiles_per_patient"]) as bar:
        study = build_demo(
            out / "study",
            **size,
            progress=lambda done, total: bar(done),
        )
    save_contact_sheet(study, out / "tiles.png")

    def tune(mode: str, workdir: Path, **values) -> None:
        config = load(
            f"configs/demo.py:{mode}{suffix}", {"study": str(study.root)} | values
        )
        title = f"{mode} {workdir.name.rpartition('-')[2]}" if values else mode
        with stage(title, config.optim.steps) as bar:
            train(config, workdir, bar)

    base = out / "base"
    tune("pretrain", base)
    candidates = [Candidate("base", str(base))]
    for seed in range(seeds):
        for mode in OBJECTIVES:
            workdir = out / f"{mode}-{seed}"
            tune(mode, workdir, init=str(base), seed=seed)
            candidates.append(Candidate(mode, str(workdir), "base", seed))

    with stage("probes", len(candidates)) as bar:
        evaluate(
            candidates,
            study,
            load_tasks("demo"),
            out,
            progress=bar,
            seeds=1,  # the table shows the probe of the whole fit fold alone
        )
    with stage("report", 1):
        table, _ = write_report([out], out / "report")
    print_table(table)
    console.print(f"tables, figures and results: {out / 'report'}", highlight=False)
    return out / "report"
