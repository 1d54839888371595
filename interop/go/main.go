// go-libp2p beside our host: the other side of tests/interop, as interop/js/peer.mjs is for js.
//
//	peer serve | mdns | ping ADDRESS | gossip ADDRESS|- TOPIC
//
// It says everything as one JSON object a line on stdout and ends when stdin ends.
package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p"
	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/p2p/discovery/mdns"
	"github.com/libp2p/go-libp2p/p2p/muxer/yamux"
	"github.com/libp2p/go-libp2p/p2p/protocol/ping"
	"github.com/libp2p/go-libp2p/p2p/security/noise"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
)

const (
	echoProtocol = protocol.ID("/bench/echo/1.0.0")
	loopback     = "/ip4/127.0.0.1/tcp/0"
	everywhere   = "/ip4/0.0.0.0/tcp/0"
	pingCount    = 20
	bulkBytes    = 20_000_000
	chunkBytes   = 256 * 1024
	patience     = 60 * time.Second
)

type words map[string]any

var stdout sync.Mutex

func say(what words) {
	line, err := json.Marshal(what)
	if err != nil {
		panic(err)
	}
	stdout.Lock()
	defer stdout.Unlock()
	os.Stdout.Write(append(line, '\n'))
}

// version is that of a module in this binary, as go.mod pinned it.
func version(module string) string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, each := range info.Deps {
			if each.Path == module {
				return each.Version
			}
		}
	}
	return "unknown"
}

func open(listen string) (host.Host, error) {
	return libp2p.New(
		libp2p.ListenAddrStrings(listen),
		libp2p.Transport(tcp.NewTCPTransport),
		libp2p.Security(noise.ID, noise.New),
		libp2p.Muxer(yamux.ID, yamux.DefaultTransport),
		libp2p.UserAgent("go-libp2p/"+version("github.com/libp2p/go-libp2p")),
		libp2p.DisableRelay(),
		libp2p.DisableMetrics(),
	)
}

func echo(stream network.Stream) {
	if _, err := io.Copy(stream, stream); err != nil {
		stream.Reset()
		return
	}
	stream.Close()
}

func address(node host.Host) string {
	return fmt.Sprintf("%s/p2p/%s", node.Addrs()[0], node.ID())
}

func target(text string) (*peer.AddrInfo, error) {
	return peer.AddrInfoFromString(text)
}

// identified waits until the identify exchange with `who` is over; others are passed over.
func identified(ctx context.Context, from event.Subscription, who peer.ID) (*event.EvtPeerIdentificationCompleted, error) {
	for {
		select {
		case each := <-from.Out():
			if done, ok := each.(event.EvtPeerIdentificationCompleted); ok && done.Peer == who {
				return &done, nil
			}
		case <-ctx.Done():
			return nil, errors.New("not identified in time")
		}
	}
}

func untilStdinEnds(each func(line string) error) error {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if err := each(lines.Text()); err != nil {
			return err
		}
	}
	return lines.Err()
}

type finder struct{}

func (finder) HandlePeerFound(found peer.AddrInfo) {
	say(words{"discovered": found.ID.String()})
}

// announce makes the peer known on the LAN, and says whom it finds there.
func announce(node host.Host) error {
	return mdns.NewMdnsService(node, "", finder{}).Start()
}

func serve(listen string, also func(host.Host) error) error {
	node, err := open(listen)
	if err != nil {
		return err
	}
	defer node.Close()
	if also != nil {
		if err := also(node); err != nil {
			return err
		}
	}
	node.SetStreamHandler(echoProtocol, echo)
	events, err := node.EventBus().Subscribe(new(event.EvtPeerIdentificationCompleted))
	if err != nil {
		return err
	}
	go func() {
		for each := range events.Out() {
			if done, ok := each.(event.EvtPeerIdentificationCompleted); ok {
				say(words{"identified": done.Peer.String(), "agent": done.AgentVersion, "protocols": done.Protocols})
			}
		}
	}()
	say(words{"address": address(node), "version": version("github.com/libp2p/go-libp2p")})
	return untilStdinEnds(func(string) error { return nil })
}

// echoed sends `sent` and returns what came back, both at once, and the seconds it took.
func echoed(ctx context.Context, node host.Host, who peer.ID, sent []byte) ([]byte, float64, error) {
	stream, err := node.NewStream(ctx, who, echoProtocol)
	if err != nil {
		return nil, 0, err
	}
	deadline, _ := ctx.Deadline()
	if err := stream.SetDeadline(deadline); err != nil {
		return nil, 0, err
	}
	start := time.Now()
	wrote := make(chan error, 1)
	go func() {
		_, err := io.CopyBuffer(struct{ io.Writer }{stream}, bytes.NewReader(sent), make([]byte, chunkBytes))
		if err == nil {
			err = stream.CloseWrite()
		}
		wrote <- err
	}()
	got, err := io.ReadAll(stream)
	if err != nil {
		return nil, 0, err
	}
	return got, time.Since(start).Seconds(), <-wrote
}

// pingPeer is everything tests/interop asks of a dialler: identify, ping, a small and a large echo.
func pingPeer(text string) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	to, err := target(text)
	if err != nil {
		return err
	}
	node, err := open(loopback)
	if err != nil {
		return err
	}
	defer node.Close()
	events, err := node.EventBus().Subscribe(new(event.EvtPeerIdentificationCompleted))
	if err != nil {
		return err
	}
	if err := node.Connect(ctx, *to); err != nil {
		return err
	}
	told, err := identified(ctx, events, to.ID)
	if err != nil {
		return err
	}
	pings := []float64{}
	for answer := range ping.Ping(ctx, node, to.ID) {
		if answer.Error != nil {
			return answer.Error
		}
		pings = append(pings, float64(answer.RTT.Microseconds())/1000)
		if len(pings) == pingCount {
			break
		}
	}
	slices.Sort(pings)
	small, _, err := echoed(ctx, node, to.ID, []byte("from go"))
	if err != nil {
		return err
	}
	sent := make([]byte, bulkBytes)
	rand.Read(sent)
	got, seconds, err := echoed(ctx, node, to.ID, sent)
	if err != nil {
		return err
	}
	say(words{
		"pings":        len(pings),
		"ping_ms":      pings[len(pings)/2],
		"agent":        told.AgentVersion,
		"protocols":    told.Protocols,
		"echoed":       string(small),
		"bulk_bytes":   len(got),
		"bulk_same":    bytes.Equal(sent, got),
		"bulk_seconds": seconds,
		"version":      version("github.com/libp2p/go-libp2p"),
	})
	return nil
}

// gossip subscribes, publishes a message for every line it is told, and says what it hears.
func gossip(text, name string) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	node, err := open(loopback)
	if err != nil {
		return err
	}
	defer node.Close()
	router, err := pubsub.NewGossipSub(ctx, node)
	if err != nil {
		return err
	}
	topic, err := router.Join(name)
	if err != nil {
		return err
	}
	messages, err := topic.Subscribe(pubsub.WithBufferSize(1024))
	if err != nil {
		return err
	}
	if text != "-" {
		to, err := target(text)
		if err != nil {
			return err
		}
		dialling, done := context.WithTimeout(ctx, patience)
		defer done()
		if err := node.Connect(dialling, *to); err != nil {
			return err
		}
	}
	say(words{"id": node.ID().String(), "address": address(node)})
	go func() {
		for {
			message, err := messages.Next(ctx)
			if err != nil {
				return
			}
			if message.GetFrom() != node.ID() {
				say(words{"heard": string(message.Data), "from": message.GetFrom().String()})
			}
		}
	}()
	return untilStdinEnds(func(line string) error { return topic.Publish(ctx, []byte(line)) })
}

func run(arguments []string) error {
	switch {
	case len(arguments) == 1 && arguments[0] == "serve":
		return serve(loopback, nil)
	case len(arguments) == 1 && arguments[0] == "mdns":
		return serve(everywhere, announce)
	case len(arguments) == 2 && arguments[0] == "ping":
		return pingPeer(arguments[1])
	case len(arguments) == 3 && arguments[0] == "gossip":
		return gossip(arguments[1], arguments[2])
	}
	return errors.New("serve | mdns | ping ADDRESS | gossip ADDRESS|- TOPIC")
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
