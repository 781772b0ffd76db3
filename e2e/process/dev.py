"""`ensemble dev`: a whole ensemble in one terminal."""

import signal
import subprocess
import tempfile

from harness.load import close, connect, running
from harness.processes import HOST, Processes, free_row
from harness.runner import case


@case("dev")
def dev(world: Processes) -> str:
    """Three servers start, serve kazoo, and end with Ctrl-C; started again on the same data, they have it."""
    with tempfile.TemporaryDirectory(prefix="zke-dev.") as data:
        first = free_row(3)
        hosts = ",".join(f"{HOST}:{first + member}" for member in range(3))
        said = []
        for round in range(2):
            command = [world.binary, "dev", "--members", "3", "--client-port", str(first), "--data", data]
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            try:
                client = connect(hosts)
                if round == 0:
                    client.create("/kept", b"yes")
                else:
                    assert client.get("/kept")[0] == b"yes", "the data of the first round is gone"
                close(client)
                with running(hosts) as load:
                    load.wait_for_writes(50, 60)
                    summary = load.finish()
            finally:
                process.send_signal(signal.SIGINT)
                output, _ = process.communicate(timeout=30)
            assert process.returncode == 0, f"ended with code {process.returncode}: {output[-1000:]}"
            said.append(output)
        assert str(first) in said[0], f"it does not say where to connect: {said[0][:500]}"
        return f"twice on the same data; {summary}"
