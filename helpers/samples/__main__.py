"""``python -m helpers.samples SHARE SHARES FOLDER BREEDS TRAIN VALID TEST SEED SIZE``: draw one share of a set."""

import sys
from pathlib import Path

from helpers.samples import draw_share

draw_share(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]), *map(int, sys.argv[4:]))
