"""The pages of the docs that are generated from the code: every key of the spec, every command."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator
from typing import Any

import click

from manymodels_spark.cli import main
from manymodels_spark.spec.model import Spec

Json = dict[str, Any]
BOUNDS = {
    "minimum": "at least {}",
    "exclusiveMinimum": "above {}",
    "maximum": "at most {}",
    "exclusiveMaximum": "below {}",
    "pattern": "of the form `{}`",
}
SPEC_INTRODUCTION = """# Every key of the spec

Generated from the models that check a spec. [The spec explained](../spec.md) says what each key is for;
`manymodels schema` prints the same as JSON Schema for an editor. A key that is in none of these tables
is refused, with the nearest valid name.
"""
CLI_INTRODUCTION = """# Command line

Generated from the commands themselves; `manymodels COMMAND --help` prints the same.
`manymodels --log-json COMMAND` writes what happens as JSON lines to standard error. Exit codes:
0 all is well, 1 an error, 2 a mistake in the spec or the command, 3 too many partitions failed
([which](../running.md#exit-codes)).
"""


def spec_reference() -> str:
    """Markdown with a table per part of the spec: key, type, default."""
    schema = Spec.model_json_schema(by_alias=True)
    parts = [_part("The spec", schema), *(_part(name, part) for name, part in _in_order(schema))]
    return "\n".join([SPEC_INTRODUCTION, *parts])


def _in_order(schema: Json) -> list[tuple[str, Json]]:
    """The parts in the order in which the spec's keys name them, not by their names."""
    names: list[str] = []
    waiting = [schema]
    while waiting:
        for name in _named(waiting.pop(0)):
            if name not in names:
                names.append(name)
                waiting.append(schema["$defs"][name])
    return [(name, schema["$defs"][name]) for name in names]


def _named(value: Any) -> Iterator[str]:
    """The parts that a schema refers to, outside its `$defs`."""
    if isinstance(value, dict):
        if "$ref" in value:
            yield value["$ref"].rsplit("/", 1)[1]
        for key, one in value.items():
            if key not in ("$defs", "mapping"):
                yield from _named(one)
    elif isinstance(value, list):
        for one in value:
            yield from _named(one)


def _part(title: str, part: Json) -> str:
    required = part.get("required", [])
    rows = [
        f"| `{key}` | {_type(value)} | {'required' if key in required else _default(value)} |"
        for key, value in part.get("properties", {}).items()
    ]
    about = inspect.cleandoc(part.get("description", ""))
    return "\n".join([f"## {title}", "", about, "", "| key | type | default |", "|---|---|---|", *rows, ""])


def _type(value: Json) -> str:
    """A schema's type in words, as a table's cell."""
    if "$ref" in value:
        name = value["$ref"].rsplit("/", 1)[1]
        return f"[{name}](#{name.lower()})"
    for form in ("anyOf", "oneOf", "allOf"):
        if form in value:
            return " or ".join(_type(one) for one in value[form] if one.get("type") != "null")
    if "enum" in value or "const" in value:
        return ", ".join(f"`{one}`" for one in value.get("enum", [value.get("const")]))
    if value.get("type") == "array":
        return f"list of {_type(value['items'])}" if value.get("items") else "list"
    if value.get("type") == "object":
        return "mapping"
    bounds = [text.format(value[name]) for name, text in BOUNDS.items() if name in value]
    return ", ".join([str(value.get("type", "any value")), *bounds]).replace("|", "\\|")


def _default(value: Json) -> str:
    default = value.get("default")
    if default is None or default in ([], {}):
        return ""
    return "see there" if isinstance(default, dict) else f"`{json.dumps(default).strip(chr(34))}`"


def cli_reference() -> str:
    """Markdown with a section per command: its usage, what it does, its options."""
    return "\n".join([CLI_INTRODUCTION, *_commands("manymodels", main)])


def _commands(path: str, group: click.Group) -> Iterator[str]:
    for name, command in group.commands.items():
        if command.hidden:
            continue
        yield _command(f"{path} {name}", command)
        if isinstance(command, click.Group):
            yield from _commands(f"{path} {name}", command)


def _command(path: str, command: click.Command) -> str:
    context = click.Context(command, info_name=path)
    usage = " ".join([path, *command.collect_usage_pieces(context)])
    about = inspect.cleandoc(command.help or "").replace("\b\n", "")
    options = [one for one in command.params if isinstance(one, click.Option)]
    records = [one.get_help_record(context) for one in options]
    rows = [f"| `{_cell(name)}` | {_cell(text)} |" for name, text in filter(None, records)]
    table = ["| option | what it does |", "|---|---|", *rows, ""] if rows else []
    return "\n".join(
        [f"## {path.removeprefix('manymodels ')}", "", f"```\n{usage}\n```", "", about, "", *table]
    )


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
