"""The gene tower `vae`: the encoder of an autoencoder of expression, trained before.

`pathjax train --config=configs/genes.py` trains one on expression alone (objective
`gene_vae`). Its genes are found in the panel by name, and brought to its own z-scores.
"""

import dataclasses
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from pathjax.data.expression import GenePanel
from pathjax.gene_towers.tower import GeneTower, TowerError
from pathjax.models.model_file import load_model, parameters_sha256
from pathjax.models.vae import LatentEncoder


@dataclasses.dataclass(frozen=True)
class VAE(GeneTower):
    """The mean of the latent of a trained autoencoder.

    Attributes:
      init: Run folder or model file of objective `gene_vae`.
      tune: Whether its encoder is trained on, rather than frozen.
    """

    uses = ("dropout", "gene_dropout")

    init: str = ""
    tune: bool = False

    @property
    def frozen(self):
        return not self.tune

    def problems(self):
        if self.init:
            return []
        return [
            "init is not set: name a run of `pathjax train --config=configs/genes.py`"
        ]

    def read(self, study, train, panel):
        model = load_model(self.init, encoder=False)
        if set(model.params) != {"encoder", "decoder"}:
            raise TowerError(
                f"{self.init}: expected a model of objective gene_vae, got one of "
                f"{model.meta['objective']['name']}"
            )
        own, places = GenePanel.from_json(model.meta["panel"]), panel.places()
        lacking = [gene for gene in own.genes if gene not in places]
        if lacking:
            raise TowerError(
                f"{self.init} reads {len(own.genes)} genes, and the panel lacks "
                f"{len(lacking)} of them, first {lacking[:3]}: name its genes by "
                "data.gene_list, or train it on this panel"
            )
        if own.unit != panel.unit:
            raise TowerError(
                f"{self.init} was trained on expression in {own.unit}, this study is in "
                f"{panel.unit}: use a study of one unit for both"
            )
        columns = np.array([places[gene] for gene in own.genes])
        encoder = model.params["encoder"]
        layers = [f"fc{i + 1}" for i in range(len(encoder["mlp"]) // 2)]
        return {
            "columns": columns.tolist(),
            # From z-scores here to those of the autoencoder.
            "scale": (panel.std[columns] / own.std).tolist(),
            "shift": ((panel.mean[columns] - own.mean) / own.std).tolist(),
            "widths": [encoder["mlp"][name]["kernel"].shape[1] for name in layers],
            "latent": encoder["mean"]["kernel"].shape[1],
            "sha256": parameters_sha256(Path(self.init)),
            # Its patients were seen, too.
            "audit": model.meta["audit"],
        }

    def module(self, resources, shared):
        return LatentEncoder(
            tuple(resources["widths"]),
            resources["latent"],
            shared.dropout,
            shared.gene_dropout,
            mean_only=True,
        )

    def inputs(self, resources, batch, known):
        columns = jnp.asarray(resources["columns"])
        genes = jnp.where(known, batch["expression"], 0)
        known = jnp.broadcast_to(known, genes.shape)[:, columns]
        scale, shift = (
            jnp.asarray(resources[name], jnp.float32)[None]
            for name in ("scale", "shift")
        )
        return (jnp.where(known, genes[:, columns] * scale + shift, 0),)

    def start(self, resources):
        encoder = dict(load_model(self.init, encoder=False).params["encoder"])
        del encoder["log_var"]
        return encoder
