"""Scores, bootstrap intervals and permutation tests."""
