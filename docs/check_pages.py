"""Check the links of built pages: python docs/check_pages.py FOLDER

Every file and every anchor that a page leads to must be there, and every address elsewhere must look like one. Whether it
answers is for ``sphinx-build -b linkcheck``, which needs the network.
"""

import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

HOST = re.compile(r"[\w-]+(\.[\w-]+)+")
ANSWERS = {"arxiv.org": re.compile(r"/abs/([\w.-]+/)?\d[\d.]+\d(v\d+)?"), "doi.org": re.compile(r"/10\.\d{4,9}/\S+")}


class Page(HTMLParser):
    """The addresses that a page leads to, and the anchors that it has."""

    def __init__(self, text):
        super().__init__()
        self.addresses, self.anchors = [], set()
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        for name, value in attributes:
            if name == "id" or (name == "name" and tag == "a"):
                self.anchors.add(value)
            elif (tag, name) in (("a", "href"), ("img", "src"), ("link", "href"), ("script", "src")) and value:
                self.addresses.append(value)


def wrong_elsewhere(address):
    """What is wrong with the form of an address on the web, or None."""
    parts = urlsplit(address)
    if parts.scheme != "https" or not HOST.fullmatch(parts.netloc):
        return "expected https:// and a host"
    if re.search(r"\s|[.,;:]$", address) or address.count("(") != address.count(")"):
        return "has a space, or what belongs to the sentence around it"
    known = ANSWERS.get(parts.netloc)
    return "no such number" if known and not known.fullmatch(parts.path) else None


def wrong_here(address, path, pages):
    """What is wrong with an address within the pages, or None."""
    parts = urlsplit(address)
    target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
    if not target.exists():
        return "no such file"
    if parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].anchors:
        return "no such anchor"
    return None


def check(folder):
    """(page, address, what is wrong with it) for each link that is wrong, and how many there are."""
    pages = {path.resolve(): Page(path.read_text(encoding="utf-8")) for path in sorted(folder.rglob("*.html"))}
    wrong, count = [], 0
    for path, page in pages.items():
        for address in page.addresses:
            count += 1
            elsewhere = urlsplit(address).scheme or address.startswith("//")
            found = wrong_elsewhere(address) if elsewhere else wrong_here(address, path, pages)
            if found and not address.startswith("data:"):
                wrong.append((path.relative_to(folder.resolve()), address, found))
    return wrong, count


if __name__ == "__main__":
    wrong, count = check(Path(sys.argv[1]))
    for page, address, found in wrong:
        print(f"{page}: {address}: {found}")
    print(f"{count:,} links, {len(wrong)} wrong")
    sys.exit(bool(wrong) or not count)
