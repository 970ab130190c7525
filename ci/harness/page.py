"""What must be true of the HTML report in a browser, and how a page would have to be broken to be caught.

Each check returns what is wrong, in lines; none is good. What it compares with comes from the journal and
from the command, never from the page itself. Each has at least one `BROKEN` page that must not pass it.
"""

import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .browser import Browser

WIDTHS = (360, 768, 1280)
SCHEMES = ("light", "dark")

# What WCAG 2 asks for of text of this size (level AA).
CONTRAST = 4.5

# Elements in a result that nobody needs to look at, and bytes: a page of thousands must open at once. What a page
# has besides (style, script, the filter) is the allowance.
ELEMENTS_EACH, ELEMENTS_BESIDE = 5, 120
BYTES_EACH, BYTES_BESIDE = 400, 32_000

ATTENTION = ("FAIL", "HANG", "ERROR", "XPASS")
# Of what is as expected; the run has one known deviation.
GROUPS = {"XFAIL": "known deviation", "NOTRUN": "not run", "PASS": "passed"}


@dataclass(frozen=True)
class Facts:
    """What is known of the run, from elsewhere than the page."""

    verdicts: dict[str, str]
    """Of each case."""
    commands: dict[str, str]
    """The command that runs a failure again, as the runner printed it."""

    def of(self, *verdicts: str) -> set[str]:
        """The cases with one of these verdicts."""
        return {case for case, verdict in self.verdicts.items() if verdict in verdicts}


RESULTS = """
return [...document.querySelectorAll("[data-case]")].map((result) => ({
  name: result.dataset.case, verdict: result.dataset.verdict, seen: result.checkVisibility(),
  open: !!result.open, text: result.textContent.toLowerCase(),
  evidence: [...result.querySelectorAll(".problem, pre, .command")].some((part) => part.checkVisibility()),
}));
"""

# The ratio of luminances of each text to what is behind it, as WCAG 2 defines it; colours may be translucent.
CONTRASTS = """
const numbers = (colour) => colour.match(/[\\d.]+/g).map(Number);
const over = (top, below) => {
  const alpha = top.length > 3 ? top[3] : 1;
  return [0, 1, 2].map((at) => top[at] * alpha + below[at] * (1 - alpha));
};
const behind = (element) => {
  const layers = [];
  for (let at = element; at; at = at.parentElement) layers.unshift(numbers(getComputedStyle(at).backgroundColor));
  return layers.reduce((below, top) => over(top, below), [255, 255, 255]);
};
const luminance = (colour) => {
  const [red, green, blue] = colour.map((value) => {
    const part = value / 255;
    return part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
};
const own = (element) => [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
const worst = new Map();
for (const element of document.body.querySelectorAll("*:not(script):not(style)")) {
  if (!own(element) || element.closest("svg")) continue;
  const ground = behind(element);
  const text = over(numbers(getComputedStyle(element).color), ground);
  const [high, low] = [luminance(text), luminance(ground)].sort((a, b) => b - a);
  const ratio = (high + 0.05) / (low + 0.05);
  const name = [element.localName, ...element.classList].join(".");
  if (!(worst.get(name) <= ratio)) worst.set(name, ratio);
}
const field = document.querySelector("#filter input");
const hint = over(numbers(getComputedStyle(field, "::placeholder").color), behind(field));
const [high, low] = [luminance(hint), luminance(behind(field))].sort((a, b) => b - a);
worst.set("placeholder", (high + 0.05) / (low + 0.05));
return Object.fromEntries(worst);
"""

# Whether the page can be scrolled sideways, and what reaches over the right edge and cannot be scrolled to: a box that
# clips (as one with content-visibility does) hides it and makes the page no wider.
OVERFLOW = """
const wide = document.documentElement.clientWidth, whole = document.documentElement.scrollWidth;
const scrolls = (element) =>
  element && (/auto|scroll/.test(getComputedStyle(element).overflowX) || scrolls(element.parentElement));
const name = (element) => [element.localName, ...element.classList].join(".");
const reach = (element) => {
  const box = element.getBoundingClientRect();
  return Math.max(box.right, scrolls(element) ? 0 : box.left + element.scrollWidth);
};
const over = [...document.body.querySelectorAll("*")].filter((element) =>
  reach(element) > wide + 0.5 && !scrolls(element.parentElement)).map(name);
return [...(whole > wide ? [`scrolls to ${whole} px`] : []), ...[...new Set(over)].map((it) => `${it} is too wide`)];
"""

# The words of commands that a line's end breaks though they would fit into one. The range of a word has a box a line.
BROKEN_WORDS = """
const wrong = [];
for (const code of document.querySelectorAll(".attention .command code")) {
  const walker = document.createTreeWalker(code, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    for (const word of walker.currentNode.data.matchAll(/[^ ]+/g)) {
      const range = document.createRange();
      range.setStart(walker.currentNode, word.index);
      range.setEnd(walker.currentNode, word.index + word[0].length);
      const boxes = [...range.getClientRects()], style = getComputedStyle(code);
      const room = code.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight);
      const rows = new Set(boxes.map((box) => box.top)).size;
      if (rows > 1 && boxes.reduce((sum, box) => sum + box.width, 0) < room) wrong.push([word[0], rows]);
    }
  }
}
return wrong;
"""

STYLE = """
const badge = document.querySelector(`.badge.${arguments[0]}`);
const style = getComputedStyle(badge);
return [style.color, style.backgroundColor, style.borderTopStyle, style.borderTopColor, badge.textContent];
"""


def failures_first(browser: Browser, facts: Facts) -> list[str]:
    """What needs attention comes first, is open and shows its evidence; each result is there once."""
    results = browser.ask(RESULTS)
    wrong = []
    if {result["name"]: result["verdict"] for result in results} != facts.verdicts or len(results) != len(facts.verdicts):
        wrong.append("the results are not those of the journal")
    bad = [result["verdict"] in ATTENTION for result in results]
    if bad != sorted(bad, reverse=True):
        wrong.append("a failure comes after what is as expected")
    for result in results:
        if result["verdict"] in ATTENTION and not (result["seen"] and result["open"] and result["evidence"]):
            wrong.append(f"{result['name']} is not open")
    count = len(facts.of(*ATTENTION))
    said = browser.ask("return document.querySelector('.conclusion').textContent")
    if not said.startswith(f"{count} result"):
        wrong.append(f"it concludes: {said}")
    return wrong


def rest_folded(browser: Browser, facts: Facts) -> list[str]:
    """What is as expected is folded away, with a count, and a click shows it."""
    wrong = [
        f"{result['name']} ({result['verdict']}) is seen at once"
        for result in browser.ask(RESULTS)
        if result["verdict"] not in ATTENTION and result["seen"]
    ]
    summaries = browser.ask("return [...document.querySelectorAll('.group > summary')].map((it) => it.textContent)")
    wanted = [f"{len(facts.of(verdict))} {title} ({verdict})" for verdict, title in GROUPS.items() if facts.of(verdict)]
    if summaries != wanted:
        wrong.append(f"the groups are {summaries}, not {wanted}")
    for number in range(len(summaries)):
        browser.ask("arguments[0].click()", browser.driver.find_elements("css selector", ".group > summary")[number])
    hidden = [result["name"] for result in browser.ask(RESULTS) if not result["seen"]]
    return wrong + [f"{name} cannot be unfolded" for name in hidden]


def seen(browser: Browser) -> set[str]:
    """The results that are seen now."""
    return {result["name"] for result in browser.ask(RESULTS) if result["seen"]}


def filters(browser: Browser, facts: Facts) -> list[str]:
    """Words and verdicts choose what is seen, together and apart, and leave the page as it was."""
    wrong = []
    before = seen(browser)
    texts = {result["name"]: result["text"] for result in browser.ask(RESULTS)}

    def expect(what: str, wanted: set[str]) -> None:
        now = seen(browser)
        said = browser.ask("return document.querySelector('#filter output').textContent")
        if now != wanted:
            wrong.append(f"{what}: {len(now)} seen, not {len(wanted)}")
        if said != f"{len(wanted)} shown":
            wrong.append(f"{what}: it says {said!r}")

    word = "unmapped"
    having = {name for name, text in texts.items() if word in text}
    browser.type("#filter input", word.upper())
    expect("a word", having)
    browser.type("#filter input", f"{word} punch")
    expect("two words", {name for name in having if "punch" in texts[name]})
    browser.type("#filter input", word)
    browser.click("#filter button[data-show=PASS]")
    expect("a word and a verdict", having & facts.of("PASS"))
    browser.type("#filter input", "")
    expect("a verdict", facts.of("PASS"))
    browser.click("#filter button[data-show=FAIL]")
    expect("two verdicts", facts.of("PASS", "FAIL"))
    browser.type("#filter input", "no such word")
    expect("what is nowhere", set())
    browser.click("#filter button[data-show=PASS]")
    browser.click("#filter button[data-show=FAIL]")
    browser.type("#filter input", "")
    if seen(browser) != before:
        wrong.append("without a filter it is not as it was")
    counts = browser.ask("return [...document.querySelectorAll('#filter button')].map((it) => it.textContent)")
    wanted = {f"{verdict} {len(facts.of(verdict))}" for verdict in set(facts.verdicts.values())}
    if set(counts) != wanted:
        wrong.append(f"the buttons say {counts}, not {sorted(wanted)}")
    return wrong


def pressed(browser: Browser, case: str) -> str:
    """What the button beside a command says once it was pressed."""
    selector = f'[data-case="{case}"] button.copy'
    browser.click(selector)
    return browser.driver.execute_async_script(
        "const [selector, done] = arguments, button = document.querySelector(selector);"
        "const ask = (left) => button.textContent !== 'copy' || !left ? done(button.textContent)"
        "  : setTimeout(ask, 20, left - 1); ask(50);",
        selector,
    )


def copies(browser: Browser, facts: Facts) -> list[str]:
    """The button beside a command copies that command, and says so."""
    wrong = []
    for case, command in facts.commands.items():
        browser.allow("clipboardReadWrite", "clipboardSanitizedWrite")
        browser.driver.execute_async_script("navigator.clipboard.writeText('nothing').then(arguments[0])")
        if (said := pressed(browser, case)) != "copied":
            wrong.append(f"{case}: the button says {said!r}")
        if (copied := browser.clipboard()) != command:
            wrong.append(f"{case}: {copied!r} is copied, not {command!r}")
    return wrong or ([] if facts.commands else ["there is no command to copy"])


def selects(browser: Browser, facts: Facts) -> list[str]:
    """Where it may not copy, it selects that command, and says so."""
    wrong = []
    browser.allow()
    for case, command in facts.commands.items():
        if (said := pressed(browser, case)) != "selected":
            wrong.append(f"{case}: the button says {said!r}")
        if (selected := browser.ask("return getSelection().toString()")) != command:
            wrong.append(f"{case}: {selected!r} is selected, not {command!r}")
    return wrong or ([] if facts.commands else ["there is no command to select"])


def links_lead_somewhere(browser: Browser, _: Facts) -> list[str]:
    """Each link leads to a file beside the page."""
    addresses = browser.ask("return [...document.querySelectorAll('a')].map((link) => link.href)")
    wrong = [] if addresses else ["there are no links"]
    for address in addresses:
        parts = urllib.parse.urlsplit(address)
        if parts.scheme != "file" or not Path(urllib.parse.unquote(parts.path)).is_file():
            wrong.append(f"{address or 'a link'} leads nowhere")
    return wrong


def console_is_silent(browser: Browser, _: Facts) -> list[str]:
    """Nothing is complained of, and nothing is asked for from elsewhere."""
    asked = browser.ask("return [...document.querySelectorAll('[src], link')].map((it) => it.src || it.href)")
    return browser.console() + [f"it asks for {name}" for name in asked]


def fits(browser: Browser, _: Facts) -> list[str]:
    """At no width can the page be scrolled sideways, folded or unfolded."""
    wrong = []
    for width in WIDTHS:
        browser.look(width, "light")
        for state in ("as it opens", "unfolded"):
            wrong += [f"{width} px, {state}: {line}" for line in browser.ask(OVERFLOW)]
            browser.ask("document.querySelectorAll('details').forEach((it) => { it.open = true; })")
        browser.ask("document.querySelectorAll('details').forEach((it) => { it.open = it.matches('.attention *'); })")
    browser.look(WIDTHS[-1], "light")
    return wrong


def commands_break_between_words(browser: Browser, _: Facts) -> list[str]:
    """A command is broken where one word ends and another begins, at any width."""
    wrong = []
    for width in WIDTHS:
        browser.look(width, "light")
        wrong += [f"{width} px: {word} is on {rows} lines" for word, rows in browser.ask(BROKEN_WORDS)]
    browser.look(WIDTHS[-1], "light")
    return wrong


def readable(browser: Browser, _: Facts) -> list[str]:
    """Every text stands out from its ground, in the light and in the dark, which are two."""
    wrong, grounds = [], []
    for scheme in SCHEMES:
        browser.look(WIDTHS[-1], scheme)
        grounds.append(browser.ask("return getComputedStyle(document.body).backgroundColor"))
        for name, ratio in browser.ask(CONTRASTS).items():
            if ratio < CONTRAST:
                wrong.append(f"{scheme}: {name} has a contrast of {ratio:.2f}")
    browser.look(WIDTHS[-1], "light")
    return wrong + ([] if grounds[0] != grounds[1] else ["the dark page is the light one"])


def verdicts_differ(browser: Browser, facts: Facts) -> list[str]:
    """No two verdicts look alike, whether colours can be told apart or not."""
    wrong = []
    verdicts = sorted(set(facts.verdicts.values()))
    for scheme in SCHEMES:
        browser.look(WIDTHS[-1], scheme)
        styles = {verdict: browser.ask(STYLE, verdict) for verdict in verdicts}
        for at, one in enumerate(verdicts):
            for other in verdicts[at + 1 :]:
                if styles[one][:4] == styles[other][:4]:
                    wrong.append(f"{scheme}: {one} looks like {other}")
        if styles["XFAIL"][0] == styles["PASS"][0]:
            wrong.append(f"{scheme}: XFAIL has the colour of PASS")
        # How it is drawn without colour: filled or not, with which border.
        shape = {verdict: (style[1] == "rgba(0, 0, 0, 0)", style[2], style[3] == "rgba(0, 0, 0, 0)") for verdict, style in styles.items()}
        if shape["XFAIL"] == shape["PASS"]:
            wrong.append(f"{scheme}: without colour XFAIL looks like PASS")
        wrong += [f"{scheme}: {verdict} says {style[4]}" for verdict, style in styles.items() if style[4] != verdict]
    browser.look(WIDTHS[-1], "light")
    return wrong


def small(browser: Browser, facts: Facts) -> list[str]:
    """A page of many results that nobody needs to look at has few elements for each, and few bytes."""
    count = len(facts.verdicts)
    elements = browser.ask("return document.getElementsByTagName('*').length")
    size = browser.ask("return new Blob([document.documentElement.outerHTML]).size")
    limits = (ELEMENTS_EACH * count + ELEMENTS_BESIDE, BYTES_EACH * count + BYTES_BESIDE)
    wrong = []
    if elements > limits[0]:
        wrong.append(f"{elements} elements for {count} results, more than {limits[0]}")
    if size > limits[1]:
        wrong.append(f"{size} bytes for {count} results, more than {limits[1]}")
    if (there := len(browser.ask(RESULTS))) != count:
        wrong.append(f"there are {there} results, not {count}")
    return wrong


Check = Callable[[Browser, Facts], list[str]]

CHECKS: tuple[Check, ...] = (
    failures_first, rest_folded, filters, copies, selects, links_lead_somewhere, console_is_silent, fits,
    commands_break_between_words, readable, verdicts_differ,
)  # fmt: skip


@dataclass(frozen=True)
class Broken:
    """A page that does not pass: what is put in place of what, in all its places."""

    check: Check
    old: str
    new: str
    says: str
    """What the check says of it, in part."""

    def of(self, page: str) -> str:
        """The page, broken."""
        return page.replace(self.old, self.new)


BROKEN = (
    Broken(failures_first, 'data-times="1" open>', 'data-times="1">', "is not open"),
    Broken(failures_first, 'data-verdict="PASS"', 'data-verdict="FAIL"', "not those of the journal"),
    Broken(failures_first, "<body>", '<body><p data-case="waits/more" data-verdict="PASS" data-times="1">', "comes after"),
    Broken(failures_first, 'class="conclusion not">', 'class="conclusion not">All as expected; ', "it concludes"),
    Broken(failures_first, ".case > div {", ".case > div { display: none;", "is not open"),
    Broken(rest_folded, '<details class="group">', '<details class="group" open>', "is seen at once"),
    Broken(rest_folded, " passed (PASS)", " (PASS)", "the groups are"),
    Broken(rest_folded, ".quiet > li {", ".quiet > li { visibility: hidden; display: none !important;", "cannot be unfolded"),
    Broken(filters, "words.every(", "words.some(", "two words"),
    Broken(filters, "field.value.toLowerCase()", "field.value", "a word: "),
    Broken(filters, "result.hidden = !shown;", "", "a verdict: "),
    Broken(filters, "(!wanted.length || wanted.includes(result.dataset.verdict)) &&", "", "a verdict: "),
    Broken(filters, "active || before[at]", "active || group.open", "not as it was"),
    Broken(filters, "`${count} shown`", "`${count}`", "it says"),
    Broken(filters, 'data-show="XFAIL">XFAIL', 'data-show="XFAIL">XFAIL 1', "the buttons say"),
    Broken(copies, "writeText(code.textContent)", "writeText(code.textContent.trim() + ' ')", "is copied, not"),
    Broken(copies, "button.previousElementSibling", "button.parentElement", "is copied, not"),
    Broken(copies, 'said("copied")', "0", "the button says 'copy'"),
    Broken(selects, "selectAllChildren(code)", "selectAllChildren(document.body)", "is selected, not"),
    Broken(selects, "() => { select(); said", "() => { said", "is selected, not"),
    Broken(selects, 'said("selected"); });', "});", "the button says 'copy'"),
    Broken(links_lead_somewhere, '<a href="cases/', '<a href="case/', "leads nowhere"),
    Broken(links_lead_somewhere, "<a ", "<b ", "there are no links"),
    Broken(console_is_silent, "const bar =", "nowhere.open(); const bar =", "nowhere is not defined"),
    Broken(console_is_silent, "</body>", '<img src="missing.png"></body>', "Failed to load resource"),
    Broken(console_is_silent, "</body>", '<img src="junit.xml"></body>', "it asks for"),
    Broken(fits, ".picture { overflow-x: auto;", ".picture { overflow-x: visible;", "360 px, as it opens: svg.timeline is too wide"),
    Broken(fits, "overflow-wrap: anywhere;", "white-space: nowrap;", "1280 px"),
    Broken(fits, "pre { margin: .3rem 0; padding: .6rem; overflow: auto;", "pre { overflow: visible;", "360 px, unfolded: pre is too wide"),
    Broken(commands_break_between_words, ".command code span {", ".command code i {", "is on 2 lines"),
    Broken(readable, "--NOTRUN: #59636e", "--NOTRUN: #8b949e", "light: span.badge.NOTRUN"),
    Broken(readable, "--FAIL: #ff7b72", "--FAIL: #7d2b25", "dark: span.badge.FAIL"),
    Broken(readable, "::placeholder { color: var(--dim)", "::placeholder { color: #8b949e", "light: placeholder"),
    Broken(readable, "prefers-color-scheme: dark", "prefers-color-scheme: none", "the dark page is the light one"),
    Broken(verdicts_differ, ".badge.XFAIL { color: var(--XFAIL);", ".badge.XFAIL { color: var(--PASS);", "the colour of PASS"),
    Broken(verdicts_differ, "border-style: dashed;", "border-color: transparent;", "without colour"),
    Broken(verdicts_differ, ".badge.XPASS { color: var(--page); background: var(--XPASS); border-color: var(--XPASS);",
           ".badge.XPASS { color: var(--page); background: var(--FAIL); border-color: var(--FAIL);", "FAIL looks like XPASS"),
    Broken(verdicts_differ, '<span class="badge XFAIL">XFAIL', '<span class="badge XFAIL">PASS', "XFAIL says PASS"),
)  # fmt: skip
BROKEN_LARGE = (
    Broken(small, '<span class="what">', '<span class="what"><b></b><b></b><b></b>', "elements for"),
    Broken(small, '<span class="what">', f'<span class="what" title="{"x" * 300}">', "bytes for"),
    Broken(small, "<li data-case", "<li data-no-case", "there are 1 results"),
)
