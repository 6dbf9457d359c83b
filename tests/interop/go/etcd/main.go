// A pi calculator's server and its client that find each other through etcd, as grpc-go's users write them.
package main

import (
	"context"
	"fmt"
	"log"
	"math"
	"net"
	"os"
	"os/signal"
	"strconv"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/naming/endpoints"
	"go.etcd.io/etcd/client/v3/naming/resolver"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/peer"

	"grpcgo/pi"
)

type calculator struct {
	pi.UnimplementedPiCalculatorServer
}

func (calculator) Calc(_ context.Context, request *pi.PiRequest) (*pi.PiResponse, error) {
	sum := 0.0
	for i := range request.N {
		odd := 2*float64(i) + 1
		sum += 1 / (odd * odd)
	}
	return &pi.PiResponse{Value: math.Sqrt(8 * sum)}, nil
}

const leaseSeconds = 2

// Serves on a free port, registered until Ctrl-C.
func serve(ctx context.Context, etcd *clientv3.Client, service string) error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	address := listener.Addr().String()
	manager, err := endpoints.NewManager(etcd, service)
	if err != nil {
		return err
	}
	lease, err := etcd.Grant(ctx, leaseSeconds)
	if err != nil {
		return err
	}
	renewals, err := etcd.KeepAlive(ctx, lease.ID)
	if err != nil {
		return err
	}
	go func() {
		for range renewals {
		}
	}()
	key := service + "/" + address
	endpoint := endpoints.Endpoint{Addr: address, Metadata: map[string]string{"by": "grpc-go"}}
	if err := manager.AddEndpoint(ctx, key, endpoint, clientv3.WithLease(lease.ID)); err != nil {
		return err
	}
	server := grpc.NewServer()
	pi.RegisterPiCalculatorServer(server, calculator{})
	go func() {
		<-ctx.Done()
		if err := manager.DeleteEndpoint(context.Background(), key); err != nil {
			log.Print(err)
		}
		server.GracefulStop()
	}()
	fmt.Printf("listening on %s\n", address)
	return server.Serve(listener)
}

// Calls whoever is registered, in turn, and says what it got from whom, until Ctrl-C.
func call(ctx context.Context, etcd *clientv3.Client, service string, n int32) error {
	builder, err := resolver.NewBuilder(etcd)
	if err != nil {
		return err
	}
	connection, err := grpc.NewClient(
		"etcd:///"+service,
		grpc.WithResolvers(builder),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultServiceConfig(`{"loadBalancingConfig":[{"round_robin":{}}]}`),
	)
	if err != nil {
		return err
	}
	defer connection.Close()
	client := pi.NewPiCalculatorClient(connection)
	for {
		var server peer.Peer
		response, err := client.Calc(ctx, &pi.PiRequest{N: n}, grpc.WaitForReady(true), grpc.Peer(&server))
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		fmt.Printf("pi(%d) = %v from %v\n", n, response.Value, server.Addr)
		time.Sleep(20 * time.Millisecond)
	}
}

func run() error {
	if len(os.Args) < 4 {
		return fmt.Errorf("usage: %s serve|call host:port-of-etcd service [n]", os.Args[0])
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	etcd, err := clientv3.New(clientv3.Config{Endpoints: []string{os.Args[2]}})
	if err != nil {
		return err
	}
	defer etcd.Close()
	if os.Args[1] == "serve" {
		return serve(ctx, etcd, os.Args[3])
	}
	n, err := strconv.ParseInt(os.Args[4], 10, 32)
	if err != nil {
		return err
	}
	return call(ctx, etcd, os.Args[3], int32(n))
}

func main() {
	if err := run(); err != nil {
		log.Fatal(err)
	}
}
