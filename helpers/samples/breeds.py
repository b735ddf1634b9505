"""The drawn breeds: each is a handful of proportions, habits and colours."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from typing import Literal

RGB = tuple[float, float, float]  # 0..255
Ears = Literal["pricked", "cropped", "drooping", "button", "rose"]
Tail = Literal["docked", "straight", "whip", "bushy", "plume", "pompon"]
Coat = Literal["smooth", "wiry", "fluffy", "shaggy", "curly"]
Pattern = Literal["solid", "patches", "spots", "saddle", "points", "brindle", "mantle"]

COLOURS: dict[str, RGB] = {
    "black": (52, 48, 54),
    "brown": (112, 72, 48),
    "liver": (136, 84, 58),
    "red": (190, 108, 56),
    "tan": (208, 152, 98),
    "gold": (224, 172, 96),
    "fawn": (218, 180, 132),
    "cream": (240, 220, 182),
    "white": (248, 244, 236),
    "grey": (146, 148, 156),
    "blue": (98, 108, 128),
}


@dataclass(frozen=True, kw_only=True)
class Breed:
    """What a breed is known by. Lengths are in dog units: a medium dog measures about one from nose to tail."""

    folder: str  # as in the real data set: "057.Dalmatian"
    leg: float  # ground to elbow
    body: float  # hip to shoulder
    chest: float  # radius of the rib cage
    loin: float  # radius of the waist
    neck: float
    skull: float  # radius
    muzzle: float  # length in front of the skull
    snout: float  # radius at the nose
    bone: float  # radius of a leg
    ears: Ears
    ear: float  # length
    tail: Tail
    coat: Coat
    patterns: tuple[Pattern, ...]
    colours: tuple[tuple[str, str], ...]  # (ground, marking), any of which a dog of this breed may have
    trim: bool = False  # white chest, feet, blaze and tail tip
    mask: bool = False  # dark face
    pompons: bool = False  # the clip of a show poodle
    ruff: float = 0.0  # how much hair widens the neck

    @property
    def name(self) -> str:
        """The folder without its number."""
        return self.folder.partition(".")[2]

    def individual(self, rng: random.Random) -> Breed:
        """One dog of the breed: no two have quite the same proportions."""
        lengths = ("leg", "body", "chest", "loin", "neck", "skull", "muzzle", "snout", "bone", "ear")
        return replace(self, **{length: getattr(self, length) * rng.uniform(0.93, 1.07) for length in lengths})


# Breeds share their colours, and each has several: colour alone does not tell them apart, shape and texture do.
# fmt: off
BREEDS: tuple[Breed, ...] = (
    Breed(
        folder="003.Airedale_terrier",
        leg=0.42, body=0.48, chest=0.200, loin=0.170, bone=0.052, neck=0.18, skull=0.150, muzzle=0.21, snout=0.092,
        ears="button", ear=0.15, tail="straight", coat="wiry", patterns=("saddle",),
        colours=(("tan", "black"), ("red", "black"), ("fawn", "grey"), ("tan", "brown")),
    ),
    Breed(
        folder="016.Beagle",
        leg=0.29, body=0.48, chest=0.195, loin=0.165, bone=0.050, neck=0.13, skull=0.175, muzzle=0.14, snout=0.085,
        ears="drooping", ear=0.25, tail="straight", coat="smooth", patterns=("saddle", "patches"), trim=True,
        colours=(("tan", "black"), ("red", "black"), ("tan", "brown"), ("gold", "liver")),
    ),
    Breed(
        folder="034.Boxer",
        leg=0.38, body=0.46, chest=0.225, loin=0.160, bone=0.055, neck=0.13, skull=0.185, muzzle=0.075, snout=0.115,
        ears="button", ear=0.13, tail="docked", coat="smooth", patterns=("brindle", "solid"), trim=True, mask=True,
        colours=(("fawn", "black"), ("red", "black"), ("tan", "brown"), ("grey", "black")),
    ),
    Breed(
        folder="056.Dachshund",
        leg=0.12, body=0.76, chest=0.165, loin=0.145, bone=0.050, neck=0.13, skull=0.145, muzzle=0.20, snout=0.056,
        ears="drooping", ear=0.27, tail="whip", coat="smooth", patterns=("solid", "points"),
        colours=(("red", "tan"), ("black", "tan"), ("liver", "tan"), ("cream", "fawn"), ("blue", "fawn")),
    ),
    Breed(
        folder="057.Dalmatian",
        leg=0.44, body=0.52, chest=0.195, loin=0.150, bone=0.046, neck=0.18, skull=0.165, muzzle=0.15, snout=0.084,
        ears="drooping", ear=0.19, tail="whip", coat="smooth", patterns=("spots",),
        colours=(("white", "black"), ("white", "liver"), ("white", "gold"), ("cream", "brown"), ("white", "blue")),
    ),
    Breed(
        folder="059.Doberman_pinscher",
        leg=0.48, body=0.48, chest=0.205, loin=0.140, bone=0.048, neck=0.20, skull=0.145, muzzle=0.22, snout=0.070,
        ears="cropped", ear=0.22, tail="docked", coat="smooth", patterns=("points",),
        colours=(("black", "tan"), ("liver", "tan"), ("blue", "tan"), ("fawn", "cream"), ("brown", "gold")),
    ),
    Breed(
        folder="071.German_shepherd_dog",
        leg=0.36, body=0.58, chest=0.210, loin=0.170, bone=0.054, neck=0.17, skull=0.165, muzzle=0.19, snout=0.074,
        ears="pricked", ear=0.22, tail="bushy", coat="fluffy", patterns=("saddle",), mask=True, ruff=0.03,
        colours=(("tan", "black"), ("gold", "black"), ("cream", "grey"), ("red", "black"), ("white", "cream")),
    ),
    Breed(
        folder="081.Greyhound",
        leg=0.54, body=0.56, chest=0.200, loin=0.100, bone=0.038, neck=0.25, skull=0.120, muzzle=0.23, snout=0.050,
        ears="rose", ear=0.15, tail="whip", coat="smooth", patterns=("solid", "brindle", "patches"),
        colours=(("fawn", "brown"), ("grey", "black"), ("tan", "black"), ("black", "grey"), ("red", "black")),
    ),
    Breed(
        folder="113.Old_english_sheepdog",
        leg=0.28, body=0.46, chest=0.265, loin=0.260, bone=0.085, neck=0.08, skull=0.220, muzzle=0.10, snout=0.110,
        ears="drooping", ear=0.20, tail="docked", coat="shaggy", patterns=("mantle",), ruff=0.05,
        colours=(("white", "grey"), ("white", "blue"), ("cream", "grey"), ("white", "black"), ("white", "tan")),
    ),
    Breed(
        folder="118.Pembroke_welsh_corgi",
        leg=0.14, body=0.60, chest=0.190, loin=0.180, bone=0.056, neck=0.12, skull=0.170, muzzle=0.15, snout=0.060,
        ears="pricked", ear=0.25, tail="docked", coat="fluffy", patterns=("solid", "saddle"), trim=True, ruff=0.03,
        colours=(("red", "black"), ("gold", "brown"), ("tan", "black"), ("fawn", "grey"), ("black", "red")),
    ),
    Breed(
        folder="123.Pomeranian",
        leg=0.14, body=0.26, chest=0.225, loin=0.205, bone=0.040, neck=0.05, skull=0.180, muzzle=0.08, snout=0.050,
        ears="pricked", ear=0.155, tail="plume", coat="fluffy", patterns=("solid",), ruff=0.10,
        colours=(("gold", "cream"), ("red", "gold"), ("white", "cream"), ("black", "grey"), ("cream", "white"),
                 ("brown", "tan")),
    ),
    Breed(
        folder="124.Poodle",
        leg=0.46, body=0.42, chest=0.195, loin=0.160, bone=0.052, neck=0.22, skull=0.150, muzzle=0.20, snout=0.054,
        ears="drooping", ear=0.25, tail="pompon", coat="curly", patterns=("solid",), pompons=True,
        colours=(("white", "cream"), ("black", "grey"), ("fawn", "tan"), ("grey", "blue"), ("brown", "liver"),
                 ("red", "tan")),
    ),
)
# fmt: on


def breed_named(folder: str) -> Breed:
    """The drawn breed of that class folder; ValueError, naming those there are, for any other."""
    for breed in BREEDS:
        if breed.folder == folder:
            return breed
    raise ValueError(f"no drawn breed is called {folder!r}; there are {', '.join(breed.folder for breed in BREEDS)}")
