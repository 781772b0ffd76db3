"""What the relay passes on at once, and what late."""

import http.client
import http.server
import threading
import time
import unittest

from .late import Relay, is_watch

DELAY_SECONDS = 0.5


class Source(http.server.BaseHTTPRequestHandler):
    """An API server of three answers: a watch of two events, a tenth of a second apart, what was sent, and a refusal."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if is_watch(self.path):
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for event in (b"one\n", b"two\n"):
                self.wfile.write(b"%x\r\n%s\r\n" % (len(event), event))
                time.sleep(0.1)
            self.wfile.write(b"0\r\n\r\n")
        else:
            self.answer(404, b"no such thing")

    def do_PUT(self):
        sent = self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(200, self.headers["Authorization"].encode() + b" sent " + sent)

    def answer(self, status: int, body: bytes):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format, *args):
        pass


class Late(unittest.TestCase):
    """A watch's answer is late, its pieces keep their order and distance, and everything else is passed on at once."""

    def setUp(self):
        source = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Source)
        threading.Thread(target=source.serve_forever, daemon=True).start()
        self.addCleanup(source.server_close)
        self.addCleanup(source.shutdown)
        self.relay = self.enterContext(Relay("127.0.0.1", source.server_address, None, DELAY_SECONDS).running())
        self.client = http.client.HTTPConnection(*self.relay.server_address)
        self.addCleanup(self.client.close)

    def ask(self, method: str, path: str, body: bytes | None = None) -> http.client.HTTPResponse:
        self.client.request(method, path, body, {"Authorization": "Bearer me"})
        return self.client.getresponse()

    def test_a_watch_is_late(self):
        began, came = time.monotonic(), []
        answer = self.ask("GET", "/api/v1/pods?watch=true&resourceVersion=1")
        while line := answer.readline():
            came.append((line, time.monotonic() - began))
        self.assertEqual([line for line, _ in came], [b"one\n", b"two\n"])
        self.assertTrue(all(after >= DELAY_SECONDS for _, after in came), came)
        self.assertGreater(came[1][1] - came[0][1], 0.05)
        self.assertEqual(self.relay.late, 2)

    def test_what_is_no_watch_is_not_held_up(self):
        for _ in range(2):  # over one connection
            answer = self.ask("PUT", "/apis/x?watch=false", b"this")
            self.assertEqual((answer.status, answer.read()), (200, b"Bearer me sent this"))
            answer = self.ask("GET", "/api/v1/pods")
            self.assertEqual((answer.status, answer.read()), (404, b"no such thing"))
        self.assertEqual(self.relay.late, 0)


if __name__ == "__main__":
    unittest.main()
