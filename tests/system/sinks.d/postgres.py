"""PostgreSQL 15. While it is killed, the database dislikes every 37th record (a constraint): these become dead letters and are
replayed when the constraint is gone; one more is dropped. Streams, records and readings against the SQLite sink's. Last, the database comes back
from an old copy: what is gone is declared, nothing is there twice."""
import json
import pathlib
import shutil
import subprocess
import time

from plant import free_port, log, wait_for
from server import Server, feed
from truth import compare_bags

BIN = pathlib.Path("/usr/lib/postgresql/15/bin")


class Sink:
    def __init__(self, run):
        self.run = run
        self.server = None

    def missing(self):
        return None if (BIN / "postgres").exists() and shutil.which("psql") else "postgresql-15 is not installed"

    def section(self):
        return f'{{type: postgres, url: "host={self.server.dir} port={self.port} user=weir dbname=postgres", timeout: 5s}}'

    def make(self):
        self.server = Server("postgres", "postgres")
        self.port = free_port()
        self.data = self.server.dir / "data"
        self.server.run(BIN / "initdb", "-D", self.data, "-U", "weir", "-A", "trust", "-E", "UTF8", "--locale=C",
                        stdout=subprocess.DEVNULL)
        self.server.dir.chmod(0o755)

    def answers(self):
        return subprocess.run([BIN / "pg_isready", "-h", self.server.dir, "-p", str(self.port), "-q"]).returncode == 0

    def start(self):
        if self.server is None:
            self.make()
        self.server.spawn(BIN / "postgres", "-D", self.data, "-p", str(self.port), "-k", self.server.dir,
                          "-c", "listen_addresses=127.0.0.1")
        if not wait_for(self.answers, 60, "PostgreSQL"):
            raise SystemExit(self.server.tail())

    def kill(self):
        """All of it at once, as a machine that goes; the next start recovers from the log."""
        self.server.kill(all_of_it=True)
        # what backends of their own sessions are left ends when they see that the first process is gone
        (self.data / "postmaster.pid").unlink(missing_ok=True)
        wait_for(lambda: not self.others(), 20, "the backends to end")

    def others(self):
        return [p for p in pathlib.Path("/proc").glob("[0-9]*/cwd") if self.points_here(p)]

    def points_here(self, link):
        try:
            return str(link.readlink()).startswith(str(self.data))
        except OSError:
            return False

    def stop(self):
        if self.server:
            self.server.remove(self.run.args.keep)

    # ---- dead letters ----
    def prepare(self):
        if not wait_for(lambda: self.rows("select 1 from streams limit 1"), 60, "the first streams"):
            return ["no table came"]
        self.rows("alter table reading add constraint picky check (number % 37 <> 0) not valid")
        return []

    def late(self, records=12000, devices=20):
        """Records out of order, as by two ways, into a schema of its own: the feeder and the server are killed meanwhile. At the
        end every number is there once and nothing is declared as lost any more."""
        def count(table):
            try:
                return int(self.rows(f"select count(*) from late.{table}")[0][0])
            except (subprocess.CalledProcessError, IndexError):
                return 0

        def begin():
            return feed(f"type=postgres devices={devices} late=64 records={records}", "--schema", "late", "--timeout", "5s",
                        "--url", f"host={self.server.dir} port={self.port} user=weir dbname=postgres")
        feeder, gaps = begin(), 0

        def reached(number):
            nonlocal gaps
            gaps = max(gaps, count("gap"))
            return count("record") > number or feeder.poll() is not None
        for part in (3, 2):
            wait_for(lambda: reached(records // part), 30, "late records")
            feeder.kill()
            feeder.communicate()
            if part == 3:
                self.server.kill(all_of_it=True)
                (self.data / "postmaster.pid").unlink(missing_ok=True)
                wait_for(lambda: not self.others(), 20, "the backends to end")
                self.start()
            feeder = begin()
        try:
            feeder.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            feeder.kill()
            return [f"late records do not end: {feeder.communicate()[1]}"]
        wanted = records + records // 64
        found = [count("record"), count("gap")] + [int(n) for n in self.rows(
            "select sum(hwm), sum(records), sum(gaps) from late.streams")[0]]
        twice = self.rows("select stream, number, idx, channel, count(*) from late.reading group by 1, 2, 3, 4 having count(*) > 1")
        log(f"postgres: {found[0]} records out of order, {gaps} gaps seen meanwhile, {found[1]} left")
        if found != [wanted, 0, wanted, wanted, 0] or twice or gaps == 0:
            return [f"late: records, gaps, sums of hwm, records, gaps: {found}, wanted {wanted}; {len(twice)} readings twice;"
                    f" {gaps} gaps seen"]
        return []

    def letters(self):
        code, out, err = self.run.plant.weir("dead", "ls", "--json", "--sink", self.run.name)
        return json.loads(out)["letters"] if code == 0 else []

    def exercise(self):
        letters = self.letters()
        gaps = self.rows("select sum(last - first + 1) from gaps where reason = 'dead_letter'")[0][0]
        self.rows("alter table reading drop constraint picky")
        self.run.letters = len(letters)
        if not letters or str(len(letters)) != gaps:
            return [f"{len(letters)} dead letters, gaps for {gaps or 0}"]
        code, out, err = self.run.plant.weir("dead", "show", str(letters[0]["id"]), "--json")
        shown = json.loads(out or "{}")
        if shown.get("kind") != "block" or "picky" not in shown.get("reason", ""):
            return [f"a letter shows as {out}{err}"]
        code, out, err = self.run.plant.weir("dead", "replay", "all", "--sink", self.run.name)
        left = self.letters()
        if code != 0 or left:
            return [f"replay of {len(letters)}: {out}{err}, {len(left)} left"]
        return []

    # ---- a restored database ----
    def verify(self):
        return self.late() + self.dropped_letter() + self.restored()

    def dropped_letter(self):
        """A letter that is dropped leaves its gap; those behind it were not held up."""
        device = self.run.plant.devices[0]
        self.rows("alter table reading add constraint picky check (number % 37 <> 0) not valid")
        before = len(self.letters())
        device.start()
        wait_for(lambda: len(self.letters()) > before, 60, "a dead letter")
        device.stop(60)
        wait_for(self.run.drained, 60, "the sinks")
        self.rows("alter table reading drop constraint picky")
        gone = self.letters()
        gaps = int(self.rows("select count(*) from gaps where reason = 'dead_letter'")[0][0])
        for letter in gone:
            code, out, err = self.run.plant.weir("dead", "drop", str(letter["id"]))
            if code != 0:
                return [f"dead drop: {out}{err}"]
        left = int(self.rows("select count(*) from gaps where reason = 'dead_letter'")[0][0])
        if self.letters() or left != gaps or gaps == 0:
            return [f"dropped: {len(gone)} letters, {len(self.letters())} left, {gaps} gaps became {left}"]
        return []

    def restored(self):
        device = self.run.plant.devices[0]
        self.server.kill(all_of_it=True)
        (self.data / "postmaster.pid").unlink(missing_ok=True)
        wait_for(lambda: not self.others(), 20, "the backends to end")
        old = self.server.dir / "old"
        self.server.run("cp", "-a", self.data, old)
        self.start()
        self.more_records(device)
        held_back = self.run.held_back()  # then the spool still has what the copy lacks
        self.server.kill(all_of_it=True)
        wait_for(lambda: not self.others(), 20, "the backends to end")
        shutil.rmtree(self.data)
        old.rename(self.data)
        self.start()
        self.more_records(device)
        bad = self.rows("select device, epoch, hwm, records, gaps, suppressed from streams where not hop and"
                        " hwm <> records + gaps + suppressed")
        twice = self.rows("select stream, number, idx, channel, count(*) from reading group by 1, 2, 3, 4 having count(*) > 1")
        declared = self.rows("select coalesce(sum(last - first + 1), 0) from gaps where reason = 'upstream_lost'")[0][0]
        log(f"postgres: after the restore {declared} numbers are declared as lost")
        complaints = [f"after the restore: {row}" for row in bad + twice]
        return complaints if int(declared) > 0 or held_back else [*complaints, "after the restore nothing is declared as lost"]

    def more_records(self, device):
        """The device again for a while; until its records are in this sink."""
        before = int(self.rows("select coalesce(sum(hwm), 0) from streams where not hop")[0][0])
        device.start()
        wait_for(lambda: int(self.rows("select coalesce(sum(hwm), 0) from streams where not hop")[0][0]) > before + 20, 60,
                 "records of the device that was started again")
        device.stop(60)
        wait_for(self.run.drained, 60, "the sinks")

    def rows(self, sql):
        done = subprocess.run(["psql", "-h", self.server.dir, "-p", str(self.port), "-U", "weir", "-d", "postgres", "-At", "-F",
                               "\t", "-v", "ON_ERROR_STOP=1", "-c", "set search_path = weir", "-c", sql],
                              capture_output=True, text=True, check=True)
        return [line.split("\t") for line in done.stdout.splitlines() if line != "SET"]

    def compare(self, truth):
        complaints = []
        ours = [[str(v) for v in row] for row in truth.streams()]
        theirs = self.rows("select device, epoch, lane, hwm, records, readings, gaps, suppressed from streams where not hop"
                           " order by device collate \"C\", epoch")
        if ours != theirs:
            complaints.append(f"streams differ: {ours[:3]} and {theirs[:3]}")
        lost, more = compare_bags((tuple(str(v) for v in row) for row in truth.record_ids()),
                                  (tuple(row) for row in self.rows("select device, epoch, first, last, kind from records")))
        readings = ((d, c, str(us), repr(float(v)), e, str(n)) for d, c, us, v, e, n in truth.reading_rows())
        found = ((d, c, us, repr(float(v)), e, n) for d, c, us, v, e, n in self.rows(
            "select device, channel, (extract(epoch from ts) * 1000000)::bigint, value, epoch, number from readings"))
        lost_readings, more_readings = compare_bags(readings, found)
        for what, bag in (("lost", lost + lost_readings), ("too many", more + more_readings)):
            complaints += [f"{what}: {row} x{count}" for row, count in list(bag.items())[:5]]
        return {"lost": sum(lost.values()) + sum(lost_readings.values()),
                "duplicated": sum(more.values()) + sum(more_readings.values()), "complaints": complaints}
