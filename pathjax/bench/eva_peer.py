"""eva's side of `bench eva`: kaiko-eva's own trainer on a cache in its own layout.

    features.npy, manifest.csv -> one .pt a row -> eva's run_evaluation, runs times

The parts and settings are those of eva's configs/vision/pathology/offline/
classification/{patch_camelyon,bach}.yaml, as their `eva fit` puts them together. Left
out are the two callbacks that do nothing in a fit or only log the yaml file. A binary
task's targets are made floating by a function here, so that torchvision, from which the
yaml takes it, is not needed.

Nothing of pathjax but worker.py is imported: this runs under an interpreter that has
kaiko-eva 0.4.5, on PyTorch's CPU build.
"""

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

from pathjax.bench.worker import serve


def write_tensors(folder: Path) -> None:
    """Writes each row as eva's `ClassificationEmbeddingsWriter` does: a list of one."""
    import pandas as pd

    features = np.load(folder / "features.npy")
    names = pd.read_csv(folder / "manifest.csv")["embeddings"]
    for name, row in zip(names, features, strict=True):
        torch.save([torch.tensor(row)], folder / name)


def to_float(target: torch.Tensor) -> torch.Tensor:
    """What `BCEWithLogitsLoss` wants; at the top, for loader processes to find it."""
    return target.to(torch.float32)


class Started(torch.nn.Linear):
    """A linear layer that starts from given parameters."""

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


class EvaRuns:
    """The contestant; its work is done when it is made, and it takes no turns."""

    def __init__(self, options: dict[str, Any]):
        folder = Path(options["folder"])
        if not (folder / "written").exists():
            write_tensors(folder)
            (folder / "written").touch()
        torch.manual_seed(0)  # eva seeds nothing; this makes a table that repeats
        binary = options["classes"] == 2
        score = "BinaryBalancedAccuracy" if binary else "MulticlassAccuracy"
        monitor, watch = f"val/{score}", Watch()
        with tempfile.TemporaryDirectory(prefix="pathjax-bench-") as logs:
            trainer = make_trainer(logs, options, monitor, watch)
            data = make_data(folder, options)
            begun, scores = time.perf_counter(), []
            for run in range(options["runs"]):
                model = make_model(options, run)
                found, _ = functional.run_evaluation(
                    trainer, model, data, run_id=run, verbose=False
                )
                scores.append(found[0][monitor])
            seconds = time.perf_counter() - begun
        self.info = {
            "versions": {
                name: importlib.metadata.version(name)
                for name in ("kaiko-eva", "torch", "lightning", "torchmetrics")
            },
            "threads": torch.get_num_threads(),
            "seconds": seconds,
            "scores": scores,
            "marks": watch.marks,
        }


def make_trainer(logs: str, options: dict[str, Any], monitor: str, watch: Watch):
    """eva's trainer with the callbacks and the logger of its configs."""
    return eva.Trainer(
        n_runs=options["runs"],
        default_root_dir=logs,
        max_steps=options["max_steps"],
        checkpoint_type="best",
        accelerator="cpu",
        callbacks=[
            callbacks.TQDMProgressBar(refresh_rate=1),
            callbacks.LearningRateMonitor(logging_interval="epoch"),
            callbacks.ModelCheckpoint(
                filename="best",
                save_last=False,
                save_top_k=1,
                monitor=monitor,
                mode="max",
            ),
            callbacks.EarlyStopping(
                monitor, min_delta=0, patience=options["patience"], mode="max"
            ),
            watch,
        ],
        logger=[loggers.TensorBoardLogger(logs, name="")],
    )


def make_model(options: dict[str, Any], run: int) -> eva.HeadModule:
    """eva's head; its own start or, if asked, that of our run of the same number."""
    binary = options["classes"] == 2
    columns = 1 if binary else options["classes"]
    head = {
        "class_path": "torch.nn.Linear",
        "init_args": {"in_features": options["width"], "out_features": columns},
    }
    if options["starts"] == "ours":
        head = Started(options["folder"], run)
    classes = (
        metrics.BinaryClassificationMetrics()
        if binary
        else metrics.MulticlassClassificationMetrics(options["classes"])
    )
    return eva.HeadModule(
        head=head,
        criterion=(
            torch.nn.BCEWithLogitsLoss() if binary else torch.nn.CrossEntropyLoss()
        ),
        optimizer=functools.partial(torch.optim.AdamW, lr=3e-4),
        metrics=structs.MetricsSchema(common=[metrics.AverageLoss(), classes]),
    )


def make_data(folder: Path, options: dict[str, Any]) -> eva.DataModule:
    """eva's datasets and loaders: batches of 256, shuffled for training."""
    transform = to_float if options["classes"] == 2 else None
    # PyTorch refuses these two of eva's defaults where there are no processes.
    alone = {} if options["workers"] else dict.fromkeys(("prefetch_factor",))
    if not options["workers"]:
        alone["persistent_workers"] = False

    def dataset(split: str):
        return eva.datasets.EmbeddingsClassificationDataset(
            str(folder), "manifest.csv", split=split, target_transforms=transform
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
