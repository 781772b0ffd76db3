"""`zk` as a person uses it: on a terminal."""

import time

from harness.load import close, connect
from harness.processes import Processes, Server
from harness.runner import case
from harness.shell import TimedOut
from harness.terminal import END, ENTER, INTERRUPT, TAB, UP, Terminal

# Longer than what a person is kept waiting for a completion.
PROMPTLY_SECONDS = 5


@case("terminal: zk is used by a person")
def terminal(world: Processes) -> str:
    """Completion, history, watches while something is typed, Ctrl-C, a server that hangs and one that dies, Ctrl-D."""
    server = world.server()
    server.configure([], clientPort=str(server.client_port))
    server.start()
    command = [world.binary.with_name("zk"), "-server", server.address]
    environment = {"HOME": str(server.folder)}
    with Terminal(command, environment) as screen:
        screen.expect("state:SyncConnected")
        commands(screen)
        watches(screen, server)
        broken(screen, server)
        assert leave(screen) == 0, "Ctrl-D is no failure"
    with Terminal(command, environment) as screen:
        screen.expect("state:SyncConnected")
        screen.do(UP, "get /one")
        screen.do(ENTER, "third", "(CONNECTED")
        screen.do(f"quit{ENTER}")
        assert screen.end() == 0
    return "completed, repeated, pasted, watched, interrupted, and taken up after a server that hung and died"


def commands(screen: Terminal) -> None:
    """Names of commands and paths are completed, lines are taken up again, and given up."""
    screen.do(f"cre{TAB}", "create ")
    screen.do(f"/one first{ENTER}", "Created /one", "(CONNECTED) 1]")
    screen.do(f"create '/with a blank' words{ENTER}", "Created /with a blank", "2]")
    screen.do(f"get /on{TAB}", "2] get /one")
    screen.do(ENTER, "first", "3]")
    screen.do(f"get /w{TAB}", '3] get "/with a blank"')
    screen.do(ENTER, "words", "4]")
    screen.do(f"{UP}{UP}", "4] get /one")
    screen.do(ENTER, "first", "5]")
    # What is no ASCII, and what has no completion.
    screen.do(f"get\u3000/on{TAB}", "get\u3000/one")
    screen.do(INTERRUPT, "\r\n", "5]")
    screen.do(f"get /nothing{TAB}\u00fc", "/nothing\a\u00fc")
    screen.do(INTERRUPT, "\r\n", "5]")
    screen.do("delete /one", "delete /one")
    screen.do(INTERRUPT, "\r\n", "5]")
    screen.do(f"get /one{ENTER}", "first", "6]")
    screen.do(f"get /one{ENTER}get /one{ENTER}", "first", "7]", "first", "8]")
    screen.do(pasted("get /one\rget '/with a blank'\r"), "get /one")
    screen.do(ENTER, "first", "words", "10]")


def pasted(text: str) -> str:
    """What a terminal sends when this is pasted."""
    return f"\x1b[200~{text}\x1b[201~"


def watches(screen: Terminal, server: Server) -> None:
    """A watch tells while a line is being typed, and the line is still there; one that a command waits for ends with Ctrl-C."""
    screen.do(f"get -w /one{ENTER}", "first", "11]")
    screen.do("get /o", "get /o")
    change(server, b"second")
    screen.expect("type:NodeDataChanged path:/one")
    screen.expect("11] get /o")
    screen.do(f"ne{ENTER}", "second", "12]")
    screen.do(f"watch /one{ENTER}", "watch /one\r\n")
    change(server, b"third")
    while not shows(screen, "type:NodeDataChanged path:/one", 1):  # it does not say when it watches
        change(server, b"third")
    screen.do(INTERRUPT, "13]")


def broken(screen: Terminal, server: Server) -> None:
    """Who types is kept waiting neither by a server that hangs nor by none; the session and its watches are there when the server is."""
    screen.do(f"get -w /one{ENTER}", "third", "14]")
    server.suspend()
    start = time.monotonic()
    screen.do(f"get /on{TAB}\u00fc", "get /on\a\u00fc")
    took = time.monotonic() - start
    assert took < PROMPTLY_SECONDS, f"a completion kept its user waiting for {took:.1f} s"
    screen.do(INTERRUPT, "\r\n", "14]")
    server.resume()
    server.kill()
    screen.expect("state:Disconnected")
    screen.do(f"get /one{ENTER}", "ConnectionLoss for /one", "(CONNECTING) 15]")
    server.start()
    screen.expect("state:SyncConnected")
    change(server, b"third")
    screen.expect("type:NodeDataChanged path:/one")
    screen.do(f"get /one{ENTER}", "third", "(CONNECTED) 16]")


def shows(screen: Terminal, text: str, seconds: float) -> bool:
    """Whether this is shown in time."""
    try:
        screen.expect(text, seconds)
    except TimedOut:
        return False
    return True


def change(server: Server, data: bytes) -> None:
    """Somebody else sets /one."""
    client = connect(server.address)
    try:
        client.set("/one", data)
    finally:
        close(client)


def leave(screen: Terminal) -> int:
    """Ctrl-D."""
    screen.type(END)
    return screen.end()
