package main

import "time"

// warmed runs the case with a tenth of the work first, and times the second run.
func warmed(name string, ops int, run func(ops int)) {
	run(max(ops/10, 1))
	begun := time.Now()
	run(ops)
	perOperation(name, time.Since(begun), ops)
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
				<-pong
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
			for range ops {
				<-messages
			}
			close(done)
		}()
		<-done
	})
}

// fourToFour: four senders and four receivers on one channel of 128.
func fourToFour(ops int) {
	warmed("fourfour128", ops/4*4, func(ops int) {
		messages := make(chan int, 128)
		done := make(chan struct{})
		for range 4 {
			go func() {
				for i := range ops / 4 {
					messages <- i
				}
			}()
			go func() {
				for range ops / 4 {
					<-messages
				}
				done <- struct{}{}
			}()
		}
		for range 4 {
			<-done
		}
	})
}

// selectEight: eight senders, each with an unbuffered channel of its own, and
// one receiver that selects over all of them.
func selectEight(ops int) {
	warmed("select8", ops/8*8, func(ops int) {
		var in [8]chan int
		for s := range in {
			in[s] = make(chan int)
			go func() {
				for i := range ops / 8 {
					in[s] <- i
				}
			}()
		}
		done := make(chan struct{})
		go func() {
			for range ops / 8 * 8 {
				select {
				case <-in[0]:
				case <-in[1]:
				case <-in[2]:
				case <-in[3]:
				case <-in[4]:
				case <-in[5]:
				case <-in[6]:
				case <-in[7]:
				}
			}
			close(done)
		}()
		<-done
	})
}

// ring: n goroutines in a ring of unbuffered channels pass one token on for
// about hops hops, in whole rounds.
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
					// The last hop of all has nobody left to receive it.
					if round+1 < rounds || i+1 < n {
						to <- token
					}
				}
				done <- struct{}{}
			}()
		}
		links[0] <- 1
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
