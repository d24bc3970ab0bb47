"""A protocol on made embeddings: time, memory and accuracy.

    python tests/large_probe.py 100000
    python tests/large_probe.py 100000 knn/1 seeds=1 folds=2

Rows x 1,024 features of falling deviation and nine classes by a noisy linear rule; 200
rows a patient; 10,000 further rows are predicted. Of `linear/1` five seeds, five folds,
eight strengths. Protocols of values learn what the classes are the largest of; those of
pairs have the embeddings with noise as their other side.
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


def made(count: int, first: int, random, rule) -> tuple[FoldRows, np.ndarray]:
    """Rows and their classes; tiles are numbered from `first`."""
    x = aligned((count, WIDTH))
    for start in range(0, count, ROWS_AT_ONCE):
        part = x[start : start + ROWS_AT_ONCE]
        part[:] = random.standard_normal(part.shape, np.float32)
    x *= np.linspace(3, 0.2, WIDTH, dtype=np.float32)
    values = x @ (2 * rule) + random.gumbel(size=(count, CLASSES)).astype(np.float32)
    numbers = first + np.arange(count)
    tile, patient = numbers.astype(str), (numbers // 200).astype(str)
    rows = FoldRows(numbers, numbers, x, tile, tile, patient, patient)
    return rows, values


def peak() -> float:
    """The most memory that the process has taken, in GiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def main(count: int, protocol: str = "linear/1", *options: str) -> None:
    random = np.random.default_rng(0)
    rule = random.standard_normal((WIDTH, CLASSES), np.float32) / 32
    fit, labels = made(count, 0, random, rule)
    test, truth = made(QUERY, count, random, rule)
    given = {name: int(value) for name, value in (one.split("=") for one in options)}
    probe = dataclasses.replace(PROTOCOLS[protocol].probe, **given)
    classes = CLASSES * ("classification" in probe.kinds)
    if classes:
        labels, truth = (
            part.argmax(axis=1).astype(np.int32) for part in (labels, truth)
        )
    labels, rows = {"fit": labels, "test": truth}, {"fit": fit, "test": test}
    problem = Problem(rows, labels, classes, names={role: role for role in rows})
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
        print(
            "r of the first value", np.corrcoef(prediction[0, :, 0], truth[:, 0])[0, 1]
        )


if __name__ == "__main__":
    main(int(sys.argv[1]), *sys.argv[2:])
