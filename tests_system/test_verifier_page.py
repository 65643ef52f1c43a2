"""The verifier's page as a person opens it: from disk, in a real browser, with no server anywhere."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests_system.chromium import Page, opened
from tests_system.conftest import apt_installed

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "verifier-js" / "index.html").as_uri()
VECTORS = ROOT / "tests" / "verify" / "vectors"
CASES: dict[str, dict[str, Any]] = json.loads((VECTORS / "expected.json").read_text())


@pytest.fixture(scope="module")
def chromium() -> str:
    return apt_installed("chromium", "chromium")


async def judged(page: Page, given: dict[str, Any]) -> str:
    """What the page says of a bundle, given what a person knows from elsewhere."""
    await page.open(PAGE)
    known = {"vkey": given.get("vkey") or "", "witnesses": "\n".join(given.get("witnesses") or ())}
    for name, value in known.items():
        await page.value(f"document.getElementById({name!r}).value = {json.dumps(value)}")
    await page.value(f"document.getElementById('strict').checked = {json.dumps(bool(given.get('strict')))}")
    if given.get("anchor"):
        await page.choose("#anchor", VECTORS / given["anchor"])
    await page.choose("#bundle", VECTORS / given["bundle"])
    await page.until("/^(NOT )?VERIFIED/.test(document.getElementById('verdict').textContent)", True)
    return str(await page.value("document.getElementById('verdict').textContent"))


async def test_the_page_judges_every_published_case_as_the_verifiers_do(chromium: str, tmp_path: Path) -> None:
    pictures = Path(os.environ.get("ALIQUOT_PICTURES") or tmp_path)
    differing = {}
    async with opened(chromium, PAGE) as page:
        for name, case in CASES.items():
            verdict, expected = await judged(page, case["given"]), case["expected"]
            right = verdict.startswith("VERIFIED") if expected["ok"] else verdict == f"NOT VERIFIED ({expected['exit_code']})"
            shown = await page.value("[...document.querySelectorAll('#findings tbody tr')].length")
            if not right or (not expected["ok"] and not shown):
                differing[name] = (verdict, shown)
            if name in ("honest_signed", "event_edited"):
                await page.picture(pictures / f"{name}.png")
        assert differing == {}
        assert len(CASES) > 60
        assert page.complaints == []


async def test_other_knowledge_is_judged_anew(chromium: str) -> None:
    honest = CASES["honest"]["given"]
    async with opened(chromium, PAGE) as page:
        await judged(page, honest | {"vkey": None, "anchor": None})
        assert "NOT PINNED" in str(await page.value("document.getElementById('about').textContent"))
        other = CASES["anchor_edited"]["given"]["vkey"].replace("aliquot/test", "another/log")
        await page.value(
            f"var key = document.getElementById('vkey'); key.value = {json.dumps(other)}; key.dispatchEvent(new Event('change'))"
        )
        await page.until("document.getElementById('verdict').textContent.startsWith('NOT VERIFIED')", True)
        assert await page.value("getComputedStyle(document.getElementById('card')).display") != "none"
        await page.value(
            "key.value = ''; const given = new DataTransfer(); given.items.add(new File(['no zip'], 'a.zip'));"
            "document.getElementById('drop').dispatchEvent(new DragEvent('drop', { dataTransfer: given, cancelable: true }))"
        )
        await page.until("document.getElementById('verdict').textContent", "NOT VERIFIED (10)")
        assert "a.zip" in str(await page.value("document.getElementById('about').textContent"))
