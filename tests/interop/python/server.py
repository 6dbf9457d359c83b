# The tutorial's server, with the error handling it comes to later.
# Usage: server.py host:port [seconds to sleep in each call]
import math
import sys
import time
from concurrent import futures

import grpc

import pi_pb2
import pi_pb2_grpc


# Not in the tutorial: tells the client what metadata and which deadline arrived.
def echo(ctx):
    ctx.send_initial_metadata([(key, value) for key, value in ctx.invocation_metadata() if key.startswith('x-')])
    ctx.set_trailing_metadata([('x-served-by', 'grpcio'), ('x-time-remaining', str(ctx.time_remaining()))])


class PiCalculatorServicer(pi_pb2_grpc.PiCalculatorServicer):

    def __init__(self, delay):
        self.delay = delay

    def Calc(self, request, ctx):
        echo(ctx)
        time.sleep(self.delay)
        if request.n <= 0:
            ctx.set_code(grpc.StatusCode.INVALID_ARGUMENT)
            ctx.set_details('request number should be positive')
            # an empty answer is needed all the same
            return pi_pb2.PiResponse()
        s = 0.0
        for i in range(request.n):
            s += 1.0/(2*i+1)/(2*i+1)
        return pi_pb2.PiResponse(value=math.sqrt(8*s))


def main():
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=10))
    servicer = PiCalculatorServicer(float(sys.argv[2]) if len(sys.argv) > 2 else 0)
    pi_pb2_grpc.add_PiCalculatorServicer_to_server(servicer, server)
    port = server.add_insecure_port(sys.argv[1])
    server.start()
    try:
        print('serving on port', port, flush=True)
        time.sleep(1000)
    except KeyboardInterrupt:
        server.stop(0)


if __name__ == '__main__':
    main()
