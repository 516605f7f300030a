"""Free text decides action and AutoML policy only, by phrases; the rest is listed, not guessed."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ocdnet.policy import phrases
from ocdnet.policy.request import ACTIONS
from ocdnet.policy.words import read

OFF = [
    "turn off AutoML",
    "Turn AutoML off for this run",
    "switch off auto-ml",
    "disable AutoML",
    "no HPO",
    "no AutoML",
    "without AutoML",
    "without any hyperparameter search",
    "without hyper-parameter tuning",
    "skip the search",
    "skip AutoML/HPO",
    "plain training",
    "Normal training, please",
    "just train",
    "a single training run",
    "one training run",
    "automl off",
    "automl_policy: off",
    "automl_policy=off",
    "AutoML should be disabled",
    "do not use AutoML",
    "I don’t want AutoML",  # noqa: RUF001
    "AutoML isn't needed",
    "not interested in HPO",
    "hyperparameter optimisation is not required",
    "run without using AutoML",
    "plain training rather than AutoML",
    "AutoML? no: plain training",
    "never use HPO",
]
ON = [
    "use AutoML",
    "with AutoML",
    "train with HPO",
    "enable AutoML",
    "turn AutoML on for this run",
    "automl on",
    "automl_policy: on",
    "AutoML: yes",
    "hyperparameter search",
    "a hyper-parameter optimization on my data",
    "tune the hyperparameters",
    "don't turn off AutoML",
    "do not disable AutoML",
    "no need to turn off AutoML",
    "not plain training",
    "use AutoML instead of plain training",
    "just train it with AutoML",
]
SILENT = [
    "",
    "train on /data/train",
    "evaluate the best AutoML checkpoint",
    "What is AutoML?",
    "fine-tune without the pretrained weights",
    "is there no search engine",
]


class TestPolicy:
    @pytest.mark.parametrize("text", OFF)
    def test_off(self, text):
        words = read(text)
        assert (words.automl_policy, words.conflict) == ("off", False)
        assert words.matched

    @pytest.mark.parametrize("text", ON)
    def test_on(self, text):
        words = read(text)
        assert (words.automl_policy, words.conflict) == ("on", False)

    @pytest.mark.parametrize("text", SILENT)
    def test_silent(self, text):
        words = read(text)
        assert (words.automl_policy, words.conflict) == (None, False)

    @pytest.mark.parametrize(
        ("text", "both"),
        [
            ("train with AutoML, plain training", {"with AutoML", "plain training"}),
            ("no HPO. Use AutoML", {"no HPO", "Use AutoML"}),
        ],
    )
    def test_both_is_a_conflict_that_names_the_phrases(self, text, both):
        words = read(text)
        assert words.conflict
        assert words.automl_policy is None
        assert both <= set(words.matched)

    def test_a_correction_is_no_conflict(self):
        assert read("Train with AutoML. Actually, plain training.").automl_policy == "off"
        assert read("plain training; no, sorry, use AutoML").automl_policy == "on"

    @given(st.sampled_from([*OFF, *ON]), st.sampled_from([str.upper, str.lower, str.title]))
    def test_case_and_spacing_do_not_matter(self, text, change):
        wanted = read(text).automl_policy
        assert read(change(text).replace(" ", "\n\t ")).automl_policy == wanted


ASKED = {
    "Train OCDNet on /data/train": ["train"],
    "fine-tune it on my photos": ["train"],
    "start the training on 4 GPUs": ["train"],
    "kick off a training run": ["train"],
    "train, then evaluate and export": ["train", "evaluate", "export"],
    "Train a model to detect text in images": ["train"],
    "resume": ["resume"],
    "continue my training up to 50 epochs": ["resume"],
    "keep training for 10 more epochs": ["resume"],
    "go on training": ["resume"],
    "continue from epoch 12": ["resume"],
    "train it further": ["resume"],
    "the training crashed, resume it": ["resume"],
    "retrain": ["retrain"],
    "re-train on /data/x": ["retrain"],
    "train the pruned model": ["retrain"],
    "evaluate model_best.pth": ["evaluate"],
    "Score the checkpoint": ["evaluate"],
    "measure the hmean of my detector": ["evaluate"],
    "test the model on /data/test": ["evaluate"],
    "evaluate after training": ["evaluate"],
    "run inference": ["inference"],
    "find text in the photos in ~/photos": ["inference"],
    "detect the text in my images": ["inference"],
    "predict on /data/img": ["inference"],
    "draw boxes on the pictures": ["inference"],
    "export": ["export"],
    "convert the model to ONNX": ["export"],
    "export the model for inference": ["export"],
    "prune 30% of the channels": ["prune"],
    "quantise it": ["quantize"],
    "make an int8 model": ["quantize"],
    "build an engine": ["gen_trt_engine"],
    "I need an INT8 TensorRT engine": ["gen_trt_engine"],
    "convert the ONNX to TensorRT": ["gen_trt_engine"],
    "gen_trt_engine": ["gen_trt_engine"],
    "default specs": ["default_specs"],
    "write the default_specs": ["default_specs"],
    "train with the default specs": ["train"],
    "evaluate the TensorRT engine": ["deploy_evaluate"],
    "run inference with detector.engine": ["deploy_inference"],
    "deploy_evaluate": ["deploy_evaluate"],
    "build a TensorRT engine and evaluate it": ["gen_trt_engine", "deploy_evaluate"],
    "Evaluate the model, then build a TensorRT engine": ["evaluate", "gen_trt_engine"],
    "don't prune, just train": ["train"],
    "export is not needed, evaluate": ["evaluate"],
    "don't prune, quantize or export: train": ["train"],
    "no need to export": [],
    "train rather than retrain": ["train"],
    "the trained model": [],
    "the training set is in /data/train": [],
    "use pretrained weights": [],
    "I cannot train: out of memory": [],
    "split it into train and test sets": [],
    "/data/train/evaluate and results/export": [],
    "a picture of a train": [],
    "run AutoML on my dataset": ["train"],
    "Trainiere ein Modell auf meinen Bildern": [],
    "训练一个文本检测模型": [],
}


class TestActions:
    @pytest.mark.parametrize("text", ASKED)
    def test_asked(self, text):
        words = read(text)
        assert [words.action, *words.others] == (ASKED[text] or [None])

    @pytest.mark.parametrize("action", ACTIONS)
    def test_every_action_is_known_by_its_own_name(self, action):
        assert read(f"action: {action}").action == action
        assert read(f"don't {action.replace('_', ' ')}").action is None

    def test_the_tables_name_known_actions_only(self):
        assert {says for says, _ in phrases.ACTIONS} <= {*ACTIONS, "", "engine", "an engine"}


class TestTheRest:
    def test_what_may_matter_is_listed(self):
        text = "Train on s3://b/t.tar.gz for 30 epochs, batch size 8, train.seed=5, DCN by Smith"
        expected = ("s3://b/t.tar.gz", "30 epochs", "batch size 8", "train.seed=5", "DCN", "Smith")
        assert read(text).unused == expected

    def test_a_name_is_listed_whole(self):
        assert read("train on the claim words-data of set_b / evaluate").unused == (
            "claim words-data",
            "set_b",
        )

    def test_matched_is_as_written(self):
        assert read("Please DON'T  Prune; Plain Training").matched == (
            "DON'T Prune",
            "Plain Training",
        )

    @pytest.mark.parametrize(
        "text",
        [
            "read the words in these photos",
            "transcribe the signs",
            "do OCR on my scans",
            "detect the text and read it",
            "what does this sign say? what is written there",
            "train OCRNet on crops",
        ],
    )
    def test_reading_is_told(self, text):
        assert read(text).reads_text

    @pytest.mark.parametrize(
        "text", ["read the spec and train", "detect text, but don't read the words", "train"]
    )
    def test_other_reading_is_not(self, text):
        assert not read(text).reads_text


PARTS = """no not don't or , . ? : - / use off on the train prune engine AutoML to find
hyper-parameter İ a/b k=v ' …"""
FUZZ = st.text() | st.lists(st.sampled_from([*PARTS.split(), "\0", "\ud800"])).map(" ".join)


@given(FUZZ)
@example("\u02bc")  # an apostrophe that counts as a letter
@settings(max_examples=300, deadline=None)
def test_any_text_is_read_and_the_answer_is_bounded(text):
    words = read(text)
    assert {words.action, *words.others} <= {*ACTIONS, None}
    assert words.automl_policy in ("on", "off", None)
    assert not (words.conflict and words.automl_policy)
    for pieces in (words.matched, words.unused):
        assert len(pieces) <= 20
        assert all(0 < len(piece) <= 80 for piece in pieces)
        written = " ".join(text.split())
        assert all(piece.removesuffix("...") in written for piece in pieces)


UNITS = [
    *("no ", "not to the ", "don't start the ", "find the a b c ", "use the ", "hyper param "),
    *("train ", "automl no ", "don't prune, or export ", "a.", "'", "=/", "x", "1 "),
]


@pytest.mark.parametrize("unit", UNITS)
def test_time_is_linear(unit):
    text = (unit * 100_000)[:100_000]
    start = time.process_time()
    read(text)
    assert time.process_time() - start < 3  # ten times what a request may hold


def test_it_is_light():
    code = (
        "import sys, ocdnet.policy.words, ocdnet.policy.request as r;"
        'r.from_json(\'{"set": {"train.seed": 1}}\');'
        "print([m for m in ('pydantic', 'numpy', 'torch', 'ocdnet.config', 'ruamel') "
        "if m in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"
