#!/usr/bin/env python3
"""The page of `gomem report` in a real browser, at 1280 and 400 pixels and on paper: no error, nothing wider than the window, all columns to be had, and every
figure that it shows (data-key, data-value) equals `gomem stat --json`.

usage: report_page.py [--shots DIR] [--dark] [FILE...]      needs $GOMEM and Chromium; exits with 77 if there is none

It talks to the browser over a pipe, so that nothing listens on a port."""
import argparse
import base64
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

GOMEM = os.environ["GOMEM"]
ROOT = Path(os.environ.get("GOMEM_SOURCE_DIR", "."))
WIDTHS = (1280, 400)
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
# What the page says of itself: errors are counted before anything of it runs.
PROBE = """(() => {
	const shown = [...document.querySelectorAll("[data-key]")].map(e => [e.dataset.key, e.dataset.value]);
	const map = document.getElementById("map"), copy = new OffscreenCanvas(map.width, map.height).getContext("2d", {willReadFrequently: true});
	copy.drawImage(map, 0, 0);
	const pixels = copy.getImageData(0, 0, map.width, map.height).data;
	let drawn = 0;
	for (let i = 3; i < pixels.length; i += 4) drawn += pixels[i] > 0;
	return {ready: document.documentElement.dataset.ready || "", shown, drawn: drawn / (map.width * map.height),
		charts: document.querySelectorAll(".uplot canvas").length, width: innerWidth, scroll: document.documentElement.scrollWidth,
		height: document.documentElement.scrollHeight, resources: performance.getEntriesByType("resource").length};
})()"""

# A reader's hand: point at the map, choose a moment, turn to size classes, show and sort all.
EXERCISE = """(() => {
	const map = document.getElementById("map"), box = map.getBoundingClientRect(), title = document.getElementById("moment-title").textContent;
	const there = {clientX: box.left + box.width * 0.4, clientY: box.top + box.height * 0.95, bubbles: true};
	map.dispatchEvent(new PointerEvent("pointermove", there));
	const tip = document.getElementById("tip").textContent;
	map.dispatchEvent(new MouseEvent("click", there));
	const clicked = document.getElementById("moment-title").textContent;
	document.querySelector("[data-view=size_classes]").click();
	for (const button of document.querySelectorAll("#classes-more, #types-more, th button")) button.click();
	for (const heads = document.querySelectorAll("th button").length, i = {n: 0}; i.n < heads; i.n++) document.querySelectorAll("th button")[i.n].click();
	return {tip, moved: clicked !== title};
})()"""

# On a phone a button shows the columns that do not fit: they scroll inside of their box, and no name of a type is cut.
COLUMNS = """(() => {
	const shown = () => [...document.querySelectorAll("th")].filter(e => e.offsetWidth > 0).length, cut = () =>
		[...document.querySelectorAll("td.type")].filter(e => getComputedStyle(e).whiteSpace === "nowrap" && e.scrollWidth > e.clientWidth).length;
	const before = shown(), names = cut();
	for (const button of document.querySelectorAll(".columns")) if (button.offsetWidth > 0) button.click();
	const after = shown();
	// What scrolls goes below the first column.
	const above = [...document.querySelectorAll(".scroll th:first-child")].filter(th => {
		th.scrollIntoView({block: "center"});
		th.closest(".scroll").scrollLeft = 150;
		const box = th.getBoundingClientRect();
		return !th.contains(document.elementFromPoint(box.right - 8, box.bottom - 8));
	}).length;
	const thin = [...document.querySelectorAll("td.type")].filter(e => e.offsetWidth < 100).length;
	return {all: document.querySelectorAll("th").length, before, after, names: names + thin, above, scroll: document.documentElement.scrollWidth};
})()"""

# On paper: all columns, within the page's width; no picture is stretched; the map stands below its heading.
PRINT = "dispatchEvent(new Event('beforeprint'))"
PICTURES = "[...document.querySelectorAll('canvas')].map(c => c.clientWidth)"
PRINTED = """(() => {
	const keep = document.getElementById("map").closest(".keep");
	const said = {all: document.querySelectorAll("th").length, columns: [...document.querySelectorAll("th")].filter(e => e.offsetWidth > 0).length,
		wide: Math.max(...[...document.querySelectorAll("body *")].map(e => e.getBoundingClientRect().right)),
		kept: !!keep && keep.contains(document.getElementById("h-map")) && getComputedStyle(keep).breakInside === "avoid"};
	dispatchEvent(new Event("afterprint"));
	return said;
})()"""
PAPER = 717  # pixels: A4 with the margins of browsers


class Browser:
    def __init__(self, program, profile):
        to_child, self.out = os.pipe()
        self.inp, from_child = os.pipe()

        def pipes():
            os.dup2(to_child, 3)
            os.dup2(from_child, 4)

        for fd in (to_child, from_child):
            os.set_inheritable(fd, True)
        # The child's 3 and 4 must not be these very pipes' other numbers.
        self.process = subprocess.Popen(
            [program, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--remote-debugging-pipe",
             "--user-data-dir=" + profile, "--no-first-run", "--hide-scrollbars", "about:blank"],
            preexec_fn=pipes, close_fds=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(to_child)
        os.close(from_child)
        self.number, self.rest, self.events = 0, b"", []

    def message(self):
        while b"\0" not in self.rest:
            got = os.read(self.inp, 1 << 20)
            if not got:
                raise RuntimeError("the browser ended")
            self.rest += got
        text, self.rest = self.rest.split(b"\0", 1)
        return json.loads(text)

    def call(self, method, session=None, **params):
        self.number += 1
        request = {"id": self.number, "method": method, "params": params}
        if session:
            request["sessionId"] = session
        os.write(self.out, json.dumps(request).encode() + b"\0")
        while True:
            answer = self.message()
            if answer.get("id") == self.number:
                if "error" in answer:
                    raise RuntimeError("%s: %s" % (method, answer["error"]["message"]))
                return answer["result"]
            self.events.append(answer)

    def wait(self, method):
        while not any(e.get("method") == method for e in self.events):
            self.events.append(self.message())

    def close(self):
        try:
            self.call("Browser.close")
        except (RuntimeError, OSError):
            pass
        self.process.wait(timeout=30)


def complaints(events):
    for e in events:
        params = e.get("params", {})
        if e.get("method") == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            yield details.get("exception", {}).get("description", details["text"])
        if e.get("method") == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning", "assert"):
            yield "console: %s" % params["args"]
        if e.get("method") == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            yield "log: " + params["entry"]["text"]


def ask(browser, session, expression):
    return browser.call("Runtime.evaluate", session, expression=expression, returnByValue=True)["result"].get("value")


def on_phone(browser, session):
    said = ask(browser, session, COLUMNS)
    if not said["before"] < said["after"] == said["all"]:
        yield "of %d columns %d are shown, and %d after \"all columns\"" % (said["all"], said["before"], said["after"])
    if said["names"]:
        yield "%d names of types are cut, or have no room" % said["names"]
    if said["above"]:
        yield "in %d tables columns lie above the first" % said["above"]
    if said["scroll"] > 400:
        yield "with all columns the page is %d pixels wide" % said["scroll"]


def on_paper(browser, session, width):
    """A browser tells the page that it prints while the page is as wide as the window, and then makes it as wide as the paper."""
    ask(browser, session, PRINT)
    drawn = ask(browser, session, PICTURES)
    browser.call("Emulation.setEmulatedMedia", session, media="print")
    browser.call("Emulation.setDeviceMetricsOverride", session, width=PAPER, height=1000, deviceScaleFactor=0, mobile=False)
    paper, said = ask(browser, session, PICTURES), ask(browser, session, PRINTED)
    browser.call("Emulation.setEmulatedMedia", session, media="screen")
    browser.call("Emulation.setDeviceMetricsOverride", session, width=width, height=900, deviceScaleFactor=0, mobile=width < 600)
    if said["columns"] != said["all"]:
        yield "on paper %d of %d columns are shown" % (said["columns"], said["all"])
    if paper != drawn:
        yield "pictures are drawn %s pixels wide, and on paper %s" % (drawn, paper)
    if said["wide"] > PAPER:
        yield "on paper something ends at %d of %d pixels" % (said["wide"], PAPER)
    if not said["kept"]:
        yield "on paper the map may be on another page than its heading"


def visit(browser, page, width, dark, shot):
    target = browser.call("Target.createTarget", url="about:blank")["targetId"]
    session = browser.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
    browser.events.clear()
    for domain in ("Page", "Runtime", "Log"):
        browser.call(domain + ".enable", session)
    browser.call("Emulation.setDeviceMetricsOverride", session, width=width, height=900, deviceScaleFactor=2 if width < 600 else 1,
                 mobile=width < 600)
    scheme = "dark" if dark else "light"
    browser.call("Emulation.setEmulatedMedia", session, features=[{"name": "prefers-color-scheme", "value": scheme}])
    browser.call("Page.navigate", session, url=page.resolve().as_uri())
    browser.wait("Page.loadEventFired")
    said = browser.call("Runtime.evaluate", session, expression=PROBE, returnByValue=True)
    if shot:
        picture = browser.call("Page.captureScreenshot", session, captureBeyondViewport=True, format="png",
                               clip={"x": 0, "y": 0, "width": width, "height": min(said["result"]["value"]["height"], 9000), "scale": 1})
        shot.write_bytes(base64.b64decode(picture["data"]))
    used = browser.call("Runtime.evaluate", session, expression=EXERCISE, returnByValue=True)["result"].get("value") or {}
    bad = list(on_phone(browser, session) if width < 600 else ()) + list(on_paper(browser, session, width))
    again = browser.call("Runtime.evaluate", session, expression=PROBE, returnByValue=True)["result"].get("value") or {"shown": []}
    bad += complaints(browser.events)
    if not used.get("moved") or "0x" not in used.get("tip", ""):
        bad.append("pointing at the map and clicking did nothing: %s" % used)
    if said["result"].get("value"):
        said["result"]["value"]["shown"] += again["shown"]
    browser.call("Target.closeTarget", targetId=target)
    return said["result"].get("value"), bad


def at(data, key):
    for part in key.split("."):
        data = data[int(part)] if isinstance(data, list) else data[part]
    return data


def wrong(said, bad, data, width):
    """What is wrong with a page; empty if nothing."""
    problems = list(bad)
    if not said or said["ready"] != "1":
        return problems + ["the page did not finish"]
    if said["scroll"] > width:
        problems.append("the page is %d pixels wide in a window of %d" % (said["scroll"], width))
    if said["resources"]:
        problems.append("it loaded %d other files" % said["resources"])
    if said["drawn"] < 0.05:
        problems.append("the map is empty: %.3f of its pixels are drawn" % said["drawn"])
    if said["charts"] < 2:
        problems.append("there are %d charts" % said["charts"])
    unequal = [k for k, v in said["shown"] if float(v) != at(data, k)]
    if unequal or len(said["shown"]) < 50:
        problems.append("%d of %d figures differ from the JSON: %s" % (len(unequal), len(said["shown"]), unequal[:5]))
    return problems


def main(argv):
    parser = argparse.ArgumentParser(usage=__doc__.split("usage: ")[1].splitlines()[0])
    parser.add_argument("--shots", type=Path)
    parser.add_argument("--dark", action="store_true")
    parser.add_argument("files", nargs="*", type=Path)
    args = parser.parse_args(argv)
    shots, dark = args.shots, args.dark
    if shots:
        shots.mkdir(parents=True, exist_ok=True)
    program = next((p for p in map(shutil.which, BROWSERS) if p), None)
    if program is None:
        print("skipped: there is no Chromium (apt-get install chromium)")
        return 77
    files = args.files or [ROOT / "traces/data/httpserver-p4.gmt", ROOT / "traces/data/gotrace/json-p1.trace.zst"]
    failures = 0
    with tempfile.TemporaryDirectory() as work:
        browser = Browser(program, work + "/profile")
        for path in files:
            page = Path(work) / (path.stem + ".html")
            subprocess.run([GOMEM, "report", "-o", str(page), str(path)], check=True, stdout=subprocess.DEVNULL)
            data = json.loads(subprocess.run([GOMEM, "stat", "--json", str(path)], check=True, capture_output=True, text=True).stdout)
            for width in WIDTHS:
                shot = shots and shots / ("%s-%d.png" % (path.stem, width))
                said, bad = visit(browser, page, width, dark, shot)
                problems = wrong(said, bad, data, width)
                failures += bool(problems)
                print("%s at %d: %s" % (path.name, width, "; ".join(problems) or "%d figures equal, %.0f %% of the map drawn" % (
                    len(said["shown"]), 100 * said["drawn"])))
        browser.close()
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
