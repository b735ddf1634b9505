"""Mermaid diagrams: ``diagrams.js`` draws what a fenced block ``mermaid`` becomes; without scripts its text shows."""

from __future__ import annotations

from typing import Any, ClassVar

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective


class diagram(nodes.General, nodes.Element):
    """One diagram; ``source`` is its Mermaid text."""


class Mermaid(SphinxDirective):
    """The fenced block."""

    has_content: ClassVar[bool] = True

    def run(self) -> list[nodes.Node]:
        """The block as a node."""
        return [diagram(source="\n".join(self.content))]


def visit(writer: Any, node: diagram) -> None:
    """Write the diagram, named after the section that it stands in for who cannot see it."""
    above = node.parent
    while above is not None and not isinstance(above, nodes.section):
        above = above.parent
    title = above.next_node(nodes.title).astext() if above is not None else "this page"
    writer.body.append(f'<figure class="diagram" role="figure" aria-label="Diagram: {writer.encode(title)}">')
    writer.body.append(f'<pre class="mermaid">{writer.encode(node["source"])}</pre></figure>\n')
    raise nodes.SkipNode


def add_scripts(app: Sphinx, _page: str, _template: str, _context: object, doctree: nodes.document | None) -> None:
    """Only pages with diagrams load the three megabytes that draw them."""
    if doctree is not None and doctree.next_node(diagram) is not None:
        app.add_js_file("mermaid.js", loading_method="defer")
        app.add_js_file("diagrams.js", loading_method="defer")


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive."""
    app.add_node(diagram, html=(visit, None))
    app.add_directive("mermaid", Mermaid)
    app.connect("html-page-context", add_scripts)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
