package main

import (
	"fmt"
	"runtime"
	"sync/atomic"
	"time"
)

// yield: n goroutines share ops yields. All wait behind a gate until the last
// is spawned, warm up, and meet at a starting line, where the wait is itself
// made of yields. The yield in which a goroutine notices the start is its
// first, so that exactly ops of them are timed.
func yield(n, ops int) {
	each := max(ops/n, 1)
	warm := max(each/10, 1)
	var arrived, finished atomic.Int64
	var open atomic.Bool
	var begun time.Time
	gate := make(chan struct{})
	done := make(chan time.Duration)
	for range n {
		go func() {
			<-gate
			for range warm {
				runtime.Gosched()
			}
			left := each
			if arrived.Add(1) == int64(n) {
				begun = time.Now()
				open.Store(true)
			} else {
				for {
					runtime.Gosched()
					if open.Load() {
						break
					}
				}
				left--
			}
			for range left {
				runtime.Gosched()
			}
			if finished.Add(1) == int64(n) {
				done <- time.Since(begun)
			}
		}()
	}
	close(gate)
	perOperation("yield", <-done, n*each)
}

// spawn: n goroutines that end at once, from the first spawn to the last end.
func spawn(n int) {
	spawnAndWait(max(n/10, 1))
	perOperation("spawn", spawnAndWait(n), n)
}

func spawnAndWait(n int) time.Duration {
	finish := newFinish(n)
	begun := time.Now()
	for range n {
		go finish.one()
	}
	<-finish.done
	return time.Since(begun)
}

// finish counts the goroutines that ended; the last one sends.
type finish struct {
	left atomic.Int64
	done chan struct{}
}

func newFinish(n int) *finish {
	f := &finish{done: make(chan struct{}, 1)}
	f.left.Store(int64(n))
	return f
}

func (f *finish) one() {
	if f.left.Add(-1) == 0 {
		f.done <- struct{}{}
	}
}

// parked is what the goroutines of park share: one pointer for each of them to
// keep, as in the other peers.
type parked struct {
	arrived  atomic.Int64
	messages chan int
	finish   *finish
}

func (p *parked) stay() {
	p.arrived.Add(1)
	<-p.messages
	p.finish.one()
}

// park: n goroutines, each in a receive on one shared unbuffered channel; what
// each costs in memory, and the time to send each a message and see all end.
func park(n int) {
	spawnAndWait(1000)
	before := resident()
	p := &parked{messages: make(chan int), finish: newFinish(n)}
	for range n {
		go p.stay()
	}
	for p.arrived.Load() < int64(n) {
		time.Sleep(time.Millisecond)
	}
	time.Sleep(200 * time.Millisecond)
	report("park", float64(resident()-before)/float64(n), "bytes")

	begun := time.Now()
	for i := range n {
		p.messages <- i
	}
	<-p.finish.done
	perOperation("wake", time.Since(begun), n)
}

// hello: one goroutine says hello, and the one that started it waits for that.
func hello() {
	done := make(chan struct{})
	go func() {
		fmt.Println("hello")
		close(done)
	}()
	<-done
}

// deep: recursion in one goroutine, twice, so that the second time shows what
// the first one left behind.
func deep(depth int) {
	done := make(chan struct{})
	go func() {
		for _, name := range []string{"deep-first", "deep-second"} {
			begun := time.Now()
			descend(depth)
			report(name, time.Since(begun).Seconds()*1e3, "ms")
		}
		close(done)
	}()
	<-done
}

// frameBytes is the size of the local array in each frame of the recursion.
const frameBytes = 256

//go:noinline
func descend(depth int) int {
	var frame [frameBytes]byte
	touch(&frame, depth)
	if depth == 0 {
		return 0
	}
	return descend(depth-1) + int(frame[depth%frameBytes])
}

//go:noinline
func touch(frame *[frameBytes]byte, depth int) {
	frame[depth%frameBytes] = 1
}
