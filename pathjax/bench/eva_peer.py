"""kaiko-eva's own trainer on the features of `bench probe`, in its own layout.

    features.npz -> one .pt a row, manifest.csv -> eva's run_evaluation

The parts and settings are those of eva's configs/vision/pathology/offline/
classification/patch_camelyon.yaml, as `eva fit` puts them together, without two
callbacks that do nothing in a fit. Targets are made floating by a function here, so that
torchvision is not needed. Needs kaiko-eva 0.4.5 on PyTorch's CPU build, and nothing of
pathjax but worker.py.
"""

import csv
import functools
import importlib.metadata
import tempfile
import time
from pathlib import Path
from typing import Any

import eva
import numpy as np
import torch
from eva.core import metrics
from eva.core.metrics import structs
from eva.core.trainers import functional
from lightning.pytorch import callbacks, loggers

from pathjax.bench.worker import Contestant, serve

MONITOR = "val/BinaryBalancedAccuracy"


def write_tensors(folder: Path) -> None:
    """Writes rows as eva's `ClassificationEmbeddingsWriter` does: a list of one each."""
    with (
        np.load(folder / "features.npz") as file,
        (folder / "manifest.csv").open("w", encoding="utf-8", newline="") as out,
    ):
        manifest = csv.writer(out)
        manifest.writerow(("origin", "embeddings", "target", "split"))
        for fold in ("train", "val"):
            rows = zip(file[f"{fold}_x"], file[f"{fold}_y"], strict=True)
            for number, (row, target) in enumerate(rows):
                name = f"{fold}_{number}"
                torch.save([torch.tensor(row)], folder / f"{name}.pt")
                manifest.writerow((f"{name}.png", f"{name}.pt", int(target), fold))


def to_float(target: torch.Tensor) -> torch.Tensor:
    """For `BCEWithLogitsLoss`; at module level, so that loader processes find it."""
    return target.to(torch.float32)


class Started(torch.nn.Linear):
    """A linear layer with given first parameters."""

    def __init__(self, folder: str, run: int):
        with np.load(Path(folder) / "starts.npz") as file:
            kernel, bias = file["kernel"][run], file["bias"][run]
        super().__init__(*kernel.shape)
        with torch.no_grad():
            self.weight.copy_(torch.tensor(kernel.T))
            self.bias.copy_(torch.tensor(bias))


class Watch(callbacks.Callback):
    """Notes step and time after each validation of each run."""

    def __init__(self):
        self.marks: list[list[tuple[int, float]]] = []

    def __deepcopy__(self, memo) -> "Watch":
        return self  # eva runs a deep copy of its trainer, and this is to see all

    def on_fit_start(self, trainer, module) -> None:
        self.marks.append([])

    def on_validation_end(self, trainer, module) -> None:
        if not trainer.sanity_checking and trainer.state.fn == "fit":
            self.marks[-1].append((trainer.global_step, time.perf_counter()))


class EvaRuns(Contestant):
    """All runs to their early stops once; then a part of one run in each turn."""

    def __init__(self, options: dict[str, Any]):
        self._options, self._folder = options, Path(options["folder"])
        if not (self._folder / "manifest.csv").exists():
            write_tensors(self._folder)
        torch.manual_seed(0)  # eva seeds nothing; this makes results repeat
        scores, marks = self._fit(options["runs"], options["max_steps"])
        an_epoch = options["steps_an_epoch"]
        self.info = {
            "unit": "steps",
            "versions": {
                name: importlib.metadata.version(name)
                for name in ("kaiko-eva", "torch", "lightning", "torchmetrics")
            },
            "threads": torch.get_num_threads(),
            "note": "steps a second after the first epoch, validations counted",
            "scores": scores,
            "epochs": [run[-1][0] // an_epoch for run in marks],
            "paired": options["starts"] == "ours",
        }

    def _fit(self, runs: int, max_steps: int):
        """Scores, and (step, seconds) after each validation, of some runs."""
        options, watch, scores = self._options, Watch(), []
        with tempfile.TemporaryDirectory(prefix="pathjax-bench-") as logs:
            trainer = make_trainer(logs, options, runs, max_steps, watch)
            data = make_data(self._folder, options)
            for run in range(runs):
                model = make_model(options, run)
                found, _ = functional.run_evaluation(
                    trainer, model, data, run_id=run, verbose=False
                )
                scores.append(found[0][MONITOR])
        return scores, watch.marks

    def run(self, count: int) -> tuple[int, float]:
        """One run of `count` times `peer_steps` steps, after its first epoch."""
        an_epoch = self._options["steps_an_epoch"]
        epochs = 1 + -(-count * self._options["peer_steps"] // an_epoch)
        _, ((first, *_, last),) = self._fit(1, epochs * an_epoch)
        return last[0] - first[0], last[1] - first[1]


def make_trainer(
    logs: str, options: dict[str, Any], runs: int, max_steps: int, watch: Watch
) -> eva.Trainer:
    """eva's trainer with the callbacks and the logger of its configs."""
    return eva.Trainer(
        n_runs=runs,
        default_root_dir=logs,
        max_steps=max_steps,
        checkpoint_type="best",
        accelerator="cpu",
        callbacks=[
            callbacks.TQDMProgressBar(refresh_rate=1),
            callbacks.LearningRateMonitor(logging_interval="epoch"),
            callbacks.ModelCheckpoint(
                filename="best",
                save_last=False,
                save_top_k=1,
                monitor=MONITOR,
                mode="max",
            ),
            callbacks.EarlyStopping(
                MONITOR, min_delta=0, patience=options["patience"], mode="max"
            ),
            watch,
        ],
        logger=[loggers.TensorBoardLogger(logs, name="")],
    )


def make_model(options: dict[str, Any], run: int) -> eva.HeadModule:
    """eva's head; its own start or, if asked, that of our run of the same number."""
    head = {
        "class_path": "torch.nn.Linear",
        "init_args": {"in_features": options["width"], "out_features": 1},
    }
    if options["starts"] == "ours":
        head = Started(options["folder"], run)
    classes = metrics.BinaryClassificationMetrics()
    return eva.HeadModule(
        head=head,
        criterion=torch.nn.BCEWithLogitsLoss(),
        optimizer=functools.partial(torch.optim.AdamW, lr=3e-4),
        metrics=structs.MetricsSchema(common=[metrics.AverageLoss(), classes]),
    )


def make_data(folder: Path, options: dict[str, Any]) -> eva.DataModule:
    """eva's datasets and loaders: batches of 256, shuffled for training."""
    # PyTorch refuses these two of eva's defaults where there are no processes.
    alone = {} if options["workers"] else dict.fromkeys(("prefetch_factor",))
    if not options["workers"]:
        alone["persistent_workers"] = False

    def dataset(split: str):
        return eva.datasets.EmbeddingsClassificationDataset(
            str(folder), "manifest.csv", split=split, target_transforms=to_float
        )

    def loader(shuffle: bool) -> eva.DataLoader:
        return eva.DataLoader(
            batch_size=256, num_workers=options["workers"], shuffle=shuffle, **alone
        )

    return eva.DataModule(
        datasets=eva.DatasetsSchema(train=dataset("train"), val=dataset("val")),
        dataloaders=eva.DataloadersSchema(train=loader(True), val=loader(False)),
    )


if __name__ == "__main__":
    serve(EvaRuns)
