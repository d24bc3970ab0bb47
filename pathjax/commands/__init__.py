"""The commands by what they are about: their words, and the function each calls.

A module has `add(commands)`, which adds parsers, and a `run_...` for each. Everything
heavy is imported inside those, so that `pathjax --help` answers at once.
"""
