// The Go peer. One binary, one subcommand per case; the sizes come from the
// driver, so that every peer does the same work.
package main

import (
	"fmt"
	"os"
	"strconv"
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
	case "echo":
		serve(argument(2), echo)
	case "http":
		serve(argument(2), rawHTTP)
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
