// grpc-go as a client of the calculator, under orders (tests/bench/orders.ts): client <host:port>. One connection, and a
// goroutine for each call that is under way.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"grpcgo/pi"
)

type order struct {
	N        int32
	Pi       float64
	InFlight int
	Calls    *int64
	Seconds  *float64
}

type done struct {
	Calls   int64   `json:"calls"`
	Seconds float64 `json:"seconds"`
}

func obey(client pi.PiCalculatorClient, what order) done {
	began := time.Now()
	var begun, answered atomic.Int64
	more := func() bool {
		return (what.Calls == nil || begun.Add(1) <= *what.Calls) &&
			(what.Seconds == nil || time.Since(began).Seconds() < *what.Seconds)
	}
	var workers sync.WaitGroup
	for range what.InFlight {
		workers.Go(func() {
			for more() {
				response, err := client.Calc(context.Background(), &pi.PiRequest{N: what.N})
				if err != nil {
					log.Fatal(err)
				}
				if response.Value != what.Pi {
					log.Fatalf("pi(%v) is %v and not %v", what.N, what.Pi, response.Value)
				}
				answered.Add(1)
			}
		})
	}
	workers.Wait()
	return done{answered.Load(), time.Since(began).Seconds()}
}

func main() {
	connection, err := grpc.NewClient(os.Args[1], grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		log.Fatal(err)
	}
	client := pi.NewPiCalculatorClient(connection)
	orders := json.NewDecoder(os.Stdin)
	results := json.NewEncoder(os.Stdout)
	for {
		var what order
		if err := orders.Decode(&what); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			log.Fatal(err)
		}
		if err := results.Encode(obey(client, what)); err != nil {
			log.Fatal(err)
		}
	}
}
