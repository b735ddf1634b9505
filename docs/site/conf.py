"""How Sphinx makes the site of what ``build.py`` has staged. Everything the pages need comes with them: no CDN."""

import sys
from importlib.util import find_spec
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

project = "Dog breeds on AWS"
author = ""
html_title = project
language = "en"
root_doc = "index"
extensions = ["myst_nb", "sphinx_copybutton", "diagrams", "figures"]

nb_execution_mode = "off"
nb_merge_streams = True
nb_ipywidgets_js = {}
myst_fence_as_directive = ["mermaid"]
myst_heading_anchors = 3
smartquotes = False
copybutton_selector = "div.cell_input div.highlight pre, details div.highlight pre"

mermaid_package = find_spec("mermaidx")
assert mermaid_package is not None
assert mermaid_package.origin is not None
html_theme = "sphinx_book_theme"
html_static_path = ["static", str(Path(mermaid_package.origin).parent / "assets" / "mermaid.js")]
html_favicon = "static/icon.svg"
html_context = {"default_mode": "auto"}
html_css_files = ["site.css"]
html_js_files = [("search-summaries.js", {"loading_method": "defer"})]
html_copy_source = False
html_show_copyright = False
html_show_sphinx = False
html_use_index = False
html_last_updated_fmt = None
html_theme_options = {
    "home_page_in_toc": True,
    "show_navbar_depth": 1,
    "show_toc_level": 2,
    "use_download_button": False,
    "use_fullscreen_button": False,
    "use_source_button": False,
}
