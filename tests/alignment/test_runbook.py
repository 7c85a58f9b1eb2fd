"""Anchors of a Markdown document, as GitHub makes them."""

from __future__ import annotations

import pytest

from remediator.alignment.runbook import anchors_of, slug_of


@pytest.mark.parametrize(
    ("heading", "anchor"),
    [
        ("HiveDown", "hivedown"),
        ("Stop the machine", "stop-the-machine"),
        ("First, for every alert", "first-for-every-alert"),
        ("Where this differs, and why?", "where-this-differs-and-why"),
        ("a - b", "a---b"),
        ("`snake_case` and _stress_", "snake_case-and-stress"),
        ("A **bold** [link](x.md#y)", "a-bold-link"),
        ("99.99 % & Größe", "9999---größe"),
    ],
)
def test_the_anchor_of_a_heading(heading, anchor):
    assert slug_of(heading) == anchor


def test_the_anchors_of_a_document(tmp_path):
    file = tmp_path / "a.md"
    file.write_text(
        "# One\n\n## Two ##\n\n```bash\n# no heading\n~~~\n## nor this\n```\n\n## Two\n\nThree\n=====\n\n"
        'text\n\n---\n\n| a |\n| --- |\n\n#hashtag\n\n<a id="four"></a>\n'
    )

    assert anchors_of(file) == ("one", "two", "two-1", "three", "four")
