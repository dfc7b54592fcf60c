"""Routes, for `make bench`: how soon a changed one leads to the new service, and what many of them cost a request."""

import json
import multiprocessing
import os
import random
import signal
import socket
import statistics
import subprocess
import tempfile
import time

from discover import IN_A_TRANSACTION, until
from register import encode, memory

PREFIX = "/routed"
SIZES = (10, 10000)
SWITCHES = 100
SECONDS = 5.0
PIPELINE = 50
CLIENTS = 2
SERVICES = ("one", "two")


class Host:
    """A docker-discover with routes and an HAProxy of its own, and another HAProxy that answers for two services."""

    def __init__(self, bench, program, folder):
        self.registry, self.folder = bench.registry, folder
        self.ports = [free_port() for _ in range(6)]
        self.routes, self.stats, self.plain = self.ports[:3]
        self.origin = self.start_origin()
        self.registry.put(f"{PREFIX}/plain/port", str(self.plain))
        self.registry.put(f"{PREFIX}/plain/config", '{"mode":"http"}')
        self.registry.put(f"{PREFIX}/plain/1", f"127.0.0.1:{self.ports[3]}")
        for service, port in zip(SERVICES, self.ports[3:5]):
            self.registry.put(f"{PREFIX}/{service}/1/meta", '{"port":"none"}')
            self.registry.put(f"{PREFIX}/{service}/1", f"127.0.0.1:{port}")
        self.process = self.start(program, bench.options.etcd)

    def start_origin(self):
        path = f"{self.folder}/origin.cfg"
        sections = "".join(
            f"frontend {service}\n  bind 127.0.0.1:{port}\n"
            f'  http-request return status 200 content-type text/plain string "{service}"\n'
            for service, port in zip(SERVICES, self.ports[3:5])
        )
        with open(path, "w", encoding="utf-8") as file:
            times = "".join(f"  timeout {which} 60s\n" for which in ("client", "connect", "server"))
            file.write(f"defaults\n  mode http\n{times}{sections}")
        return subprocess.Popen(["haproxy", "-db", "-f", path], stderr=subprocess.DEVNULL)

    def start(self, program, etcd):
        environment = {
            "ETCD_HOST": etcd, "ETCD_PREFIX": PREFIX, "STATE_DIR": f"{self.folder}/state", "LOG_LEVEL": "warning",
            "STATS_BIND": f"127.0.0.1:{self.stats}", "HTTP_BIND": f"127.0.0.1:{self.routes}",
            "LISTEN_ADDRESS": "127.0.0.1", "PATH": os.environ["PATH"],
        }  # fmt: skip
        os.makedirs(environment["STATE_DIR"])
        return subprocess.Popen([program], env=environment)

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=30)
        self.origin.kill()
        self.origin.wait()
        for part in ("/", "-ports/", "-routes/", "-consumers/"):
            self.registry.delete_all(PREFIX + part)

    def grow(self, number):
        """So many routes, each of a host of its own."""
        names = [f"site{n}" for n in range(number)]
        puts = [
            {"request_put": {"key": encode(f"{PREFIX}-routes/{n}"), "value": encode(route(n, "one"))}} for n in names
        ]
        for start in range(0, len(puts), IN_A_TRANSACTION):
            self.registry.call("/v3/kv/txn", success=puts[start : start + IN_A_TRANSACTION])
        until(60, "the last route to lead somewhere", lambda: self.answer(names[-1]) == "one")
        return names

    def answer(self, name):
        try:
            with socket.create_connection(("127.0.0.1", self.routes), timeout=5) as connection:
                connection.sendall(f"GET / HTTP/1.0\r\nHost: {name}.example.com\r\n\r\n".encode())
                content = b""
                while part := connection.recv(4096):
                    content += part
            return content.rpartition(b"\n")[2].decode()
        except OSError:
            return None

    def switch(self, name, number):
        """From before the put of a route until the new service answers, in ms."""
        service = SERVICES[number % 2]
        begun = time.monotonic()
        self.registry.put(f"{PREFIX}-routes/{name}", route(name, service))
        until(20, "a changed route to lead to the new service", lambda: self.answer(name) == service, pause=0)
        return (time.monotonic() - begun) * 1000

    def worker_memory(self):
        """Of the HAProxy that serves the routes."""
        command = ["pgrep", "-f", f"haproxy.*{self.folder}/state"]
        listing = subprocess.run(command, capture_output=True, text=True, check=True)
        return max(memory(int(pid))[0] for pid in listing.stdout.split())


def route(name, service):
    return json.dumps({"host": f"{name}.example.com", "to": service})


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


def send(port, names, counts):
    """Requests of random hosts, many at a time on one connection, until the time is over."""
    count, end = 0, time.monotonic() + SECONDS
    with socket.create_connection(("127.0.0.1", port)) as connection:
        while time.monotonic() < end:
            hosts = random.choices(names, k=PIPELINE)
            connection.sendall(b"".join(b"GET / HTTP/1.1\r\nHost: %s.example.com\r\n\r\n" % h for h in hosts))
            seen, content = 0, b""
            while seen < PIPELINE:
                content += connection.recv(65536)
                seen = content.count(b"HTTP/1.1 200")
            count += PIPELINE
    counts.put(count)


def rate(port, names):
    """Answers in a second, of all clients together."""
    counts = multiprocessing.Queue()
    names = [name.encode() for name in names]
    clients = [multiprocessing.Process(target=send, args=(port, names, counts)) for _ in range(CLIENTS)]
    for client in clients:
        client.start()
    total = sum(counts.get() for _ in clients)
    for client in clients:
        client.join()
    return total / SECONDS


def measure(bench, program):
    for size in SIZES:
        print(f"    {size} routes", flush=True)
        with tempfile.TemporaryDirectory() as folder:
            host = Host(bench, program, folder)
            try:
                names = host.grow(size)
                time.sleep(2)
                name = f"{size} routes"
                times = [host.switch(random.choice(names[:10]), number) for number in range(1, SWITCHES + 1)]
                median = statistics.median(times)
                bench.table.add(f"{name}: put to first answer of the new service, median", median, "ms", 5)
                bench.table.add(f"{name}: the same, slowest of {SWITCHES}", max(times), "ms")
                bench.table.add(f"{name}: docker-discover, resident", memory(host.process.pid)[0], "MB")
                bench.table.add(f"{name}: HAProxy's worker, resident", host.worker_memory(), "MB")
                through, plain = [], []
                for _ in range(3):
                    through.append(rate(host.routes, names))
                    plain.append(rate(host.plain, names))
                bench.table.add(f"{name}: requests in a second, random hosts", statistics.median(through), "")
                bench.table.add(f"{name}: the same at a plain listener", statistics.median(plain), "")
            finally:
                host.end()
