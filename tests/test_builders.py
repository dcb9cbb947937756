"""Arguments of the builders: what they do, and how wrong ones are answered."""

import inspect

import keras
import numpy as np
import pytest
from structure import skeleton

import convzoo
from convzoo.anatomy import taps
from convzoo.catalog import CATALOG
from convzoo.models.plan import FreshHeadWarning

CLASSIFIERS = [name for name, e in CATALOG.items() if e.task == "classification"]


def smallest(name):
    form = CATALOG[name].variants[CATALOG[name].default]
    return (form.minimum, form.minimum, form.input_shape[-1])


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_the_shared_options(name):
    model = skeleton(name, input_shape=smallest(name), classes=7, name="mine")
    assert model.output_shape == (None, 7)
    assert model.name == "mine"
    assert model.layers[0].name == "image"
    assert model.layers[-1].activation is keras.activations.softmax
    logits = skeleton(name, input_shape=smallest(name), classifier_activation=None)
    assert logits.layers[-1].activation is keras.activations.linear
    assert logits.output_shape == (None, CATALOG[name].classes)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_without_top(name):
    open_size = (None, None, 5)
    body = skeleton(name, include_top=False, input_shape=open_size)
    assert body.output_shape[:3] == (None, None, None)
    channels = body.output_shape[-1]
    for pooling in ("avg", "max"):
        model = skeleton(
            name, include_top=False, input_shape=open_size, pooling=pooling
        )
        assert model.output_shape == (None, channels)
    assert not [layer for layer in body.layers if layer.name.startswith("head")]


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_the_minimum_is_the_minimum(name):
    for variant, form in CATALOG[name].variants.items():
        side, channels = form.minimum, form.input_shape[-1]
        body = skeleton(
            name,
            variant=variant,
            include_top=False,
            input_shape=(side, side, channels),
        )
        assert min(body.output_shape[1:3]) >= 1
        with pytest.raises(ValueError, match=f"at least {side} or None"):
            skeleton(name, variant=variant, input_shape=(side - 1, side + 40, channels))


def test_input_tensor_keeps_the_users_graph():
    image = keras.Input((64, 64, 4), name="mine")
    x = keras.layers.Conv2D(3, 1, name="to_rgb")(image)
    model = convzoo.mobilenet(alpha=0.25, input_tensor=x, classes=3)
    assert model.input_shape == (None, 64, 64, 4)
    assert model.layers[1].name == "to_rgb"
    with pytest.raises(ValueError, match="input_shape=\\(32, 32, 3\\) contradicts"):
        convzoo.mobilenet(input_tensor=x, input_shape=(32, 32, 3))
    with pytest.raises(ValueError, match="must be a Keras tensor, found ndarray"):
        convzoo.mobilenet(input_tensor=np.zeros((1, 64, 64, 3)))


def test_include_preprocessing_takes_bytes():
    model = convzoo.mini_vgg(include_preprocessing=True)
    layer = model.layers[1]
    assert (layer.name, layer.compute_dtype) == ("image_rescaling", "float32")
    found = keras.ops.convert_to_numpy(
        layer(np.array([0, 255], "uint8").reshape(1, 1, 2, 1))
    )
    np.testing.assert_allclose(found[0, 0, :, 0], [-1, 1], atol=1e-6)


def test_the_same_seed_gives_the_same_weights():
    models = []
    for seed in (1, 1, 2):
        keras.utils.set_random_seed(seed)
        models.append(convzoo.mini_resnet(depth=8).get_weights())
    for first, second in zip(models[0], models[1], strict=True):
        np.testing.assert_array_equal(first, second)
    assert np.abs(models[0][0] - models[2][0]).max() > 0


# ResNet-34, 101 and 152 are the code of 18 and 50 with longer tables, half a gigabyte.
DRAWN = [n for n in CATALOG if n not in {"resnet34", "resnet101", "resnet152"}]


@pytest.mark.parametrize("name", DRAWN)
def test_no_two_kernels_start_equal(name):
    if name == "unet":
        model = convzoo.unet(filters=4)
    elif name.startswith(("vgg", "alexnet")):  # the top alone is half a gigabyte
        model = getattr(convzoo, name)(include_top=False, input_shape=smallest(name))
    else:
        model = getattr(convzoo, name)()
    seen = {}
    for weight in model.weights:
        if "kernel" in weight.name:
            value = keras.ops.convert_to_numpy(weight).ravel()
            key = (value.shape, value[:4].tobytes())
            assert key not in seen, f"{weight.path} equals {seen.get(key)}"
            seen[key] = weight.path


def test_initialisation_of_alexnet_is_the_papers():
    model = convzoo.alexnet(include_top=False)
    ones = {
        layer.name
        for layer in model.layers
        if layer.weights and layer.name != "conv1_lrn" and layer.get_weights()[1].all()
    }
    expected = {f"conv{i}_tower{t}" for i in (2, 4, 5) for t in (1, 2)}
    assert ones == expected
    kernel = model.get_layer("conv4_tower1").get_weights()[0]
    assert kernel.std() == pytest.approx(0.01, rel=0.02)


def test_dropout_can_be_set_or_taken_out():
    def rates(model):
        kind = keras.layers.Dropout
        return [layer.rate for layer in model.layers if isinstance(layer, kind)]

    assert rates(skeleton("vgg16", dropout=0.2)) == [0.2, 0.2]
    assert rates(skeleton("googlenet", aux=True)) == [0.7, 0.7, 0.4]
    assert rates(skeleton("googlenet", aux=True, dropout=0)) == []
    assert rates(skeleton("mini_vgg", dropout=0.1)) == [0.05, 0.05, 0.1]
    assert rates(skeleton("lenet", dropout=0.3)) == [0.3]


def test_side_heads():
    model = skeleton("googlenet", aux=True, classes=9)
    shapes = {name: output.shape for name, output in model.output.items()}
    assert shapes == dict.fromkeys(("main", "aux1", "aux2"), (None, 9))
    model = skeleton("inception_v3", aux=True)
    assert set(model.output) == {"main", "aux"}
    with pytest.raises(ValueError, match="aux=True adds side heads to the top"):
        skeleton("googlenet", aux=True, include_top=False)
    with pytest.raises(ValueError, match="too small for aux=True"):
        skeleton("inception_v3", aux=True, input_shape=(298, 299, 3))
    with pytest.raises(ValueError, match="open or too small for aux=True"):
        skeleton("googlenet", aux=True, input_shape=(78, 79, 3))
    skeleton("googlenet", aux=True, input_shape=(79, 79, 3))


def test_side_heads_train_with_their_loss_weights():
    model = convzoo.googlenet(aux=True, classes=3, input_shape=(79, 79, 3), dropout=0)
    loss = "sparse_categorical_crossentropy"
    weights = {"main": 1, "aux1": 0.3, "aux2": 0.3}
    model.compile("sgd", dict.fromkeys(weights, loss), loss_weights=weights)
    images, labels = np.zeros((2, 79, 79, 3)), np.array([0, 2])
    heads = {name: keras.ops.convert_to_numpy(y) for name, y in model(images).items()}
    expected = sum(
        weight * -np.log(heads[name][[0, 1], labels]).mean()
        for name, weight in weights.items()
    )
    found = model.evaluate(images, dict.fromkeys(weights, labels), verbose=0)
    assert found[0] == pytest.approx(expected, rel=1e-4)


def test_side_heads_of_weights_may_be_left_out(tmp_path):
    full = convzoo.googlenet(aux=True, classes=3, input_shape=(79, 79, 3))
    path = convzoo.save_weights(full, tmp_path / "aux.safetensors")
    data = np.random.default_rng(0).normal(size=(1, 79, 79, 3)).astype("float32")
    expected = keras.ops.convert_to_numpy(full(data)["main"])
    again = convzoo.googlenet(weights=path)
    assert set(again.output) == {"main", "aux1", "aux2"}
    lean = convzoo.googlenet(weights=path, aux=False)
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(lean(data)), expected)
    body = convzoo.googlenet(weights=path, include_top=False)
    np.testing.assert_array_equal(body.get_weights()[0], full.get_weights()[0])
    path = convzoo.save_weights(lean, tmp_path / "lean.safetensors")
    with pytest.raises(ValueError, match="aux=True contradicts the weights"):
        convzoo.googlenet(weights=path, aux=True)


@pytest.mark.parametrize("build", [convzoo.mini_vgg, convzoo.resnet18])
def test_a_fresh_head_is_announced_where_it_is_asked_for(build, tmp_path):
    model = build(input_shape=(32, 32, 3), classes=4)
    path = convzoo.save_weights(model, tmp_path / "four.safetensors")
    line = inspect.currentframe().f_lineno + 2
    with pytest.warns(FreshHeadWarning, match="know 4 classes, the model 5") as seen:
        fresh = build(weights=path, classes=5)
    assert [(w.filename, w.lineno) for w in seen] == [(__file__, line)]
    for layer in model.layers:
        twin = fresh.get_layer(layer.name)
        for old, new in zip(layer.get_weights(), twin.get_weights(), strict=True):
            kept = old.shape == new.shape and (old == new).all()
            assert kept or layer.name.startswith("head_")
    assert fresh.output_shape == (None, 5)
    assert build(weights=path).output_shape == (None, 4)


def test_weights_bring_their_scaling_and_size(tmp_path):
    raw = np.random.default_rng(0).integers(0, 256, (2, 40, 40, 1), "uint8")
    scaled = convzoo.lenet(weights="mnist", include_preprocessing=True)
    record = convzoo.weights_info("lenet", "mnist")
    plain = convzoo.lenet(weights="mnist")
    path = convzoo.save_weights(plain, tmp_path / "mine.safetensors")
    again = convzoo.lenet(weights=path, include_preprocessing=True)
    digits = raw[:, :32, :32]
    expected = (digits / 255 - record.mean[0]) / record.std[0]
    answers = [
        keras.ops.convert_to_numpy(model(x))
        for model, x in ((scaled, digits), (again, digits), (plain, expected))
    ]
    np.testing.assert_array_equal(answers[0], answers[1])
    np.testing.assert_allclose(answers[0], answers[2], rtol=1e-3, atol=1e-6)

    large = convzoo.lenet(input_shape=(40, 40, 1), classes=3)
    path = convzoo.save_weights(large, tmp_path / "large.safetensors")
    found = convzoo.lenet(weights=path)
    assert (found.input_shape, found.output_shape) == ((None, 40, 40, 1), (None, 3))
    with pytest.raises(ValueError, match=r"whose top reads \(40, 40, 1\)"):
        convzoo.lenet(weights=path, input_shape=(32, 32, 1))
    with pytest.raises(ValueError, match="mean and deviation"):
        convzoo.lenet(weights=path, include_preprocessing=True)


def test_a_unet_comes_back_whole_from_its_file(tmp_path):
    model = convzoo.unet(encoder="mini_resnet", filters=2, classes=3, depth=1)
    path = convzoo.save_weights(model, tmp_path / "unet.safetensors")
    again = convzoo.unet(weights=path)
    assert again.input_shape == (None, None, None, 3)
    data = np.random.default_rng(0).normal(size=(1, 20, 24, 3)).astype("float32")
    np.testing.assert_array_equal(
        keras.ops.convert_to_numpy(model(data)), keras.ops.convert_to_numpy(again(data))
    )


def test_lenet_takes_other_classes():
    for variant in ("modern", "paper"):
        model = convzoo.lenet(variant=variant, classes=37)
        scores = keras.ops.convert_to_numpy(model(np.zeros((2, 32, 32, 1))))
        assert scores.shape == (2, 37)
        np.testing.assert_allclose(scores.sum(-1), 1, rtol=1e-5)


@pytest.mark.parametrize("side", [188, 204, 572, 588])
def test_unet_takes_the_papers_sizes(side):
    model = skeleton("unet", variant="paper", input_shape=(side, 188, 1))
    assert model.output_shape == (None, side - 184, 4, 2)


def test_unet_sizes_follow_12_modulo_16():
    for side in range(180, 260):
        if side % 16 == 12 and side >= 188:
            skeleton("unet", variant="paper", input_shape=(side, side, 1), filters=1)
            continue
        with pytest.raises(ValueError, match=f"nearest to {side}"):
            skeleton("unet", variant="paper", input_shape=(side, side, 1))
    with pytest.raises(ValueError, match="nearest to 570: 556 and 572"):
        skeleton("unet", variant="paper", input_shape=(570, 572, 1))


def test_unet_of_other_depths_checks_its_own_sizes():
    for depth in (1, 2, 3):
        step = 2**depth
        least = 8 * step + 4 * (step - 1)
        for side in range(least, least + 2 * step):
            arguments = {
                "variant": "paper",
                "depth": depth,
                "filters": 1,
                "input_shape": (side, side, 1),
            }
            if (side - least) % step:
                with pytest.raises(
                    ValueError, match="must be even before each pooling"
                ):
                    skeleton("unet", **arguments)
            else:
                assert skeleton("unet", **arguments).output_shape[1] >= 4


@pytest.mark.parametrize("size", [(101, 77), (96, 96), (33, 16)])
def test_unet_keeps_any_size(size):
    open_model = convzoo.unet(filters=2, depth=3, classes=3)
    fixed = convzoo.unet(filters=2, depth=3, classes=3, input_shape=(*size, 1))
    fixed.set_weights(open_model.get_weights())
    data = np.random.default_rng(0).normal(size=(2, *size, 1)).astype("float32")
    found = keras.ops.convert_to_numpy(open_model(data))
    assert found.shape == (2, *size, 3)
    np.testing.assert_array_equal(found, keras.ops.convert_to_numpy(fixed(data)))


def test_unets_first_skip_reaches_the_last_step():
    """The corner of the paper's output sees what the figure's crop of 88 leaves."""
    model = skeleton("unet", variant="paper")
    crops = {
        layer.name: layer.cropping[0]
        for layer in model.layers
        if isinstance(layer, keras.layers.Cropping2D)
    }
    assert crops == {
        "up1_match_crop": (88, 88),
        "up2_match_crop": (40, 40),
        "up3_match_crop": (16, 16),
        "up4_match_crop": (4, 4),
    }


@pytest.mark.parametrize("encoder", CLASSIFIERS)
def test_unet_on_every_encoder(encoder):
    form = CATALOG[encoder].variants[CATALOG[encoder].default]
    side = max(form.minimum, 64)
    model = skeleton(
        "unet", encoder=encoder, input_shape=(side + 1, side, 3), filters=4
    )
    assert model.output_shape == (None, side + 1, side, 2)
    body = skeleton(encoder, include_top=False, input_shape=(side + 1, side, 3))
    for stride, layer in taps(body).items():
        if stride == max(taps(body)):
            continue
        level = stride.bit_length()
        names = [
            t._keras_history.operation.name for t in _inputs(model, f"up{level}_concat")
        ]
        assert names[0] in {layer, f"{layer}_concat"}


def _inputs(model, name):
    return model.get_layer(name).input


def test_unet_on_an_encoder_of_ones_own():
    body = convzoo.mini_resnet(include_top=False, input_shape=(None, None, 3))
    model = convzoo.unet(encoder=body, filters=2)
    assert model.origin.options["encoder"] == "mini_resnet"
    data = np.zeros((1, 37, 50, 3), "float32")
    assert model(data).shape == (1, 37, 50, 2)
    assert model.get_layer("conv3_block1_1_conv") is body.get_layer(
        "conv3_block1_1_conv"
    )
    shallow = skeleton("unet", encoder="resnet18", depth=3)
    assert "conv5_block1_1_conv" not in {layer.name for layer in shallow.layers}


ERRORS = [
    (
        "resnet50",
        {"variant": "v1_5"},
        "variant='v1_5' is not known, did you mean 'v1.5'",
    ),
    ("resnet50", {"classes": 0}, "classes=0 must be a whole number"),
    ("resnet50", {"classes": 10, "include_top": False}, "classes=10 needs include_top"),
    ("resnet50", {"pooling": "avg"}, "pooling='avg' is for include_top=False"),
    ("resnet50", {"pooling": "mean", "include_top": False}, "accepted: 'avg', 'max'"),
    ("resnet50", {"dropout": 1.0}, "dropout=1.0 must be a fraction"),
    ("resnet50", {"dropout": 0.2, "include_top": False}, "dropout=0.2 acts in the top"),
    ("resnet50", {"input_shape": (224, 224)}, "\\(height, width, channels\\)"),
    ("resnet50", {"input_shape": (3, 224, 224)}, "Channels come last"),
    ("resnet50", {"input_shape": (28, 28, 3)}, "there are mini_vgg, mini_inception"),
    ("resnet50", {"input_shape": (224.5, 224, 3)}, "in whole pixels"),
    ("resnet50", {"input_shape": (224, 224, 0)}, "must be \\(height, width, channels"),
    ("vgg16", {"input_shape": (None, None, 3)}, "needs a known height and width"),
    ("lenet", {"input_shape": (28, 28, 1)}, "at least 32 or None.*two pixels"),
    ("mobilenet", {"alpha": 0}, "alpha=0 must be a width multiplier"),
    ("mini_resnet", {"depth": 18}, "depth=18 must be 6 n \\+ 2"),
    ("mini_resnet", {"shortcut": "C"}, "shortcut='C' is not known"),
    ("unet", {"up": "cubic"}, "accepted: 'transpose', 'nearest', 'bilinear'"),
    ("unet", {"filters": 0}, "filters=0 must be"),
    ("unet", {"depth": 1.5}, "depth=1.5 must be"),
    ("unet", {"encoder": "resnet5"}, "did you mean 'resnet50'"),
    ("unet", {"encoder": "unet"}, "encoder='unet' is not known"),
    ("unet", {"encoder_weights": "imagenet"}, "needs the name of an encoder"),
    ("unet", {"encoder": "resnet18", "variant": "paper"}, "has its own left side"),
    ("unet", {"encoder": "alexnet", "depth": 1}, "depth=1 is not known.*2, 3, 4, 5"),
    ("unet", {"encoder": "mini_resnet", "depth": 9}, "depth=9 is not known.*1, 2"),
    ("unet", {"batch_norm": "no"}, "batch_norm='no' is not known"),
    ("unet", {"filters": True}, "filters=True must be"),
    ("vgg16", {"batch_norm": "no"}, "batch_norm='no' is not known"),
    ("resnet50", {"include_top": "no"}, "include_top='no' is not known"),
    ("resnet50", {"include_preprocessing": 1.5}, "include_preprocessing=1.5 is not"),
    ("resnet50", {"classes": True}, "classes=True must be a whole number"),
    ("resnet50", {"classifier_activation": "sofmax"}, "did you mean 'softmax'"),
    ("mobilenet", {"alpha": float("nan")}, "alpha=nan must be a width multiplier"),
    ("mobilenet", {"alpha": float("inf")}, "alpha=inf must be a width multiplier"),
]


@pytest.mark.parametrize(("name", "arguments", "message"), ERRORS)
def test_errors_say_what_is_accepted(name, arguments, message):
    with pytest.raises(ValueError, match=message) as error:
        skeleton(name, **arguments)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("imagenet",), r"write resnet50\(weights='imagenet'\)"),
        ((10,), r"write resnet50\(classes=10\)"),
        (((64, 64, 3),), r"write resnet50\(input_shape=\(64, 64, 3\)\)"),
        (([64, 64, 3],), r"write resnet50\(input_shape=\[64, 64, 3\]\)"),
        ((True, None), r"write resnet50\(include_top=True\)"),
    ],
)
def test_positional_arguments_are_shown_the_keyword(arguments, message):
    with pytest.raises(TypeError, match=message):
        convzoo.resnet50(*arguments)


def test_unknown_arguments_get_a_suggestion():
    with pytest.raises(TypeError, match="no argument 'alhpa', did you mean 'alpha'"):
        convzoo.mobilenet(alhpa=0.5)


def test_weights_that_are_none(tmp_path):
    with pytest.raises(TypeError, match="weights=3 must be None, the name"):
        convzoo.resnet18(weights=3)
    with pytest.raises(FileNotFoundError, match=r"nothing\.safetensors"):
        convzoo.resnet18(weights=str(tmp_path / "nothing.safetensors"))
    assert convzoo.mini_vgg(classes=np.int64(5)).output_shape == (None, 5)


def test_a_file_called_like_weights_does_not_hide_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mnist").write_text("no weights")
    assert convzoo.lenet(weights="mnist").origin.weights == "mnist"


def test_channels_first_is_refused():
    keras.config.set_image_data_format("channels_first")
    try:
        with pytest.raises(
            ValueError, match="set_image_data_format\\('channels_last'\\)"
        ):
            convzoo.lenet()
    finally:
        keras.config.set_image_data_format("channels_last")


def test_encoders_that_cannot_be():
    body = skeleton("mini_vgg", include_top=False, pooling="avg")
    with pytest.raises(ValueError, match="include_top=False and pooling=None"):
        convzoo.unet(encoder=body)
    body = skeleton("mini_vgg", include_top=False)
    with pytest.raises(
        ValueError, match=r"which reads \(32, 32, 3\): drop input_shape"
    ):
        convzoo.unet(encoder=body, input_shape=(64, 64, 1))
    with pytest.raises(ValueError, match="include_preprocessing=True needs the name"):
        convzoo.unet(encoder=body, include_preprocessing=True)
