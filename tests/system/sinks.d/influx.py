"""Influx line protocol into VictoriaMetrics, which acknowledges before it has written: what is killed right after must come
again. Read back with its export."""
import json
import shutil
import socket
import urllib.parse
import urllib.request

from plant import free_port, log, wait_for
from server import Server


class Sink:
    def __init__(self, run):
        self.run = run
        self.server = None

    def missing(self):
        return None if shutil.which("victoria-metrics") else "victoria-metrics is not installed"

    def section(self):
        return (f"{{type: influx, url: http://127.0.0.1:{self.port}/write, timeout: 5s,"
                f" state: {self.run.plant.dir}/influx-names}}")

    def answers(self):
        with socket.socket() as s:
            s.settimeout(0.2)
            return s.connect_ex(("127.0.0.1", self.port)) == 0

    def start(self):
        if self.server is None:
            self.server = Server("victoria", "victoria-metrics", "nobody")
            self.port = free_port()
        # the same sample twice is one: -dedup.minScrapeInterval of the smallest step that it knows
        self.server.spawn(shutil.which("victoria-metrics"), f"-storageDataPath={self.server.dir}/data",
                          f"-httpListenAddr=127.0.0.1:{self.port}", "-retentionPeriod=100y", "-dedup.minScrapeInterval=1ms",
                          "-memory.allowedBytes=256MB")
        if not wait_for(self.answers, 60, "VictoriaMetrics"):
            raise SystemExit(self.server.tail())

    def kill(self):
        self.server.kill()

    def stop(self):
        if self.server:
            self.server.remove(self.run.args.keep)

    def get(self, path, **params):
        url = f"http://127.0.0.1:{self.port}{path}?{urllib.parse.urlencode(params)}"
        with urllib.request.urlopen(url, timeout=60) as answer:
            return answer.read().decode()

    def samples(self):
        for line in self.get("/api/v1/export", **{"match[]": '{__name__="weir_value"}', "reduce_mem_usage": 0}).splitlines():
            series = json.loads(line)
            for value, ms in zip(series["values"], series["timestamps"]):
                yield series["metric"]["device"], series["metric"]["channel"], ms, round(float(value), 9)

    def compare(self, truth):
        self.get("/internal/force_flush")
        # it keeps milliseconds, and of several samples of a series in one of them one
        wanted, found, complaints = {}, {}, []
        for d, c, us, v, _, _ in truth.reading_rows():
            wanted.setdefault((d, c, us // 1000), set()).add(round(float(v), 9))
        for d, c, ms, v in self.samples():
            found.setdefault((d, c, ms), []).append(v)
        lost = [key for key in wanted if key not in found]
        more = sum(len(values) - 1 for values in found.values())
        foreign = [key for key, values in found.items() if not set(values) <= wanted.get(key, set())]
        log(f"influx: {len(wanted)} milliseconds of {truth.readings} readings")
        complaints += [f"lost: {key}" for key in lost[:5]] + [f"foreign: {key}" for key in foreign[:5]]
        return {"lost": len(lost), "duplicated": more + len(foreign), "complaints": complaints}
