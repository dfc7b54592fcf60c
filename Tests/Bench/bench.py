"""Takes the measurements of `make bench` and prints them as one table. Standard library only.

The programs run already; bench.sh starts them and says where they are.
"""

import argparse
import base64
import http.client
import json
import os
import socket
import sys
import time

sys.dont_write_bytecode = True  # no folder of it beside the scripts
import discover  # noqa: E402
import register  # noqa: E402
import routes  # noqa: E402
from discover import until  # noqa: E402
from register import encode, keys_below  # noqa: E402

CLOCK_TICKS = os.sysconf("SC_CLK_TCK")


class Engine:
    """Docker's API over its unix socket, one connection per call."""

    def __init__(self, path):
        self.path = path

    def call(self, method, path, body=None, expect=(200, 201, 204)):
        connection = http.client.HTTPConnection("docker", timeout=60)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(60)
        connection.sock.connect(self.path)
        text = None if body is None else json.dumps(body)
        connection.request(method, path, text, {"Content-Type": "application/json"} if text else {})
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        if answer.status not in expect:
            sys.exit(f"error: {method} {path}: {answer.status} {content[:200]!r}")
        return json.loads(content) if content[:1] in (b"{", b"[") else None

    def create(self):
        body = {"Image": "whoami", "HostConfig": {"PublishAllPorts": True}}
        return self.call("POST", "/containers/create", body)["Id"]

    def start(self, container):
        self.call("POST", f"/containers/{container}/start")

    def restart(self, container):
        self.call("POST", f"/containers/{container}/restart?t=2")

    def remove(self, container):
        self.call("POST", f"/containers/{container}/stop?t=2")
        self.call("DELETE", f"/containers/{container}?force=1")


class Registry:
    """etcd through its JSON gateway, over one kept connection."""

    def __init__(self, address):
        self.connection = http.client.HTTPConnection(address, timeout=30)

    def call(self, path, **body):
        self.connection.request("POST", path, json.dumps(body))
        answer = self.connection.getresponse()
        content = answer.read()
        if answer.status != 200:
            sys.exit(f"error: etcd {path}: {content[:200]!r}")
        return json.loads(content)

    def put(self, key, value):
        self.call("/v3/kv/put", key=encode(key), value=encode(value))

    def delete(self, key):
        self.call("/v3/kv/deleterange", key=encode(key))

    def delete_all(self, prefix):
        self.call("/v3/kv/deleterange", **keys_below(prefix))

    def entries(self, prefix):
        """The entries below a prefix, without their meta."""
        found = {}
        for pair in self.call("/v3/kv/range", **keys_below(prefix)).get("kvs", []):
            key = base64.b64decode(pair["key"]).decode()
            if key.count("/") == 3:
                found[key] = base64.b64decode(pair.get("value", "")).decode()
        return found

    def revision(self):
        return int(self.call("/v3/kv/range", key=encode("/"))["header"]["revision"])


class Agent:
    """A running program, as /proc sees it."""

    def __init__(self, name, pid):
        self.name = name
        self.pid = pid

    def cpu_seconds(self):
        return register.processor_ticks(self.pid) / CLOCK_TICKS

    def memory(self):
        """Resident and resident anonymous memory, in MB."""
        return register.memory(self.pid)


class Table:
    def __init__(self):
        self.rows = [("figure", "measured", "target", "")]

    def add(self, figure, value, unit, target=None, at_most=False):
        verdict = "" if target is None else "ok" if value < target or (at_most and value == target) else "over"
        bound = "" if target is None else f"{'at most' if at_most else 'below'} {target:g} {unit}".strip()
        number = f"{value:.0f}" if unit in ("", "s") else f"{value:.3f}" if unit.startswith("%") else f"{value:.1f}"
        self.rows.append((figure, f"{number} {unit}".strip(), bound, verdict))

    def show(self):
        widths = [max(len(row[column]) for row in self.rows) for column in range(4)]
        self.rows.insert(1, tuple("-" * width for width in widths))
        print()
        for figure, measured, target, verdict in self.rows:
            print(f"{figure:{widths[0]}}  {measured:>{widths[1]}}  {target:{widths[2]}}  {verdict}".rstrip())


class Bench:
    def __init__(self, options):
        self.options = options
        self.engine = Engine(options.engine)
        self.registry = Registry(options.etcd)
        self.agents = [Agent("docker-register", options.register), Agent("docker-discover", options.discover)]
        self.table = Table()
        self.containers = []
        self.failures = 0

    def ask(self):
        """One request on a new connection to the listener: the id that answers, or None and one failure more."""
        answer = discover.ask(self.options.port)
        self.failures += answer is None
        return answer

    def answering(self, ids):
        """Do exactly these containers answer, two rounds long?"""
        return {self.ask() for _ in range(2 * len(ids))} == {container[:12] for container in ids}

    def registered(self, ids):
        return self.registry.entries("/backends/whoami/").keys() == {f"/backends/whoami/{i[:12]}" for i in ids}

    def settled(self):
        return self.registered(self.containers) and self.answering(self.containers)

    def grow(self, number):
        while len(self.containers) < number:
            self.containers.append(self.engine.create())
            self.engine.start(self.containers[-1])
        until(60, f"{number} containers to answer", self.settled)

    def shrink(self, number):
        while len(self.containers) > number:
            self.engine.remove(self.containers.pop())
        until(60, f"{number} containers to answer", self.settled)

    def still(self):
        """Waits until nothing changes any more."""
        before = None
        while before != (before := self.registry.revision()):
            time.sleep(2)

    def measure_start(self):
        say(f"{self.options.rounds} starts, each from the call's return to the first answer through HAProxy")
        self.shrink(2)
        self.failures = 0
        times = []
        for _ in range(self.options.rounds):
            container = self.engine.create()
            self.engine.start(container)
            begun = time.monotonic()
            end = begun + 20
            while self.ask() != container[:12]:
                if time.monotonic() > end:
                    sys.exit("error: a new container did not answer within 20 s")
                time.sleep(0.0005)
            times.append((time.monotonic() - begun) * 1000)
            self.engine.remove(container)
            until(20, "a stopped container to leave", self.settled)
        register.add_times(self.table, "start to first answer", times, 15, 60)
        self.table.add("requests that failed in these rounds", self.failures, "", 0, at_most=True)

    def measure_idle(self):
        say(f"{self.options.seconds} s of nothing, with 20 containers")
        self.grow(20)
        self.still()
        revision = self.registry.revision()
        before = [agent.cpu_seconds() for agent in self.agents]
        begun = time.monotonic()
        time.sleep(self.options.seconds)
        elapsed = time.monotonic() - begun
        writes = self.registry.revision() - revision
        self.table.add(f"writes to etcd in {self.options.seconds} idle s, 20 containers", writes, "", 0, at_most=True)
        for agent, start in zip(self.agents, before):
            share = (agent.cpu_seconds() - start) / elapsed * 100
            self.table.add(f"{agent.name}: processor time, idle", share, "% of a core", 0.1)

    def measure_memory(self):
        say(f"memory with {self.options.containers} containers")
        self.grow(self.options.containers)
        self.still()
        for agent in self.agents:
            resident, anonymous = agent.memory()
            self.table.add(f"{agent.name}: resident, {len(self.containers)} containers", resident, "MB", 30)
            most = 8 if agent.name == "docker-register" else 10
            self.table.add(f"{agent.name}: anonymous of it (RssAnon)", anonymous, "MB", most)

    def measure_growth(self):
        """Two hours of changes: the first one warms up, the second one shows whether memory grows with their number."""
        changes = self.options.changes
        before = [agent.memory()[1] for agent in self.agents]
        for hour in ("first", "second"):
            say(f"{changes} changes, the {hour} time")
            self.change(changes)
            after = [agent.memory()[1] for agent in self.agents]
            for agent, start, end in zip(self.agents, before, after):
                figure = f"{agent.name}: anonymous memory more, {hour} {changes} changes"
                self.table.add(figure, max(0.0, end - start), "MB", 1 if hour == "second" else None)
            before = after

    def change(self, changes):
        """Entries written by hand, keys that vanish and are put back, containers that restart; then all as before."""
        address = next(iter(self.registry.entries("/backends/whoami/").values()))
        self.registry.put("/backends/bench/port", str(self.options.spare_port))
        for number in range(changes):
            if number % 60 == 59:
                self.engine.restart(self.containers[number // 60 % len(self.containers)])
            elif number % 8 == 7:
                self.registry.delete(f"/backends/whoami/{self.containers[number % len(self.containers)][:12]}")
            elif number % 2:
                self.registry.delete(f"/backends/bench/{number - 1}")
            else:
                self.registry.put(f"/backends/bench/{number}", address)
            time.sleep(0.01)
        for key in [*self.registry.entries("/backends/bench/"), "/backends/bench/port"]:
            self.registry.delete(key)
        until(60, "everything to be as before", self.settled)
        self.still()


def say(text):
    print(f"    {text}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("engine", "etcd"):
        parser.add_argument(f"--{name}", required=True)
    for name in ("port", "spare-port", "register", "discover", "rounds", "seconds", "containers", "changes"):
        parser.add_argument(f"--{name}", type=int, required=True)
    for name in ("register", "discover"):
        parser.add_argument(f"--{name}-program", required=True, help="for starts of its own")
    parser.add_argument("--sizes", type=int, nargs="+", required=True, help="numbers of endpoints")
    parser.add_argument("--parts", nargs="*", help="what to measure; everything by default")
    parser.add_argument("--build", type=float)
    options = parser.parse_args()
    bench = Bench(options)
    parts = {
        "idle": bench.measure_idle,
        "start": bench.measure_start,
        "keys": lambda: register.measure_keys(bench),
        "put": lambda: discover.measure_put(bench, options.spare_port),
        "cold": register.ColdStarts(bench, options.register_program).measure,
        "sizes": lambda: discover.measure_sizes(bench, options.discover_program, options.sizes),
        "routes": lambda: routes.measure(bench, options.discover_program),
        "memory": bench.measure_memory,
        "growth": bench.measure_growth,
    }
    bench.grow(2)
    for part in options.parts or parts:
        parts[part]()
    if options.build is not None:
        bench.table.add(f"clean release build of both agents, {os.cpu_count()} cores", options.build, "s", 90)
    bench.table.show()


main()
