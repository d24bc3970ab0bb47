"""Encoders and heads in Flax Linen; the only folder that knows the module system."""
