"""Links into the documents: whether the file and the heading exist, by GitHub's rule for anchors."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from urllib.parse import unquote, urlsplit

_FENCE = re.compile(r" {0,3}(```+|~~~+)")
_HEADING = re.compile(r" {0,3}#{1,6}[ \t]+(.*?)(?:[ \t]+#+)?[ \t]*")
_UNDERLINE = re.compile(r" {0,3}(?:=+|-+)[ \t]*")
_NO_TEXT = re.compile(r"\s*$| {0,3}[#>|]| {0,3}[-*+] | {4}")
_ID = re.compile(r"""<\w+[^>]*?\s(?:id|name)=["']([^"']+)["']""")
_LINK = re.compile(r"!?\[([^\]]*)\](?:\([^)]*\)|\[[^\]]*\])")
_EMPHASIS = re.compile(r"(?<!\w)(_{1,2})(?=\S)(.+?)(?<=\S)\1(?!\w)")


def broken(link: str, docs: Path, base: Path) -> str:
    """What is wrong with a link into the documents, or "". A path without host is relative to `base`."""
    if "{{" in link:
        return f"write {link} without a template: only a fixed link can be checked"
    try:
        url = urlsplit(link)
    except ValueError:
        return f"{link} is no link: mend it"
    if url.scheme or url.netloc:
        _, found, inside = unquote(url.path).rpartition(f"/{docs.resolve().name}/")
        if not found:
            return f"{link} leads past {docs}: link to a heading in there"
        file = docs / inside
    else:
        file = base / unquote(url.path)
    if not file.resolve().is_relative_to(docs.resolve()):
        return f"{link} leads past {docs}: link to a heading in there"
    if not file.is_file():
        return f"there is no {file}: write it, or mend the link"
    anchor = unquote(url.fragment)
    if not anchor:
        return f"{link} leads to a whole document: add the #heading"
    known = anchors_of(file)
    if anchor in known:
        return ""
    close = difflib.get_close_matches(anchor, known, n=1)
    hint = f", did you mean #{close[0]}?" if close else ": write that section, or mend the link"
    return f"{file} has no heading #{anchor}{hint}"


@lru_cache(maxsize=64)
def _anchors(text: str) -> tuple[str, ...]:
    seen: Counter[str] = Counter()
    found = []
    for heading in _headings(text):
        slug = slug_of(heading)
        found.append(f"{slug}-{seen[slug]}" if seen[slug] else slug)
        seen[slug] += 1
    return (*found, *_ID.findall(text))


def anchors_of(file: Path) -> tuple[str, ...]:
    """All places of a Markdown document that a link can lead to."""
    return _anchors(file.read_text(encoding="utf-8", errors="replace"))


def slug_of(heading: str) -> str:
    """The anchor GitHub makes of a heading: its text in lower case, `-` for spaces, no punctuation."""
    text = _EMPHASIS.sub(r"\2", _LINK.sub(r"\1", re.sub(r"<[^>]+>", "", heading)))
    return re.sub(r"[^\w\- ]", "", text.strip().lower()).replace(" ", "-")


def _headings(text: str) -> Iterator[str]:
    fence, before = "", ""
    for line in text.splitlines():
        mark = _FENCE.match(line)
        if mark and not fence:
            fence = mark[1]
        elif fence:
            fence = "" if mark and mark[1].startswith(fence) else fence
        elif heading := _HEADING.fullmatch(line):
            yield heading[1]
        elif _UNDERLINE.fullmatch(line) and not _NO_TEXT.match(before):
            yield before
        before = "" if fence or mark else line
