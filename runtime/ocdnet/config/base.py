"""What config sections are declared with: the strict pydantic config, types and annotations.

A marker stands in a field's `Annotated[...]` beside the pydantic constraints and ends up, under
its plain name, in the field's JSON Schema node. Bounds are `Field(ge=, le=)`, not markers.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, GetJsonSchemaHandler
from pydantic_core import CoreSchema

STRICT = ConfigDict(strict=True, extra="forbid", use_attribute_docstrings=True)
"""No coercion, no unknown keys, and the docstring below a field is its description."""


class Annotation:
    """Plain-named keywords added to a field's JSON Schema node; several compose."""

    def __init__(self, **keywords: Any) -> None:
        self.keywords = keywords

    def __get_pydantic_json_schema__(
        self, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """The node as pydantic writes it, with the keywords added."""
        return {**handler(core_schema), **self.keywords}


popular = Annotation(popular=True)
"""Shown first: with its docstring in the template, and in short listings."""

automl = Annotation(automl_enabled=True)
"""Searched by AutoML unless switched off. Needs finite bounds or choices, and `search`."""

extra = Annotation(x_extra=True)
"""A key of ours that TAO does not know: optional, and never in a template."""


def search(
    minimum: float | None = None,
    maximum: float | None = None,
    *,
    scale: Literal["linear", "log"] = "linear",
    choices: Sequence[Any] | None = None,
    metric: Literal["hmean"] | None = None,
) -> Annotation:
    """The range worth searching, which may be far narrower than what is valid.

    Without `automl` beside it the field is searched only when asked for by name.

    Args:
        minimum: lower end, in the field's unit.
        maximum: upper end.
        scale: how to sample between them.
        choices: values to choose from, instead of a range.
        metric: the one metric that may judge it: train_loss would reward a smaller loss scale.
    """
    values: dict[str, Any] = {"min": minimum, "max": maximum, "scale": scale}
    if choices is not None:
        values = {"choices": list(choices)}
    return Annotation(search=values | ({"metric": metric} if metric else {}))


def below(name: str, annotation: Annotation) -> Annotation:
    """An annotation of one field of the section that it stands at, in this place alone."""
    return Annotation(below={name: annotation.keywords})


def words(**choices: Sequence[str]) -> Annotation:
    """The closed choices within an open value, by the name that they stand at, on any level."""
    return Annotation(x_words={name: list(values) for name, values in choices.items()})


def math_cond(condition: str) -> Annotation:
    """A condition on the value that the AutoML client reads, e.g. `"> 0.0"`."""
    return Annotation(math_cond=condition)


def option_weights(*weights: float) -> Annotation:
    """How often AutoML proposes each choice, in the order of the choices."""
    return Annotation(option_weights=list(weights))


def depends_on(key: str) -> Annotation:
    """The dotted key whose value decides whether this one matters."""
    return Annotation(depends_on=key)


Positive = Annotated[int, Field(ge=1)]
"""An integer from 1."""

Fraction = Annotated[float, Field(ge=0, le=1)]
"""A number from 0 to 1."""

Side = Annotated[int, Field(ge=32, multiple_of=32)]
"""Width or height of a network input in pixels: the network halves it five times."""

GpuId = Annotated[int, Field(ge=0)]
"""Index of a CUDA device."""

Resize = Literal["stretch", "fit", "auto", "tile"]
"""How an image comes to the network's size (ocdnet.data.resizing)."""

ImgMode = Literal["BGR", "RGB", "GRAY"]
"""Channel order that images are read in."""
