package main

import "sync"

// writeEvery: one operation in so many takes a read-write lock for writing.
const writeEvery = 20

// mutex: parties goroutines share ops increments under a lock.
func mutex(parties, ops int) {
	var lock sync.Mutex
	count := 0
	warmed("mutex", ops/parties*parties, func(ops int) {
		count = 0
		each := ops / parties
		contend(parties, func() {
			for range each {
				lock.Lock()
				count++
				lock.Unlock()
			}
		})
		expect(count, parties*each)
	})
}

// rwlock: parties goroutines share ops on a counter under a read-write lock:
// 95% read it, 5% count up.
func rwlock(parties, ops int) {
	var lock sync.RWMutex
	count := 0
	warmed("rwlock", ops/parties*parties, func(ops int) {
		count = 0
		each := ops / parties
		contend(parties, func() {
			last := 0
			for i := range each {
				if i%writeEvery == 0 {
					lock.Lock()
					count++
					lock.Unlock()
				} else {
					lock.RLock()
					now := count
					lock.RUnlock()
					if now < last {
						fail("the count goes down")
					}
					last = now
				}
			}
		})
		expect(count, parties*((each+writeEvery-1)/writeEvery))
	})
}

// contend runs the parties, who begin when all are there.
func contend(parties int, party func()) {
	done := make(chan struct{}, parties)
	starts := make([]chan struct{}, parties)
	for i := range starts {
		start := make(chan struct{}, 1)
		starts[i] = start
		go func() {
			done <- struct{}{}
			<-start
			party()
			done <- struct{}{}
		}()
	}
	for range parties {
		<-done
	}
	for _, start := range starts {
		start <- struct{}{}
	}
	for range parties {
		<-done
	}
}

// waitGroup: rounds of size goroutines that write down a number and end, and
// one that waits for all of them.
func waitGroup(size, ops int) {
	numbers := make([]int, size)
	warmed("waitgroup", ops/size*size, func(ops int) {
		for round := range max(ops/size, 1) {
			var group sync.WaitGroup
			for i := range size {
				group.Add(1)
				go func() {
					numbers[i] = round + i
					group.Done()
				}()
			}
			group.Wait()
			sum := 0
			for _, number := range numbers {
				sum += number
			}
			expect(sum, size*round+sumBelow(size))
		}
	})
}
