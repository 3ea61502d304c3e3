"""Looks up every pinned package in the registry's list of known vulnerabilities (`make audit`).

Ends with 1 where something is found that `scripts/audit-ignore.txt` does not explain, and with 0 where the
registry cannot be reached: a network that is away must not stop a build.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PINS = ("constraints.txt", "constraints-spark-3.5.txt")
IGNORED = ROOT / "scripts" / "audit-ignore.txt"


def ignored(text: str) -> dict[str, str]:
    """Vulnerability id to why it does not matter here. Raises ValueError where a line has no reason."""
    found = {}
    for line in text.splitlines():
        if line.strip() and not line.startswith("#"):
            name, _, reason = line.strip().partition(" ")
            if not reason.strip():
                raise ValueError(f"{name}: say on the same line why it does not matter here")
            found[name] = reason.strip()
    return found


def findings(report: dict[str, Any], known: dict[str, str]) -> list[str]:
    """A line for each vulnerability in pip-audit's report that is not explained."""
    lines = []
    for package in report["dependencies"]:
        for one in package.get("vulns", ()):
            if not {one["id"], *one.get("aliases", ())} & known.keys():
                fixed = ", ".join(one.get("fix_versions") or ()) or "no version yet"
                lines.append(f"{package['name']} {package['version']}: {one['id']}, fixed in {fixed}")
    return lines


def audit(pins: Path) -> dict[str, Any] | None:
    """pip-audit's report on pinned versions, by PyPI's JSON API; None where that cannot be reached."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        options = [
            "--vulnerability-service",
            "pypi",
            "--no-deps",
            "--disable-pip",
            "--progress-spinner",
            "off",
        ]
        output = ["--format", "json", "--output", str(report), "-r", str(pins)]
        command = [sys.executable, "-m", "pip_audit", *options, *output]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
        if not report.exists() or not report.stat().st_size:
            print(f"{pins.name} was not audited: {ended.stderr.strip().splitlines()[-1:]}", file=sys.stderr)
            return None
        found: dict[str, Any] = json.loads(report.read_text())
        return found


def main() -> int:
    """Audit all pins; the exit code."""
    known, bad = ignored(IGNORED.read_text()), []
    for name in PINS:
        report = audit(ROOT / name)
        if report is not None:
            lines = findings(report, known)
            print(f"{name}: {len(report['dependencies'])} packages, {len(lines)} unexplained vulnerabilities")
            bad += lines
    print("\n".join(bad))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
