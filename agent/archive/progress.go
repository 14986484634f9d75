package archive

import "github.com/ds-sandbox/ds-sandbox/backends"

// progress tells how far a transfer is.
type progress struct {
	opts  Options
	now   backends.Progress
	told  int64 // bytes
	count *Count
}

// tellEvery is how often a long file is told of, bytes.
const tellEvery = 8 << 20

func newProgress(opts *Options) progress {
	var p progress
	if opts != nil {
		p.opts = *opts
	}
	if p.count = p.opts.Count; p.count == nil {
		p.count = new(Count)
	}
	return p
}

// begin counts an entry.
func (p *progress) begin(name string) {
	p.now.Entries++
	p.now.Name = name
	p.tell()
}

func (p *progress) add(n int64) {
	p.now.Bytes += n
	p.count.Bytes += n
	if p.now.Bytes-p.told >= tellEvery {
		p.tell()
	}
}

func (p *progress) tell() {
	p.told = p.now.Bytes
	if p.opts.OnProgress != nil {
		p.opts.OnProgress(p.now)
	}
}
