"""What a run would read, where it is not there yet: its encoder, genes and text.

A plan is made before a study is built or a model is fetched. The encoder's shape is
then that of a named variant or of a public model. Of the rest only the number of genes
and the width of the text embeddings are needed.
"""

import dataclasses
from pathlib import Path

from pathjax.config import ConfigError, RunConfig
from pathjax.data.text_store import read_text
from pathjax.models.model_file import Model, ModelFileError, load_model


def initial_model(config: RunConfig) -> Model | None:
    """The model that a run starts from: from its file, or its shape by name.

    Raises:
      ConfigError: `init` is neither a model's file nor a public model's name, and
        `model.variant` does not say what it is.
    """
    from pathjax import zoo

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
            f"init={config.init} is no model here and no name of `pathjax models`, so "
            "the encoder's shape is unknown: give a name from there, such as "
            "--config.init=uni, or a shape, such as --config.model.variant=L/16"
        ) from None


@dataclasses.dataclass(frozen=True)
class Sizes:
    """What the user says of data that are not here yet.

    Attributes:
      genes: length of the panel; None takes the config's number, or its list's lines.
      text: width of text embeddings; None reads the config's file.
    """

    genes: int | None = None
    text: int | None = None

    def n_genes(self, config: RunConfig) -> int:
        """The length of the run's gene panel, 0 without expression.

        Raises:
          ConfigError: the config's list is not here and `genes` was not given.
        """
        objective = config.objective.build()
        if not (objective.needs_genes or objective.needs_counts):
            return 0
        if self.genes:
            return self.genes
        if config.data.gene_list and not Path(config.data.gene_list).is_file():
            raise ConfigError(
                f"data.gene_list={config.data.gene_list} is not here, so the number of "
                "genes is unknown: give --genes=N"
            )
        genes = config.data.panel_genes()
        return genes if isinstance(genes, int) else len(genes)

    def text_dim(self, config: RunConfig) -> int:
        """The width of the run's text embeddings, 0 without.

        Raises:
          ConfigError: the config's file is not here and `text` was not given.
        """
        if not config.data.text:
            return 0
        if self.text:
            return self.text
        path = Path(config.data.text)
        if not path.is_file():
            raise ConfigError(
                f"data.text={path} is not here, so the width of text embeddings is "
                "unknown: give --text-dim=N"
            )
        return read_text(path).values.shape[1]


def training_samples(config: RunConfig) -> int | None:
    """Samples of the training fold, if the study is here."""
    from pathjax.data.study import Study

    if not (Path(config.study) / "study.json").is_file():
        return None
    study = Study(config.study)
    if config.data.unit == "tile":
        return len(study.fold_tiles(config.split, config.fold))
    return len(study.fold_samples(config.split, config.fold))
