"""What mkdocs builds besides the pages of docs: the gallery, and the files of the project that pages link to."""

import posixpath
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
#: Where files from outside of docs stand in the site.
CODE = "code"
#: A link, not a picture, to a file: what stands before its target, the target, and its anchor.
LINK = re.compile(r"(?<!!)(\[[^\]]*\]\()([^)#:\s]+)(#[^)]*)?(?=\))")
#: Formulas as GitHub has them: in a block of its own, and within a line.
BLOCK = re.compile(r"^```math\n(.*?)^```$", re.DOTALL | re.MULTILINE)
INLINE = re.compile(r"\$`(.+?)`\$")
CROSS_REFERENCE = re.compile(r":(?:func|class|meth|mod|data):<code>~?([\w.]+)</code>")
LANGUAGES = {".py": "python", ".yml": "yaml", ".toml": "toml"}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the gallery and the linked files."""
    sys.path[:0] = [str(ROOT / "src"), str(ROOT / "docs/gallery")]
    import every_corruption

    for name, content in every_corruption.pages().items():
        files.append(File.generated(config, name, content=content))
    texts = {f"docs/{file.src_uri}": file.content_string for file in files.documentation_pages()}
    waiting = [*texts, "CONTRIBUTING.md", "CHANGELOG.md", "src/robustmedclip/corruptions/README.md"]
    while waiting:
        place = waiting.pop()
        if place not in texts:
            texts[place] = _text(ROOT / place)
            files.append(File.generated(config, _page(place), content=texts[place]))
        waiting += [target for target in _targets(place, texts[place]) if target not in texts]
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Let links lead to where their files stand in the site, and write formulas as MathML, which browsers draw."""
    here = page.file.src_uri
    place = here.removeprefix(f"{CODE}/") if here.startswith(f"{CODE}/") else f"docs/{here}"
    place = place if (ROOT / place).exists() else place.removesuffix(".md").removesuffix("/index")

    def moved(link: re.Match[str]) -> str:
        target = _page(_resolved(place, link[2]))
        return f"{link[1]}{posixpath.relpath(target, posixpath.dirname(here) or '.')}{link[3] or ''}"

    blocks = BLOCK.sub(lambda formula: f'<div class="formula">{_mathml(formula[1], "block")}</div>', markdown)
    return LINK.sub(moved, INLINE.sub(lambda formula: f"<span>{_mathml(formula[1], 'inline')}</span>", blocks))


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn cross-references of docstrings into links, where the reference has what they name."""
    return CROSS_REFERENCE.sub(r'<autoref identifier="\1" optional><code>\1</code></autoref>', html)


def _mathml(formula: str, display: str) -> str:
    """A formula of LaTeX as MathML, in a line."""
    return convert(" ".join(formula.split()), display=display)


def _targets(place: str, text: str) -> Iterator[str]:
    """The files outside of docs that a text links to."""
    for link in LINK.finditer(text):
        target = _resolved(place, link[2])
        if not target.startswith(("docs/", "..")) and (ROOT / target).exists():
            yield target


def _resolved(place: str, link: str) -> str:
    """A link of a file, from the project's root."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(place), link))


def _page(place: str) -> str:
    """Where a file of the project stands in the site."""
    if place.startswith("docs/"):
        return place.removeprefix("docs/")
    if (ROOT / place).is_dir():
        return f"{CODE}/{place}/index.md"
    return f"{CODE}/{place}" if place.endswith(".md") else f"{CODE}/{place}.md"


def _text(path: Path) -> str:
    """A file as a page; of a folder, what lies in it."""
    if path.is_dir():
        listed = "\n".join(f"- [{file.name}]({path.name}/{file.name})" for file in sorted(path.glob("[!_.]*.*")))
        return f"# {path.name}\n\n{listed}\n"
    if path.suffix == ".md":
        return path.read_text(encoding="utf-8")
    return f"# {path.name}\n\n````{LANGUAGES.get(path.suffix, '')}\n{path.read_text(encoding='utf-8')}\n````\n"
