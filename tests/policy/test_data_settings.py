"""Settings by what a set measures: words stay legible, pictures keep their shape, steps suffice."""

import pytest

from ocdnet.data.label_reader import Region
from ocdnet.data.measures import Measures, extent
from ocdnet.data.picture_header import PictureSize
from ocdnet.policy.artifacts import Skill, skill_dir
from ocdnet.policy.data_settings import data_settings

STEPS = "dataset.train_dataset.args.pre_processes"


def measures(sizes, height, length=100, images=30):
    found = Measures()
    box = [0.0, 0.0, length, 0.0, length, height, 0.0, height]
    for number in range(images):
        size = PictureSize(*sizes[number % len(sizes)])
        found.see("x.png", [Region([float(v) for v in box], "word", False, False)], size)
    return found


def chosen(*args, **more):
    found = measures(*args, **more)
    return {one.key: one.value for one in data_settings(found, found, Skill(skill_dir()))}


@pytest.mark.parametrize(
    ("sizes", "height", "mode", "size"),
    [
        ([(1280, 720)], 20, "stretch", (1280, 736)),
        ([(4000, 3000)], 60, "stretch", (1120, 864)),
        ([(1280, 720), (720, 1280)], 20, "auto", (1280, 736)),
        ([(1280, 720), (1280, 960)], 20, "fit", (1280, 736)),
        ([(6000, 4000)], 8, "tile", (2400, 1600)),
        ([(1280, 720)], 13, "stretch", (1664, 960)),
        ([(1500, 1000)], 13, "stretch", (1504, 1024)),
        ([(320, 240)], 5, "stretch", (416, 320)),
    ],
)
def test_the_size_and_the_way_to_it(sizes, height, mode, size):
    found = chosen(sizes, height)
    assert found["inference.resize"] == mode
    width, high = found["inference.width"], found["inference.height"]
    assert width % 32 == high % 32 == 0
    assert (width, high) == pytest.approx(size, abs=32)
    (step,) = found["dataset.validate_dataset.args.pre_processes"]
    # Validation during a training takes no tiles.
    assert step["args"].get("mode", "stretch") == {"tile": "auto"}.get(mode, mode)


def test_few_pictures_have_more_epochs_and_many_the_usual_crop():
    assert chosen([(1280, 720)], 20)["train.num_epochs"] >= 50
    many = chosen([(1280, 720)], 20, images=3000)
    assert STEPS not in many
    assert "dataset.train_dataset.loader.batch_size" not in many


def test_small_words_are_trained_on_and_not_shrunk():
    found = {step["type"]: step for step in chosen([(4000, 3000)], 6, images=2500)[STEPS]}
    assert "WordCrop" in found
    assert found["MakeShrinkMap"]["args"]["min_text_size"] == 6


def test_nothing_is_advised_without_words():
    assert data_settings(Measures(), Measures(), Skill(skill_dir())) == []


def test_how_regions_are_measured():
    assert extent([0, 0, 100, 0, 100, 20, 0, 20]) == (20, 100, 0)
    assert extent([0, 0, 10, 0, 10, 60, 0, 60])[:2] == (10, 60)
    assert abs(extent([0, 0, 10, 0, 10, 60, 0, 60]).angle) == 90
    turned = extent([0, 0, 70.7, 70.7, 56.6, 84.8, -14.1, 14.1])
    assert turned == pytest.approx((20, 100, 45), abs=0.1)
    assert extent([20, 0, 20, 20, 0, 20, 0, 0]).angle == 0  # square: the corner does not matter
    outline = extent([0, 0, 50, 0, 100, 0, 100, 20, 50, 20, 0, 20])
    assert outline == pytest.approx((20, 100, 0), abs=0.1)
