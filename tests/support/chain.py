"""A chain of real daemons on loopback for figures: devices' broker -> gateway -> broker -> gateway ... -> bridge with its sink.
Plain TCP with the limits of the shipped broker configuration. Everything lives in one temporary folder.

  with Chain(["gw1", "site1"], sink="sqlite") as chain: chain.start(); chain.status("gw1"); chain.cpu_us("gw1")"""
import json
import os
import pathlib
import shutil
import socket
import tempfile
import time

from plant import ROOT, Broker, Process, find_bin, scratch, wait_for

if "WEIR_BIN" not in os.environ and (ROOT / "build/release/bin/weir-gateway").exists():
    os.environ["WEIR_BIN"] = str(ROOT / "build/release/bin")  # figures are of optimised programs


def ask(path, what="/status"):
    """One question to a daemon's control socket; None when nobody answers."""
    try:
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(5)
            s.connect(str(path))
            s.sendall(f"GET {what} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
            answer = b""
            while chunk := s.recv(1 << 20):
                answer += chunk
        return json.loads(answer.split(b"\r\n\r\n", 1)[1])
    except (OSError, IndexError, ValueError):
        return None


def cpu_us(pid):
    """CPU time of all threads of a process, microseconds."""
    total = 0
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        try:
            total += int((task / "schedstat").read_text().split()[0])
        except (OSError, IndexError):
            pass
    return total / 1000


def rss_bytes(pid, row="VmRSS"):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(row):
            return int(line.split()[1]) * 1024
    return 0


def idle_us():
    """Idle time of all processors since the machine started: tells whether a run was short of them."""
    words = pathlib.Path("/proc/stat").read_text().splitlines()[0].split()
    return (int(words[4]) + int(words[5])) * 1e6 / os.sysconf("SC_CLK_TCK")


class Chain:
    def __init__(self, gateways, sink="sqlite", store="2GiB", gateway_extra="", bridge_extra="", keep=False, via=None):
        """sink: sqlite, file, none (no bridge at all). via: {id: port} = the receiver's clients come through another port, so
        that a relay can stand in between."""
        self.keep, self.site, self.tls = keep, "bench", False
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="weir-chain-", dir=scratch()))
        (self.dir / "log").mkdir()
        (self.dir / "run").mkdir()
        self.pki, self.env = self.dir / "pki", dict(os.environ)
        self.via = via or {}
        tiers = list(gateways) + (["bridge1"] if sink != "none" else [])
        self.brokers = {tier: Broker(self, f"broker-{tier}", tier, False, tls=False) for tier in tiers}
        self.daemons = {}
        for tier, parent in zip(gateways, tiers[1:] + [None]):
            text = f"site: {self.site}\nid: {tier}\n" + self._link("broker", tier, tier)
            if parent:
                text += self._link("parent", parent, self.via.get(parent, parent)) + f"  site: {self.site}\n  id: {parent}\n"
            text += (f"store: {{path: {self.dir}/{tier}, size: {store}}}\nfleet: {{max_frames_per_s: 0}}\n"
                     f"control: {{socket: {self.dir}/run/{tier}.sock}}\n" + gateway_extra)
            self.daemons[tier] = self._daemon(tier, "weir-gateway", text)
        self.sink = self.dir / ("weir.db" if sink == "sqlite" else "files")
        if sink != "none":
            kind = "sqlite: " + str(self.sink) if sink == "sqlite" else "sqlite: \"\", file: " + str(self.sink)
            self.daemons["bridge1"] = self._daemon(
                "bridge1", "weir-bridge", f"site: {self.site}\nid: bridge1\n" + self._link("broker", "bridge1", "bridge1") +
                f"store: {{path: {self.dir}/bridge1, size: {store}}}\nsink: {{{kind}}}\n"
                f"control: {{socket: {self.dir}/run/bridge1.sock}}\n" + bridge_extra)

    def _daemon(self, name, program, text):
        (self.dir / f"{name}.yaml").write_text(text)
        return Process(self, name, [find_bin(program), "--config", str(self.dir / f"{name}.yaml")])

    def _link(self, key, tier, port):
        port = self.brokers[tier].port if port in self.brokers else port
        return f"{key}:\n  host: 127.0.0.1\n  port: {port}\n  insecure: true\n"

    def start_brokers(self):
        for broker in self.brokers.values():
            broker.start()
            if not wait_for(broker.listening, 10, broker.name):
                raise RuntimeError(broker.tail())

    def start_daemons(self):
        for daemon in reversed(list(self.daemons.values())):
            daemon.start()
        for name, daemon in self.daemons.items():
            if not wait_for(lambda name=name: self.up(name), 30, f"{name} to be connected"):
                raise RuntimeError(daemon.tail())

    def start(self):
        self.start_brokers()
        self.start_daemons()
        return self

    def up(self, name):
        status = self.status(name)
        return status is not None and all(link["up"] for link in status["links"])

    def ask(self, name, what="/status"):
        return ask(self.dir / "run" / f"{name}.sock", what)

    def status(self, name):
        return self.ask(name)

    def counters(self, name):
        status = self.ask(name)
        if status is None:
            raise RuntimeError(f"{name} does not answer:\n{self.daemons[name].tail()}")
        return {**status["counters"], **status["tier"], "store_used": status["store"]["used_bytes"],
                "sink_records": sum(s["records"] for s in status.get("sinks", []))}

    def processes(self):
        return {**{b.name: b for b in self.brokers.values()}, **self.daemons}

    def cpu(self):
        return {name: cpu_us(p.popen.pid) for name, p in self.processes().items() if p.alive()}

    def deaths(self):
        return [p for p in self.processes().values() if p.popen is not None and p.popen.poll() is not None]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in reversed(list(self.processes().values())):
            process.kill()
        if self.keep:
            print(f"kept {self.dir}", flush=True)
        else:
            shutil.rmtree(self.dir, ignore_errors=True)


def wait_until(value, goal, seconds, pause=0.02):
    """Waits for value() >= goal; the time it took, or None."""
    begin = time.monotonic()
    while time.monotonic() - begin < seconds:
        if value() >= goal:
            return time.monotonic() - begin
        time.sleep(pause)
    return None
