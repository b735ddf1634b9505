"""One picture: a place, a dog before it, and the light on both."""

from __future__ import annotations

import math
import random

import numpy as np
from PIL import Image, ImageFilter

from helpers.samples.bodies import paint_body
from helpers.samples.breeds import Breed, breed_named
from helpers.samples.canvas import Array, Box, Canvas, planes, ramp
from helpers.samples.dogs import Dog
from helpers.samples.faces import paint_head
from helpers.samples.places import PLACES, Place

OVERSAMPLE = 2  # drawn that much larger, then averaged down


def draw_dog(breed: str | Breed, seed: int | str = 0, size: int = 160) -> Image.Image:
    """One RGB picture of (size, size): the breed in the pose, coat, place and light that `seed` gives.

    Raises ValueError for a breed that is not drawn.
    """
    if isinstance(breed, str):
        breed = breed_named(breed)
    rng, drawn = random.Random(f"{breed.folder}/{seed}"), size * OVERSAMPLE
    place = Place(Image.new("RGB", (drawn, drawn)), rng, ground=rng.uniform(0.82, 0.97))
    rng.choice(PLACES)(place)
    behind = place.image.filter(ImageFilter.BoxBlur(drawn * rng.uniform(0.002, 0.008)))  # the dog is in focus
    canvas = Canvas(np.asarray(behind, np.float32).transpose(2, 0, 1).copy(), light=_light(rng))
    dog = Dog.draw(breed, canvas, place.ground, rng)
    paint_body(dog)
    paint_head(dog)
    _expose(canvas.pixels, rng)
    pixels = np.clip(canvas.pixels + np.float32(0.5), 0, 255).astype(np.uint8)
    return Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0))).reduce(OVERSAMPLE)


def _light(rng: random.Random) -> tuple[float, float, float]:
    """Towards the light: from the left or right, above, and the viewer's side."""
    x, y, z = rng.choice([-1, 1]) * rng.uniform(0.35, 0.75), -rng.uniform(0.55, 0.85), rng.uniform(0.55, 0.75)
    length = math.sqrt(x * x + y * y + z * z)
    return x / length, y / length, z / length


def _expose(pixels: Array, rng: random.Random) -> None:
    """Daylight and camera, in place: a side in shade, brightness, contrast, colour temperature."""
    size = pixels.shape[1]
    x, y = Box(0, size, 0, size).grid()
    slant = (x * np.float32(rng.uniform(-1, 1)) + y * np.float32(rng.uniform(-0.6, 0.6))) * np.float32(1 / size)
    edge = rng.uniform(-0.3, 0.3)
    shade = ramp(slant, edge - 0.4, edge + 0.4) * np.float32(rng.uniform(0, 0.24))
    warmth, contrast, brightness = rng.uniform(-0.09, 0.09), rng.uniform(0.88, 1.12), rng.uniform(0.93, 1.16)
    gain = contrast * brightness
    pixels *= planes(((1 + warmth) * gain, gain, (1 - warmth) * gain))
    pixels *= 1 - shade
    pixels += np.float32(124 * (1 - contrast))
