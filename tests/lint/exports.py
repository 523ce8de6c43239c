#!/usr/bin/env python3
"""Goal: a loadable sink exports weir_sink_module and nothing else, so that two of them never meet in a name; and weir-bridge
itself needs none of the libraries that its loadable sinks bring.

    tests/lint/exports.py BUILD-FOLDER
"""
import pathlib
import subprocess
import sys
import tempfile

ONLY = {"weir_sink_module"}
BROUGHT_BY_SINKS = ("libpq.", "libnats.")


def lines(*argv):
    return subprocess.run([str(a) for a in argv], check=True, capture_output=True, text=True).stdout.splitlines()


def exported(path):
    return {line.split()[-1].split("@")[0] for line in lines("nm", "-D", "--defined-only", path)}


def needed(path):
    return {line.split("[")[1].rstrip("]") for line in lines("readelf", "-d", path) if "(NEEDED)" in line}


def problems_of(path):
    names = exported(path)
    return [f"{path.name} exports {name}" for name in sorted(names - ONLY)] + [f"{path.name} lacks {name}" for name in ONLY - names]


def sees_one_too_many():
    """The check itself, on a library with one symbol more."""
    with tempfile.TemporaryDirectory() as folder:
        source, library = pathlib.Path(folder, "two.c"), pathlib.Path(folder, "weir-sink-two.so")
        source.write_text("int weir_sink_module; int one_too_many;\n")
        lines("cc", "-shared", "-fPIC", "-o", library, source)
        return problems_of(library) == ["weir-sink-two.so exports one_too_many"]


def main():
    build = pathlib.Path(sys.argv[1])
    modules, bridge = sorted((build / "lib/weir").glob("weir-sink-*.so")), build / "bin/weir-bridge"
    problems = [] if sees_one_too_many() else ["a symbol too many is not seen"]
    for module in modules:
        problems += problems_of(module)
    problems += [f"weir-bridge needs {name}" for name in sorted(needed(bridge)) if name.startswith(BROUGHT_BY_SINKS)]
    loaded = lines("ldd", bridge)
    problems += [f"weir-bridge loads {line.strip()}" for line in loaded if line.strip().startswith(BROUGHT_BY_SINKS)]
    if not modules:
        problems.append(f"no module in {build}/lib/weir")
    print("\n".join(problems))
    print(f"modules={len(modules)} libraries_of_bridge={len(loaded)} bridge_bytes={bridge.stat().st_size} problems={len(problems)}")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
