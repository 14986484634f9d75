package kerneltest_test

import (
	"context"
	"fmt"
	"log"

	"github.com/ds-sandbox/ds-sandbox/kernel/kerneltest"
	"github.com/ds-sandbox/ds-sandbox/messaging"
)

func Example() {
	k := kerneltest.New(nil)
	defer k.Close()
	k.On("1/0", func(c *kerneltest.Call) {
		c.Stream(messaging.Stdout, "about to divide\n")
		c.Error("ZeroDivisionError", "division by zero")
	})

	transport := kerneltest.Pipe(k)
	defer transport.Close() //nolint:errcheck // an example
	request, err := messaging.NewSession("").New(messaging.Shell, &messaging.ExecuteRequest{Code: "1/0"})
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	if err := transport.Send(ctx, request); err != nil {
		log.Fatal(err)
	}
	for range 6 {
		m, err := transport.Recv(ctx)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(m.Channel, m.Header.MsgType, m.ParentID() == request.Header.MsgID)
	}
	// Output:
	// iopub status true
	// iopub execute_input true
	// iopub stream true
	// iopub error true
	// shell execute_reply true
	// iopub status true
}
