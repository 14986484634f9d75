// Command liar stands where a container's agent is and lies to the host. What it does is written at the end of its own file.
package main

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"connectrpc.com/connect"
	"golang.org/x/net/http2"

	"github.com/ds-sandbox/ds-sandbox/agent/agentpb"
)

func main() {
	if len(os.Args) < 2 || os.Args[1] != "bridge" {
		for { // the container's process 1, which prints without end when that is the lie
			if script() == "prints" {
				fmt.Println(strings.Repeat("noise ", 1000))
				continue
			}
			time.Sleep(time.Hour)
		}
	}
	lie(script())
}

// script is the last word of our own file.
func script() string {
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		return ""
	}
	return string(self[bytes.LastIndexByte(self, '=')+1:])
}

func frame(kind, flags byte, stream uint32, payload []byte) []byte {
	b := []byte{byte(len(payload) >> 16), byte(len(payload) >> 8), byte(len(payload)), kind, flags}
	return append(binary.BigEndian.AppendUint32(b, stream), payload...)
}

func flood(w io.Writer, what []byte) {
	for {
		if _, err := w.Write(what); err != nil {
			return
		}
	}
}

func lie(script string) {
	settings := frame(4, 0, 0, nil)
	os.Stdout.Write([]byte{})
	switch script {
	case "silent":
		io.Copy(io.Discard, os.Stdin)
	case "deaf":
		os.Stdout.Write(settings)
		time.Sleep(time.Hour)
	case "dies":
	case "text":
		flood(os.Stdout, []byte("no such agent\n"))
	case "errors":
		flood(os.Stderr, []byte("no such agent\n"))
	case "zeros":
		flood(os.Stdout, make([]byte, 1<<16))
	case "pings", "prints":
		os.Stdout.Write(settings)
		flood(os.Stdout, frame(6, 0, 0, make([]byte, 8)))
	case "settings":
		flood(os.Stdout, settings)
	case "huge":
		os.Stdout.Write(append(settings, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 1))
		io.Copy(io.Discard, os.Stdin)
	case "headers":
		os.Stdout.Write(append(settings, frame(1, 0, 1, make([]byte, 100))...))
		flood(os.Stdout, frame(9, 0, 1, make([]byte, 16<<10)))
	default:
		serve(script)
	}
}

// liar greets as an agent does, and lies in what comes then.
type liar struct {
	agentpb.UnimplementedHostHandler
	script string
}

func (l *liar) Hello(context.Context, *connect.Request[agentpb.HelloRequest]) (*connect.Response[agentpb.HelloResponse], error) {
	protocol := int32(agentpb.Protocol)
	if l.script == "version" {
		protocol += 5
	}
	return connect.NewResponse(&agentpb.HelloResponse{Protocol: protocol, Boot: "boot"}), nil
}

func (l *liar) Configure(context.Context, *connect.Request[agentpb.ConfigureRequest]) (*connect.Response[agentpb.ConfigureResponse], error) {
	return connect.NewResponse(&agentpb.ConfigureResponse{Workspace: "/home/user"}), nil
}

func (l *liar) PutState(context.Context, *connect.Request[agentpb.PutStateRequest]) (*connect.Response[agentpb.PutStateResponse], error) {
	return connect.NewResponse(&agentpb.PutStateResponse{}), nil
}

func (l *liar) Heartbeat(context.Context, *connect.Request[agentpb.HeartbeatRequest]) (*connect.Response[agentpb.HeartbeatResponse], error) {
	return connect.NewResponse(&agentpb.HeartbeatResponse{}), nil
}

// stdio is the bridge's own input and output as a connection.
type stdio struct{ net.Conn }

func (stdio) Read(p []byte) (int, error)       { return os.Stdin.Read(p) }
func (stdio) Write(p []byte) (int, error)      { return os.Stdout.Write(p) }
func (stdio) Close() error                     { os.Exit(0); return nil }
func (stdio) LocalAddr() net.Addr              { return &net.UnixAddr{} }
func (stdio) RemoteAddr() net.Addr             { return &net.UnixAddr{} }
func (stdio) SetDeadline(time.Time) error      { return nil }
func (stdio) SetReadDeadline(time.Time) error  { return nil }
func (stdio) SetWriteDeadline(time.Time) error { return nil }

func serve(script string) {
	mux := http.NewServeMux()
	mux.Handle(agentpb.NewHostHandler(&liar{script: script}))
	mux.HandleFunc(agentpb.TreePath, tricks)
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		method := r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]
		switch method {
		case "Hello", "Configure", "PutState", "Heartbeat":
			mux.ServeHTTP(w, r)
			return
		}
		switch script {
		case "tricks":
			mux.ServeHTTP(w, r)
		case "never":
			<-r.Context().Done()
		case "exits": // in the middle of an answer
			w.WriteHeader(http.StatusOK)
			io.WriteString(w, "half an ans")
			w.(http.Flusher).Flush()
			os.Exit(1)
		case "endless":
			w.Header().Set("Content-Type", r.Header.Get("Content-Type"))
			flood(w, make([]byte, 64<<10))
		case "nonsense":
			w.Header().Set("Content-Type", r.Header.Get("Content-Type"))
			io.WriteString(w, strings.Repeat("\xff\x01nonsense", 100))
		}
	})
	new(http2.Server).ServeConn(stdio{}, &http2.ServeConnOpts{Handler: handler})
}

// tricks answers the export of a tree with what would be outside of where it is put.
func tricks(w http.ResponseWriter, r *http.Request) {
	trick := r.URL.Query().Get("path")
	out := tar.NewWriter(w)
	file := func(name string) {
		out.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: 4})
		io.WriteString(out, "evil")
	}
	link := func(kind byte, name, target string) {
		out.WriteHeader(&tar.Header{Typeflag: kind, Name: name, Linkname: target, Mode: 0o777})
	}
	switch trick {
	case "dots":
		file("../outside")
	case "deep dots":
		file("a/../../outside")
	case "absolute":
		file("/tmp/ds-sandbox-proof-outside")
	case "through a link":
		link(tar.TypeSymlink, "way", "..")
		file("way/outside")
	case "through a later link":
		link(tar.TypeDir, "way/", "")
		link(tar.TypeSymlink, "way", "..")
		file("way/outside")
	case "hard link":
		link(tar.TypeLink, "mine", "../secret")
		link(tar.TypeLink, "mine2", "/etc/passwd")
	case "hard link by a link":
		link(tar.TypeSymlink, "up", "../secret")
		link(tar.TypeLink, "mine", "up")
		file("mine")
	case "device":
		out.WriteHeader(&tar.Header{Typeflag: tar.TypeBlock, Name: "disk", Devmajor: 8, Mode: 0o666})
	case "pipe":
		out.WriteHeader(&tar.Header{Typeflag: tar.TypeFifo, Name: "pipe", Mode: 0o666})
	case "setuid":
		out.WriteHeader(&tar.Header{Name: "su", Mode: 0o6755, Size: 1})
		io.WriteString(out, "x")
	case "huge":
		out.WriteHeader(&tar.Header{Name: "huge", Mode: 0o644, Size: 1 << 50})
		io.WriteString(out, "short")
		return // and no end
	case "sparse":
		out.WriteHeader(&tar.Header{Name: "sparse", Mode: 0o644, PAXRecords: map[string]string{"comment": "x"}})
		w.Write(make([]byte, 100))
		return
	case "nul":
		w.Write(bytes.Repeat([]byte{0xff}, 2048))
		return
	case "long":
		file(strings.Repeat("x/", 5000) + "y")
	}
	out.Close()
	w.Header().Set(http.TrailerPrefix+agentpb.EndHeader, "1")
}
