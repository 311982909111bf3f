#!/usr/bin/env python3
"""Checks docker/Dockerfile and docker/compose.yaml by the rules that hadolint and careful people have: what is pinned, whose it runs as, what is open.

Prints each offence and fails if there is one.
"""
import json
import pathlib
import re
import subprocess
import sys

import yaml

root = pathlib.Path(__file__).resolve().parents[1]
offences = []


def check(ok, what):
    if not ok:
        offences.append(what)


# The Dockerfile: instructions with their continuation lines joined.
text = re.sub(r"^#.*\n", "", (root / "docker/Dockerfile").read_text(), flags=re.M)
instructions = [line.split(None, 1) for line in re.sub(r"\\\n\s*", " ", text).split("\n") if line.strip()]
stages, user, shell = [], None, False
for word, rest in instructions:
    check(word.isupper(), f"Dockerfile: {word} should be in capitals")
    check(word not in ("ADD", "MAINTAINER"), f"Dockerfile: no {word}")
    if word == "FROM":
        image = rest.split()[0]
        check(re.search(r":(?!latest\b)[\w.-]+", image), f"Dockerfile: {image} has no fixed tag")
        stages.append(rest.split(" AS ")[1] if " AS " in rest else "")
        user, shell = None, False
    elif word == "SHELL":
        shell = "pipefail" in json.loads(rest)
    elif word == "RUN":
        if "apt-get install" in rest:
            check("--no-install-recommends" in rest and " -y" in rest, "Dockerfile: apt-get install without -y --no-install-recommends")
            check("apt-get update" in rest and "rm -rf /var/lib/apt/lists/*" in rest, "Dockerfile: lists are fetched and dropped where they are used")
        check("|" not in rest.replace("||", "") or shell, "Dockerfile: a pipe without SHELL … pipefail")
        check(not re.search(r"\bsudo\b|\bcd /", rest), f"Dockerfile: no sudo, and WORKDIR instead of cd: {rest}")
        check("cargo install" not in rest or ("--version" in rest and "--locked" in rest), "Dockerfile: cargo install without version and --locked")
    elif word == "COPY":
        source = re.match(r"--from=(\w+) ", rest)
        if source:
            check(source[1] in stages, f"Dockerfile: there is no stage {source[1]}")
        else:
            check((root / rest.split()[0]).exists(), f"Dockerfile: there is no {rest.split()[0]}")
    elif word == "USER":
        user = rest
    elif word in ("CMD", "ENTRYPOINT"):
        check(isinstance(json.loads(rest), list), f"Dockerfile: {word} not as a list")
check(user not in (None, "root", "0"), "Dockerfile: the last stage runs as root")
check(sum(word == "CMD" for word, _ in instructions) == 1, "Dockerfile: one CMD")
check(any(word == "HEALTHCHECK" for word, _ in instructions), "Dockerfile: no HEALTHCHECK")

# compose.yaml
compose = yaml.safe_load((root / "docker/compose.yaml").read_text())
services = compose["services"]
built = {s["image"] for s in services.values() if "build" in s}
for name, service in services.items():
    image = service.get("image", "")
    check(image in built or re.search(r":(?!latest\b)[\w.-]+$", image), f"compose: {name}: {image} has no fixed tag")
    check(not service.get("privileged") and service.get("network_mode") != "host", f"compose: {name} is privileged")
    for port in service.get("ports", []):
        check(port.startswith("127.0.0.1:"), f"compose: {name}: port {port} is open to others")
    for volume in service.get("volumes", []):
        source = volume.split(":")[0]
        known = (root / "docker" / source).exists() if source.startswith(".") else source in compose["volumes"]
        check(known, f"compose: {name}: there is no volume or file {source}")
    for other, how in service.get("depends_on", {}).items():
        check(other in services and how.get("condition"), f"compose: {name} depends on {other}, and on what of it?")
    for key, value in service.get("environment", {}).items():
        if "PASSWORD" in key:
            check(re.fullmatch(r"\$\{\w+:\?.+\}", value), f"compose: {name}: {key} must come from outside")
    if "build" in service:
        check((root / "docker" / service["build"]["context"] / service["build"]["dockerfile"]).exists(), f"compose: {name}: no Dockerfile")
for volume in compose["volumes"]:
    check(any(v.split(":")[0] == volume for s in services.values() for v in s.get("volumes", [])), f"compose: nobody uses volume {volume}")

# What is provisioned, and the scripts of the database.
for file in (root / "docker/grafana").rglob("*.yaml"):
    yaml.safe_load(file.read_text())
for file in (root / "docker/initdb").glob("*.sh"):
    done = subprocess.run(["bash", "-n", file], capture_output=True, text=True)
    check(done.returncode == 0, f"{file.name}: {done.stderr}")
    check(file.stat().st_mode & 0o111, f"{file.name} can't be run")
dashboard = json.loads((root / "docker/grafana/dashboards/millrace.json").read_text())
source = yaml.safe_load((root / "docker/grafana/provisioning/datasources/millrace.yaml").read_text())["datasources"][0]["uid"]
for panel in dashboard["panels"]:
    check(panel["title"] and panel["datasource"]["uid"] == source, f"dashboard: panel {panel['title']!r} has no title or another source")
    spot = panel["gridPos"]
    check(spot["x"] + spot["w"] <= 24, f"dashboard: panel {panel['title']} is too wide")
print("\n".join(offences), end="\n" if offences else "")
sys.exit(bool(offences))
