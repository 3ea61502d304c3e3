"""Makes the README's two pictures anew: a terminal's recording and the report, in docs/images.

The demonstration is run for real in a folder of its own; the recording is what its commands printed, without
the lines of progress. Takes some four minutes on two cores.

    .venv/bin/python scripts/record_readme.py
"""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright
from rich.console import Console
from rich.text import Text

ROOT = Path(__file__).resolve().parent.parent
IMAGES = ROOT / "docs" / "images"
SPEC = "conf/retail.yaml"
SHOWN = (["check", SPEC], ["run", SPEC], ["status", SPEC], ["report", SPEC])
COLUMNS = 100
# Fonts of the reader's own machine: a picture must not fetch any from elsewhere.
FONT_FACE = re.compile(r"@font-face\s*{.*?}", re.DOTALL)
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def main() -> None:
    """Run the demonstration, write both pictures."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        shutil.copytree(ROOT / "conf", work / "conf")
        printed_by(["demo-data"], work)
        console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
        for arguments in SHOWN:
            console.print(Text(f"$ manymodels {' '.join(arguments)}", style="bold"))
            console.print(Text.from_ansi(printed_by(arguments, work)))
        svg = FONT_FACE.sub("", console.export_svg(title="one model per store and item"))
        (IMAGES / "terminal.svg").write_text(svg, encoding="utf-8")
        (report,) = (work / ".manymodels" / "reports").glob("*.html")
        photograph(report, IMAGES / "report.png")


def printed_by(arguments: list[str], work: Path) -> str:
    """What a command printed, without the lines of progress. Ends the script where the command fails."""
    environment = {**os.environ, "COLUMNS": str(COLUMNS), "PYTHONPATH": str(ROOT)}
    environment.setdefault("MANYMODELS_JARS", str(ROOT / ".jars"))
    command = [sys.executable, "-m", "manymodels_spark.cli", *arguments]
    done = subprocess.run(command, cwd=work, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(arguments)} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
    lines = done.stdout.rstrip().splitlines()
    return "\n".join(line for line in lines if " left " not in line) + "\n"


def photograph(page: Path, picture: Path) -> None:
    """The upper part of a page as a PNG, in the light colours."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": 1100, "height": 1000}, color_scheme="light")
        tab.goto(page.as_uri())
        tab.wait_for_selector("#rows tr")
        tab.screenshot(path=picture)
        browser.close()


if __name__ == "__main__":
    main()
