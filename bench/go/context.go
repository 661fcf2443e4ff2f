package main

import (
	"context"
	"time"
)

// contextWide: one context with n children, made and cancelled.
func contextWide(n int) {
	contextTree("wide", n, func(root, _ context.Context) context.Context { return root })
}

// contextChain: n contexts, each the child of the one before.
func contextChain(n int) {
	contextTree("chain", n, func(_, last context.Context) context.Context { return last })
}

// contextTree makes n contexts below a root, cancels the root, and looks at
// all of them. parent picks the next one's out of the root and the last one.
func contextTree(name string, n int, parent func(root, last context.Context) context.Context) {
	for _, timed := range []bool{false, true} {
		root, cancel := context.WithCancel(context.Background())
		made := make([]context.Context, n)
		cancels := make([]context.CancelFunc, n)
		last := root
		begun := time.Now()
		for i := range made {
			last, cancels[i] = context.WithCancel(parent(root, last))
			made[i] = last
		}
		making := time.Since(begun)

		begun = time.Now()
		cancel()
		cancelling := time.Since(begun)
		for _, each := range made {
			if each.Err() != context.Canceled {
				fail("a context was not cancelled")
			}
		}
		for _, each := range cancels {
			each()
		}
		if timed {
			perOperation(name+"-make", making, n)
			perOperation(name+"-cancel", cancelling, n)
		}
	}
}
