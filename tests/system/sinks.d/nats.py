"""NATS JetStream: three servers, one stream with three replicas; the leader is killed. The stream is read back whole by a client
of its own, and every number of every stream must be in it once and in order."""
import json
import os
import shutil
import subprocess
import time

from nats import Cluster  # tests/support
from plant import find_bin, log, wait_for
from truth import compare_bags

STREAM = "weir-bridge1"


def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def forward_identity(data):
    """device, epoch, first, last of a Forward (weir.proto), by the numbers of its fields."""
    fields, at = {}, 0
    while at < len(data):
        tag, at = varint(data, at)
        if tag & 7 == 0:
            fields[tag >> 3], at = varint(data, at)
        elif tag & 7 == 1:
            fields[tag >> 3], at = data[at:at + 8], at + 8
        else:
            size, at = varint(data, at)
            fields[tag >> 3], at = data[at:at + size], at + size
    return fields[1].decode(), f"{int.from_bytes(fields[2], 'little'):016x}", fields[3], fields[4]


STORM = "weir-bridge3"


class Sink:
    def __init__(self, run):
        self.run = run
        self.cluster = self.feeder = None
        self.storm_records = 24000  # a multiple of 1600: what the feeder shuffles at a time
        self.kills_left = max(2, run.args.kills // 4)  # each takes a cluster a dozen seconds to be whole again
        self.complaints = []

    @property
    def kills(self):
        return self.kills_left > 0

    def missing(self):
        return None if shutil.which("nats-server") else "nats-server is not installed"

    def section(self):
        return f"{{type: nats, servers: [{', '.join(self.cluster.urls())}], insecure: true, replicas: 3, timeout: 3s}}"

    def start(self):
        if self.cluster is None:
            self.cluster = Cluster(self.run.plant, 3)
            self.cluster.start()
        for server in self.cluster.servers.values():
            if not server.alive():
                server.start()

    def prepare(self):
        """From here on a second bridge stores as fast as it can, so that leaders die under load."""
        self.begin_storm()
        if not wait_for(lambda: self.stored() > 0, 30, "the storm to begin"):
            return ["the storm does not begin"]
        return []

    def kill(self):
        """A stream's leader, under load. The replica that was killed before has caught up: of three only one may be away."""
        stream, before = STORM if self.kills_left % 2 == 0 else STREAM, self.stored()
        self.kills_left -= 1
        if not wait_for(lambda: self.cluster.current(STREAM) and self.cluster.current(STORM), 60, "all replicas to be current"):
            self.complaints.append("the replicas are not current again")
        name = self.cluster.leader(stream)
        if name is None:
            self.complaints.append(f"{stream} has no leader")
            return
        if self.feeder.poll() is not None:  # it has all: more, from where it was
            self.storm_records += 16000
            self.begin_storm()
        if not wait_for(lambda: self.stored() > before + 500, 30, "the storm to go on"):
            self.complaints.append("the storm does not go on")
        log(f"killing {name}, the leader of {stream} at {self.stored()} of the storm")
        self.cluster.servers[name].kill()
        if stream == STORM:
            self.feeder.kill()
            self.feeder.wait()
            self.begin_storm()

    def stop(self):
        if self.feeder:
            self.feeder.kill()
            self.feeder.wait()
        if self.cluster:
            self.cluster.kill()

    def compare(self, truth):
        lost, duplicated, complaints, found = self.examine(STREAM)
        missing, more = compare_bags(truth.record_ids(), found)
        complaints += [f"lost: {row}" for row in list(missing)[:5]] + [f"too many: {row}" for row in list(more)[:5]]
        return {"lost": max(lost, sum(missing.values())), "duplicated": max(duplicated, sum(more.values())),
                "complaints": complaints[:20]}

    def examine(self, name):
        """Every number once and in order; and what was found."""
        messages = self.cluster.read(name)
        complaints, found, last, lost, duplicated = [], [], {}, 0, 0
        for sequence, _, headers, payload in messages:
            identity = (headers["Weir-Device"], headers["Weir-Epoch"], int(headers["Weir-First"]), int(headers["Weir-Last"]))
            stream, first = identity[:2], identity[2]
            if forward_identity(payload) != identity:
                complaints.append(f"message {sequence}: headers and payload disagree")
            if first != last.get(stream, 0) + 1:
                complaints.append(f"message {sequence}: {stream} goes on with {first} behind {last.get(stream, 0)}")
                lost += max(first - last.get(stream, 0) - 1, 0)
                duplicated += max(last.get(stream, 0) - first + 1, 0)
            last[stream] = identity[3]
            found.append((*identity, headers["Weir-Kind"]))
        log(f"nats: {name}: {len(messages)} messages, {len(last)} streams")
        return lost, duplicated, complaints, found

    def push(self, words, *options):
        env = dict(os.environ, WEIR_PUSH=f"type=nats {words}")
        argv = [find_bin("weir-push-sink"), "--insecure", "--servers", ",".join(self.cluster.urls()), *options]
        try:
            return subprocess.run(argv, env=env, capture_output=True, text=True, timeout=60)
        except subprocess.TimeoutExpired as e:
            return subprocess.CompletedProcess(argv, None, "", (e.stderr or b"").decode())

    def begin_storm(self):
        env = dict(os.environ,
                   WEIR_PUSH=f"type=nats bridge=bridge3 site=plant3 devices=50 late=8 records={self.storm_records}")
        argv = [find_bin("weir-push-sink"), "--insecure", "--timeout", "3s", "--servers", ",".join(self.cluster.urls())]
        self.feeder = subprocess.Popen(argv, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def stored(self):
        try:
            client = self.cluster.client()
            state = client.stream_info(STORM).get("state", {}) if client else {}
            if client:
                client.close()
            return state.get("last_seq", 0)
        except OSError:
            return 0

    def end_storm(self):
        """Out of order as by two ways: every number is there once as a record, whatever was declared as lost before it came."""
        try:
            self.feeder.wait(120)
        except subprocess.TimeoutExpired:
            return ["the storm does not end"]
        once, gaps, marks, complaints = {}, 0, {}, []
        for _, _, headers, _ in self.cluster.read(STORM):
            stream = headers["Weir-Device"], headers["Weir-Epoch"]
            marks[headers["Weir-Device"]] = headers["Weir-Streams"]
            if headers["Weir-Kind"] == "gap":
                gaps += 1
                continue
            for n in range(int(headers["Weir-First"]), int(headers["Weir-Last"]) + 1):
                once[(*stream, n)] = once.get((*stream, n), 0) + 1
        wanted = self.storm_records + self.storm_records // 64
        twice = sum(1 for count in once.values() if count > 1)
        if len(once) != wanted or twice or gaps == 0:
            complaints.append(f"the storm: {len(once)} of {wanted} records, {twice} of them twice, {gaps} gaps filled later")
        complaints += [f"{device} ends with holes: {text}" for device, text in marks.items() if "-" in text][:3]
        log(f"nats: the storm: {len(once)} records once, after {gaps} gaps")
        return complaints

    def verify(self):
        return self.complaints + self.end_storm() + self.two_bridges() + self.too_large()

    # ---- dead letters ----
    def letters(self):
        code, out, _ = self.run.plant.weir("dead", "ls", "--json", "--sink", self.run.name)
        return json.loads(out)["letters"] if code == 0 else []

    def marks(self, device):
        """Weir-Streams of the device's last message, and how many messages are replays."""
        messages = [h for _, _, h, _ in self.cluster.read(STREAM) if h["Weir-Device"] == device]
        return messages[-1]["Weir-Streams"] if messages else "", sum(1 for h in messages if "Weir-Replay" in h)

    def too_large(self):
        """A device begins to report in blocks beyond the servers' largest message: dead letters, with what is behind them stored all
        the same; with a larger limit they are taken."""
        plant, device = self.run.plant, self.run.plant.devices[-1]
        path = plant.dir / f"{device.name}.yaml"
        small = path.read_text()
        self.cluster.set_max_payload(6144)
        plant.bridge.kill()  # a connection that is there is not told
        plant.bridge.start()
        path.write_text(small.replace("samples: 8,", "samples: 1024,").replace("period: 10ms", "period: 1ms"))
        device.start()
        complaints = [] if wait_for(lambda: len(self.letters()) > 1, 60, "dead letters") else ["nothing was too large"]
        device.stop(60)
        path.write_text(small)
        device.start()  # behind them
        time.sleep(1)
        device.stop(60)
        wait_for(self.run.drained, 60, "the sink")
        letters, (text, replays) = self.letters(), self.marks(device.name)
        highest = max((letter["last"] for letter in letters), default=0)
        if not any(int(word.split(":")[2]) > highest for word in text.split()) or replays:
            complaints.append(f"what is behind the letters ({highest}) is held up: {text}")
        self.cluster.set_max_payload(1 << 20)
        code, out, err = plant.weir("dead", "replay", "all", "--sink", self.run.name)
        wait_for(lambda: not self.letters(), 30, "the letters to be taken")
        _, replays = self.marks(device.name)
        log(f"nats: {len(letters)} messages too large, {replays} replayed")
        if code != 0 or self.letters() or replays != len(letters):
            complaints.append(f"replay of {len(letters)}: {out}{err}, {len(self.letters())} left, {replays} taken")
        self.run.letters += len(letters)
        return complaints

    def two_bridges(self):
        """A second bridge with another site keeps to its own stream of the same cluster, may go on where it was, and may not
        write into the first one's."""
        complaints = []
        for records in (2000, 3000):
            done = self.push(f"bridge=bridge2 site=plant2 devices=10 records={records}")
            if done.returncode != 0:
                complaints.append(f"the second bridge: {done.stderr}")
        found = [m for m in self.cluster.read("weir-bridge2")]
        subjects = {subject.split(".")[1] for _, subject, _, _ in found}
        if len(found) != 3000 + 3000 // 64 or subjects != {"plant2"}:
            complaints.append(f"the second bridge's stream has {len(found)} messages of {subjects}")
        before = self.cluster.client().stream_info(STREAM)["state"]["last_seq"]
        env = dict(os.environ, WEIR_PUSH="type=nats bridge=bridge2 site=test devices=2 records=10")
        with subprocess.Popen([find_bin("weir-push-sink"), "--insecure", "--servers", ",".join(self.cluster.urls()), "--stream", STREAM],
                              env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as intruder:
            try:
                intruder.wait(2)
                complaints.append("a second bridge on the same stream was not refused")
            except subprocess.TimeoutExpired:
                intruder.kill()
        if self.cluster.client().stream_info(STREAM)["state"]["last_seq"] != before:
            complaints.append("a second bridge wrote into the first one's stream")
        return complaints + self.foreign_site()

    def foreign_site(self):
        """The subjects of a site belong to one stream: a bridge that is configured with a site of another one cannot make its
        own, and is told why."""
        env = dict(os.environ, WEIR_PUSH="type=nats bridge=bridge4 site=test devices=2 records=10")
        argv = [find_bin("weir-push-sink"), "--insecure", "--servers", ",".join(self.cluster.urls())]
        with subprocess.Popen(argv, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as intruder:
            try:
                intruder.wait(2)
                return ["a bridge with the site of another one was not refused"]
            except subprocess.TimeoutExpired:
                intruder.kill()
            told = intruder.stderr.read()
        if "overlap" not in told:
            return [f"a bridge with the site of another one is not told why: {told}"]
        if "error" not in self.cluster.client().stream_info("weir-bridge4"):
            return ["a bridge with the site of another one has a stream"]
        return []
