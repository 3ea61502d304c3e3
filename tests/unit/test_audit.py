"""What the audit of dependencies says of pip-audit's report."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

PATH = Path(__file__).parents[2] / "scripts" / "audit.py"


@pytest.fixture(scope="module")
def audit() -> Any:
    spec = importlib.util.spec_from_file_location("audit", PATH)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


REPORT = {
    "dependencies": [
        {"name": "good", "version": "1.0", "vulns": []},
        {
            "name": "bad",
            "version": "2.0",
            "vulns": [
                {"id": "PYSEC-1", "aliases": ["CVE-1"], "fix_versions": ["2.1"]},
                {"id": "PYSEC-2", "aliases": ["CVE-2"], "fix_versions": []},
            ],
        },
        {"name": "skipped", "skip_reason": "not on the registry"},
    ]
}


def test_every_vulnerability_is_a_line_with_the_version_that_corrects_it(audit):
    assert audit.findings(REPORT, {}) == [
        "bad 2.0: PYSEC-1, fixed in 2.1",
        "bad 2.0: PYSEC-2, fixed in no version yet",
    ]


def test_one_that_is_explained_by_its_id_or_alias_is_left_out(audit):
    known = audit.ignored("# a comment\n\nCVE-1  only in a part that is not used\n")
    assert audit.findings(REPORT, known) == ["bad 2.0: PYSEC-2, fixed in no version yet"]


def test_an_entry_without_a_reason_is_refused(audit):
    with pytest.raises(ValueError, match="CVE-1: say"):
        audit.ignored("CVE-1\n")


def test_the_list_in_use_is_well_formed(audit):
    assert all(audit.ignored(audit.IGNORED.read_text()).values()) is True
