package server

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/ds-sandbox/ds-sandbox/sandbox"
	"github.com/ds-sandbox/ds-sandbox/server/access"
	"github.com/ds-sandbox/ds-sandbox/server/fleet"
)

// Defaults of Config.
const (
	DefaultListen      = "127.0.0.1:3000"
	DefaultDrain       = 20 * time.Second
	DefaultStreams     = 4096
	DefaultConnections = 16384
	DefaultMaxUpload   = 10 << 30
)

// DefaultOwner is whom a key stands for that has no name.
const DefaultOwner = "default"

// Config of a Server. Zero fields are the defaults. Load makes one of a file, variables and flags; options.go has the names of these.
type Config struct {
	Listen string // host:port; DefaultListen. A host that is not loopback wants a key of yours
	// Domain is what clients build the host names of sandboxes' ports from, "<port>-<id>.<Domain>", maybe with a port of its own; that of
	// TLSSelfSigned with the listener's port, else none.
	Domain string
	// TLSCert and TLSKey are PEM files; the listener speaks TLS then, and nothing else.
	TLSCert, TLSKey string
	// TLSSelfSigned makes a certificate for this domain and all names below it, and keeps it in DataDir.
	TLSSelfSigned string
	DataDir       string // holds the key, the certificate and snapshots; required

	Key     string       // a key of DefaultOwner
	KeyFile string       // a file that holds one
	Keys    []access.Key // further ones. Without any of the three, one is made in DataDir

	Sandboxes   int           // that may live at once, of all owners; no limit
	Streams     int           // requests at once of an owner without a limit of their own; DefaultStreams
	Connections int           // DefaultConnections; beyond them the one that idles longest is closed
	MaxUpload   int64         // of one file or one request to a sandbox's port, bytes; DefaultMaxUpload
	Timeout     time.Duration // of a sandbox for which none was asked; fleet.DefaultTimeout
	MaxTimeout  time.Duration // of a sandbox; fleet.DefaultMaxTimeout
	Drain       time.Duration // how long requests under way may take when the daemon ends; DefaultDrain

	Templates     []fleet.Template
	Origins       []string // of web pages that may use the websockets besides the daemon's own, such as "https://example.com"
	Images        []string // patterns of images by whose name sandboxes may be made; none
	SnapshotBytes int64    // fleet.DefaultSnapshotBytes

	Engine sandbox.Config // of the engine, for whoever opens it: New is given one that is open
	Logger *slog.Logger   // nil discards

	pieceTime time.Duration // see bounds.go; tests have shorter ones
}

// complete fills in the defaults and says what can't be.
func (c Config) complete() (Config, error) {
	c.Listen = cmp.Or(c.Listen, DefaultListen)
	c.Streams, c.Connections = cmp.Or(c.Streams, DefaultStreams), cmp.Or(c.Connections, DefaultConnections)
	c.MaxUpload, c.Drain = cmp.Or(c.MaxUpload, DefaultMaxUpload), cmp.Or(c.Drain, DefaultDrain)
	c.pieceTime = cmp.Or(c.pieceTime, pieceTime)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	var errs []error
	mistake := func(option, format string, args ...any) {
		errs = append(errs, &OptionError{Option: option, Problem: fmt.Sprintf(format, args...)})
	}
	host, port, err := net.SplitHostPort(c.Listen)
	if err != nil {
		mistake("listen", "%q is no address: use HOST:PORT, as in %s", c.Listen, DefaultListen)
	} else if _, err := net.LookupPort("tcp", port); err != nil {
		mistake("listen", "%q is no port: use 0 to 65535, 0 being any", port)
	}
	if c.DataDir == "" {
		mistake("data-dir", "there is no folder to keep the key in")
	}
	if (c.TLSCert == "") != (c.TLSKey == "") {
		mistake("tls-cert", "a certificate and its key come together: set tls-key too")
	}
	if c.TLSSelfSigned != "" {
		switch {
		case c.TLSCert != "":
			mistake("tls-self-signed", "there is a certificate already: use that, or this")
		case !isDomain(c.TLSSelfSigned):
			mistake("tls-self-signed", "%q is no domain", c.TLSSelfSigned)
		}
		if c.Domain == "" {
			c.Domain = c.TLSSelfSigned
			if port != "443" && port != "0" {
				c.Domain += ":" + port
			}
		}
	}
	if name, _, _ := strings.Cut(c.Domain, ":"); c.Domain != "" && !isDomain(name) {
		mistake("domain", "%q is no domain", c.Domain)
	}
	if timeout, most := cmp.Or(c.Timeout, fleet.DefaultTimeout), cmp.Or(c.MaxTimeout, fleet.DefaultMaxTimeout); timeout > most {
		mistake("timeout", "%v is more than the %v of max-timeout: raise that, or lower this", timeout, most)
	}
	for _, pattern := range c.Images {
		if _, err := path.Match(pattern, ""); err != nil {
			mistake("images", "%q is no pattern: use a name of images, with * for any part of it but slashes", pattern)
		}
	}
	for _, origin := range c.Origins {
		if !isOrigin(origin) {
			mistake("origins", "%q is no origin: use what browsers send, SCHEME://HOST, maybe with a port, such as https://example.com", origin)
		}
	}
	if !isLoopback(host) && err == nil && c.Key == "" && c.KeyFile == "" && len(c.Keys) == 0 {
		mistake("listen", "%s can be reached from elsewhere: name a key of yours with key-file or keys, or listen on %s",
			c.Listen, DefaultListen)
	}
	return c, errors.Join(errs...)
}

// Check says what is wrong with keys, files and templates, which New would say too. It makes nothing. c is complete, see Load.
func (c *Config) Check() error {
	own := *c
	if c.Key == "" && c.KeyFile == "" && len(c.Keys) == 0 {
		own.Key = access.NewSecret() // the one that New makes will do
	}
	_, _, err := own.keys()
	if c.TLSCert != "" {
		_, _, tlsErr := c.certificate()
		err = errors.Join(err, tlsErr)
	}
	return errors.Join(err, fleet.CheckTemplates(c.Templates))
}

// OptionError is a mistake in an option.
type OptionError struct {
	Option  string // its name
	Source  string // where it was set: "--listen", "DS_SANDBOX_SERVE_LISTEN", "file.yaml"; "" if unknown
	Problem string
}

func (e *OptionError) Error() string { return cmp.Or(e.Source, e.Option) + ": " + e.Problem }

// isLoopback reports whether only this machine reaches a host to listen on.
func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}

// isOrigin reports whether a text is what a browser may say of a page, or "*" for any.
func isOrigin(text string) bool {
	u, err := url.Parse(text)
	return text == "*" || err == nil && u.Host != "" && text == u.Scheme+"://"+u.Host
}

// isDomain reports whether a text is the name of a domain in lower case.
func isDomain(name string) bool {
	if name == "" || len(name) > 253 {
		return false
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 || strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" ||
			label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
	}
	return true
}

// keys are those of the configuration, or the one that the daemon makes. page is what the page's address is printed with, "" when the
// key is another's secret to tell.
func (c *Config) keys() (keys *access.Keys, own ownKey, err error) {
	all := c.Keys
	if c.Key != "" {
		all = append(all[:len(all):len(all)], access.Key{Secret: c.Key, Owner: &fleet.Owner{Name: DefaultOwner}})
		own = ownKey{secret: c.Key}
	}
	if c.KeyFile != "" {
		secret, _, err := access.File(c.KeyFile, false)
		if err != nil {
			return nil, own, &OptionError{Option: "key-file", Problem: err.Error()}
		}
		all = append(all[:len(all):len(all)], access.Key{Secret: secret, Owner: &fleet.Owner{Name: DefaultOwner}})
		own = ownKey{secret: secret, file: c.KeyFile}
	}
	if len(all) == 0 {
		file := filepath.Join(c.DataDir, "key")
		secret, made, err := access.File(file, true)
		if err != nil {
			return nil, own, fmt.Errorf("key: %w", err)
		}
		all = []access.Key{{Secret: secret, Owner: &fleet.Owner{Name: DefaultOwner}}}
		own = ownKey{secret: secret, file: file, made: made}
	}
	keys, err = access.New(all...)
	return keys, own, err
}

// ownKey is the key that whoever starts the daemon is told.
type ownKey struct {
	secret string
	file   string // that holds it; "" when none does
	made   bool   // just now
}
