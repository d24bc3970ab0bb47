"""Public tile benchmarks as studies: labelled tiles with the published folds.

benchmark.py  what a benchmark is
sets.py       all of them, as data
readers.py    published files to records
acquire.py    finds, downloads, checks and unpacks the published files
build.py      builds the study
"""

from pathjax.datasets.benchmarks.benchmark import Benchmark, BenchmarkError
from pathjax.datasets.benchmarks.sets import BENCHMARKS

__all__ = ["BENCHMARKS", "Benchmark", "BenchmarkError"]
