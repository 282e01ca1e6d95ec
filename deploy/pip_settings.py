"""Writes this machine's pip settings where an image build can use them.

Prints one line per local folder or file that they name (an index on disk, a certificate): the build
needs them mounted. Usage: pip config list | pip_settings.py PIP_CONF. Standard library only.
"""

import ast
import sys
from pathlib import Path

settings: dict[str, str] = {}
for line in sorted(sys.stdin, key=lambda line: line.startswith(":env:")):  # the environment wins
    key, _, value = line.strip().partition("=")
    settings[key.rpartition(".")[2]] = ast.literal_eval(value)
lines = [f"{name} = {' '.join(value.split())}" for name, value in settings.items()]
Path(sys.argv[1]).write_text("\n".join(["[global]", *lines, ""]), encoding="utf-8")

for word in sorted({word.removeprefix("file://") for v in settings.values() for word in v.split()}):
    path = Path(word)
    if path.is_absolute() and path.exists():
        # An index has its files beside its pages.
        print(path.parent if path.name == "simple" else path)
