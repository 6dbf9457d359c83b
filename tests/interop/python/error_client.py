# The tutorial's client that handles errors.
# Usage: error_client.py host:port
import sys

import grpc

import pi_pb2
import pi_pb2_grpc


def main():
    channel = grpc.insecure_channel(sys.argv[1])
    client = pi_pb2_grpc.PiCalculatorStub(channel)
    for i in range(2):
        try:
            print("pi(%d) =" % i, client.Calc(pi_pb2.PiRequest(n=i)).value)
        except grpc.RpcError as e:
            print(e.code(), e.details())


if __name__ == '__main__':
    main()
