"""A server and a client of gRPC, by grpcio, without generated code.

`serve` prints its port and what happens; `call ADDRESS WHAT` makes calls and ends
with 0 when all of them did as they should."""

import sys
import threading
import time
from concurrent import futures

import grpc

MESSAGES = 10_000
LARGE = 8 * 1024 * 1024
OPTIONS = [
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
]


class Echo(grpc.GenericRpcHandler):
    def service(self, details):
        name = details.method.rsplit("/", 1)[1]
        return {
            "Unary": grpc.unary_unary_rpc_method_handler(self.unary),
            "Fail": grpc.unary_unary_rpc_method_handler(self.fail),
            "Down": grpc.unary_stream_rpc_method_handler(self.down),
            "Up": grpc.stream_unary_rpc_method_handler(self.up),
            "Both": grpc.stream_stream_rpc_method_handler(self.both),
            "Hang": grpc.unary_stream_rpc_method_handler(self.hang),
        }.get(name)

    def unary(self, request, context):
        context.set_trailing_metadata([("x-length", str(len(request)))])
        return request

    def fail(self, request, context):
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not \u00e9 now")

    def down(self, request, context):
        size = int(request)
        for number in range(MESSAGES if size < 1000 else 16):
            yield (b"%08d" % number).ljust(size, b".")

    def up(self, requests, context):
        count = total = 0
        for request in requests:
            count += 1
            total += len(request)
        return b"%d %d" % (count, total)

    def both(self, requests, context):
        for request in requests:
            yield request

    def hang(self, request, context):
        over = threading.Event()
        context.add_callback(over.set)
        yield b"begun"
        over.wait()
        print("cancelled", flush=True)


def serve():
    server = grpc.server(futures.ThreadPoolExecutor(16), options=OPTIONS)
    server.add_generic_rpc_handlers([Echo()])
    print(server.add_insecure_port("127.0.0.1:0"), flush=True)
    server.start()
    # Until the test closes the pipe.
    sys.stdin.read()


class Calls:
    def __init__(self, address):
        self.channel = grpc.insecure_channel(address, options=OPTIONS)

    def unary(self, name, request=b"hello", **more):
        return self.channel.unary_unary("/test.Echo/" + name).with_call(request, **more)

    def all(self):
        answer, call = self.unary("Unary")
        assert answer == b"hello"
        assert dict(call.trailing_metadata())["x-length"] == "5"
        self.expect("Fail", grpc.StatusCode.FAILED_PRECONDITION, "not \u00e9 now")
        self.expect("Missing", grpc.StatusCode.UNIMPLEMENTED)

        large = b"x" * LARGE
        assert self.unary("Unary", large)[0] == large

        down = self.channel.unary_stream("/test.Echo/Down")
        assert [int(m) for m in down(b"8")] == list(range(MESSAGES))

        up = self.channel.stream_unary("/test.Echo/Up")
        assert up(b"12345678" for _ in range(MESSAGES)) == b"%d %d" % (MESSAGES, 8 * MESSAGES)

        # Each message waits for the answer to the one before.
        both = self.channel.stream_stream("/test.Echo/Both")
        turn = threading.Semaphore(1)

        def requests():
            for number in range(MESSAGES):
                turn.acquire()
                yield b"%d" % number

        for number, answer in enumerate(both(requests())):
            assert answer == b"%d" % number
            turn.release()
        assert number == MESSAGES - 1

        self.slow_reader(down)
        self.cancel()
        self.late()

    def slow_reader(self, down):
        """Others are answered while a stream of 16 MiB is hardly read."""
        stream = down(b"%d" % (1024 * 1024))
        next(stream)
        for _ in range(100):
            assert self.unary("Unary")[0] == b"hello"
        assert sum(1 for _ in stream) == 15

    def cancel(self):
        hanging = self.channel.unary_stream("/test.Echo/Hang")(b"")
        assert next(hanging) == b"begun"
        hanging.cancel()

    def late(self):
        begun = time.monotonic()
        stream = self.channel.unary_stream("/test.Echo/Hang")(b"", timeout=0.5)
        try:
            for _ in stream:
                pass
        except grpc.RpcError as error:
            assert error.code() == grpc.StatusCode.DEADLINE_EXCEEDED, error
        else:
            raise AssertionError("a call without end has ended")
        assert time.monotonic() - begun < 30

    def expect(self, name, code, message=None):
        try:
            self.unary(name)
        except grpc.RpcError as error:
            assert error.code() == code, error
            assert message is None or error.details() == message, error.details()
        else:
            raise AssertionError(f"{name} has not failed")


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve()
    else:
        calls = Calls(sys.argv[2])
        if sys.argv[3] == "all":
            calls.all()
        else:
            code = getattr(grpc.StatusCode, sys.argv[3])
            message = sys.argv[4] if len(sys.argv) > 4 else None
            calls.expect("Unary", code, message)
