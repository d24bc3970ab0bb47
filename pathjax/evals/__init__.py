"""Probes, tasks, results and the leakage audit of frozen embeddings."""


class EvalError(ValueError):
    """A task, a model or a results file cannot be evaluated; the message says why."""
