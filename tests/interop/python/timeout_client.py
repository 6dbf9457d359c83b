# The tutorial's timeout.
# Usage: timeout_client.py host:port n seconds
import sys

import grpc

import pi_pb2
import pi_pb2_grpc


def main():
    channel = grpc.insecure_channel(sys.argv[1])
    client = pi_pb2_grpc.PiCalculatorStub(channel)
    i = int(sys.argv[2])
    try:
        print("pi(%d) =" % i, client.Calc(pi_pb2.PiRequest(n=i), timeout=float(sys.argv[3])).value)
    except grpc.RpcError as e:
        print(e.code(), e.details())


if __name__ == '__main__':
    main()
