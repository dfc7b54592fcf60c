"""A stand-in for a Docker Engine with very many containers, for `make bench`. Standard library only.

It answers from memory what docker-register asks, so that what is measured is docker-register. The answers are those
that a real engine gave for one container (a file with `ping`, `version`, `info`, `listed` and `inspected`), in as many
copies as wanted, each with an id, a name, an address and a port of its own.
"""

import argparse
import copy
import json
import os
import re
import selectors
import socket

VERSION = re.compile(r"^/v[0-9.]+(?=/)")


class Answers:
    """Every answer as bytes, by its path without version and query."""

    def __init__(self, recorded, number):
        self.by_path = {}
        listed = []
        for index in range(number):
            container = Container(recorded, index)
            listed.append(container.listed)
            self.add(f"/containers/{container.id}/json", container.inspected)
        self.add("/containers/json", listed)
        self.add("/version", recorded["version"])
        self.add("/info", recorded["info"])
        self.by_path["/_ping"] = head(200, recorded["ping"], 2) + b"OK"
        self.missing = head(404, {}, 23) + b'{"message":"not found"}'

    def add(self, path, value):
        body = json.dumps(value, separators=(",", ":")).encode()
        self.by_path[path] = head(200, {"Content-Type": "application/json"}, len(body)) + body

    def find(self, target):
        return self.by_path.get(VERSION.sub("", target.partition("?")[0]), self.missing)


class Container:
    """One copy of the recorded container."""

    def __init__(self, recorded, index):
        self.id = f"{index:012x}" + recorded["listed"]["Id"][12:]
        name, address, port = f"web-{index}", f"172.17.{index >> 8}.{index & 255}", 20000 + index
        self.listed = copy.deepcopy(recorded["listed"])
        self.listed.update(Id=self.id, Names=["/" + name])
        for published in self.listed["Ports"]:
            published["PublicPort"] = port
        self.inspected = copy.deepcopy(recorded["inspected"])
        self.inspected.update(Id=self.id, Name="/" + name)
        self.inspected["Config"]["Hostname"] = self.id[:12]
        for bindings in self.inspected["NetworkSettings"]["Ports"].values():
            for binding in bindings or []:
                binding["HostPort"] = str(port)
        for settings in (self.listed["NetworkSettings"], self.inspected["NetworkSettings"]):
            for network in settings["Networks"].values():
                network["IPAddress"] = address


def head(status, fields, length):
    lines = [f"HTTP/1.1 {status} {'OK' if status == 200 else 'Not Found'}"]
    lines += [f"{name}: {value}" for name, value in fields.items()]
    return "\r\n".join([*lines, f"Content-Length: {length}", "", ""]).encode()


# Headers come at once; then nothing, as nothing happens.
EVENTS = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"


class Server:
    """One thread and non-blocking sockets: some 20 microseconds an answer."""

    def __init__(self, path, answers):
        self.answers = answers
        self.selector = selectors.DefaultSelector()
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen(128)
        self.listener.setblocking(False)
        self.selector.register(self.listener, selectors.EVENT_READ)

    def run(self):
        while True:
            for key, mask in self.selector.select():
                if key.fileobj is self.listener:
                    self.accept()
                elif mask & selectors.EVENT_WRITE:
                    self.flush(key.fileobj, key.data)
                else:
                    self.receive(key.fileobj, key.data)

    def accept(self):
        connection, _ = self.listener.accept()
        connection.setblocking(False)
        self.selector.register(connection, selectors.EVENT_READ, {"in": b"", "out": b""})

    def receive(self, connection, buffers):
        try:
            received = connection.recv(65536)
        except ConnectionError:
            received = b""
        if not received:
            self.selector.unregister(connection)
            connection.close()
            return
        *requests, buffers["in"] = (buffers["in"] + received).split(b"\r\n\r\n")
        for request in requests:
            target = request.split(b" ", 2)[1].decode()
            buffers["out"] += EVENTS if "/events?" in target else self.answers.find(target)
        self.flush(connection, buffers)

    def flush(self, connection, buffers):
        """Sends what the socket takes, and the rest when it takes more."""
        try:
            while buffers["out"]:
                buffers["out"] = buffers["out"][connection.send(buffers["out"]) :]
            self.selector.modify(connection, selectors.EVENT_READ, buffers)
        except BlockingIOError:
            self.selector.modify(connection, selectors.EVENT_WRITE, buffers)
        except ConnectionError:
            self.selector.unregister(connection)
            connection.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--socket", required=True)
    parser.add_argument("--recorded", required=True, help="the file with a real engine's answers")
    parser.add_argument("--containers", type=int, required=True)
    options = parser.parse_args()
    with open(options.recorded) as file:
        answers = Answers(json.load(file), options.containers)
    if os.path.exists(options.socket):
        os.unlink(options.socket)
    Server(options.socket, answers).run()


if __name__ == "__main__":
    main()
