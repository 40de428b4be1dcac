"""The manual of LibreOffice in four languages, one text a page, in a folder a language.

    python3 tests/benchmark/manual_texts.py OUT_DIR

Fetches Debian's packages libreoffice-help-{en-us,de,fr,es} (12 MB, unpacked, not installed) and strips their HTML:
2,561 pages and 5 MB a language. `switchyard prepare --input OUT_DIR --tag-by folder` tags each page by its language.
If OUT_DIR is there already, nothing is done.
"""

import html.parser
import os
import pathlib
import subprocess
import sys
import tempfile

PACKAGES = [f"libreoffice-help-{language}" for language in ("en-us", "de", "fr", "es")]


class Text(html.parser.HTMLParser):
    """What a reader sees of a page, a line for each block."""

    BLOCKS = {"p", "h1", "h2", "h3", "h4", "h5", "h6", "li", "tr", "td", "div", "pre", "br"}
    HIDDEN = {"head", "header", "footer", "nav", "aside", "script", "style"}

    def __init__(self):
        super().__init__()
        self.pieces = []
        self.hidden = 0

    def handle_starttag(self, tag, attributes):
        self.hidden += tag in self.HIDDEN
        if tag in self.BLOCKS:
            self.pieces.append("\n")

    def handle_endtag(self, tag):
        self.hidden -= tag in self.HIDDEN

    def handle_data(self, data):
        if not self.hidden:
            self.pieces.append(data)

    def lines(self):
        lines = (" ".join(line.split()) for line in "".join(self.pieces).split("\n"))
        return "".join(line + "\n" for line in lines if line)


def write_pages(manual, folder):
    pages = sorted(manual.rglob("*.html"))
    folder.mkdir()
    for page in pages:
        text = Text()
        text.feed(page.read_text())
        name = "_".join(page.relative_to(manual).with_suffix("").parts)
        (folder / f"{name}.txt").write_text(text.lines())
    print(f"{folder.name}: {len(pages)} pages", flush=True)


def main():
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        print(__doc__)
        sys.exit(0 if "--help" in sys.argv else 64)
    out = pathlib.Path(sys.argv[1])
    if out.exists():
        return
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent) as work:
        try:
            subprocess.run(["apt-get", "download", "-q", *PACKAGES], cwd=work, check=True)
        except (OSError, subprocess.CalledProcessError):
            sys.exit(f"cannot fetch {', '.join(PACKAGES)}: Debian with a network is needed")
        for package in pathlib.Path(work).glob("*.deb"):
            subprocess.run(["dpkg-deb", "-x", package.name, "."], cwd=work, check=True)
        texts = pathlib.Path(work) / "texts"
        texts.mkdir()
        for manual in sorted((pathlib.Path(work) / "usr/share/libreoffice/help").iterdir()):
            if (manual / "text").is_dir():
                write_pages(manual, texts / manual.name)
        os.rename(texts, out)


if __name__ == "__main__":
    main()
