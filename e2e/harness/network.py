"""A network of this machine alone: each host is a network namespace on one switch, and any direction between two hosts can be cut.

```
   harness 10.77.0.254 ── switch ──┬── 10.77.0.1 (server 1)
                                   ├── 10.77.0.2 (server 2)
                                   └── ...
```

A cut is silent: the receiver drops what comes from the sender, as a broken network does. Connections stay open and go on when it is healed, if nobody
has given them up. All of it belongs to the namespace in which the harness itself runs (`enter`), and goes with it.
"""

import ipaddress
import os
import subprocess
from collections import Counter
from collections.abc import Sequence

from .shell import run

SUBNET = ipaddress.ip_network("10.77.0.0/24")
HARNESS = 254
SWITCH = "switch0"
# Rules of routing, the first that matches counts: who is not heard, then what is for this host itself.
CUT, LOCAL = 1, 9


def enter() -> list[str]:
    """The command that runs another one in a network namespace of its own; it takes root, or a kernel that lets users be root of what is their own."""
    return ["unshare", *([] if os.geteuid() == 0 else ["--map-root-user"]), "--net"]


class Network:
    """The switch and the hosts. Hosts are numbered as the servers are; the harness is one too, and all clients with it."""

    def __init__(self) -> None:
        self._holders: dict[int, subprocess.Popen[bytes]] = {}
        self._cuts: Counter[tuple[int, int]] = Counter()
        _ip("link", "set", "lo", "up")
        _ip("link", "add", SWITCH, "type", "bridge")
        _ip("address", "add", f"{address(HARNESS)}/{SUBNET.prefixlen}", "dev", SWITCH)
        _ip("link", "set", SWITCH, "up")
        _make_room([])

    def add(self, host: int) -> Sequence[str]:
        """Makes a host, unless it is there, and returns the command that runs another one on it."""
        if host not in self._holders:
            # The namespace lives as long as a process that is in it.
            holder = subprocess.Popen(["unshare", "--net", "setpriv", "--pdeathsig", "KILL", "cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            self._holders[host] = holder
            assert holder.stdin and holder.stdout
            holder.stdin.write(b"\n")
            holder.stdin.flush()
            holder.stdout.readline()  # it is there
            port, wire = f"port{host}", f"wire{host}"
            _ip("link", "add", port, "type", "veth", "peer", "name", wire)
            _ip("link", "set", port, "master", SWITCH, "up")
            _ip("link", "set", wire, "netns", str(holder.pid))
            inside = self._inside(host)
            for words in (
                ["link", "set", "lo", "up"],
                ["address", "add", f"{address(host)}/{SUBNET.prefixlen}", "dev", wire],
                ["link", "set", wire, "up"],
            ):
                _ip(*words, inside=inside)
            _make_room(inside)
        return self._inside(host)

    def cut(self, sender: int, receiver: int) -> None:
        """Nothing that the one sends reaches the other any more, until it is healed as often as it was cut. One of them may be the harness."""
        self._cuts[sender, receiver] += 1
        if self._cuts[sender, receiver] == 1:
            self._rule("add", sender, receiver)

    def heal(self, sender: int, receiver: int) -> None:
        """Takes a cut back."""
        self._cuts[sender, receiver] -= 1
        if not self._cuts[sender, receiver]:
            self._rule("del", sender, receiver)

    def heal_all(self) -> None:
        """Everybody hears everybody."""
        for pair in list(self._cuts.elements()):
            self.heal(*pair)

    def close(self) -> None:
        """Ends what keeps the hosts, and removes the switch."""
        for holder in self._holders.values():
            holder.kill()
            holder.wait()
        self._holders.clear()
        _ip("link", "del", SWITCH)

    def _rule(self, what: str, sender: int, receiver: int) -> None:
        wire = SWITCH if receiver == HARNESS else f"wire{receiver}"
        _ip("rule", what, "pref", str(CUT), "from", address(sender), "iif", wire, "blackhole", inside=self._inside(receiver))

    def _inside(self, host: int) -> list[str]:
        return [] if host == HARNESS else ["nsenter", f"--target={self._holders[host].pid}", "--net"]


def address(host: int) -> str:
    """Where a host is."""
    return str(SUBNET.network_address + host)


def _ip(*words: str, inside: Sequence[str] = ()) -> None:
    run([*inside, "ip", *words])


def _make_room(inside: Sequence[str]) -> None:
    """For cuts, which must be asked first, and for every packet."""
    _ip("rule", "add", "pref", str(LOCAL), "lookup", "local", inside=inside)
    _ip("rule", "del", "pref", "0", inside=inside)
    run([*inside, "sysctl", "-qw", "net.ipv4.ip_early_demux=0"])  # else an open connection knows the way
