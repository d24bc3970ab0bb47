"""The whole of `linear/1` on made embeddings: time, memory and accuracy.

    python tests/large_probe.py 100000

Rows x 1,024 features of falling deviation and nine classes by a noisy linear rule; 200
rows a patient; 10,000 further rows are predicted. Five seeds, five folds, eight strengths.
"""

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
    classes = (2 * x @ rule + random.gumbel(size=(count, CLASSES))).argmax(axis=1)
    numbers = first + np.arange(count)
    tile, patient = numbers.astype(str), (numbers // 200).astype(str)
    rows = FoldRows(numbers, numbers, x, tile, tile, patient, patient)
    return rows, classes.astype(np.int32)


def peak() -> float:
    """The most memory that the process has taken, in GiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def main(count: int) -> None:
    random = np.random.default_rng(0)
    rule = random.standard_normal((WIDTH, CLASSES), np.float32) / 32
    fit, labels = made(count, 0, random, rule)
    test, truth = made(QUERY, count, random, rule)
    problem = Problem(
        {"fit": fit, "test": test}, {"fit": labels, "test": truth}, classes=CLASSES
    )
    before, clock, cpu = peak(), time.perf_counter(), time.process_time()
    found = PROTOCOLS["linear/1"].probe.fit(problem)
    clock, cpu = time.perf_counter() - clock, time.process_time() - cpu
    print(f"{clock:.0f} s, {cpu:.0f} s of processor time, compilation included")
    print(f"peak {before:.2f} GiB before, {peak():.2f} after")
    accuracy = (np.asarray(found.prediction).argmax(axis=-1) == truth).mean(axis=1)
    print("accuracy by seed", *accuracy.round(4))


if __name__ == "__main__":
    main(int(sys.argv[1]))
