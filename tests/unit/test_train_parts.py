"""The parts of the training program, each by itself: sampling, metrics, photos, networks, checkpoints."""

import contextlib
import io
import itertools
import math
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.tiny_photos import CLASSES, TRAIN_SRC, encoded, picture, write_photos

sys.path.insert(0, str(TRAIN_SRC))
import torch
import train
import trainer
from classifier import (
    MAX_PIXELS,
    BadModel,
    BadPhoto,
    Classifier,
    Preprocessing,
    architectures,
    breed_name,
    build_model,
    decode,
    head_name,
    load_pretrained,
)
from dataset import BadData, Photos, check_classes, epoch_batches, list_photos, rank_share, share_start
from torch import nn

# -- every sample exactly once


@settings(deadline=None)
@given(st.integers(1, 400), st.integers(1, 80), st.integers(1, 6), st.integers(0, 5), st.booleans())
def test_an_epoch_sees_every_sample_once_whatever_the_ranks(samples, batch_size, ranks, epoch, apart):
    least = 2 * ranks if apart else 2
    batches = epoch_batches(samples, batch_size, least, seed=1, epoch=epoch)
    shares = [[rank_share(batch, rank, ranks) for rank in range(ranks)] for batch in batches]
    assert sorted(torch.cat([torch.cat(share) for share in shares]).tolist()) == list(range(samples))
    assert max(map(len, batches)) - min(map(len, batches)) <= 1
    for share in shares:
        assert max(map(len, share)) - min(map(len, share)) <= 1
    for batch, share in zip(batches, shares, strict=True):
        starts = [share_start(len(batch), rank, ranks) for rank in range(ranks)]
        assert starts == [0, *itertools.accumulate(map(len, share))][:-1]
    if samples >= ranks and samples >= 2 and batch_size >= 2 * ranks:
        assert min(map(len, batches)) >= 2
        assert min(len(part) for share in shares for part in share) >= (2 if apart and samples >= 2 * ranks else 1)


@given(st.integers(100, 400), st.integers(4, 80))
def test_batches_have_the_size_asked_for_where_there_are_samples_enough(samples, batch_size):
    batches = epoch_batches(samples, batch_size, 2, seed=0, epoch=0)
    assert max(map(len, batches)) <= batch_size
    assert len(batches) == math.ceil(samples / batch_size)


def test_the_order_depends_on_seed_and_epoch_and_on_nothing_else():
    def order(**place):
        return torch.cat(epoch_batches(100, 7, 2, **place)).tolist()

    assert order(seed=1, epoch=1) == order(seed=1, epoch=1)
    assert order(seed=1, epoch=1) != order(seed=1, epoch=2) != order(seed=2, epoch=2)
    assert order(seed=1, epoch=2) == torch.cat(epoch_batches(100, 33, 1, seed=1, epoch=2)).tolist()


# -- metrics


def test_metrics_are_per_sample_however_uneven_the_batches():
    torch.manual_seed(0)
    logits, labels = torch.randn(23, 7), torch.randint(7, (23,))
    sums = sum(train.tally(logits[part], labels[part]) for part in (slice(0, 10), slice(10, 20), slice(20, 23)))
    expected = nn.functional.cross_entropy(logits.double(), labels).item()
    ranks = (logits > logits.gather(1, labels[:, None])).sum(1)
    found = train.metrics(sums)
    assert found["loss"] == pytest.approx(expected, rel=1e-12)
    assert found["top1"] == (ranks < 1).double().mean().item()
    assert found["top5"] == (ranks < 5).double().mean().item()


def test_top_five_of_three_classes_is_always_right():
    assert train.metrics(train.tally(torch.eye(3), torch.tensor([1, 2, 0])))["top5"] == 1.0


def test_the_learning_rate_rises_then_falls_to_nothing():
    rates = [trainer.schedule(step / 100) for step in range(101)]
    assert rates[0] == 0
    assert max(rates) == rates[10] == 1
    assert rates[100] == pytest.approx(0)
    assert rates[10:] == sorted(rates[10:], reverse=True)


# -- photos


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_photo_is_read_the_same_from_file_and_bytes(tmp_path, kind):
    content = encoded(picture((200, 50, 50), 1, (300, 200)), kind)
    (tmp_path / "photo").write_bytes(content)
    view = Preprocessing.for_size(64)
    pixels = view.read(content)
    assert pixels.shape == (64, 64, 3)
    assert pixels.dtype == np.uint8
    assert np.array_equal(pixels, view.read(tmp_path / "photo"))


def test_the_centre_is_what_is_seen():
    image = Image.new("RGB", (400, 200), "blue")
    image.paste("red", (130, 30, 270, 170))  # the crop takes 224/256 of the shorter side: 175 pixels about the centre
    pixels = Preprocessing.for_size(224).centre(image)
    assert pixels[112, 112].tolist() == [255, 0, 0]
    assert pixels[0, 0].tolist() == pixels[-1, -1].tolist() == [0, 0, 255]
    reds = (pixels[112, :, 0] == 255).sum()
    assert abs(reds - 140 / 175 * 224) < 3


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photo_is_turned_upright(orientation):
    upright = Image.new("RGB", (64, 32), "white")
    upright.paste("red", (0, 0, 32, 16))
    exif = Image.Exif()
    exif[0x0112] = orientation
    turns = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # what the camera did: the inverse of what a reader has to do
    stored = upright.transpose(Image.Transpose(turns[orientation])) if orientation > 1 else upright
    shown = decode(encoded(stored, "PNG", exif=exif))
    assert shown.size == (64, 32)
    assert shown.getpixel((5, 5)) == (255, 0, 0)
    assert shown.getpixel((60, 30)) == shown.getpixel((60, 5)) == (255, 255, 255)


def test_normalisation_is_that_of_the_weights():
    view = Preprocessing.for_size(8)
    pixels = torch.randint(256, (2, 8, 8, 3), dtype=torch.uint8)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    expected = ((pixels / 255 - mean) / std).permute(0, 3, 1, 2)
    found = view.normalise(pixels)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    assert found.is_contiguous(memory_format=torch.channels_last)


def bomb() -> bytes:
    """A few kilobytes of PNG that claim to be a wall of a house."""
    side = math.isqrt(MAX_PIXELS) + 100
    return encoded(Image.new("1", (side, side)), "PNG", optimize=True)


BAD_PHOTOS = {
    "nothing": b"",
    "text": b"this is no photo",
    "cut short": encoded(picture((1, 2, 3), 1))[:-300],
    "only a header": encoded(picture((1, 2, 3), 1), "PNG")[:60],
    "another format": encoded(picture((1, 2, 3), 1), "GIF"),
    "huge": bomb(),
}


@pytest.mark.parametrize("content", BAD_PHOTOS.values(), ids=BAD_PHOTOS)
def test_what_is_no_photo_is_refused(content):
    with pytest.raises(BadPhoto):
        decode(content)


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_no_damage_does_worse_than_refusal(data):
    content = bytearray(encoded(picture((100, 50, 20), 1, (20, 20)), data.draw(st.sampled_from(["JPEG", "PNG"]))))
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(BadPhoto):
        assert Preprocessing.for_size(16).read(bytes(content)).shape == (16, 16, 3)


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "1", "I;16"])
def test_every_kind_of_photo_becomes_rgb(mode):
    image = Image.new("I;16", (40, 40), 3000) if mode == "I;16" else picture((90, 120, 30), 2).convert(mode)
    assert decode(encoded(image, "JPEG" if mode == "CMYK" else "PNG")).mode == "RGB"


def test_augmentation_belongs_to_seed_epoch_and_photo(tmp_path):
    split = list_photos("train", write_photos(tmp_path) / "train")

    def batch(seed, epoch, order, threads):
        with ThreadPoolExecutor(threads) as pool:
            photos = Photos(split, Preprocessing.for_size(16), torch.device("cpu"), pool, augment_seed=seed)
            (pixels,) = photos.pixels([torch.tensor(order)], epoch)
        return pixels

    first = batch(0, 0, [0, 1, 2], threads=1)
    assert torch.equal(first, batch(0, 0, [2, 1, 0], threads=3).flip(0))
    assert not torch.equal(first, batch(0, 1, [0, 1, 2], threads=1))
    assert not torch.equal(first, batch(1, 0, [0, 1, 2], threads=1))


def test_batches_come_in_order_and_complete(tmp_path):
    split = list_photos("train", write_photos(tmp_path) / "train")
    with ThreadPoolExecutor(2) as pool:
        photos = Photos(split, Preprocessing.for_size(8), torch.device("cpu"), pool)
        whole = torch.cat(list(photos.pixels([torch.arange(21)])))
        parts = torch.cat(list(photos.pixels(list(torch.arange(21).split(4)))))
    assert torch.equal(whole, parts)


# -- splits


def test_classes_and_photos_are_listed_in_order(tmp_path):
    folder = write_photos(tmp_path) / "train"
    (folder / ".DS_Store").write_text("")
    (folder / "notes.txt").write_text("")
    (folder / "001.Red_setter" / "Thumbs.db").write_text("")
    (folder / "001.Red_setter" / "._000.jpg").write_text("")
    split = list_photos("train", folder)
    assert split.classes == list(CLASSES)
    assert split.files == sorted(split.files)
    assert split.labels.tolist() == [0] * 7 + [1] * 7 + [2] * 7


def test_a_missing_or_empty_class_is_named(tmp_path):
    write_photos(tmp_path)
    splits = [list_photos(name, tmp_path / name) for name in ("train", "valid", "test")]
    check_classes(splits)
    for photo in (tmp_path / "valid" / "002.Blue_heeler").iterdir():
        photo.unlink()
    with pytest.raises(BadData, match=r"valid.002\.Blue_heeler holds no"):
        list_photos("valid", tmp_path / "valid")
    (tmp_path / "valid" / "002.Blue_heeler").rmdir()
    with pytest.raises(BadData, match=r"'002\.Blue_heeler' is in train but not in valid"):
        check_classes([splits[0], list_photos("valid", tmp_path / "valid"), splits[2]])
    with pytest.raises(BadData, match="does not exist"):
        list_photos("train", tmp_path / "nowhere")
    with pytest.raises(BadData, match="two to classify"):
        list_photos("train", tmp_path / "train" / "001.Red_setter")


def test_breeds_are_named_as_people_name_them():
    assert breed_name("004.Saint_Bernard") == "Saint Bernard"
    assert breed_name("poodle") == "poodle"
    assert breed_name("no.1_dog") == "no.1 dog"


# -- networks

FAMILIES = [
    *("alexnet", "convnext_tiny", "densenet121", "efficientnet_b0", "efficientnet_v2_s", "googlenet", "inception_v3"),
    *("maxvit_t", "mnasnet0_5", "mobilenet_v2", "mobilenet_v3_small", "resnet18", "resnext50_32x4d", "small_cnn"),
    "swin_t",
    *("shufflenet_v2_x0_5", "squeezenet1_0", "squeezenet1_1", "swin_v2_t", "vgg11", "vgg16_bn", "vit_b_32"),
    "wide_resnet50_2",
]


@pytest.mark.parametrize("architecture", FAMILIES)
def test_every_family_gets_a_linear_head_of_the_right_size(architecture):
    with torch.device("meta"):  # shapes without numbers: nothing is allocated or computed
        model = build_model(architecture, classes=7, image_size=224).eval()
        photos = torch.empty(2, 3, 224, 224)
        name = head_name(model)
        width = model.get_submodule(name).in_features
        assert model(photos).shape == (2, 7)
        model.set_submodule(name, nn.Identity())
        assert model(photos).shape == (2, width)


def test_regnet_too():
    model = build_model("regnet_y_400mf", 5, 32)  # cannot be built without numbers
    assert model.get_submodule(head_name(model)).out_features == 5


def test_an_unknown_architecture_is_refused_with_a_suggestion():
    with pytest.raises(BadModel, match="resnet50"):
        build_model("resnet5O", 3, 64)
    with pytest.raises(BadModel):
        build_model("fasterrcnn_resnet50_fpn", 3, 64)
    assert "mobilenet_v2" in architectures()


def test_an_impossible_image_size_is_refused():
    with pytest.raises(BadModel, match="50"):
        build_model("vit_b_32", 3, 50)


@pytest.mark.parametrize("architecture", ["shufflenet_v2_x0_5", "squeezenet1_1"])
def test_pretrained_weights_fill_all_but_the_head(tmp_path, architecture):
    from torchvision import models

    torch.manual_seed(1)
    given = models.get_model(architecture, weights=None)
    torch.save(given.state_dict(), tmp_path / "weights.pth")
    model = build_model(architecture, 5, 64)
    head = head_name(model)
    before = model.get_submodule(head).weight.clone()
    load_pretrained(model, tmp_path / "weights.pth")
    assert torch.equal(model.get_submodule(head).weight, before)
    trunk = {name: value for name, value in model.state_dict().items() if not name.startswith(head)}
    assert all(torch.equal(value, given.state_dict()[name]) for name, value in trunk.items())


def test_weights_that_do_not_fit_are_refused(tmp_path):
    model = build_model("shufflenet_v2_x0_5", 5, 64)
    torch.save(build_model("shufflenet_v2_x1_0", 5, 64).state_dict(), tmp_path / "wider.pth")
    torch.save(build_model("squeezenet1_1", 5, 64).state_dict(), tmp_path / "other.pth")
    torch.save({"weights": [1, 2]}, tmp_path / "odd.pth")
    (tmp_path / "damaged.pth").write_bytes((tmp_path / "wider.pth").read_bytes()[:1000])
    torch.save(model, tmp_path / "pickled.pth")
    for name in ("wider", "other", "odd"):
        with pytest.raises(BadModel, match="does not fit ShuffleNetV2"):
            load_pretrained(model, tmp_path / f"{name}.pth")
    for name in ("damaged", "pickled"):
        with pytest.raises(BadModel, match="not a torchvision state_dict"):
            load_pretrained(model, tmp_path / f"{name}.pth")


def test_an_answer_does_not_depend_on_who_shares_the_batch():
    torch.manual_seed(0)
    view = Preprocessing.for_size(32)
    classifier = Classifier(build_model("shufflenet_v2_x0_5", 5, 32), "shufflenet_v2_x0_5", list("abcde"), view)
    photos = [view.centre(picture((20 * seed, 100, 50), seed)) for seed in range(9)]
    together = classifier.predict(photos)
    alone = torch.cat([classifier.predict([photo]) for photo in photos])
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-6)
    assert together.sum(1).tolist() == pytest.approx([1.0] * 9)
    answers = classifier.answers(together[0], 3)
    assert [answer["probability"] for answer in answers] == sorted((a["probability"] for a in answers), reverse=True)
    assert len(classifier.answers(together[0], 99)) == 5


def test_folding_batch_norm_changes_no_answer():
    torch.manual_seed(0)
    model = build_model("mobilenet_v2", 4, 32)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.5, 0.5)
            nn.init.uniform_(module.running_var, 0.5, 2)
    classifier = Classifier(model, "mobilenet_v2", list("abcd"), Preprocessing.for_size(32))
    pixels = torch.randint(256, (3, 32, 32, 3), dtype=torch.uint8)
    with torch.inference_mode():
        expected = model.eval()(classifier.preprocessing.normalise(pixels))
    torch.testing.assert_close(classifier.logits(pixels), expected, rtol=1e-3, atol=1e-4)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in classifier.model.modules())


# -- what is in the artefact must load under the image's older torch


def test_a_saved_state_has_nothing_but_tensors(tmp_path):
    model = build_model("mnasnet0_5", 3, 32).to(memory_format=torch.channels_last)
    torch.save(train.plain_state(model), tmp_path / "model.pt")
    loaded = torch.load(io.BytesIO((tmp_path / "model.pt").read_bytes()), weights_only=True)
    assert all(type(value) is torch.Tensor and value.is_contiguous() for value in loaded.values())
    build_model("mnasnet0_5", 3, 32).load_state_dict(loaded)
