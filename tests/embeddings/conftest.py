"""The study of tests/eval_study.py, for this folder's tests."""

from eval_study import features, study

__all__ = ["features", "study"]
