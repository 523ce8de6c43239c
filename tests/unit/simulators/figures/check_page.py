#!/usr/bin/env python3
"""Goal: a report's page is well-formed, complete in itself and accessible.

    check_page.py PAGE       every element is closed in order, nothing is fetched, no script, ids are unique, drawings and
                             tables are named, no number is nan or inf
Prints what is wrong and exits 1, or one closing line."""
import html.parser
import re
import sys

VOID = {"meta", "br", "hr", "img", "input", "link"}
FETCHING = {"src", "href", "xlink:href", "action", "data", "poster", "srcset", "background"}
FORBIDDEN = {"script", "link", "img", "iframe", "object", "embed", "image", "use", "base", "form", "foreignobject"}


class Page(html.parser.HTMLParser):
    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.open, self.ids, self.wrong, self.count = [], set(), [], {}
        self.named_by = []

    def wrong_at(self, text):
        self.wrong.append(f"line {self.getpos()[0]}: {text}")

    def handle_starttag(self, tag, attributes, closed=False):
        self.count[tag] = self.count.get(tag, 0) + 1
        values = dict(attributes)
        if len(values) != len(attributes):
            self.wrong_at(f"<{tag}> has an attribute twice")
        if tag in FORBIDDEN:
            self.wrong_at(f"<{tag}> is not allowed")
        for name, value in attributes:
            if name in FETCHING or name.startswith("on") or name == "style":
                self.wrong_at(f"<{tag} {name}> is not allowed")
            if value and re.search(r"\b(nan|inf)\b", value) and name != "class":
                self.wrong_at(f"<{tag} {name}={value[:60]}>: not a number")
        if "id" in values:
            if values["id"] in self.ids:
                self.wrong_at(f"id {values['id']} is there twice")
            self.ids.add(values["id"])
        if values.get("role") == "img":
            self.named_by.append(values.get("aria-labelledby"))
        if tag == "svg" and values.get("role") != "img" and values.get("aria-hidden") != "true":
            self.wrong_at("a drawing without a role")
        if tag == "th" and "scope" not in values:
            self.wrong_at("<th> without scope")
        if tag not in VOID and not closed:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes, closed=True)

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.wrong_at(f"</{tag}> closes something else")


def main():
    text = open(sys.argv[1], encoding="utf-8", errors="strict").read()
    page = Page()
    page.feed(text)
    page.close()
    wrong = page.wrong
    if page.open:
        wrong.append(f"never closed: {page.open}")
    if re.search(r"url\s*\(|@import|https?:|//[a-z]", text):
        wrong.append("refers to something outside")
    for name in page.named_by:
        if name not in page.ids:
            wrong.append(f"a drawing is named by {name}, which is not there")
    for tag in ("html", "head", "body", "main", "h1", "title"):
        if tag not in page.count:
            wrong.append(f"no <{tag}>")
    if re.search(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]", text):
        wrong.append("a control character")
    if "default-src 'none'" not in text:
        wrong.append("no policy against fetching")
    for line in wrong[:20]:
        print(line, file=sys.stderr)
    if wrong:
        return 1
    print(f"bytes={len(text)} drawings={len(page.named_by)} tables={page.count.get('table', 0)} wrong=0")
    return 0


if __name__ == "__main__":
    sys.exit(main())
