"""A note is shown as Markdown: what somebody gave as a reason or a partition is text in it, and nothing else."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from include.core.text import WORD_JOINER, in_markdown

RENDER = MarkdownIt("commonmark").render
ADDRESS = re.compile(r"(https?://|www(?=\.))[-.\w]+|[-.\w+]+@[-\w]+", re.IGNORECASE)
"""What the web UI's renderer makes a link of in the text that is left (mdast-util-gfm-autolink-literal)."""


@pytest.mark.parametrize(
    "text",
    [
        "![seen](https://example.com/pixel.png)",
        "\\![seen](https://example.com/pixel.png)",
        "[log in](javascript:alert(1))",
        "![seen][pixel]\n\n[pixel]: https://example.com/pixel.png",
        "<img src=https://example.com/pixel.png>",
        "<https://example.com>",
    ],
)
def test_a_note_has_no_image_no_link_and_no_html(text: str) -> None:
    before, after = RENDER(text), RENDER(in_markdown(text))
    assert "<img" in before or "<a " in before or text.startswith("[log")  # which this renderer leaves out itself
    assert "<img" not in after
    assert "<a " not in after


@pytest.mark.parametrize("text", ["see http://127.0.0.1:9911/bare", "HTTPS://example.com", "www.example.com", "a@b.c"])
def test_of_an_address_no_link_is_made(text: str) -> None:
    assert ADDRESS.search(text)
    assert not ADDRESS.search(in_markdown(text))
    assert in_markdown(text).replace(WORD_JOINER, "") == text


@given(st.text(alphabet="\\![]()<>a:/ \n`@.hwtps", max_size=40))
def test_nothing_undoes_it(text: str) -> None:
    after = RENDER(in_markdown(text))
    assert "<img" not in after
    assert "<a " not in after
    assert not ADDRESS.search(in_markdown(text))
