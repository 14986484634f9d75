// Command probe tries one thing from inside a container and prints what came of it: "ok ..." or "error ...".
package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"time"
)

func main() {
	what, args := os.Args[1], os.Args[2:]
	if what == "sleep" {
		time.Sleep(time.Hour)
		return
	}
	said, err := tries[what](args)
	if err != nil {
		fmt.Println("error", err)
		return
	}
	fmt.Println("ok", said)
}

var tries = map[string]func(args []string) (string, error){
	// tcp and udp send a line and wait for its echo.
	"tcp": func(a []string) (string, error) { return echo("tcp", a[0]) },
	"udp": func(a []string) (string, error) { return echo("udp", a[0]) },
	"lookup": func(a []string) (string, error) {
		ctx, cancel := context.WithTimeout(context.Background(), 8*time.Second)
		defer cancel()
		addresses, err := net.DefaultResolver.LookupHost(ctx, a[0])
		return strings.Join(addresses, " "), err
	},
	// hold keeps a connection open without sending, and tells when it ends.
	"hold": func(a []string) (string, error) {
		conn, err := net.DialTimeout("tcp", a[0], 3*time.Second)
		if err != nil {
			return "", err
		}
		fmt.Println("connected")
		if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
			return "", err
		}
		_, err = conn.Read(make([]byte, 1))
		return "", err
	},
	// powers tries what undoes rules.
	"powers": func([]string) (string, error) {
		fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_DGRAM, 0)
		if err != nil {
			return "", err
		}
		mark := syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_MARK, 0x64736e73)
		_, raw := syscall.Socket(syscall.AF_INET, syscall.SOCK_RAW, syscall.IPPROTO_ICMP)
		_, packet := syscall.Socket(syscall.AF_PACKET, syscall.SOCK_RAW, 0x300)
		space := syscall.Unshare(syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET)
		port, err := net.ListenPacket("udp", "0.0.0.0:53")
		if err == nil {
			port.Close()
		}
		var got []string
		for name, err := range map[string]error{"mark": mark, "raw": raw, "packet": packet, "namespace": space, "port 53": err} {
			if err == nil {
				got = append(got, name)
			}
		}
		return strings.Join(got, ", "), nil
	},
}

func echo(network, to string) (string, error) {
	begun := time.Now()
	conn, err := net.DialTimeout(network, to, 3*time.Second)
	if err == nil {
		conn.SetDeadline(time.Now().Add(3 * time.Second))
		if _, err = io.WriteString(conn, "hello"); err == nil {
			b := make([]byte, 5)
			_, err = io.ReadFull(conn, b)
		}
		conn.Close()
	}
	if err != nil {
		return "", fmt.Errorf("after %v: %w", time.Since(begun).Round(time.Millisecond), err)
	}
	return "echo", nil
}
