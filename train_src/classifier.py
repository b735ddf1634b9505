"""The classifier: how a photo becomes numbers, and numbers become breeds.

Training and serving both import this file, and the artefact carries a copy of it. So there is one way to decode a
photo, one way to crop it, one way to build the network and one way to run it, and the endpoint cannot answer
differently from the evaluation that judged the model.

    classifier = Classifier.load("model")                       # the folder that train.py wrote
    photo = classifier.preprocessing.read(Path("rex.jpg"))      # uint8, (size, size, 3)
    probabilities = classifier.predict([photo])                 # float32, (1, classes)
    classifier.answers(probabilities[0], top_k=3)               # [{"breed": "Beagle", "class": "007.Beagle", ...}, ...]

Needs only torch, torchvision, numpy and Pillow, and runs under torch 2.10 (AWS's serving image) as under 2.14 (its
training image): an artefact is a plain state_dict and JSON, with no pickled code in it.
"""

import contextlib
import copy
import ctypes
import difflib
import io
import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor, nn
from torchvision import models

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

# What a decoder may be asked to do. 50 million pixels is the largest phone photo; a few kilobytes of PNG can be more.
PHOTO_FORMATS = ("JPEG", "PNG")
MAX_PIXELS = 50_000_000

Pixels = NDArray[np.uint8]

log = logging.getLogger("classifier")


class BadPhoto(ValueError):
    """These bytes are not a photo we can read: not a JPEG or PNG, cut short, or absurdly large."""


class BadModel(ValueError):
    """No such architecture, or weights that do not fit the one asked for."""


# ---------------------------------------------------------------------------------------------------------------------
# From a file to pixels


def decode(source: bytes | Path) -> Image.Image:
    """An upright RGB image from the bytes of a JPEG or PNG, or from such a file. Raises BadPhoto."""
    try:
        return _upright(_load(source))
    except BadPhoto:
        raise
    except UnidentifiedImageError as error:  # its own message would show the address of a buffer
        raise BadPhoto("not a readable JPEG or PNG photo") from error
    except Exception as error:  # a decoder fed with a stranger's bytes may raise anything at all
        raise BadPhoto(f"not a readable JPEG or PNG photo: {error}") from error


def _load(source: bytes | Path) -> Image.Image:
    image = Image.open(io.BytesIO(source) if isinstance(source, bytes) else source, formats=PHOTO_FORMATS)
    if image.width * image.height > MAX_PIXELS:  # known from the header, before a pixel is unpacked
        raise BadPhoto(f"{image.width} x {image.height} pixels is more than the {MAX_PIXELS:,} that are accepted")
    # libjpeg can decode straight to 1/2, 1/4 or 1/8; it stops while both sides are still at least this long.
    image.draft("RGB", (512, 512))
    image.load()
    return image


def _upright(image: Image.Image) -> Image.Image:
    with contextlib.suppress(Exception):  # damaged EXIF data says nothing about the picture itself
        image = ImageOps.exif_transpose(image)
    return image.convert("RGB")


@dataclass(frozen=True)
class Preprocessing:
    """Evaluation's view of a photo: shorter side to `resize`, the `crop` x `crop` centre, then (x - mean) / std."""

    resize: int = 256
    crop: int = 224
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD

    @classmethod
    def for_size(cls, size: int) -> "Preprocessing":
        """The usual 224-of-256 centre crop, at another size."""
        return cls(resize=round(size * 256 / 224), crop=size)

    def read(self, source: bytes | Path) -> Pixels:
        """The centre crop as uint8 pixels, shape (crop, crop, 3). Raises BadPhoto."""
        return self.centre(decode(source))

    def centre(self, image: Image.Image) -> Pixels:
        """Resize and centre crop in one step: only the part that is kept is resampled."""
        side = min(image.size) * self.crop / self.resize
        left, top = (image.width - side) / 2, (image.height - side) / 2
        return resample(image, (left, top, left + side, top + side), self.crop)

    def normalise(self, pixels: Tensor) -> Tensor:
        """uint8 (n, crop, crop, 3) to float32 (n, 3, crop, crop), in channels-last memory order as it was."""
        mean = torch.tensor(self.mean, device=pixels.device).view(1, 3, 1, 1) * 255
        std = torch.tensor(self.std, device=pixels.device).view(1, 3, 1, 1) * 255
        return pixels.permute(0, 3, 1, 2).float().sub_(mean).div_(std)


def resample(image: Image.Image, box: tuple[float, float, float, float], size: int) -> Pixels:
    """The part of the image inside `box` (left, top, right, bottom) as size x size pixels."""
    return np.array(image.resize((size, size), Image.Resampling.BILINEAR, box=box))


# ---------------------------------------------------------------------------------------------------------------------
# The network


class SmallCNN(nn.Sequential):
    """Four stages of two 3x3 convolutions, each at half the size and twice the width: 0.3 million weights.

    For learning a few hundred simple pictures from scratch on a processor: on the drawn dogs it is better after a third
    of the time than ResNet-18, which has forty times the weights to find, to step and to save in every checkpoint.
    """

    def __init__(self, num_classes: int, width: int = 16) -> None:
        widths = [3] + [width << stage for stage in range(4)]
        stages = [self._stage(*pair) for pair in pairwise(widths)]
        super().__init__(*stages, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(widths[-1], num_classes))

    @staticmethod
    def _stage(inputs: int, outputs: int) -> nn.Sequential:
        layers: list[nn.Module] = []
        for channels, stride in ((inputs, 2), (outputs, 1)):
            layers += [nn.Conv2d(channels, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
        return nn.Sequential(*layers)


OWN = {"small_cnn": SmallCNN}


def architectures() -> list[str]:
    """Every torchvision classification architecture by name, and our own."""
    return [*OWN, *models.list_models(module=models)]


def build_model(architecture: str, classes: int, image_size: int) -> nn.Module:
    """A classifier with fresh weights and a last layer of `classes` outputs. Raises BadModel."""
    if architecture not in architectures():
        near = difflib.get_close_matches(architecture, architectures()) or ["mobilenet_v2", "resnet18", "resnet50"]
        raise BadModel(
            f"torchvision has no classification architecture {architecture!r}; did you mean {', '.join(near)}?"
        )
    if architecture in OWN:
        return OWN[architecture](classes)
    options = {"num_classes": classes, **_options(architecture, image_size)}
    try:
        model: nn.Module = models.get_model(architecture, weights=None, **options)
    except (AssertionError, ValueError) as error:
        raise BadModel(f"{architecture} cannot be built for images of {image_size} pixels: {error}") from error
    return _pool_first(model)


def _options(architecture: str, image_size: int) -> dict[str, Any]:
    """What a family needs to know beyond its number of classes."""
    if architecture.startswith("vit_"):
        return {"image_size": image_size}
    if architecture.startswith("maxvit"):
        return {"input_size": (image_size, image_size)}
    if architecture in ("googlenet", "inception_v3"):  # the auxiliary heads only ever served their original training
        return {"aux_logits": False, "init_weights": True}
    return {}


def _pool_first(model: nn.Module) -> nn.Module:
    """Give SqueezeNet the head all others have: a linear map of one pooled feature vector.

    Its own head is a convolution before the pooling, with a ReLU that cannot say "less likely than nothing". Pooling
    first leaves one vector per photo, which is what can be cached when the trunk is frozen.
    """
    if isinstance(model, models.SqueezeNet):
        classes = model.num_classes
        model.classifier = nn.Sequential(nn.Dropout(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, classes))
    return model


def head_name(model: nn.Module) -> str:
    """The name of the last linear layer, which maps features to classes in every torchvision classifier."""
    linear = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    return str(linear[-1])


def load_pretrained(model: nn.Module, weights: Path) -> None:
    """Fill all but the head from a torchvision state_dict, made for any number of classes. Raises BadModel."""
    try:
        state = torch.load(weights, map_location="cpu", weights_only=True)
        state = {name: tensor for name, tensor in state.items() if isinstance(tensor, Tensor)}
    except Exception as error:
        raise BadModel(f"{weights} is not a torchvision state_dict: {error}") from error
    head = head_name(model).removesuffix(".3" if isinstance(model, models.SqueezeNet) else "") + "."
    trunk = {name: value for name, value in state.items() if not name.startswith((head, "aux", "AuxLogits"))}
    _check_fit(weights, model, trunk, head)
    model.load_state_dict(trunk, strict=False)


def _check_fit(weights: Path, model: nn.Module, trunk: dict[str, Tensor], head: str) -> None:
    wanted = {name: value.shape for name, value in model.state_dict().items() if not name.startswith(head)}
    given = {name: value.shape for name, value in trunk.items()}
    # Files from before 2018 have no such counters; they count batches and change no result.
    wrong = [name for name in wanted.keys() | given.keys() if wanted.get(name) != given.get(name)]
    wrong = sorted(name for name in wrong if not name.endswith("num_batches_tracked"))
    if wrong:
        name, more = wrong[0], f", and {len(wrong) - 1} more" if len(wrong) > 1 else ""
        problem = f"{name} has shape {_shape(given.get(name))} there and {_shape(wanted.get(name))} here{more}"
        raise BadModel(f"{weights} does not fit {type(model).__name__}: {problem}")


def _shape(shape: torch.Size | None) -> str:
    return "(absent)" if shape is None else str(tuple(shape))


# ---------------------------------------------------------------------------------------------------------------------
# The classifier


class Classifier:
    """A network ready to predict, with all that its answers mean."""

    def __init__(
        self,
        model: nn.Module,
        architecture: str,
        classes: Sequence[str],
        preprocessing: Preprocessing,
        device: torch.device | str = "cpu",
    ) -> None:
        self.architecture = architecture
        self.classes = list(classes)
        self.preprocessing = preprocessing
        self.device = torch.device(device)
        self.model = for_inference(model).to(self.device)

    @classmethod
    def load(cls, model_dir: Path | str, device: torch.device | str = "cpu") -> "Classifier":
        """From the folder that `train.py` wrote: model.json and model.pt."""
        card = json.loads((Path(model_dir) / "model.json").read_text())
        classes = [entry["class"] for entry in card["classes"]]
        view = card["preprocessing"]
        preprocessing = Preprocessing(view["resize"], view["crop"], tuple(view["mean"]), tuple(view["std"]))
        model = build_model(card["architecture"], len(classes), preprocessing.crop)
        model.load_state_dict(torch.load(Path(model_dir) / "model.pt", map_location="cpu", weights_only=True))
        return cls(model, card["architecture"], classes, preprocessing, device)

    def predict(self, photos: Sequence[Pixels] | Pixels | Tensor) -> Tensor:
        """Probabilities (n, classes), float32 on the CPU, for n photos of (crop, crop, 3) uint8 pixels."""
        return self.logits(photos).softmax(dim=1)

    @torch.inference_mode()
    def logits(self, photos: Sequence[Pixels] | Pixels | Tensor) -> Tensor:
        """The network's outputs before the softmax, (n, classes).

        In full fp32: which photos happen to share a batch then changes a probability by about a millionth. bf16 would
        leave two digits, and is no faster on most processors once batch-norm is folded into the convolutions.
        """
        pixels = photos if isinstance(photos, Tensor) else torch.from_numpy(np.stack(list(photos)))
        logits: Tensor = self.model(self.preprocessing.normalise(pixels.to(self.device)))
        return logits.float().cpu()

    def answers(self, probabilities: Tensor, top_k: int = 5) -> list[dict[str, str | float]]:
        """The `top_k` likeliest classes of one photo, best first."""
        values, indices = probabilities.topk(min(top_k, len(self.classes)))
        found = [(self.classes[index], value) for value, index in zip(values.tolist(), indices.tolist(), strict=True)]
        return [{"breed": breed_name(name), "class": name, "probability": round(value, 6)} for name, value in found]

    def summary(self) -> dict[str, str | int]:
        """What an answer should say about the model it is from."""
        return {"architecture": self.architecture, "classes": len(self.classes), "image_size": self.preprocessing.crop}


def breed_name(class_name: str) -> str:
    """A folder's name as people say it: "004.Saint_Bernard" is "Saint Bernard"."""
    number, dot, name = class_name.partition(".")
    return (name if dot and number.isdigit() else class_name).replace("_", " ")


def describe(classes: Sequence[str], preprocessing: Preprocessing) -> dict[str, Any]:
    """The part of model.json that `Classifier.load` reads back."""
    named = [{"index": index, "class": name, "breed": breed_name(name)} for index, name in enumerate(classes)]
    return {"classes": named, "preprocessing": asdict(preprocessing)}


def for_inference(model: nn.Module) -> nn.Module:
    """A copy in evaluation mode, channels-last, with each batch-norm folded into the convolution before it."""
    model = copy.deepcopy(model).eval()
    try:
        from torch.fx.experimental.optimization import fuse

        model = fuse(model)
    except Exception as error:  # a network that torch.fx cannot trace is only slower: the answers are the same
        log.info("batch-norm stays unfolded: %s", error)
    # Channels-last is the order the pixels come in, and the one oneDNN and cuDNN are fastest in.
    return model.to(memory_format=torch.channels_last)


def keep_freed_memory() -> None:
    """Tell glibc to keep the big blocks torch frees instead of handing them back to the kernel at once.

    By default each activation is mapped afresh: some 20,000 page faults a photo, up to two thirds of the time on a CPU.
    One arena, since those of further threads cannot hold big blocks. A C library without mallopt is left as it is.
    """
    m_trim_threshold, m_mmap_threshold, m_arena_max = -1, -3, -8  # <malloc.h>
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        for option, value in ((m_mmap_threshold, 1 << 30), (m_trim_threshold, (1 << 31) - 1), (m_arena_max, 1)):
            mallopt(option, value)
