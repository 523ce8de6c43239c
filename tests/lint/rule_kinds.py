#!/usr/bin/env python3
"""docs/curation.md has every kind of rule with its settings, words and defaults, as `weir rules kinds --json` tells them.

  rule_kinds.py SOURCE BUILD
"""
import json
import pathlib
import subprocess
import sys


def cell(setting):
    preset = {None: "none", "": '""'}.get(setting["default"], setting["default"])
    words = f" ({setting['value'].replace('|', ', ')})" if "|" in setting["value"] else ""
    return f"`{setting['name']}` = {preset}{words}"


def main():
    source, build = map(pathlib.Path, sys.argv[1:3])
    said = subprocess.run([build / "bin/weir", "rules", "kinds", "--json"], capture_output=True, text=True, check=True).stdout
    lines = (source / "docs/curation.md").read_text().splitlines()
    wanted = [f"| `{kind['name']}` | {kind['help']} | {', '.join(map(cell, kind['settings']))} |" for kind in json.loads(said)["kinds"]]
    missing = [line for line in wanted if line not in lines]
    for line in missing:
        print(f"docs/curation.md lacks the line\n{line}", file=sys.stderr)
    sys.exit(1 if missing or len(wanted) < 10 else 0)


main()
