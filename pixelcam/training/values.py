"""Settings as values of JSON and YAML: read with every mistake named, and written."""

from __future__ import annotations

import datetime
import difflib
import math
import typing
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, ClassVar, Self

import yaml

from pixelcam.errors import ConfigError, RunError
from pixelcam.limits import parse_own_json, parse_yaml


class Settings:
    """Reading and writing of a settings dataclass.

    Attributes
    ----------
    BEFORE
        What settings were before they had a name: runs that were begun then say nothing of them.
    """

    BEFORE: ClassVar[Mapping[str, Any]] = {}

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as JSON values."""
        return {
            key: str(value) if isinstance(value, Path) else list(value) if isinstance(value, tuple) else value
            for key, value in asdict(self).items()  # type: ignore[call-overload]
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Build settings from JSON or YAML values.

        Raises
        ------
        ConfigError
            A name is unknown (the nearest known one is named), a value is of another kind, or out of its
            range.
        """
        hints = typing.get_type_hints(cls)
        names = [entry.name for entry in fields(cls)]  # type: ignore[arg-type]
        for key in values:
            if key not in names:
                near = difflib.get_close_matches(str(key), names, n=1)
                hint = f"; did you mean {near[0]!r}?" if near else f"; the settings are: {', '.join(names)}."
                raise ConfigError(f"There is no setting {key!r}{hint}")
        try:
            return cls(**{key: _converted(key, value, hints[key]) for key, value in values.items()})
        except TypeError as error:
            missing = ", ".join(n for n in names if f"'{n}'" in str(error))
            raise ConfigError(f"These settings are needed: {missing or error}.") from error

    @classmethod
    def read_run(cls, path: Path) -> dict[str, Any]:
        """Return the settings that a run was begun with, of its ``config.json``, unchecked.

        Raises
        ------
        RunError
            The file is damaged.
        """
        try:
            values: dict[str, Any] = {**cls.BEFORE, **parse_own_json(path.read_bytes())}
        except (OSError, ValueError, TypeError) as error:
            raise RunError(f"{path} is damaged; choose another run folder.") from error
        return values

    @classmethod
    def read_yaml(cls, path: Path) -> dict[str, Any]:
        """Return the settings of a YAML file, unchecked, to be laid under those of the command line.

        Raises
        ------
        ConfigError
            The file is missing or is not a YAML mapping.
        """
        try:
            values = parse_yaml(Path(path).read_text(encoding="utf-8-sig"))
        except OSError as error:
            raise ConfigError(f"The settings file {path} cannot be read: {error.strerror}.") from error
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise ConfigError(f"The settings file {path} is not valid YAML; correct it.") from error
        if not isinstance(values, dict):
            raise ConfigError(f"The settings file {path} must hold lines of the form 'name: value'.")
        return {str(key).replace("-", "_"): value for key, value in values.items()}


def _converted(key: str, value: Any, hint: Any) -> Any:
    kinds = typing.get_args(hint) or (hint,)
    if value is None and type(None) in kinds:
        return None
    if typing.get_origin(hint) is tuple or any(typing.get_origin(kind) is tuple for kind in kinds):
        element = next(
            t for kind in (hint, *kinds) if typing.get_origin(kind) is tuple for t in typing.get_args(kind)
        )
        items = value if isinstance(value, list | tuple) else [value]
        return tuple(_converted(key, item, element) for item in items)
    kind = next(k for k in kinds if k is not type(None))
    try:
        return _as(kind, value, _LARGEST.get(key, 2**31))
    except (TypeError, ValueError, OverflowError) as error:
        raise ConfigError(f"The setting {key} cannot be {_short(value)}; it takes {_KINDS[kind]}.") from error


def _short(value: Any) -> str:
    """Return a value for a message, which must not become as long as what somebody has written."""
    try:
        shown = str(value) if isinstance(value, datetime.date) else repr(value)
    except ValueError:  # a whole number of more digits than Python writes
        return "a number of so many digits"
    return shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}..."


_KINDS: Mapping[Any, str] = {
    bool: "bool values: true or false",
    int: "int values, none beyond what a computer can count to",
    float: "float values, none without end",
    str: "text: put it in quotes",
    Path: "a path: put it in quotes",
}
_LARGEST = {"seed": 2**63}
_SHOWN = 80


def _as(kind: Any, value: Any, largest: int) -> Any:
    """Return a value as a bool, int, float, str or Path; only text and numbers are read as each other."""
    if kind is bool:
        if not isinstance(value, bool):
            raise ValueError
        return value
    if kind in (str, Path):
        # What YAML takes for a date, a number or a truth is no longer what was written.
        if not isinstance(value, str | Path) or "\0" in str(value):
            raise ValueError
        return kind(value)
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError
    number = float(value)
    if not math.isfinite(number):
        raise ValueError
    if kind is float:
        return number
    whole = int(value)
    if (isinstance(value, float) and whole != number) or not -largest <= whole < largest:
        raise ValueError
    return whole
