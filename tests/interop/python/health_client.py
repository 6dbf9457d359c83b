# grpcio's own client of gRPC's health service.
# Usage: health_client.py host:port service...
import sys

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

name = health_pb2.HealthCheckResponse.ServingStatus.Name


def main():
    client = health_pb2_grpc.HealthStub(grpc.insecure_channel(sys.argv[1]))
    for service in sys.argv[2:]:
        request = health_pb2.HealthCheckRequest(service=service)
        try:
            print('Check', service, name(client.Check(request).status))
        except grpc.RpcError as e:
            print('Check', service, e.code().name)
        watch = client.Watch(request)
        print('Watch', service, name(next(watch).status))
        watch.cancel()


if __name__ == '__main__':
    main()
