package main

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// report prints one figure in the form that the driver reads.
func report(name string, value float64, unit string) {
	fmt.Printf("%s %.3f %s\n", name, value, unit)
}

func perOperation(name string, elapsed time.Duration, operations int) {
	report(name, float64(elapsed.Nanoseconds())/float64(operations), "ns")
}

// resident is the process's resident memory and its page tables, in bytes.
func resident() int {
	file, err := os.Open("/proc/self/status")
	if err != nil {
		fail(err.Error())
	}
	defer file.Close()
	total := 0
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) == 3 && (fields[0] == "VmRSS:" || fields[0] == "VmPTE:") {
			kibibytes, _ := strconv.Atoi(fields[1])
			total += kibibytes << 10
		}
	}
	return total
}
