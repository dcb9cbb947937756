"""Equal outputs: torchvision's and timm's networks, live, and back into them."""

import gc

import keras
import numpy as np
import pytest
from calibrated import assert_sensitive, difference, double_precision
from drawn import pictures, scaled, weights
from photos import torchvision
from torch_nets import NETS, UNIT, answer, body, calibrated, filled, shapes

import convzoo
from convzoo.models.plan import FreshHeadWarning
from convzoo.pretrained.files import read

pytestmark = pytest.mark.torch


class Case:
    """A network of theirs, its answers, and ours with its weights."""

    def __init__(self, name, folder):
        import torch  # noqa: PLC0415

        self.name, self.net, self.folder = name, NETS[name], folder
        self.batch = scaled(pictures(self.net.side, self.net.batch), UNIT)
        self.theirs = calibrated(self.net, self.batch)
        self.expected = answer(self.theirs, self.batch)
        self.path = folder / "weights.pth"
        torch.save(self.theirs.state_dict(), self.path)
        self.ours = self.build(self.path, dropout=0.0)

    def build(self, path, **arguments):
        gc.collect()  # models are cycles, and those of VGG half a gigabyte
        head = {} if arguments.get("include_top") is False else {**self.net.ours}
        if arguments.get("include_top", True):
            head["classifier_activation"] = None
        build = getattr(convzoo, self.net.builder)
        return build(weights=path, **head, **arguments)

    def check(self, what, found, expected, limit=1e-4):
        error = difference(found, expected)
        print(f"{self.name}, {what}: {error:.1e}")
        assert np.isfinite(expected).all()
        assert error <= limit


@pytest.fixture(scope="module", params=NETS)
def case(request, tmp_path_factory):
    keras.backend.clear_session()
    gc.collect()
    return Case(request.param, tmp_path_factory.mktemp("weights"))


def logits(model, batch):
    found = model(batch, training=False)
    return np.asarray(found["main"] if isinstance(found, dict) else found)


def values(model):
    return {weight.path: np.asarray(weight) for weight in model.weights}


def test_equal_outputs(case):
    other = scaled(pictures(case.net.side, case.net.batch, seed=9), UNIT)
    assert_sensitive(
        lambda batch: answer(case.theirs, batch), case.batch, another=other
    )
    case.check("logits", logits(case.ours, case.batch), case.expected)


@pytest.mark.parametrize("container", ["legacy", "safetensors"])
def test_containers_hold_the_same(case, container, tmp_path):
    import torch  # noqa: PLC0415
    from safetensors.torch import save_file  # noqa: PLC0415

    state, path = case.theirs.state_dict(), tmp_path / "weights"
    if container == "legacy":
        torch.save(state, path, _use_new_zipfile_serialization=False)
    else:
        save_file(state, path)
    ours = case.build(path, dropout=0.0)
    path.unlink()
    for found, expected in zip(ours.weights, case.ours.weights, strict=True):
        np.testing.assert_array_equal(found, expected, err_msg=found.path)


def test_without_top(case):
    ours = case.build(case.path, include_top=False)
    expected = body(case.net, case.theirs, case.batch)
    case.check("body", np.asarray(ours(case.batch, training=False)), expected)


def test_another_number_of_classes(case):
    with pytest.warns(FreshHeadWarning, match="know 1000 classes, the model 7"):
        ours = case.build(case.path, classes=7)
    assert ours.get_layer("head_predictions").units == 7
    theirs = values(case.ours)
    own = values(ours)
    assert own.keys() == theirs.keys()
    different = {name for name in own if own[name].shape != theirs[name].shape}
    assert all("predictions" in name for name in different)
    for name in own:
        if not name.startswith(("head_", "aux")):
            np.testing.assert_array_equal(own[name], theirs[name], err_msg=name)


def test_training(case):
    if not case.net.normed:  # then training is inference, which is compared above
        kinds = {type(layer).__name__ for layer in case.ours.layers}
        assert "BatchNormalization" not in kinds
        return
    batch = case.batch.astype(np.float64)
    with double_precision():
        found = case.build(case.path, dropout=0.0)(batch, training=True)
    theirs = filled(case.net, case.theirs.state_dict()).double()
    expected = answer(theirs, batch, training=True)
    if not isinstance(expected, dict):
        found, expected = {"main": found}, {"main": expected}
    assert set(found) == set(expected)
    for head in expected:
        what = f"training, {head}"
        case.check(what, np.asarray(found[head]), expected[head], limit=1e-8)


def test_back(case, tmp_path):
    from safetensors.numpy import load_file  # noqa: PLC0415

    path = tmp_path / "back.safetensors"
    convzoo.save_weights(case.ours, path, layout=case.net.library)
    state = load_file(path)
    path.unlink()
    theirs = case.theirs.state_dict()
    for name, array in state.items():
        if not name.endswith("num_batches_tracked"):
            np.testing.assert_array_equal(array, theirs[name].numpy(), err_msg=name)
    again = filled(case.net, state)
    case.check("back", answer(again, case.batch), case.expected)


def saved(state, path):
    import torch  # noqa: PLC0415

    torch.save({name: torch.as_tensor(a) for name, a in state.items()}, path)
    return path


def test_the_other_stride_is_refused(tmp_path):
    net = NETS["torchvision-resnet50"]
    path = saved(weights(shapes(net)), tmp_path / "resnet50.pth")
    with pytest.raises(ValueError, match=r"'v1' contradicts .* of variant='v1\.5'"):
        convzoo.resnet50(weights=path, variant="v1")
    model = convzoo.resnet50(variant="v1")
    with pytest.raises(ValueError, match=r"holds resnet50 of variant 'v1\.5'"):
        convzoo.load_weights(model, path)


def test_a_network_beyond_the_zoo_is_refused(tmp_path):
    model = torchvision().models.resnext50_32x4d()
    path = saved(model.state_dict(), tmp_path / "resnext50.pth")
    for attempt in (read, lambda path: convzoo.resnet50(weights=path)):
        with pytest.raises(ValueError, match="network that the zoo does not have"):
            attempt(path)


def test_timm_has_no_googlenet(tmp_path):
    model = convzoo.googlenet(variant="torch")
    path = tmp_path / "googlenet.safetensors"
    with pytest.raises(ValueError, match="layout='timm' has no googlenet"):
        convzoo.save_weights(model, path, layout="timm")
    assert not path.exists()
