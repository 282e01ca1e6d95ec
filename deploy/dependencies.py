"""Prints the requirements of the project and of the extras named: pip installs them on their own.

So the image's layer of dependencies does not change with the code. Standard library only.
"""

import sys
import tomllib
from pathlib import Path

project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
extras = [project["optional-dependencies"][name] for name in sys.argv[1:]]
print("\n".join(sum(extras, project["dependencies"])))
