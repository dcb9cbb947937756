import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image
from structure import skeleton

import convzoo
from convzoo.prediction import (
    Classifier,
    built,
    chosen_record,
    expand,
    folder_files,
    of_model,
    outcomes,
)
from convzoo.pretrained.images import ImageError
from convzoo.pretrained.records import Prediction, find

EXAMPLES = Path(__file__).resolve().parent.parent / "examples" / "images"
SEVEN = EXAMPLES / "7.png"


@pytest.fixture(scope="module")
def random_lenet():
    """LeNet with the record of its weights, but random: no shipped file is read."""
    return Classifier(convzoo.lenet(), find("lenet", "mnist"))


class TestShippedWeights:
    @pytest.mark.parametrize("variant", ["modern", "paper"])
    def test_every_example_is_recognised(self, variant):
        paths = sorted(EXAMPLES.glob("*.png"))
        assert {path.name[0] for path in paths} == set("0123456789")
        found = convzoo.predict(EXAMPLES, "lenet", variant=variant, top=1)
        names = {
            path.name: best[0].label for path, best in zip(paths, found, strict=True)
        }
        assert names == {path.name: path.name[0] for path in paths}

    def test_one_image_gives_one_list_however_it_comes(self):
        grey = Image.open(EXAMPLES / "2.png").convert("L")
        kinds = [EXAMPLES / "2.png", str(EXAMPLES / "2.png"), grey, np.asarray(grey)]
        for kind in [*kinds, np.asarray(grey.convert("RGB"))]:
            predictions = convzoo.predict(kind, "lenet")
            assert len(predictions) == 5
            assert isinstance(predictions[0], Prediction)
            assert predictions[0].label == "2"
            assert predictions[0].index == 2
            assert 0.5 < predictions[0].probability <= 1
        falling = [prediction.probability for prediction in predictions]
        assert falling == sorted(falling, reverse=True)

    def test_several_images_give_a_list_of_lists(self):
        one = convzoo.predict([SEVEN], "lenet", top=2)
        assert [len(predictions) for predictions in one] == [2]
        assert one[0][0].label == "7"
        stack = np.stack(
            [np.asarray(Image.open(EXAMPLES / f"{d}.png")) for d in (0, 1)]
        )
        several = convzoo.predict(stack[..., np.newaxis], "lenet", top=1)
        assert [best[0].label for best in several] == ["0", "1"]

    def test_top_beyond_the_classes_gives_all_of_them(self):
        predictions = convzoo.predict(SEVEN, "lenet", top=99)
        assert {prediction.index for prediction in predictions} == set(range(10))
        np.testing.assert_allclose(
            sum(p.probability for p in predictions), 1, atol=1e-5
        )

    def test_a_model_that_rescales_by_itself_sees_the_same(self):
        plain = convzoo.lenet(weights="mnist")
        rescaling = convzoo.lenet(weights="mnist", include_preprocessing=True)
        expected = convzoo.predict(SEVEN, plain, top=10)
        found = convzoo.predict(SEVEN, rescaling, top=10)
        assert [p.label for p in found] == [p.label for p in expected]
        np.testing.assert_allclose(
            [p.probability for p in found], [p.probability for p in expected], atol=1e-5
        )

    def test_the_last_model_built_by_name_is_kept(self):
        assert built("lenet").model is built("lenet").model

    def test_progress_counts_every_image(self):
        seen = []
        convzoo.predict(
            [SEVEN] * 5,
            "lenet",
            batch_size=2,
            progress=lambda done, total: seen.append((done, total)),
        )
        assert seen == [(1, 5), (2, 5), (3, 5), (4, 5), (5, 5)]

    def test_the_first_bad_image_is_raised(self, tmp_path):
        (tmp_path / "bad.png").write_text("no image")
        with pytest.raises(ImageError, match=r"bad\.png' is not an image"):
            convzoo.predict([SEVEN, tmp_path / "bad.png"], "lenet")

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            ({"include_top": False}, "build it with its top"),
            ({"input_shape": (32, 32, 3)}, "reads 3 channels.* are for 1"),
        ],
    )
    def test_a_model_that_cannot_name_classes_is_refused(self, options, words):
        with pytest.raises(ValueError, match=words):
            of_model(convzoo.lenet(weights="mnist", **options))

    def test_a_fresh_head_is_refused(self):
        with pytest.warns(UserWarning, match="head starts fresh"):
            model = convzoo.lenet(weights="mnist", classes=3)
        with pytest.raises(ValueError, match="does not name the 10 classes"):
            convzoo.predict(SEVEN, model)

    def test_the_record_is_that_of_the_models_options(self):
        for alpha in (1.0, 1.25):  # of which one is cropped at 256, the other at 248
            model = skeleton("mobilenet", variant="torch", alpha=alpha)
            name = "imagenet/timm-ra4_e3600_r224_in1k"
            object.__setattr__(model, "origin", model.origin._replace(weights=name))
            assert of_model(model).record.options == {"alpha": alpha}

    def test_weights_beside_a_built_model_are_refused(self):
        model = convzoo.lenet(weights="mnist")
        with pytest.raises(ValueError, match="weights and variant belong to a model's"):
            convzoo.predict(SEVEN, model, weights="mnist")


class TestOutcomes:
    def test_heads_at_the_side_say_nothing(self, random_lenet):
        model, record = random_lenet
        side = keras.ops.flip(model.output, 1)
        heads = keras.Model(model.input, {"aux": side, "main": model.output})
        assert list(outcomes([SEVEN], Classifier(heads, record))) == list(
            outcomes([SEVEN], random_lenet)
        )

    def test_bad_images_do_not_stop_the_good_ones(self, random_lenet, tmp_path):
        (tmp_path / "bad.png").write_text("no image")
        sources = [
            SEVEN,
            tmp_path / "bad.png",
            EXAMPLES / "1.png",
            tmp_path / "none.png",
        ]
        found = list(outcomes(sources, random_lenet, top=3))
        assert [outcome.image for outcome in found] == sources
        assert [len(outcome.predictions) for outcome in found] == [3, 0, 3, 0]
        assert "is not an image" in str(found[1].error)
        assert "does not exist" in str(found[3].error)
        assert found[0].error is None
        assert found[2].error is None

    def test_a_batch_of_bad_images_only(self, random_lenet, tmp_path):
        found = list(outcomes([tmp_path / "none.png"], random_lenet))
        assert [type(outcome.error) for outcome in found] == [ImageError]

    def test_the_batch_size_changes_nothing(self, random_lenet):
        sources = sorted(EXAMPLES.glob("*.png"))[:5]
        alone = list(outcomes(sources, random_lenet, batch_size=1))
        for size in (2, 5, 32):
            together = list(outcomes(sources, random_lenet, batch_size=size))
            for one, other in zip(alone, together, strict=True):
                assert [p.label for p in one.predictions] == [
                    p.label for p in other.predictions
                ]
                np.testing.assert_allclose(
                    [p.probability for p in one.predictions],
                    [p.probability for p in other.predictions],
                    rtol=1e-4,
                )

    def test_predictions_are_those_of_the_model(self, random_lenet):
        model, record = random_lenet
        scores = model.predict_on_batch(record.preprocess(SEVEN))[0]
        (outcome,) = outcomes([SEVEN], random_lenet, top=1)
        assert outcome.predictions[0].index == scores.argmax()
        np.testing.assert_allclose(outcome.predictions[0].probability, scores.max())


class TestFolders:
    def test_images_in_the_order_of_their_names(self, tmp_path):
        for name in ("b.png", "a.PNG", "c.jpeg"):
            shutil.copy(SEVEN, tmp_path / name)
        (tmp_path / "notes.txt").write_text("seven")
        (tmp_path / ".hidden.png").write_text("")
        (tmp_path / "inner.png").mkdir()
        images, others = folder_files(tmp_path)
        assert [path.name for path in images] == ["a.PNG", "b.png", "c.jpeg"]
        assert [path.name for path in others] == ["notes.txt"]
        assert expand(str(tmp_path)) == images

    def test_a_folder_without_images(self, tmp_path):
        (tmp_path / "notes.txt").write_text("seven")
        with pytest.raises(ImageError, match=f"{tmp_path.name}' holds no image files"):
            convzoo.predict(tmp_path, "lenet")


class TestMisuse:
    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            ({"model": "lenett"}, "did you mean 'lenet'"),
            (
                {"model": "unet"},
                "No weights are published for 'unet'.*: lenet, alexnet",
            ),
            ({"model": "lenet", "weights": "mnits"}, "did you mean 'mnist'"),
            (
                {"model": "lenet", "weights": "x.pth"},
                r"'x\.pth' is the path of a file.* takes the names.* "
                r"lenet\(weights='x\.pth'\).* weights_info\('lenet', 'mnist'\)\.prep",
            ),
            ({"model": "lenet", "variant": "papr"}, "did you mean 'paper'"),
            ({"model": "lenet", "top": 0}, "top must be .* found 0"),
            ({"model": "lenet", "top": True}, "top must be .* found True"),
            ({"model": "lenet", "batch_size": 0}, "batch_size must be .* found 0"),
        ],
    )
    def test_the_message_says_what_is_accepted(self, arguments, words):
        with pytest.raises(ValueError, match=words):
            convzoo.predict(SEVEN, **arguments)

    def test_a_random_model_knows_no_labels(self, random_lenet):
        with pytest.raises(ValueError, match="was not built with published weights"):
            convzoo.predict(SEVEN, random_lenet.model)

    def test_weights_from_a_file_know_no_labels(self, random_lenet, tmp_path):
        random_lenet.model.save_weights(tmp_path / "m.weights.h5")
        model = convzoo.lenet(weights=tmp_path / "m.weights.h5")
        with pytest.raises(ValueError, match="was not built with published weights"):
            convzoo.predict(SEVEN, model)

    def test_a_head_that_was_left_random_names_nothing(self):
        model = convzoo.lenet(weights="mnist")
        origin = model.origin._replace(fresh_head=True)
        object.__setattr__(model, "origin", origin)
        with pytest.raises(ValueError, match="'mnist' have no head for the 10 classes"):
            convzoo.predict(SEVEN, model)

    def test_what_is_no_image_is_told_before_a_model_is_built(self):
        with pytest.raises(TypeError, match="found int"):
            convzoo.predict(5, "lenet")


def test_the_default_weights_are_the_models_first():
    assert chosen_record("lenet", None, None) == find("lenet", "mnist", "modern")
    assert chosen_record("lenet", None, "paper").variant == "paper"
