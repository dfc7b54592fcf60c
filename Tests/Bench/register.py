"""docker-register's own figures for `make bench`: how soon keys come and go, and a start with 1 000 containers."""

import base64
import http.client
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

MANY = 1000
COLD_STARTS = 7


class Watch:
    """When each key of a prefix last came or went, as etcd's watch says it; times are those of time.monotonic()."""

    def __init__(self, address, prefix):
        self.changed = threading.Condition()
        self.seen = {}
        self.present = {}
        self.connection = http.client.HTTPConnection(address)
        self.connection.request("POST", "/v3/watch", json.dumps({"create_request": keys_below(prefix)}))
        self.answer = self.connection.getresponse()
        self.answer.readline()  # "created"
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        try:
            while line := self.answer.readline():
                now = time.monotonic()
                events = json.loads(line)["result"].get("events", [])
                with self.changed:
                    for event in events:
                        key = base64.b64decode(event["kv"]["key"]).decode()
                        gone = event.get("type") == "DELETE"
                        self.seen[key, gone] = now
                        self.present[key] = not gone
                    self.changed.notify_all()
        except (OSError, ValueError, AttributeError, http.client.HTTPException):
            pass  # closed

    def wait(self, condition, what):
        with self.changed:
            if not self.changed.wait_for(condition, timeout=30):
                sys.exit(f"error: waited 30 s in vain for {what}")

    def time_of(self, key, gone=False):
        self.wait(lambda: (key, gone) in self.seen, f"{key} to {'go' if gone else 'come'}")
        return self.seen[key, gone]

    def entries(self):
        return sum(there for key, there in self.present.items() if not key.endswith("/meta"))

    def close(self):
        self.connection.sock.shutdown(socket.SHUT_RDWR)


class Kills:
    """When the engine told of each container's first `kill`, by its own clock, as time.monotonic()."""

    def __init__(self, engine):
        self.changed = threading.Condition()
        self.seen = {}
        self.connection = socket.socket(socket.AF_UNIX)
        self.connection.connect(engine.path)
        self.connection.sendall(b'GET /events?filters={"event":["kill"]} HTTP/1.0\r\nHost: docker\r\n\r\n')
        self.stream = self.connection.makefile("rb")
        while self.stream.readline().strip():
            pass  # the head
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        while line := self.stream.readline():
            event = json.loads(line)
            age = (time.time_ns() - event["timeNano"]) / 1e9
            with self.changed:
                self.seen.setdefault(event["Actor"]["ID"], time.monotonic() - age)
                self.changed.notify_all()

    def time_of(self, container):
        with self.changed:
            if not self.changed.wait_for(lambda: container in self.seen, timeout=30):
                sys.exit("error: waited 30 s in vain for the engine's kill event")
        return self.seen[container]


def encode(text):
    return base64.b64encode(text.encode()).decode()


def keys_below(prefix):
    """The part of a request to etcd that names them."""
    return {"key": encode(prefix), "range_end": encode(prefix[:-1] + chr(ord(prefix[-1]) + 1))}


def measure_keys(bench):
    """Start call's return to key there; kill event, and the request before it, to key gone."""
    rounds = bench.options.rounds
    print(f"    {rounds} starts and stops, each until etcd has told of the key", flush=True)
    watch, kills = Watch(bench.options.etcd, "/backends/whoami/"), Kills(bench.engine)
    come, go, whole = [], [], []
    for _ in range(rounds):
        container = bench.engine.create()
        key = f"/backends/whoami/{container[:12]}"
        bench.engine.start(container)
        begun = time.monotonic()
        come.append(max(0, watch.time_of(key) - begun) * 1000)
        time.sleep(0.1)
        begun = time.monotonic()
        bench.engine.remove(container)
        go.append((watch.time_of(key, gone=True) - kills.time_of(container)) * 1000)
        whole.append((watch.time_of(key, gone=True) - begun) * 1000)
    watch.close()
    add_times(bench.table, "start call's return to key in etcd", come, 10, 50)
    add_times(bench.table, "engine's kill event to key gone", go, 10, 50)
    add_times(bench.table, "docker stop call to key gone", whole, None, None)


def add_times(table, figure, times, median, p99):
    number = len(times)
    times.sort()
    table.add(f"{figure}, median of {number}", statistics.median(times), "ms", median)
    table.add(f"{figure}, 99th percentile of {number}", times[min(number - 1, int(number * 0.99))], "ms", p99)


class ColdStarts:
    """docker-register against a stand-in for an engine with 1 000 containers."""

    def __init__(self, bench, agent):
        self.bench = bench
        self.agent = agent
        self.times, self.anonymous = [], []

    def measure(self):
        print(f"    {COLD_STARTS} cold starts with {MANY} containers", flush=True)
        with tempfile.TemporaryDirectory() as folder:
            stand_in = self.stand_in(folder)
            try:
                for number in range(COLD_STARTS):
                    self.start(f"unix://{folder}/docker.sock", f"/cold{number}")
            finally:
                stand_in.kill()
                stand_in.wait()
        table, figure = self.bench.table, f"docker-register: cold start to {MANY}th key"
        table.add(f"{figure}, median of {COLD_STARTS}", statistics.median(self.times) * 1000, "ms", 1000)
        table.add(f"{figure}, slowest of {COLD_STARTS}", max(self.times) * 1000, "ms", 1000)
        table.add(f"docker-register: RssAnon, {MANY} containers", max(self.anonymous), "MB", 25)

    def stand_in(self, folder):
        with open(f"{folder}/recorded", "w", encoding="utf-8") as file:
            json.dump(self.recorded(), file)
        script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "engine.py")
        path = f"{folder}/docker.sock"
        stand_in = subprocess.Popen(
            [sys.executable, script, "--socket", path, "--recorded", file.name, "--containers", str(MANY)]
        )
        end = time.monotonic() + 20
        while not os.path.exists(path):
            if stand_in.poll() is not None or time.monotonic() > end:
                sys.exit("error: the stand-in for an engine does not start")
            time.sleep(0.02)
        return stand_in

    def recorded(self):
        """What the real engine says now, whole."""
        engine, container = self.bench.engine, self.bench.containers[0]
        listed = next(line for line in engine.call("GET", "/containers/json") if line["Id"] == container)
        version = engine.call("GET", "/version")
        return {
            "ping": {"Api-Version": version["ApiVersion"], "Ostype": "linux"},
            "version": version,
            "info": engine.call("GET", "/info"),
            "listed": listed,
            "inspected": engine.call("GET", f"/containers/{container}/json"),
        }

    def start(self, engine, prefix):
        watch = Watch(self.bench.options.etcd, prefix + "/")
        environment = {"HOST_IP": "10.0.0.1", "DOCKER_HOST": engine, "ETCD_PREFIX": prefix, "LOG_LEVEL": "warning"}
        environment["ETCD_HOST"] = self.bench.options.etcd
        begun = time.monotonic()
        process = subprocess.Popen([self.agent], env=environment)
        try:
            watch.wait(lambda: watch.entries() == MANY, f"{MANY} keys")
            self.times.append(max(watch.seen.values()) - begun)
            time.sleep(1)
            self.anonymous.append(memory(process.pid)[1])
        finally:
            process.kill()
            process.wait()
            watch.close()
        self.bench.registry.delete_all(prefix + "/")


def memory(pid):
    """Resident and resident anonymous memory (VmRSS and RssAnon), in MB."""
    with open(f"/proc/{pid}/status", encoding="utf-8") as file:
        sizes = dict(line.split(":", 1) for line in file)
    return [int(sizes[name].split()[0]) / 1024 for name in ("VmRSS", "RssAnon")]


def processor_ticks(pid):
    with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
        fields = file.read().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])
