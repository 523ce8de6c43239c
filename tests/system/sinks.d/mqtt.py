"""MQTT 5 into Mosquitto; a subscriber collects the user properties. A broker has no transaction: what the bridge publishes
again after it was killed carries the same identity, so a receiver that keeps identities apart has every record once. At the
end the broker takes away rights, of one device and of all: what is denied becomes dead letters, the rest goes on."""
import getpass
import json
import shutil
import signal
import socket
import subprocess

from plant import Process, free_port, log, wait_for
from server import feed
from truth import Truth, compare_bags


class Sink:
    kills = False  # what a broker has acknowledged and lost is the broker's affair

    def __init__(self, run):
        self.run = run
        self.broker = None

    def missing(self):
        return None if shutil.which("mosquitto_sub") and shutil.which("mosquitto") else "mosquitto is not installed"

    def section(self):
        return (f"{{type: mqtt, servers: [127.0.0.1:{self.port}], insecure: true, payload: protobuf,"
                f" state: {self.run.plant.dir}/mqtt-state}}")

    def answers(self):
        with socket.socket() as s:
            s.settimeout(0.2)
            return s.connect_ex(("127.0.0.1", self.port)) == 0

    def start(self):
        plant = self.run.plant
        self.port = free_port()
        conf = plant.dir / "mqtt5.conf"
        # it announces a Receive Maximum of 20 where max_inflight_messages is not set: that case is the one to show
        self.acl = plant.dir / "mqtt5.acl"
        self.acl.write_text("topic readwrite #\n")
        conf.write_text(f"max_queued_messages 1000000\nset_tcp_nodelay true\nlistener {self.port} 127.0.0.1\n"
                        f"allow_anonymous true\nuser {getpass.getuser()}\nacl_file {self.acl}\n")
        self.broker = Process(plant, "mqtt5", ["mosquitto", "-c", str(conf)]).start()
        if not wait_for(self.answers, 20, "the MQTT 5 broker"):
            raise SystemExit(self.broker.tail())
        self.out = open(plant.dir / "collected.txt", "wb")
        self.collector = subprocess.Popen(
            ["mosquitto_sub", "-p", str(self.port), "-V", "5", "-q", "1", "-t", "weir/#", "-t", "ready", "-F", "%t %P"],
            stdout=self.out, stderr=subprocess.STDOUT)

        def ready():
            subprocess.run(["mosquitto_pub", "-p", str(self.port), "-t", "ready", "-m", ""], check=False)
            return "ready" in self.text()
        if not wait_for(ready, 20, "the collector's subscription"):
            raise SystemExit("the collector does not subscribe")

    def text(self):
        return (self.run.plant.dir / "collected.txt").read_text()

    def kill(self):
        pass

    def stop(self):
        if self.broker:
            self.collector.kill()
            self.collector.wait()
            self.out.close()
            self.broker.kill()

    def verify(self, records=6000, devices=10):
        """Records out of order, as by two ways, the feeder killed meanwhile: every number came, none skipped for good."""
        def begin():
            return feed(f"type=mqtt site=late devices={devices} late=8 records={records}", "--servers",
                        f"127.0.0.1:{self.port}", "--insecure", "--payload", "protobuf", "--state",
                        str(self.run.plant.dir / "late-state"))

        def identities():
            return [(p["device"], p["epoch"], n, p["kind"]) for topic, p in self.lines("weir/late/")
                    for n in range(int(p["first"]), int(p["last"]) + 1)]
        feeder = begin()
        wait_for(lambda: len(identities()) > records // 2, 30, "late records")
        feeder.kill()
        feeder.communicate()
        feeder = begin()
        try:
            feeder.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            feeder.kill()
            return [f"late records do not end: {feeder.communicate()[1]}"]
        wanted = records + records // 64
        wait_for(lambda: len({i for i in identities() if i[3] != "gap"}) >= wanted, 30, "the collector to have all that came late")
        found = identities()
        records_seen, gaps = {i for i in found if i[3] != "gap"}, {i for i in found if i[3] == "gap"}
        log(f"mqtt: {len(records_seen)} records out of order, {len(gaps)} numbers declared as gaps before they came")
        if len(records_seen) != wanted or not gaps:
            return [f"late: {len(records_seen)} of {wanted} records, {len(gaps)} numbers in gaps"]
        return self.denied()

    # ---- rights ----
    def rights(self, topic):
        """What may be written, from here on."""
        self.acl.write_text(f"topic read #\ntopic write {topic}\n")
        self.broker.popen.send_signal(signal.SIGHUP)

    def letters(self):
        code, out, _ = self.run.plant.weir("dead", "ls", "--json", "--sink", self.run.name)
        return json.loads(out)["letters"] if code == 0 else []

    def run_denied(self, topic, devices, denied):
        """These devices run while this topic alone may be written to; whose letters are new, and whether all was drained."""
        before = {letter["id"] for letter in self.letters()}
        self.rights(topic)
        for device in devices:
            device.start()
        wait_for(lambda: denied <= {letter["device"] for letter in self.letters() if letter["id"] not in before}, 60,
                 f"dead letters of {', '.join(sorted(denied))}")
        for device in devices:
            device.stop(60)
        wait_for(self.run.plant.settled, 60, "the ledger to settle")
        good = wait_for(self.run.drained, 90, "the sink to go on though topics are denied")
        return {letter["device"] for letter in self.letters() if letter["id"] not in before}, good

    def denied(self):
        """The gaps in the place of dead letters are denied as well: these stand alone, and nothing waits for them."""
        devices, complaints = self.run.plant.devices, []
        names = [device.name for device in devices]
        left, good = self.run_denied(f"weir/test/gw1/{names[0]}/#", devices, set(names[1:]))
        if left != set(names[1:]) or not good:
            complaints.append(f"{names[0]} alone may be told: letters of {sorted(left)}, drained={good}")
        left, good = self.run_denied("elsewhere", devices[:1], {names[0]})
        if left != {names[0]} or not good:
            complaints.append(f"nothing may be told: letters of {sorted(left)}, drained={good}")
        count = len(self.letters())
        self.rights("#")
        wanted = {tuple(row) for row in Truth(self.run.plant.sink).record_ids()}

        def missing():
            return wanted - {(p["device"], p["epoch"], int(p["first"]), int(p["last"]), p["kind"]) for _, p in self.lines()}

        def replayed():  # the broker reads its file when it comes to it
            self.run.plant.weir("dead", "replay", "all", "--sink", self.run.name)
            return not self.letters() and not missing()
        if not wait_for(replayed, 60, "the letters to be taken"):
            complaints.append(f"{len(self.letters())} of {count} letters stay, {len(missing())} records are missing")
        log(f"mqtt: {count} letters while rights were missing, taken once they were there")
        return complaints

    def lines(self, prefix="weir/test/"):
        for line in self.text().splitlines():
            if line.startswith(prefix):
                topic, *words = line.split()
                yield topic, dict(word.split(":", 1) for word in words)

    def compare(self, truth):
        wanted = {tuple(row) for row in truth.record_ids()}

        def identities():
            return [(p["device"], p["epoch"], int(p["first"]), int(p["last"]), p["kind"]) for _, p in self.lines()]
        wait_for(lambda: wanted <= set(identities()), 60, "the collector to have everything")
        seen, last, complaints, repeated, reordered = set(), {}, [], 0, 0
        for identity in identities():
            if identity in seen:
                repeated += 1
                continue
            seen.add(identity)
            stream = identity[:2]
            if identity[2] != last.get(stream, 0) + 1:
                reordered += 1
                complaints.append(f"{stream} goes on with {identity[2]} behind {last.get(stream, 0)}")
            last[stream] = identity[3]
        for topic, p in self.lines():
            if topic != f"weir/test/gw1/{p['device']}/{p['kind']}" or p["trace"] != f"{p['device']}/{p['epoch']}/{p['last']}":
                complaints.append(f"{topic} carries {p}")
        lost, more = compare_bags(wanted, seen)
        log(f"mqtt: {len(seen)} records, {repeated} came again with the same identity")
        complaints += [f"lost: {row}" for row in list(lost)[:5]] + [f"foreign: {row}" for row in list(more)[:5]]
        return {"lost": sum(lost.values()), "duplicated": sum(more.values()) + reordered, "complaints": complaints[:20]}
