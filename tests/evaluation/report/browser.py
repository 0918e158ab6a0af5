"""Pages in headless Chromium: boxes of their texts at several widths, fonts and color schemes."""

import html
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no chromium (apt install chromium)")
_MEASURE = Path(__file__).with_name("measure.js")


def measure(page: Path, folder: Path, widths, fonts=("",), dark=False, unfold=False) -> list[dict]:
    """Measures a page in frames of several widths and fonts.

    Args:
        page: the file.
        folder: for temporary files.
        widths: of the frames, in pixels.
        fonts: names of families for the whole page, "" for its own.
        dark: which color scheme the reader prefers.
        unfold: opens all folded parts.

    Returns:
        For each frame: `wider` (pixels that the page is too wide), `overlaps` (pairs of texts),
        `cut` (texts that leave their drawing), `outside` (whiskers that leave their track), `dark`
        and the number of `texts`.
    """
    source = page.read_text(encoding="utf-8")
    frames = []
    for font in fonts:
        style = f'<style>*, svg text {{ font-family: "{font}" !important }}</style>' if font else ""
        content = html.escape(source.replace("</head>", f"{style}</head>"))
        frames += [
            f'<iframe style="width:{width}px;height:900px;border:0" srcdoc="{content}"></iframe>'
            for width in widths
        ]
    wrapper = folder / "wrapper.html"
    wrapper.write_text(
        f'<!DOCTYPE html><meta charset="utf-8"><body>{"".join(frames)}<pre id="out"></pre><script>'
        f"const unfold = {json.dumps(unfold)};\n{_MEASURE.read_text(encoding='utf-8')}</script>",
        encoding="utf-8",
    )
    scheme = ["--force-dark-mode"] if dark else []
    done = subprocess.run(
        [
            *(str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu"),
            *("--disable-background-networking", f"--user-data-dir={folder / 'profile'}"),
            *(*scheme, "--window-size=1800,1000", "--dump-dom", wrapper.as_uri()),
        ],
        capture_output=True,
        text=True,
        timeout=240,
    )
    found = re.search(r'<pre id="out">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found and found[1], f"Chromium gave no measurement: {done.stderr[-500:]}"
    return json.loads(html.unescape(found[1]))
