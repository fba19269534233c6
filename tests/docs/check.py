#!/usr/bin/env python3
"""Checks that the docs say what the sources say and what the programs print.

A comment on the line above a fenced block says where the block comes from:

    <!-- from: examples/hello_prefetch.cpp -->          the whole file
    <!-- from: examples/hello_prefetch.cpp [write] -->  its lines between `// [write]` and `// [/write]`, or `# [write]`
    <!-- run -->                                        is run by bash, in the page's scratch directory
    <!-- run: fails -->                                 the same, and must end with another status than 0
    <!-- run: port 8080, left running -->               is left running: a server. The port stands for one that is free
    <!-- prints -->                                     is what the block that was run last printed, errors included
    <!-- prints: numbers may differ -->                 the same, but for numbers and how many spaces are before them
    <!-- prints: after Ctrl-C -->                       interrupts what is running; is what it printed from then on

A line `...` in what is printed stands for any lines. A page's scratch directory looks like a clone that was built by
`./dev build`: the sources, and build/release. Each page has one, in which its blocks are run from top to bottom.
"""

import argparse
import difflib
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import time

PAGES = ["README.md", "docs/**/*.md", "examples/*.md", "adapters/*/*.md"]
NOTE = re.compile(r"\s*<!-- (from|run|prints)\b:?\s*(.*?)\s*-->\s*")
FENCE = re.compile(r"\s*(```+)\w*\s*")
MARK = re.compile(r"\s*(//|#) \[/?[\w-]+\]")
SECONDS_TO_RUN = 120


class Problem(Exception):
    """What is wrong with one block."""


def parse(lines):
    """Yields kind, argument, and the first and last line (exclusive) of each block that says where it comes from."""
    for number, line in enumerate(lines):
        note = NOTE.fullmatch(line)
        if not note:
            continue
        fence = FENCE.fullmatch(lines[number + 1]) if number + 1 < len(lines) else None
        if not fence:
            raise Problem(f"line {number + 1}: no block follows {line.strip()!r}")
        end = next((i for i in range(number + 2, len(lines)) if lines[i].strip() == fence[1]), None)
        if end is None:
            raise Problem(f"line {number + 2}: the block has no end")
        yield note[1], note[2], number + 2, end


def quote(root, argument):
    """The lines of a source that a block is to have."""
    name, _, part = argument.partition(" ")
    try:
        lines = (root / name).read_text().splitlines()
    except OSError as error:
        raise Problem(f"{name}: {error.strerror}") from error
    if part:
        part = part.strip("[]")
        ends = [i for i, line in enumerate(lines) if re.fullmatch(rf"\s*(//|#) \[/?{re.escape(part)}\]", line)]
        if len(ends) != 2:
            raise Problem(f"{name} has {len(ends)} marks of the part [{part}]; expected [{part}] and then [/{part}]")
        lines = lines[ends[0] + 1 : ends[1]]
    lines = [line for line in lines if not MARK.fullmatch(line)]
    return textwrap.dedent("\n".join(lines)).strip("\n").splitlines()


def blurred(line):
    """The line with one number for all."""
    return re.sub(r"\s*\d+(\.\d+)?", " 0", line)


def agrees(expected, printed, blur):
    if blur:
        expected, printed = [blurred(e) for e in expected], [blurred(p) for p in printed]
    pattern = "".join(r"(?:.*\n)*" if e.strip() == "..." else re.escape(e) + "\n" for e in expected)
    return re.fullmatch(pattern, "".join(p + "\n" for p in printed)) is not None


class Scratch:
    """Where the blocks of one page are run."""

    def __init__(self, root, build):
        self.folder = tempfile.TemporaryDirectory(prefix="terrace-docs-")
        self.path = pathlib.Path(self.folder.name)
        for entry in root.iterdir():
            if entry.name not in ("build", ".git"):
                (self.path / entry.name).symlink_to(entry)
        (self.path / "build").mkdir()
        (self.path / "build/release").symlink_to(build)
        self.environment = dict(os.environ, LC_ALL="C", PATH=f"{build}/bin:{os.environ['PATH']}")
        self.ports = {}
        self.log = self.path / ".printed"
        self.running = None
        self.seen = 0  # lines of what is running that a block has had already

    def close(self):
        if self.running:
            self.running.kill()
        self.folder.cleanup()

    def start(self, text, **how):
        for shown, real in self.ports.items():
            text = re.sub(rf"\b{shown}\b", real, text)
        with self.log.open("wb") as log:
            return subprocess.Popen(["bash", "-euo", "pipefail", "-c", text], cwd=self.path, env=self.environment,
                                    stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, **how)

    def run(self, text, argument):
        if port := re.search(r"port (\d+)", argument):
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                self.ports[port[1]] = str(free.getsockname()[1])
        if "left running" in argument:
            self.log = self.path / ".printed-by-server"
            self.running = self.start(text, start_new_session=True)
            return
        self.log = self.path / ".printed"
        try:
            status = self.start(text).wait(SECONDS_TO_RUN)
        except subprocess.TimeoutExpired as error:
            raise Problem(f"takes more than {SECONDS_TO_RUN} s") from error
        if (status != 0) != (argument == "fails"):
            raise Problem(f"ends with status {status}:\n" + "\n".join(self.printed()))

    def printed(self):
        text = self.log.read_text(errors="replace")
        for shown, real in self.ports.items():
            text = re.sub(rf"\b{real}\b", shown, text)
        return text.rstrip().splitlines()  # a block does not end with blank lines

    def printed_by_server(self, expected):
        """What it has printed, as soon as that is enough."""
        deadline = time.monotonic() + 20
        while len(self.printed()) < max(1, len(expected)) and time.monotonic() < deadline and self.running.poll() is None:
            time.sleep(0.02)
        self.seen = len(self.printed())
        return self.printed()

    def interrupt(self):
        """What it printed after it was interrupted."""
        running, self.running = self.running, None
        self.log = self.path / ".printed-by-server"
        try:
            os.killpg(running.pid, signal.SIGINT)
            status = running.wait(SECONDS_TO_RUN)
        except (ProcessLookupError, subprocess.TimeoutExpired) as error:
            running.kill()
            raise Problem("what was left running had ended already, or did not end on Ctrl-C") from error
        if status != 0:
            raise Problem(f"interrupted, it ends with status {status}:\n" + "\n".join(self.printed()))
        return self.printed()[self.seen :]


def expected_lines(root, scratch, kind, argument, block):
    """What the block is to be; itself, if it is right."""
    if kind == "from":
        return quote(root, argument)
    if scratch is None:
        return block
    if kind == "run":
        scratch.run("\n".join(block), argument)
        return block
    if argument == "after Ctrl-C":
        printed = scratch.interrupt()
    elif scratch.log.name == ".printed-by-server":
        printed = scratch.printed_by_server(block)
    else:
        printed = scratch.printed()
    return block if agrees(block, printed, argument == "numbers may differ") else printed


def check(root, page, scratch, update):
    """Prints what is wrong with the page; returns how many of its blocks are right, and how many are not."""
    lines = page.read_text().splitlines()
    right, wrong, corrections = 0, 0, []
    try:
        for kind, argument, first, last in parse(lines):
            block = textwrap.dedent("\n".join(lines[first:last])).splitlines()
            where = f"{page.relative_to(root)}:{first + 1}: {kind} {argument}".rstrip()
            try:
                expected = expected_lines(root, scratch, kind, argument, block)
            except Problem as problem:
                print(f"{where}: {problem}")
                wrong += 1
                continue
            if block == expected:
                right += 1
                continue
            indent = re.match(r"\s*", lines[first - 1])[0]
            corrections.append((first, last, [(indent + line).rstrip() for line in expected]))
            if not update:
                wrong += 1
                print(f"{where}: the block is not what it should be; --update corrects it")
                print("\n".join(difflib.unified_diff(block, expected, "in the docs", "should be", lineterm="", n=1)))
        if scratch and scratch.running:
            scratch.interrupt()
    except Problem as problem:
        print(f"{page.relative_to(root)}: {problem}")
        wrong += 1
    if update and corrections:
        for first, last, expected in reversed(corrections):
            lines[first:last] = expected
        page.write_text("\n".join(lines) + "\n")
        print(f"{page.relative_to(root)}: {len(corrections)} blocks corrected")
    return right, wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pages", nargs="*", type=pathlib.Path, help="pages to check; default: all of them")
    parser.add_argument("--build", type=pathlib.Path, help="the build folder; without it nothing is run")
    parser.add_argument("--update", action="store_true", help="correct the blocks that differ")
    options = parser.parse_args()

    root = pathlib.Path(__file__).resolve().parents[2]
    pages = [page.resolve() for page in options.pages] or sorted(p for glob in PAGES for p in root.glob(glob))
    right = wrong = 0
    for page in pages:
        scratch = Scratch(root, options.build.resolve()) if options.build else None
        try:
            counted = check(root, page, scratch, options.update)
        finally:
            if scratch:
                scratch.close()
        right += counted[0]
        wrong += counted[1]
    print(f"{len(pages)} pages: {right} blocks are right, {wrong} are not")
    return 1 if wrong or not right and not options.update else 0


if __name__ == "__main__":
    sys.exit(main())
