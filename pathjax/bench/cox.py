"""`pathjax bench cox`: penalised Cox regression, all folds and strengths, ours and a peer's.

A turn is every fit: 3 seeds of 5 folds at 20 strengths, on made data as wide as bulk RNA
or, with `tables`, on each of PORPOISE's cohorts. scikit-survival's coordinate descent
goes down the same strengths of each fold (with a millionth of the penalty as l1, as it
has no ridge); its Newton solver is `sksurv-newton`, of which a turn is one fit. Made
data has no ties, which coordinate descent treats in another way. Concordance of the
held-out rows is compared strength by strength.
"""

import dataclasses
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from pathjax.bench.options import BenchError, Common, Entry
from pathjax.bench.worker import Contestant

Cohort = tuple[str, np.ndarray, np.ndarray]  # name, features, months and events
L1_RATIO = 1e-6  # of coordinate descent: more selects features at strong penalties


@dataclasses.dataclass(frozen=True)
class Options(Common):
    """Sizes.

    Attributes:
      tables: Folder of PORPOISE's tables, tcga_*_all_clean.csv.zip; "" is made data.
      rows, width: Of made data.
      folds, seeds: Inner folds, each left out once, and how often they are drawn.
    """

    rounds: int = 2
    count: int = 1
    tables: str = ""
    rows: int = 400
    width: int = 1500
    folds: int = 5
    seeds: int = 3


def entries(options: Options, folder: Path) -> list[Entry]:
    """All contestants, ours first."""
    base = dataclasses.asdict(options) | {"folder": str(folder)}
    module, peer = "pathjax.bench.cox", ("sksurv",)
    return [
        Entry("pathjax", "pathjax", f"{module}:Ours", base),
        Entry("sksurv", "scikit-survival", f"{module}:Descent", base, peer, "parity"),
        Entry(
            *("sksurv-newton", "scikit-survival, Newton", f"{module}:Newton", base),
            *(peer, "parity"),
            default=False,
        ),
    ]


def prepare(options: Options, folder: Path) -> dict[str, Any]:
    """Writes NAME.cox.npz of each cohort: features, months and events, folds, strengths."""
    from pathjax.evals.probes.cox import Cox

    rng = np.random.default_rng(0)
    cohorts = real(Path(options.tables), folder) if options.tables else made(options)
    for name, x, y in cohorts:
        order = [rng.permutation(len(x)) for _ in range(options.seeds)]
        fold = np.stack([np.argsort(one) % options.folds for one in order])
        np.savez(folder / f"{name}.cox.npz", x=x, y=y, fold=fold, grid=Cox().penalty)
    return {}


def made(options: Options) -> Iterator[Cohort]:
    """One cohort whose risk is a sum of 20 features."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(options.rows, options.width)).astype(np.float32)
    told = min(20, options.width)
    risk = x[:, :told] @ rng.normal(0, 0.25, told)
    died = rng.exponential(40 * np.exp(-risk))
    left = rng.uniform(5, 120, options.rows)
    yield "made", x, np.stack([np.minimum(died, left), died <= left], axis=1)


def real(tables: Path, folder: Path) -> Iterator[Cohort]:
    """RNA and overall survival of the patients of each table.

    Raises:
      BenchError: The folder has no table.
    """
    from pathjax.datasets.tcga.rna import read_rna, write_rna
    from pathjax.modalities.sources import from_tables

    found = sorted(tables.glob("tcga_*_all_clean.csv.zip"))
    if not found:
        raise BenchError(f"tables={tables}: expected tcga_*_all_clean.csv.zip in it")
    for table in found:
        name = table.name.split("_")[1]
        write_rna(read_rna(source=table), folder / f"{name}.h5ad")
        cohort = from_tables(folder / f"{name}.h5ad", [table])
        rna = cohort.modalities["rna"]
        months = cohort.samples[["os", "os_event"]].iloc[rna.rows].to_numpy(np.float64)
        known = np.isfinite(months).all(axis=1)
        yield name, rna.values[known].astype(np.float32), months[known]


def read(folder: str) -> list[dict[str, np.ndarray]]:
    """The cohorts that `prepare` wrote."""
    cohorts = []
    for path in sorted(Path(folder).glob("*.cox.npz")):
        with np.load(path) as file:
            cohorts.append(dict(file))
    return cohorts


class Ours(Contestant):
    """All fits as one program, with the one more that predicts."""

    def __init__(self, options: dict[str, Any]):
        start = time.perf_counter()
        import jax

        self._cohorts = read(options["folder"])
        self._folds = options["folds"]
        loss = self._sweep()
        self.info = {
            "unit": "fits",
            "versions": {"jax": jax.__version__},
            "threads": options["threads"],
            "note": "with Efron's ties",
            "cold_seconds": time.perf_counter() - start,
            "concordance": [(1 - one).tolist() for one in loss],
        }

    def _sweep(self) -> list[np.ndarray]:
        from pathjax.evals.folds import FoldWeights
        from pathjax.evals.probes.cox import Cox

        losses = []
        for cohort in self._cohorts:
            own = []
            # Seeds differ in folds, which one sweep shares: a sweep for each.
            for fold in cohort["fold"]:
                out = fold[None, None] == np.arange(self._folds)[None, :, None]
                parts = ((~out).astype(np.float32), out.astype(np.float32))
                weights = FoldWeights(*parts, final=0, folds=self._folds)
                x, y = cohort["x"], cohort["y"]
                own.append(Cox().fit_arrays(x, y, weights, x[:1]).loss[0])
            losses.append(np.stack(own))
        return losses

    def run(self, count: int) -> int:
        """`count` times all fits."""
        for _ in range(count):
            self._sweep()
        return count * sum(len(one["fold"]) for one in self._cohorts) * self._folds * 20


class Descent(Contestant):
    """scikit-survival's elastic net, down the path of each fold."""

    def __init__(self, options: dict[str, Any]):
        import sksurv
        from sklearn.preprocessing import StandardScaler

        cohorts = read(options["folder"])
        self._grid = cohorts[0]["grid"]
        kind = [("event", bool), ("time", float)]
        self._parts = []
        for cohort in cohorts:
            x = cohort["x"].astype(np.float64)
            target = np.array([(e > 0, t) for t, e in cohort["y"]], kind)
            for own in cohort["fold"]:
                for one in range(options["folds"]):
                    z = StandardScaler().fit(x[own != one]).transform(x)
                    self._parts.append((z, target, own == one))
        self._shape = (len(cohorts), len(cohorts[0]["fold"]), -1, len(self._grid))
        versions = {"scikit-survival": sksurv.__version__}
        self.info = {"unit": "fits", "versions": versions, "threads": 1, "note": ""}
        self.info |= self._warm()

    def _warm(self) -> dict[str, Any]:
        return {"concordance": self._all().tolist()}

    def _all(self) -> np.ndarray:
        from sksurv.linear_model import CoxnetSurvivalAnalysis
        from sksurv.metrics import concordance_index_censored

        right = np.zeros((len(self._parts), len(self._grid)))
        pairs = np.zeros_like(right)
        for place, (z, y, out) in enumerate(self._parts):
            model = CoxnetSurvivalAnalysis(alphas=self._grid, l1_ratio=L1_RATIO)
            risk = z[out] @ model.fit(z[~out], y[~out]).coef_
            for strength, own in enumerate(risk.T):
                _, good, bad, tied, _ = concordance_index_censored(
                    y["event"][out], y["time"][out], own
                )
                right[place, strength] = good + tied / 2
                pairs[place, strength] = good + bad + tied
        shape = self._shape
        return right.reshape(shape).sum(axis=2) / pairs.reshape(shape).sum(axis=2)

    def run(self, count: int) -> int:
        """`count` times all fits."""
        for _ in range(count):
            self._all()
        return count * len(self._parts) * len(self._grid)


class Newton(Descent):
    """scikit-survival's ridge; a turn is one fit, of the middle strength."""

    def _warm(self) -> dict[str, Any]:
        return {}

    def run(self, count: int) -> int:
        """`count` fits."""
        from sksurv.linear_model import CoxPHSurvivalAnalysis

        z, y, out = self._parts[0]
        alpha = float(self._grid[10]) * int((~out).sum())
        for _ in range(count):
            CoxPHSurvivalAnalysis(alpha=alpha, ties="efron").fit(z[~out], y[~out])
        return count


def summary(result: dict[str, Any]) -> list[str]:
    """Seconds of all fits, ours with compilation, and how far concordances are apart."""
    options, contestants = result["options"], result["contestants"]
    ours = contestants["pathjax"]
    cohorts = len(ours["concordance"])
    fits = cohorts * options["folds"] * options["seeds"] * 20
    lines = [f"pathjax: {ours['cold_seconds']:.1f} s with imports and compilation"]
    for contestant in contestants.values():
        seconds = fits / contestant["items_per_second"]["median"]
        lines.append(f"{contestant['label']}: {seconds:.1f} s for {fits} fits")
        if contestant is not ours:
            ratio = seconds / ours["cold_seconds"]
            lines.append(f"ratio to pathjax with compilation: {ratio:.1f}")
        if "concordance" in contestant and contestant is not ours:
            away = np.subtract(ours["concordance"], contestant["concordance"])
            lines.append(f"concordance apart at most: {np.abs(away).max():.4f}")
    return lines
