# The tutorial's streaming server, for proto/streaming/pi.proto.
# Usage: streaming_server.py host:port
import math
import random
import sys
import time
from concurrent import futures

import grpc

import pi_pb2
import pi_pb2_grpc


class PiCalculatorServicer(pi_pb2_grpc.PiCalculatorServicer):

    def Calc(self, request_iterator, ctx):
        for request in request_iterator:
            # about half of the requests get no answer
            if random.randint(0, 1) == 1:
                continue
            s = 0.0
            for i in range(request.n):
                s += 1.0/(2*i+1)/(2*i+1)
            # The tutorial has n=i, the loop's last, which is one too small; its text says that n is the request's.
            yield pi_pb2.PiResponse(n=request.n, value=math.sqrt(8*s))


def main():
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=10))
    servicer = PiCalculatorServicer()
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
