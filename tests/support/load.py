"""The load of the proofs: `weir-fleet load` (the devices' real agents in one process) and a relay that stands for a link."""
import json
import socket
import subprocess
import threading
import time

from plant import find_bin


class Fleet:
    """Devices against the first gateway of a chain. rate: records a second of the whole fleet."""

    def __init__(self, chain, devices, rate, seconds, gateway="gw1", samples=1, channels=2, ramp=2, drain=60, window=32, extra=""):
        period_us = int(devices * 1e6 / rate / samples)
        self.chain, self.devices, self.rate, self.seconds = chain, devices, rate, seconds
        path = chain.dir / "fleet.yaml"
        path.write_text(
            f"devices: {devices}\nfor: {seconds}s\nramp: {ramp}s\ndrain: {drain}s\nsite: {chain.site}\ngateway: {gateway}\n"
            f"broker: {{host: 127.0.0.1, port: {chain.brokers[gateway].port}, insecure: true}}\n"
            f"gateway_socket: {chain.dir}/run/{gateway}.sock\njson: true\nprogress: \"off\"\n"
            f"classes:\n  device: {{period: {period_us}us, samples: {samples}, channels: {channels}, max_age: 60s, window: {window}}}\n" + extra)
        self.log = chain.dir / "log" / "fleet.log"
        self.out = chain.dir / "fleet.json"
        with open(self.out, "wb") as out, open(self.log, "ab") as err:
            self.popen = subprocess.Popen([find_bin("weir-fleet"), "load", str(path)], stdin=subprocess.DEVNULL, stdout=out,
                                          stderr=err, start_new_session=True)

    def alive(self):
        return self.popen.poll() is None

    def finish(self, seconds):
        """Waits for the end; the figures of its account by their names. None: it did not end, or gave none."""
        try:
            code = self.popen.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            return None
        figures = {"exit": code}
        try:
            collect(json.loads(self.out.read_text()), figures)
        except ValueError:
            return None
        return figures

    def kill(self):
        if self.alive():
            self.popen.kill()
            self.popen.wait()

    def tail(self):
        return self.log.read_text(errors="replace")[-2000:] + self.out.read_text(errors="replace")[:2000]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()


def collect(node, figures):
    """Every name: {"value": v} of the report."""
    for key, value in node.get("figures", {}).items():
        figures[key] = value["value"]


class Relay:
    """A TCP relay on loopback: a link that can be cut, and that carries bytes_per_s in each direction (0 = no bound). Its own
    buffers and the kernel's are as they come: a link with much room for what waits."""

    def __init__(self, to_port, bytes_per_s=0):
        self.to_port, self.rate, self.is_up = to_port, bytes_per_s, True
        self.server = socket.create_server(("127.0.0.1", 0))
        self.port = self.server.getsockname()[1]
        self.pairs, self.stopping, self.lock = [], False, threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while not self.stopping:
            try:
                near, _ = self.server.accept()
                if not self.is_up:
                    near.close()
                    continue
                far = socket.create_connection(("127.0.0.1", self.to_port))
            except OSError:
                continue
            with self.lock:
                self.pairs.append((near, far))
            for source, sink in ((near, far), (far, near)):
                source.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threading.Thread(target=self._pump, args=(source, sink), daemon=True).start()

    def _pump(self, source, sink):
        due = time.monotonic()
        try:
            while data := source.recv(1400 if self.rate else 1 << 18):
                if self.rate:
                    due = max(due, time.monotonic()) + len(data) / self.rate
                    time.sleep(max(due - time.monotonic(), 0))
                sink.sendall(data)
        except OSError:
            pass
        for side in (source, sink):
            try:
                side.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def cut(self):
        """Every connection is reset, new ones are refused, until mend()."""
        self.is_up = False
        with self.lock:
            pairs, self.pairs = self.pairs, []
        for pair in pairs:
            for side in pair:
                try:
                    side.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    def mend(self):
        self.is_up = True

    def close(self):
        self.stopping = True
        self.cut()
        self.server.close()
