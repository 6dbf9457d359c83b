# grpc.testing.TestService, as gRPC's own interop clients want it.
# Usage: test_server.py host:port [gzip]; with it all answers are compressed, whatever their client accepts
import sys
import time
from concurrent import futures

import grpc

import test_pb2
import test_pb2_grpc


def payload(size):
    return test_pb2.Payload(body=bytes(size))


def picked(ctx, key):
    return [(name, value) for name, value in ctx.invocation_metadata() if name == key]


def echo_metadata(ctx):
    ctx.send_initial_metadata(picked(ctx, 'x-grpc-test-echo-initial'))
    ctx.set_trailing_metadata(picked(ctx, 'x-grpc-test-echo-trailing-bin'))


def fail_as_asked(request, ctx):
    for code in grpc.StatusCode:
        if code.value[0] == request.response_status.code != 0:
            ctx.abort(code, request.response_status.message)


def answers(request):
    for parameters in request.response_parameters:
        time.sleep(parameters.interval_us / 1e6)
        yield test_pb2.StreamingOutputCallResponse(payload=payload(parameters.size))


class TestServicer(test_pb2_grpc.TestServiceServicer):

    def EmptyCall(self, request, ctx):
        return test_pb2.Empty()

    def UnaryCall(self, request, ctx):
        echo_metadata(ctx)
        fail_as_asked(request, ctx)
        return test_pb2.SimpleResponse(payload=payload(request.response_size))

    def StreamingOutputCall(self, request, ctx):
        yield from answers(request)

    def StreamingInputCall(self, request_iterator, ctx):
        size = sum(len(request.payload.body) for request in request_iterator)
        return test_pb2.StreamingInputCallResponse(aggregated_payload_size=size)

    def FullDuplexCall(self, request_iterator, ctx):
        echo_metadata(ctx)
        for request in request_iterator:
            fail_as_asked(request, ctx)
            yield from answers(request)


def main():
    compression = grpc.Compression.Gzip if 'gzip' in sys.argv[2:] else None
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=20), compression=compression)
    test_pb2_grpc.add_TestServiceServicer_to_server(TestServicer(), server)
    port = server.add_insecure_port(sys.argv[1])
    server.start()
    try:
        print('serving on port', port, flush=True)
        time.sleep(1000)
    except KeyboardInterrupt:
        server.stop(0)


if __name__ == '__main__':
    main()
