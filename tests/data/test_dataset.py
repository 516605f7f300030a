"""Samplers, datasets, workers: order, randomness and errors across processes."""

from __future__ import annotations

import pickle
import sys
from functools import partial

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ocdnet import findings
from ocdnet.data import reading
from ocdnet.data.annotations import Annotation
from ocdnet.data.preprocess import Preprocess
from ocdnet.data.sampler import EpochSampler, ShardBatches
from ocdnet.data.steps import compile_train
from ocdnet.errors import DataError, EnvironmentFault, Exit, SpecError, UserError
from ocdnet.geometry import Frame

torch = pytest.importorskip("torch")
from lightning_fabric.utilities import move_data_to_device  # noqa: E402
from torch.utils.data import DataLoader  # noqa: E402
from torch.utils.data._utils.pin_memory import pin_memory  # noqa: E402

from ocdnet.data import dataset as data  # noqa: E402

TENSORS = ("images", "shrink_maps", "shrink_masks", "threshold_maps", "threshold_masks")
LIST = [
    {"type": "IaaAugment", "args": [{"type": "Affine", "args": {"rotate": [-10, 10]}}]},
    {"type": "EastRandomCropData", "args": {"size": [64, 64]}},
    {"type": "MakeBorderMap"},
    {"type": "MakeShrinkMap"},
]


@settings(max_examples=60, deadline=None)
@given(
    length=st.integers(1, 40),
    world=st.integers(1, 6),
    seed=st.integers(0, 99),
    epoch=st.integers(0, 99),
    shuffle=st.booleans(),
)
def test_ranks_cover_an_epoch_in_equal_shards(length, world, seed, epoch, shuffle):
    shards = []
    for rank in range(world):
        sampler = EpochSampler(length, seed, shuffle, rank, world)
        sampler.set_epoch(epoch)
        shards.append(list(sampler))
        assert len(shards[-1]) == len(sampler)
    every = [pair for row in zip(*shards, strict=True) for pair in row]
    assert {e for e, _ in every} == {epoch}
    indices = [i for _, i in every]
    assert sorted(indices[:length]) == list(range(length))  # beyond: the padding
    assert len(indices) - length < world
    single = EpochSampler(length, seed, shuffle)
    single.set_epoch(epoch)
    assert [i for _, i in single] == indices[:length]


def test_order_changes_by_epoch_and_repeats_by_seed():
    sampler = EpochSampler(50, 7, shuffle=True)
    first = list(sampler)
    assert list(sampler) == first
    sampler.set_epoch(1)
    assert [i for _, i in sampler] != [i for _, i in first]
    assert [i for _, i in EpochSampler(5, 7, shuffle=False)] == [0, 1, 2, 3, 4]


def test_skipping_happens_once():
    sampler = EpochSampler(10, 0, shuffle=True, rank=1, world_size=2)
    whole = list(sampler)
    sampler.skip(3)
    assert list(sampler) == whole[3:]
    assert list(sampler) == whole
    assert len(sampler) == 5


@given(length=st.integers(0, 40), size=st.integers(1, 5), world=st.integers(1, 6))
def test_evaluation_shards_are_disjoint_and_complete(length, size, world):
    shards = [list(ShardBatches(length, size, rank, world)) for rank in range(world)]
    images = [[index for batch in shard for index in batch] for shard in shards]
    assert sorted(index for shard in images for index in shard) == list(range(length))
    assert max(map(len, images)) - min(map(len, images)) <= 1
    assert all(len(batch) <= size for shard in shards for batch in shard)
    # As many batches everywhere, some of them empty.
    assert {len(shard) for shard in shards} == {len(ShardBatches(length, size, 0, world))}
    assert sum(map(len, shards)) <= world * (length // (size * world) + 1)


def test_an_empty_batch_counts_nothing():
    batch = data.collate_eval([])
    assert batch.images.shape == (1, 64, 64, 3)
    assert (batch.frames, batch.annotations) == ([], [])


@pytest.fixture
def annotations(tmp_path):
    """Four images of different size with one text each."""
    found = []
    for k in range(4):
        path = tmp_path / f"{k}.png"
        image = np.random.default_rng(k).integers(0, 256, (70 + 10 * k, 100, 3), np.uint8)
        cv2.imwrite(str(path), image)
        quad = np.array([[10, 10], [60, 10], [60, 40], [10, 40]], np.float32)
        found.append(Annotation(path, path, [quad], np.zeros(1, bool), ["word"]))
    return found


def train_batches(annotations, workers, epoch=0):
    sampler = EpochSampler(len(annotations), 0, shuffle=True)
    sampler.set_epoch(epoch)
    return list(
        DataLoader(
            data.TrainDataset(annotations, compile_train(LIST), "BGR", seed=3),
            batch_size=2,
            sampler=sampler,
            num_workers=workers,
            collate_fn=data.collate_train,
            worker_init_fn=partial(data.init_worker, megapixels=reading.limit()),
        )
    )


def test_samples_do_not_depend_on_workers(annotations):
    alone, shared = train_batches(annotations, 0), train_batches(annotations, 2)
    for one, two in zip(alone, shared, strict=True):
        assert one.paths == two.paths
        for name in TENSORS:
            assert torch.equal(getattr(one, name), getattr(two, name))
    batch = alone[0]
    assert batch.images.shape == (2, 64, 64, 3)
    assert batch.images.dtype == batch.shrink_masks.dtype == torch.uint8
    assert batch.threshold_maps.dtype == torch.float32


@pytest.mark.parametrize("length", [0, 2])
def test_lightning_moves_all_tensors_of_a_batch_and_nothing_else(annotations, length):
    batch = train_batches(annotations, 0)[0]
    moved = move_data_to_device(batch, torch.device("meta"))
    assert {getattr(moved, name).device.type for name in TENSORS} == {"meta"}
    assert (moved.paths, moved.crops) == (batch.paths, batch.crops)
    evaluation = data.EvalDataset(annotations, Preprocess(32))
    batch = data.collate_eval([evaluation[index] for index in range(length)])
    moved = move_data_to_device(batch, torch.device("meta"))
    assert moved.images.device.type == "meta"
    assert moved.annotations == batch.annotations


def test_the_loader_pins_a_batch(annotations, monkeypatch):
    """Without a GPU nothing can be pinned: what torch calls is recorded."""
    pinned = []
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda self: pinned.append(self) or self)
    batch = train_batches(annotations, 0)[0]
    assert type(pin_memory(batch)) is data.TrainBatch
    assert [tensor.shape for tensor in pinned] == [getattr(batch, n).shape for n in TENSORS]


def test_augmentation_differs_by_epoch_and_seed(annotations):
    dataset = data.TrainDataset(annotations, compile_train(LIST), "BGR", seed=3)
    assert not np.array_equal(image(dataset, 0), image(dataset, 1))
    assert np.array_equal(image(dataset, 1), image(dataset, 1))
    other = data.TrainDataset(annotations, compile_train(LIST), "BGR", seed=4)
    assert not np.array_equal(image(dataset, 0), image(other, 0))


def image(dataset, epoch):
    sample, *_ = dataset[epoch, 0]
    return sample.image


def test_samples_do_not_depend_on_ranks(annotations):
    dataset = data.TrainDataset(annotations, compile_train(LIST), "BGR", seed=3)
    alone = dict(_samples(dataset, 0, 1))
    shared = dict(_samples(dataset, 0, 2) + _samples(dataset, 1, 2))
    assert alone.keys() == shared.keys()
    assert all(np.array_equal(alone[path], shared[path]) for path in alone)


def _samples(dataset, rank, world_size):
    sampler = EpochSampler(len(dataset), 0, True, rank, world_size)
    sampler.set_epoch(5)
    return [(path, sample.image) for sample, path, _ in map(dataset.__getitem__, sampler)]


@pytest.mark.parametrize("workers", [0, 1])
def test_an_unreadable_image_reaches_the_main_process_whole(annotations, workers):
    annotations[2].image.write_bytes(b"no image")
    with pytest.raises(DataError) as caught:
        for batch in train_batches(annotations, workers):
            data.check_batch(batch)
    error = caught.value
    assert error.exit_code == Exit.DATA
    assert error.code == "unreadable-image"
    assert str(annotations[2].image) in error.message
    assert error.expected
    assert error.hint


@pytest.mark.parametrize("kind", [UserError, SpecError, DataError, EnvironmentFault])
def test_errors_survive_pickling(kind):
    error = kind("code", "message", got=[1], expected="two", hint="do")
    back = pickle.loads(pickle.dumps(error))
    assert type(back) is kind
    assert back.to_dict() == error.to_dict()
    assert str(back) == str(error)


def test_evaluation_batches_map_back(annotations):
    loader = DataLoader(
        data.EvalDataset(annotations, Preprocess(32)),
        batch_sampler=ShardBatches(4, 4),
        collate_fn=data.collate_eval,
    )
    batch = data.check_batch(next(iter(loader)))
    assert batch.images.shape == (4, 128, 128, 3)
    assert batch.images.dtype == torch.uint8
    assert batch.frames == [
        Frame((128, 96), (1.0, 1.0), (100, 70)),
        Frame((128, 96), (1.0, 1.0), (100, 80)),
        Frame((128, 96), (1.0, 1.0), (100, 90)),
        Frame((128, 128), (1.0, 1.0), (100, 100)),
    ]
    assert batch.annotations == annotations
    assert not batch.images[0, 70:].any()
    annotations[1].image.unlink()
    with pytest.raises(DataError, match=r"1\.png"):
        data.check_batch(next(iter(loader)))


@pytest.mark.parametrize("workers", [0, 1])
def test_what_workers_see_is_counted_once(annotations, workers):
    image = np.zeros((80, 100, 4), np.uint8)
    for annotation in annotations[:2]:
        cv2.imwrite(str(annotation.image), image)
    with findings.collecting() as seen:
        for epoch in (0, 1):
            for batch in train_batches(annotations, workers, epoch):
                data.check_batch(batch)
    (row,) = seen.rows()
    assert (row.code, row.count) == ("transparency", 2)
    assert sorted(row.files) == [str(annotation.image) for annotation in annotations[:2]]


def test_workers_know_the_limit_of_this_process(annotations):
    with reading.pixel_limit(1):
        cv2.imwrite(str(annotations[0].image), np.zeros((1001, 1000, 3), np.uint8))
        batches = train_batches(annotations, 1)
    assert any(isinstance(batch, DataError) for batch in batches)


def test_worker_counts(monkeypatch):
    monkeypatch.setattr(data, "machine_cpus", lambda: 6)
    assert data.worker_count(0) == 0
    assert data.worker_count(3) == 3
    assert data.worker_count(-1) == 5
    assert data.worker_count(-1, local_world_size=2) == 2
    assert data.worker_count(-1, local_world_size=8) == 1
    monkeypatch.setattr(data, "machine_cpus", lambda: 64)
    assert data.worker_count(-1) == data.MAX_AUTO_WORKERS


def test_a_worker_is_silent_of_a_main_process_that_hung_up(monkeypatch, capsys):
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    threads = cv2.getNumThreads()
    data.init_worker(0)
    cv2.setNumThreads(threads)
    sys.excepthook(ConnectionResetError, ConnectionResetError(), None)
    assert capsys.readouterr().err == ""
    sys.excepthook(ValueError, ValueError("another"), None)
    assert "another" in capsys.readouterr().err


def test_the_workers_event_has_no_lock_that_a_killed_one_could_keep():
    """Torch asks it after every death; with multiprocessing's own, one run in 100 hung there."""
    context = data.worker_context()
    event = context.Event()
    assert not event.is_set()
    process = context.Process(target=event.set)
    process.start()
    process.join()
    assert event.is_set()
    rows = DataLoader(list(range(4)), num_workers=2, multiprocessing_context=context)
    assert [int(row) for row in rows] == [0, 1, 2, 3]
    waiting = iter(rows)
    assert isinstance(waiting._workers_done_event, type(event))
    del waiting
