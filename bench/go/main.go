// The Go peer. One binary, one subcommand per case; the sizes come from the
// driver, so that every peer does the same work.
package main

import (
	"fmt"
	"os"
	"strconv"
	"time"
)

func main() {
	if len(os.Args) < 2 {
		fail("usage: peer-go CASE [ARGUMENT]...")
	}
	switch os.Args[1] {
	case "yield":
		yield(number(2), number(3))
	case "spawn":
		spawn(number(2))
	case "park":
		park(number(2))
	case "deep":
		deep(number(2))
	case "pingpong":
		pingPong(number(2))
	case "chan128":
		oneToOne("chan128", 128, number(2))
	case "chan0":
		oneToOne("chan0", 0, number(2))
	case "fourfour128":
		fourToFour(number(2))
	case "select8":
		selectEight(number(2))
	case "ring":
		ring(number(2), number(3))
	case "arms":
		selectArms(number(2), number(3))
	case "shared":
		selectShared(number(2), number(3))
	case "mutex":
		mutex(number(2), number(3))
	case "rwlock":
		rwlock(number(2), number(3))
	case "waitgroup":
		waitGroup(number(2), number(3))
	case "sleepers":
		sleepers(number(2), time.Duration(number(3))*time.Millisecond)
	case "cancelled":
		cancelled(number(2))
	case "timeouts":
		timeouts(number(2))
	case "timer-stop":
		stoppedTimers(number(2))
	case "lateness":
		lateness(number(2))
	case "context-wide":
		contextWide(number(2))
	case "context-chain":
		contextChain(number(2))
	case "stack-crowd":
		// Zero live bytes is a size, too.
		live, err := strconv.Atoi(argument(3))
		if err != nil {
			fail("stack-crowd: argument 2 must be a number")
		}
		stackCrowd(number(2), live, number(4))
	case "stack-edge":
		stackEdge(number(2), number(3), number(4))
	case "stack-echo":
		serve(argument(3), echoWith(number(2)))
	case "echo":
		serve(argument(2), echo)
	case "http":
		serve(argument(2), rawHTTP)
	case "disturbed":
		disturbed(argument(2), number(3), argument(4))
	case "hello":
		hello()
	case "nethttp":
		netHTTP(argument(2))
	default:
		fail("unknown case " + os.Args[1])
	}
}

func argument(i int) string {
	if i >= len(os.Args) {
		fail(fmt.Sprintf("%s: argument %d is missing", os.Args[1], i-1))
	}
	return os.Args[i]
}

func number(i int) int {
	n, err := strconv.Atoi(argument(i))
	if err != nil || n <= 0 {
		fail(fmt.Sprintf("%s: argument %d must be a positive number", os.Args[1], i-1))
	}
	return n
}

func fail(message string) {
	fmt.Fprintln(os.Stderr, message)
	os.Exit(2)
}
