"""JSON lines, read as a batch tool would: every line of every file by python's json module; what stands behind the last commit
is the tail of a batch that never was."""
import datetime
import json

from plant import log
from truth import compare_bags


def microseconds(text):
    when = datetime.datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=datetime.timezone.utc)
    return int(when.timestamp()) * 1000000 + when.microsecond


class Sink:
    kills = False  # no server

    def __init__(self, run):
        self.run = run

    def missing(self):
        return None

    def section(self):
        return f"{{type: file, path: {self.run.plant.dir}/lines, rotate: 64KiB}}"

    def start(self):
        self.folder = self.run.plant.dir / "lines"

    def kill(self):
        pass

    def stop(self):
        pass

    def records(self):
        files = 0
        for path in sorted(self.folder.glob("weir-*.jsonl")):
            files += 1
            batch = []
            for text in path.read_text().splitlines(keepends=True):
                line = json.loads(text) if text.endswith("}\n") else {}
                if "weir" not in line:
                    batch.append(line)
                if "commit" in line:
                    yield from batch
                    batch = []
        log(f"file: {files} files")

    def compare(self, truth):
        ids, readings = [], []
        for line in self.records():
            ids.append((line["device"], line["epoch"], line["first"], line["last"], line["kind"]))
            for sample in line.get("readings", []):
                ms = microseconds(sample["ts"]) // 1000
                readings += [(line["device"], ms, float(v), line["epoch"], line["last"]) for v in sample["values"] if v is not None]
        wanted = ((d, us // 1000, float(v), e, n) for d, _, us, v, e, n in truth.reading_rows())
        lost, more = compare_bags(truth.record_ids(), (i for i in ids if i[0] != "gw1"))
        lost_readings, more_readings = compare_bags(wanted, readings)
        complaints = []
        for what, bag in (("lost", lost + lost_readings), ("too many", more + more_readings)):
            complaints += [f"{what}: {row} x{count}" for row, count in list(bag.items())[:5]]
        return {"lost": sum(lost.values()) + sum(lost_readings.values()),
                "duplicated": sum(more.values()) + sum(more_readings.values()), "complaints": complaints}
