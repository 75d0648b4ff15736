"""Checks the values of a configuration against the declared types."""

import math
import re
import types
import typing
from typing import Any

WORDS = {
    int: "a whole number", float: "a number", bool: "True or False", str: "a text in quotes", types.NoneType: "None",
    tuple: "a tuple", list: "a list", dict: "a dict",
}  # fmt: skip
PLURALS = {int: "whole numbers", float: "numbers", str: "texts", bool: "truth values"}


def is_plain(value: Any) -> bool:
    """Whether a configuration can say it: a finite number, text, truth value or None; or a tuple, list or dict of them.

    >>> is_plain((1, "a", None)), is_plain(float("inf")), is_plain(print)
    (True, False, False)
    """
    if type(value) is float:
        return math.isfinite(value)
    if type(value) is dict:
        return all(map(is_plain, (*value, *value.values())))
    if type(value) in (tuple, list):
        return all(map(is_plain, value))
    return type(value) in (int, bool, str, bytes, types.NoneType)


def kind_of(value: Any) -> str:
    """What a value is, in words.

    >>> kind_of(5), kind_of(()), kind_of(None)
    ('an int', 'a tuple', 'None')
    """
    kind = type(value).__name__
    return "None" if value is None else f"{'an' if kind[0] in 'aeiouAEIOU' else 'a'} {kind}"


def shown(value: Any) -> str:
    """A value in an error: as Python writes it, or its kind where Python has no notation for it.

    >>> shown(0.5), shown(print), shown((1, object()))
    ('0.5', 'a builtin_function_or_method', 'a tuple')
    """
    text = repr(value)
    return kind_of(value) if re.search("^<| at 0x[0-9a-f]", text) else f"{text:.100}"


def typed(value: Any, hint: Any) -> Any:
    """The value, converted to its declared type: int to float, list to tuple. Nothing else is converted.

    Args:
      hint: a type annotation of int, float, bool, str, None, tuple, list, dict, Literal and unions of them. Any other
        annotation accepts every literal.

    Raises:
      ValueError: the value has another type; the message names the declared type.

    >>> typed(1, float), typed([1, 2], tuple[int, ...]), typed(None, int | None)
    (1.0, (1, 2), None)
    """
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return of_union(value, arguments, hint)
    if origin is typing.Literal:
        if not any(value == choice and type(value) is type(choice) for choice in arguments):
            raise wrong(value, hint)
        return value
    if origin is tuple:
        return of_tuple(value, arguments, hint)
    if origin is list and isinstance(value, list):
        return [typed(item, arguments[0]) for item in value]
    if origin is dict and isinstance(value, dict):
        return {typed(key, arguments[0]): typed(item, arguments[1]) for key, item in value.items()}
    if hint is float:
        return of_float(value)
    kind = hint if origin is None else origin
    if kind in WORDS and not isinstance(value, kind):
        raise wrong(value, hint)
    if kind is int and (isinstance(value, bool) or abs(value) >= 1 << 64):  # no array holds such a number
        raise wrong(value, hint)
    return value


def of_union(value: Any, hints: tuple[Any, ...], hint: Any) -> Any:
    # exact types first: an int stays an int if both int and float are allowed
    for exact in (True, False):
        for one in hints:
            if exact and one in WORDS and type(value) is not one:
                continue
            try:
                return typed(value, one)
            except ValueError:
                continue
    raise wrong(value, hint)


def of_tuple(value: Any, hints: tuple[Any, ...], hint: Any) -> tuple[Any, ...]:
    if not isinstance(value, tuple | list):
        raise wrong(value, hint)
    endless = len(hints) == 2 and hints[1] is ...
    if not endless and len(value) != len(hints):
        raise wrong(value, hint)
    return tuple(typed(item, hints[0] if endless else hints[place]) for place, item in enumerate(value))


def of_float(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise wrong(value, float)
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number) or number != value:  # a large whole number may lie between two floats
        raise wrong(value, float)
    return number


def wrong(value: Any, hint: Any) -> ValueError:
    return ValueError(f"{shown(value)} is not {in_words(hint)}")


def in_words(hint: Any) -> str:
    """A type in words.

    >>> in_words(int | None), in_words(tuple[int, ...])
    ('a whole number or None', 'a tuple of whole numbers')
    """
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(map(in_words, arguments))
    if origin is typing.Literal:
        return " or ".join(map(repr, arguments))
    if origin is tuple and len(arguments) == 2 and arguments[1] is ...:
        return f"a tuple of {PLURALS.get(arguments[0], 'values')}"
    if origin is list:
        return f"a list of {PLURALS.get(arguments[0], 'values')}"
    return WORDS.get(hint if origin is None else origin, "any value")
