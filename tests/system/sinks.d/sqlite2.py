"""A second SQLite sink beside the first: two of one kind, each with its own position, that must hold the same."""
from truth import Truth, compare_bags


class Sink:
    kills = False  # no server

    def __init__(self, run):
        self.run = run

    def missing(self):
        return None

    def section(self):
        return f"{{type: sqlite, path: {self.run.plant.dir}/second.db}}"

    def start(self):
        pass

    def kill(self):
        pass

    def stop(self):
        pass

    def compare(self, truth):
        second = Truth(self.run.plant.dir / "second.db")
        lost, more = compare_bags(truth.record_ids(), second.record_ids())
        lost_readings, more_readings = compare_bags(truth.reading_rows(), second.reading_rows())
        complaints = [] if truth.streams() == second.streams() else ["the streams differ"]
        for what, bag in (("lost", lost + lost_readings), ("too many", more + more_readings)):
            complaints += [f"{what}: {row} x{count}" for row, count in list(bag.items())[:5]]
        return {"lost": sum(lost.values()) + sum(lost_readings.values()),
                "duplicated": sum(more.values()) + sum(more_readings.values()), "complaints": complaints}
