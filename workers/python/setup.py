"""Generates spatialdb/v1 from the .proto files of the repository while the package is built.

So `pip install ./workers/python` works from a checkout, and what is installed always fits its .proto files.
"""

import subprocess
import sys
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).resolve().parent
PROTO = HERE.parent.parent / "proto"


class GenerateAndBuild(build_py):
    """The ordinary build, and then the generated code in place."""

    def run(self) -> None:
        super().run()
        files = sorted((PROTO / "spatialdb/v1").glob("*.proto"))
        if not files:
            sys.exit(f"setup.py: no .proto files in {PROTO}/spatialdb/v1: build this package inside its repository")
        # An editable install finds the package where it stands.
        out = HERE if self.editable_mode else Path(self.build_lib)
        outs = [f"--{kind}_out={out}" for kind in ("python", "pyi", "grpc_python")]
        command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{PROTO}", *outs, *map(str, files)]
        out.mkdir(parents=True, exist_ok=True)
        subprocess.run(command, check=True)


setup(cmdclass={"build_py": GenerateAndBuild})
