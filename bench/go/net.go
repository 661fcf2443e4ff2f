package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
)

const (
	body  = "Hello, world!"
	reply = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 13\r\n\r\n" + body
)

func listen(address string) net.Listener {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		fail(err.Error())
	}
	fmt.Println("listening", listener.Addr())
	return listener
}

// serve accepts for ever, one goroutine per connection.
func serve(address string, connection func(net.Conn)) {
	listener := listen(address)
	for {
		stream, err := listener.Accept()
		if err != nil {
			fail(err.Error())
		}
		go func() {
			defer stream.Close()
			connection(stream)
		}()
	}
}

func echo(stream net.Conn) { echoWith(1024)(stream) }

// echoWith is the echo with a buffer of that size.
func echoWith(size int) func(net.Conn) {
	return func(stream net.Conn) { echoThrough(stream, make([]byte, size)) }
}

func echoThrough(stream net.Conn, buffer []byte) {
	for {
		n, err := stream.Read(buffer)
		if err != nil {
			return
		}
		if _, err := stream.Write(buffer[:n]); err != nil {
			return
		}
	}
}

// rawHTTP does what the Rust peers do: it finds the end of each request head
// and writes one fixed reply.
func rawHTTP(stream net.Conn) {
	buffer := make([]byte, 1024)
	matched := 0
	for {
		n, err := stream.Read(buffer)
		if err != nil {
			return
		}
		for _, b := range buffer[:n] {
			switch {
			case b == "\r\n\r\n"[matched]:
				matched++
			case b == '\r':
				matched = 1
			default:
				matched = 0
			}
			if matched == 4 {
				matched = 0
				if _, err := io.WriteString(stream, reply); err != nil {
					return
				}
			}
		}
	}
}

// netHTTP is the same reply from the standard library's server, which also
// parses the request and adds a Date.
func netHTTP(address string) {
	handler := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		io.WriteString(w, body)
	}
	fail(http.Serve(listen(address), http.HandlerFunc(handler)).Error())
}
