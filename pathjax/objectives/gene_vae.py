"""A variational autoencoder of expression alone: pre-trains the gene tower `vae`.

Lopez et al. 2018 (scVI): counts of a sample are negative binomial, with mean library x
exp(decoder(z, covariate)) and a dispersion per gene; z is standard normal a priori. The
loss is the negative evidence lower bound per gene of the panel,

    (- sum over measured genes of log NB(count) + weight x KL(q(z | genes) || N(0, 1))) / G

with one sample of z in training and its mean in validation. Unlike scVI, the encoder reads
the z-scored panel and the rates are not a softmax, since a panel is only part of the
library, which is taken as observed. Reads no image.
"""

import dataclasses
import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from pathjax import losses
from pathjax.data.study import StudyError
from pathjax.data.vectors import Vectors
from pathjax.losses.latent import kl_to_normal
from pathjax.models.vae import LatentDecoder, LatentEncoder
from pathjax.objectives.objective import Objective, unpadded
from pathjax.rng import stream

COLLAPSED = 0.1  # nats of the divergence


@dataclasses.dataclass(frozen=True)
class GeneVAE(Objective):
    """Expression to a latent vector and back.

    Attributes:
      latent_dim: L, dimensions of the latent vector.
      widths: Hidden widths of the encoder; the decoder has them in reverse.
      dropout: Dropout in both.
      gene_dropout: Dropout of genes, before the encoder.
      covariate: Column of the samples that the decoder is told of, such as "site", so
        that the latent need not hold it; "" for none.
      kl: Weight of the divergence after its warm-up.
      kl_warmup: Part of the run over which that weight rises from 0.
    """

    needs_genes = True
    needs_counts = True
    unit = "sample"
    views = None
    supports_unmeasured = True
    supports_embeddings = False

    latent_dim: int = 32
    widths: Sequence[int] = (256,)
    dropout: float = 0.1
    gene_dropout: float = 0.0
    covariate: str = ""
    kl: float = 1.0
    kl_warmup: float = 0.25

    def problems(self, batch: int) -> list[str]:
        problems = super().problems(batch)
        sizes = {"latent_dim": self.latent_dim, "widths": min(self.widths, default=0)}
        problems += [f"{k}={v}: expected at least 1" for k, v in sizes.items() if v < 1]
        for name in ("dropout", "gene_dropout"):
            if not 0 <= getattr(self, name) < 1:
                problems.append(
                    f"{name}={getattr(self, name)}: expected 0 <= {name} < 1"
                )
        if not 0 <= self.kl < float("inf"):
            problems.append(f"kl={self.kl}: expected 0 or more")
        if not 0 <= self.kl_warmup <= 1:
            problems.append(f"kl_warmup={self.kl_warmup}: expected 0 to 1")
        return problems

    # The covariate travels as vectors of samples, one-hot.

    @property
    def needs_vectors(self) -> bool:  # type: ignore[override]
        return bool(self.covariate)

    @property
    def has_resources(self) -> bool:
        return bool(self.covariate)

    def read(self, study, train, panel):
        if not self.covariate:
            return {}
        values = self._covariate_of(study)
        levels = sorted(set(values[study.samples["sample_id"].isin(train)]))
        return {"levels": levels, "dimensions": len(levels)}

    def _covariate_of(self, study):
        if self.covariate not in study.samples:
            raise StudyError(
                f"objective.covariate={self.covariate!r}: the samples of {study.name} "
                f"have columns {', '.join(study.samples.columns)}"
            )
        return study.samples[self.covariate].astype(str)

    def sample_vectors(self, study):
        if not self.covariate:
            return None
        levels = np.array(self.spec.resources["levels"])
        values = self._covariate_of(study).to_numpy()
        hot = (values[:, None] == levels[None]).astype(np.float32)
        return Vectors(study.samples["sample_id"].tolist(), hot)

    @functools.cached_property
    def encoder(self) -> LatentEncoder:
        """Genes to the posterior."""
        widths = tuple(self.widths)
        return LatentEncoder(widths, self.latent_dim, self.dropout, self.gene_dropout)

    @functools.cached_property
    def decoder(self) -> LatentDecoder:
        """Latent to rates."""
        return LatentDecoder(tuple(self.widths)[::-1], self.spec.n_genes, self.dropout)

    def init(self, key, batch):
        genes = jnp.zeros((1, self.spec.n_genes), jnp.float32)
        latent = jnp.zeros((1, self.latent_dim), jnp.float32)
        covariate = None
        if self.covariate:
            covariate = jnp.zeros((1, self.spec.resources["dimensions"]), jnp.float32)
        encoder = self.encoder.init(stream(key, "init/encoder", 0), genes)
        decoder = self.decoder.init(stream(key, "init/decoder", 0), latent, covariate)
        return {"encoder": encoder["params"], "decoder": decoder["params"]}, {}

    def _posterior(self, params, batch, key, step, train):
        return self.encoder.apply(
            {"params": params["encoder"]},
            unpadded(batch, "expression"),
            train=train,
            rngs={"dropout": stream(key, "gene_vae/encoder", step)},
        )

    def represent(self, params, extra, batch, key, step, train):
        mean, log_var = self._posterior(params, batch, key, step, train)
        latent, weight = mean, jnp.float32(self.kl)
        if train:
            noise = jax.random.normal(stream(key, "gene_vae/latent", step), mean.shape)
            latent = mean + jnp.exp(0.5 * log_var) * noise
            rising = self.kl_warmup * self.spec.steps
            weight *= jnp.minimum(1.0, (step + 1) / jnp.maximum(rising, 1))
        log_rate, _ = self.decoder.apply(
            {"params": params["decoder"]},
            latent,
            unpadded(batch, "vectors") if self.covariate else None,
            train=train,
            rngs={"dropout": stream(key, "gene_vae/decoder", step)},
        )
        rows = {"mean": mean, "log_var": log_var, "log_rate": log_rate}
        return rows | {"kl_weight": jnp.full(len(mean), weight)}

    def compare(self, params, extra, rows, batch, step, mesh=None):
        mask, measured = batch["mask"], batch.get("measured")
        mu = unpadded(batch, "library")[:, None] * jnp.exp(rows["log_rate"])
        log_dispersion = params["decoder"]["head"]["log_dispersion"]
        counts = unpadded(batch, "counts")
        nll = losses.negative_binomial_nll(mu, log_dispersion, counts, measured)
        share = 1.0 if measured is None else measured.mean(axis=1)
        kl = kl_to_normal(rows["mean"], rows["log_var"])
        values = share * nll + rows["kl_weight"] * kl / self.spec.n_genes
        logged = {"nll": nll, "kl": kl, "kl_weight": rows["kl_weight"]}
        logged = {name: jnp.where(mask, one, 0) for name, one in logged.items()}
        return jnp.where(mask, values, 0), logged, {}

    def predict(self, params, batch):
        mean, _ = self._posterior(params, batch, jax.random.key(0), 0, False)
        return {"latent": mean}

    def concerns(self, means):
        if means.get("kl", COLLAPSED) >= COLLAPSED:
            return super().concerns(means)
        return super().concerns(means) | {
            "collapse": f"the latent says nothing of the genes: its divergence is "
            f"{means['kl']:.2g} nats. Lower objective.kl, lengthen objective.kl_warmup, "
            "or take more steps"
        }
