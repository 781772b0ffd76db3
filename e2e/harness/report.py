"""What a person does after `e2e/up`."""

import shlex
import sys
from pathlib import Path

from .cluster import Cluster
from .ensemble import Ensemble

HELLO = 'from kazoo.client import KazooClient as C; zk = C("{hosts}"); zk.start(); print(zk.create("/hello-", b"world", sequence=True))'


def after_up(cluster: Cluster, ensemble: Ensemble, seconds: float) -> str:
    """The last words of `e2e/up`: the state, and commands that work as they stand."""
    objects = cluster.kubectl("get", "zke,pods,pvc", "-n", ensemble.namespace)
    return f"""
{objects}
ready after {seconds:.0f} s. This opens a shell that sees the cluster:

  {shlex.join(_shell(cluster))}

in it:

  kubectl get zke                    # the ensemble
  kubectl describe zke {ensemble.name}         # its conditions and events
  kubectl logs -f {ensemble.name}-0            # a server
  python -c {shlex.quote(HELLO.format(hosts=ensemble.hosts()))}
  kubectl port-forward service/{ensemble.name}-client 2181    # for clients that connect to localhost

any ZooKeeper client connects to {ensemble.hosts()}; tear down with e2e/down
"""


def _shell(cluster: Cluster) -> list[str]:
    """A shell with kubectl, its kubeconfig, and a Python with kazoo; where the engine is private, in its network namespace."""
    folders = [Path(sys.executable).parent, *([Path(cluster.kubectl_program).parent] if cluster.engine.enter else [])]
    path = ":".join(str(folder) for folder in folders)
    settings = [f"KUBECONFIG={cluster.kubeconfig}"]
    return [*cluster.engine.enter, "env", *settings, "bash", "-c", f'PATH={path}:$PATH exec bash --norc']
