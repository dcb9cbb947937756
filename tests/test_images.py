import hashlib
import os
import struct
import zlib
from types import SimpleNamespace

import numpy as np
import pytest
from keras.applications import imagenet_utils
from photos import EXPECTED, RECORDS, SIZES, STEP, photo, timm_transforms, transforms
from photos import torchvision as import_torchvision
from PIL import Image

from convzoo.pretrained.images import (
    ImageError,
    check_image,
    load_image,
    prepare,
    split,
)
from convzoo.pretrained.records import find

PHOTO = SimpleNamespace(
    name="imagenet",
    input_shape=(224, 224, 3),
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
    resize=256,
    crop=224,
    interpolation="bilinear",
)
PLAIN = SimpleNamespace(
    name="plain",
    input_shape=(4, 4, 3),
    mean=(0.0, 0.0, 0.0),
    std=(1 / 255, 1 / 255, 1 / 255),
    resize=4,
    crop=4,
    interpolation="nearest",
)


def noise(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def one(image, record=PLAIN):
    return prepare(image, record)[0]


class TestKinds:
    def test_every_kind_of_input_gives_the_same_pixels(self, tmp_path):
        pixels = noise(4, 4, 3)
        Image.fromarray(pixels).save(tmp_path / "a.png")
        kinds = [
            tmp_path / "a.png",
            str(tmp_path / "a.png"),
            Image.fromarray(pixels),
            pixels,
            pixels.astype(np.float64),
            pixels.astype(np.int64),
            pixels[np.newaxis],
        ]
        batch = prepare(kinds, PLAIN)
        assert batch.dtype == np.float32
        assert batch.shape == (7, 4, 4, 3)
        np.testing.assert_allclose(
            batch, np.broadcast_to(pixels, batch.shape), atol=1e-3
        )

    def test_nothing_is_mutated(self):
        pixels = noise(6, 5, 3).astype(np.float32)
        image = Image.fromarray(noise(6, 5, 3))
        before = pixels.copy(), hashlib.sha256(image.tobytes()).digest()
        prepare([pixels, image], PLAIN)
        np.testing.assert_array_equal(pixels, before[0])
        assert hashlib.sha256(image.tobytes()).digest() == before[1]

    def test_grey_is_repeated_and_colour_is_weighed(self):
        grey = noise(4, 4)
        assert (one(grey) == one(grey[..., np.newaxis])).all()
        assert (one(grey)[..., 0] == one(grey)[..., 2]).all()
        record = SimpleNamespace(**{**vars(PLAIN), "input_shape": (4, 4, 1)})
        record.mean, record.std = (0.0,), (1 / 255,)
        red = np.zeros((4, 4, 3), np.uint8)
        red[..., 0] = 255
        np.testing.assert_allclose(one(red, record), 76, atol=1e-3)

    def test_floats_are_rounded_on_the_scale_to_255(self):
        np.testing.assert_allclose(one(np.full((4, 4, 3), 99.6)), 100, atol=1e-3)

    def test_a_black_float_image_is_accepted(self):
        assert (one(np.zeros((4, 4, 3))) == 0).all()

    def test_split_keeps_order_and_flattens_batches(self):
        paths = split(["a.png", noise(2, 4, 4, 3), ("b.png",)])
        assert [item if isinstance(item, str) else item.shape for item in paths] == [
            "a.png",
            (4, 4, 3),
            (4, 4, 3),
            "b.png",
        ]

    @pytest.mark.parametrize(
        ("images", "error", "words"),
        [
            ([], ImageError, "images is empty"),
            (5, TypeError, "found int"),
            ([[1, 2]], TypeError, "found int"),
            (noise(2, 28, 28), ImageError, r"\(2, 28, 28\).*np.newaxis"),
            (noise(4), ImageError, r"shape \(4,\)"),
            (noise(0, 4, 3), ImageError, "no pixels"),
            (noise(0, 4, 4, 3), ImageError, "no pixels"),
            (np.full((4, 4), "a"), ImageError, "dtype <U1"),
            (np.full((4, 4), True), ImageError, "dtype bool"),
            (np.full((4, 4), 256), ImageError, "from 256 to 256"),
            (np.full((4, 4), -0.5), ImageError, "from -0.5 to -0.5.*normalisation"),
            (np.full((4, 4), np.nan), ImageError, "from nan to nan"),
            (np.full((4, 4), 0.9), ImageError, "multiply it by 255"),
            (np.full((4, 4), 1.06), ImageError, "multiply it by 255"),
        ],
    )
    def test_what_is_no_image_is_refused(self, images, error, words):
        with pytest.raises(error, match=words):
            prepare(images, PLAIN)


class TestFiles:
    """Every mode of Pillow arrives as 8-bit "L" or "RGB"."""

    @pytest.mark.parametrize(
        "suffix", ["png", "jpg", "webp", "bmp", "gif", "tif", "ppm"]
    )
    def test_every_accepted_format_is_read(self, tmp_path, suffix):
        path = tmp_path / f"a.{suffix}"
        Image.new("RGB", (9, 7), (200, 100, 50)).save(path)
        image = load_image(path)
        assert image.size == (9, 7)
        np.testing.assert_allclose(np.asarray(image)[3, 3], (200, 100, 50), atol=4)

    @pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
    def test_transparent_pixels_become_white(self, tmp_path, mode):
        image = Image.new("RGBA", (2, 1), (0, 0, 0, 255))
        image.putpixel((1, 0), (0, 0, 0, 0))
        image.convert(mode).save(tmp_path / "a.png")
        loaded = load_image(tmp_path / "a.png").convert("L")
        assert list(np.asarray(loaded)[0]) == [0, 255]

    def test_half_transparent_pixels_are_mixed_with_white(self, tmp_path):
        Image.new("RGBA", (1, 1), (0, 0, 0, 128)).save(tmp_path / "a.png")
        assert np.asarray(load_image(tmp_path / "a.png"))[0, 0, 0] == 127

    def test_palette_cmyk_and_bilevel(self, tmp_path):
        Image.new("RGB", (4, 4), (255, 0, 0)).convert("P").save(tmp_path / "p.png")
        Image.new("CMYK", (4, 4), (0, 255, 255, 0)).save(tmp_path / "c.tif")
        Image.new("1", (4, 4), 1).save(tmp_path / "b.png")
        for name in ("p.png", "c.tif"):
            assert tuple(np.asarray(load_image(tmp_path / name))[0, 0]) == (255, 0, 0)
        bilevel = load_image(tmp_path / "b.png")
        assert (bilevel.mode, bilevel.getpixel((0, 0))) == ("L", 255)

    @pytest.mark.parametrize("suffix", ["png", "tif", "pgm"])
    def test_sixteen_bits_keep_the_upper_eight(self, tmp_path, suffix):
        values = np.array([[0, 255, 256, 32768, 65535]], np.uint16)
        Image.fromarray(values).save(tmp_path / f"a.{suffix}")
        loaded = np.asarray(load_image(tmp_path / f"a.{suffix}"))
        assert loaded.dtype == np.uint8
        assert loaded.tolist() == [[0, 0, 1, 128, 255]]

    def test_orientation_is_applied(self, tmp_path):
        exif = Image.Exif()
        exif[0x0112] = 6  # the camera was turned: rows are columns
        image = Image.new("L", (8, 4), 0)
        image.paste(255, (0, 0, 4, 4))
        image.save(tmp_path / "a.png", exif=exif)
        upright = np.asarray(load_image(tmp_path / "a.png"))
        assert upright.shape == (8, 4)
        assert upright[0, 0] == 255
        assert upright[7, 0] == 0
        pixels = one(Image.open(tmp_path / "a.png"))
        np.testing.assert_allclose(pixels[[0, -1], 0, 0], [255, 0])

    def test_a_camera_preview_does_not_make_a_jpeg_animated(self, tmp_path):
        picture, preview = Image.new("L", (8, 8), 9), Image.new("L", (4, 4))
        picture.save(
            tmp_path / "a.jpg", format="MPO", save_all=True, append_images=[preview]
        )
        assert load_image(tmp_path / "a.jpg").size == (8, 8)


def _png_header(width, height):
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = b""
    for kind, data in (
        (b"IHDR", header),
        (b"IDAT", zlib.compress(b"")),
        (b"IEND", b""),
    ):
        checksum = struct.pack(">I", zlib.crc32(kind + data))
        chunks += struct.pack(">I", len(data)) + kind + data + checksum
    return b"\x89PNG\r\n\x1a\n" + chunks


def _missing(path):
    del path


def _folder(path):
    path.mkdir()


def _pipe(path):
    os.mkfifo(path)


def _empty(path):
    path.write_bytes(b"")


def _text(path):
    path.write_text("This is no image.")


def _truncated(path):
    Image.fromarray(noise(64, 64, 3)).save(path)
    path.write_bytes(path.read_bytes()[:2000])


def _truncated_jpeg(path):
    Image.fromarray(noise(64, 64, 3)).save(path, format="JPEG")
    path.write_bytes(path.read_bytes()[:1500])


def _beheaded(path):
    path.write_bytes(b"\x89PNG\r\n\x1a\n\x00")


def _animated_gif(path):
    frames = [Image.fromarray(noise(8, 8, seed=seed)) for seed in range(3)]
    frames[0].save(path, format="GIF", save_all=True, append_images=frames[1:])


def _animated_png(path):
    frames = [Image.fromarray(noise(8, 8, seed=seed)) for seed in range(3)]
    frames[0].save(path, save_all=True, append_images=frames[1:])


def _large(path):
    path.write_bytes(_png_header(20_000, 5_001))


def _bomb(path):
    path.write_bytes(_png_header(100_000, 100_000))


def _without_pixels(path):
    path.write_bytes(_png_header(0, 5))


def _without_rows(path):
    path.write_bytes(b"P5\n3 0\n255\n")


def _float(path):
    Image.fromarray(np.ones((4, 4), np.float32)).save(path, format="TIFF")


def _wide_integers(path):
    Image.fromarray(np.full((4, 4), 70_000, np.int32)).save(path, format="TIFF")


def _other_format(path):
    Image.new("RGB", (16, 16)).save(path, format="ICO", bitmap_format="bmp")


BAD = [
    (_missing, "does not exist"),
    (_folder, "is a folder"),
    (_pipe, "is not a regular file"),
    (_empty, r"is empty \(0 bytes\)"),
    (_text, "is not an image"),
    (_truncated, "cannot be read .*truncated"),
    (_truncated_jpeg, "cannot be read .*truncated"),
    (_beheaded, "is cut short or damaged"),
    (_without_pixels, "is cut short or damaged"),
    (_without_rows, "is not an image"),
    (_animated_gif, r"is animated or has several pages \(3 frames\)"),
    (_animated_png, r"is animated or has several pages \(3 frames\)"),
    (_large, "has 20000 x 5001 pixels, more than the accepted 100 million"),
    (_bomb, "more than the accepted 100 million pixels"),
    (_float, "floating-point"),
    (_wide_integers, "32-bit pixels from 70000 to 70000"),
    (_other_format, "in the format ICO"),
]


class TestBadFiles:
    @pytest.mark.parametrize(("make", "words"), BAD)
    def test_the_sentence_names_the_file_the_fault_and_the_formats(
        self, tmp_path, make, words
    ):
        path = tmp_path / "bad.png"
        make(path)
        with pytest.raises(ImageError, match=words) as caught:
            load_image(path)
        message = str(caught.value)
        assert message.startswith(repr(str(path)))
        assert message.endswith(
            "accepted is a still image (PNG, JPEG, WebP, BMP, GIF, TIFF, PPM)."
        )
        assert "\n" not in message

    def test_a_path_that_cannot_exist(self):
        with pytest.raises(ImageError, match="does not exist"):
            load_image("a\0b.png")

    def test_the_header_is_checked_without_the_pixels(self, tmp_path):
        _truncated(tmp_path / "cut.png")
        check_image(tmp_path / "cut.png")
        _text(tmp_path / "text.png")
        with pytest.raises(ImageError, match="is not an image"):
            check_image(tmp_path / "text.png")

    def test_bad_images_in_memory(self, tmp_path):
        _truncated(tmp_path / "cut.png")
        with (
            Image.open(tmp_path / "cut.png") as image,
            pytest.raises(ImageError, match="A PIL image cannot be read"),
        ):
            prepare(image, PLAIN)
        with pytest.raises(ImageError, match="A PIL image has no pixels"):
            prepare(Image.new("L", (0, 3)), PLAIN)
        with pytest.raises(ImageError, match="A PIL image has floating-point pixels"):
            prepare(Image.new("F", (3, 3)), PLAIN)


class TestFit:
    def test_values_follow_mean_and_deviation(self):
        image = np.empty((300, 400, 3), np.uint8)
        image[:] = (255, 0, 128)
        expected = (np.array([1, 0, 128 / 255]) - PHOTO.mean) / PHOTO.std
        np.testing.assert_allclose(one(image, PHOTO)[100, 100], expected, rtol=1e-5)
        raw = prepare(image, PHOTO, normalise=False)
        assert raw.dtype == np.float32
        np.testing.assert_array_equal(raw[0, 100, 100], (255, 0, 128))

    def test_shorter_side_then_centre(self):
        # Columns count the thirds of a wide image: the centre crop sees the middle one.
        image = np.zeros((256, 768, 3), np.uint8)
        image[:, 256:512] = 100
        image[:, 512:] = 200
        raw = prepare(image, PHOTO, normalise=False)[0]
        assert raw.shape == (224, 224, 3)
        assert (raw[:, 4:-4] == 100).all()
        tall = prepare(image.transpose(1, 0, 2), PHOTO, normalise=False)[0]
        np.testing.assert_array_equal(tall, raw.transpose(1, 0, 2))

    def test_equals_the_published_pipeline_step_by_step(self):
        image = Image.fromarray(noise(300, 451, 3))
        resized = image.resize((int(256 * 451 / 300), 256), Image.Resampling.BILINEAR)
        left, top = round((resized.width - 224) / 2), round((256 - 224) / 2)
        expected = np.asarray(resized.crop((left, top, left + 224, top + 224)))
        raw = prepare(image, PHOTO, normalise=False)[0]
        np.testing.assert_array_equal(raw, expected)

    def test_shrinking_is_antialiased(self):
        stripes = np.zeros((1024, 1024), np.uint8)
        stripes[:, ::2] = 255
        raw = prepare(stripes, PHOTO, normalise=False)
        assert np.ptp(raw) < 12
        assert abs(raw.mean() - 127.5) < 1

    def test_a_model_of_another_size_keeps_the_field_of_view(self):
        image = np.zeros((256, 256), np.uint8)
        image[16:240, 16:240] = 255  # just what 224 of 256 sees
        raw = prepare(image, PHOTO, size=(112, 112), normalise=False)
        assert raw.shape == (1, 112, 112, 3)
        assert (raw[0, 1:-1, 1:-1] == 255).all()
        image[:, 64:192] = 0
        raw = prepare(image, PHOTO, size=(112, 112), normalise=False)
        assert abs((raw[0, 56, :, 0] < 127).sum() - 64) <= 1
        raw = prepare(noise(256, 256), PHOTO, size=(64, 96))
        assert raw.shape == (1, 64, 96, 3)

    def test_another_size_is_prepared_as_weights_of_that_size(self):
        large, small = (
            find("mobilenet", "imagenet", input_shape=(side, side, 3))
            for side in (224, 160)
        )
        picture = photo(301, 233)
        found = prepare(picture, large, size=(160, 160))
        np.testing.assert_array_equal(found, prepare(picture, small))

    def test_a_crop_beyond_the_resize_is_padded_with_black(self):
        record = SimpleNamespace(**{**vars(PLAIN), "resize": 2})
        raw = one(np.full((9, 9, 3), 77, np.uint8), record)[..., 0]
        assert raw.round().tolist() == [
            [0, 0, 0, 0],
            [0, 77, 77, 0],
            [0, 77, 77, 0],
            [0, 0, 0, 0],
        ]

    @pytest.mark.parametrize("size", [(5, 9), (9, 5), (6, 9)])
    def test_odd_rests_are_padded_as_torchvision_pads(self, size):
        record = SimpleNamespace(**{**vars(PLAIN), "resize": 5, "crop": 8})
        raw = prepare(np.full((*size, 3), 77, np.uint8), record, size=(8, 8))[0]
        seen = np.argwhere(raw[..., 0] > 0)
        short = size.index(min(size))
        assert (seen[:, short].min(), seen[:, short].max()) == (1, 5)

    @pytest.mark.parametrize("turned", [False, True])
    def test_a_strip_is_seen_as_if_it_were_enlarged_whole(self, turned):
        strip = photo(2000, 20)
        whole = strip.resize((25600, 256), Image.Resampling.BILINEAR)
        left, top = (25600 - 224) // 2, (256 - 224) // 2
        expected = np.asarray(whole.crop((left, top, left + 224, top + 224)))
        if turned:
            strip = strip.transpose(Image.Transpose.TRANSPOSE)
            expected = expected.transpose(1, 0, 2)
        raw = prepare(strip, PHOTO, normalise=False)[0]
        assert np.abs(raw - expected.astype(int)).max() <= 1

    def test_a_strip_does_not_exhaust_the_memory(self):
        strip = Image.new("L", (1_000_000, 1), 50)
        assert (prepare(strip, PHOTO, normalise=False) == 50).all()


class TestPublishedPipelines:
    """The pixels that each publisher's own code gives, to the last bit."""

    @pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
    @pytest.mark.parametrize("key", RECORDS)
    def test_resize_and_crop_are_as_stored(self, key, size):
        with np.load(EXPECTED) as stored:
            expected = stored[f"{key}/{size[0]}x{size[1]}"]
        raw = prepare(photo(*size), RECORDS[key], normalise=False)[0]
        np.testing.assert_array_equal(raw[::STEP, ::STEP], expected)

    @pytest.mark.torch
    @pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
    @pytest.mark.parametrize("key", RECORDS)
    def test_resize_and_crop_live(self, key, size):
        expected = np.asarray(transforms(key)(photo(*size)))
        raw = prepare(photo(*size), RECORDS[key], normalise=False)[0]
        np.testing.assert_array_equal(raw, expected)

    @pytest.mark.torch
    def test_normalised_pixels_live(self):
        weights = import_torchvision().models.ResNet50_Weights
        pipelines = {
            "torchvision-v1": weights.IMAGENET1K_V1.transforms(),
            "torchvision-v2": weights.IMAGENET1K_V2.transforms(),
            "timm-a1": timm_transforms(RECORDS["timm-a1"]),
            "timm-299": timm_transforms(RECORDS["timm-299"]),
        }
        for key, pipeline in pipelines.items():
            for size in SIZES:
                expected = pipeline(photo(*size)).permute(1, 2, 0).numpy()
                found = RECORDS[key].preprocess(photo(*size))[0]
                np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)

    @pytest.mark.parametrize(
        ("model", "mode", "atol"),
        # Keras subtracts on the scale of 255, where a float32 is 1.5e-5 apart.
        [("vgg19", "caffe", 3e-5), ("resnet50", "caffe", 3e-5), ("xception", "tf", 0)],
    )
    def test_values_are_those_of_keras(self, model, mode, atol):
        record = find(model, "imagenet")
        pixels = prepare(photo(301, 451), record, normalise=False)
        found = record.preprocess(photo(301, 451))
        expected = imagenet_utils.preprocess_input(
            pixels.copy(), data_format="channels_last", mode=mode
        )
        if mode == "caffe":  # Keras' caffe networks read BGR, the zoo's RGB
            expected = expected[..., ::-1]
        np.testing.assert_allclose(found, expected, rtol=0, atol=atol)

    def test_caffe_subtracts_its_mean_pixel(self):
        record = find("alexnet", "imagenet")
        found = record.preprocess(np.full((9, 9, 3), (200, 100, 0), np.uint8))
        assert found.shape == (1, 227, 227, 3)
        np.testing.assert_allclose(found[0, 0, 0], (77, -17, -104), atol=3e-5)
