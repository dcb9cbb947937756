"""Grad-CAM: where in an image the evidence for a class lies.

Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based
Localization", arXiv:1610.02391, equations 1 and 2.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
from keras.src.models.functional import operation_fn
from numpy.typing import NDArray
from PIL import Image

from convzoo import calls
from convzoo.arguments import require
from convzoo.calls import Network, Tensor
from convzoo.deferred import deep_graphs
from convzoo.inspect.features import batch_of, has_maps, require_layer, require_weights
from convzoo.inspect.operations import kind
from convzoo.pretrained.images import Images

_BATCH = 16  # gradients keep the maps of all layers
# What ends a classifier as a layer or an operation of its own, and what may follow.
_SQUASHERS = ("Softmax", "Sigmoid", "LogSoftmax")
_PASSING = ("Dropout", "Flatten", "Identity", "Reshape")
_PROBE = 9.0  # which no squashing function lets pass


class _Classifier(NamedTuple):
    """A model up to its logits, and the layer whose maps are watched."""

    graph: keras.Model
    layer: Any
    head: Callable[[Any], Any]  # what makes logits of that which the graph gives


def grad_cam(
    model: keras.Model,
    images: Images,
    class_index: int | Sequence[int] | None = None,
    layer: str | None = None,
) -> NDArray[np.float32]:
    """Show where in images the evidence for a class lies.

    The maps of a layer are summed with weights, each the mean gradient of the class's
    score by that map; what speaks against the class is cut off. The score is the logit:
    behind a softmax the gradient would fade where the network is sure, and mix in the
    evidence against the other classes. A softmax or sigmoid at the end is therefore
    left out of the computation; the model itself does not change.

    Args:
        model: Any functional classifier of images: one output (batch, classes), or a
            dict of outputs of which "main" is explained.
        images: As `convzoo.inspect.features.batch_of` takes them: anything that
            ``predict`` takes, where the model knows how to prepare it, else arrays as
            the model reads them.
        class_index: The class to explain, or one for each image; None for the one that
            the model predicts.
        layer: The layer whose maps are weighed; None for the last one before the head
            that is neither a pool nor of one pixel.

    Returns:
        (n, height, width) in [0, 1], of the size of the model's input, n = 1 for one
        image. The strongest evidence in each image is 1; all is 0 where nothing speaks
        for the class.

    Raises:
        ImageError: If an image cannot be used.
        RuntimeError: If the Keras backend has no gradients.
        TypeError: If ``model`` has no graph of layers.
        ValueError: If the model gives no scores of classes or was built without
            weights, ``class_index`` is out of range, or ``layer`` is unknown or gives
            no map that leads to the scores.

    Example:
        >>> grad_cam(lenet(), np.zeros((1, 32, 32, 1), "float32"), 3).shape
        (1, 32, 32)
    """
    net = calls.network(model)
    tensor, end = _main(model, net)
    target = _last_map(model, net, end) if layer is None else layer
    _check_layer(target, model, net, end)
    require_weights(model)
    batch = batch_of(model, images)
    wanted = _classes(class_index, len(batch), tensor.shape[1])
    classifier = _to_logits(model, net, tensor, end, target)
    starts = range(0, len(batch), _BATCH)
    parts = [
        _heat(
            classifier,
            batch[start : start + _BATCH],
            None if wanted is None else wanted[start : start + _BATCH],
        )
        for start in starts
    ]
    return np.concatenate(parts)


def _main(model: keras.Model, net: Network) -> tuple[keras.KerasTensor, Tensor]:
    """Return the output that scores the classes, and where it comes from."""
    # A Sequential model has no `output` until it is called.
    output = model.outputs if isinstance(model, keras.Sequential) else model.output
    tensors = keras.tree.flatten(output)
    main = output.get("main") if isinstance(output, dict) else None
    if main is None and len(tensors) == 1:
        main = tensors[0]
    shapes = [tuple(tensor.shape) for tensor in tensors]
    if main is None or len(main.shape) != 2:
        raise ValueError(
            f"grad_cam explains one score for each class, (batch, classes), but the "
            f"outputs of model {model.name!r} have the shapes {shapes}: give a "
            "classifier, or the model up to a score of your own."
        )
    place = next(i for i, found in enumerate(model.outputs) if found is main)
    return main, net.outputs[place]


def _last_map(model: keras.Model, net: Network, end: Tensor) -> str:
    """Walk back from the scores, by what all data pass, to a map that was learned."""
    above, name = calls.dominators(net), end.call
    while name:
        layer, shape = net.calls[name].layer, net.output_of(name)
        passing = kind(layer) in ("pooling", "regularization", "reshape", "input")
        if len(shape) == 4 and shape[1:3] != (1, 1) and not passing:
            if _is_learned(net, name):
                return name
            break
        if len(shape) == 2 and has_maps(layer):
            raise ValueError(
                f"The maps of model {model.name!r} stand inside its layer {name!r}, "
                "itself a model that counts as one layer: give "
                f"model.get_layer({name!r}) and what it reads."
            )
        name = above[name]
    raise ValueError(
        f"Model {model.name!r} has no map that all data pass before its head: name the "
        "layer to explain, as in grad_cam(..., layer=...)."
    )


def _is_learned(net: Network, name: str) -> bool:
    """Say whether weights shape a map; those of a normalization of images do not."""
    sources = {call: net.sources_of(call) for call in net.calls}
    return any(
        getattr(net.calls[call].layer, "weights", ())
        and type(net.calls[call].layer).__name__ != "Normalization"
        for call in (name, *calls.reachable(sources, name))
    )


def _check_layer(name: str, model: keras.Model, net: Network, end: Tensor) -> None:
    require_layer(name, model, net)
    require(
        f"{name}#2" not in net.calls and net.calls[name].layer.name == name,
        f"layer={name!r} is called more than once in model {model.name!r}, so its maps "
        "are several: name a layer that is called once.",
    )
    sources = {call: net.sources_of(call) for call in net.calls}
    before = calls.reachable(sources, end.call)
    shapes = {tuple(t.shape) for t in calls.tensors_of(model)[name]}
    require(
        name in before and kind(net.calls[name].layer) != "input",
        f"layer={name!r} does not lead to the scores of model {model.name!r}: name a "
        "layer before its head.",
    )
    found = " and ".join(map(str, sorted(shapes, key=str)))
    require(
        len(shapes) == 1 and len(min(shapes)) == 4,
        f"layer={name!r} gives no maps of one shape, (batch, height, width, channels), "
        f"but {found}: name a layer before the head.",
    )


def _classes(asked: Any, images: int, classes: int) -> NDArray[np.intp] | None:
    """Return the class to explain for each image; None for the predicted ones."""
    if asked is None:
        return None
    try:
        found = np.asarray(asked)
    except ValueError:  # ragged
        found = np.array(None)
    require(
        found.dtype.kind in "iu"
        and found.shape in ((), (images,))
        and bool(((found >= 0) & (found < classes)).all()),
        f"class_index={asked!r} must be a whole number from 0 to {classes - 1}, or a "
        f"list of {images}, one for each image.",
    )
    return np.broadcast_to(found.astype(np.intp), (images,))


def _to_logits(
    model: keras.Model, net: Network, tensor: Any, end: Tensor, target: str
) -> _Classifier:
    """Return the model up to its logits, built on the model's own layers.

    The graph ends before a layer that squashes, whose earlier calls stay as they are.
    """
    head: Callable[[Any], Any] = _unchanged
    found = _before_squashing(model, net, end)
    if found:
        tensor, head = found
    classes = net.shapes[end][1]
    with deep_graphs():
        graph = keras.Model(model.inputs, tensor)
    return _Classifier(
        graph,
        net.calls[target].layer,
        lambda x: keras.ops.reshape(head(x), (-1, classes)),
    )


def _before_squashing(
    model: keras.Model, net: Network, end: Tensor
) -> tuple[Any, Callable[[Any], Any]] | None:
    """Return the last tensor before a squashing, and what makes logits of it.

    What only orders the scores anew may follow; the head may be a model itself. None if
    nothing squashes.
    """
    last = net.calls[end.call]
    while type(last.layer).__name__ in _PASSING and len(last.sources) == 1:
        end = last.sources[0]
        last = net.calls[end.call]
    if len(last.sources) != 1:
        return None
    head = _logits_of(last.layer, end.slot, net.shapes[end][-1] or 1)
    if head is None:
        return None
    (source,) = last.sources
    return calls.tensors_of(model)[source.call][source.slot], head


def _logits_of(layer: Any, slot: int, size: int) -> Callable[[Any], Any] | None:
    """Return what a layer or a model does before it squashes, None if it does not.

    Args:
        layer: The last layer.
        slot: Which of its outputs are the scores.
        size: Their number.
    """
    inner = calls.graph_of(layer)
    if inner is not None:
        found = _before_squashing(layer, inner, inner.outputs[slot])
        if found is None:
            return None
        logits, head = found
        with deep_graphs():
            body = keras.Model(layer.inputs, logits)
        return lambda x: head(body(x, training=False))
    if not _squashes(layer, size):
        return None
    return _without_activation(layer) if getattr(layer, "weights", ()) else _unchanged


def _unchanged(x: Any) -> Any:
    return x


def _squashes(layer: Any, size: int) -> bool:
    """Say whether a layer ends with a softmax, a sigmoid or the logarithm of one."""
    if type(layer).__name__ in _SQUASHERS:
        return True
    activation = getattr(layer, "activation", None)
    if not callable(activation):
        return False
    # By what it does: names differ between frameworks, and a lambda has none.
    probe = np.full((3, size), _PROBE, "float32")
    probe[1], probe[2, ::2] = -_PROBE, -_PROBE
    found = _numpy(activation(keras.ops.convert_to_tensor(probe)))
    shares = np.exp(found) if (found <= 0).all() else found
    return bool(((shares >= 0) & (shares <= 1)).all())


def _without_activation(layer: Any) -> Callable[[Any], Any]:
    """Return a layer without its activation: a twin that has all else in common."""
    # Not `copy`, by which Keras would save and load the layer. Not a new layer on the
    # same values either: quantized, it has no gradients in Keras (3.15).
    twin = object.__new__(type(layer))
    vars(twin).update(vars(layer), activation=keras.activations.linear)
    call: Callable[[Any], Any] = operation_fn(twin, training=False)
    return call


def _heat(
    classifier: _Classifier, batch: NDArray[Any], wanted: NDArray[np.intp] | None
) -> NDArray[np.float32]:
    """Return the heat maps of one batch."""
    images = keras.ops.convert_to_tensor(batch, classifier.graph.inputs[0].dtype)
    maps, scores = _run(classifier, images)
    if wanted is None:
        wanted = _numpy(scores).argmax(1)
    chosen = keras.ops.one_hot(wanted, scores.shape[1], dtype=scores.dtype)

    # Images do not meet in the network, so the sum's gradient is that of each score.
    def score(probes: list[Any]) -> Any:
        return keras.ops.sum(_run(classifier, images, probes)[1] * chosen)

    gradients = _gradients(score, [keras.ops.zeros_like(each) for each in maps])
    heat = sum(
        np.einsum("nhwc,nc->nhw", _numpy(each), _numpy(slope).mean((1, 2)))
        for each, slope in zip(maps, gradients, strict=True)
    )
    return _scaled(np.maximum(heat, 0), batch.shape[1:3])


def _run(
    classifier: _Classifier, images: Any, probes: Sequence[Any] = ()
) -> tuple[list[Any], Any]:
    """Return the watched maps and the logits; probes are added to the maps.

    A probe of zeros changes nothing and has the maps' gradient. Cutting the model at
    the layer instead would fail wherever a connection skips it.
    """
    maps: list[Any] = []

    def operation(layer: Any) -> Callable[..., Any]:
        call: Callable[..., Any] = operation_fn(layer, training=False)
        if layer is not classifier.layer:
            return call

        def watched(*args: Any, **kwargs: Any) -> Any:
            outputs = call(*args, **kwargs)
            maps.extend(keras.tree.flatten(outputs))
            shifted = [x + probe for x, probe in zip(maps, probes, strict=bool(probes))]
            return keras.tree.pack_sequence_as(outputs, shifted or maps)

        return watched

    # Keras (3.15) runs a model by this method; no public one lets calls be watched.
    end = classifier.graph._run_through_graph([images], operation)
    return maps, classifier.head(end)


def _gradients(score: Callable[[list[Any]], Any], points: list[Any]) -> list[Any]:
    """Return the gradient of a function of tensors, by the backend's own means."""
    backend = keras.backend.backend()
    found: list[Any]
    if backend == "tensorflow":
        tensorflow: Any = importlib.import_module("tensorflow")
        with tensorflow.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(points)
            value = score(points)
        found = tape.gradient(value, points, unconnected_gradients="zero")
    elif backend == "jax":
        jax: Any = importlib.import_module("jax")
        found = jax.grad(score)(points)
    elif backend == "torch":
        torch: Any = importlib.import_module("torch")
        with torch.enable_grad():
            points = [point.requires_grad_() for point in points]
            found = torch.autograd.grad(score(points), points, materialize_grads=True)
    else:
        raise RuntimeError(
            f"grad_cam needs gradients, which the Keras backend {backend!r} does not "
            "give: set KERAS_BACKEND to tensorflow, jax or torch."
        )
    return found


def _scaled(heat: NDArray[Any], size: tuple[int, ...]) -> NDArray[np.float32]:
    """Enlarge maps to the size of the images and scale each to a maximum of 1."""
    require(
        bool(np.isfinite(heat).all()),
        "The model's scores or their gradients are not finite, so there is nothing to "
        "show: check its weights and the scale of the images.",
    )
    height, width = size
    enlarged = [
        Image.fromarray(each).resize((width, height), Image.Resampling.BILINEAR)
        for each in heat.astype(np.float32)
    ]
    shown = np.stack([np.asarray(each) for each in enlarged])
    peaks = shown.max((1, 2), keepdims=True)
    scaled: NDArray[np.float32] = np.divide(
        shown, peaks, out=np.zeros_like(shown), where=peaks > 0
    )
    return scaled


def _numpy(tensor: Any) -> NDArray[Any]:
    array: NDArray[Any] = keras.ops.convert_to_numpy(tensor)
    return array.astype(np.float32)  # from half precision too
