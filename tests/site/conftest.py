"""The tests of the site share a headless browser."""

from tests.browser import browser, page, visits

__all__ = ["browser", "page", "visits"]
