package main

import (
	"fmt"
	"time"
)

// warmed runs the case with a tenth of the work first, and times the second run.
func warmed(name string, ops int, run func(ops int)) {
	run(max(ops/10, 1))
	begun := time.Now()
	run(ops)
	perOperation(name, time.Since(begun), ops)
}

// expect ends the program if a case has not done what it should have.
func expect(got, want int) {
	if got != want {
		fail(fmt.Sprintf("got %d instead of %d", got, want))
	}
}

// sumBelow is what the messages 0 to n-1 of one sender add up to.
func sumBelow(n int) int {
	return n * (n - 1) / 2
}

// pingPong: two goroutines, two unbuffered channels, ops round trips.
func pingPong(ops int) {
	warmed("pingpong", ops, func(ops int) {
		ping, pong := make(chan int), make(chan int)
		done := make(chan struct{})
		go func() {
			for range ops {
				pong <- <-ping
			}
		}()
		go func() {
			for i := range ops {
				ping <- i
				expect(<-pong, i)
			}
			close(done)
		}()
		<-done
	})
}

// oneToOne: one sender, one receiver, ops messages.
func oneToOne(name string, capacity, ops int) {
	warmed(name, ops, func(ops int) {
		messages := make(chan int, capacity)
		done := make(chan struct{})
		go func() {
			for i := range ops {
				messages <- i
			}
		}()
		go func() {
			for i := range ops {
				expect(<-messages, i)
			}
			close(done)
		}()
		<-done
	})
}

// fourToFour: four senders and four receivers on one channel of 128.
func fourToFour(ops int) {
	warmed("fourfour128", ops/4*4, func(ops int) {
		each := ops / 4
		messages := make(chan int, 128)
		done := make(chan int)
		for range 4 {
			go func() {
				for i := range each {
					messages <- i
				}
			}()
			go func() {
				sum := 0
				for range each {
					sum += <-messages
				}
				done <- sum
			}()
		}
		expect(<-done+<-done+<-done+<-done, 4*sumBelow(each))
	})
}

// ring: n goroutines in a ring of unbuffered channels pass one token on for
// about hops hops, in whole rounds. The token counts them.
func ring(n, hops int) {
	rounds := max(hops/n, 1)
	lap := func(rounds int) {
		links := make([]chan int, n)
		for i := range links {
			links[i] = make(chan int)
		}
		done := make(chan struct{}, n)
		for i := range n {
			from, to := links[i], links[(i+1)%n]
			go func() {
				for round := range rounds {
					token := <-from
					expect(token, round*n+i)
					// The last hop of all has nobody left to receive it.
					if token+1 < rounds*n {
						to <- token + 1
					}
				}
				done <- struct{}{}
			}()
		}
		links[0] <- 0
		for range n {
			<-done
		}
	}
	warm := max(rounds/10, 1)
	lap(warm)
	begun := time.Now()
	lap(rounds)
	perOperation("ring", time.Since(begun), n*rounds)
}
