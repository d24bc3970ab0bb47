"""Sweeps: one training per point of a grid and seed, one table, one figure.

It does not choose a point: read the table of a validation suite and choose yourself.
"""
