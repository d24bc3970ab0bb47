"""Public tile benchmarks as studies: each becomes labelled tiles with published folds.

benchmark.py  what a benchmark is, as data; shared listing
registry.py   all of them by name, light enough for the command line
image_folders.py, mhist.py, pcam.py   facts, layout and folds of each set
acquire.py    parts in the user's folder, or downloaded
archives.py   unpacking, with members that lead elsewhere refused
stored.py     one published image to the bytes that are stored
build.py      the study
table.py      the table of docs/benchmarks.md
"""

from pathjax.datasets.benchmarks.benchmark import Benchmark, BenchmarkError
from pathjax.datasets.benchmarks.registry import BENCHMARKS

__all__ = ["BENCHMARKS", "Benchmark", "BenchmarkError"]
