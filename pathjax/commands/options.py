"""Options of a command from the fields of a dataclass, and the dataclass from its options.

A field `Annotated[int | None, "help"]`, or with a third word for the placeholder of its
value, is an option of its name. What is checked is checked by the dataclass.
"""

import argparse
import dataclasses
import types
import typing
from typing import Annotated, Any, Literal, TypeVar

Fields = TypeVar("Fields")


def add_fields(parser: argparse._ActionsContainer, options: type) -> None:
    """Adds an option for each field of a dataclass; defaults are in the help."""
    hints = typing.get_type_hints(options, include_extras=True)
    for field in dataclasses.fields(options):
        parser.add_argument(
            "--" + field.name.replace("_", "-"),
            **_argument(hints[field.name], field.default),
        )


def read_fields(args: argparse.Namespace, options: type[Fields]) -> Fields:
    """The dataclass whose fields `add_fields` added."""
    values = {
        field.name: getattr(args, field.name) for field in dataclasses.fields(options)
    }
    lists = {name: tuple(one) for name, one in values.items() if isinstance(one, list)}
    return options(**values | lists)


def _argument(hint: Any, default: Any) -> dict[str, Any]:
    """Arguments of `add_argument` for a field of this type."""
    required = default is dataclasses.MISSING
    about: dict[str, Any] = {"required": True} if required else {"default": default}
    if typing.get_origin(hint) is Annotated:
        hint, about["help"], *metavar = typing.get_args(hint)
        about |= {"metavar": metavar[0]} if metavar else {}
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        (hint,) = (kind for kind in typing.get_args(hint) if kind is not type(None))
    if hint is bool:
        # An option that is on by default is switched off by --no-NAME.
        on = argparse.BooleanOptionalAction if default else "store_true"
        return about | {"action": on}
    if typing.get_origin(hint) is tuple:
        return about | {"type": typing.get_args(hint)[0], "nargs": "+"}
    if typing.get_origin(hint) is Literal:
        return about | {"choices": typing.get_args(hint)}
    return about | {"type": hint}
