package main

import (
	"math/bits"
	"slices"
	"sync/atomic"
	"syscall"
	"time"
)

// golden is 2^64 divided by the golden ratio: its multiples, cut to 64 bits,
// fill the range evenly and jump about in it.
const golden = 0x9E37_79B9_7F4A_7C15

// scattered is the deadline of sleeper i, somewhere in window.
func scattered(i int, window time.Duration) time.Duration {
	part := uint64(i+1) * golden >> 32
	high, low := bits.Mul64(part, uint64(window))
	return time.Duration(high<<32 | low>>32)
}

// busy is the CPU time of all threads of this process so far.
func busy() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		fail(err.Error())
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// sleepers: n goroutines, each asleep until a point of its own within window;
// CPU time of the process for each, from the first go to the last end.
func sleepers(n int, window time.Duration) {
	sleepAll(max(n/10, 1), window/10)
	before := busy()
	sleepAll(n, window)
	perOperation("sleepers", busy()-before, n)
}

func sleepAll(n int, window time.Duration) {
	var ended atomic.Int64
	done := make(chan struct{}, 1)
	for i := range n {
		go func() {
			asked := scattered(i, window)
			begun := time.Now()
			time.Sleep(asked)
			if time.Since(begun) < asked {
				fail("a sleeper woke early")
			}
			if ended.Add(1) == int64(n) {
				done <- struct{}{}
			}
		}()
	}
	<-done
}

// cancelled: n goroutines, each in a receive that gives up after an hour; when
// all of them wait, the channel closes. CPU time of the process for each, from
// the first go to the last end.
func cancelled(n int) {
	cancelAll(max(n/10, 1))
	before := busy()
	cancelAll(n)
	perOperation("cancelled", busy()-before, n)
}

func cancelAll(n int) {
	var arrived, ended atomic.Int64
	stop := make(chan struct{})
	done := make(chan struct{}, 1)
	for range n {
		go func() {
			arrived.Add(1)
			timer := time.NewTimer(time.Hour)
			select {
			case <-stop:
			case <-timer.C:
				fail("a wait ended otherwise than by being cancelled")
			}
			timer.Stop()
			if ended.Add(1) == int64(n) {
				done <- struct{}{}
			}
		}()
	}
	for arrived.Load() < int64(n) {
		time.Sleep(time.Millisecond)
	}
	time.Sleep(200 * time.Millisecond)
	close(stop)
	<-done
}

// timeouts: ping-pong in which each receive gives up after an hour.
func timeouts(ops int) {
	warmed("timeouts", ops, func(ops int) {
		ping, pong := make(chan int), make(chan int)
		done := make(chan struct{})
		go func() {
			for range ops {
				pong <- receiveInTime(ping)
			}
		}()
		go func() {
			for i := range ops {
				ping <- i
				expect(receiveInTime(pong), i)
			}
			close(done)
		}()
		<-done
	})
}

func receiveInTime(in chan int) int {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	select {
	case i := <-in:
		return i
	case <-timer.C:
		fail("an hour has passed")
		return 0
	}
}

// stoppedTimers are made and stopped again, by one goroutine.
func stoppedTimers(ops int) {
	warmed("timer-stop", ops, func(ops int) {
		for range ops {
			if !time.NewTimer(time.Hour).Stop() {
				fail("an hour has passed")
			}
		}
	})
}

// lateness: n sleeps of a millisecond, one after the other, while nothing else
// runs, and how much longer each took.
func lateness(n int) {
	late := make([]time.Duration, n)
	for i := range late {
		begun := time.Now()
		time.Sleep(time.Millisecond)
		late[i] = time.Since(begun) - time.Millisecond
		if late[i] < 0 {
			fail("woke early")
		}
	}
	slices.Sort(late)
	quantile := func(part float64) float64 {
		return float64(late[int(float64(n-1)*part+0.5)].Nanoseconds()) / 1e3
	}
	report("late-p50", quantile(0.5), "us")
	report("late-p99", quantile(0.99), "us")
}
