# All four kinds of calls that the tutorial tells of, and its one-way message.
# Usage: kinds_client.py host:port
import sys
import threading

import grpc
from google.protobuf import timestamp_pb2

import pi_pb2
import pi_pb2_grpc


def requests(numbers):
    for n in numbers:
        yield pi_pb2.PiRequest(n=n)


def unary(client):
    print('Calc', 999, client.Calc(pi_pb2.PiRequest(n=999)).value)


def server_streaming(client):
    for point in client.CalcRange(pi_pb2.PiRange(first=1, last=999)):
        print('CalcRange', point.n, point.value)


def client_streaming(client):
    summary = client.Summarize(requests(range(1, 1000)))
    print('Summarize', summary.count, summary.min, summary.max, summary.mean_error)


def bidi_streaming(client):
    answered = threading.Event()

    # Goes on when there is an answer to the first fifty: so the server answers before it has seen the end.
    def generate_request():
        yield from requests(range(1, 51))
        answered.wait()
        yield from requests(range(51, 1000))

    for point in client.CalcStream(generate_request()):
        answered.set()
        print('CalcStream', point.n, point.value)


def one_way(client):
    time = timestamp_pb2.Timestamp(seconds=1528070400)
    answer = client.Report(pi_pb2.LogEntry(time=time, level='warning', text='π is near'))
    print('Report', type(answer).__name__)


# Some answers, and then an error.
def failed(client):
    try:
        for _ in client.CalcStream(requests([*range(1, 51), 0])):
            pass
    except grpc.RpcError as e:
        print('failed', e.code(), e.details())


def main():
    channel = grpc.insecure_channel(sys.argv[1])
    client = pi_pb2_grpc.PiCalculatorStub(channel)
    for call in (unary, server_streaming, client_streaming, bidi_streaming, one_way, failed):
        call(client)


if __name__ == '__main__':
    main()
