#!/usr/bin/env python3
"""Renders a Jinja template with the catalog on standard input: jinja.py TEMPLATE [NAME=VALUE ...]"""
import json
import sys

import jinja2

environment = jinja2.Environment(
    loader=jinja2.FileSystemLoader("/"), undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
values = dict(word.split("=", 1) for word in sys.argv[2:])
sys.stdout.write(environment.get_template(sys.argv[1]).render(json.load(sys.stdin), **values) + "\n")
