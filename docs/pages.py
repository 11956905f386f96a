"""Pages of the site that live elsewhere in the repository, as a hook of MkDocs.

Their links to each other and to what is in docs/ become links of the site; links to other files of the
repository, which the site does not have, become plain words.
"""

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parent.parent
PAGES = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "figures/README.md": "figures.md",
    "theory/README.md": "theory/index.md",
} | {f"theory/{path.name}": f"theory/{path.name}" for path in (ROOT / "theory").glob("*.ipynb")}

_LINK = re.compile(r"\[([^\]]+)\]\((?!https?:|#)([^)\s]+)\)")


def linked(text: str, source: str) -> str:
    """Markdown of a file of the repository with links that hold in the site."""
    page = PAGES[source]

    def link(found: re.Match) -> str:
        words, _, anchor = found[1], *found[2].partition("#")[1:]
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), found[2].partition("#")[0]))
        if not (ROOT / path).exists():
            raise FileNotFoundError(f"{source}: {path}")
        if path not in PAGES and not path.startswith("docs/"):
            return words
        to = PAGES.get(path, path.removeprefix("docs/"))
        to = posixpath.relpath(to, posixpath.dirname(page) or ".")
        return f"[{words}]({to}{'#' + anchor if anchor else ''})"

    return _LINK.sub(link, text)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages."""
    for source, page in PAGES.items():
        if source.endswith(".md"):
            text = linked((ROOT / source).read_text(encoding="utf-8"), source)
            files.append(File.generated(config, page, content=text))
        else:
            files.append(File.generated(config, page, abs_src_path=str(ROOT / source)))
    from jaxnigt.sweep.template import template

    text = f"# Every key of a definition\n\n```toml\n{template()}\n```\n"
    files.append(File.generated(config, "definitions.md", content=text))
    return files
