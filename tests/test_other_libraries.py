"""What must not load as something else: files of other libraries, taken for ours."""

import warnings

import keras
import numpy as np
import pytest
from caffe_files import save_caffemodel
from calibrated import difference, outputs, randomize
from drawn import weights
from expected import load
from keras import layers
from small_nets import refused
from test_parity import save_legacy
from torch_files import save_zip
from torch_nets import NETS

import convzoo
from convzoo import load_model, load_weights, mobilenet, resnet18, save_weights, vgg16
from convzoo.deferred import without_weights
from convzoo.models.plan import FreshHeadWarning
from convzoo.pretrained import files, loading
from convzoo.pretrained.conventions import check_identity
from convzoo.pretrained.maps import libraries
from convzoo.pretrained.maps.places import Identity, width_multiplier

_, SHAPES = load()
KERAS_MOBILENET = keras.applications.MobileNet
SMALL = {"input_shape": (32, 32, 3)}
V15 = Identity("torchvision", "resnet50", "v1.5", {}, 1000)


def resnet18_file(path, classes=1000, channels=3):
    shapes = dict(SHAPES["torchvision-resnet18"])
    shapes |= {"fc.weight": (classes, 512), "fc.bias": (classes,)}
    shapes["conv1.weight"] = (64, channels, 7, 7)
    save_zip(path, weights(shapes))
    return path


def keras_body():
    body = KERAS_MOBILENET((32, 32, 3), 0.25, include_top=False, weights=None)
    randomize(body)
    return body


def saved(model, path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Keras calls .h5 legacy
        (model.save_weights if path.name.endswith("weights.h5") else model.save)(path)
    return path


def test_a_variant_is_told_by_whose_file_it_is():
    with without_weights():
        published, ours = convzoo.resnet50(), convzoo.resnet50(variant="v1.5")
    check_identity(ours, V15)
    with pytest.raises(ValueError, match=r"resnet50 of variant 'v1' with the options"):
        check_identity(published, V15)
    for model in (published, ours):
        object.__setattr__(model, "origin", None)
    check_identity(ours, V15)
    with pytest.raises(ValueError, match=r"'conv3_block1_1_conv' has strides"):
        check_identity(published, V15)


@pytest.mark.parametrize("net", ["resnet50", "xception", "mobilenet"])
def test_a_file_that_does_not_tell_its_variant_needs_it_named(net, tmp_path):
    build = getattr(convzoo, net)
    small = {"include_top": False, "input_shape": (75, 75, 3)}
    if net == "mobilenet":
        small["alpha"] = 0.25
    path = saved(build(**small), tmp_path / "a.weights.h5")
    with pytest.raises(
        ValueError, match=rf"does not tell .* of {net} .* pass variant="
    ):
        build(weights=path, **small)
    default = convzoo.catalog.CATALOG[net].default
    build(weights=path, variant=default, **small)


def test_keras_own_formats_that_tell_settings_are_held_to_them(tmp_path):
    small = {"include_top": False, "alpha": 0.25, **SMALL}
    model = mobilenet(variant="torch", **small)
    for name in ("a.keras", "a.h5"):
        path = saved(model, tmp_path / name)
        refused(mobilenet(**small), path, "in the file and .* in the model")
        report = load_weights(mobilenet(variant="torch", **small), path)
        assert not report.unused


@pytest.mark.parametrize("name", ["a.keras", "a.h5", "a.weights.h5"])
def test_layers_of_another_make_are_refused(name, tmp_path):
    body = keras_body()
    around = keras.Input((32, 32, 3))
    scaled = layers.Rescaling(1 / 255)(around)
    rescaled = keras.Model(
        around,
        layers.Dense(5)(layers.GlobalAveragePooling2D()(_called(body, scaled))),
    )
    pooled = keras.Model(
        body.input, layers.Dense(5)(layers.GlobalMaxPooling2D()(body.output))
    )
    bent = layers.GlobalAveragePooling2D()(layers.Activation("tanh")(body.output))
    for model, layer in (
        (pooled, "global_max_pooling2d"),
        (keras.Model(body.input, layers.Dense(5)(bent)), "activation"),
        (rescaled, "rescaling"),
    ):
        path = saved(model, tmp_path / name)
        with pytest.raises(
            ValueError, match=rf"layers of another make, such as '{layer}"
        ):
            mobilenet(weights=path, **SMALL)


def _called(body, tensor):
    """Build the body flat on another tensor."""
    again = KERAS_MOBILENET(
        input_tensor=tensor, alpha=0.25, include_top=False, weights=None
    )
    again.set_weights(body.get_weights())
    return again.output


@pytest.mark.parametrize("name", ["a.keras", "a.h5", "a.weights.h5"])
def test_a_usual_head_of_somebodys_own_is_taken(name, tmp_path):
    body = keras_body()
    x = layers.Dropout(0.2)(layers.GlobalAveragePooling2D()(body.output))
    model = keras.Model(body.input, layers.Dense(5)(x))
    ours = mobilenet(
        weights=saved(model, tmp_path / name), classifier_activation=None, **SMALL
    )
    batch = np.random.default_rng(0).uniform(-1, 1, (2, 32, 32, 3)).astype("float32")
    assert difference(outputs(ours, batch), outputs(model, batch)) < 1e-4


def test_other_channels_are_not_reversed(tmp_path):
    with pytest.warns(UserWarning, match="usually expects 1 or 3 input channels"):
        theirs = keras.applications.VGG16(
            include_top=False, weights=None, input_shape=(32, 32, 4)
        )
    path = tmp_path / "vgg.h5"
    save_legacy(theirs, path)
    ours = vgg16(weights=path, include_top=False, input_shape=(32, 32, 4))
    batch = np.random.default_rng(0).uniform(-1, 1, (2, 32, 32, 4)).astype("float32")
    assert difference(outputs(ours, batch), outputs(theirs, batch)) < 1e-5


def test_a_model_that_may_read_bgr_is_not_turned(tmp_path):
    theirs = keras.applications.VGG16(
        include_top=False, weights=None, input_shape=(32, 32, 3)
    )
    save_legacy(theirs, tmp_path / "vgg.h5")
    refused(theirs, tmp_path / "vgg.h5", "its input is not called 'image'")
    ours = vgg16(include_top=False, input_shape=(32, 32, 3))
    ours.save(tmp_path / "ours.keras")
    load_weights(load_model(tmp_path / "ours.keras"), tmp_path / "vgg.h5")


def test_a_rescaling_inside_must_be_the_files(tmp_path):
    path = resnet18_file(tmp_path / "r.pth")
    model = resnet18(include_preprocessing=True, **SMALL)
    refused(model, path, "'image_rescaling' rescales by")
    built = resnet18(weights=path, include_preprocessing=True, **SMALL)
    load_weights(built, path)


def test_grey_images_and_three_means_do_not_go_together(tmp_path):
    path = resnet18_file(tmp_path / "r.pth")
    with pytest.raises(ValueError, match=r"scales red, green and blue apart"):
        resnet18(weights=path, input_shape=(32, 32, 1), include_preprocessing=True)


def test_a_map_of_another_form_with_as_many_cells_is_refused(tmp_path):
    shapes = SHAPES["torchvision-alexnet-body"] | {
        "classifier.1.weight": (4096, 9216),
        "classifier.1.bias": (4096,),
        "classifier.4.weight": (4096, 4096),
        "classifier.4.bias": (4096,),
        "classifier.6.weight": (2, 4096),
        "classifier.6.bias": (2,),
    }
    path = tmp_path / "alexnet.pth"
    save_zip(path, {name: np.zeros(shape, "f4") for name, shape in shapes.items()})
    with pytest.raises(ValueError, match=r"the map of 4 x 9 is not square"):
        convzoo.alexnet(weights=path, input_shape=(160, 320, 3))


def test_caffenet_is_no_alexnet(tmp_path):
    blobs = {
        "conv1": [np.zeros((96, 3, 11, 11), "f4")],
        "norm1": [],
        "pool1": [],
        "conv5": [np.zeros((256, 192, 3, 3), "f4")],
    }
    path = save_caffemodel(tmp_path / "alexnet.caffemodel", blobs)
    assert files.read(path).identity.builder == "alexnet"
    order = ("conv1", "pool1", "norm1", "conv5")
    save_caffemodel(path, {name: blobs[name] for name in order})
    with pytest.raises(ValueError, match="found CaffeNet, which pools before"):
        files.read(path)


def test_one_class_and_softmax_do_not_go_together(tmp_path):
    path = resnet18_file(tmp_path / "r.pth", classes=1)
    with pytest.raises(ValueError, match=r"classes=1 with softmax .*'sigmoid'"):
        resnet18(weights=path)
    model = resnet18(weights=path, classifier_activation="sigmoid")
    assert model.output_shape == (None, 1)


def test_other_channels_in_the_file_must_be_asked_for(tmp_path):
    path = resnet18_file(tmp_path / "r.pth", channels=1)
    with pytest.raises(ValueError, match=r"another number of channels .* input_shape="):
        resnet18(weights=path)
    resnet18(weights=path, input_shape=(32, 32, 1))
    resnet18(weights=path, input_shape=(32, 32, 3))


def test_half_precision_is_turned_in_single(tmp_path):
    body = keras_body()
    whole = {v.path: np.float16(v) for v in body.weights}
    for variable in body.weights:
        variable.assign(whole[variable.path].astype("float32"))
    expected = mobilenet(
        weights=saved(body, tmp_path / "a.keras"), include_top=False, **SMALL
    )
    keras.config.set_dtype_policy("float16")
    try:
        half = keras_body()
        half.set_weights([whole[variable.path] for variable in body.weights])
        path = saved(half, tmp_path / "half.keras")
    finally:
        keras.config.set_dtype_policy("float32")
    found = mobilenet(weights=path, include_top=False, **SMALL)
    pairs = zip(expected.get_weights(), found.get_weights(), strict=True)
    for a, b in pairs:
        np.testing.assert_allclose(a, b, rtol=1e-6)


@pytest.mark.parametrize(
    "alpha", [1, 0.75, 0.5, 0.25, 0.35, 0.6, 0.3, 0.1, 1.25, 1 / 32]
)
def test_the_width_of_a_mobilenet_is_found(alpha, tmp_path):
    assert width_multiplier(int(1024 * alpha)) == alpha
    if alpha in {0.35, 0.1}:
        theirs = KERAS_MOBILENET((32, 32, 3), alpha, include_top=False, weights=None)
        save_legacy(theirs, tmp_path / "m.h5")
        mobilenet(weights=tmp_path / "m.h5", include_top=False, **SMALL)


@pytest.mark.parametrize("key", [key for key in SHAPES if not key.startswith("caffe")])
def test_what_is_written_has_the_names_and_shapes_of_the_library(key):
    net = NETS[key.removesuffix("-body")]
    layout, builder = key.partition("-")[0], net.builder
    identity = libraries.identify(
        files.Content(
            {
                name: files.Stored(tuple(shape), np.dtype("f4"), None)
                for name, shape in SHAPES[key].items()
            },
            "PyTorch",
        )
    )
    aux = {"aux": True} if any("aux" in name.lower() for name in SHAPES[key]) else {}
    with without_weights():
        model = getattr(convzoo, builder)(
            variant=identity.variant,
            include_top=not key.endswith("-body"),
            **identity.options,
            **aux,
        )
    values = {
        f"{layer.name}/{variable.name}": np.zeros(variable.shape, "f4")
        for layer in model.layers
        for variable in layer.weights
    }
    state = libraries.state_dict(model, values, layout, builder)
    written = {name: array.shape for name, array in state.items()}
    expected = {name: tuple(shape) for name, shape in SHAPES[key].items()}
    counters = {name: () for name in written if name.endswith("num_batches_tracked")}
    assert len(counters) == sum(name.endswith("running_var") for name in expected)
    assert written == expected | counters


def test_counters_have_no_axes_in_the_file(tmp_path):
    path = tmp_path / "a.safetensors"
    save_weights(
        mobilenet(variant="torch", alpha=0.25, include_top=False), path, layout="timm"
    )
    assert files.read(path).tensors["bn1.num_batches_tracked"].shape == ()


def test_a_file_without_head_gives_a_fresh_one(tmp_path):
    path = saved(keras_body(), tmp_path / "a.keras")
    with pytest.warns(FreshHeadWarning, match=r"know no classes, the model 5"):
        model = mobilenet(weights=path, classes=5, **SMALL)
    assert model.origin.fresh_head


def test_a_file_that_changes_is_not_half_read(tmp_path):
    path = save_weights(convzoo.mini_resnet(), tmp_path / "a.safetensors")
    checkpoint = files.read(path)
    save_weights(convzoo.mini_resnet(), path)
    name = next(iter(checkpoint.tensors))
    with pytest.raises(files.UnreadableError, match="changed while it was read"):
        checkpoint.tensors[name].read()


def test_a_load_that_breaks_off_gives_the_old_values_back(tmp_path, monkeypatch):
    """The file is exchanged between the check and the last assignment."""
    path = save_weights(convzoo.mini_resnet(), tmp_path / "a.safetensors")
    other = save_weights(convzoo.mini_resnet(), tmp_path / "b.safetensors")
    model = convzoo.mini_resnet()
    filled = []

    def fill(variable, value):
        filled.append(variable)
        if len(filled) == 5:
            other.replace(path)
        original(variable, value)

    original = loading.fill
    monkeypatch.setattr(loading, "fill", fill)
    refused(model, path, r"changed while it was loaded .* the model is as it was")
    assert len(filled) > 5


def test_unet_keeps_its_encoders_variant_and_scaling(tmp_path):
    shapes = SHAPES["torchvision-resnet50"]
    encoder = tmp_path / "r50.pth"
    save_zip(encoder, weights(shapes))
    settings = {"encoder": "resnet50", "filters": 4, "include_preprocessing": True}
    model = convzoo.unet(encoder_weights=encoder, **settings)
    assert model.origin.options["encoder_variant"] == "v1.5"
    path = save_weights(model, tmp_path / "u.safetensors")
    again = convzoo.unet(weights=path, include_preprocessing=True)
    batch = np.random.default_rng(0).uniform(0, 255, (1, 64, 64, 3)).astype("float32")
    np.testing.assert_array_equal(outputs(again, batch), outputs(model, batch))


def test_addresses_folders_and_names_are_told_apart(tmp_path):
    for weights_, message in (
        ("https://host/resnet18.pth", "is an address: download the file first"),
        (str(tmp_path), "is a folder, not a file"),
        ("imagenet/torchvision-v1.5", "did you mean 'imagenet/torchvision-v"),
    ):
        with pytest.raises(ValueError, match=message):
            convzoo.resnet50(weights=weights_)
    with pytest.raises(ValueError, match=r"is not known; accepted: 'imagenet'\."):
        load_weights(resnet18(**SMALL), "imagenet/torchvision-v9")
    with pytest.raises(TypeError, match=r"weights=3 must be .* a record or the path"):
        resnet18(weights=3)


def test_a_record_is_taken_for_weights(monkeypatch, tmp_path):
    monkeypatch.setenv("CONVZOO_OFFLINE", "1")
    monkeypatch.setenv("CONVZOO_HOME", str(tmp_path))
    record = convzoo.weights_info("resnet18", "imagenet")
    with pytest.raises(OSError, match=r"resnet18-f37072fd\.pth is not in the cache"):
        resnet18(weights=record, variant="v1.5")
    with pytest.raises(ValueError, match="a record of resnet18, not of resnet34"):
        convzoo.resnet34(weights=record)
