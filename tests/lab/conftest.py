"""A JupyterLab for all tests of the folder, with photos to train on that are drawn in a second."""

from collections.abc import Iterator
from colorsys import hsv_to_rgb

import pytest

from tests.conftest import localaws_cli
from tests.lab.jupyter import Lab, copy_checkout, running_lab
from tests.tiny_photos import write_photos

HUES = [hsv_to_rgb(number / 12, 0.7, 200) for number in range(12)]
BREEDS = {f"{n:03d}.Breed_{n}": (int(red), int(green), int(blue)) for n, (red, green, blue) in enumerate(HUES, 1)}


@pytest.fixture(scope="module")
def lab(browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """JupyterLab on a checkout of its own, which has the photos in ``photos``."""
    home = tmp_path_factory.mktemp("lab")
    checkout = copy_checkout(home / "checkout")
    write_photos(checkout / "photos", train=30, valid=10, test=10, classes=BREEDS)
    with running_lab(home, checkout) as running:
        yield running
    localaws_cli("down", "--state", str(running.state), check=False)
