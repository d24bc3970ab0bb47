"""Options of commands that take a config: `--config` itself, and two kinds of help."""

import argparse
import sys


def add_config(parser: argparse.ArgumentParser) -> None:
    """Adds `--config`, `--config.help` and `--help`, to a parser without help."""
    parser.add_argument(
        "-h",
        "--help",
        action=_Help,
        nargs=0,
        help="show this help with the shipped configs, and exit",
    )
    parser.add_argument(
        "--config",
        required=True,
        metavar="FILE.py:WORDS",
        help="a shipped config or a file of your own, and its words (docs/config.md)",
    )
    parser.add_argument(
        "--config.help",
        action=_ConfigHelp,
        nargs=0,
        dest=argparse.SUPPRESS,
        help="list the keys of configs with defaults and meanings, and exit",
    )


class _Help(argparse.Action):
    """The help of the command, then the shipped configs with their words."""

    def __call__(self, parser, namespace, values, option_string=None):
        # JAX is imported behind this: not needed to build a parser.
        from pathjax.config.reference import shipped_text

        _print_and_exit(parser, f"{parser.format_help()}\n{shipped_text()}")


class _ConfigHelp(argparse.Action):
    """All keys of a config."""

    def __call__(self, parser, namespace, values, option_string=None):
        from pathjax.config.reference import text

        _print_and_exit(parser, text())


def _print_and_exit(parser: argparse.ArgumentParser, text: str) -> None:
    print(text)
    sys.stdout.flush()  # here, where a closed pipe is handled
    parser.exit()
