package main

import (
	"syscall"
	"time"
)

// disturbed is the echo server, and beside it as many goroutines as asked for
// that compute for 5 ms or block natively for 20 ms at a time. Between two
// times they sleep three times as long on average, but never the same.
func disturbed(kind string, count int, address string) {
	lasts, once := 5*time.Millisecond, compute
	switch kind {
	case "compute":
	case "block", "call":
		lasts, once = 20*time.Millisecond, blockNatively
	default:
		fail("no disturbance: " + kind)
	}
	for i := range count {
		go func() {
			for n := 0; ; n++ {
				time.Sleep(scattered(i*1_000_003+n, 6*lasts))
				once(lasts)
			}
		}()
	}
	serve(address, echo)
}

// compute computes for that long, and looks at the clock now and then.
func compute(length time.Duration) {
	begun := time.Now()
	word := uint64(1)
	for time.Since(begun) < length {
		for range 1000 {
			word = mix(word)
		}
	}
	if word == 0 {
		fail("an odd number times an odd number is not zero")
	}
}

//go:noinline
func mix(word uint64) uint64 {
	word *= golden
	return word<<17 | word>>47
}

// blockNatively keeps the thread in the kernel for that long, as a call into a C
// library would.
func blockNatively(length time.Duration) {
	left := syscall.NsecToTimespec(length.Nanoseconds())
	for syscall.Nanosleep(&left, &left) == syscall.EINTR {
	}
}
