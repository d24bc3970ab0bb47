"""Scores, intervals and permutation tests."""
