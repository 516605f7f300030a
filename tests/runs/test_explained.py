"""explained.jsonl: what was written is read again, and what anybody may have put there is not."""

from __future__ import annotations

from ocdnet.runs.explained import (
    ExplainedImage,
    ExplainedLabel,
    ExplainedRegion,
    as_line,
    read_explained,
)


def test_lines_that_are_not_ours_are_passed_over(tmp_path):
    square = (0, 0, 9, 0, 9, 9, 0, 9)
    image = ExplainedImage(
        image="a.jpg",
        width=10,
        height=10,
        labels=(ExplainedLabel(polygon=square, role="missed", kind="merged", iou=0.2),),
        regions=(
            ExplainedRegion(polygon=square, score=0.9, role="false", kind="merged", iou=0.2),
            ExplainedRegion(polygon=square, score=0.1, role="low"),
        ),
    )
    assert image.mistakes == 2
    bad = '{"image": 1}\n[1\n\xff\n' + "[" * 99_999 + "\n"
    (tmp_path / "explained.jsonl").write_text(as_line(image) + bad + as_line(image))
    assert list(read_explained(tmp_path)) == [image, image]
    assert list(read_explained(tmp_path, most=1)) == [image]
    assert list(read_explained(tmp_path / "elsewhere")) == []
