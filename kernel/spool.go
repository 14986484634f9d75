package kernel

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"sync/atomic"

	"github.com/ds-sandbox/ds-sandbox/messaging"
)

// Spool keeps on disk what waits for the readers of runs beyond what may wait in memory, in files that have no name.
// Several connections may share one.
type Spool struct {
	Dir   string // where the files are; os.TempDir()
	Bytes int64  // that it holds at most, and of one run a quarter of that; 4 GiB

	used atomic.Int64
}

const (
	defaultSpoolBytes = 4 << 30
	segmentBytes      = 64 << 20 // of a file, about; the disk has it back when it was read
	blockBytes        = 64 << 10 // that are written at once, about
)

// take reserves room for n bytes more of a run that has some, and reports whether there was any. A nil Spool has none.
func (s *Spool) take(n, has int64) bool {
	if s == nil {
		return false
	}
	most := s.Bytes
	if most <= 0 {
		most = defaultSpoolBytes
	}
	if has+n > most/4 {
		return false
	}
	if s.used.Add(n) > most {
		s.used.Add(-n)
		return false
	}
	return true
}

// spill is the part of a run's backlog that is on disk: first in, first out. Its owner locks.
type spill struct {
	spool    *Spool
	segments []*segment // oldest first
	block    []byte     // the records after those, in memory still
	messages int        // that wait
	bytes    int64      // of their records
	broken   bool       // the disk takes no more
}

// segment is a file of records; those up to read were taken.
type segment struct {
	file       *os.File
	read, size int64
}

// push adds m at the end, unless there is no room.
func (s *spill) push(m *messaging.Message) bool {
	if s.broken {
		return false
	}
	record, err := encodeRecord(s.block, m)
	if err != nil {
		return false
	}
	n := int64(len(record) - len(s.block))
	if !s.spool.take(n, s.bytes) {
		return false
	}
	s.block = record
	s.messages++
	s.bytes += n
	if len(s.block) >= blockBytes {
		if err := s.write(); err != nil {
			s.broken = true // and the block stays in memory
		}
	}
	return true
}

// write moves the block to the disk.
func (s *spill) write() error {
	n := len(s.segments)
	if n == 0 || s.segments[n-1].size >= segmentBytes {
		file, err := os.CreateTemp(s.spool.Dir, "ds-sandbox-spool-*")
		if err != nil {
			return err
		}
		if err := os.Remove(file.Name()); err != nil {
			_ = file.Close()
			return err
		}
		s.segments = append(s.segments, &segment{file: file})
		n++
	}
	last := s.segments[n-1]
	if _, err := last.file.WriteAt(s.block, last.size); err != nil {
		return err
	}
	last.size += int64(len(s.block))
	s.block = s.block[:0]
	if cap(s.block) > 4*blockBytes {
		s.block = nil
	}
	return nil
}

// pop takes the oldest message. When it can't be read, all that wait are lost, and the gap says so; its bytes are those of the records.
func (s *spill) pop() entry {
	record, err := s.next()
	var m *messaging.Message
	if err == nil {
		m, err = decodeRecord(record)
	}
	if err != nil {
		gap := Truncated{Messages: s.messages, Bytes: s.bytes}
		s.broken = true
		s.close()
		return entry{gap: gap}
	}
	n := int64(recordHead + len(record))
	s.messages--
	s.bytes -= n
	s.spool.used.Add(-n)
	if s.messages == 0 {
		s.close()
	}
	return entry{message: m}
}

// next takes the oldest record, without its head.
func (s *spill) next() ([]byte, error) {
	for len(s.segments) > 0 && s.segments[0].read == s.segments[0].size {
		_ = s.segments[0].file.Close()
		s.segments = s.segments[1:]
	}
	if len(s.segments) == 0 {
		n := recordHead + binary.LittleEndian.Uint64(s.block)
		record := bytes.Clone(s.block[recordHead:n])
		s.block = s.block[n:]
		return record, nil
	}
	first := s.segments[0]
	head := make([]byte, recordHead)
	if _, err := first.file.ReadAt(head, first.read); err != nil {
		return nil, err
	}
	record := make([]byte, binary.LittleEndian.Uint64(head))
	if _, err := first.file.ReadAt(record, first.read+recordHead); err != nil {
		return nil, err
	}
	first.read += int64(recordHead + len(record))
	return record, nil
}

// close drops all that waits.
func (s *spill) close() {
	for _, segment := range s.segments {
		_ = segment.file.Close()
	}
	if s.bytes > 0 {
		s.spool.used.Add(-s.bytes)
	}
	*s = spill{spool: s.spool, broken: s.broken}
}

// A record is the size of its parts, and the parts, each after its length.
const recordHead = 8

// encodeRecord appends the record of m. A routing prefix is not in it.
func encodeRecord(to []byte, m *messaging.Message) ([]byte, error) {
	header, err := m.Header.MarshalJSON()
	if err != nil {
		return nil, err
	}
	var parent []byte
	if m.Parent != nil {
		if parent, err = m.Parent.MarshalJSON(); err != nil {
			return nil, err
		}
	}
	start := len(to)
	to = append(to, make([]byte, recordHead)...)
	for _, part := range append([][]byte{[]byte(m.Channel), header, parent, m.Metadata, m.Content}, m.Buffers...) {
		to = binary.AppendUvarint(to, uint64(len(part)))
		to = append(to, part...)
	}
	binary.LittleEndian.PutUint64(to[start:], uint64(len(to)-start-recordHead))
	return to, nil
}

// decodeRecord reads a record without its head. The message keeps it.
func decodeRecord(record []byte) (*messaging.Message, error) {
	var parts [][]byte
	for len(record) > 0 {
		size, n := binary.Uvarint(record)
		if n <= 0 || size > uint64(len(record)-n) {
			return nil, fmt.Errorf("kernel: spool: a part of %d bytes in a record of %d", size, len(record))
		}
		end := uint64(n) + size
		parts = append(parts, record[n:end:end])
		record = record[end:]
	}
	if len(parts) < 5 {
		return nil, fmt.Errorf("kernel: spool: a record of %d parts", len(parts))
	}
	m := &messaging.Message{Channel: messaging.Channel(parts[0]), Metadata: parts[3], Content: parts[4]}
	if len(parts) > 5 {
		m.Buffers = parts[5:]
	}
	if err := m.Header.UnmarshalJSON(parts[1]); err != nil {
		return nil, err
	}
	if len(parts[2]) > 0 {
		m.Parent = new(messaging.Header)
		if err := m.Parent.UnmarshalJSON(parts[2]); err != nil {
			return nil, err
		}
	}
	return m, nil
}
