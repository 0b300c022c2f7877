"""The page in a real browser: hostile texts stay texts, values arrive live, and lost contact is said loudly."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from starlette.types import ASGIApp, Receive, Scope, Send
from urllib3.exceptions import ProtocolError

from adapters.clock import SystemClock
from adapters.errors import NotConnected
from adapters.influxdb.border import translate
from adapters.labels import Label, words
from collector.health import JobHealth, State
from collector.journal.base import Space
from collector.page.app import build_app
from collector.page.live import Tile
from collector.page.server import serve_page
from pipelines.batch import Kind
from tests.page.browser import Page, browser
from tests.page.scene import NOON, Shop, books, source, workshop
from tests.servers import binary, free_port

pytestmark = pytest.mark.server("chromium")

RUN = "fetch('/pwned');window.pwned=1"
PAYLOADS = [
    f"<script>{RUN}</script>", f"</script><script>{RUN}</script>", f"<img src=/pwned onerror={RUN}>",
    f"<svg onload={RUN}>", f"<svg><script>{RUN}</script></svg>", f"<body onload={RUN}>",
    f"<iframe src=javascript:{RUN}></iframe>", "<iframe src=/pwned></iframe>", f"<input autofocus onfocus={RUN}>",
    f"<details open ontoggle={RUN}>", f"<video><source onerror={RUN}></video>", f"<audio src=x onerror={RUN}>",
    f"<a href=javascript:{RUN}>x</a>", f"javascript:{RUN}", f'" onmouseover="{RUN}', f"' onfocus='{RUN}' autofocus='",
    f"`-{RUN}-`", f"${{{RUN}}}", f"{{{{constructor.constructor('{RUN}')()}}}}", f"';{RUN};//", f'";{RUN};//',
    f"--><script>{RUN}</script><!--", f"]]><script>{RUN}</script>", f"<!--<script>{RUN}</script>",
    f"</td></tr></table><script>{RUN}</script>", f"</title><script>{RUN}</script>", f"</textarea><script>{RUN}</script>",
    f"</style><script>{RUN}</script>", f"</noscript><script>{RUN}</script>", f"<template><script>{RUN}</script></template>",
    f"<math><mtext><script>{RUN}</script></mtext></math>", f"<object data=javascript:{RUN}></object>",
    "<object data=/pwned></object>", "<embed src=/pwned>", "<link rel=stylesheet href=/pwned>",
    "<style>@import '/pwned';</style>", "<style>*{background:url(/pwned)}</style>", "<base href=//evil.example/>",
    "<meta http-equiv=refresh content='0;url=/pwned'>", f"<form action=javascript:{RUN}><button>x</button></form>",
    "<div style=background:url(/pwned)>x</div>", f"<marquee onstart={RUN}>x</marquee>", f"<sCrIpT>{RUN}</ScRiPt>",
    f"<script\x0c>{RUN}</script>", f"<script/src=/pwned>{RUN}</script>", f"<img src='x\x00' onerror={RUN}>",
    f"&lt;script&gt;{RUN}&lt;/script&gt;", f"\\u003cscript\\u003e{RUN}", f"%3Cscript%3E{RUN}%3C/script%3E",
    f"<b>\u202e{RUN}\u202c</b>", "\nevent: snapshot\ndata: {}\n\n", "\r\rdata: pwned\r\r", "__proto__",
    "constructor", "=cmd|' /C calc'!A0", "\ud800<u>lone</u>",
]  # fmt: skip


class Watcher:
    """Sees every path that is asked for, in front of the page's own application."""

    def __init__(self, app: ASGIApp) -> None:
        self.app, self.paths = app, set[str]()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.paths.add(str(scope.get("path")))
        await self.app(scope, receive, send)


@asynccontextmanager
async def visited(shop: Shop, profile: Path, **look: Any) -> AsyncIterator[tuple[Page, Watcher]]:
    """The page of this shop in a browser, connected."""
    binary("chromium")
    app = build_app(shop.view, shop.health, shop.ledger)
    watcher = Watcher(app.build_middleware_stack())
    app.middleware_stack = watcher
    async with serve_page(app, port=0) as url, browser(profile) as page:
        await page.look(**look)
        await page.open(url)
        await page.until("document.querySelector('#clock')?.textContent")
        yield page, watcher


def hostile() -> Shop:
    """Every payload as machine, label, signal, unit, text, source, error and remedy."""
    shop = Shop([Tile(text, text + " ") for text in PAYLOADS], clock=SystemClock())
    for text in PAYLOADS:
        shop.say(text, text, text, kind=Kind.TEXT, unit=text)
        shop.health.put(source(text, State.WAITING, text, error=text, remedy=text))
        shop.health.put(JobHealth(text + ":db", "sink", State.NEEDS_ATTENTION, NOON, error=text, remedy=text))
    return shop


async def test_hostile_texts_stay_texts(tmp_path: Path) -> None:
    assert len(set(PAYLOADS)) >= 50
    async with visited(hostile(), tmp_path / "profile") as (page, watcher):
        await page.until(f"document.querySelectorAll('tbody tr').length === {len(PAYLOADS)}")
        for element in ("script", "img", "iframe", "svg", "object", "embed", "base", "form", "style"):
            expected = 1 if element == "script" else 0
            assert await page.evaluate(f"document.querySelectorAll('{element}').length") == expected, element
        shown = await page.evaluate(
            "[...document.querySelectorAll('tbody tr')].map((row) => [row.cells[0].textContent,"
            " row.querySelector('.figure').textContent, row.querySelector('.unit').textContent])"
        )
        wanted = [text.encode("utf-8", "replace").decode() for text in PAYLOADS]
        assert shown == [[text, text, text] for text in wanted]
        labels = await page.evaluate("[...document.querySelectorAll('h2')].map((label) => label.textContent)")
        assert labels == [text + " " for text in wanted]
        visible = await page.evaluate("document.body.innerText")
        assert all(text in visible for text in wanted if text.isprintable() and " " not in text)
        assert await page.evaluate("typeof window.pwned") == "undefined"
        assert await page.evaluate("typeof ({}).machines") == "undefined"
        assert page.complaints() == []
        assert not [path for path in watcher.paths if "pwned" in path]


async def test_hostile_labels_and_descriptions_stay_texts(tmp_path: Path) -> None:
    shop = Shop([Tile("m")], clock=SystemClock())
    for number, text in enumerate(PAYLOADS):
        shop.say("m", f"s{number}", 1.0, unit="mm")
        shop.labels.tell("m", f"s{number}", Label(text, text, (0.0, 1.0)))
    async with visited(shop, tmp_path / "profile") as (page, watcher):
        await page.until(f"document.querySelectorAll('.own:not([hidden])').length === {len(PAYLOADS)}")
        shown = await page.evaluate(
            "[...document.querySelectorAll('tbody th')].map((cell) => [cell.querySelector('.called').textContent, cell.title])"
        )
        wanted = [words(text).encode("utf-8", "replace").decode() for text in PAYLOADS]
        stored = [f"Stored as s{number}" for number in range(len(PAYLOADS))]
        assert shown == [[t, f"{t}\nRange: 0 to 1 mm\n{s}"] for t, s in zip(wanted, stored, strict=True)]
        assert await page.evaluate("document.querySelectorAll('script, img, iframe').length") == 1
        assert await page.evaluate("typeof window.pwned") == "undefined"
        assert page.complaints() == []
        assert not [path for path in watcher.paths if "pwned" in path]


async def test_a_signal_is_called_what_people_call_it(tmp_path: Path) -> None:
    """The label first, its own name below where that says something else; words that change do so on the open page."""
    shop = Shop((Tile("m"),), clock=SystemClock())
    shop.say("m", "p_mould", 5.5, unit="bar")
    shop.say("m", "cycle_time", 21.0, unit="s")
    shop.labels.tell("m", "cycle_time", Label("Cycle time"))
    async with visited(shop, tmp_path / "profile", lang="nl") as (page, _):
        names = "[...document.querySelectorAll('tbody th')].map((cell) => cell.innerText.replace('\\n', '|'))"
        await page.until(f"{names}.join() === 'p_mould,Cycle time'")
        shop.labels.tell("m", "p_mould", Label("Druk in de matrijs", "Hoogste van de cyclus", (0.0, None)))
        await page.until(f"{names}.join() === 'Druk in de matrijs|p_mould,Cycle time'")
        title = "document.querySelector('tbody th').title"
        assert await page.evaluate(title) == "Hoogste van de cyclus\nBereik: vanaf 0 bar\nBewaard als p_mould"
        shop.say("m", "p_mould", 6.25, unit="bar")
        await page.until("document.querySelector('.figure').textContent === '6,25'")
        assert await page.evaluate(names) == ["Druk in de matrijs|p_mould", "Cycle time"]
        await page.evaluate("document.querySelector('[data-language=en]').click()")
        assert "Range: from 0 bar\nStored as p_mould" in await page.evaluate(title)
        shop.labels.tell("m", "cycle_time", Label("CycleTime 2K"))
        called = "document.querySelectorAll('.called')[1].innerHTML"
        await page.until(f"{called} === 'Cycle<wbr>Time 2K<wbr>'")
        assert page.complaints() == []


async def test_inline_script_would_be_stopped_and_seen(tmp_path: Path) -> None:
    """The second line of defence, and proof that the test above would notice."""
    async with visited(Shop((Tile("m"),), clock=SystemClock()), tmp_path / "profile") as (page, watcher):
        await page.evaluate(
            f"document.getElementById('machines').insertAdjacentHTML('beforeend', \"<img src=/pwned onerror={RUN}>\")"
        )
        async with asyncio.timeout(90):
            while "/pwned" not in watcher.paths or not page.complaints():
                await page.evaluate("1")
        assert any("Content Security Policy" in text for text in page.complaints())
        assert await page.evaluate("typeof window.pwned") == "undefined"


async def test_values_connection_and_books_are_live(tmp_path: Path) -> None:
    shop = Shop((Tile("m", "Mill"),), clock=SystemClock())
    shop.health.put(source("plc", State.CONNECTED, "m"))
    shop.say("m", "speed", 8012.4, unit="r/min")
    async with visited(shop, tmp_path / "profile") as (page, _):
        row = "document.querySelector('tbody tr')"
        await page.until(f"{row}?.querySelector('.figure').textContent === '8,012'")
        shop.say("m", "speed", 12.345, unit="r/min")
        await page.until(f"{row}.querySelector('.figure').textContent === '12.35'")
        shop.say("m", "speed", 0.0, unit="r/min", quality=0x808C0000)
        await page.until(f"{row}.classList.contains('missing') && {row}.innerText.includes('bad')")
        assert await page.evaluate(f"{row}.querySelector('.figure').textContent") == "12.35"
        assert await page.evaluate(f"{row}.title") == "BadSensorFailure"
        shop.health.change("plc", State.WAITING, shop.clock.now(), error="no answer", remedy="look")
        await page.until("document.querySelector('.tile').innerText.includes('Connection lost')")
        await page.until(f"{row}.classList.contains('stale')")
        marks = await page.evaluate(f"[...{row}.querySelectorAll('.mark')].map((mark) => mark.innerText)")
        assert marks == ["bad", "last good"], "that it is old goes without saying"
        assert await page.evaluate("document.getElementById('spoken').textContent") == "Mill: Connection lost"
        shop.accounts = books(lost=1200)
        await page.until(
            "document.getElementById('fact-books').innerText.includes('1,200 not accounted for')"
        )
        assert page.complaints() == []


async def test_simulated_machines_bear_a_badge_and_real_ones_none(tmp_path: Path) -> None:
    shop = Shop((Tile("real", "Mill"), Tile("sim", "Mill", simulated=True)), clock=SystemClock())
    async with visited(shop, tmp_path / "profile") as (page, _):
        shown = "[...document.querySelectorAll('.tile')].map((tile) => tile.querySelector('.simulated'))"
        await page.until(f"{shown}.length === 2")
        assert await page.evaluate(f"{shown}.map((badge) => badge.innerText).join()") == ",simulated"
        assert await page.evaluate(f"{shown}.map((badge) => badge.offsetWidth > 0).join()") == "false,true"
        await page.evaluate("document.querySelector('[data-language=nl]').click()")
        await page.until(f"{shown}[1].innerText === 'gesimuleerd'")


async def test_dutch_is_complete_and_remembered(tmp_path: Path) -> None:
    async with visited(workshop(SystemClock()), tmp_path / "profile", lang="nl") as (page, _):
        await page.until("document.body.innerText.includes('Verbinding verbroken')")
        assert await page.evaluate("document.documentElement.lang") == "nl"
        assert "62,53" in await page.evaluate("document.body.innerText")
        await page.evaluate("document.querySelector('[data-language=en]').click()")
        await page.until("document.body.innerText.includes('Connection lost')")
        await page.reload()
        await page.until("document.body.innerText.includes('Connection lost')")
        assert await page.evaluate("import('/static/texts.js').then(({TEXTS}) => shape(TEXTS.en) === shape(TEXTS.nl));"
            "function shape(t) { return JSON.stringify(t, (k, v) => typeof v === 'object' ? v : typeof v) }")  # fmt: skip


async def test_lost_contact_is_said_loudly_and_found_again(tmp_path: Path) -> None:
    shop = Shop((Tile("m"),), clock=SystemClock())
    shop.say("m", "speed", 1.0)
    app = build_app(shop.view, shop.health, shop.ledger)
    async with browser(tmp_path / "profile") as page:
        await page.look()
        port = free_port()
        async with serve_page(app, port=port, tries=1) as url:
            await page.open(url)
            await page.until("document.querySelector('tbody tr')")
            assert not await page.evaluate("document.getElementById('cut-off').checkVisibility()")
        await page.until("document.getElementById('cut-off').checkVisibility()")
        assert "No contact with the collector" in await page.evaluate("document.body.innerText")
        assert (await page.evaluate("document.title")).startswith("⚠")
        assert float(await page.evaluate("getComputedStyle(document.querySelector('main')).opacity")) < 1
        again = build_app(shop.view, shop.health, shop.ledger)
        async with serve_page(again, port=port, tries=1):
            await page.until("!document.getElementById('cut-off').checkVisibility()")
            assert await page.evaluate("document.title") == "Shop floor"


@pytest.mark.parametrize("width", [320, 390, 1280, 3840])
async def test_nothing_sticks_out_sideways(tmp_path: Path, width: int) -> None:
    shop = workshop(SystemClock())
    shop.say("cnc-1", "x" * 120, "y" * 300, kind=Kind.TEXT, unit="z" * 60)
    shop.labels.tell("cnc-1", "spindle_load", Label("Spindelbelasting" * 12))
    async with visited(shop, tmp_path / "profile", width=width, height=900, lang="nl") as (page, _):
        await page.until("document.querySelectorAll('tbody tr').length > 10")
        assert await page.evaluate("document.documentElement.scrollWidth") <= width
        wide = "[...document.querySelectorAll('.scroll')].filter((box) => box.scrollWidth > box.clientWidth).length"
        assert await page.evaluate(wide) == 0


PAIRS = [
    ("ink", "ground"), ("ink", "surface"), ("soft", "surface"), ("soft", "ground"), ("accent", "surface"),
    ("surface", "accent"), ("lost", "surface"), ("lost", "lost-wash"), ("ok", "ok-wash"), ("busy", "busy-wash"),
    ("attention", "attention-wash"), ("uncertain", "uncertain-wash"), ("ink", "lost-wash"), ("ink", "attention-wash"),
    ("ink", "ok-wash"), ("ink", "busy-wash"), ("soft", "lost-wash"), ("soft", "ok-wash"), ("soft", "attention-wash"),
    ("soft", "busy-wash"),
]  # fmt: skip


def palettes() -> list[dict[str, str]]:
    style = (files("collector.page") / "static" / "style.css").read_text()
    light, dark = (
        dict(re.findall(r"--([\w-]+): (#\w{6});", block))
        for block in re.findall(r":root \{(.*?)\}", style, re.DOTALL)
    )
    return [light, light | dark]


def linear(colour: str) -> list[float]:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    return [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]


def contrast(one: str, other: str) -> float:
    """WCAG 2.2, relative luminance and contrast ratio."""
    weights = (0.2126, 0.7152, 0.0722)
    a, b = (sum(w * c for w, c in zip(weights, linear(colour), strict=True)) for colour in (one, other))
    return (max(a, b) + 0.05) / (min(a, b) + 0.05)


def as_seen_by_a_deuteranope(colour: str) -> list[float]:
    """Machado, Oliveira and Fernandes 2009, table 1, severity 1.0, in linear light."""
    matrix = (
        (0.367322, 0.860646, -0.227968),
        (0.280085, 0.672501, 0.047413),
        (-0.011820, 0.042940, 0.968881),
    )
    return [sum(m * c for m, c in zip(row, linear(colour), strict=True)) for row in matrix]


@pytest.mark.parametrize("palette", palettes(), ids=["light", "dark"])
def test_every_text_can_be_read(palette: dict[str, str]) -> None:
    assert len(palette) > 15
    low = {pair: contrast(palette[pair[0]], palette[pair[1]]) for pair in PAIRS}
    assert not {pair: ratio for pair, ratio in low.items() if ratio < 4.5}


@pytest.mark.parametrize("palette", palettes(), ids=["light", "dark"])
def test_ok_and_attention_differ_for_red_green_blind_eyes(palette: dict[str, str]) -> None:
    ok, attention = (as_seen_by_a_deuteranope(palette[name]) for name in ("ok", "attention"))
    assert sum((a - b) ** 2 for a, b in zip(ok, attention, strict=True)) ** 0.5 > 0.1


async def test_a_buffer_that_fills_is_told_days_before(tmp_path: Path) -> None:
    """Who holds it up and how long it lasts; gone when it drains; in both languages."""
    shop = Shop((Tile("m"),), clock=SystemClock())
    full = Space(900, 1000, full_in=4 * 86_400 + 1234.0, held_by=("influxdb",))
    shop.accounts = replace(books(pending=900), space=full)
    async with visited(shop, tmp_path / "profile") as (page, _):
        await page.until("document.getElementById('notices').innerText.includes('full in 4 d: influxdb')")
        await page.evaluate("document.querySelector('[data-language=nl]').click()")
        await page.until(
            "document.getElementById('notices').innerText.includes('vol over 4 d: influxdb neemt')"
        )
        shop.accounts = replace(
            shop.accounts, space=replace(full, full_in=0.0, condition="disk full: the sources wait")
        )
        await page.until(
            "document.getElementById('notices').innerText.includes('schijf vol: de bronnen wachten')"
        )
        shop.accounts = replace(shop.accounts, space=replace(full, full_in=None))
        await page.until("document.getElementById('notices').innerText === ''")
        assert page.complaints() == []


async def test_what_adapters_say_is_dutch_on_a_dutch_page(tmp_path: Path) -> None:
    """Errors as adapters word them, names and addresses kept; English stays as it is; what is not known, too."""
    refused = translate(ProtocolError(ConnectionRefusedError(111, "Connection refused")), "http://db:8086")
    wanted = {
        str(error): dutch
        for error, dutch in (
            (
                NotConnected("opc.tcp://h:4840: nobody listens there"),
                "opc.tcp://h:4840: daar luistert niemand",
            ),
            (NotConnected("mqtt://b: connection refused"), "mqtt://b: verbinding geweigerd"),
            (
                NotConnected("mqtt://b: the name 'b' is not known (-2)"),
                "mqtt://b: de naam 'b' is niet bekend (-2)",
            ),
            (NotConnected("something new"), "something new"),
            (refused, "InfluxDB op http://db:8086: verbinding geweigerd"),
            (refused.remedy, "draait de server, en klopt het adres?"),
        )
    }
    async with visited(workshop(SystemClock()), tmp_path / "profile", lang="nl") as (page, _):
        for words, dutch in wanted.items():
            quoted = json.dumps(words)
            for language, expected in (("nl", dutch), ("en", words)):
                script = f"import('/static/said.js').then(({{said}}) => said({quoted}, '{language}'))"
                assert await page.evaluate(script) == expected
        await page.until(
            "document.body.innerText.includes('opc.tcp://10.0.0.14:4840 antwoordt niet (verbinding geweigerd)')"
        )
