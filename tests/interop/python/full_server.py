# All methods of proto/pi.proto but Calc, which server.py has.
# Usage: full_server.py host:port
import math
import sys
import time
from concurrent import futures

import grpc
from google.protobuf import any_pb2, empty_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

import pi_pb2
import pi_pb2_grpc


def pi(n):
    s = 0.0
    for i in range(n):
        s += 1.0/(2*i+1)/(2*i+1)
    return math.sqrt(8*s)


def packed(message):
    detail = any_pb2.Any()
    detail.Pack(message)
    return detail


violation = error_details_pb2.BadRequest.FieldViolation(field='first', description='should be positive')
not_positive = status_pb2.Status(
    code=code_pb2.INVALID_ARGUMENT,
    message='request number should be positive',
    details=[
        packed(error_details_pb2.BadRequest(field_violations=[violation])),
        packed(pi_pb2.PiPoint(n=-7, value=0.5)),
        any_pb2.Any(type_url='type.googleapis.com/nobody.Knows', value=b'\x08\x07'),
    ],
)


class PiCalculatorServicer(pi_pb2_grpc.PiCalculatorServicer):

    # Answers the odd ones: half, but always the same half.
    def CalcStream(self, request_iterator, ctx):
        ctx.add_callback(lambda: print('stream over', flush=True))
        for request in request_iterator:
            if request.n % 2 == 1:
                yield pi_pb2.PiPoint(n=request.n, value=pi(request.n))

    # Ends with an error at what the series isn't defined for, be there answers already or not.
    def CalcRange(self, request, ctx):
        for n in range(request.first, request.last + 1):
            if n <= 0:
                ctx.abort_with_status(rpc_status.to_status(not_positive))
            if n > 1000:
                ctx.abort(grpc.StatusCode.OUT_OF_RANGE, '100% of π ends at 1000')
            yield pi_pb2.PiPoint(n=n, value=pi(n))

    def Summarize(self, request_iterator, ctx):
        values = [pi(request.n) for request in request_iterator]
        mean_error = sum(abs(math.pi - value) for value in values) / len(values)
        return pi_pb2.PiSummary(count=len(values), min=min(values), max=max(values), mean_error=mean_error)

    def Report(self, request, ctx):
        print('report', request.level, request.text, request.HasField('time'), flush=True)
        return empty_pb2.Empty()


def main():
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=10))
    pi_pb2_grpc.add_PiCalculatorServicer_to_server(PiCalculatorServicer(), server)
    port = server.add_insecure_port(sys.argv[1])
    server.start()
    try:
        print('serving on port', port, flush=True)
        time.sleep(1000)
    except KeyboardInterrupt:
        server.stop(0)


if __name__ == '__main__':
    main()
