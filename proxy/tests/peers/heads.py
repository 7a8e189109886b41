"""An origin of HTTP/1.1 that answers each request with the bytes of its head and its
trailers, and one for `/refused-so-far` with all heads and trailers in which `refused`
was, which should be in none.

Prints its port, and ends with who started it."""

import os
import socketserver
import sys
import threading

REFUSED = []


def note(fields):
    if b"refused" in fields:
        REFUSED.append(fields)


class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        while head := self.head():
            if b"/refused-so-far" in head:
                answer = b"".join(REFUSED)
            else:
                # Whether or not the body comes to an end.
                note(head)
                trailers = self.skip_body(head.lower())
                note(trailers)
                answer = head + trailers
            self.wfile.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(answer))
            if not head.startswith(b"HEAD "):
                self.wfile.write(answer)

    def head(self):
        """Any line ends it that is empty, since what is looked for may be just that."""
        head = b""
        while line := self.rfile.readline():
            head += line
            if not line.strip():
                return head
        return None

    def skip_body(self, head):
        if b"\r\ntransfer-encoding: chunked" in head:
            while length := int(self.rfile.readline(), 16):
                self.rfile.read(length + 2)
            return self.head() or b""
        if b"\r\ncontent-length: " in head:
            self.rfile.read(int(head.split(b"\r\ncontent-length: ")[1].split(b"\r\n")[0]))
        return b""


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    # Hundreds are asked for at once.
    request_queue_size = 1024

    def handle_error(self, request, client_address):
        """A connection that is cut off costs only itself."""


server = Server(("127.0.0.1", 0), Handler)
print(server.server_address[1], flush=True)
threading.Thread(target=server.serve_forever, daemon=True).start()
sys.stdin.read()
os._exit(0)
