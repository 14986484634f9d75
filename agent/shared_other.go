//go:build !linux

package agent

// Nothing is known of shared memory where there is no /proc.
type (
	sharedFiles struct{}
	sharedWatch struct{}
	sharedUse   struct {
		bytes, unheld int64
		largest       member
	}
)

func newSharedFiles(...string) *sharedFiles     { return new(sharedFiles) }
func (*sharedFiles) remove()                    {}
func (*sharedWatch) begin(*Instance)            {}
func (*sharedWatch) end(*Instance)              {}
func (*sharedWatch) settle()                    {}
func (*sharedWatch) close()                     {}
func (c *census) shared(*sharedFiles) sharedUse { return sharedUse{largest: c.largest} }
func allShared() int64                          { return 0 }
