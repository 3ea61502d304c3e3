"""From the text of a spec to a `Spec`, or to all of its mistakes at once, each with its place and line.

It knows YAML and pydantic; what a family's options may be comes from the caller (`extra`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError
from yaml.nodes import MappingNode, Node, SequenceNode

from manymodels_spark.errors import Mistake, SpecError
from manymodels_spark.spec.hints import did_you_mean
from manymodels_spark.spec.model import Spec

Extra = Callable[[Any], Iterable[Mistake]]
Loc = tuple[int | str, ...]


def read_spec(path: str | Path, extra: Sequence[Extra] = ()) -> Spec:
    """The spec in a YAML file. Raises SpecError with every mistake, SpecError too where there is no such
    file.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise SpecError(
            str(path), [Mistake("file", f"cannot be read: {error.strerror}. Give the path of a YAML spec")]
        ) from error
    return parse_spec(text, str(path), extra)


def parse_spec(text: str, name: str = "spec", extra: Sequence[Extra] = ()) -> Spec:
    """The spec in a YAML text; `extra` functions look at the raw data and add their own mistakes."""
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise SpecError(name, [_not_yaml(error, text.splitlines())]) from error
    if not isinstance(data, dict):
        raise SpecError(name, [Mistake("spec", "a mapping is expected, beginning with `name: ...`")])
    found, spec = _validated(data)
    found += [mistake for look in extra for mistake in look(data)]
    if found or spec is None:
        lines = text.splitlines()
        raise SpecError(name, [_placed(mistake, root, lines) for mistake in _sorted(found)])
    return spec


def _not_yaml(error: yaml.YAMLError, lines: list[str]) -> Mistake:
    """Where the text stops being YAML, with the line: past the end, and on empty lines, the last one that
    says something.
    """
    mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
    message = (
        f"not valid YAML: {problem or error}. A bracket, a quote or a blank after `:` may be missing here "
        "or above"
    )
    written = [
        number for number, line in enumerate(lines) if line.strip() and (mark is None or number <= mark.line)
    ]
    return (
        Mistake("yaml", message, written[-1] + 1, lines[written[-1]].strip())
        if mark and written
        else Mistake("yaml", message)
    )


def _validated(data: dict[str, Any]) -> tuple[list[Mistake], Spec | None]:
    try:
        return [], Spec.model_validate(data)
    except ValidationError as error:
        return [_mistake(detail) for detail in error.errors()], None


def _mistake(detail: Any) -> Mistake:
    where: Loc = tuple(detail["loc"])
    return Mistake(dotted(where), _message(detail, where))


def _message(detail: Any, loc: Loc) -> str:
    """One sentence: what is wrong and what was expected."""
    kind, given, context = detail["type"], detail.get("input"), detail.get("ctx", {})
    if kind == "extra_forbidden":
        return f"unknown key.{did_you_mean(str(loc[-1]), known_keys(loc[:-1]))}"
    if kind == "missing":
        return "is required and missing"
    if kind == "literal_error":
        expected = str(context.get("expected", "")).replace("'", "")
        close = did_you_mean(str(given), expected.replace(" or ", ", ").split(", "), listed=False)
        return f"{given!r} is not valid. Expected {expected}.{close}"
    if kind in ("greater_than_equal", "greater_than"):
        bound = context.get("ge", context.get("gt"))
        more = "from" if kind == "greater_than_equal" else "above"
        return f"{given!r} is too small. A number {more} {bound:g} is expected"
    if kind in ("less_than_equal", "less_than"):
        return f"{given!r} is too large. At most {context.get('le', context.get('lt')):g} is expected"
    if kind == "string_pattern_mismatch":
        return f"{given!r} does not have the form {context.get('pattern')}"
    if kind in ("union_tag_not_found", "union_tag_invalid"):
        expected = str(context.get("expected_tags", "one key naming the kind")).replace("'", "")
        return f"{_short(given)} names no known kind. Expected one of {expected}"
    if kind == "value_error":
        return str(context.get("error", detail["msg"]))
    return f"{detail['msg'][0].lower()}{detail['msg'][1:]}, and {_short(given)} was given"


def known_keys(loc: Loc) -> list[str]:
    """The keys that a spec may have at a place; below the tag of a kind only those of that kind."""
    models: list[type[BaseModel]] = [Spec]
    for part in loc:
        if isinstance(part, int):
            continue
        fields = [model.model_fields[part] for model in models if part in model.model_fields]
        tagged = [model for model in models if part in kinds_of(model)]
        models = [found for field in fields for found in _models_in(field.annotation)] or tagged or models
    return sorted(
        {field.alias or name for model in models for name, field in model.model_fields.items()} - {"kind"}
    )


def kinds_of(model: type[BaseModel]) -> tuple[str, ...]:
    """The tags by which a union knows a model: the values of its `kind`; none for other models."""
    field = model.model_fields.get("kind")
    return tuple(str(kind) for kind in get_args(field.annotation)) if field else ()


def dotted(loc: Sequence[int | str]) -> str:
    """`("candidates", 1, "family")` as `candidates[1].family`."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc)
    return text.lstrip(".") or "spec"


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    origin = get_origin(annotation)
    if origin in (Union, UnionType, list, Annotated):
        return [model for argument in get_args(annotation) for model in _models_in(argument)]
    return []


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _sorted(mistakes: Iterable[Mistake]) -> list[Mistake]:
    return sorted(set(mistakes), key=lambda mistake: mistake.path)


def _placed(mistake: Mistake, root: Node | None, lines: Sequence[str]) -> Mistake:
    """The mistake with the number and text of its line."""
    if mistake.line is not None or root is None:
        return mistake
    node, line = root, root.start_mark.line
    for part in mistake.path.replace("[", ".[").split("."):
        step = _child(node, part)
        if step is None:
            break
        node, line = step
    if line == 0 and node is root:
        return mistake
    return Mistake(mistake.path, mistake.message, line + 1, lines[line].strip())


def _child(node: Node, part: str) -> tuple[Node, int] | None:
    if part.startswith("[") and isinstance(node, SequenceNode):
        index = int(part.strip("[]"))
        return (node.value[index], node.value[index].start_mark.line) if index < len(node.value) else None
    if isinstance(node, MappingNode):
        for key, value in node.value:
            if key.value == part:
                return value, key.start_mark.line
        if len(node.value) == 1:
            # `{jdbc: {...}}`: the kind's own level stands in the file, not in the model.
            return _child(node.value[0][1], part)
    return None
