"""Build the site from the stored notebooks, README.md and docs/: ``make site``. Runs nothing, fetches nothing.

The pages are staged under ``--cache`` in the layout of the repository, so that their relative links hold; then Sphinx
renders them into ``--out``. What has not changed since the last build is not built again.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import shutil
import sys
from pathlib import Path
from urllib.parse import unquote

import runs
from sphinx.cmd.build import main as sphinx_build

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
LINK = re.compile(r"\]\(([^)\s#:]+)(?:#[^)\s]*)?\)")
NOTEBOOK_NAME = re.compile(r"`(\d\d_\w+)`")
CONTENTS = """
```{{toctree}}
:hidden:
:caption: The notebooks
{notebooks}
```

```{{toctree}}
:hidden:
:caption: To look up
runs
{docs}
```
"""


def pages(run: Path | None) -> dict[str, bytes]:
    """What Sphinx reads, by path: start page, notebooks, documents, what they show, and the comparison of runs."""
    notebooks = sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))
    documents = sorted((ROOT / "docs").glob("*.md"))
    staged = {str(path.relative_to(ROOT)): path.read_bytes() for path in [*notebooks, *documents]}
    staged["index.md"] = start_page(notebooks, documents).encode()
    staged |= runs.pages(ROOT / "notebooks", run)
    for name in [name for name in staged if name.endswith((".md", ".ipynb"))]:
        staged |= linked_files(Path(name), staged)
    return staged


def start_page(notebooks: list[Path], documents: list[Path]) -> str:
    """README.md, the names of notebooks in it made links, and the table of contents."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    names = {path.stem for path in notebooks}
    blocks = re.split(r"(^```.*?^```$)", text, flags=re.M | re.S)
    blocks[::2] = [NOTEBOOK_NAME.sub(lambda found: _linked(found, names), block) for block in blocks[::2]]
    contents = CONTENTS.format(
        notebooks="\n".join(f"notebooks/{path.stem}" for path in notebooks),
        docs="\n".join(f"docs/{path.stem}" for path in documents),
    )
    return "".join(blocks) + contents


def _linked(found: re.Match[str], names: set[str]) -> str:
    inside_a_link = found.string[found.start() - 1 : found.start()] == "["
    if found[1] not in names or inside_a_link:
        return found[0]
    return f"[{found[0]}](notebooks/{found[1]}.ipynb)"


def linked_files(page: Path, staged: dict[str, bytes]) -> dict[str, bytes]:
    """Files of the repository that a page links or shows, and that are no pages themselves."""
    found = {}
    for target in LINK.findall(staged[str(page)].decode()):
        path = (ROOT / page.parent / unquote(target)).resolve()
        if path.is_file() and path.is_relative_to(ROOT) and str(path.relative_to(ROOT)) not in staged:
            found[str(path.relative_to(ROOT))] = path.read_bytes()
    return found


def stage(wanted: dict[str, bytes], source: Path) -> None:
    """Make ``source`` hold exactly these files; those that are right already keep their times."""
    for path in [path for path in source.rglob("*") if path.is_file()]:
        if str(path.relative_to(source)) not in wanted:
            path.unlink()
    for name, content in wanted.items():
        path = source / name
        if not path.is_file() or path.read_bytes() != content:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)


def build(out: Path, cache: Path, run: Path | None) -> int:
    """Stage and render; 0, or Sphinx's exit code, which is not 0 after a warning either."""
    source, doctrees, key = cache / "source", cache / "doctrees", cache / "key"
    wanted = pages(run)
    valid = _key(wanted)
    if not key.is_file() or key.read_text() != valid:
        shutil.rmtree(doctrees, ignore_errors=True)
    key.unlink(missing_ok=True)
    stage(wanted, source)
    options = ["-b", "html", "--nitpicky", "--fail-on-warning", "--quiet"]
    failed = sphinx_build([*options, "-c", str(HERE), "-d", str(doctrees), str(source), str(out)])
    if not failed:
        key.write_text(valid)
    return failed


def _key(wanted: dict[str, bytes]) -> str:
    """What Sphinx does not see when it asks what has changed: which files there are, and how pages are made of them.

    Nor does it warn again of a page that it has read before: after a failed build everything is read anew.
    """
    code = b"".join(path.read_bytes() for path in sorted(HERE.glob("*.*")))
    return hashlib.sha256("\n".join(sorted(wanted)).encode() + code).hexdigest()


def main(arguments: list[str] | None = None) -> int:
    """Build, and print where the site is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "site", help="folder of the built site (default: site)")
    parser.add_argument("--run", type=Path, help="OUT of a finished `make run`, to be compared, too")
    parser.add_argument("--cache", type=Path, default=ROOT / ".site", help="folder for what the next build can use")
    options = parser.parse_args(arguments)
    try:
        failed = build(options.out.resolve(), options.cache.resolve(), options.run)
    except runs.Missing as missing:
        print(missing, file=sys.stderr)
        return 1
    if not failed:
        print(options.out.resolve() / "index.html")
    return failed


if __name__ == "__main__":
    sys.exit(main())
