"""Our files against what the platforms document (`tests/rules`); each rule refuses what broke it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from deploy_files import BUNDLE, ROOT
from platform_rules import at, breaks, found, kinds, rules, upload_root

RULES = dict(rules())
each_rule = pytest.mark.parametrize("rule", RULES.values(), ids=list(RULES))


@each_rule
def test_our_files_keep_the_rule(rule: dict[str, Any]) -> None:
    values = list(found(rule))
    broken = [
        f"{path.relative_to(ROOT)}: {str(value)[:200]}" for path, value in values if breaks(rule, value)
    ]
    assert broken == [], f"{rule['says']} ({rule['source']})"
    if "absent" in rule:
        assert values == [], f"{rule['says']} ({rule['source']})"
    else:
        assert len(values) >= rule.get("least", 1), "the rule finds what it speaks of"


@each_rule
def test_the_rule_refuses_the_value_that_broke_it(rule: dict[str, Any]) -> None:
    assert kinds(rule), "a rule asks for something"
    assert "absent" in rule or breaks(rule, rule["was"])


@each_rule
def test_the_rule_names_its_source_and_says_in_words_what_holds(rule: dict[str, Any]) -> None:
    assert rule["source"].startswith("https://") and len(rule["says"].split()) > 4


def test_a_place_in_a_document_is_found_by_keys_items_and_at_any_depth() -> None:
    data = {"jobs": {"a": {"tasks": [{"key": 1}, {"key": 2}]}, "b": {"tasks": []}}}
    assert list(at(data, ["jobs", "*", "tasks", "*", "key"])) == [1, 2]
    assert list(at(data, ["**", "key"])) == [1, 2]
    assert list(at(data, ["jobs", "~"])) == ["a", "b"]
    assert list(at(data, ["jobs", "c"])) == []


def test_a_path_outside_of_the_bundle_moves_the_root_of_what_is_uploaded() -> None:
    assert upload_root({"sync": {"paths": [".", "../../conf"]}}) == ROOT
    assert upload_root({"sync": {"paths": ["."]}}) == upload_root({}) == BUNDLE
    assert upload_root({"sync": {"paths": ["../bicep"]}}) == Path(BUNDLE).parent
