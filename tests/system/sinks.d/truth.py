"""The SQLite sink, which weir-check has held against the devices: what every other sink is compared with."""
import sqlite3


class Truth:
    def __init__(self, path):
        self.db = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
        self.records = self.one("select count(*) from records where kind != 'gap'")
        self.readings = self.one("select count(*) from reading")

    def one(self, sql):
        return self.db.execute(sql).fetchone()[0]

    def rows(self, sql):
        return self.db.execute(sql)

    def streams(self):
        """(device, epoch, lane, hwm, records, readings, gaps, suppressed), in order."""
        return list(self.rows("select device, epoch, lane, hwm, records, readings, gaps, suppressed from streams"
                              " where not hop order by device, epoch"))

    def record_ids(self):
        """(device, epoch, first, last, kind) of every record."""
        return list(self.rows("select r.device, r.epoch, r.first, r.last, r.kind from records r"
                              " order by r.device, r.epoch, r.first"))

    def reading_rows(self):
        """(device, channel, microseconds since 1970, value, epoch, number) of every reading; a generator."""
        for device, channel, ts, us, value, epoch, number in self.rows(
                "select device, channel, strftime('%s', ts) * 1000000 + cast(substr(ts, 21, 3) as integer) * 1000, us, value,"
                " epoch, number from readings"):
            yield device, channel, ts + us, value, epoch, number


def compare_bags(wanted, found):
    """lost and duplicated (or foreign) elements, as two dictionaries element -> how many."""
    from collections import Counter
    wanted, found = Counter(wanted), Counter(found)
    return wanted - found, found - wanted
