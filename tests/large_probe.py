"""A protocol on made embeddings: time, memory and accuracy.

    python tests/large_probe.py 100000
    python tests/large_probe.py 100000 knn/1 seeds=1 folds=2
    python tests/large_probe.py 100000 eva-abmil/1 seeds=2 tiles=1000

Rows x 1,024 features of falling deviation and nine classes by a noisy linear rule; 200
rows a patient; 10,000 further rows are predicted. Of `linear/1` five seeds, five folds,
eight strengths. Protocols of values learn what the classes are the largest of; those of
pairs have the embeddings with noise as their other side. Protocols of bags have the rows
as tiles, `tiles` in each bag (256): its class is that of its mean value, and all patients
die, the sooner the larger their first value.
"""

import dataclasses
import resource
import sys
import time

import numpy as np

from pathjax.embeddings.embedding_file import ROWS_AT_ONCE, aligned
from pathjax.evals.probes.base import FoldRows, Problem
from pathjax.evals.protocols import PROTOCOLS

WIDTH, CLASSES, QUERY = 1024, 9, 10_000


def made(x: np.ndarray, first: int, random, rule) -> tuple[FoldRows, np.ndarray]:
    """Fills x; its rows and their classes. Tiles are numbered from `first`."""
    count = len(x)
    for start in range(0, count, ROWS_AT_ONCE):
        part = x[start : start + ROWS_AT_ONCE]
        part[:] = random.standard_normal(part.shape, np.float32)
    x *= np.linspace(3, 0.2, WIDTH, dtype=np.float32)
    values = x @ (2 * rule) + random.gumbel(size=(count, CLASSES)).astype(np.float32)
    numbers = first + np.arange(count)
    tile, patient = numbers.astype(str), (numbers // 200).astype(str)
    rows = FoldRows(numbers, numbers, x, tile, tile, patient, patient)
    return rows, values


def bagged(x: np.ndarray, problem: Problem, tiles: int) -> Problem:
    """The problem of bags of so many of its rows, with the means of their values."""
    length = 1 << (tiles - 1).bit_length()
    rows, values, bags = {}, {}, []
    for role, own in problem.rows.items():
        count = len(own) // tiles
        first = np.arange(count) * tiles
        number = np.zeros((count, length), np.int32)
        number[:, :tiles] = own.index[first][:, None] + np.arange(tiles)
        bags.append((number, np.broadcast_to(np.arange(length) < tiles, number.shape)))
        kept = {
            name: part[first] for name, part in vars(own).items() if name != "tiles"
        }
        rows[role] = FoldRows(tiles=own.tiles, **kept | {"patient": own.unit[first]})
        each = problem.labels[role][: count * tiles].reshape(count, tiles, -1)
        values[role] = each.mean(axis=1)
    return dataclasses.replace(
        problem, rows=rows, labels=values, bags=lambda parts, most: (x, bags)
    )


def learned(values: np.ndarray, kinds: tuple[str, ...]) -> np.ndarray:
    """What a probe of these kinds learns from values: classes, months and events, values."""
    if "classification" in kinds:
        return values.argmax(axis=1).astype(np.int32)
    if "survival" in kinds:
        return np.stack([24 * np.exp(-values[:, 0]), np.ones(len(values))], axis=1)
    return values


def peak() -> float:
    """The most memory that the process has taken, in GiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def main(count: int, protocol: str = "linear/1", *options: str) -> None:
    random = np.random.default_rng(0)
    rule = random.standard_normal((WIDTH, CLASSES), np.float32) / 32
    x = aligned((count + QUERY, WIDTH))
    fit, labels = made(x[:count], 0, random, rule)
    test, truth = made(x[count:], count, random, rule)
    given = {name: int(value) for name, value in (one.split("=") for one in options)}
    tiles = given.pop("tiles", 256)
    probe = dataclasses.replace(PROTOCOLS[protocol].probe, **given)
    rows, values = {"fit": fit, "test": test}, {"fit": labels, "test": truth}
    problem = Problem(rows, values, names={role: role for role in rows})
    if probe.samples_only:
        problem = bagged(x, problem, tiles)
    labels = {role: learned(one, probe.kinds) for role, one in problem.labels.items()}
    classes = CLASSES * ("classification" in probe.kinds)
    problem = dataclasses.replace(problem, labels=labels, classes=classes)
    truth = labels["test"]
    if "retrieval" in probe.kinds:
        other = aligned(fit.features.shape)
        other[:] = fit.features[:, ::-1]
        problem = Problem({"test": fit}, {"test": labels["fit"]}, partner=other)
    before, clock, cpu = peak(), time.perf_counter(), time.process_time()
    found = probe.fit(problem)
    clock, cpu = time.perf_counter() - clock, time.process_time() - cpu
    print(f"{protocol}: {clock:.0f} s, {cpu:.0f} s of processor time, with compilation")
    print(f"peak {before:.2f} GiB before, {peak():.2f} after")
    prediction = np.asarray(found.prediction)
    if classes:
        print("accuracy by seed", *(prediction.argmax(-1) == truth).mean(1).round(4))
    elif "retrieval" not in probe.kinds:
        r = np.corrcoef(prediction[0, :, 0], truth[:, 0])[0, 1]
        print("r of the first value, or of risk and months", r)


if __name__ == "__main__":
    main(int(sys.argv[1]), *sys.argv[2:])
