"""An API server whose watches are late: a relay that gives out at once whatever is asked for, and what watches tell only some time after.

    operator ── HTTP ──► relay, on the gateway of kind's network ── TLS ──► API server
                          └── answers to watch=true, in the order in which they came, each a while later

What an operator remembers of the cluster is then as old as that, while what it reads and writes is of now: the state in which operators for other
systems have deleted volumes of members that were there again.
"""

import base64
import contextlib
import http.client
import http.server
import json
import queue
import ssl
import threading
import time
import urllib.parse
from collections.abc import Iterator
from typing import Any

from .cluster import Cluster
from .operator import NAMESPACE, Operator

# Headers of one connection, which are not passed on to the other.
OF_A_CONNECTION = {"host", "connection", "accept-encoding", "transfer-encoding", "content-length", "keep-alive", "te", "upgrade"}
PIECE_BYTES = 1 << 16
# What a watch may have told and not passed on. When there is more the API server has to wait.
PIECES_MAX = 10_000

NAME = "late-watches"
FOLDER = "/etc/late-watches"
ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"


class Relay(http.server.ThreadingHTTPServer):
    """Passes requests on to the server at `target`, and gives out what watches tell `delay` seconds after it came."""

    daemon_threads = True

    def __init__(self, address: str, target: tuple[str, int], tls: ssl.SSLContext | None, delay: float):
        super().__init__((address, 0), Handler)
        self.target, self.tls, self.delay = target, tls, delay
        self.late = 0

    def connect(self) -> http.client.HTTPConnection:
        """A connection to the target."""
        return http.client.HTTPSConnection(*self.target, context=self.tls) if self.tls else http.client.HTTPConnection(*self.target)

    @contextlib.contextmanager
    def running(self) -> Iterator["Relay"]:
        """It serves as long as the block lasts."""
        threading.Thread(target=self.serve_forever, name="relay", daemon=True).start()
        try:
            yield self
        finally:
            self.shutdown()
            self.server_close()


class Handler(http.server.BaseHTTPRequestHandler):
    """One connection of a client."""

    protocol_version = "HTTP/1.1"
    server: Relay

    def handle_request(self) -> None:
        """Passes a request on, and its answer back."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        upstream = self.server.connect()
        try:
            headers = {name: value for name, value in self.headers.items() if name.lower() not in OF_A_CONNECTION}
            upstream.request(self.command, self.path, body or None, headers)
            answer = upstream.getresponse()
            self.send_response(answer.status, answer.reason)
            for name, value in answer.getheaders():
                if name.lower() not in OF_A_CONNECTION:
                    self.send_header(name, value)
            if is_watch(self.path):
                self._give_out_late(answer)
            else:
                self._give_out(answer.read())
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True
        finally:
            # Ends the thread that reads from it as well.
            if upstream.sock:
                with contextlib.suppress(OSError):
                    upstream.sock.shutdown(2)
            upstream.close()

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_request

    def log_message(self, format: str, *args: Any) -> None:
        """The API server has a log of its own."""

    def _give_out(self, body: bytes) -> None:
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _give_out_late(self, answer: http.client.HTTPResponse) -> None:
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        pieces: queue.Queue[tuple[float, bytes]] = queue.Queue(PIECES_MAX)
        threading.Thread(target=read, args=(answer, pieces), name="watch", daemon=True).start()
        while True:
            came, piece = pieces.get()
            time.sleep(max(0.0, came + self.server.delay - time.monotonic()))
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            if not piece:
                return
            self.server.late += 1


def read(answer: http.client.HTTPResponse, pieces: "queue.Queue[tuple[float, bytes]]") -> None:
    """Stamps what comes with the time; the end is a piece without bytes, and comes when the connection breaks, too."""
    piece = b"?"
    while piece:
        try:
            piece = answer.read1(PIECE_BYTES)
        except (OSError, ValueError, AttributeError, http.client.HTTPException):  # closed by the one that gives out
            piece = b""
        pieces.put((time.monotonic(), piece))


def is_watch(path: str) -> bool:
    """Whether a request is for a watch."""
    return urllib.parse.parse_qs(urllib.parse.urlsplit(path).query).get("watch") in (["true"], ["1"])


def target(cluster: Cluster) -> tuple[tuple[str, int], ssl.SSLContext]:
    """Where the API server is, and whom to trust there."""
    server = json.loads(cluster.kubectl("config", "view", "--raw", "-o", "json"))["clusters"][0]["cluster"]
    url = urllib.parse.urlsplit(server["server"])
    assert url.hostname and url.port, f"the API server is at {server['server']}"
    authority = base64.b64decode(server["certificate-authority-data"]).decode()
    return (url.hostname, url.port), ssl.create_default_context(cadata=authority)


def gateway(cluster: Cluster) -> str:
    """The address of this side in the network of the nodes."""
    networks = json.loads(cluster.docker("network", "inspect", "kind"))[0]["IPAM"]["Config"]
    return next(network["Gateway"] for network in networks if "." in network.get("Gateway", ""))


@contextlib.contextmanager
def watches(cluster: Cluster, delay: float) -> Iterator[Relay]:
    """What the operator's watches tell comes so many seconds late, until the end of the block."""
    operator = Operator(cluster)
    deployment = operator.reference()
    with Relay(gateway(cluster), *target(cluster), delay).running() as relay:
        url = f"http://{relay.server_address[0]}:{relay.server_address[1]}"
        cluster.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": NAME, "namespace": NAMESPACE}, "data": {"config": kubeconfig(url)}})
        mount = {"name": "operator", "env": [{"name": "KUBECONFIG", "value": f"{FOLDER}/config"}], "volumeMounts": [{"name": NAME, "mountPath": FOLDER}]}
        template = {"spec": {"containers": [mount], "volumes": [{"name": NAME, "configMap": {"name": NAME}}]}}
        cluster.kubectl("patch", deployment, "-n", NAMESPACE, "-p", json.dumps({"spec": {"template": template}}))
        try:
            operator.wait_ready()
            yield relay
        finally:
            cluster.kubectl("rollout", "undo", deployment, "-n", NAMESPACE)
            operator.wait_ready()
            cluster.kubectl("delete", "configmap", NAME, "-n", NAMESPACE)


def kubeconfig(url: str) -> str:
    """How the operator reaches the API server through the relay, as itself."""
    context = {"cluster": "late", "user": "operator", "namespace": NAMESPACE}
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            # The image has no authorities, and a client asks for some whether it needs them or not.
            "clusters": [{"name": "late", "cluster": {"server": url, "certificate-authority": f"{ACCOUNT}/ca.crt"}}],
            "users": [{"name": "operator", "user": {"tokenFile": f"{ACCOUNT}/token"}}],
            "contexts": [{"name": "late", "context": context}],
            "current-context": "late",
        }
    )
