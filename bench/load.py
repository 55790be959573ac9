"""The load: wrk, with the requests of one kind written out for it beforehand."""

import json
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.machine import OTHER_CORES, Server, pinned

# Every connection takes the next body in turn; what is not 2xx is counted, and shown.
_SCRIPT = """
wrk.method = %(method)s
%(headers)s
local bodies = {}
for line in io.lines(%(bodies)s) do bodies[#bodies + 1] = line end
local at = 0
request = function()
    at = at %% #bodies + 1
    return wrk.format(nil, %(path)s, nil, bodies[at])
end
%(pace)s
done = function(summary, latency, requests)
    io.write(string.format(
        'RESULT {"requests": %%d, "seconds": %%f, "errors": %%d, "p50": %%f, "p99": %%f}\\n',
        summary.requests, summary.duration / 1e6,
        summary.errors.status + summary.errors.connect + summary.errors.read + summary.errors.write
            + summary.errors.timeout,
        latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end
"""


@dataclass(frozen=True)
class Load:
    """Requests of one kind: a path, its headers, and bodies that are sent in turn."""

    path: str
    headers: Mapping[str, str]
    bodies: Sequence[str]
    method: str = "POST"


@dataclass(frozen=True)
class Measured:
    """What a run came to: requests a second, the latency's percentiles in milliseconds, and the server's own processor
    time for each request in microseconds, which a busy machine disturbs least."""

    requests: int
    per_second: float
    p50: float
    p99: float
    cpu: float


def run(
    load: Load, server: Server, folder: Path, *, seconds: float, connections: int = 8, pause: float = 0
) -> Measured:
    """Load the server for so long. Raises AssertionError where one answer is not 2xx.

    `pause`: milliseconds, on the average and at random, that each connection rests before a request; not measured.
    """
    bodies, script = folder / "bodies.txt", folder / "load.lua"
    bodies.write_text("".join(f"{body}\n" for body in load.bodies))
    script.write_text(
        _SCRIPT
        % {
            "method": json.dumps(load.method),
            "headers": "\n".join(
                f"wrk.headers[{json.dumps(name)}] = {json.dumps(value)}" for name, value in load.headers.items()
            ),
            "bodies": json.dumps(str(bodies)),
            "path": json.dumps(load.path),
            "pace": f"delay = function() return -math.log(1 - math.random()) * {pause} end" if pause else "",
        }
    )
    argv = ["wrk", "--threads", "1", "--connections", str(connections), "--duration", f"{seconds:g}s"]
    before = server.processor_time()
    done = subprocess.run(
        pinned([*argv, "--timeout", "10s", "--script", str(script), server.url], OTHER_CORES),
        capture_output=True,
        text=True,
        check=True,
    )
    found = re.search(r"^RESULT (.*)$", done.stdout, re.MULTILINE)
    if found is None:
        raise AssertionError(done.stdout + done.stderr)
    result = json.loads(found[1])
    if result["errors"]:
        raise AssertionError(f"{result['errors']} of {result['requests']} answers are not 2xx\n{done.stdout}")
    count = result["requests"]
    cpu = (server.processor_time() - before) / count * 1e6
    return Measured(count, count / result["seconds"], result["p50"], result["p99"], cpu)
