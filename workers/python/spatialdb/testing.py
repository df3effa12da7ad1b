"""A world for a test: a real server process, on a port of its own.

    with EphemeralWorld("world.snapshot") as world:
        async with spatialdb.connect(address=world.address, worker_type="test") as worker:
            ...

Responsible for: starting it, saying where it answers, ending it. Not responsible for: what is in it, and what is asked.
"""

import json
import subprocess
import tempfile


class EphemeralWorld:
    """`spatialdb launch ARGUMENTS` while the `with` block runs. If this process is killed, the server ends with it.

    `program` is found on PATH, as the shell would. Raises `RuntimeError` with what the server said if it does not come up.
    """

    def __init__(self, *arguments, program="spatialdb", cwd=None, env=None):
        self.address = None
        """Where it answers, as `127.0.0.1:PORT`."""
        self._command = [program, "launch", *map(str, arguments)]
        self._command += ["--ephemeral", "--listen", "127.0.0.1:0", "--json"]
        self._place = {"cwd": cwd, "env": env}
        self._process = None
        self._log = None

    def __enter__(self):
        self._log = tempfile.TemporaryFile()
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self._log, **self._place
        )
        line = self._process.stdout.readline()
        if not line:
            code = self._process.wait()
            message = f"{' '.join(self._command)}: exit code {code}\n{self.log()}"
            self.__exit__()
            raise RuntimeError(message)
        self.address = json.loads(line)["address"]
        return self

    def __exit__(self, *_):
        self._process.terminate()
        try:
            self._process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        self._log.close()

    def log(self):
        """What it has said so far, its workers' lines too."""
        self._log.seek(0)
        return self._log.read().decode(errors="replace")
