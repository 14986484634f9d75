package server

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ds-sandbox/ds-sandbox/backends"
	"github.com/ds-sandbox/ds-sandbox/sandbox"
)

// Option is one setting of a Config, by one name in all places: --max-timeout, DS_SANDBOX_SERVE_MAX_TIMEOUT, and max_timeout in a file.
type Option struct {
	Name  string
	Usage string
	// Engine tells that it is one of the engine's, whose variable has no SERVE in its name.
	Engine bool
	// Secret tells that its value is not to be shown.
	Secret bool

	path bool // it is one, so in a file it is of that file's folder
	set  func(c *Config, text string) error
	get  func(c *Config) string
}

// Variable is the name of the option's environment variable.
func (o *Option) Variable() string {
	prefix := "DS_SANDBOX_SERVE_"
	if o.Engine {
		prefix = "DS_SANDBOX_"
	}
	return prefix + strings.ToUpper(o.Key())
}

// Key is the option's name in a file.
func (o *Option) Key() string { return strings.ReplaceAll(o.Name, "-", "_") }

// Value is what the option is set to, as text; that of a secret is "set".
func (o *Option) Value(c *Config) string {
	text := o.get(c)
	if o.Secret && text != "" {
		return "set"
	}
	return text
}

// Options are all settings but those that only a file has, keys and templates.
func Options() []Option { return slices.Clone(options) }

var options = []Option{
	textOption("listen", "the `address` to listen on, HOST:PORT", func(c *Config) *string { return &c.Listen }),
	textOption("domain", "what clients make the host names of sandboxes' ports from, maybe with a port",
		func(c *Config) *string { return &c.Domain }),
	pathOption("tls-cert", "a PEM `file` with the certificate", func(c *Config) *string { return &c.TLSCert }),
	pathOption("tls-key", "a PEM `file` with its key", func(c *Config) *string { return &c.TLSKey }),
	textOption("tls-self-signed", "make a certificate for this `domain` and all names below it",
		func(c *Config) *string { return &c.TLSSelfSigned }),
	pathOption("data-dir", "the `folder` of the key, the certificate and snapshots", func(c *Config) *string { return &c.DataDir }),
	secretOption("key", "a key that clients must send; better in a file", func(c *Config) *string { return &c.Key }),
	pathOption("key-file", "a `file` with the key that clients must send", func(c *Config) *string { return &c.KeyFile }),
	countOption("sandboxes", "how many may live at once", func(c *Config) *int { return &c.Sandboxes }),
	countOption("streams", "how many requests of one key may be under way at once", func(c *Config) *int { return &c.Streams }),
	countOption("connections", "how many connections are kept", func(c *Config) *int { return &c.Connections }),
	sizeOption("max-upload", "the largest request to a sandbox", func(c *Config) *int64 { return &c.MaxUpload }),
	timeOption("timeout", "how long a sandbox lives for which no time was asked", func(c *Config) *time.Duration { return &c.Timeout }),
	timeOption("max-timeout", "the longest time that may be asked", func(c *Config) *time.Duration { return &c.MaxTimeout }),
	timeOption("drain", "how long requests under way may take when the daemon ends", func(c *Config) *time.Duration { return &c.Drain }),
	listOption("images", "patterns of images by whose name sandboxes may be made, separated by commas",
		func(c *Config) *[]string { return &c.Images }),
	listOption("origins", "web pages that may use the websockets besides the daemon's own, separated by commas",
		func(c *Config) *[]string { return &c.Origins }),
	sizeOption("snapshot-bytes", "what all snapshots that are no images may take", func(c *Config) *int64 { return &c.SnapshotBytes }),
	sizeOption("sandbox-memory", "what a sandbox may use of memory", func(c *Config) *int64 { return &c.Engine.DefaultLimits.Memory }),
	sizeOption("sandbox-disk", "what a sandbox may use of the disk", func(c *Config) *int64 { return &c.Engine.DefaultLimits.Disk }),
	countOption("sandbox-processes", "how many processes and threads a sandbox may have",
		func(c *Config) *int { return &c.Engine.DefaultLimits.Processes }),
	shareOption("sandbox-cpus", "what share of the processors a sandbox may use",
		func(c *Config) *float64 { return &c.Engine.DefaultLimits.CPUs }),

	engine(oneOf("backend", func(c *Config) *string { return &c.Engine.DefaultBackend }, "auto", "local", "docker")),
	engine(textOption("python", "the Python of local sandboxes", func(c *Config) *string { return &c.Engine.Python })),
	engine(pathOption("workspace-base", "the folder of local workspaces", func(c *Config) *string { return &c.Engine.WorkspaceBaseDir })),
	engine(textOption("image", "what containers are made from", func(c *Config) *string { return &c.Engine.Image })),
	engine(oneOf("profile", func(c *Config) *backends.Profile { return &c.Engine.Profile },
		backends.ProfileHardened, backends.ProfileCompatible)),
	engine(oneOf("network", func(c *Config) *backends.NetworkMode { return &c.Engine.Network },
		backends.NetworkNone, backends.NetworkBridge, backends.NetworkAllow)),
	engine(textOption("runtime", "the engine's runtime for containers", func(c *Config) *string { return &c.Engine.Runtime })),
	engine(sparesOption("min-spares", "how many sandboxes are kept ready at least", func(c *Config) *int { return &c.Engine.MinSpares })),
	engine(sparesOption("max-spares", "how many at most; -1 is none", func(c *Config) *int { return &c.Engine.MaxSpares })),
}

// optionOf finds an option by its name in a file.
func optionOf(key string) *Option {
	for i := range options {
		if options[i].Key() == strings.ReplaceAll(key, "-", "_") {
			return &options[i]
		}
	}
	return nil
}

func engine(o Option) Option {
	o.Engine = true
	return o
}

func textOption(name, usage string, field func(*Config) *string) Option {
	return Option{
		Name: name, Usage: usage,
		set: func(c *Config, text string) error {
			if strings.ContainsAny(text, "\x00\r\n") {
				return errors.New("it has a line break or NUL in it")
			}
			*field(c) = text
			return nil
		},
		get: func(c *Config) string { return *field(c) },
	}
}

func pathOption(name, usage string, field func(*Config) *string) Option {
	o := textOption(name, usage, field)
	o.path = true
	return o
}

func secretOption(name, usage string, field func(*Config) *string) Option {
	o := textOption(name, usage, field)
	o.Secret = true
	return o
}

func oneOf[T ~string](name string, field func(*Config) *T, values ...T) Option {
	texts := make([]string, len(values))
	for i, v := range values {
		texts[i] = string(v)
	}
	choice := strings.Join(texts, ", ")
	return Option{
		Name: name, Usage: choice,
		set: func(c *Config, text string) error {
			if !slices.Contains(texts, text) {
				return fmt.Errorf("%q is not known: use one of %s", text, choice)
			}
			*field(c) = T(text)
			return nil
		},
		get: func(c *Config) string { return string(*field(c)) },
	}
}

// numberOption is an option whose zero value is the default.
func numberOption[T comparable](
	name, usage string, field func(*Config) *T, read func(string) (T, error), write func(T) string,
) Option {
	return Option{
		Name: name, Usage: usage,
		set: func(c *Config, text string) error {
			value, err := read(strings.TrimSpace(text))
			if err != nil {
				return err
			}
			*field(c) = value
			return nil
		},
		get: func(c *Config) string {
			var zero T
			if *field(c) == zero {
				return ""
			}
			return write(*field(c))
		},
	}
}

func countOption(name, usage string, field func(*Config) *int) Option {
	return numberOption(name, usage, field, func(text string) (int, error) {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > 1e9 {
			return 0, fmt.Errorf("%q is no count: use a positive number", text)
		}
		return n, nil
	}, strconv.Itoa)
}

func sparesOption(name, usage string, field func(*Config) *int) Option {
	return numberOption(name, usage, field, func(text string) (int, error) {
		n, err := strconv.Atoi(text)
		if err != nil || n < sandbox.NoSpares || n > 1000 {
			return 0, fmt.Errorf("%q is no count: use 0 to 1000, or %d for none", text, sandbox.NoSpares)
		}
		return n, nil
	}, strconv.Itoa)
}

func shareOption(name, usage string, field func(*Config) *float64) Option {
	return numberOption(name, usage, field, func(text string) (float64, error) {
		n, err := strconv.ParseFloat(text, 64)
		if err != nil || !(n > 0 && n < 1e6) {
			return 0, fmt.Errorf("%q is no share: use a positive number, 1.5 is one and a half processors", text)
		}
		return n, nil
	}, func(n float64) string { return strconv.FormatFloat(n, 'g', -1, 64) })
}

func sizeOption(name, usage string, field func(*Config) *int64) Option {
	return numberOption(name, usage, field, sandbox.ParseSize, func(n int64) string { return strconv.FormatInt(n, 10) })
}

func timeOption(name, usage string, field func(*Config) *time.Duration) Option {
	return numberOption(name, usage, field, func(text string) (time.Duration, error) {
		d, err := sandbox.ParseDuration(text)
		if err == nil && (d <= 0 || d == sandbox.NoTimeout) {
			err = fmt.Errorf("%q is no time: use a positive one, as 90 (seconds), 90s or 1h30m", text)
		}
		return d, err
	}, time.Duration.String)
}

func listOption(name, usage string, field func(*Config) *[]string) Option {
	return Option{
		Name: name, Usage: usage,
		set: func(c *Config, text string) error {
			list := []string{}
			for item := range strings.SplitSeq(text, ",") {
				if item = strings.TrimSpace(item); item != "" {
					list = append(list, item)
				}
			}
			*field(c) = list
			return nil
		},
		get: func(c *Config) string { return strings.Join(*field(c), ",") },
	}
}
