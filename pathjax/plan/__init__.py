"""What a training run would need and take, from its compiled steps, without hardware.

config + target -> abstract state and batch -> the real steps, compiled
                -> memory, FLOPs, collectives -> bounds on speed -> hours and cost
"""
