"""A bundle's config: references and plain expressions are evaluated, anything that is a program is refused by name.

A value that starts with ``$`` is Python in MONAI's ConfigParser (https://docs.monai.io/en/stable/config_syntax.html). A
bundle comes from somewhere else, so here it is never run: its syntax tree is walked, and only numbers, words, lists,
arithmetic, comparisons, references and a few harmless functions have a meaning.
"""

from __future__ import annotations

import ast
import json
import operator
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from models.errors import BrokenModel

MAX_CONFIG_BYTES = 2_000_000
MAX_VALUES = 100_000  # resolved in one config: aliases in YAML can ask for any number
MAX_DEPTH = 40
MAX_LENGTH = 10_000  # of a list made by an expression

_REFERENCE = re.compile(r"@(\w+(?:(?:::|#)\w+)*)")
_ABOVE = re.compile(r"\$\s*lambda\s+(\w+)\s*:\s*\1\s*>\s*(-?\d+(?:\.\d+)?)\s*")
_OPERATORS: Mapping[type[ast.AST], Callable[..., Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv, ast.Mod: operator.mod, ast.USub: operator.neg, ast.UAdd: operator.pos, ast.Not: operator.not_,
    ast.Eq: operator.eq, ast.NotEq: operator.ne, ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge,
    ast.Is: operator.is_, ast.IsNot: operator.is_not,
}
_FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "len": len, "int": int, "float": float, "bool": bool, "list": list, "tuple": tuple, "min": min, "max": max, "round": round,
    "abs": abs,
    "torch.device": lambda *_: "cpu", "torch.cuda.is_available": lambda: False, "torch.cuda.device_count": lambda: 0,
}
_NAMES = re.compile(r"(?:torch|np|numpy)\.(?:float16|float32|float64|half|float|double|int8|uint8|int16|int32|int64|long|bool)")


class Config:
    """The entries of one config file. ``at`` resolves one of them; nothing is evaluated that is not asked for."""

    def __init__(self, entries: Mapping[str, Any], where: str) -> None:
        self._entries, self._where = entries, where
        self._left = MAX_VALUES

    def __contains__(self, name: str) -> bool:
        return name in self._entries

    def at(self, name: str) -> Any:
        """Return the entry ``a::b::0`` with its references and expressions resolved.

        A component stays a dict with ``_target_``; one that is disabled is None. Raises BrokenModel for an unknown reference,
        a circle, or an expression that is more than values.
        """
        return self._resolved(self._found(name), name, (name,))

    def _found(self, name: str) -> Any:
        value: Any = self._entries
        for part in re.split("::|#", name):
            if isinstance(value, dict) and part in value:
                value = value[part]
            elif isinstance(value, list) and part.isdigit() and int(part) < len(value):
                value = value[int(part)]
            else:
                raise BrokenModel(f"{self._where}: {name} must be an entry of the config, found none.")
        return value

    def _resolved(self, value: Any, name: str, path: tuple[str, ...]) -> Any:
        self._left -= 1
        if self._left < 0 or len(path) > MAX_DEPTH:
            raise BrokenModel(f"{self._where}: a config may hold {MAX_VALUES:,} values {MAX_DEPTH} deep, found more at {name}.")
        if isinstance(value, dict):
            found = {key: self._resolved(one, f"{name}::{key}", (*path, f"{name}::{key}")) for key, one in value.items()}
            return None if found.get("_disabled_") in (True, "true", "True") else found
        if isinstance(value, list):
            return [self._resolved(one, f"{name}::{i}", (*path, f"{name}::{i}")) for i, one in enumerate(value)]
        if isinstance(value, str) and value.startswith("$"):
            return self._expression(value, name, path)
        if isinstance(value, str) and value.startswith("%"):
            if value[1:].split("::")[0] not in self._entries:
                raise BrokenModel(f"{self._where}: {name} takes {value[:80]!r} from another file. Write its value into this config.")
            return self._reference(value[1:], path)
        if isinstance(value, str) and _REFERENCE.fullmatch(value):
            return self._reference(value[1:], path)
        return value

    def _reference(self, name: str, path: tuple[str, ...]) -> Any:
        name = name.replace("#", "::")
        if name in path:
            raise BrokenModel(f"{self._where}: {name} refers to itself.")
        return self._resolved(self._found(name), name, (*path, name))

    def _expression(self, text: str, name: str, path: tuple[str, ...]) -> Any:
        above = _ABOVE.fullmatch(text)
        if above:
            return {"_above_": float(above.group(2))}
        references: list[str] = []

        def named(match: re.Match[str]) -> str:
            references.append(match.group(1))
            return f"__reference_{len(references) - 1}"

        try:
            tree = ast.parse(_REFERENCE.sub(named, text[1:].strip()), mode="eval")
            return self._value(tree.body, references, path)
        except BrokenModel:
            raise
        except (SyntaxError, ValueError, TypeError, KeyError, IndexError, ZeroDivisionError, RecursionError) as error:
            raise BrokenModel(
                f"{self._where}: {name} is a program ({text[:60]!r}), and programs of a bundle are not run. Only numbers, lists, "
                "arithmetic and references are. Write the value itself into the config."
            ) from error

    def _value(self, node: ast.AST, references: list[str], path: tuple[str, ...]) -> Any:
        """Return what a node of the syntax tree says. Raises ValueError for any that could do something."""
        def of(inner: ast.AST) -> Any:
            return self._value(inner, references, path)

        match node:
            case ast.Constant():
                return node.value
            case ast.List() | ast.Tuple():
                return [of(one) for one in node.elts]
            case ast.Name() if node.id.startswith("__reference_"):
                return self._reference(references[int(node.id.removeprefix("__reference_"))], path)
            case ast.UnaryOp():
                return _OPERATORS[type(node.op)](of(node.operand))
            case ast.BinOp():
                return _bounded(_OPERATORS[type(node.op)], of(node.left), of(node.right))
            case ast.Compare() if len(node.ops) == 1:
                return _OPERATORS[type(node.ops[0])](of(node.left), of(node.comparators[0]))
            case ast.BoolOp():
                values = [of(one) for one in node.values]
                return all(values) if isinstance(node.op, ast.And) else any(values)
            case ast.IfExp():
                return of(node.body) if of(node.test) else of(node.orelse)
            case ast.Subscript():
                return of(node.value)[of(node.slice)]
            case ast.Attribute() if _NAMES.fullmatch(ast.unparse(node)):
                return ast.unparse(node)
            case ast.Call() if not node.keywords and ast.unparse(node.func) in _FUNCTIONS:
                return _FUNCTIONS[ast.unparse(node.func)](*[of(one) for one in node.args])
            case ast.Call() if isinstance(node.func, ast.Attribute) and node.func.attr == "to":
                return of(node.func.value)  # "@network_def.to(@device)" is the network itself
        raise ValueError(f"a {type(node).__name__} has no value")


def _bounded(operate: Callable[..., Any], left: Any, right: Any) -> Any:
    """Add, multiply… numbers; repeat or join lists and words up to MAX_LENGTH."""
    long = [len(one) for one in (left, right) if isinstance(one, list | str)]
    times = [one for one in (left, right) if isinstance(one, int)]
    if long and operate is operator.mod:
        raise ValueError("words are not put together here")
    if long and sum(long) * max([1, *times]) > MAX_LENGTH:
        raise ValueError("longer than a config may be")
    return operate(left, right)


def read_config(path: Path) -> Config:
    """Read a .json, .yaml or .yml config. Raises BrokenModel when it is not one."""
    if path.stat().st_size > MAX_CONFIG_BYTES:
        raise BrokenModel(f"{path.name} may hold {MAX_CONFIG_BYTES:,} bytes, found {path.stat().st_size:,}.")
    try:
        text = path.read_text(encoding="utf-8")
        entries = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    except (UnicodeDecodeError, json.JSONDecodeError, yaml.YAMLError, RecursionError) as error:
        raise BrokenModel(f"{path.name} must be plain {path.suffix.lstrip('.').upper()}; it could not be read.") from error
    if not isinstance(entries, dict):
        raise BrokenModel(f"{path.name} must hold named entries, found a {type(entries).__name__}.")
    return Config({str(key): value for key, value in entries.items()}, path.name)


def target_of(component: Any) -> str:
    """Return the class a component names, without its module when that is MONAI's; "" for what is no component."""
    if not isinstance(component, dict) or not isinstance(component.get("_target_"), str):
        return ""
    name: str = component["_target_"]
    return name.rsplit(".", 1)[-1] if name.startswith("monai.") else name


def arguments(component: Mapping[str, Any]) -> dict[str, Any]:
    """Return a component's arguments, without what is said about it (``_target_``, ``_disabled_``, ``_desc_`` …)."""
    return {key: value for key, value in component.items() if not (key.startswith("_") and key.endswith("_"))}
