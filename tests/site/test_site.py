"""The built site, as a reader has it: opened as files and from a plain server, clicked through, without internet."""

import hashlib
import json
import os
import re
import subprocess
import threading
from functools import partial
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from playwright.sync_api import expect

ROOT = Path(__file__).resolve().parents[2]
PYTHON = ROOT / ".venv-site" / "bin" / "python"
NOTEBOOKS = sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))
expect.set_options(timeout=60_000)  # milliseconds: what is drawn or found late is not missing, on a busy machine
LOADED = {"script": "src", "img": "src", "iframe": "src", "link": "href"}  # what a browser fetches by itself


def build(out, cache, **environment):
    argv = [str(PYTHON), str(ROOT / "docs" / "site" / "build.py"), "--out", str(out), "--cache", str(cache)]
    done = subprocess.run(argv, capture_output=True, text=True, env=os.environ | environment, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == str(out / "index.html")
    return out


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    if not PYTHON.is_file() and not os.environ.get("CI"):
        pytest.skip("The site needs an environment of its own: `make .venv-site/installed`")
    folder = tmp_path_factory.mktemp("site")
    return build(folder / "site", folder / "cache")


class Page(HTMLParser):
    """Identifiers, links, and what a page loads."""

    def __init__(self, path):
        super().__init__()
        self.ids, self.links, self.loaded = set(), [], []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.ids |= {given[name] for name in ("id", "name") if given.get(name)}
        if tag == "a" and given.get("href"):
            self.links.append(given["href"])
        if given.get(LOADED.get(tag)) and given.get("rel") not in {"next", "prev", "index", "search"}:
            self.loaded.append(given[LOADED[tag]])


@pytest.fixture(scope="module")
def pages(site):
    return {path: Page(path) for path in sorted(site.rglob("*.html")) if "_static" not in path.parts}


def is_external(link):
    return bool(urlsplit(link).scheme or urlsplit(link).netloc)


def test_every_document_is_a_page(site, pages):
    documents = [f"docs/{path.stem}.html" for path in (ROOT / "docs").glob("*.md")]
    notebooks = [f"notebooks/{path.stem}.html" for path in NOTEBOOKS]
    assert len(notebooks) == 8
    assert {"docs/on-aws.html", "docs/operations.html", "docs/glossary.html"} <= set(documents)
    assert {str(path.relative_to(site)) for path in pages} == {
        *("index.html", "runs.html", "search.html"),
        *documents,
        *notebooks,
    }


def test_every_internal_link_and_anchor_resolves(pages):
    broken, seen = [], 0
    for path, page in pages.items():
        for link in [link for link in [*page.links, *page.loaded] if not is_external(link)]:
            parts = urlsplit(link)
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            known = pages[target].ids if target in pages else None
            if not target.is_file() or (parts.fragment and (known is None or unquote(parts.fragment) not in known)):
                broken.append(f"{path.name}: {link}")
            seen += 1
    assert broken == []
    assert seen > 500


def test_external_links_are_well_formed_and_nothing_is_loaded_from_elsewhere(site, pages):
    external = sorted({link for page in pages.values() for link in page.links if is_external(link)})
    print("\n".join(["external links:", *external]))
    assert [link for link in external if not re.fullmatch(r"https://[a-z0-9-]+(\.[a-z0-9-]+)+(/\S*)?", link)] == []
    assert [link for page in pages.values() for link in page.loaded if is_external(link)] == []
    styles = "\n".join(path.read_text(encoding="utf-8") for path in site.rglob("*.css"))
    assert re.findall(r"(?:url\(|@import)\s*[\"']?(?:https?:)?//[^)\"']+", styles) == []


def test_another_build_is_the_same_to_the_byte(site, tmp_path):
    def digests(folder):
        files = [path for path in folder.rglob("*") if path.is_file()]
        return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}

    assert digests(build(tmp_path / "again", tmp_path / "cache", PYTHONHASHSEED="7")) == digests(site)


def test_no_page_knows_the_machine(site):
    told = [path for path in site.rglob("*.*") if path.suffix in {".html", ".js"}]
    assert [path for path in told if str(ROOT) in (text := path.read_text()) or str(site.parent) in text] == []


def test_the_glossary_names_the_notebook_that_uses_the_word():
    entries = re.split(r"^- ", (ROOT / "docs" / "glossary.md").read_text(), flags=re.M)[1:]
    text = {path.stem: path.read_text().lower() for path in NOTEBOOKS}
    strayed = []
    for entry in entries:
        term, notebook = re.search(r"\*\*`?(\w+)", entry)[1], re.search(r"notebooks/(\w+)\.ipynb", entry)[1]
        if term.lower()[:6] not in text[notebook]:
            strayed.append((term, notebook))
    assert strayed == []
    assert len(entries) > 50


def printed(notebook):
    cells = json.loads((ROOT / "notebooks" / f"{notebook}.ipynb").read_text())["cells"]
    return "\n".join("".join(output.get("text", "")) for cell in cells for output in cell.get("outputs", []))


def test_the_comparison_shows_what_the_notebook_printed(page, site):
    lines = printed("05_ec2_training").splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("run ") and "billable s" in line)
    expected = [re.split(r"\s{2,}", line.strip()) for line in (lines[start], *lines[start + 2 : start + 5])]
    page.goto((site / "runs.html").as_uri())
    shown = page.locator("#time-money-accuracy table").first
    assert [row.locator("th, td").all_inner_texts() for row in shown.locator("tr").all()] == expected


# ---- in the browser ----


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def server(site):
    served = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(site)))
    threading.Thread(target=served.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{served.server_port}"
    served.shutdown()


@pytest.fixture(params=["opened as a file", "served"])
def address(request, site):
    """Where the site's pages are; a file's address, or a plain server's."""
    return site.as_uri() if request.param == "opened as a file" else f"http://{request.getfixturevalue('server')}"


@pytest.fixture(autouse=True)
def nothing_goes_wrong(request):
    """Whatever a test opens: no request fails or goes to anybody else, and nothing is wrong in the console."""
    if "page" not in request.fixturenames:
        yield
        return
    visits = request.getfixturevalue("visits")
    own = {request.getfixturevalue("server")}
    yield
    assert visits.requests
    assert (visits.failed, visits.errors) == ([], [])
    assert visits.hosts() <= own


def title(page):
    return page.locator("article h1").first.evaluate("h1 => h1.firstChild.textContent.trim()")


def turn(page, link):
    """Follow a link, wait for the page that it leads to, and tell which."""
    with page.expect_navigation():
        page.locator(link).click()
    return urlsplit(page.url).path.rpartition("/")[2]


def test_next_leads_through_the_series_and_previous_back(page, server):
    page.goto(f"http://{server}/index.html")
    assert title(page) == (ROOT / "README.md").read_text().partition("\n")[0].removeprefix("# ")
    read = []
    for _ in NOTEBOOKS:
        read.append(turn(page, "a.right-next"))
    assert read == [f"{path.stem}.html" for path in NOTEBOOKS]
    turn(page, "a.right-next")
    assert title(page) == "Runs compared"
    assert turn(page, "a.left-prev") == "08_teardown.html"


def test_the_search_finds_what_only_an_output_says(page, address):
    page.goto(f"{address}/index.html")
    page.locator("button.search-button__button:visible").first.click()
    page.keyboard.type("PassRole")
    page.keyboard.press("Enter")
    found = page.locator("ul.search li a", has_text="06 ")
    expect(found.first).to_be_visible()
    found.first.click()
    page.wait_for_url("**/notebooks/06_lambda.html*")
    expect(page.locator("article")).to_contain_text("iam:PassRole")


def test_figures_show_and_are_described(page, site):
    wanted = {"02_data", "03_single_training", "04_spot_training", "05_ec2_training", "06_lambda", "07_scaling"}
    for name in sorted(wanted):
        page.goto((site / "notebooks" / f"{name}.html").as_uri())
        images = page.locator("article .cell_output img")
        seen = images.evaluate_all("all => all.map(one => [one.naturalWidth > 100, one.alt.length > 20])")
        assert seen, name
        assert all(shown and described for shown, described in seen), name


def test_diagrams_are_drawn(page, address):
    page.goto(f"{address}/index.html")
    wanted = (ROOT / "README.md").read_text().count("```mermaid")
    expect(page.locator("figure.diagram svg .node")).not_to_have_count(0)
    assert page.locator("figure.diagram svg").count() == wanted > 0
    page.goto(f"{address}/notebooks/01_setup.html")
    expect(page.locator("figure.diagram svg").first).to_be_visible()
    assert page.locator("pre.mermaid").count() == 0


def test_a_diagram_is_drawn_again_in_the_dark(page, site):
    page.goto((site / "index.html").as_uri())
    label = page.locator("figure.diagram svg .nodeLabel").first
    expect(label).to_be_visible()
    bright = label.evaluate("one => getComputedStyle(one).color")
    page.locator("button.theme-switch-button:visible").first.click()
    page.locator("button.theme-change-button[data-mode=dark]:visible").first.click()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    expect(label).not_to_have_css("color", bright)


def test_every_solution_is_folded(site):
    summary = "<details><summary>Solution</summary>"
    for path in NOTEBOOKS:
        solutions = path.read_text().count(summary)
        assert (site / "notebooks" / f"{path.stem}.html").read_text().count(summary) == solutions == 3, path.name


def test_a_solution_unfolds(page, address):
    page.goto(f"{address}/notebooks/01_setup.html")
    solution = page.locator("details", has=page.locator("summary", has_text="Solution")).first
    code = solution.locator("div.highlight-python pre").first
    expect(code).to_be_hidden()
    solution.locator("summary").click()
    expect(code).to_be_visible()
    assert code.locator("span").count() > 3  # coloured


def test_printed_tables_stay_aligned(page, site):
    page.goto((site / "notebooks" / "03_single_training.html").as_uri())
    tables = page.locator("div.cell_output pre", has_text="usd_hour")
    style = tables.first.evaluate("one => [getComputedStyle(one).whiteSpace, getComputedStyle(one).fontFamily]")
    assert style[0] == "pre"
    assert "mono" in style[1]


def test_no_page_is_wider_than_a_telephone(page, site, pages):
    page.set_viewport_size({"width": 390, "height": 844})
    wide = []
    for path in pages:
        page.goto(path.as_uri())
        if page.evaluate("document.documentElement.scrollWidth") > 390:
            wide.append(path.name)
    assert wide == []
