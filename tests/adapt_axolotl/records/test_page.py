"""The page of a run: one file, whole without a network or scripts, and right under the pointer."""

from __future__ import annotations

import html.parser
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from adapt_axolotl.records.page import mixture_page
from adapt_axolotl.records.trajectory import trajectory
from adapt_common.colours import colour
from tests.support.made_records import made_records
from tests.support.made_trajectory import made

EVIL = "</script><b>bold</b>"


def page(names: Sequence[str], meta_steps: int = 3, name: str = "my_run") -> str:
    history, ledger, mixture = made(names, meta_steps)
    return mixture_page(
        name, trajectory(history, ledger, mixture["initial"]), ledger, mixture, "", meta_steps
    )


class Checker(html.parser.HTMLParser):
    """Tags must close in order; keeps the text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.texts: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag not in ("meta", "link", "wbr"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not {"script", "style"} & set(self.open):
            self.texts.append(data)


def test_it_is_well_formed_and_asks_nothing_of_the_network() -> None:
    text = page(["a", EVIL, "任务"], name=EVIL)
    Checker(text)
    assert not re.search(r"(src|href)=\"(?!data:)", text)
    assert "url(" not in text
    assert "<b>bold" not in text


def test_without_scripts_it_says_what_the_run_was() -> None:
    text = page(["sums", "copy"])
    said = Checker(text).texts
    for part in ("my_run", "12,345", "1,300", "11,045", "67", "12", "3.250", "0.500"):
        assert part in said, part
    assert (
        "It changes at meta steps. Below the chart: each share at the start and at the end." in said
    )
    assert said[said.index("meta steps") + 1] == "3"
    final = made(["sums", "copy"])[2]["final"]["sums"]
    assert f"50.0 → {100 * final:.1f}%" in said
    assert f"sums: 50.0 → {100 * final:.1f}%" in said  # under the pointer, by the browser itself
    assert text.count(colour(0)) >= 4  # band, legend, line, table


def test_a_static_run_has_no_losses_over_tokens() -> None:
    text = page(["a", "b"], meta_steps=0)
    assert "It stayed the same for the whole run." in text
    assert "Measured at the start and at the end only" in text
    assert "50.0%</b>" in text


def test_of_hundreds_of_tasks_all_are_in_the_table() -> None:
    names = [f"task_{number}" for number in range(300)]
    text = page(names, meta_steps=20)
    assert text.count("<li>") == 25
    assert "276 smaller tasks" in text
    assert text.count('<tr><th scope="row">') == 300
    assert len(text) < 1_000_000


def test_a_run_leaves_it_with_its_initial_mixture(tmp_path: Path) -> None:
    folder = made_records(tmp_path / "my_run")
    text = (folder / "adapt" / "mixture.html").read_text(encoding="utf-8")
    assert "<h1>my_run</h1>" in text
    assert '"edges":[0,' in text
    assert "a: 50.0%" in Checker(text).texts


@pytest.mark.slow
@pytest.mark.parametrize("width", [1200, 500])
def test_chromium_shows_the_values_under_the_pointer(width: int, tmp_path: Path) -> None:
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("chromium is not installed")
    probe = """<script>
    const found = [document.documentElement.scrollWidth <= innerWidth];
    for (const id of ["mixture", "losses"]) {
      const figure = document.getElementById(id), box = figure.querySelector("svg");
      const { left, top, width, height } = box.getBoundingClientRect();
      const path = figure.querySelector("path");
      path.dispatchEvent(new PointerEvent("pointermove", {
        bubbles: true, clientX: left + width * 0.5, clientY: top + height * 0.1 }));
      found.push(figure.querySelector(".readout").textContent, path.classList.contains("lit"));
      figure.querySelector(".plot").dispatchEvent(new PointerEvent("pointerleave"));
      found.push(figure.querySelector(".readout").textContent);
    }
    document.title = found.join("|");
    </script></body>"""
    file = tmp_path / "page.html"
    text = page(["sums", EVIL]).replace("</body>", probe)
    file.write_text(text, encoding="utf-8")
    call = [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic"]
    call += ["--disable-background-networking", f"--window-size={width},900"]
    call += ["--enable-logging=stderr", f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom"]
    done = subprocess.run([*call, f"file://{file}"], capture_output=True, text=True, check=True)
    assert "CONSOLE" not in done.stderr
    title = re.search("<title>(.*?)</title>", done.stdout)
    assert title is not None
    fits, share, lit, before, loss, _, _ = title.group(1).split("|")
    assert (fits, share, lit) == ("true", "0 to 1,000 tokens: sums 50.0%", "true")
    assert before.startswith("It changes at meta steps.")
    assert re.fullmatch(r".+: \d\.\d{3} at (0|1,000) tokens", loss)
