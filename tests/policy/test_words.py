"""Free text states an AutoML policy, or asks to read words, by phrases; nothing else is read."""

from __future__ import annotations

import itertools
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ocdnet.policy.words import Words, read

LISTS = Path(__file__).with_name("words.txt").read_text(encoding="utf-8")
SAYING = {name: lines.splitlines() for name, lines in re.findall(r"\[(\w+)\]\n((?:.+\n)+)", LISTS)}
REQUESTS = [(text, policy) for policy, texts in SAYING.items() for text in texts]


def says(text):
    words = read(text)
    assert not (words.conflict and words.automl_policy)
    return "both" if words.conflict else words.automl_policy or "silent"


class TestPolicy:
    def test_each_list_is_read(self):
        assert {name: len(texts) > 10 for name, texts in SAYING.items()} == dict.fromkeys(
            ("off", "on", "silent", "both"), True
        )

    @pytest.mark.parametrize(("text", "policy"), REQUESTS)
    def test_what_a_request_says(self, text, policy):
        assert says(text) == policy

    @given(st.sampled_from(REQUESTS), st.sampled_from([str.upper, str.lower, str.title]))
    def test_case_and_spacing_do_not_matter(self, request_, change):
        text, policy = request_
        assert says(change(text).replace(" ", "\n\t ")) == policy

    @pytest.mark.parametrize("policy", ["off", "on"])
    def test_what_is_said_twice_is_no_conflict(self, policy):
        once = [text.rstrip(".?!") for text in SAYING[policy] if '"' not in text]
        for first, second in itertools.pairwise(once):
            assert says(f"{first}. {second}") == policy

    def test_the_opposite_in_another_sentence_is_a_conflict(self):
        gives_way = {"just train", "a single training run", "one training run"}
        for text in [text for text in SAYING["off"] if text[0] != '"']:
            with_automl = says(f"{text.rstrip('.?!')}. Use AutoML.")
            assert with_automl == ("on" if text in gives_way else "both")
        for text in SAYING["on"]:
            assert says(f"{text.rstrip('.?!')}. No HPO.") == "both"

    @pytest.mark.parametrize("policy", ["off", "on"])
    @pytest.mark.parametrize("mark", ['"{}"', "'{}'", "“{}”", "`{}`", "«{}»"])
    def test_a_quotation_states_nothing_unless_it_is_all_there_is(self, policy, mark):
        text = {"off": "no AutoML", "on": "use AutoML"}[policy]
        assert says(mark.format(text)) == policy
        assert says(f"train in my folder {mark.format(text)}") == "silent"


class TestReading:
    @pytest.mark.parametrize(
        "text",
        [
            "read the words in these photos",
            "transcribe the signs",
            "do OCR on my scans",
            "I need OCR",
            "detect the text and read it",
            "what does this sign say? what is written there",
            "train OCRNet on crops",
            "a text-recognition model",
            "Recognise the characters on licence plates",
            "don't train; read the text",
        ],
    )
    def test_it_is_noticed(self, text):
        assert read(text).reads_text

    @pytest.mark.parametrize(
        "text",
        [
            "read the spec and train",
            "detect text, but don't read the words",
            "no need to read the text",
            "without OCR",
            "images in /data/read the/ocr.txt",
            "train",
        ],
    )
    def test_other_reading_is_not(self, text):
        assert not read(text).reads_text


def test_no_text_says_nothing():
    assert read("") == read(" \n") == Words()


PARTS = """no not don't or , . ? : - / use off on the train search plain AutoML hpo to find with
hyper-parameter İ a/b k=v ' " …"""
FUZZ = st.text() | st.lists(st.sampled_from([*PARTS.split(), "\0", "\ud800"])).map(" ".join)


@given(FUZZ)
@example("\u02bc")  # an apostrophe that counts as a letter
@settings(max_examples=300, deadline=None)
def test_any_text_is_read(text):
    assert says(text) in SAYING


UNITS = [
    *("no ", "not to the ", "don't start the ", "find the a b c ", "use the ", "hyper param "),
    *("train ", "automl no ", "don't prune, or export ", "a.", "'", "=/", "x", "1 ", '"', "“"),
    *(' "a', "'a ", "automl or ", "automl is not ", "read a b c ", "what a ", "tune ", "a_b", "w/"),
    *("train a b c d e f ", "no train ", "neither nor ", "automl/", "search a ", "hpo and "),
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
