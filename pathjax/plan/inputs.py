"""Sizes of a run's inputs, also before a study is built or a model is downloaded.

The encoder's shape comes from its file, a public model's name or a named variant; of the
rest only the number of genes and the width of the text embeddings are needed.
"""

import dataclasses
from pathlib import Path
from typing import Any

from pathjax import zoo
from pathjax.buckets import local
from pathjax.config import ConfigError, RunConfig
from pathjax.data.measured import is_partial
from pathjax.data.study import Study
from pathjax.data.text_store import read_text
from pathjax.models.model_file import Model, ModelFileError, load_model
from pathjax.train.inputs import read_panel, training_ids


def initial_model(config: RunConfig) -> Model | None:
    """The model that a run starts from: from its file, or only its shape by name.

    Raises:
      ConfigError: `init` is neither a model file nor the name of a public model, and
        `model.variant` is not set.
    """
    if not config.init:
        return None
    try:
        return load_model(config.init)
    except (OSError, ModelFileError):
        name = Path(config.init).name
        if name in zoo.MODELS:
            return Model({}, zoo.get(name).vit, {"image_px": config.data.image_px})
        if config.model.variant:
            return None
        raise ConfigError(
            f"init={config.init} is neither a model file nor a name of `pathjax models`: "
            "give a name from there, such as --config.init=uni, or the encoder's shape, "
            "such as --config.model.variant=L/16"
        ) from None


@dataclasses.dataclass(frozen=True)
class Sizes:
    """Sizes given by the user, for data that is not on this machine.

    Attributes:
      genes: Length of the gene panel; None takes that of the config.
      text: Width of text embeddings; None reads the config's file.

    Methods raise ConfigError if the config's file is missing and the size is None.
    """

    genes: int | None = None
    text: int | None = None

    def n_genes(self, config: RunConfig) -> int:
        """The length of the run's gene panel, 0 without expression."""
        objective = config.objective.build()
        if not (objective.needs_genes or objective.needs_counts):
            return 0
        if self.genes:
            return self.genes
        if config.data.gene_list and not Path(config.data.gene_list).is_file():
            raise ConfigError(
                f"data.gene_list={config.data.gene_list} does not exist: give the number "
                "of genes by --genes=N"
            )
        genes = config.data.panel_genes()
        return genes if isinstance(genes, int) else len(genes)

    def text_dim(self, config: RunConfig) -> int:
        """The width of the run's text embeddings, 0 without."""
        if not config.data.text:
            return 0
        if self.text:
            return self.text
        path = Path(config.data.text)
        if not path.is_file():
            raise ConfigError(
                f"data.text={path} does not exist: give the width of text embeddings by "
                "--text-dim=N"
            )
        return read_text(path).values.shape[1]


def resources(config: RunConfig) -> dict[str, Any]:
    """What the objective reads from files of the run before it is set up.

    Raises:
      ConfigError: It depends on the study, which is not on this machine.
    """
    objective = config.objective.build()
    if not objective.has_resources:
        return {}
    if not (local(config.study) / "study.json").is_file():
        raise ConfigError(
            f"objective {config.objective.name} is built from files and the genes of "
            f"{config.study}, which is not here: build the study, or plan with "
            "objective.expression_tower.name=mlp"
        )
    study = Study(config.study)
    panel, _ = read_panel(study, config, None)
    return objective.read(study, training_ids(study, config), panel)


def has_unmeasured(config: RunConfig) -> bool:
    """Whether batches hold the mask of genes that samples were not measured for.

    False where the study is not on this machine. A panel whose genes are only chosen in
    training may turn out to be measured everywhere: the estimate then is too high.
    """
    objective = config.objective.build()
    reads = objective.needs_genes or objective.needs_counts
    # Others train only on panels that all samples were measured for.
    if not (reads and objective.supports_unmeasured):
        return False
    if not (local(config.study) / "study.json").is_file():
        return False
    study = Study(config.study)
    if not study.has_expression:
        return False
    genes = config.data.panel_genes() if config.data.gene_list else None
    return is_partial(study.expression(), genes)


def training_samples(config: RunConfig) -> int | None:
    """Number of samples in the training fold; None if the study does not exist."""
    if not (local(config.study) / "study.json").is_file():
        return None
    study = Study(config.study)
    fold = study.fold_tiles if config.data.unit == "tile" else study.fold_samples
    return len(fold(config.split, config.fold))
