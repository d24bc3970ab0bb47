"""kaiko-eva's own trainer on the features of `bench probe`, in its own layout.

    features.npz -> one .pt a row, manifest.csv -> eva's run_evaluation

Parts and settings are those of eva's configs/vision/pathology/offline/classification/
patch_camelyon.yaml, as `eva fit` puts them together. Needs kaiko-eva 0.4.5 on PyTorch's
CPU build, and nothing of pathjax but worker.py.
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

from pathjax.bench.worker import Contestant

MONITOR = "val/BinaryBalancedAccuracy"


def write_tensors(folder: Path) -> None:
    """Writes rows as eva's `ClassificationEmbeddingsWriter` does."""
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


class Watch(callbacks.Callback):
    """Records step and time after each validation of each run."""

    def __init__(self):
        self.marks: list[list[tuple[int, float]]] = []

    def __deepcopy__(self, memo) -> "Watch":
        return self  # eva runs deep copies of its trainer

    def on_fit_start(self, trainer, module) -> None:
        self.marks.append([])

    def on_validation_end(self, trainer, module) -> None:
        if not trainer.sanity_checking and trainer.state.fn == "fit":
            self.marks[-1].append((trainer.global_step, time.perf_counter()))


class EvaRuns(Contestant):
    """All runs to their early stops once; then a part of one run in each turn."""

    def __init__(self, options: dict[str, Any]):
        self._options, self._folder = options, Path(options["folder"])
        write_tensors(self._folder)
        torch.manual_seed(0)  # eva seeds nothing; this makes results repeat
        scores, marks = self._fit(options["runs"], options["max_steps"])
        libraries = ("kaiko-eva", "torch", "lightning", "torchmetrics")
        self.info = {
            "unit": "steps",
            "versions": {name: importlib.metadata.version(name) for name in libraries},
            "threads": torch.get_num_threads(),
            "note": "steps a second after the first epoch, with validation",
            "scores": scores,
            "epochs": [run[-1][0] // options["steps_an_epoch"] for run in marks],
        }

    def _fit(self, runs: int, max_steps: int):
        """Scores, and (step, seconds) after each validation, of some runs."""
        watch, scores = Watch(), []
        patience = self._options["patience"]
        with tempfile.TemporaryDirectory(prefix="pathjax-bench-") as logs:
            trainer = eva.Trainer(
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
                        MONITOR, min_delta=0, patience=patience, mode="max"
                    ),
                    watch,
                ],
                logger=[loggers.TensorBoardLogger(logs, name="")],
            )
            data = make_data(self._folder)
            for run in range(runs):
                model = make_model(self._options["width"])
                results, _ = functional.run_evaluation(
                    trainer, model, data, run_id=run, verbose=False
                )
                scores.append(results[0][MONITOR])
        return scores, watch.marks

    def run(self, count: int) -> tuple[int, float]:
        """One run of `count` times `peer_steps` steps, after its first epoch."""
        an_epoch = self._options["steps_an_epoch"]
        epochs = 1 + -(-count * self._options["peer_steps"] // an_epoch)
        _, ((first, *_, last),) = self._fit(1, epochs * an_epoch)
        return last[0] - first[0], last[1] - first[1]


def make_model(width: int) -> eva.HeadModule:
    """eva's linear head."""
    classes = metrics.BinaryClassificationMetrics()
    return eva.HeadModule(
        head={
            "class_path": "torch.nn.Linear",
            "init_args": {"in_features": width, "out_features": 1},
        },
        criterion=torch.nn.BCEWithLogitsLoss(),
        optimizer=functools.partial(torch.optim.AdamW, lr=3e-4),
        metrics=structs.MetricsSchema(common=[metrics.AverageLoss(), classes]),
    )


def make_data(folder: Path) -> eva.DataModule:
    """eva's datasets and loaders: batches of 256, shuffled for training."""

    def dataset(split: str):
        return eva.datasets.EmbeddingsClassificationDataset(
            str(folder),
            "manifest.csv",
            split=split,
            # A float target for `BCEWithLogitsLoss`; eva's transform needs torchvision.
            target_transforms=lambda target: target.to(torch.float32),
        )

    def loader(shuffle: bool) -> eva.DataLoader:
        # PyTorch refuses eva's defaults of the last two without loader processes.
        return eva.DataLoader(
            batch_size=256,
            num_workers=0,
            shuffle=shuffle,
            prefetch_factor=None,
            persistent_workers=False,
        )

    return eva.DataModule(
        datasets=eva.DatasetsSchema(train=dataset("train"), val=dataset("val")),
        dataloaders=eva.DataloadersSchema(train=loader(True), val=loader(False)),
    )
