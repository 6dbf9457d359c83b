# Leaves a stream that would go on for hours, and calls again.
# Usage: cancel_client.py host:port
import sys

import grpc

import pi_pb2
import pi_pb2_grpc


def main():
    channel = grpc.insecure_channel(sys.argv[1])
    client = pi_pb2_grpc.PiCalculatorStub(channel)
    points = client.CalcRange(pi_pb2.PiRange(first=1, last=2**31 - 1))
    for point in points:
        print("pi(%d) =" % point.n, point.value)
        if point.n == 3:
            break
    # A server that is busy with one call has to answer others.
    print("pi(%d) =" % 4, client.Calc(pi_pb2.PiRequest(n=4), timeout=2).value)
    points.cancel()
    print(points.code())


if __name__ == '__main__':
    main()
