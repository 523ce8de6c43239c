#!/usr/bin/env python3
"""Goal: dependencies point one way. Every include of a module's sources and headers is of the module itself or of a
module it names in DEPS; core knows only core, proto knows core and proto, the three products never include one another;
and each library from outside is included only where it is wrapped."""
import pathlib
import re
import sys

ROOT = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ".").resolve()
LAYERS = {
    "core": {"core"},
    "proto": {"core", "proto"},
    "device": {"core", "proto", "device"},
    "gateway": {"core", "proto", "gateway"},
    "cloud-bridge": {"core", "proto", "cloud-bridge"},
    "simulators": {"core", "proto", "device", "gateway", "cloud-bridge", "simulators"},
}
WRAPPED = {
    "event2/": {"core/loop", "core/control"},
    "MQTTAsync": {"core/bus", "cloud-bridge/sink-mqtt"},
    "nats/": {"cloud-bridge/sink-nats"},
    "openssl/": {"core/crypt", "core/bus", "cloud-bridge/sink-influx"},
    "lmdb.h": {"core/store"},
    "yaml.h": {"core/options"},
    "sqlite3.h": {"cloud-bridge/sinks", "cloud-bridge/console"},
    "libpq-fe.h": {"cloud-bridge/sink-postgres"},
    "dlfcn.h": {"cloud-bridge/sinks", "gateway/engine"},
    "cjson/": {"cloud-bridge/console", "core/trees", "cloud-bridge/sink-nats", "proto/sparkplug", "simulators/load"},
}


def declared():
    modules = {}
    for cmake in ROOT.glob("*/*/CMakeLists.txt"):
        text = re.sub(r"#.*", "", cmake.read_text())
        for call in re.findall(r"weir_(?:module|program)\(([^)]*)\)", text):
            words = call.split()
            deps, current = [], None
            for word in words[1:]:
                if word.isupper():
                    current = word
                elif current == "DEPS":
                    deps.append(word)
            folder = str(cmake.parent.relative_to(ROOT))
            modules.setdefault(folder, set()).update(deps)
            modules[folder].add(folder)
    return modules


def main():
    problems, seen = [], 0
    modules = declared()
    for layer, allowed in LAYERS.items():
        for source in sorted((ROOT / layer).glob("*/*.[ch]")):
            folder = str(source.parent.relative_to(ROOT))
            seen += 1
            for number, line in enumerate(source.read_text().splitlines(), 1):
                match = re.match(r'\s*#\s*include\s+([<"])([^>"]+)[>"]', line)
                if not match:
                    continue
                where = f"{source.relative_to(ROOT)}:{number}"
                quoted, path = match.group(1) == '"', match.group(2)
                if quoted:
                    target = str(pathlib.PurePosixPath(path).parent)
                    if target.split("/")[0] not in allowed:
                        problems.append(f"{where}: {layer} must not include {path}")
                    elif target not in modules.get(folder, {folder}):
                        problems.append(f"{where}: {path} is not in DEPS of {folder}")
                    elif path.endswith("_internal.h") and target != folder:
                        problems.append(f"{where}: {path} is internal to {target}")
                else:
                    for prefix, homes in WRAPPED.items():
                        if path.startswith(prefix) and folder not in homes:
                            problems.append(f"{where}: only {', '.join(sorted(homes))} may include <{path}>")
    print("\n".join(problems))
    print(f"files={seen} problems={len(problems)}")
    return 1 if problems or seen < 30 else 0


if __name__ == "__main__":
    sys.exit(main())
