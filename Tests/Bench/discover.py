"""docker-discover's own figures for `make bench`: how soon a key has traffic, and how all grows with the catalogue."""

import json
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

from register import add_times, encode, memory, processor_ticks

PER_SERVICE = 20
COLD_STARTS = 5
ONE_CHANGES = 30
STORM = 1000
PUTS = 200  # enough for a 99th percentile that is not the slowest one
STEADY = 10000
IN_A_TRANSACTION = 100
PAUSE = 0.0005
PREFIX = "/many"
ADDRESS = "127.77.0.1"  # of this machine, and nobody else's
ANSWER = re.compile(rb"I'm ([0-9a-f]{12})\n$")
TARGETS = {  # endpoints: cold start in s, resident memory in MB
    100: (None, None),
    1000: (None, 30),
    10000: (0.6, 45),
}


def ask(port, address="127.0.0.1"):
    """One request on a new connection: the id of the container that answers, or None."""
    try:
        with socket.create_connection((address, port), timeout=5) as connection:
            connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
            content = b""
            while part := connection.recv(4096):
                content += part
        return ANSWER.search(content).group(1).decode()
    except (OSError, AttributeError):
        return None


def until(seconds, what, condition, pause=0.02):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            sys.exit(f"error: waited {seconds} s in vain for {what}")
        time.sleep(pause)


def measure_put(bench, spare_port):
    """A key that is put, until its endpoint answers; the service has another one already."""
    print(f"    {PUTS} keys, each from the put to the first answer of its endpoint", flush=True)
    first, second = sorted(bench.registry.entries("/backends/whoami/").items())[:2]
    registry, times = bench.registry, []
    registry.put("/backends/put/port", str(spare_port))
    registry.put("/backends/put/first", first[1])
    until(20, "a first answer", lambda: ask(spare_port), PAUSE)
    for _ in range(PUTS):
        begun = time.monotonic()
        registry.put("/backends/put/second", second[1])
        until(20, "the new endpoint to answer", lambda: ask(spare_port) == second[0][-12:], pause=0)
        times.append((time.monotonic() - begun) * 1000)
        registry.delete("/backends/put/second")
        until(20, "it to leave", lambda: {ask(spare_port) for _ in range(4)} == {first[0][-12:]}, PAUSE)
    registry.delete_all("/backends/put/")
    add_times(bench.table, "key put to first answer of its endpoint", times, 5, 25)


class Fleet:
    """A registry of made endpoints that all answer connections, and a docker-discover and HAProxy of its own."""

    def __init__(self, bench, program, folder, endpoints):
        self.registry, self.options, self.folder, self.endpoints = bench.registry, bench.options, folder, endpoints
        self.program, self.process = program, None
        self.services = max(1, endpoints // PER_SERVICE)
        self.ports = free_ports(self.services)
        self.probe = sorted(bench.registry.entries("/backends/whoami/").items())[:2]
        self.sink_port = self.start_sink()
        self.fill()

    # -- what the registry says

    def entry(self, number, generation=0):
        """One made endpoint: its key, its value and its meta."""
        service, place = number % self.services, number // self.services
        identity = f"made-{number:x}-{generation:x}"
        # Each address is of its own, and of this machine; of agents no loopback address would be believed.
        address = f"127.{1 + generation % 100}.{number // 250}.{1 + number % 250}:{self.sink_port}"
        host = f"host-{place}"
        meta = {
            "container": f"service-{service}-{place}", "created": "2026-01-01T00:00:00Z", "tags": [host],
            "image": f"registry.example:5000/team/service-{service}:1.0",
            "port": self.ports[service],
        }  # fmt: skip
        key = f"{PREFIX}/service-{service}/{identity}"
        return [(key, address), (key + "/meta", json.dumps(meta))]

    def fill(self):
        pairs = [pair for number in range(self.endpoints) for pair in self.entry(number)]
        self.put_all(pairs)
        self.put_all([(f"{PREFIX}/probe/port", str(self.options.spare_port))])
        self.show(0)

    def put_all(self, pairs, gone=()):
        operations = [{"request_put": {"key": encode(k), "value": encode(v)}} for k, v in pairs]
        operations += [{"request_delete_range": {"key": encode(k)}} for k in gone]
        for start in range(0, len(operations), IN_A_TRANSACTION):
            self.registry.call("/v3/kv/txn", success=operations[start : start + IN_A_TRANSACTION])

    def show(self, number):
        """Has the service called probe answered by another container."""
        self.registry.put(f"{PREFIX}/probe/one", self.probe[number][1])

    def shows(self, number):
        return ask(self.options.spare_port, ADDRESS) == self.probe[number][0][-12:]

    # -- what runs

    def start_sink(self):
        """Where all made endpoints are: connections are taken and closed, which is what checks want."""
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        path = f"{self.folder}/sink.cfg"
        with open(path, "w", encoding="utf-8") as file:
            file.write(
                "global\n  maxconn 4000\ndefaults\n  mode tcp\n  timeout client 5s\n  timeout connect 5s\n"
                f"  timeout server 5s\nfrontend sink\n  bind 0.0.0.0:{port}\n  tcp-request connection reject\n"
            )
        self.sink = subprocess.Popen(["haproxy", "-db", "-f", path])
        until(10, "the sink to listen", lambda: accepts(port), PAUSE)
        return port

    def start(self):
        environment = {
            "ETCD_HOST": self.options.etcd, "ETCD_PREFIX": PREFIX, "STATE_DIR": f"{self.folder}/state",
            "STATS_BIND": f"{ADDRESS}:{self.options.spare_port + 1}", "LISTEN_ADDRESS": ADDRESS,
            "LOG_LEVEL": "warning", "PATH": os.environ["PATH"],
        }  # fmt: skip
        os.makedirs(environment["STATE_DIR"], exist_ok=True)
        self.process = subprocess.Popen([self.program], env=environment)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=30)

    def end(self):
        if self.process and self.process.poll() is None:
            self.stop()
        self.sink.kill()
        self.sink.wait()
        self.registry.delete_all(PREFIX + "/")
        self.registry.delete_all(PREFIX + "-ports/")

    def until_serving(self):
        """Waits until the probe answers and every listener takes connections; the time from which on they all did."""
        end = time.monotonic() + 60
        while time.monotonic() < end:
            begun = time.monotonic()
            if self.shows(0) and all(map(accepts, self.ports)):
                return begun
            time.sleep(0.0005)
        sys.exit("error: waited 60 s in vain for every listener to serve")

    def cold_start(self):
        """Process start to every listener serving, with nothing known from before, in ms."""
        subprocess.run(["rm", "-rf", f"{self.folder}/state"], check=True)
        begun = time.monotonic()
        self.start()
        return (self.until_serving() - begun) * 1000

    def bare_start(self):
        """The same of HAProxy alone, with the file that docker-discover wrote."""
        self.stop()
        with open(f"{self.folder}/haproxy.log", "wb") as log:
            begun = time.monotonic()
            process = subprocess.Popen(["haproxy", "-W", "-f", f"{self.folder}/state/haproxy.cfg"], stderr=log)
            try:
                return (self.until_serving() - begun) * 1000
            finally:
                process.send_signal(signal.SIGTERM)
                process.wait(timeout=30)
                # A master that is stopped while it starts may leave its worker to find out.
                until(30, "HAProxy's listeners to close", lambda: not accepts(self.options.spare_port), PAUSE)

    def settle(self):
        """Waits until docker-discover has nothing to do any more: a copy of the catalogue may follow seconds later."""
        quiet, before = 0, None
        while quiet < 6:
            time.sleep(1)
            now = processor_ticks(self.process.pid)
            quiet = quiet + 1 if now == before else 0
            before = now

    def one_change(self, number):
        begun = time.monotonic()
        self.show(number)
        until(20, "a changed endpoint to answer", lambda: self.shows(number), pause=0)
        return (time.monotonic() - begun) * 1000

    def replace(self, numbers, generation):
        """Other endpoints in the place of those that an earlier generation had."""
        old = [key for number in numbers for key, _ in self.entry(number, generation - 1)]
        self.put_all([pair for number in numbers for pair in self.entry(number, generation)], gone=old)

    def replace_many(self, generation):
        """Does so again and again, and tells the memory then."""
        for number in range(STEADY // STORM):
            self.replace(range(STORM // 2), generation + number)
            self.settle()
        return memory(self.process.pid)

    def storm(self):
        """As many endpoints come and go at once; the last change shows that all are done."""
        numbers = range(min(STORM // 2, self.endpoints))
        begun = time.monotonic()
        self.replace(numbers, 1)
        written = time.monotonic()
        self.show(1)
        until(60, "the end of a storm", lambda: self.shows(1), pause=0)
        ended = time.monotonic()
        self.show(0)
        until(20, "the probe to be as before", lambda: self.shows(0), PAUSE)
        return (ended - begun) * 1000, (ended - written) * 1000


def free_ports(number):
    """Ports that nobody listens on."""
    free = []
    for port in range(20000, 32000):
        with socket.socket() as probe:
            try:
                probe.bind((ADDRESS, port))
            except OSError:
                continue
        free.append(port)
        if len(free) == number:
            return free
    sys.exit(f"error: there are no {number} free ports")


def accepts(port):
    try:
        socket.create_connection((ADDRESS, port), timeout=5).close()
        return True
    except OSError:
        return False


def measure_sizes(bench, program, sizes):
    for endpoints in sizes:
        with tempfile.TemporaryDirectory() as folder:
            fleet = Fleet(bench, program, folder, endpoints)
            try:
                measure_size(bench.table, fleet, last=endpoints == sizes[-1])
            finally:
                fleet.end()


def measure_size(table, fleet, last):
    most_cold, most_memory = TARGETS.get(fleet.endpoints, (None, None))
    name = f"{fleet.endpoints} endpoints"
    print(f"    docker-discover with {name} in {fleet.services} services", flush=True)
    cold, bare = [], []
    for _ in range(COLD_STARTS):
        cold.append(fleet.cold_start())
        fleet.settle()
        bare.append(fleet.bare_start())
    table.add(f"{name}: cold start, median of {COLD_STARTS}", statistics.median(cold), "ms", most_cold and most_cold * 1000)
    table.add(f"{name}: HAProxy's part of it, alone", statistics.median(bare), "ms")
    fleet.cold_start()
    fleet.settle()
    resident, anonymous = memory(fleet.process.pid)
    table.add(f"{name}: resident", resident, "MB", most_memory)
    table.add(f"{name}: anonymous of it (RssAnon)", anonymous, "MB")
    changes = [fleet.one_change(number % 2) for number in range(1, ONE_CHANGES + 1)]
    table.add(f"{name}: one change, put to answer, median", statistics.median(changes), "ms", 20)
    table.add(f"{name}: one change, put to answer, slowest of {ONE_CHANGES}", max(changes), "ms")
    if fleet.endpoints * 2 >= STORM:
        whole, rest = fleet.storm()
        table.add(f"{name}: storm of {STORM} changes, first put to the end", whole, "ms", 1000)
        table.add(f"{name}: of it after the last put", rest, "ms")
    if last:
        fleet.settle()
        table.add(f"{name}: resident after a storm", memory(fleet.process.pid)[0], "MB", most_memory)
        # Of the first changes the heap gets holes; the second ones show whether that ends.
        first = fleet.replace_many(2)
        second = fleet.replace_many(2 + STEADY // STORM)
        table.add(f"{name}: resident after {STEADY} changes more", first[0], "MB", most_memory)
        table.add(f"{name}: resident after {STEADY} changes more again", second[0], "MB", most_memory)
        table.add(f"{name}: anonymous memory more by the latter", max(0.0, second[1] - first[1]), "MB", 1)
