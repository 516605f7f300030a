"""A checkpoint in memory: weights, what is known of them, and the keys under which files say it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from ocdnet.data.preprocess import Normalisation
from ocdnet.key_maps import UNKNOWN, Input
from ocdnet.models.folding import fold_normalisation
from ocdnet.models.quantized import Int8
from ocdnet.tree import keys

SPEC_KEY = "ocdnet_spec"
"""Key of a checkpoint that holds the resolved training spec."""
PRUNED_KEY = "ocdnet_pruned"
"""Key of a file whose network has lost channels: how it was pruned."""
QUANTIZED_KEY = "ocdnet_quantized"
"""Key of a file some of whose weights are int8: how it was quantized."""
SCALE = "_scale"
"""Suffix of an int8 weight's key that makes the key of its scale."""
INPUT_KEY = "ocdnet_input"
"""Key of a file whose network takes another trainer's normalisation: mode, mean and divisor."""
START_KEY = "ocdnet_start"
"""Key of a file that was trained from others' weights: which (`weights`) and their `sha256`."""


@dataclass(frozen=True)
class Checkpoint:
    """Weights, and what is known of how they were made.

    Attributes:
        path: where it was read.
        weights: tensors under the network's keys (backbone.*, neck.*, head.*).
        spec: the resolved training spec, empty if the file holds none (TAO's).
        full: whether training can resume from it: only what our training wrote.
        source: what kind of file it seems to be, for people.
        pruned: whether its network may have fewer channels than its backbone's name says.
        int8: of a quantized file, the weights that are kept in int8, by the name of their layer;
            `weights` holds them in float, too.
        input: of another trainer's network, how it wants its pixels; None: as in TAO.
        start: the weights from which its training started, where it says so.
    """

    path: Path
    weights: dict[str, Tensor]
    spec: Mapping[str, Any]
    full: bool
    source: str = UNKNOWN
    pruned: bool = False
    int8: Mapping[str, Int8] = field(default_factory=dict)
    input: Input | None = None
    start: Mapping[str, str] = field(default_factory=dict)

    @property
    def backbone(self) -> str | None:
        """Backbone it was trained with, where it says so."""
        return self._setting("model.backbone")

    @property
    def img_mode(self) -> str | None:
        """Image mode it was trained with, where it says so."""
        if self.input is not None:
            return self.input.img_mode
        return self._setting("dataset.train_dataset.args.img_mode")

    @property
    def normalisation(self) -> Normalisation | None:
        """Of its input; None for TAO's."""
        return Normalisation(self.input.mean, self.input.divisor) if self.input else None

    def for_training(self, img_mode: str) -> Checkpoint:
        """The same network for input by TAO's normalisation, which a training has.

        Args:
            img_mode: of the training's images.
        """
        if self.input is None:
            return self
        turned = {self.input.img_mode, img_mode} == {"RGB", "BGR"}
        how = Normalisation(self.input.mean, self.input.divisor)
        return replace(self, weights=fold_normalisation(self.weights, how, turned), input=None)

    def carried(self) -> dict[str, Any]:
        """What a file made of this one carries on of it, beside its spec."""
        return {
            **({INPUT_KEY: asdict(self.input)} if self.input else {}),
            **({START_KEY: dict(self.start)} if self.start else {}),
        }

    def _setting(self, key: str) -> str | None:
        value = keys.get(self.spec, key)
        return str(value) if value else None
