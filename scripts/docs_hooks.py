"""Hooks of the docs' site (mkdocs.yml): pages made from something else, links to the repository's files.

- The README, the changelog and others at the root become pages.
- A link out of `docs/`, to a notebook, a spec or a folder of `deploy/`, leads to a page of its content.
- The references of the spec and the command line are generated (docs_reference.py).
- An entry `... | FOLDER` of the navigation stands for all pages of that folder, in the order of their names.
"""

from __future__ import annotations

import json
import posixpath
import re
from pathlib import Path
from typing import Any

from docs_reference import cli_reference, spec_reference
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parent.parent
AT_ROOT = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security-policy.md",
}
GENERATED = {"reference/spec.md": spec_reference, "reference/cli.md": cli_reference}
LINK = re.compile(r"(\]\(|src=\")([^)#\"\s]+)")
LISTED = re.compile(r"^\.\.\. \| (\w+)$")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put the pages of a folder in the place of its entry in the navigation."""
    config.nav = _filled(config.nav)
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made from something else."""
    made = {page: (ROOT / name).read_text(encoding="utf-8") for name, page in AT_ROOT.items()}
    made |= {page: make() for page, make in GENERATED.items()}
    made |= {page: _shown(source) for source, page in _repository_pages().items()}
    for page, text in made.items():
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Point links at the site's pages, where they name files of the repository."""
    uri = page.file.src_uri
    origins = {made: source for source, made in (AT_ROOT | _repository_pages()).items()}
    origin = origins.get(uri, f"docs/{uri}")

    def link(found: re.Match[str]) -> str:
        opening, address = found.groups()
        if ":" in address:
            return found.group()
        target = posixpath.normpath(posixpath.join(posixpath.dirname(origin), address))
        return opening + posixpath.relpath(_page_of(target), posixpath.dirname(uri) or ".")

    return LINK.sub(link, markdown)


def _page_of(target: str) -> str:
    """The page, as a path below `docs/`, that shows a file or folder of the repository."""
    known = AT_ROOT | _repository_pages()
    if target in known:
        return known[target]
    if target == "docs/decisions":
        return "decisions/0001-ids-in-python.md"
    return posixpath.relpath(target, "docs")


def _repository_pages() -> dict[str, str]:
    """The pages of what lies outside `docs/`: notebooks, specs, folders of `deploy/` with a README."""
    notebooks = {f"notebooks/{path.name}": path for path in sorted(ROOT.glob("notebooks/*.ipynb"))}
    specs = {f"conf/{path.name}": path for path in sorted(ROOT.glob("conf/*.yaml"))}
    pages = {name: f"{name.rsplit('.', 1)[0]}.md" for name in notebooks | specs}
    for path in sorted(ROOT.glob("deploy/*/README.md")):
        name = path.parent.name
        pages |= {f"deploy/{name}/README.md": f"deploy/{name}.md", f"deploy/{name}": f"deploy/{name}.md"}
    return pages


def _shown(source: str) -> str:
    """What the page of a file of the repository holds."""
    path = ROOT / source
    if path.is_dir():
        path = path / "README.md"
    if path.suffix == ".ipynb":
        return _notebook(path)
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".md":
        return text
    return f"# {path.name}\n\n`{source}` of the repository.\n\n```yaml\n{text}```\n"


def _notebook(path: Path) -> str:
    """A notebook's text and code; it is stored without results."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    parts = [_cell(cell["cell_type"], "".join(cell["source"])) for cell in cells]
    title, rest = parts[0].split("\n", 1)
    return "\n\n".join([title, f"Notebook `notebooks/{path.name}` of the repository.", rest, *parts[1:]])


def _cell(kind: str, text: str) -> str:
    return text if kind == "markdown" else f"```python\n{text}\n```"


def _filled(nav: Any) -> Any:
    """The navigation with its `... | FOLDER` entries replaced."""
    if isinstance(nav, dict):
        return {title: _filled(entry) for title, entry in nav.items()}
    if not isinstance(nav, list):
        return nav
    filled = []
    for entry in nav:
        listed = LISTED.match(entry) if isinstance(entry, str) else None
        filled += _pages_in(listed.group(1)) if listed else [_filled(entry)]
    return filled


def _pages_in(folder: str) -> list[str]:
    written = [path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs" / folder).glob("*.md")]
    made = [page for page in _repository_pages().values() if page.startswith(f"{folder}/")]
    return sorted({*written, *made})
