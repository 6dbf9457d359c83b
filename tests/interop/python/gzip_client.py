# The tutorial's channel options for compression.
# Usage: gzip_client.py host:port
import sys

import grpc
from grpc._cython.cygrpc import CompressionAlgorithm
from grpc._cython.cygrpc import CompressionLevel

import pi_pb2
import pi_pb2_grpc


def main():
    # The tutorial's second key begins with 'grpc.grpc.', which gRPC doesn't know.
    chan_ops = [('grpc.default_compression_algorithm', CompressionAlgorithm.gzip),
                ('grpc.default_compression_level', CompressionLevel.high)]

    channel = grpc.insecure_channel(sys.argv[1], chan_ops)
    client = pi_pb2_grpc.PiCalculatorStub(channel)
    print("pi(%d) =" % 999, client.Calc(pi_pb2.PiRequest(n=999)).value)
    # gRPC sends a message as it is when it wouldn't get smaller, so one that does follows.
    client.Report(pi_pb2.LogEntry(text='pi' * 1000))


if __name__ == '__main__':
    main()
