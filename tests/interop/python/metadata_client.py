# The tutorial's interceptor that adds metadata to all calls, and all that an answer or an error has beside its message.
# Usage: metadata_client.py host:port n [key=value ...], bytes in hex
import sys

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

import pi_pb2
import pi_pb2_grpc


class MetadataInterceptor(grpc.UnaryUnaryClientInterceptor):

    def intercept_unary_unary(self, continuation, client_call_details, request):
        pairs = [argument.split('=', 1) for argument in sys.argv[3:]]
        metadata = [(key, bytes.fromhex(value) if key.endswith('-bin') else value) for key, value in pairs]
        return continuation(client_call_details._replace(metadata=metadata), request)


def show(kind, metadata):
    for key, value in metadata:
        print(kind, key, value.hex() if isinstance(value, bytes) else value)


def show_details(error):
    for detail in rpc_status.from_call(error).details:
        for known in (error_details_pb2.BadRequest(), error_details_pb2.ErrorInfo()):
            if detail.Unpack(known):
                print('detail', type(known).__name__, ' '.join(str(known).split()))


def main():
    channel = grpc.intercept_channel(grpc.insecure_channel(sys.argv[1]), MetadataInterceptor())
    client = pi_pb2_grpc.PiCalculatorStub(channel)
    try:
        response, call = client.Calc.with_call(pi_pb2.PiRequest(n=int(sys.argv[2])))
        print(response.value)
    except grpc.RpcError as e:
        print(e.code(), e.details())
        show_details(e)
        call = e
    show('initial', call.initial_metadata())
    show('trailing', call.trailing_metadata())


if __name__ == '__main__':
    main()
