#!/usr/bin/env python3
"""Checks that the links in the pages lead somewhere, and that excerpts of sources are in them.

Links to files, folders and headings of the project are followed; those to other places are not. Of a block below

    <!-- lines of: lib/include/terrace/l2_adapter.hpp -->

each line has to stand in that file, in this order, whatever comment and function body are behind it. `...` and blank
lines are passed over.
"""

import collections
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
FENCE = re.compile(r"\s*(```+|~~~+)")
LINK = re.compile(r"!?\[(?:[^\[\]]|\[[^\]]*\])*\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)")
HEADING = re.compile(r"#{1,6}\s+(.*?)\s*#*\s*")
EXCERPT = re.compile(r"\s*<!-- lines of: (\S+) -->\s*")


def prose(page):
    """The numbered lines that are in no block of code."""
    fence = None
    for number, line in enumerate(page.read_text().splitlines(), 1):
        mark = FENCE.match(line)
        if mark and fence is None:
            fence = mark[1]
        elif mark and line.strip() == fence:
            fence = None
        elif fence is None:
            yield number, line


def anchors(page):
    """The names that headings get where the pages are shown."""
    seen, names = collections.Counter(), set()
    for _, line in prose(page):
        if heading := HEADING.fullmatch(line):
            text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading[1])
            name = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
            names.add(f"{name}-{seen[name]}" if seen[name] else name)
            seen[name] += 1
    return names


def dead_links(page):
    lines = list(prose(page))
    text = "\n".join(re.sub(r"`[^`]*`", "``", line) for _, line in lines)
    for link in LINK.finditer(text):
        number = lines[text.count("\n", 0, link.end())][0]
        path, _, anchor = link[1].partition("#")
        if re.match(r"[a-z]+:", path):
            continue
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or not target.is_relative_to(ROOT):
            yield number, f"the link to {link[1]} leads nowhere"
        elif anchor and (target.suffix != ".md" or anchor not in anchors(target)):
            yield number, f"the link to {link[1]} leads to no heading there"


def bare(line):
    """Without comment, body, initialisers of members and what exports it."""
    line = re.sub(r"\s*//.*|\s*\{ .*|(?<=\)) : .*|;\s*$", "", line)
    return line.replace("TERRACE_API ", "").rstrip(" ;").strip()


def wrong_excerpts(page):
    lines = page.read_text().splitlines()
    for number, line in enumerate(lines, 1):
        note = EXCERPT.fullmatch(line)
        if not note:
            continue
        source = ROOT / note[1]
        if not source.is_file():
            yield number, f"there is no {note[1]}"
            continue
        if number >= len(lines) or not FENCE.match(lines[number]):
            yield number, "no block follows"
            continue
        rest = iter([bare(text) for text in source.read_text().splitlines()])
        for offset, quoted in enumerate(lines[number + 1 :], number + 2):
            if FENCE.match(quoted):
                break
            if bare(quoted) not in ("", "...") and bare(quoted) not in rest:
                yield offset, f"{note[1]} has no such line here: {quoted.strip()}"
                break


def main():
    pages = [p for p in sorted(ROOT.rglob("*.md")) if p.relative_to(ROOT).parts[0] not in ("build", ".git")]
    problems = 0
    for page in pages:
        for number, what in [*dead_links(page), *wrong_excerpts(page)]:
            print(f"{page.relative_to(ROOT)}:{number}: {what}")
            problems += 1
    print(f"{len(pages)} pages, {problems} problems")
    return 1 if problems or not pages else 0


if __name__ == "__main__":
    sys.exit(main())
