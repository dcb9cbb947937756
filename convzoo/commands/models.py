"""A model that a command names: checked early, and built without its weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

from convzoo.arguments import one_of
from convzoo.catalog import CATALOG
from convzoo.commands.errors import reported

if TYPE_CHECKING:
    import keras


def check_model(model: str, variant: str | None) -> None:
    """Refuse an unknown model or variant before Keras is imported."""
    with reported():
        one_of("model", model, CATALOG)
        if variant is not None:
            one_of("variant", variant, CATALOG[model].variants)


def structure(
    model: str,
    variant: str | None,
    input_shape: tuple[int, int, int] | None = None,
    classes: int | None = None,
) -> keras.Model:
    """Build a model without allocating its weights."""
    from convzoo.deferred import without_weights  # noqa: PLC0415

    with without_weights():
        return CATALOG[model].load()(
            variant=variant, input_shape=input_shape, classes=classes
        )
