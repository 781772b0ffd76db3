"""What a person does after `e2e/up`."""

import sys

from .cluster import Cluster
from .ensemble import Ensemble


def after_up(cluster: Cluster, ensemble: Ensemble, seconds: float) -> str:
    """The last words of `e2e/up`: the state, and commands that work as they stand."""
    enter = " ".join(cluster.engine.enter)
    prefix = f"{enter} " if enter else ""
    where = " (the cluster lives in a network namespace of its own: what talks to it is started in there)" if enter else ""
    objects = cluster.kubectl("get", "zke,pods,pvc", "-n", ensemble.namespace)
    return f"""
{objects}
ready after {seconds:.0f} s{where}

  export KUBECONFIG={cluster.kubeconfig}
  {prefix}{cluster.kubectl_program} get zke                     # the ensemble; `describe zke {ensemble.name}` tells more
  {prefix}{cluster.kubectl_program} logs -f {ensemble.name}-0   # a server

connect any ZooKeeper client to {ensemble.hosts()}, for example

  {prefix}{sys.executable} -c 'from kazoo.client import KazooClient; zk = KazooClient("{ensemble.hosts()}"); zk.start(); print(zk.create("/hello", b"world", sequence=True))'

or forward a port of the machine:  {prefix}{cluster.kubectl_program} port-forward service/{ensemble.name}-client 2181

tear down with e2e/down
"""
