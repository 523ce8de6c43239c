"""The control block of tests/support/failing.c: arms faults in a running program, or in one that is about to start."""
import errno
import mmap
import os
import pathlib
import re
import struct
import subprocess

CALLS = ["write", "read", "sync", "open", "make", "alloc", "resize", "map", "name", "thread"]  # from 1
NUMBERS = ["armed", "call", "error", "first", "times", "seen", "hits", "pid"]
COUNTS_AT = 8 * len(NUMBERS)
SCOPE_AT, SCOPE_BYTES, TRACE_BYTES = COUNTS_AT + 8 * 16, 256, 4096
TRACE_AT = SCOPE_AT + SCOPE_BYTES
CRASH_AT = TRACE_AT + TRACE_BYTES
SIZE = CRASH_AT + TRACE_BYTES
PASS, FAIL, COUNT = range(3)
FOR_EVER = 2**64 - 1


class Failing:
    """A block in a file of its own. argv(...) gives the command line of a program that obeys it."""

    def __init__(self, path, library):
        self.path, self.library = pathlib.Path(path), library
        self.path.write_bytes(bytes(SIZE))
        with open(self.path, "r+b") as f:
            self.map = mmap.mmap(f.fileno(), 0)

    def argv(self, argv, leaks=()):
        """leaks: names of functions or libraries whose leaks are not looked at."""
        asan, lsan = os.environ.get("ASAN_OPTIONS", ""), os.environ.get("LSAN_OPTIONS", "")
        extra = []
        if leaks:
            file = self.path.with_suffix(".leaks")
            file.write_text("".join(f"leak:{name}\n" for name in leaks))
            extra = [f"LSAN_OPTIONS={lsan + ':' if lsan else ''}suppressions={file}:print_suppressions=0"]
        return ["env", f"LD_PRELOAD={self.library}", f"WEIR_FAILING={self.path}",
                f"ASAN_OPTIONS={asan + ':' if asan else ''}verify_asan_link_order=0", *extra, *argv]

    def get(self, name):
        return struct.unpack_from("<Q", self.map, 8 * NUMBERS.index(name))[0]

    def put(self, name, value):
        struct.pack_into("<Q", self.map, 8 * NUMBERS.index(name), value)

    def _begin(self, scope):
        self.put("armed", PASS)
        self.map[COUNTS_AT:SIZE] = bytes(SIZE - COUNTS_AT)
        scope = str(scope).encode()
        assert len(scope) < SCOPE_BYTES
        self.map[SCOPE_AT:SCOPE_AT + len(scope)] = scope
        for name in ("seen", "hits", "pid"):
            self.put(name, 0)

    def arm(self, call, error, first, times=1, scope=""):
        """error: a name of errno, or "short"."""
        self._begin(scope)
        self.put("call", 1 + CALLS.index(call))
        self.put("error", 0 if error == "short" else getattr(errno, error))
        self.put("first", first)
        self.put("times", times)
        self.put("armed", FAIL)

    def count(self, scope=""):
        self._begin(scope)
        self.put("armed", COUNT)

    def counts(self):
        return dict(zip(CALLS, struct.unpack_from(f"<{len(CALLS)}Q", self.map, COUNTS_AT + 8)))

    def disarm(self):
        self.put("armed", PASS)

    @property
    def hits(self):
        return self.get("hits")

    def trace(self):
        """Where the first hit was: the stack, innermost first, with lines of the source where there are any."""
        return self._stack(TRACE_AT)

    def crash(self):
        """The same of a deadly signal; empty when there was none."""
        return self._stack(CRASH_AT)

    def _stack(self, at):
        text = bytes(self.map[at:at + TRACE_BYTES]).split(b"\0")[0].decode(errors="replace")
        lines = []
        for line in text.splitlines():
            match = re.match(r"(.*)\+0x([0-9a-f]+) (.*)", line)
            if match is None:
                continue
            module, offset, symbol = match.groups()
            if "/weir-" in module:
                call = f"0x{int(offset, 16) - 1:x}"  # a return address: the call is before it
                done = subprocess.run(["addr2line", "-f", "-s", "-e", module, call], capture_output=True, text=True)
                symbol = " ".join(done.stdout.split()) or symbol
            lines.append(f"{pathlib.Path(module).name}: {symbol}")
        return lines
