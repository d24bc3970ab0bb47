"""`pathjax bench cox`: penalised Cox regression, all folds and strengths, ours and a peer's.

A turn is every fit: 3 seeds of 5 folds at 20 strengths, on made data as wide as bulk RNA.
scikit-survival's coordinate descent goes down the same strengths of each fold (with a
millionth of the penalty as l1, as it has no ridge); its Newton solver is
`sksurv-newton`, of which a turn is one fit. There are no ties, which it treats in
another way. Concordance of the held-out rows is compared strength by strength.
"""

import dataclasses
import time
from pathlib import Path
from typing import Any

import numpy as np

from pathjax.bench.options import Common, Entry
from pathjax.bench.worker import Contestant

L1_RATIO = 1e-6  # of coordinate descent: more selects features at strong penalties


@dataclasses.dataclass(frozen=True)
class Options(Common):
    """Sizes.

    Attributes:
      rows, width: Of the features.
      folds, seeds: Inner folds, each left out once, and how often they are drawn.
    """

    rounds: int = 2
    count: int = 1
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
    """Writes cox.npz: features, months and events, folds by seed, and the strengths."""
    from pathjax.evals.probes.cox import Cox

    rng = np.random.default_rng(0)
    x = rng.normal(size=(options.rows, options.width)).astype(np.float32)
    told = min(20, options.width)
    risk = x[:, :told] @ rng.normal(0, 0.25, told)
    died = rng.exponential(40 * np.exp(-risk))
    left = rng.uniform(5, 120, options.rows)
    y = np.stack([np.minimum(died, left), died <= left], axis=1)
    order = [rng.permutation(options.rows) for _ in range(options.seeds)]
    fold = np.stack([np.argsort(one) % options.folds for one in order])
    np.savez(folder / "cox.npz", x=x, y=y, fold=fold, grid=Cox().penalty)
    return {}


class Ours(Contestant):
    """All fits as one program, with the one more that predicts."""

    def __init__(self, options: dict[str, Any]):
        start = time.perf_counter()
        import jax

        with np.load(Path(options["folder"]) / "cox.npz") as file:
            self._x, self._y, self._fold = file["x"], file["y"], file["fold"]
        self._folds = options["folds"]
        loss = self._sweep()
        self.info = {
            "unit": "fits",
            "versions": {"jax": jax.__version__},
            "threads": options["threads"],
            "note": "with Efron's ties",
            "cold_seconds": time.perf_counter() - start,
            "concordance": (1 - loss).tolist(),
        }

    def _sweep(self) -> np.ndarray:
        from pathjax.evals.folds import FoldWeights
        from pathjax.evals.probes.cox import Cox

        # Seeds differ in folds, which one sweep shares: a sweep for each.
        losses = []
        for fold in self._fold:
            out = fold[None, None] == np.arange(self._folds)[None, :, None]
            parts = ((~out).astype(np.float32), out.astype(np.float32))
            weights = FoldWeights(*parts, final=0, folds=self._folds)
            sweep = Cox().fit_arrays(self._x, self._y, weights, self._x[:1])
            losses.append(sweep.loss[0])
        return np.stack(losses)

    def run(self, count: int) -> int:
        """`count` times all fits."""
        for _ in range(count):
            self._sweep()
        return count * self._fold.shape[0] * self._folds * 20


class Descent(Contestant):
    """scikit-survival's elastic net, down the path of each fold."""

    def __init__(self, options: dict[str, Any]):
        import sksurv
        from sklearn.preprocessing import StandardScaler

        with np.load(Path(options["folder"]) / "cox.npz") as file:
            x, y, fold = file["x"].astype(np.float64), file["y"], file["fold"]
            self._grid = file["grid"]
        kind = [("event", bool), ("time", float)]
        target = np.array([(e > 0, t) for t, e in y], kind)
        self._parts = []
        for own in fold:
            for one in range(options["folds"]):
                scaler = StandardScaler().fit(x[own != one])
                z = scaler.transform(x)
                self._parts.append((z, target, own == one))
        self._seeds = len(fold)
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
        shape = (self._seeds, -1, len(self._grid))
        return right.reshape(shape).sum(axis=1) / pairs.reshape(shape).sum(axis=1)

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
    fits = options["folds"] * options["seeds"] * 20
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
