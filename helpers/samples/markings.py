"""Markings: which part of a dog has which of its colours. Each function gives (3, h, w) planes over a box."""

from __future__ import annotations

import math

import numpy as np

from helpers.samples.bones import Bone, Point
from helpers.samples.breeds import RGB
from helpers.samples.canvas import Array, Box, mix, planes, ramp
from helpers.samples.dogs import Dog


def darkened(colour: RGB, share: float, lift: float) -> RGB:
    """That share of the colour, and a little light in it."""
    r, g, b = (share * channel + lift for channel in colour)
    return r, g, b


def body(dog: Dog, box: Box) -> Array:
    """Trunk, neck and legs."""
    dress = dog.dress
    along, across, height = _on_the_body(dog, box)
    wobble = dress.texture("wire", box) * np.float32(0.25) + dress.texture("patches", box) * np.float32(0.35)
    colour = dress.patterned(box)
    match dress.pattern:
        case "solid":  # a paler or darker belly
            colour = mix(colour, dress.mark, ramp(across, 0.0, -1.0) * np.float32(0.35))
        case "saddle":
            back = ramp(across + wobble, 0.15, 0.40) * ramp(along + wobble, 1.45, 1.25)
            colour = mix(colour, dress.mark, back)
        case "points":  # feet and chest
            top = 0.34 if dog.pose.sitting else 0.62
            colour = mix(colour, dress.mark, ramp(height, top, top - 0.12))
            colour = mix(colour, dress.mark, ramp(along, 1.08, 1.18) * ramp(across, 0.35, 0.15))
        case "mantle":
            colour = mix(colour, dress.mark, ramp(along + wobble, 0.80, 0.72) * ramp(height + wobble, 0.45, 0.60))
    if dog.breed.trim:
        chest = ramp(along + wobble, 1.15, 1.30) * ramp(across + wobble, 0.75, 0.55)
        feet, belly = ramp(height + wobble, 0.75, 0.60), ramp(across + wobble, -0.45, -0.65)
        colour = mix(colour, dress.white, np.maximum(np.maximum(chest, feet), belly))
    return colour


def _on_the_body(dog: Dog, box: Box) -> tuple[Array, Array, Array]:
    """Where each pixel is on the dog: along the back (0 hip, 1 shoulder), across it (1 its line, -1 belly), and over
    the ground, in lengths of the foreleg."""
    hip, chest, scale = dog.view.point(dog.bones.hip), dog.view.point(dog.bones.chest), dog.view.scale
    x, y = box.grid()
    dx, dy = chest.x - hip.x, chest.y - hip.y
    length = math.sqrt(dx * dx + dy * dy)
    px, py = x - np.float32(hip.x), y - np.float32(hip.y)
    along = (px * np.float32(dx) + py * np.float32(dy)) * np.float32(1 / (length * length))
    upwards = (1 if dx > 0 else -1) / (length * dog.breed.chest * scale)
    across = (px * np.float32(dy) - py * np.float32(dx)) * np.float32(upwards)
    height = (np.float32(dog.view.ground) - y) * np.float32(1 / (max(dog.bones.elbow, 0.14) * scale))
    return along, across, height + np.zeros_like(along)


def tail(dog: Dog, box: Box) -> Array:
    """Like the back, and white at its tip."""
    dress = dog.dress
    colour = dress.patterned(box)
    if dress.pattern in ("saddle", "mantle"):
        colour = mix(colour, dress.mark, 0.8)
    if dog.breed.trim and dog.breed.tail != "docked":
        tip = _distance(box, dog.view.point(dog.bones.tail[-1].b)) * np.float32(1 / dog.view.scale)
        colour = mix(colour, dress.white, ramp(tip, 0.16, 0.12))
    return colour


def ear(dog: Dog, box: Box) -> Array:
    """Often like the marking; a little darker than the head, which sets it off."""
    dress = dog.dress
    match dress.pattern:
        case "patches" | "mantle":
            colour = planes(dress.mark)
        case "spots":
            colour = mix(dress.base, dress.mark, np.maximum(dress.texture("spots", box), 0.35))
        case "saddle":
            colour = mix(dress.base, dress.mark, 0.3)
        case _:
            colour = dress.patterned(box)
    return colour * np.float32(0.9)


def head(dog: Dog, box: Box) -> Array:
    """Skull and muzzle: blaze, mask, brows."""
    dress, bones, r = dog.dress, dog.bones.head, dog.breed.skull * dog.view.scale
    front = dog.view.point(bones.at(1.0, 0.3, 0))  # between the eyes
    x, y = box.grid()
    aside, above = (x - np.float32(front.x)) * np.float32(1 / r), (np.float32(front.y) - y) * np.float32(1 / r)
    muzzle = _to_bones(dog, bones.muzzle, box) * np.float32(1 / r)
    colour = planes(dress.base) if dress.pattern == "patches" else dress.patterned(box)
    match dress.pattern:
        case "patches":  # round the eyes
            forward = aside * np.float32(-1 if dog.view.flip else 1) + np.zeros_like(muzzle)
            colour = mix(colour, dress.mark, np.maximum(ramp(forward, -0.10, -0.16), ramp(forward, 0.25, 0.31)))
        case "points":  # cheeks and brows
            colour = mix(colour, dress.mark, ramp(muzzle + (above + np.float32(0.5)) * np.float32(0.9), 0.10, -0.05))
            for side in (0.4, -0.4):
                if bones.facing(0.68, 0.60, side) > 0.1:
                    brow = _distance(box, dog.view.point(bones.at(0.68, 0.60, side)))
                    colour = mix(colour, dress.mark, ramp(brow, 0.17 * r, 0.11 * r))
    if dog.breed.trim or dress.pattern == "patches":
        colour = mix(colour, dress.white, ramp(muzzle, 0.12, 0.02))
        if bones.facing(1.0, 0.3, 0) > 0.25:
            stripe = np.abs(aside) + np.maximum(above - np.float32(0.3), 0) * np.float32(0.35)
            colour = mix(colour, dress.white, ramp(stripe, 0.24, 0.16))
    if dog.breed.ruff and dress.pattern == "solid":  # a paler, foxy face
        colour = mix(colour, dress.mark, ramp(muzzle, 0.16, -0.06) * np.float32(0.6))
    if dog.breed.mask:
        colour = mix(colour, darkened(dress.mark, 0.35, 12), ramp(muzzle, 0.10, -0.12) * np.float32(0.85))
    return colour


def _to_bones(dog: Dog, bones: list[Bone], box: Box) -> Array:
    return dog.shape(bones, 0.01, box).distance


def _distance(box: Box, point: Point) -> Array:
    x, y = box.grid()
    x, y = x - np.float32(point.x), y - np.float32(point.y)
    return np.sqrt(x * x + y * y)
