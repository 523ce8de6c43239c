"""CSV files, read as a batch tool would: python's csv module, every file that is in place, nothing else."""
import csv
import datetime
import re
import time

from plant import log, wait_for
from truth import compare_bags

NAME = re.compile(r"(readings|windows|events|records)_bridge1_([0-9a-f]{16})-(\d+)-(\d+)_([0-9a-f]{16})-(\d+)-(\d+)\.csv")


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
        return f"{{type: csv, path: {self.run.plant.dir}/csv, rotate: 64KiB, rotate_age: 1s}}"

    def start(self):
        self.folder = self.run.plant.dir / "csv"

    def kill(self):
        pass

    def stop(self):
        pass

    def rows(self, kind):
        for path in sorted(self.folder.glob(f"{kind}_*.csv")):
            with open(path, newline="", encoding="utf-8") as f:
                yield from csv.DictReader(f, strict=True)

    def check_names(self):
        """Ranges of one epoch neither overlap nor leave anything out."""
        complaints, ranges = [], {}
        for path in self.folder.iterdir():
            match = NAME.fullmatch(path.name)
            if match and match.group(1) == "records":
                for epoch, first, last in (match.group(2, 3, 4), match.group(5, 6, 7)):
                    ranges.setdefault(epoch, set()).add((int(first), int(last)))
            elif not match and path.name != ".weir-csv.journal":
                complaints.append(f"{path.name} is left over")
        for epoch, parts in ranges.items():
            at = 1
            for first, last in sorted(p for p in parts if p[1] >= p[0]):
                if first != at:
                    complaints.append(f"epoch {epoch}: a file goes on with {first} behind {at - 1}")
                at = last + 1
        return complaints

    def compare(self, truth):
        if not wait_for(lambda: not list(self.folder.glob(".*.part")), 30, "the last files to be closed by their age"):
            return {"lost": 0, "duplicated": 0, "complaints": ["the last files were not closed by their age"]}
        began = time.monotonic()
        lost, more = compare_bags(truth.record_ids(), ((r["device"], r["epoch"], int(r["first"]), int(r["last"]), r["kind"])
                                                       for r in self.rows("records")))
        wanted = ((d, c, us, float(v), e, n) for d, c, us, v, e, n in truth.reading_rows())
        found = ((r["device"], r["channel"], microseconds(r["ts"]), float(r["value"]), r["epoch"], int(r["number"]))
                 for r in self.rows("readings"))
        lost_readings, more_readings = compare_bags(wanted, found)
        complaints = self.check_names()
        for what, bag in (("lost", lost + lost_readings), ("too many", more + more_readings)):
            complaints += [f"{what}: {row} x{count}" for row, count in list(bag.items())[:5]]
        files = len(list(self.folder.glob("*.csv")))
        log(f"csv: {files} files read in {time.monotonic() - began:.1f} s")
        return {"lost": sum(lost.values()) + sum(lost_readings.values()),
                "duplicated": sum(more.values()) + sum(more_readings.values()), "complaints": complaints}
