"""Writes the answers that record.sh collected as the fixtures of docker-register's tests. Standard library only.

What nobody who looks for services reads is left out: limits, mounts, drivers, paths. Everything else stays as it was.
"""

import json
import os
import shutil
import sys

TOP = "Id Created State Image Name RestartCount Platform HostConfig Config NetworkSettings".split()
HOST_CONFIG = "NetworkMode PortBindings RestartPolicy AutoRemove PublishAllPorts".split()
CONFIG = "Hostname ExposedPorts Env Cmd Healthcheck Image Entrypoint Labels StopSignal StopTimeout".split()
NETWORK_NOISE = """SandboxKey SandboxID Bridge HairpinMode LinkLocalIPv6Address LinkLocalIPv6PrefixLen
    SecondaryIPAddresses SecondaryIPv6Addresses""".split()
VERSION = "Platform Version ApiVersion MinAPIVersion Os Arch".split()
INFO = "ID Name ServerVersion Containers OperatingSystem Architecture LiveRestoreEnabled Swarm".split()


def pick(value, names):
    return {name: value[name] for name in names if name in value}


def inspected(answer):
    answer = pick(answer, TOP)
    answer["HostConfig"] = pick(answer["HostConfig"], HOST_CONFIG)
    answer["Config"] = pick(answer["Config"], CONFIG)
    settings = answer["NetworkSettings"]
    answer["NetworkSettings"] = {name: settings[name] for name in settings if name not in NETWORK_NOISE}
    health = answer["State"].get("Health")
    if health:
        health["Log"] = health["Log"][-1:]
    return answer


def write(path, value):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write(value if isinstance(value, str) else json.dumps(value, indent=2) + "\n")


def main():
    raw, fixtures = sys.argv[1:]
    texts = {}
    for name in os.listdir(raw):
        with open(f"{raw}/{name}", encoding="utf-8", newline="") as file:
            texts[name] = file.read()
    answers = {name: json.loads(text) for name, text in texts.items() if name not in ("events", "ping")}
    version = answers.pop("version")
    folder = f"{fixtures}/engine-{'.'.join(version['Version'].split('.')[:2])}"
    shutil.rmtree(folder, ignore_errors=True)
    write(f"{folder}/_ping", texts["ping"].replace("\r\n", "\n"))
    write(f"{folder}/events", texts["events"])
    write(f"{folder}/version", pick(version, VERSION))
    write(f"{folder}/info", pick(answers.pop("info"), INFO))
    write(f"{folder}/containers/json", answers.pop("list"))
    for name, answer in answers.items():
        write(f"{folder}/containers/{name}/json", inspected(answer))
    print(f"    {folder}")


main()
