"""What a training run needs and costs, from its compiled steps, without the hardware.

config + target -> abstract state and batch -> the real steps, compiled
                -> memory, FLOPs, collectives -> bounds on speed -> hours and cost
"""


class PlanError(RuntimeError):
    """A plan that could not be made; the message says why."""
