"""Training: `train` and its parts: inputs, program, loop, hooks, checkpoints, telemetry."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathjax.train.trainer import TrainResult, train

__all__ = ["TrainResult", "train"]


def __getattr__(name: str) -> Any:
    # Lazy, so that importing one part does not import all (Grain, Orbax).
    if name in __all__:
        from pathjax.train import trainer

        return getattr(trainer, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
