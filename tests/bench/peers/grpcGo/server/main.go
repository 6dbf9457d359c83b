// The pi calculator as grpc-go's users write it: generated code, the library's defaults.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"math"
	"math/rand/v2"
	"net"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"grpcgo/pi"
)

// What math.Pi loses when it becomes a float64.
const piLow = 1.2246467991473532e-16

// The closed form of src/core/pi/series.ts, line by line.
func closedForm(n int32) float64 {
	t := eightTails(float64(n))
	p := float64(math.Pi)
	return p - (t/(p+math.Sqrt(p*p-t)) - piLow)
}

const asymptoticFrom = 32

func eightTails(n float64) float64 {
	from := math.Max(n, asymptoticFrom)
	y := 1 / (from * from)
	tails := (2 - y*(1.0/6-y*(7.0/120-y*(31.0/672-y*(127.0/1920))))) / from
	for i := from - 1; i >= n; i-- {
		odd := 2*i + 1
		tails += 8 / (odd * odd)
	}
	return tails
}

var errNotPositive = status.Error(codes.InvalidArgument, "request number should be positive")

type calculator struct {
	pi.UnimplementedPiCalculatorServer
}

func (calculator) Calc(_ context.Context, request *pi.PiRequest) (*pi.PiResponse, error) {
	if request.N <= 0 {
		return nil, errNotPositive
	}
	return &pi.PiResponse{Value: closedForm(request.N)}, nil
}

func (calculator) CalcStream(stream grpc.BidiStreamingServer[pi.PiRequest, pi.PiPoint]) error {
	for {
		request, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if request.N <= 0 {
			return errNotPositive
		}
		if rand.Uint32()&1 == 0 {
			continue
		}
		if err := stream.Send(&pi.PiPoint{N: request.N, Value: closedForm(request.N)}); err != nil {
			return err
		}
	}
}

func (calculator) CalcRange(request *pi.PiRange, stream grpc.ServerStreamingServer[pi.PiPoint]) error {
	if request.First <= 0 {
		return errNotPositive
	}
	if request.Last < request.First {
		return status.Error(codes.InvalidArgument, "the range should not end before its first number")
	}
	for n := int64(request.First); n <= int64(request.Last); n++ {
		if err := stream.Send(&pi.PiPoint{N: int32(n), Value: closedForm(int32(n))}); err != nil {
			return err
		}
	}
	return nil
}

func (calculator) Summarize(stream grpc.ClientStreamingServer[pi.PiRequest, pi.PiSummary]) error {
	summary := &pi.PiSummary{}
	for {
		request, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			if summary.Count > 0 {
				summary.MeanError /= float64(summary.Count)
			}
			return stream.SendAndClose(summary)
		}
		if err != nil {
			return err
		}
		if request.N <= 0 {
			return errNotPositive
		}
		value := closedForm(request.N)
		if summary.Count == 0 {
			summary.Min, summary.Max = value, value
		}
		summary.Count++
		summary.Min = math.Min(summary.Min, value)
		summary.Max = math.Max(summary.Max, value)
		summary.MeanError += math.Abs(math.Pi - value)
	}
}

func (calculator) Report(context.Context, *pi.LogEntry) (*emptypb.Empty, error) {
	return &emptypb.Empty{}, nil
}

func main() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("listening on %v\n", listener.Addr())
	server := grpc.NewServer()
	pi.RegisterPiCalculatorServer(server, calculator{})
	if err := server.Serve(listener); err != nil {
		log.Fatal(err)
	}
}
