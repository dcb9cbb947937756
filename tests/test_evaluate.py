import json
import shutil
import warnings
from collections import Counter
from pathlib import Path

import keras
import numpy as np
import pytest
from click.testing import CliRunner
from photos import photo
from PIL import Image, ImageOps
from structure import skeleton
from test_cli import one_line

import convzoo
from convzoo.commands.evaluate import evaluate_command
from convzoo.evaluation import (
    Evaluation,
    class_tree,
    evaluate,
    examined,
    record_of_classes,
    summed_up,
    verdicts,
)
from convzoo.prediction import Classifier
from convzoo.pretrained.images import ImageError
from convzoo.pretrained.records import find, is_file

EXAMPLES = Path(__file__).resolve().parent.parent / "examples" / "images"
LENET = find("lenet", "mnist")
RESNET = find("resnet50", "imagenet")
NO_DIGIT = "bad.png' is not an image"


@pytest.fixture
def digits(tmp_path):
    """Every example in the folder of its digit, each twice: bright and dark."""
    for path in EXAMPLES.glob("?.png"):
        folder = tmp_path / "digits" / path.stem
        folder.mkdir(parents=True)
        shutil.copy(path, folder)
        inverted = ImageOps.invert(Image.open(path).convert("L"))
        inverted.save(folder / "inverted.png")
    return tmp_path / "digits"


@pytest.fixture
def photos(tmp_path):
    """Five photos of four of ImageNet's classes: 0, 2, 5 (twice) and 474."""
    names = ("n01440764", "great_white_shark", "Electric Ray", "cardigan")
    for size, name in enumerate((*names, "Electric Ray"), 40):
        folder = tmp_path / "photos" / name
        folder.mkdir(parents=True, exist_ok=True)
        photo(size, 2 * size).save(folder / f"{size}.jpg")
    return tmp_path / "photos"


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Weights of a small MobileNet whose scores depend on no image, in two files."""
    folder = tmp_path_factory.mktemp("weights")
    for name, told in (("told", True), ("untold", False)):
        keras.utils.set_random_seed(0)
        model = convzoo.mobilenet(
            alpha=0.25, input_shape=(32, 32, 3), include_preprocessing=told
        )
        head = next(layer for layer in reversed(model.layers) if layer.weights)
        kernel, bias = head.get_weights()
        bias[:] = 0
        bias[[5, 474, 9, 8]] = 4, 3, 2, 1  # the fifth is class 0, before all its equals
        head.set_weights([np.zeros_like(kernel), bias])
        convzoo.save_weights(model, folder / f"{name}.safetensors")
    return {path.stem: path for path in folder.iterdir()}


def small_net(kernel, *, outputs=lambda main: main):
    """Score a digit's field by its pixels, a linear network."""
    image = keras.Input((32, 32, 1), name="image")
    flat = keras.layers.Flatten()(image)
    dense = keras.layers.Dense(10, use_bias=False, name="main")
    model = keras.Model(image, outputs(dense(flat)))
    dense.set_weights([kernel])
    object.__setattr__(model, "origin", convzoo.lenet().origin)
    return Classifier(model, LENET)


def measured(folder, classifier, **options):
    images = class_tree(folder, classifier.record).images
    return summed_up(verdicts(images, classifier, **options), classifier)


def run(*arguments):
    return CliRunner().invoke(evaluate_command, [str(one) for one in arguments])


class TestPublished:
    @pytest.mark.parametrize("variant", ["modern", "paper"])
    def test_the_examples_are_recognised(self, digits, variant):
        result = evaluate(digits, "lenet", "mnist", variant)
        assert isinstance(result, Evaluation)
        assert result.weights == "mnist"
        assert result.record == find("lenet", "mnist", variant)
        assert (result.images, result.classes) == (20, 10)
        assert (result.top1, result.top5) == (1, 1)
        assert result.unreadable == ()
        assert result.seconds > 0

    def test_a_wrong_label_counts_as_a_miss(self, digits):
        best = convzoo.predict(EXAMPLES / "7.png", "lenet", top=10)
        second, last = best[1].label, best[9].label
        shutil.copy(EXAMPLES / "7.png", digits / second / "seven.png")
        result = evaluate(digits, "lenet")
        assert (result.top1, result.top5) == (20 / 21, 1)
        shutil.copy(EXAMPLES / "7.png", digits / last / "seven.png")
        result = evaluate(digits, "lenet")
        assert (result.top1, result.top5) == (20 / 22, 21 / 22)

    def test_a_built_model_is_measured_alike(self, digits):
        rescaling = convzoo.lenet(weights="mnist", include_preprocessing=True)
        assert evaluate(digits, rescaling).top1 == 1

    def test_progress_counts_every_image(self, digits):
        seen = []
        evaluate(
            digits,
            "lenet",
            batch_size=7,
            limit=9,
            progress=lambda done, total: seen.append((done, total)),
        )
        assert seen == [(done, 9) for done in range(1, 10)]


class TestFiles:
    def test_a_file_that_states_its_scaling(self, photos, files):
        result = evaluate(photos, "mobilenet", files["told"])
        # Ranked are 5, 474, 9, 8, 0: the first twice, once the second and the fifth.
        assert (result.images, result.classes) == (5, 4)
        assert (result.top1, result.top5) == (2 / 5, 4 / 5)
        record = result.record
        assert (record.top1, record.top5) == (None, None)
        assert (record.input_shape, record.resize, record.crop) == ((32, 32, 3), 37, 32)
        assert (record.mean, record.std) == ((0.5,), (0.5,))
        assert record.options["alpha"] == 0.25
        assert result.weights == str(files["told"])

    def test_a_file_that_does_not_asks_for_it(self, photos, files):
        with pytest.raises(
            ValueError, match=r"--preprocessing\), one of 'imagenet/timm"
        ):
            evaluate(photos, "mobilenet", files["untold"])
        name = "imagenet/timm-ra4_e3600_r224_in1k"
        record = evaluate(
            photos, "mobilenet", files["untold"], preprocessing=name
        ).record
        assert (record.interpolation, record.resize) == ("bicubic", 37)
        assert record.top1 is None

    def test_the_resize_is_by_the_size_alone(self):
        model = skeleton("alexnet")
        told = {"weights": "mine.h5", "scaling": ((0.4,) * 3, (0.2,) * 3)}
        object.__setattr__(model, "origin", model.origin._replace(**told))
        record = examined(model).record
        # Where the published weights have 256.
        assert (record.resize, record.crop, record.mean) == (259, 227, (0.4,) * 3)

    def test_digits_from_a_file_are_placed_as_the_published(self, digits, tmp_path):
        path = tmp_path / "mine.safetensors"
        convzoo.save_weights(convzoo.lenet(weights="mnist"), path)
        result = evaluate(digits, "lenet", str(path))
        assert result.top1 == 1
        assert (result.record.mean, result.record.top1) == (LENET.mean, None)

    def test_other_classes_are_refused(self, digits, tmp_path):
        path = tmp_path / "three.safetensors"
        convzoo.save_weights(convzoo.lenet(classes=3), path)
        with pytest.raises(ValueError, match="do not name the 10 classes of the publ"):
            evaluate(digits, "lenet", path)
        convzoo.save_weights(convzoo.lenet(input_shape=(32, 32, 3)), path)
        with pytest.raises(ValueError, match="reads 3 channels, the published lenet 1"):
            evaluate(digits, "lenet", path)

    @pytest.mark.filterwarnings("ignore::convzoo.models.plan.FreshHeadWarning")
    def test_a_body_cannot_be_measured(self, digits, tmp_path):
        path = tmp_path / "body.safetensors"
        convzoo.save_weights(convzoo.lenet(weights="mnist", include_top=False), path)
        with pytest.raises(ValueError, match=r"body.* have no head for the 10 classes"):
            evaluate(digits, "lenet", path)

    def test_a_missing_file_is_told_before_the_folder_is_read(self, tmp_path):
        with pytest.raises(FileNotFoundError, match=r"no weight file .*none\.h5"):
            evaluate(tmp_path / "nowhere", "lenet", "none.h5")
        Path(tmp_path, "weights.index").touch()
        with pytest.raises(ImageError, match="nowhere"):
            evaluate(tmp_path / "nowhere", "lenet", tmp_path / "weights")

    def test_what_counts_as_a_file(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        assert not is_file("lenet", "mnist")
        assert not is_file("lenet", None)
        assert not is_file("lenet", "checkpoint")
        assert not is_file("resnet50", "imagenet/torchvision-v1.5")  # no such version
        assert is_file("lenet", "weights.h5")
        assert is_file("resnet50", "imagenet/best.pth")
        Path("checkpoint.index").touch()
        assert is_file("lenet", "checkpoint")  # TensorFlow's, by its prefix
        Path("mnist").touch()
        assert not is_file("lenet", "mnist")
        assert is_file("lenet", Path("mnist"))


class TestVerdicts:
    def test_equals_are_ranked_by_their_index(self, digits):
        result = measured(digits, small_net(np.zeros((1024, 10))))
        assert (result.top1, result.top5) == (1 / 10, 5 / 10)

    def test_the_main_head_counts(self, tmp_path):
        for label in "19":
            (tmp_path / label).mkdir()
            shutil.copy(EXAMPLES / "1.png", tmp_path / label)
        # The higher the class, the better, for the main head.
        signs = np.sign(LENET.preprocess(EXAMPLES / "1.png").ravel())
        classifier = small_net(
            np.outer(signs, np.arange(10)),
            outputs=lambda main: {"aux1": -main, "main": main},
        )
        found = verdicts(class_tree(tmp_path, LENET).images, classifier)
        assert [(one.wanted, one.place) for one in found] == [(1, 8), (9, 0)]

    @pytest.mark.parametrize("size", [1, 3, 20, 32])
    def test_the_batch_size_changes_nothing(self, digits, size):
        kernel = np.random.default_rng(0).normal(size=(1024, 10))
        classifier = small_net(kernel)
        (digits / "4" / "bad.png").write_text("no image")
        images = class_tree(digits, LENET).images
        places = [
            v.place
            for v in verdicts(images, classifier, batch_size=size)
            if not v.error
        ]
        good = [one for one in images if one.image.name != "bad.png"]
        scores = classifier.model.predict(
            LENET.preprocess([one.image for one in good]), verbose=0
        )
        better = [
            int((row > row[one.wanted]).sum())
            for row, one in zip(scores, good, strict=True)
        ]
        assert places == better
        assert len(set(places)) > 3

    def test_scores_that_are_no_numbers(self, digits):
        with pytest.raises(ValueError, match="answers with NaN or inf"):
            measured(digits, small_net(np.full((1024, 10), np.nan)))

    def test_an_unreadable_image_is_told_and_not_counted(self, digits):
        (digits / "4" / "bad.png").write_text("no image")
        result = evaluate(digits, "lenet")
        assert (result.images, result.top1) == (20, 1)
        (error,) = result.unreadable
        assert NO_DIGIT in str(error)

    def test_nothing_but_unreadable_images(self, tmp_path):
        (tmp_path / "4").mkdir()
        (tmp_path / "4" / "bad.png").write_text("no image")
        with pytest.raises(ImageError, match=f"None of the 1 images.*{NO_DIGIT}"):
            evaluate(tmp_path, "lenet")

    def test_threads_neither_warn_nor_change_the_filters(self, digits):
        classifier = small_net(np.zeros((1024, 10)))
        broken = b"Exif\0\0II*\0\x08\0\0\0\xff\xff"  # of which Pillow warns
        for folder in digits.iterdir():
            image = Image.open(folder / "inverted.png")
            for copy in range(20):
                image.save(folder / f"{copy}.jpg", exif=broken)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            before = list(warnings.filters)
            assert measured(digits, classifier).unreadable == ()
            assert warnings.filters == before


class TestClassFolders:
    @pytest.mark.parametrize(
        ("name", "wnid"),
        [
            ("n01440764", "n01440764"),
            ("N01440764", "n01440764"),
            ("tench", "n01440764"),
            ("Tench, Tinca tinca", "n01440764"),
            ("great white shark", "n01484850"),
            ("Great_White_Shark, white shark", "n01484850"),
            ("greatwhiteshark", "n01484850"),
            ("Cardigan", "n02113186"),
            ("cardigan", "n02963159"),
        ],
    )
    def test_wnids_and_labels(self, tmp_path, name, wnid):
        (tmp_path / name).mkdir()
        shutil.copy(EXAMPLES / "1.png", tmp_path / name)
        ((_, wanted),) = class_tree(tmp_path, RESNET).images
        assert RESNET.wnids[wanted] == wnid

    @pytest.mark.parametrize(
        ("names", "words"),
        [
            (["CARDIGAN"], r"no class of resnet50/imagenet: 'CARDIGAN'"),
            (
                ["gold_fish", "tenchh", "tench"],
                r"'tenchh', did you mean 'tench'\?; acc",
            ),
            (["train", "val"], "'train', 'val'.*wnids and labels such as 'n01440764'"),
            (list("abcdefg"), "'d', 'e' and 2 more"),
        ],
    )
    def test_unknown_names(self, tmp_path, names, words):
        for name in names:
            (tmp_path / name).mkdir()
        with pytest.raises(ImageError, match=words):
            class_tree(tmp_path, RESNET)

    def test_the_accepted_digits_are_listed(self, tmp_path):
        (tmp_path / "ten").mkdir()
        with pytest.raises(ImageError, match=r"'ten'; accepted are '0', '1', .* '9'"):
            class_tree(tmp_path, LENET)

    def test_two_folders_of_one_class(self, tmp_path):
        for name in ("tench", "n01440764"):
            (tmp_path / name).mkdir()
            shutil.copy(EXAMPLES / "1.png", tmp_path / name)
        assert [label for _, label in class_tree(tmp_path, RESNET).images] == [0, 0]

    def test_a_class_without_images(self, digits):
        (digits / "3" / "deeper").mkdir()
        for path in (digits / "3").glob("*.png"):
            path.unlink()
        with pytest.raises(
            ImageError, match=r"3' holds no image files .* not searched"
        ):
            class_tree(digits, LENET)

    @pytest.mark.parametrize(
        ("make", "words"),
        [
            (lambda _: None, r"cannot be read \(No such file"),
            (Path.touch, r"cannot be read \(Not a directory"),
            (Path.mkdir, "holds no folders: give one that holds a folder"),
        ],
    )
    def test_no_tree(self, tmp_path, make, words):
        make(tmp_path / "val")
        with pytest.raises(ImageError, match=words):
            class_tree(tmp_path / "val", LENET)

    def test_what_is_passed_over_is_told(self, digits):
        (digits / "loose.png").touch()
        (digits / "1" / "notes.txt").touch()
        (digits / ".cache").mkdir()
        tree = class_tree(digits, LENET)
        assert len(tree.images) == 20
        assert tree.others == [digits / "loose.png", digits / "1" / "notes.txt"]

    @pytest.mark.parametrize(
        ("limit", "places"),
        [
            (1, [0]),
            (3, [0, 6, 13]),
            (10, range(0, 20, 2)),
            (20, range(20)),
            (99, range(20)),
        ],
    )
    def test_a_limit_is_spread_over_the_classes(self, digits, limit, places):
        images = class_tree(digits, LENET).images
        assert class_tree(digits, LENET, limit).images == [images[i] for i in places]
        assert Counter(label for _, label in images) == dict.fromkeys(range(10), 2)


class TestMisuse:
    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            ({"model": "lenett"}, "did you mean 'lenet'"),
            ({"model": "unet"}, "No weights are published for 'unet'"),
            ({"weights": "mnits"}, "did you mean 'mnist'"),
            ({"weights": "none.h5"}, "There is no weight file none.h5"),
            ({"variant": "papr"}, "did you mean 'paper'"),
            ({"batch_size": 0}, "batch_size must be .* found 0"),
            ({"batch_size": True}, "batch_size must be .* found True"),
            ({"limit": -1}, "limit must be .* found -1"),
            ({"preprocessing": "mnist"}, "is for weights from a file, and 'mnist' are"),
        ],
    )
    def test_the_message_says_what_is_accepted(self, digits, arguments, words):
        with pytest.raises((ValueError, OSError), match=words):
            evaluate(digits, **{"model": "lenet", **arguments})

    def test_weights_beside_a_built_model(self, digits):
        with pytest.raises(ValueError, match="weights and variant belong to a model's"):
            evaluate(digits, convzoo.lenet(), "mnist")

    def test_a_model_without_weights(self):
        with pytest.raises(ValueError, match="was not built with published weights"):
            examined(convzoo.lenet())

    def test_the_folder_is_looked_at_before_a_model_is_built(self, tmp_path):
        with pytest.raises(ImageError, match="holds no folders"):
            evaluate(tmp_path, "resnet50", "imagenet")

    def test_a_files_classes_are_the_builders(self, tmp_path):
        (tmp_path / "any.h5").touch()
        assert record_of_classes("lenet", tmp_path / "any.h5", "paper") == LENET


class TestCommand:
    def test_measured_stands_beside_published(self, digits):
        shutil.copy(EXAMPLES / "7.png", digits / "1")
        result = run("--model", "lenet", "--weights", "mnist", digits)
        assert (result.exit_code, result.stderr) == (0, "")
        lines = result.stdout.splitlines()
        assert lines[0].split(maxsplit=1) == ["Model", "lenet, variant modern"]
        assert lines[1].split() == ["Weights", "mnist"]
        assert lines[2].split(maxsplit=1) == ["Images", "21 (10 of 10 classes)"]
        assert lines[3].startswith("Speed")
        assert lines[4].split(maxsplit=1)[1] == (
            "digits placed as in MNIST, 32 x 32, mean 0.07843, std 0.7843"
        )
        rows = [line.split() for line in lines if "Top-" in line]
        assert rows[0] == ["Top-1", "95.24%", "99.38%", "-4.14"]
        assert rows[1][0] == "Top-5"
        assert rows[1][2:] == ["-", "-"]

    def test_a_file_its_size_and_its_preparation(self, photos, files):
        shared = ("--model", "mobilenet", photos, "--weights")
        result = run(*shared, files["told"], "--size", "48", "--option", "alpha=0.25")
        assert result.exit_code == 0, result.stderr
        assert (
            "shorter side to 55 (bilinear), centre 48 x 48, mean 0.5, std 0.5"
            in result.stdout
        )
        assert "5 (4 of 1,000 classes)" in result.stdout
        result = run(
            *shared, files["untold"], "--preprocessing", "imagenet", "--limit", 4,
            "--json",
        )  # fmt: skip
        assert result.exit_code == 0, result.stderr
        data = json.loads(result.stdout)
        assert data.pop("seconds") > 0
        assert data == {
            "model": "mobilenet",
            "variant": "keras",
            "weights": str(files["untold"]),
            "images": 4,
            "classes": 3,
            "top1": 0.5,
            "top5": 0.75,
            "published_top1": None,
            "published_top5": None,
            "preprocessing": {
                "input_shape": [32, 32, 3],
                "resize": 36,  # 146 for 128 pixels
                "crop": 32,
                "interpolation": "bilinear",
                "mean": [0.5] * 3,
                "std": [0.5] * 3,
            },
            "unreadable": [],
        }

    def test_unreadable_images_are_told(self, digits):
        (digits / "4" / "bad.png").write_text("no image")
        (digits / "notes.txt").touch()
        result = run("--model", "lenet", digits)
        assert result.exit_code == 1
        assert "20 (10 of 10 classes, 1 unreadable)" in result.stdout
        note, error = result.stderr.splitlines()
        assert note.startswith("Note: skipped 1 of the files")
        assert error.startswith("Error: ")
        assert NO_DIGIT in error
        data = json.loads(run("--model", "lenet", digits, "--json").stdout)
        assert [NO_DIGIT in error for error in data["unreadable"]] == [True]

    @pytest.mark.parametrize(
        ("code", "arguments", "words"),
        [
            (2, [], "--model is required"),
            (2, ["--model", "lenett"], "did you mean 'lenet'"),
            (2, ["--model", "lenet", "--weights", "mnits"], "did you mean 'mnist'"),
            (2, ["--model", "lenet", "--variant", "papr"], "did you mean 'paper'"),
            (2, ["--model", "lenet", "--option", "alpha=1"], "no option 'alpha'"),
            (2, ["--model", "mobilenet", "--option", "alpha=3"], "exist for the opt"),
            (2, ["--model", "lenet", "--limit", "0"], "--limit must be a whole number"),
            (2, ["--model", "lenet", "--batch-size", "0"], "--batch-size must be"),
            (1, ["--model", "resnet50"], "name no class of resnet50/imagenet: '0', "),
            (1, ["--model", "lenet", "--weights", "no.h5"], "There is no weight file"),
            (
                2,
                ["--model", "lenet", "--weights", __file__, "--option", "varint=1"],
                "lenet() has no argument 'varint'",
            ),
            (
                1,
                ["--model", "lenet", "--preprocessing", "mnist"],
                "weights from a file",
            ),
        ],
    )
    def test_misuse_and_failure(self, digits, code, arguments, words):
        result = run(digits, *arguments)
        assert result.exit_code == code
        one_line(result, words)
