package main

import (
	"fmt"
	"runtime"
	"slices"
	"sync/atomic"
	"time"
)

// The programs of the stack lab. What they do is described there.

// block is an array of bytes that is alive on a stack.
type block interface {
	[1]byte | [0x400]byte | [0x1000]byte | [0x4000]byte | [0x10000]byte
}

func stackCrowd(count, live, switches int) {
	switch live {
	case 0:
		crowdOf[[1]byte](count, switches)
	case 0x400:
		crowdOf[[0x400]byte](count, switches)
	case 0x1000:
		crowdOf[[0x1000]byte](count, switches)
	case 0x4000:
		crowdOf[[0x4000]byte](count, switches)
	case 0x10000:
		crowdOf[[0x10000]byte](count, switches)
	default:
		fail("live bytes: 0, 1024, 4096, 16384 or 65536")
	}
}

type crowd struct {
	gate              chan struct{}
	done              chan time.Duration
	each, warm, count int
	arrived, ready    atomic.Int64
	finished          atomic.Int64
	open              atomic.Bool
	begun             time.Time
}

func crowdOf[T block](count, switches int) {
	spawnAndWait(1000)
	before := resident()
	each := max(switches/count, 1)
	c := &crowd{
		gate: make(chan struct{}), done: make(chan time.Duration),
		each: each, warm: max(each/10, 1), count: count,
	}
	begun := time.Now()
	for range count {
		go stay[T](c)
	}
	for c.arrived.Load() < int64(count) {
		time.Sleep(time.Millisecond)
	}
	perOperation("start", time.Since(begun), count)
	time.Sleep(200 * time.Millisecond)
	report("memory", float64(max(resident()-before, 0))/float64(count), "bytes")
	close(c.gate)
	perOperation("switch", <-c.done, count*each)
}

func stay[T block](c *crowd) {
	var live T
	use(&live)
	c.arrived.Add(1)
	<-c.gate
	for range c.warm {
		use(&live)
		runtime.Gosched()
	}
	left := c.each
	if c.ready.Add(1) == int64(c.count) {
		c.begun = time.Now()
		c.open.Store(true)
	} else {
		left--
		runtime.Gosched()
		for !c.open.Load() {
			runtime.Gosched()
		}
	}
	for range left {
		use(&live)
		runtime.Gosched()
	}
	if c.finished.Add(1) == int64(c.count) {
		c.done <- time.Since(c.begun)
	}
	// Nobody gives back a stack while others are timed.
	select {}
}

//go:noinline
func use[T block](live *T) {
	(*live)[0]++
}

// stackEdge: calls of one function, timed at each depth.
func stackEdge(depths, calls, rounds int) {
	samples := make([][]float64, depths)
	done := make(chan struct{})
	go func() {
		for range rounds {
			for depth := range depths {
				atDepth(depth, func() {
					begun := time.Now()
					for range calls {
						descend(2)
					}
					samples[depth] = append(samples[depth], float64(time.Since(begun).Nanoseconds())/float64(calls))
				})
			}
		}
		close(done)
	}()
	<-done
	for depth, all := range samples {
		report(fmt.Sprintf("depth-%d", depth), slices.Min(all), "ns")
	}
}

//go:noinline
func atDepth(depth int, f func()) {
	var frame [96]byte
	hold(&frame)
	if depth == 0 {
		f()
	} else {
		atDepth(depth-1, f)
	}
	hold(&frame)
}

//go:noinline
func hold(frame *[96]byte) {
	frame[0] = 1
}
