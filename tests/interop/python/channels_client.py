# Many connections at once, with several calls on each.
# Usage: channels_client.py host:port
import sys
from concurrent import futures

import grpc

import pi_pb2
import pi_pb2_grpc

CHANNELS = 64
CALLS = 10


def points(address, k):
    # by default channels of one process share their connections
    with grpc.insecure_channel(address, options=[('grpc.use_local_subchannel_pool', 1)]) as channel:
        client = pi_pb2_grpc.PiCalculatorStub(channel)
        first = k * CALLS + 1
        asked = [client.Calc.future(pi_pb2.PiRequest(n=n)) for n in range(first, first + CALLS)]
        streamed = client.CalcRange(pi_pb2.PiRange(first=first, last=first + CALLS - 1))
        return [(point.n, future.result().value, point.value) for future, point in zip(asked, streamed)]


def main():
    with futures.ThreadPoolExecutor(max_workers=CHANNELS) as pool:
        for answers in pool.map(lambda k: points(sys.argv[1], k), range(CHANNELS)):
            for n, asked, streamed in answers:
                assert asked == streamed
                print(n, asked)


if __name__ == '__main__':
    main()
