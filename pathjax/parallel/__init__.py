"""Devices and processes: mesh, collectives, launch, preemption, hardware."""
