"""What a run reads before anything is compiled: study, start, genes, text, samples.

    study, init -> encoder, gene panel, text -> samples of a fold -> batches

Nothing here takes a step. Refuses data that do not fit the objective or the start.
"""

import dataclasses
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grain.python as grain
import numpy as np
from jaxtyping import Int

from pathjax import gene_towers
from pathjax.config import ConfigError, RunConfig, refuse
from pathjax.data.expression import GenePanel, fit_panel, require_same_genes
from pathjax.data.measured import is_partial
from pathjax.data.pipeline import eval_batches, eval_ends, train_batches
from pathjax.data.samples import Samples, gather
from pathjax.data.smooth import smooth
from pathjax.data.study import Study, sha256
from pathjax.data.text_store import Texts, fit_text, read_text
from pathjax.data.transforms import Augment
from pathjax.data.vectors import Vectors
from pathjax.embeddings.cache import cached_embeddings, identity, weights_file
from pathjax.gene_towers import GeneTower
from pathjax.models.blocks import from_plain
from pathjax.models.model_file import Model, load_model
from pathjax.models.variants import ViTConfig
from pathjax.objectives import Objective, Params, Spec
from pathjax.parallel.slice import Slice
from pathjax.registry import source_hashes

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Inputs:
    """What a run reads.

    Attributes:
      config: Of the run.
      study: With tiles and labels.
      init: The model to start from, or None.
      init_sha256: Of its file; "" without.
      vit: Configuration of the encoder to train.
      panel: Genes and their scale on the training fold; None without expression.
      texts: Text embeddings and their scale; None without.
      objective: Set up for the run.
      vectors: Vectors of samples that the objective reads, or None.
    """

    config: RunConfig
    study: Study
    init: Model | None
    init_sha256: str
    vit: ViTConfig
    panel: GenePanel | None
    texts: Texts | None
    objective: Objective
    vectors: Vectors | None = None

    def record(self) -> dict[str, Any]:
        """Config, genes, text, study, start and objective as plain data."""
        return {
            "config": json.loads(json.dumps(self.config.to_dict())),
            "panel": self.panel.to_json() if self.panel else None,
            "text": self.texts.scale.to_json() if self.texts else None,
            "study": {"name": self.study.name, "fingerprint": self.study.fingerprint},
            # As they are, not as they were recorded when the study was built.
            "files": self.study.hashes(self.config.split),
            "init": {"sha256": self.init_sha256},
            "objective_options": resolved_options(self.objective),
            # Of one's own objective; a shipped one is identified by the version.
            "code": source_hashes(self.config.objective.name, self.objective),
            "resources": self.objective.spec.resources,
        }

    def fold(self, name: str) -> Samples:
        """The samples of a fold.

        Raises:
          StudyError: The fold is empty, or samples lack expression.
        """
        return gather(
            self.study,
            self.config.split,
            name,
            unit=self.config.data.unit,
            pair_by=self.config.data.pair_by,
            panel=self.panel,
            counts=self.objective.needs_counts,
            drop_unpaired=self.config.data.drop_unpaired,
            texts=self.texts,
            vectors=self.vectors,
        )

    def training_fold(self) -> Samples:
        """The samples to train on; the only ones whose targets are smoothed.

        Raises:
          ConfigError: The objective needs negatives and there are none.
          StudyError: As `fold` and `smooth`.
        """
        samples = self.fold(self.config.fold)
        if self.config.data.smooth:
            samples = smooth(samples, self.study, self.config.data.smooth)
        samples = self._paired(samples)
        if self.objective.needs_negatives:
            require_negatives(self.config, self.config.fold, samples.pair_id)
        return samples

    def _paired(self, samples: Samples) -> Samples:
        """As they are, or for `data.pairing=shuffled` with labels of other patients."""
        shuffled = self.config.data.pairing == "shuffled"
        return samples.shuffled(self.config.seed) if shuffled else samples

    def validation_fold(self) -> Samples | None:
        """The samples to validate on, or None; raises as `training_fold`."""
        if not self.config.val_fold:
            return None
        fold, batch = self.config.val_fold, self.config.data.batch
        samples = self._paired(self.fold(fold))
        if not self.config.eval.every:
            return samples
        if self.objective.needs_negatives:
            require_negatives(self.config, fold, samples.pair_id)
            require_negatives_in_batches(fold, samples.pair_id, batch)
        if len(samples) < self.objective.min_rows:
            raise ConfigError(
                f"fold {fold!r} has {len(samples)} sample, but objective "
                f"{self.config.objective.name} compares samples with each other: expected "
                f"at least {self.objective.min_rows}"
            )
        return samples

    def train_batches(
        self, samples: Samples, part: Slice, features: np.ndarray | None
    ) -> grain.DatasetIterator:
        """An endless iterator over augmented batches; this process's part."""
        data = self.config.data
        distilled = self.config.self_distillation.weight
        return train_batches(
            self.study,
            samples,
            batch=data.batch,
            tiles=data.tiles,
            image_px=data.image_px,
            options=self.config.views(self.objective),
            seed=self.config.seed,
            threads=data.threads,
            buffer=data.buffer,
            part=part,
            features=features,
            crops=self.config.multicrop if distilled else None,
        )

    def eval_batches(
        self, samples: Samples | None, part: Slice, features: np.ndarray | None
    ) -> Iterator[dict[str, np.ndarray]]:
        """Each sample once, without augmentation; this process's part."""
        assert samples is not None  # eval.every needs val_fold
        data = self.config.data
        return eval_batches(
            self.study,
            samples,
            batch=data.batch,
            tiles=data.tiles,
            image_px=data.image_px,
            threads=data.threads,
            part=part,
            features=features,
            images=self.objective.views is not None,
        )

    def features(self, workdir: Path) -> np.ndarray | None:
        """Embeddings of all tiles by the frozen encoder; None if tiles are read."""
        if self.init is None or not self.objective.spec.cached:
            return None
        name, file = identity(self.config.init), workdir / "embeddings.h5"
        return cached_embeddings(file, self.init, name, self.study)

    def start(self) -> Params | None:
        """Parameters to start from, the encoder's unless it is frozen; None for none."""
        given = self.objective.start()
        if self.init is not None and not self.objective.spec.cached:
            given["vit"] = from_plain(self.vit, self.init.params["vit"])
        return given or None


def read_inputs(config: RunConfig) -> Inputs:
    """Reads everything but samples.

    Raises:
      ConfigError, ObjectiveError: The data do not fit the config.
      StudyError, TextError: The data are not what they should be.
    """
    if unused := config.unused():
        log.warning("%s: not used, as the weight is 0", ", ".join(unused))
    study = Study(config.study)
    init = load_model(config.init) if config.init else None
    init_sha256 = sha256(weights_file(config.init)) if config.init else ""
    require_same_scale(config, study, init)
    vit = config.encoder(init)
    (panel, partial), texts = read_panel(study, config, init), read_texts(study, config)
    resources = config.objective.build().read(study, training_ids(study, config), panel)
    text_dim = texts.scale.to_json()["dimensions"] if texts else 0
    objective = make_objective(
        config,
        vit,
        n_genes=len(panel.genes) if panel else 0,
        text_dim=text_dim,
        partial=partial,
        gene_variance=tuple(float(s) ** 2 for s in panel.std) if panel else (),
        resources=resources,
    )
    return Inputs(
        *(config, study, init, init_sha256, vit, panel, texts, objective),
        vectors=objective.sample_vectors(study),
    )


def resolved_options(objective: Objective) -> dict[str, Any]:
    """All options by name, defaults included; those that are plain data."""
    options = {}
    values = {name: getattr(objective, name) for name in objective.option_names()}
    for name, value in list(values.items()):
        if isinstance(value, GeneTower):
            own = gene_towers.options_of(value)
            values |= {f"{name}.{part}": one for part, one in own.items()}
    for name, value in values.items():
        parts = value if isinstance(value, tuple | list) else [value]
        if all(isinstance(one, bool | int | float | str | None) for one in parts):
            options[name] = list(value) if isinstance(value, tuple) else value
    return options


def make_objective(
    config: RunConfig,
    vit: ViTConfig,
    n_genes: int = 0,
    text_dim: int = 0,
    partial: bool = False,
    gene_variance: tuple[float, ...] = (),
    resources: dict[str, Any] | None = None,
) -> Objective:
    """The config's objective, set up for a run; the arguments are those of `Spec`.

    Raises:
      RegistryError, ObjectiveError: It cannot be set up.
    """
    cached = config.adapt.mode == "towers"
    spec = Spec(
        *(vit, n_genes, text_dim, config.optim.steps, cached, partial),
        gene_variance=gene_variance,
        resources=resources or {},
    )
    return config.objective.build().setup(spec)


def training_ids(study: Study, config: RunConfig) -> list[str]:
    """Ids of the samples of the training fold."""
    ids = study.samples["sample_id"].to_numpy()
    return list(ids[study.fold_samples(config.split, config.fold)])


def read_panel(
    study: Study, config: RunConfig, init: Model | None
) -> tuple[GenePanel | None, bool]:
    """Fits the gene panel on the training fold, if the objective needs expression.

    Also returns whether some samples were not measured for all of its genes.
    """
    objective = config.objective.build()
    if not (objective.needs_genes or objective.needs_counts):
        return None, False
    train, expression = training_ids(study, config), study.expression()
    if config.data.drop_unpaired or config.data.text:
        train = [sample for sample in train if sample in expression.obs_names]
    panel = fit_panel(expression, train, config.data.panel_genes())
    # Heads of the model to start from expect its genes in its order.
    if init is not None and init.meta.get("panel") and set(init.params) != {"vit"}:
        require_same_genes(init.meta["panel"]["genes"], panel.genes, config.init)
    return panel, is_partial(expression, panel.genes)


def read_texts(study: Study, config: RunConfig) -> Texts | None:
    """Reads the text embeddings, if there are any, and fits their scale on train.

    Raises:
      TextError: The file does not hold text embeddings.
      StudyError: Too few training samples have a text.
    """
    if not config.data.text:
        return None
    embeddings = read_text(Path(config.data.text))
    return Texts(embeddings, fit_text(embeddings, training_ids(study, config)))


def require_same_scale(config: RunConfig, study: Study, init: Model | None) -> None:
    """Refuses tiles whose scale differs between training and later embedding.

    A public model resizes its input; training crops. They agree if tiles have the size
    that the model resizes to. Multi-crop views have many scales, so any size will do.

    Raises:
      ConfigError: Naming the tile size to build the study with.
    """
    asked = init.meta.get("preprocess") if init else None
    if asked is None or config.objective.build().views is not Augment:
        return
    problems = []
    if study.tile_px != asked["resize"]:
        problems.append(
            f"study {study.name} has tiles of {study.tile_px} px, but {config.init} "
            f"resizes its input to {asked['resize']}: build the study with tiles of "
            f"{asked['resize']} px, or training sees another magnification"
        )
    if config.data.image_px != asked["crop"]:
        problems.append(
            f"data.image_px={config.data.image_px}, but {config.init} takes "
            f"{asked['crop']}: set data.image_px={asked['crop']}"
        )
    refuse(problems)


def require_negatives(
    config: RunConfig, fold: str, pair_id: Int[np.ndarray, "n"]
) -> None:
    """Refuses a fold whose samples are all each other's positives: its loss is 0.

    Raises:
      ConfigError: Naming the key that pairs samples.
    """
    if len(set(pair_id)) < 2:
        raise ConfigError(
            f"objective {config.objective.name} needs negatives, but all {len(pair_id)} "
            f"samples of fold {fold!r} share one {config.data.pair_by}: set "
            "data.pair_by=sample_id to contrast the spots of one patient, or choose a "
            "fold with more patients"
        )


def require_negatives_in_batches(
    fold: str, pair_id: Int[np.ndarray, "n"], batch: int
) -> None:
    """Refuses a validation fold none of whose batches has negatives.

    Validation batches are in the study's order, so those of many spots per patient may
    each hold one patient. Some such batches are only logged.

    Raises:
      ConfigError: No batch has two distinct pair ids.
    """
    parts = np.split(pair_id, eval_ends(len(pair_id), batch)[1:-1])
    alone = sum(len(set(part)) < 2 for part in parts)
    if alone == len(parts):
        raise ConfigError(
            f"fold {fold!r} has no negatives within any of its {len(parts)} validation "
            f"batches of up to {batch} consecutive samples, so its loss is always 0: raise "
            "data.batch, or set data.pair_by=sample_id"
        )
    if alone:
        log.warning(
            "%d of %d validation batches hold one patient each and have loss 0; a larger "
            "data.batch or data.pair_by=sample_id makes validation more telling",
            *(alone, len(parts)),
        )
